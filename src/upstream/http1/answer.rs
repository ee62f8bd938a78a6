//! Reading the head of an answer. Pure: bytes in, a response without its body out.

use bytes::{Bytes, BytesMut};
use http::{StatusCode, Version, header::CONNECTION, response};

use super::sift::sift;
use crate::{
    http1::{Asked, BodyFraming, HeadLimits, MessageHead, Violation, count_fields, field, head_end, next_line},
    message::Lines,
};

/// Fields of an answer we take; as many as of a request.
const FIELDS: usize = 100;
/// Interim answers before the final one: 100, 102 and 103 have their uses, a stream of them does not (threats 3.6).
const MAX_INTERIM: u8 = 8;

/// How the fields of an answer are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Taking {
    /// All of them in the map.
    Map,
    /// Those that only pass through as lines.
    Lines,
}

/// Follows the bytes of an answer until its final head is whole.
#[derive(Debug)]
pub(super) struct HeadReader {
    asked: Asked,
    taking: Taking,
    limits: HeadLimits,
    interim: u8,
    /// Bytes in which no end was found: they need not be searched again.
    searched: usize,
}

/// The final head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: response::Parts,
    /// Fields that are not in the map.
    pub(super) lines: Lines,
    pub(super) framing: BodyFraming,
    /// The connection may carry another request after this answer (RFC 9112, 9.3).
    pub(super) keeps_alive: bool,
}

impl HeadReader {
    /// For the answer to a request, HEAD or another; a head of at most `bytes`.
    pub(super) fn new(is_head: bool, bytes: usize, taking: Taking) -> Self {
        let asked = if is_head { Asked::Head } else { Asked::Other };
        Self { asked, taking, limits: HeadLimits { bytes, fields: FIELDS, target: 0 }, interim: 0, searched: 0 }
    }

    /// Takes the final head out of `received` once it is whole; interim answers before it are passed over.
    pub(super) fn read(&mut self, received: &mut BytesMut) -> Result<Option<Head>, Violation> {
        while let Some(length) = self.length(received)? {
            let head = self.take(received.split_to(length))?;
            if head.framing != BodyFraming::Interim {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(Violation::TooManyInterim);
            }
        }
        Ok(None)
    }

    fn take(&self, mut head: BytesMut) -> Result<Head, Violation> {
        if self.taking == Taking::Lines
            && let Some(head) = sift(&mut head, self.asked, &self.limits)?
        {
            return Ok(head);
        }
        read_head(head.freeze(), self.asked, &self.limits)
    }

    /// How long the head at the start is, its empty line included; nothing while it is not whole.
    fn length(&mut self, received: &[u8]) -> Result<Option<usize>, Violation> {
        // What cannot begin an answer is not waited for: a TLS alert, another protocol's greeting.
        let (start, expected) = (received.get(..5).unwrap_or(received), b"HTTP/");
        if !expected.starts_with(start) {
            return Err(Violation::StartLine);
        }
        let length = head_end(received, self.searched);
        self.searched = if length.is_some() { 0 } else { received.len() };
        if length.unwrap_or(received.len()) > self.limits.bytes {
            return Err(Violation::HeadTooLarge);
        }
        Ok(length)
    }
}

/// Reads a whole head, line by line, under the strict rules. The values share its buffer.
pub(super) fn read_head(head: Bytes, asked: Asked, limits: &HeadLimits) -> Result<Head, Violation> {
    let mut rules = MessageHead::default();
    let mut rest: &[u8] = &head;
    let status_line = next_line(&mut rest)?;
    rules.status_line(status_line)?;
    let mut parts = http::Response::new(()).into_parts().0;
    parts.headers.reserve(count_fields(rest).min(limits.fields));
    loop {
        let line = next_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = field(line, &head)?;
        rules.judge(name.as_str().as_bytes(), value.as_bytes(), limits)?;
        parts.headers.append(name, value);
    }
    (parts.status, parts.version) = status(status_line)?;
    let framing = rules.end(asked)?;
    Ok(Head { keeps_alive: keeps_alive(&parts, framing), parts, lines: Lines::default(), framing })
}

