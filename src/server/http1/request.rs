//! Reading the head of a request. Pure: bytes in, a request without its body out.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{
    HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, EXPECT, TE},
    request,
};

use crate::http1::{
    Asked, BodyFraming, HeadLimits, HeadWatch, MessageHead, Violation, count_fields, empty_line, field, head_end,
    next_line,
};

/// Follows the bytes of a connection until a head is whole.
#[derive(Debug)]
pub(super) struct HeadReader {
    limits: HeadLimits,
    /// Judges a head that does not arrive at once.
    watch: Option<Box<HeadWatch>>,
    /// Bytes in which no end was found: they need not be searched again.
    searched: usize,
}

/// The head of a request, and what it says of the connection.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: Box<request::Parts>,
    pub(super) framing: BodyFraming,
    /// The client would send another request after this one (RFC 9112, 9.3).
    pub(super) keeps_alive: bool,
    /// It waits to be asked for its body (RFC 9110, 10.1.1).
    pub(super) expects_continue: bool,
    /// It takes trailers behind the answer (RFC 9110, 10.1.4).
    pub(super) takes_trailers: bool,
}

impl HeadReader {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self { limits, watch: None, searched: 0 }
    }

    /// Takes a head out of `received` once it is whole. What has two readings is refused as soon as it shows.
    pub(super) fn read(&mut self, received: &mut BytesMut) -> Result<Option<Head>, Violation> {
        let before = empty_line(received)?;
        match head_end(received, self.searched.max(before)) {
            Some(end) if end <= self.limits.bytes => {
                (self.searched, self.watch) = (0, None);
                let mut head = received.split_to(end);
                head.advance(before);
                read_head(head.freeze(), &self.limits).map(Some)
            }
            _ => {
                self.searched = received.len();
                let watch = self.watch.get_or_insert_with(|| Box::new(HeadWatch::new(self.limits)));
                // Whole it is only when it is too large, and that is an error.
                watch.read(received).map(|_| None)
            }
        }
    }
}

/// Reads a whole head, line by line. The values share its buffer.
fn read_head(head: Bytes, limits: &HeadLimits) -> Result<Head, Violation> {
    let mut rules = MessageHead::default();
    let mut rest: &[u8] = &head;
    let start = next_line(&mut rest)?;
    rules.request_line(start, limits)?;
    let mut parts = request_line(start, &head)?;
    parts.headers.reserve(count_fields(rest).min(limits.fields));
    let mut says = Says::default();
    loop {
        let line = next_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = field(line, &head)?;
        rules.judge(name.as_str().as_bytes(), value.as_bytes(), limits)?;
        match name {
            CONNECTION => says.connection(&value),
            EXPECT => says.expects_continue |= value.as_bytes().eq_ignore_ascii_case(b"100-continue"),
            TE => says.takes_trailers |= tokens(&value).any(|token| token.eq_ignore_ascii_case(b"trailers")),
            _ => {}
        }
        parts.headers.append(name, value);
    }
    let is_http11 = parts.version == Version::HTTP_11;
    Ok(Head {
        framing: rules.end(Asked::Other)?,
        keeps_alive: !says.close && (is_http11 || says.keep_alive),
        expects_continue: is_http11 && says.expects_continue,
        takes_trailers: is_http11 && says.takes_trailers,
        parts,
    })
}

/// `METHOD SP target SP version`, which the rules have found to be that.
fn request_line(line: &[u8], head: &Bytes) -> Result<Box<request::Parts>, Violation> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = words.next().zip(words.next()).ok_or(Violation::StartLine)?;
    let mut parts = Box::new(Request::new(()).into_parts().0);
    parts.method = Method::from_bytes(method).map_err(|_| Violation::StartLine)?;
    parts.uri = Uri::from_maybe_shared(head.slice_ref(target)).map_err(|_| Violation::Target)?;
    parts.version = if line.ends_with(b"HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    Ok(parts)
}

/// What fields say of the connection.
#[derive(Default)]
struct Says {
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    takes_trailers: bool,
}

impl Says {
    fn connection(&mut self, value: &HeaderValue) {
        for token in tokens(value) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// The words of a list.
pub(super) fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::cases;

    fn read(bytes: &str) -> Result<Option<Head>, Violation> {
        HeadReader::new(cases::LIMITS).read(&mut BytesMut::from(bytes))
    }

    #[test]
    fn a_head_is_read_and_what_follows_is_left() {
        let mut received =
            BytesMut::from("\r\nPOST /a?b HTTP/1.1\r\nHost: a\r\nX-One:  a b \r\nContent-Length: 4\r\n\r\nrest");
        let head = HeadReader::new(cases::LIMITS).read(&mut received).unwrap().unwrap();
        assert_eq!((head.parts.method.as_str(), head.parts.uri.to_string().as_str()), ("POST", "/a?b"));
        assert_eq!(head.parts.headers["x-one"], "a b");
        assert_eq!((head.framing, head.keeps_alive), (BodyFraming::Length(4), true));
        assert_eq!(&received[..], b"rest");
    }

    #[test]
    fn every_evil_head_is_refused_for_what_it_is_whole_and_byte_by_byte() {
        for (evil, violation) in cases::EVIL {
            let refused = |step: usize| {
                let (mut reader, mut received) = (HeadReader::new(cases::LIMITS), BytesMut::new());
                evil.as_bytes().chunks(step).find_map(|piece| {
                    received.extend_from_slice(piece);
                    reader.read(&mut received).err()
                })
            };
            assert_eq!(refused(evil.len()), Some(*violation), "{evil:?}");
            assert_eq!(refused(1), Some(*violation), "{evil:?} byte by byte");
        }
    }

    #[test]
    fn what_a_head_says_of_its_connection_is_heard() {
        for (head, keeps_alive) in [
            ("GET / HTTP/1.1\r\nHost: a", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close", false),
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close", false),
        ] {
            assert_eq!(read(&format!("{head}\r\n\r\n")).unwrap().unwrap().keeps_alive, keeps_alive, "{head}");
        }
        let head = read("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nTE: gzip, trailers\r\n\r\n");
        let head = head.unwrap().unwrap();
        assert!(head.expects_continue && head.takes_trailers);
        let head = read("GET / HTTP/1.0\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n").unwrap().unwrap();
        assert!(!head.expects_continue && !head.takes_trailers);
    }
}
