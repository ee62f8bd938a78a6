//! Reading the head of an answer for a client that speaks HTTP/1 too: what nobody here looks at stays the bytes it came as.
//!
//! Of a usual answer a gateway needs its status, its length, what it says of the connection and its cookies. All lines are
//! judged by the same rules; only these are taken out, and the rest goes on in one piece.

use bytes::{Buf as _, BytesMut};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, SET_COOKIE},
    response,
};

use super::answer::Head;
use crate::{
    http1::{Asked, BodyFraming, HeadLimits, MessageHead, Violation, next_line, trim},
    message::Lines,
};

/// Reads a whole head. `None` when it says something rare, which has to be looked at in a map; `head` is as it was then.
pub(super) fn sift(head: &mut BytesMut, asked: Asked, limits: &HeadLimits) -> Result<Option<Head>, Violation> {
    let mut rest: &[u8] = head;
    let status_line = next_line(&mut rest)?;
    let mut sieve = Sieve::default();
    sieve.rules.status_line(status_line)?;
    let mut parts = http::Response::new(()).into_parts().0;
    (parts.status, parts.version) = super::answer::status(status_line)?;
    let begin = head.len() - rest.len();
    let mut at = 0;
    loop {
        let line = next_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        let end = at + line.len() + b"\r\n".len();
        let passes = match sieve.line(line, limits)? {
            Fate::Passes => true,
            Fate::Ends => false,
            Fate::Cookie(value) => {
                parts.headers.append(SET_COOKIE, value);
                false
            }
            Fate::Unusual => return Ok(None),
        };
        if !passes && !sieve.gaps.cut(at, end) {
            return Ok(None);
        }
        at = end;
    }
    let framing = sieve.rules.end(asked)?;
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(None);
    }
    keep_length(&mut parts.headers, &sieve.rules, framing);
    head.advance(begin);
    sieve.gaps.close(head, at);
    let lines = Lines::judged(std::mem::take(head).freeze(), sieve.dated);
    Ok(Some(Head { keeps_alive: keeps_alive(&parts, framing, sieve.closes), parts, lines, framing }))
}

/// RFC 9112, 9.3, as [`answer`](super::answer) reads it.
fn keeps_alive(parts: &response::Parts, framing: BodyFraming, says_close: bool) -> bool {
    parts.version == http::Version::HTTP_11 && framing != BodyFraming::UntilClose && !says_close
}

