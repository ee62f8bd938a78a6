//! Judging a head while it arrives.

use super::{
    bytes,
    head::{Asked, BodyFraming, Head, HeadLimits},
    violation::Violation,
};

/// Reads the lines of a request's head as they come, so that what has two readings is refused at once rather than waited
/// for.
#[derive(Debug)]
pub(crate) struct HeadWatch {
    limits: HeadLimits,
    head: Head,
    /// Bytes that were read already; they come again until the head is whole.
    seen: usize,
}

impl HeadWatch {
    /// At the first byte of a head.
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self { limits, head: Head::default(), seen: 0 }
    }

    /// Reads on in `bytes`, which begin with the head's first byte: its length, and what follows it, once it is whole.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, BodyFraming)>, Violation> {
        if self.seen == 0 {
            self.seen = empty_line(bytes)?;
        }
        while let Some(rest) = bytes.get(self.seen..)
            && let Some(newline) = memchr::memchr(b'\n', rest)
        {
            let line = rest.get(..newline).unwrap_or_default();
            let line = line.strip_suffix(b"\r").ok_or(Violation::BareLf)?;
            self.seen += newline + 1;
            if self.seen > self.limits.bytes {
                return Err(self.too_large());
            }
            if line.is_empty() && self.head.has_start() {
                // What a request asks for decides nothing about its own body.
                return Ok(Some((self.seen, self.head.end(Asked::Other)?)));
            }
            self.read_line(line)?;
        }
        if bytes.len() > self.limits.bytes { Err(self.too_large()) } else { Ok(None) }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        if self.head.has_start() {
            return self.head.field(line, &self.limits).map(|_| ());
        }
        self.head.request_line(line, &self.limits)
    }

    /// A request line without end is a target that is too long, not a head.
    fn too_large(&self) -> Violation {
        if self.head.has_start() { Violation::HeadTooLarge } else { Violation::TargetTooLong }
    }
}

/// How long the empty line at the start is. RFC 9112 §2.2: one before a request is forgiven. Anything that cannot begin a
/// start line (a TLS hello on a plain port, say) is refused at once rather than waited for.
pub(crate) fn empty_line(bytes: &[u8]) -> Result<usize, Violation> {
    let skipped = match bytes {
        [b'\r', b'\n', ..] => 2,
        [b'\r'] => return Ok(0),
        _ => 0,
    };
    match bytes.get(skipped) {
        Some(b'\n') => Err(Violation::BareLf),
        Some(first) if !bytes::is_token(*first) => Err(Violation::StartLine),
        _ => Ok(skipped),
    }
}
