//! The WebSocket handshake, both sides of it (RFC 6455, 4), and as much of its framing as a polite goodbye needs. Pure.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, Method, Version,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};

use super::hygiene::{has_token, is_only};

/// What the app must answer in `Sec-WebSocket-Accept`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Accept(String);

impl Accept {
    /// Checks the client's half of the handshake (RFC 6455, 4.2.1).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn expected(method: &Method, version: Version, headers: &HeaderMap) -> Result<Self, &'static str> {
        if *method != Method::GET {
            return Err("a WebSocket is asked for with GET");
        }
        if version != Version::HTTP_11 {
            return Err("a WebSocket is asked for over HTTP/1.1");
        }
        if !is_only(headers, &SEC_WEBSOCKET_VERSION, "13") {
            return Err("Sec-WebSocket-Version is not 13");
        }
        let key = single(headers, &SEC_WEBSOCKET_KEY).ok_or("Sec-WebSocket-Key is missing or stands twice")?;
        match STANDARD.decode(key) {
            Ok(nonce) if nonce.len() == 16 => Ok(Self::to(key)),
            _ => Err("Sec-WebSocket-Key is not 16 bytes in base64"),
        }
    }

    fn to(key: &[u8]) -> Self {
        // SHA-1 proves nothing here but that the app speaks WebSocket; the protocol fixes it (RFC 6455, 1.3).
        let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        hash.update(key);
        hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        Self(STANDARD.encode(hash.finish()))
    }

    /// Checks the app's half, a 101 (RFC 6455, 4.1). Only then the connection becomes a tunnel (threats 3.5).
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        if !is_only(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
            return Err("it switches to something else than the WebSocket asked for");
        }
        match single(headers, &SEC_WEBSOCKET_ACCEPT) {
            Some(accept) if accept == self.0.as_bytes() => Ok(()),
            _ => Err("its Sec-WebSocket-Accept does not answer the key"),
        }
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}

/// Follows the frames of one direction (RFC 6455, 5.2), to know whether a frame of our own may be put in here.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header_read: u8,
    length_bytes: u8,
    mask_bytes: u8,
    length: u64,
    payload_left: u64,
}

impl Frames {
    /// These bytes passed.
    pub(super) fn passed(&mut self, mut bytes: &[u8]) {
        loop {
            let skipped = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
            self.payload_left -= skipped as u64;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else { return };
            self.header_byte(*byte);
            bytes = rest;
        }
    }

    /// True when the last frame is complete and the next has not begun.
    pub(super) fn between(&self) -> bool {
        self.payload_left == 0 && self.header_read == 0
    }

    fn header_byte(&mut self, byte: u8) {
        match self.header_read {
            0 => {}
            1 => {
                self.mask_bytes = if byte & 0x80 == 0 { 0 } else { 4 };
                (self.length_bytes, self.length) = match byte & 0x7f {
                    126 => (2, 0),
                    127 => (8, 0),
                    short => (0, u64::from(short)),
                };
            }
            read if read < 2 + self.length_bytes => self.length = (self.length << 8) | u64::from(byte),
            _ => {}
        }
        self.header_read += 1;
        if self.header_read >= 2 && self.header_read == 2 + self.length_bytes + self.mask_bytes {
            self.header_read = 0;
            self.payload_left = self.length;
        }
    }
}

/// A Close frame saying "going away" (1001) to the client; servers do not mask (RFC 6455, 5.1).
pub(super) const CLOSE_TO_CLIENT: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];
/// The same to the app, masked as a client must; a mask of zeroes leaves the payload as it is.
pub(super) const CLOSE_TO_APP: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The example of RFC 6455, 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ANSWER: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_proper_request_expects_the_answer_of_the_rfc() {
        let fields = headers(&[("sec-websocket-version", "13"), ("sec-websocket-key", KEY)]);
        assert_eq!(Accept::expected(&Method::GET, Version::HTTP_11, &fields), Ok(Accept(ANSWER.into())));
        assert!(Accept::expected(&Method::POST, Version::HTTP_11, &fields).is_err());
        assert!(Accept::expected(&Method::GET, Version::HTTP_10, &fields).is_err());
        assert!(Accept::expected(&Method::GET, Version::HTTP_2, &fields).is_err());
    }

    #[test]
    fn an_improper_request_is_refused() {
        for fields in [
            &[("sec-websocket-version", "13")][..],
            &[("sec-websocket-version", "8"), ("sec-websocket-key", KEY)],
            &[("sec-websocket-key", KEY)],
            &[("sec-websocket-version", "13"), ("sec-websocket-key", "c2hvcnQ=")],
            &[("sec-websocket-version", "13"), ("sec-websocket-key", KEY), ("sec-websocket-key", KEY)],
        ] {
            assert!(Accept::expected(&Method::GET, Version::HTTP_11, &headers(fields)).is_err(), "{fields:?}");
        }
    }

    #[test]
    fn only_the_matching_answer_opens_the_tunnel() {
        let accept = Accept(ANSWER.into());
        let good = [("connection", "Upgrade"), ("upgrade", "WebSocket"), ("sec-websocket-accept", ANSWER)];
        assert_eq!(accept.check(&headers(&good)), Ok(()));
        for wrong in [
            &good[..2],
            &good[1..],
            &[good[0], ("upgrade", "h2c"), good[2]],
            &[good[0], good[1], ("sec-websocket-accept", "c3dhcHBlZA==")],
            &[good[0], good[1], good[2], good[2]],
        ] {
            assert!(accept.check(&headers(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn frames_are_followed_through_every_split() {
        let mut stream = Vec::new();
        let mut ends = vec![0];
        for (length, masked) in [(0_usize, false), (5, true), (125, false), (126, true), (70_000, false), (3, true)] {
            stream.push(0x82);
            let mask_bit = if masked { 0x80 } else { 0 };
            match length {
                0..=125 => stream.push(mask_bit | length as u8),
                126..=0xffff => {
                    stream.push(mask_bit | 126);
                    stream.extend((length as u16).to_be_bytes());
                }
                _ => {
                    stream.push(mask_bit | 127);
                    stream.extend((length as u64).to_be_bytes());
                }
            }
            stream.extend(vec![0xff; length + if masked { 4 } else { 0 }]);
            ends.push(stream.len());
        }
        for step in [1, 2, 3, 7, 1000, stream.len()] {
            let mut frames = Frames::default();
            let mut passed = 0;
            assert!(frames.between());
            for piece in stream.chunks(step) {
                frames.passed(piece);
                passed += piece.len();
                assert_eq!(frames.between(), ends.contains(&passed), "step {step}, after {passed}");
            }
        }
    }

    #[test]
    fn our_own_close_frames_are_whole() {
        for frame in [&CLOSE_TO_CLIENT[..], &CLOSE_TO_APP] {
            let mut frames = Frames::default();
            frames.passed(frame);
            assert!(frames.between());
        }
    }
}