/// The length of a body that does not follow is a field like others (RFC 9110, 8.6: answers to HEAD, and 304).
fn keep_length(headers: &mut HeaderMap, rules: &MessageHead, framing: BodyFraming) {
    if let (BodyFraming::Empty, Some(length)) = (framing, rules.length()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// What becomes of a line.
enum Fate {
    /// It goes on as it is.
    Passes,
    /// It was meant for us, and was heard.
    Ends,
    /// It sets a cookie, which may be one of ours.
    Cookie(HeaderValue),
    /// It must be looked at more closely.
    Unusual,
}

/// What the lines so far have said.
#[derive(Default)]
struct Sieve {
    rules: MessageHead,
    gaps: Gaps,
    closes: bool,
    dated: bool,
}

impl Sieve {
    fn line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<Fate, Violation> {
        let (name, value) = self.rules.field(line, limits)?;
        let is = |field: &str| name.eq_ignore_ascii_case(field.as_bytes());
        // Told apart by length first: most fields are none of these.
        Ok(match name.len() {
            4 if is("date") => {
                self.dated = true;
                Fate::Passes
            }
            10 if is("set-cookie") => {
                Fate::Cookie(HeaderValue::from_bytes(trim(value)).map_err(|_| Violation::Control)?)
            }
            10 if is("connection") => self.connection(trim(value)),
            // Framing is told anew by the body that is sent (threats 3.3), and how long a connection lasts is ours to say.
            14 if is("content-length") => Fate::Ends,
            17 if is("transfer-encoding") => Fate::Ends,
            10 if is("keep-alive") => Fate::Ends,
            2 | 6 | 7 | 14 | 16 | 18 | 19 if is_for_one_hop(name) => Fate::Unusual,
            _ => Fate::Passes,
        })
    }

    /// Only its two plain words: others name fields that end here.
    fn connection(&mut self, value: &[u8]) -> Fate {
        let closes = value.eq_ignore_ascii_case(b"close");
        self.closes |= closes;
        if closes || value.eq_ignore_ascii_case(b"keep-alive") { Fate::Ends } else { Fate::Unusual }
    }
}

/// The fields for one connection only that an answer hardly ever has (RFC 9110, 7.6.1).
fn is_for_one_hop(name: &[u8]) -> bool {
    const NAMES: [&str; 8] = [
        "te",
        "expect",
        "trailer",
        "upgrade",
        "http2-settings",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
    ];
    NAMES.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
}

/// The stretches of a head that do not go on.
#[derive(Default)]
struct Gaps {
    cut: [(usize, usize); Self::MOST],
    count: usize,
}

impl Gaps {
    /// Length, connection and some cookies; a head with more is better off in a map.
    const MOST: usize = 6;

    /// Takes a stretch out; false when there are too many.
    fn cut(&mut self, from: usize, to: usize) -> bool {
        if let Some(last) = self.count.checked_sub(1).and_then(|last| self.cut.get_mut(last))
            && last.1 == from
        {
            last.1 = to;
            return true;
        }
        let Some(gap) = self.cut.get_mut(self.count) else { return false };
        *gap = (from, to);
        self.count += 1;
        true
    }

    /// Moves what stays of the first `end` bytes together, and drops the rest.
    fn close(&self, head: &mut BytesMut, end: usize) {
        let gaps = self.cut.get(..self.count).unwrap_or_default();
        let mut kept = gaps.first().map_or(end, |gap| gap.0);
        for (index, gap) in gaps.iter().enumerate() {
            let next = gaps.get(index + 1).map_or(end, |next| next.0);
            head.copy_within(gap.1..next, kept);
            kept += next - gap.1;
        }
        head.truncate(kept);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::http1::answer::read_head;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 100, target: 0 };

    fn sifted(head: &str) -> Result<Option<Head>, Violation> {
        sift(&mut BytesMut::from(head), Asked::Other, &LIMITS)
    }

    #[test]
    fn a_usual_answer_passes_but_for_what_was_meant_for_us() {
        let head = "HTTP/1.1 200 OK\r\nServer: x\r\nDate: now\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\
                    Set-Cookie: a=b\r\nVary:  Accept \r\nset-cookie: c=d\r\n\r\n";
        let head = sifted(head).unwrap().unwrap();
        assert_eq!(head.lines.bytes(), b"Server: x\r\nDate: now\r\nVary:  Accept \r\n");
        assert!(head.lines.is_dated() && head.keeps_alive);
        assert_eq!(head.framing, BodyFraming::Length(5));
        assert_eq!(head.parts.headers.get_all(SET_COOKIE).iter().collect::<Vec<_>>(), ["a=b", "c=d"]);
        assert_eq!(head.parts.headers.len(), 2);
    }

    #[test]
    fn lines_are_left_whole_wherever_the_gaps_are() {
        for (fields, left) in [
            ("", ""),
            ("Connection: close\r\n", ""),
            ("A: 1\r\n", "A: 1\r\n"),
            ("Content-Length: 1\r\nA: 1\r\n", "A: 1\r\n"),
            ("A: 1\r\nContent-Length: 1\r\n", "A: 1\r\n"),
            ("Content-Length: 1\r\nConnection: close\r\nA: 1\r\nKeep-Alive: 5\r\nB: 2\r\n", "A: 1\r\nB: 2\r\n"),
        ] {
            let head = sifted(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).unwrap().unwrap();
            assert_eq!(head.lines.bytes(), left.as_bytes(), "{fields:?}");
        }
    }

    #[test]
    fn what_is_rare_is_left_for_the_map_as_it_was() {
        let many = "Set-Cookie: a=1\r\nA: 1\r\n".repeat(7);
        for fields in [
            "Connection: x-secret\r\nX-Secret: 1\r\n",
            "X-Secret: 1\r\nConnection: close, x-secret\r\n",
            "Connection: Upgrade, Keep-Alive\r\nUpgrade: h2c\r\n",
            "Trailer: x\r\n",
            "TE: trailers\r\n",
            "Proxy-Authenticate: Basic\r\n",
            "Proxy-Connection: close\r\n",
            &many,
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            let mut bytes = BytesMut::from(head.as_str());
            assert!(sift(&mut bytes, Asked::Other, &LIMITS).unwrap().is_none(), "{fields:?}");
            assert_eq!(bytes, head);
        }
        assert!(sifted("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n").unwrap().is_none());
    }

    #[test]
    fn a_length_without_a_body_is_kept() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
        let head = sift(&mut BytesMut::from(head), Asked::Head, &LIMITS).unwrap().unwrap();
        assert_eq!((head.framing, &head.parts.headers[CONTENT_LENGTH]), (BodyFraming::Empty, &HeaderValue::from(7)));
    }

    /// Fields as apps send them, good and bad.
    fn field() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            "(?i)(date|set-cookie|connection|keep-alive|content-length|transfer-encoding|te|trailer|upgrade|vary|etag)",
            "[a-zA-Z!_. :-]{0,12}",
        ];
        let value = prop_oneof!["close|keep-alive|Keep-Alive, x|chunked|[0-9]{1,3}", "[ -~\t\u{1}\u{e9}]{0,12}"];
        (name, value).prop_map(|(name, value)| format!("{name}: {value}"))
    }

    proptest! {
        /// Both readers judge alike, and what they pass on says the same.
        #[test]
        fn both_ways_of_reading_are_one(
            fields in prop::collection::vec(field(), 0..8), status in prop_oneof!["200", "204", "304", "404", "999"],
            is_head: bool, old: bool,
        ) {
            let version = if old { "HTTP/1.0" } else { "HTTP/1.1" };
            let head = format!("{version} {status} x\r\n{}\r\n", fields.iter().map(|field| format!("{field}\r\n")).collect::<String>());
            let asked = if is_head { Asked::Head } else { Asked::Other };
            let mapped = read_head(bytes::Bytes::from(head.clone()), asked, &LIMITS);
            match sift(&mut BytesMut::from(head.as_str()), asked, &LIMITS) {
                Err(violation) => prop_assert_eq!(mapped.unwrap_err(), violation),
                // It gave up before the end, where there may be more to refuse.
                Ok(None) => {}
                Ok(Some(sifted)) => {
                    let mut mapped = mapped.unwrap();
                    prop_assert_eq!(mapped.framing, sifted.framing);
                    prop_assert_eq!(mapped.keeps_alive, sifted.keeps_alive);
                    prop_assert_eq!(mapped.parts.status, sifted.parts.status);
                    let mut headers = sifted.parts.headers;
                    sifted.lines.append_to(&mut headers);
                    for name in ["connection", "keep-alive", "transfer-encoding"] {
                        mapped.parts.headers.remove(name);
                    }
                    if sifted.framing != BodyFraming::Empty {
                        mapped.parts.headers.remove(CONTENT_LENGTH);
                    }
                    // A length of 007 is written 7.
                    let length = |headers: &mut HeaderMap| headers.remove(CONTENT_LENGTH).map(|length| length.to_str().unwrap().parse::<u64>());
                    prop_assert_eq!(length(&mut mapped.parts.headers), length(&mut headers));
                    prop_assert_eq!(mapped.parts.headers, headers);
                }
            }
        }
    }
}
