//! From the message that came to the one that goes on: framing rebuilt, versions mapped. Pure.

use http::{
    HeaderMap, HeaderValue, Method, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, TE},
    uri,
};
use http_body::Body as _;

use super::hygiene::{self, Hop};
use crate::{gateway::presence::Field, message::Request};

/// True for gRPC, whose status travels in trailers.
pub(super) fn is_grpc(headers: &HeaderMap, hop: Hop) -> bool {
    hop.had(Field::ContentType)
        && headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Makes a request fit for the app: origin form, one `Host`, one `Cookie`, length by the body alone.
pub(super) fn prepare(request: &mut Request, hop: Hop, pass_trailers: bool) {
    let Request { head, body } = request;
    let headers = &mut head.headers;
    // Framing is never copied (threats 3.3): whoever sends the body writes its length.
    if hop.had(Field::ContentLength) {
        headers.remove(CONTENT_LENGTH);
    }
    if body.is_end_stream() && has_content_semantics(&head.method) {
        // Otherwise nothing would say that the body is empty, and some apps insist (RFC 9110, 8.6).
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        // `:authority` wins over Host (RFC 9113, 8.3.1); a mismatch was refused before.
        headers.insert(HOST, host);
    }
    if hop.had(Field::Cookie) {
        join_cookies(headers);
    }
    if pass_trailers && hop.takes_trailers() {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    make_origin_form(&mut head.uri);
}

fn has_content_semantics(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn make_origin_form(target: &mut Uri) {
    if target.authority().is_some() {
        let path = target.path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
        *target = Uri::from(path);
    }
}

/// HTTP/2 may split the cookies into several fields, HTTP/1.1 must have one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    if crumbs.next().is_none() || crumbs.next().is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        joined.set_sensitive(true);
        headers.insert(COOKIE, joined);
    }
}

/// Makes the fields of a response fit to go on: no hop-by-hop field, no copied length except where it describes a body
/// that is not sent (RFC 9110, 8.6: answers to HEAD, and 304).
pub(super) fn clean_response(headers: &mut HeaderMap, status: StatusCode, asked_by: &Method) {
    hygiene::clean_response(headers);
    if *asked_by != Method::HEAD && status != StatusCode::NOT_MODIFIED {
        headers.remove(CONTENT_LENGTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Body;

    fn made(request: http::request::Builder, body: Body) -> http::Request<Body> {
        let mut request = request.body(body).unwrap();
        let hop = hygiene::strip_hop_by_hop(request.headers_mut());
        let grpc = is_grpc(request.headers(), hop);
        let mut request = Request::from(request);
        prepare(&mut request, hop, grpc);
        request.into_http()
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let request = http::Request::get("/").header("cookie", "a=1").header("cookie", "b=2").header("cookie", "c=3");
        let request = made(request, Body::Empty);
        let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn the_authority_becomes_host_and_the_target_keeps_its_path() {
        let request = made(http::Request::get("https://app.example/a%2Fb?x=1").header("host", "other"), Body::Empty);
        assert_eq!(request.headers()[HOST], "app.example");
        assert_eq!(request.uri(), "/a%2Fb?x=1");
        let request = made(http::Request::get("/a?b").header("host", "app"), Body::Empty);
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()[HOST]),
            ("/a?b", &HeaderValue::from_static("app"))
        );
    }

    #[test]
    fn lengths_are_told_anew() {
        for (method, body, expected) in [
            (Method::GET, Body::Empty, None),
            (Method::POST, Body::Empty, Some("0")),
            (Method::PUT, Body::Empty, Some("0")),
            (Method::DELETE, Body::Empty, None),
            (Method::POST, Body::full("abc"), None),
        ] {
            let request = http::Request::builder().method(&method).uri("/").header("content-length", "77");
            let request = made(request.header("transfer-encoding", "chunked"), body);
            assert_eq!(request.headers().get(CONTENT_LENGTH).map(|v| v.to_str().unwrap()), expected, "{method}");
            assert!(!request.headers().contains_key("transfer-encoding"));
        }
    }

    #[test]
    fn trailers_are_asked_for_only_where_they_pass() {
        let grpc =
            http::Request::post("/s/m").header("content-type", "application/grpc+proto").header("te", "trailers");
        assert_eq!(made(grpc, Body::full("x")).headers()[TE], "trailers");
        let plain = http::Request::post("/").header("te", "trailers");
        assert!(!made(plain, Body::full("x")).headers().contains_key(TE));
    }

    #[test]
    fn a_length_stays_only_where_no_body_follows() {
        for (method, status, stays) in
            [(Method::GET, 200, false), (Method::HEAD, 200, true), (Method::GET, 304, true), (Method::GET, 204, false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("5"));
            clean_response(&mut headers, StatusCode::from_u16(status).unwrap(), &method);
            assert_eq!(headers.contains_key(CONTENT_LENGTH), stays, "{method} {status}");
        }
    }
}
