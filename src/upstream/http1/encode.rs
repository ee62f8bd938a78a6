//! A request as bytes. Pure.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    request,
};
use http_body::Body as _;

use crate::{
    body::{Body, BodyError},
    upstream::lines::Lines,
};

/// How the length of the request's body is told (RFC 9112, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks, for nobody knows yet.
    Chunked,
}

/// The end of a chunked body without trailers: those of requests never pass.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Framing {
    /// That of `body`.
    pub(super) fn of(body: &Body) -> Self {
        match body.size_hint().exact() {
            _ if body.is_end_stream() => Self::None,
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }

    /// After a piece of `sent` bytes.
    ///
    /// # Errors
    /// The body is longer than it said: what is too much would be taken for the next request.
    pub(super) fn less(self, sent: usize) -> Result<Self, BodyError> {
        match self {
            Self::None | Self::Chunked => Ok(self),
            Self::Length(left) => left
                .checked_sub(sent as u64)
                .map(Self::Length)
                .ok_or_else(|| BodyError::Other("it is longer than it said".into())),
        }
    }

    /// Writes what stands before a piece of the body; gives what stands behind it.
    pub(super) fn around(self, data: &Bytes, out: &mut BytesMut) -> &'static [u8] {
        match self {
            Self::None | Self::Length(_) => b"",
            Self::Chunked => {
                out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                b"\r\n"
            }
        }
    }

    /// Writes what stands behind the whole body.
    pub(super) fn end(self, out: &mut BytesMut) {
        if self == Self::Chunked {
            out.extend_from_slice(LAST_CHUNK);
        }
    }
}

/// Writes the head: request line, fields, framing, empty line. Every part is of a type that cannot hold a line end.
pub(super) fn head(parts: &request::Parts, lines: [&Lines; 2], framing: Framing, out: &mut BytesMut) {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    put(out, &[parts.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
    for (name, value) in &parts.headers {
        // Framing is told anew, by the body that is sent (threats 3.3).
        let is_framing = *name == TRANSFER_ENCODING || (*name == CONTENT_LENGTH && framing != Framing::None);
        if !is_framing {
            put(out, &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    }
    put(out, &lines.map(Lines::bytes));
    match framing {
        Framing::None => out.put_slice(b"\r\n"),
        Framing::Length(length) => out.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes()),
        Framing::Chunked => out.put_slice(b"transfer-encoding: chunked\r\n\r\n"),
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

    fn written(request: request::Builder, framing: Framing) -> String {
        let mut out = BytesMut::new();
        let mut lines = Lines::default();
        lines.put(&http::header::FROM, &http::HeaderValue::from_static("us"));
        head(&request.body(()).unwrap().into_parts().0, [&lines, Lines::NONE], framing, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_head_is_written_as_it_is_meant() {
        let request = || Request::put("/a%20b?c=d").header("Host", "app").header("x-two", "1").header("x-two", "2");
        assert_eq!(
            written(request(), Framing::None),
            "PUT /a%20b?c=d HTTP/1.1\r\nhost: app\r\nx-two: 1\r\nx-two: 2\r\nfrom: us\r\n\r\n"
        );
        assert!(written(request(), Framing::Length(7)).ends_with("from: us\r\ncontent-length: 7\r\n\r\n"));
        assert!(written(request(), Framing::Chunked).ends_with("from: us\r\ntransfer-encoding: chunked\r\n\r\n"));
    }

    #[test]
    fn no_framing_but_ours_is_written() {
        let request = || {
            let request = Request::post("/").header("content-length", "0");
            request.header("transfer-encoding", "gzip, chunked")
        };
        for (framing, expected) in [
            (Framing::None, "POST / HTTP/1.1\r\ncontent-length: 0\r\nfrom: us\r\n\r\n"),
            (Framing::Length(3), "POST / HTTP/1.1\r\nfrom: us\r\ncontent-length: 3\r\n\r\n"),
            (Framing::Chunked, "POST / HTTP/1.1\r\nfrom: us\r\ntransfer-encoding: chunked\r\n\r\n"),
        ] {
            assert_eq!(written(request(), framing), expected);
        }
    }

    #[test]
    fn chunks_are_framed() {
        let mut out = BytesMut::new();
        let data = Bytes::from(vec![b'x'; 26]);
        assert_eq!(Framing::Chunked.around(&data, &mut out), b"\r\n");
        Framing::Chunked.end(&mut out);
        assert_eq!(&out[..], b"1a\r\n0\r\n\r\n");
        out.clear();
        assert_eq!(Framing::Length(26).around(&data, &mut out), b"");
        Framing::Length(26).end(&mut out);
        assert!(out.is_empty());
    }
}
