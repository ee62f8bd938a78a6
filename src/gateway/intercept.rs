//! Intercept: what somebody without a session is answered.
//!
//! A page load is sent to sign-in, an API call and a WebSocket get 401: a script that follows a redirect to a sign-in
//! page gets HTML where it wanted data. What a request is, is read in this order: a WebSocket upgrade is one; the route
//! may force the rest; `Sec-Fetch-Mode` and `Sec-Fetch-Dest`, which every current browser sends and no script can set;
//! `X-Requested-With`; `Accept`.
//!
//! Only GET and HEAD are redirected. After sign-in the browser comes back with GET, so a form that was sent by POST is
//! lost either way; answering it with a redirect would hide that. It gets a 401 page that says so and links to sign-in,
//! returning to the page the form was on: the `Referer`, if `login::return_to` takes it, else `/`.
//!
//! These fields are the client's word. They choose how a refusal looks, never whether there is one.

use http::{HeaderMap, HeaderName, Method, header};

use crate::config::route::Intercept;

/// What kind of request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A browser loads a page.
    Page,
    /// A script or a program calls.
    Api,
    /// A WebSocket is to be opened.
    WebSocket,
}

/// How somebody without a session is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 302 to sign-in, coming back to this request.
    Redirect,
    /// 401 with a page that links to sign-in, coming back to the page before.
    Page,
    /// 401 with JSON that holds the address of sign-in.
    Json,
    /// 401 without a body.
    Bare,
}

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// What kind of request it is; also decides between an error page and a JSON error for somebody who is signed in.
pub fn kind(headers: &HeaderMap, forced: Intercept) -> Kind {
    if is_websocket(headers) {
        return Kind::WebSocket;
    }
    match forced {
        Intercept::Page => Kind::Page,
        Intercept::Api => Kind::Api,
        Intercept::Auto => guess(headers),
    }
}

/// How a request without a session is answered.
pub fn answer(method: &Method, headers: &HeaderMap, forced: Intercept) -> Answer {
    match kind(headers, forced) {
        Kind::WebSocket => Answer::Bare,
        Kind::Api => Answer::Json,
        Kind::Page if *method == Method::GET || *method == Method::HEAD => Answer::Redirect,
        Kind::Page => Answer::Page,
    }
}

/// True for a CORS preflight (Fetch, 3.3.4): OPTIONS with an origin and the method that is to follow.
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn guess(headers: &HeaderMap) -> Kind {
    match (text(headers, &SEC_FETCH_MODE), text(headers, &SEC_FETCH_DEST)) {
        // Frames included: with a live session at the provider the whole sign-in is redirects, and shows nothing.
        (Some("navigate"), None | Some("document" | "iframe" | "frame" | "embed" | "object")) => return Kind::Page,
        (Some(_), _) => return Kind::Api,
        (None, _) => {}
    }
    if text(headers, &X_REQUESTED_WITH).is_some_and(|with| with.eq_ignore_ascii_case("XMLHttpRequest")) {
        return Kind::Api;
    }
    if prefers_html(headers) { Kind::Page } else { Kind::Api }
}

