//! The head of an answer as bytes.

use std::{
    cell::RefCell,
    time::{Duration, UNIX_EPOCH},
};

use bytes::{BufMut as _, BytesMut};
use http::{
    HeaderMap, Method, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING},
    response,
};

use super::request::tokens;
use crate::{
    body::Body,
    clock::{Clock as _, SystemClock},
    http1::Sending,
    message::Lines,
};

/// What the head of an answer depends on beside itself.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) version: Version,
}

/// How the body of an answer with this status goes to whoever asked (RFC 9112 §6.3).
pub(super) fn sending(status: StatusCode, asked: &Asked, body: &Body) -> Sending {
    if asked.method == Method::HEAD || has_no_body(status) || status == StatusCode::NOT_MODIFIED {
        return Sending::Nothing;
    }
    match Sending::of(body) {
        // Nothing else would say that it is empty.
        Sending::Nothing => Sending::Length(0),
        Sending::Chunked if asked.version == Version::HTTP_10 => Sending::UntilClose,
        sending => sending,
    }
}

/// RFC 9110 §15.2, 15.3.5: neither a body nor a word on its length.
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT
}

/// True when the answer itself ends the connection.
pub(super) fn says_close(headers: &HeaderMap) -> bool {
    headers.get_all(CONNECTION).iter().flat_map(tokens).any(|token| token.eq_ignore_ascii_case(b"close"))
}

/// Writes the head: status line, fields, framing, empty line. Every part is of a type that cannot hold a line end.
pub(super) fn head(
    parts: &response::Parts,
    lines: &Lines,
    asked: &Asked,
    sending: Sending,
    keeps_alive: bool,
    out: &mut BytesMut,
) {
    status_line(parts.status, asked.version, out);
    let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let mut dated = lines.is_dated();
    for (name, value) in &parts.headers {
        match *name {
            TRANSFER_ENCODING => continue,
            // What it says of the end of the connection is told below.
            CONNECTION if !switches => continue,
            // Without a body it tells of the one there would be (RFC 9110 §8.6).
            CONTENT_LENGTH if sending != Sending::Nothing || has_no_body(parts.status) => continue,
            DATE => dated = true,
            _ => {}
        }
        put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    out.put_slice(lines.bytes());
    match sending {
        Sending::Length(length) => {
            put(out, &[b"content-length: ", itoa::Buffer::new().format(length).as_bytes(), b"\r\n"])
        }
        Sending::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n"),
        Sending::Nothing | Sending::UntilClose => {}
    }
    match keeps_alive {
        _ if switches => {}
        false => out.put_slice(b"connection: close\r\n"),
        true if asked.version == Version::HTTP_10 => out.put_slice(b"connection: keep-alive\r\n"),
        true => {}
    }
    if !dated {
        put_date(out);
    }
    out.put_slice(b"\r\n");
}

fn status_line(status: StatusCode, version: Version, out: &mut BytesMut) {
    if status == StatusCode::OK && version == Version::HTTP_11 {
        return out.put_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let version: &[u8] = if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
    let reason = status.canonical_reason().unwrap_or_default();
    put(out, &[version, status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
}

/// The trailer section behind the last chunk.
pub(super) fn trailers(trailers: &HeaderMap, out: &mut BytesMut) {
    out.put_slice(b"0\r\n");
    for (name, value) in trailers {
        put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    out.put_slice(b"\r\n");
}

thread_local! {
    /// The line of the current second.
    static DATED: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// RFC 9110 §6.6.1. Most apps write one themselves.
fn put_date(out: &mut BytesMut) {
    let now = u64::try_from(SystemClock.now().as_millis() / 1000).unwrap_or_default();
    DATED.with_borrow_mut(|(second, line)| {
        if *second != now {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now));
            (*second, *line) = (now, format!("date: {date}\r\n"));
        }
        out.put_slice(line.as_bytes());
    });
}

fn put(out: &mut BytesMut, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    fn asked(method: Method, version: Version) -> Asked {
        Asked { method, version }
    }

    /// The head for `body` as it is written, without its date.
    fn written(response: response::Builder, asked: &Asked, body: &Body, keeps_alive: bool) -> String {
        let parts = response.body(()).unwrap().into_parts().0;
        let mut out = BytesMut::new();
        head(&parts, &Lines::default(), asked, sending(parts.status, asked, body), keeps_alive, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let date = text.split_inclusive("\r\n").find(|line| line.starts_with("date: ")).unwrap();
        text.replace(date, "")
    }

    fn stream() -> Body {
        let body = http_body_util::StreamBody::new(futures_util::stream::empty());
        Body::Boxed(http_body_util::combinators::BoxBody::new(body))
    }

    #[test]
    fn the_length_is_told_by_the_body_and_by_whoever_asked() {
        let (get, old) = (asked(Method::GET, Version::HTTP_11), asked(Method::GET, Version::HTTP_10));
        let head = asked(Method::HEAD, Version::HTTP_11);
        let answer = |status: u16| Response::builder().status(status).header("content-length", "77");
        let lied = |status: u16| answer(status).header("transfer-encoding", "gzip");
        for (response, asked, body, expected) in [
            (lied(200), &get, Body::full("abc"), "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"),
            (lied(200), &get, Body::Empty, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            (lied(404), &get, stream(), "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n"),
            (lied(200), &old, stream(), "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n"),
            (answer(200), &head, Body::Empty, "HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n"),
            (answer(304), &get, Body::Empty, "HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\n\r\n"),
            (lied(204), &get, Body::full("abc"), "HTTP/1.1 204 No Content\r\n\r\n"),
            (answer(799), &get, Body::Empty, "HTTP/1.1 799 \r\ncontent-length: 0\r\n\r\n"),
        ] {
            assert_eq!(written(response, asked, &body, true), expected);
        }
    }

    #[test]
    fn the_end_of_the_connection_is_told_once() {
        let get = asked(Method::GET, Version::HTTP_11);
        let plain = || Response::builder().status(200);
        for said in ["close", "keep-alive"] {
            assert_eq!(
                written(plain().header("connection", said), &get, &stream(), false),
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
            );
        }
        assert_eq!(
            written(plain(), &get, &Body::full("a"), false),
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n"
        );
        let upgrade = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "echo");
        let expected = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        assert_eq!(written(upgrade, &get, &Body::Empty, false), expected);
    }
}