/// What a status line says, which the rules have found to be one.
pub(super) fn status(line: &[u8]) -> Result<(StatusCode, Version), Violation> {
    let code = line.get(9..12).ok_or(Violation::StartLine)?;
    let status = StatusCode::from_bytes(code).map_err(|_| Violation::StartLine)?;
    Ok((status, if line.starts_with(b"HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 }))
}

/// RFC 9112, 9.3: unless it says otherwise, in HTTP/1.1. What is read until the end ends the connection by itself. An
/// HTTP/1.0 app that would keep it is not worth a second reading of `Connection`.
fn keeps_alive(head: &response::Parts, framing: BodyFraming) -> bool {
    let says_close = || {
        head.headers.get_all(CONNECTION).iter().any(|value| {
            value.as_bytes().split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
        })
    };
    head.version == Version::HTTP_11
        && !matches!(framing, BodyFraming::UntilClose | BodyFraming::Upgrade)
        && !says_close()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &str) -> Result<Option<Head>, Violation> {
        HeadReader::new(false, 1024, Taking::Map).read(&mut BytesMut::from(bytes))
    }

    fn framing(bytes: &str) -> BodyFraming {
        read(bytes).unwrap().unwrap().framing
    }

    #[test]
    fn a_head_is_read_and_what_follows_is_left() {
        let mut received =
            BytesMut::from("HTTP/1.1 404 Not Here\r\nX-One:  a b \r\nset-cookie: a\r\nSet-Cookie: b\r\n\r\nrest");
        let head = HeadReader::new(false, 1024, Taking::Map).read(&mut received).unwrap().unwrap();
        assert_eq!((head.parts.status.as_u16(), head.parts.version), (404, Version::HTTP_11));
        assert_eq!(head.parts.headers["x-one"], "a b");
        assert_eq!(head.parts.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(&received[..], b"rest");
    }

    #[test]
    fn a_head_may_come_byte_by_byte() {
        let whole = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let mut reader = HeadReader::new(false, 1024, Taking::Map);
        let mut received = BytesMut::new();
        let mut heads = Vec::new();
        for byte in whole.bytes() {
            received.extend_from_slice(&[byte]);
            if heads.is_empty() {
                heads.extend(reader.read(&mut received).unwrap());
            }
        }
        assert_eq!(heads[0].framing, BodyFraming::Length(2));
        assert_eq!(&received[..], b"ok");
    }

    #[test]
    fn the_framing_follows_the_head_and_the_method() {
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), BodyFraming::UntilClose);
        assert_eq!(framing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), BodyFraming::Empty);
        assert_eq!(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"), BodyFraming::Chunked);
        assert_eq!(framing("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"), BodyFraming::Empty);
        let mut received = BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
        let head = HeadReader::new(true, 1024, Taking::Map).read(&mut received).unwrap().unwrap();
        assert_eq!(head.framing, BodyFraming::Empty);
    }

    #[test]
    fn a_connection_is_kept_only_where_both_sides_know_where_the_answer_ends() {
        for (head, kept) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 1", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: x, Close", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: x\r\nconnection: close", false),
            ("HTTP/1.1 200 OK", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1", false),
        ] {
            assert_eq!(read(&format!("{head}\r\n\r\n")).unwrap().unwrap().keeps_alive, kept, "{head}");
        }
    }

    #[test]
    fn what_has_two_readings_or_none_is_refused_without_waiting_for_more() {
        for (bytes, violation) in [
            ("SSH-2.0-OpenSSH_9.2\r\n", Violation::StartLine),
            ("\x15\x03\x01", Violation::StartLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", Violation::StartLine),
            ("HTTP/1.1 20 OK\r\n\r\n", Violation::StartLine),
            ("HTTP/1.1  200 OK\r\n\r\n", Violation::StartLine),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Violation::StartLine),
            ("HTTP/2.0 200 OK\r\n\r\n", Violation::Version),
            ("HTTP/1.1 200 O\0K\r\n\r\n", Violation::Control),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", Violation::TransferEncoding),
            ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", Violation::TransferEncoding),
            ("HTTP/1.1 200 OK\nx: y\r\n\r\n", Violation::BareLf),
            ("HTTP/1.1 200 OK\r\nx: y\nz: w\r\n\r\n", Violation::BareLf),
            ("HTTP/1.1 200 OK\r\nna me: x\r\n\r\n", Violation::FieldName),
            ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n", Violation::Folded),
            ("HTTP/1.1 200 OK\r\nx: \u{1}\r\n\r\n", Violation::Control),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n", Violation::ContentLength),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", Violation::TwoLengths),
            ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Violation::TransferEncoding),
        ] {
            assert_eq!(read(bytes).unwrap_err(), violation, "{bytes:?}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(2000));
        assert_eq!(read(&endless).unwrap_err(), Violation::HeadTooLarge);
        assert_eq!(read(&"HTTP/1.1 100 Continue\r\n\r\n".repeat(9)).unwrap_err(), Violation::TooManyInterim);
        assert!(read("HTTP/1.1 200 O").unwrap().is_none());
    }
}
