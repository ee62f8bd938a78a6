//! A request as bytes. Pure.

use bytes::{BufMut as _, BytesMut};
use http::{
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    request,
};

use crate::{http1::Sending, message::Lines};

/// Writes the head: request line, fields, framing, empty line. Every part is of a type that cannot hold a line end.
pub(super) fn head(parts: &request::Parts, lines: [&Lines; 2], sending: Sending, out: &mut BytesMut) {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    put(out, &[parts.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
    for (name, value) in &parts.headers {
        // Framing is told anew, by the body that is sent (threats 3.3).
        let is_framing = *name == TRANSFER_ENCODING || (*name == CONTENT_LENGTH && sending != Sending::Nothing);
        if !is_framing {
            put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    }
    put(out, &lines.map(Lines::bytes));
    match sending {
        Sending::Nothing | Sending::UntilClose => out.put_slice(b"\r\n"),
        Sending::Length(length) => out.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes()),
        Sending::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n\r\n"),
    }
}

fn put(out: &mut BytesMut, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn written(request: request::Builder, sending: Sending) -> String {
        let mut out = BytesMut::new();
        let mut lines = Lines::default();
        lines.put(&http::header::FROM, &http::HeaderValue::from_static("us"));
        head(&request.body(()).unwrap().into_parts().0, [&lines, Lines::none()], sending, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_head_is_written_as_it_is_meant() {
        let request = || Request::put("/a%20b?c=d").header("Host", "app").header("x-two", "1").header("x-two", "2");
        assert_eq!(
            written(request(), Sending::Nothing),
            "PUT /a%20b?c=d HTTP/1.1\r\nhost: app\r\nx-two: 1\r\nx-two: 2\r\nfrom: us\r\n\r\n"
        );
        assert!(written(request(), Sending::Length(7)).ends_with("from: us\r\ncontent-length: 7\r\n\r\n"));
        assert!(written(request(), Sending::Chunked).ends_with("from: us\r\ntransfer-encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn no_framing_but_ours_is_written() {
        let request = || {
            let request = Request::post("/").header("content-length", "0");
            request.header("transfer-encoding", "gzip, chunked")
        };
        for (sending, expected) in [
            (Sending::Nothing, "POST / HTTP/1.1\r\ncontent-length: 0\r\nfrom: us\r\n\r\n"),
            (Sending::Length(3), "POST / HTTP/1.1\r\nfrom: us\r\ncontent-length: 3\r\n\r\n"),
            (Sending::Chunked, "POST / HTTP/1.1\r\nfrom: us\r\ntransfer-encoding: chunked\r\n\r\n"),
        ] {
            assert_eq!(written(request(), sending), expected);
        }
    }
}