/// `Upgrade: websocket` (RFC 6455, 4.2.1), or what browsers say of one when a proxy dropped that.
fn is_websocket(headers: &HeaderMap) -> bool {
    let upgrades = headers.get_all(header::UPGRADE).iter().filter_map(|value| value.to_str().ok());
    upgrades.flat_map(|line| line.split(',')).any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
        || text(headers, &SEC_FETCH_MODE) == Some("websocket")
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// True when HTML is asked for by name, and not less than JSON. `*/*` alone is what programs send.
fn prefers_html(headers: &HeaderMap) -> bool {
    let lines = || headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let best = |wanted: &[&str]| {
        let ranges = lines().flat_map(|line| line.split(','));
        ranges.filter_map(|range| quality(range, wanted)).max().unwrap_or(0)
    };
    let html = best(&["text/html", "application/xhtml+xml"]);
    html > 0 && html >= best(&["application/json"])
}

/// The quality of a media range in thousandths, when it is one of `wanted` (RFC 9110, 12.4.2).
fn quality(range: &str, wanted: &[&str]) -> Option<u16> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?;
    if !wanted.iter().any(|wanted| media.eq_ignore_ascii_case(wanted)) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let Some(weight) = weight else { return Some(1000) };
    let (whole, rest) = weight.split_once('.').unwrap_or((weight, ""));
    let thousandths: u16 = format!("{rest:0<3}").get(..3)?.parse().ok()?;
    Some(if whole == "0" { thousandths } else { 1000 })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

    fn answered(method: Method, forced: Intercept, lines: &[(&'static str, &'static str)]) -> Answer {
        let headers: HeaderMap =
            lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
        answer(&method, &headers, forced)
    }

    #[test]
    fn each_kind_of_request_gets_what_it_can_use() {
        for (case, method, lines, expected) in [
            (
                "a navigation",
                Method::GET,
                &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")][..],
                Answer::Redirect,
            ),
            ("a HEAD navigation", Method::HEAD, &[("sec-fetch-mode", "navigate")], Answer::Redirect),
            ("a frame", Method::GET, &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], Answer::Redirect),
            (
                "a form sent by POST",
                Method::POST,
                &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")],
                Answer::Page,
            ),
            (
                "fetch() that accepts HTML",
                Method::GET,
                &[("sec-fetch-mode", "cors"), ("accept", BROWSER)],
                Answer::Json,
            ),
            ("an image", Method::GET, &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], Answer::Json),
            ("an old browser", Method::GET, &[("accept", BROWSER)], Answer::Redirect),
            ("an old browser's form", Method::POST, &[("accept", BROWSER)], Answer::Page),
            ("jQuery", Method::GET, &[("accept", BROWSER), ("x-requested-with", "XMLHttpRequest")], Answer::Json),
            ("curl", Method::GET, &[("accept", "*/*")], Answer::Json),
            ("nothing said", Method::GET, &[], Answer::Json),
            ("an API client", Method::GET, &[("accept", "application/json, text/html;q=0.5")], Answer::Json),
            ("HTML refused", Method::GET, &[("accept", "text/html;q=0, */*")], Answer::Json),
            ("HTML at low weight", Method::GET, &[("accept", "text/html; q=0.3")], Answer::Redirect),
            ("nonsense weight", Method::GET, &[("accept", "text/html;q=0.x")], Answer::Json),
            ("a WebSocket", Method::GET, &[("upgrade", "WebSocket"), ("accept", BROWSER)], Answer::Bare),
            ("a WebSocket by its fetch mode", Method::GET, &[("sec-fetch-mode", "websocket")], Answer::Bare),
        ] {
            assert_eq!(answered(method, Intercept::Auto, lines), expected, "{case}");
        }
    }

    #[test]
    fn a_route_can_force_either_but_a_post_is_never_redirected() {
        assert_eq!(answered(Method::GET, Intercept::Page, &[]), Answer::Redirect);
        assert_eq!(answered(Method::POST, Intercept::Page, &[]), Answer::Page);
        assert_eq!(answered(Method::GET, Intercept::Api, &[("accept", BROWSER)]), Answer::Json);
        assert_eq!(answered(Method::GET, Intercept::Page, &[("upgrade", "websocket")]), Answer::Bare);
    }

    #[test]
    fn a_preflight_has_an_origin_and_a_method_to_come() {
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_static("https://a.test"));
        assert!(!is_preflight(&Method::OPTIONS, &headers));
        headers.insert("access-control-request-method", HeaderValue::from_static("PUT"));
        assert!(is_preflight(&Method::OPTIONS, &headers));
        assert!(!is_preflight(&Method::GET, &headers));
    }
}
