//! The machine: follows messages along a stream of bytes and finds the first that has two readings. No I/O.

use super::{
    bytes,
    chunk::Chunked,
    head::{Asked, BodyFraming, Head, HeadLimits},
    violation::Violation,
};

/// Where in the stream we stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunked),
    /// A request asked for an upgrade; what follows is HTTP or not, as the answer decides.
    Undecided,
    /// After an upgrade: whatever comes is passed.
    Opaque,
}

/// What was found in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// So many bytes from the start may be passed on.
    pub(crate) pass: usize,
    /// What is wrong with the byte after them, or with the head that begins there.
    pub(crate) violation: Option<Violation>,
}

/// Follows the requests of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Framing {
    limits: HeadLimits,
    state: State,
    head: Head,
    /// Bytes of the current head that were read already; they come again until the head is whole.
    seen: usize,
}

impl Framing {
    /// At the first byte of a connection.
    pub(crate) fn requests(limits: HeadLimits) -> Self {
        Self { limits, state: State::Head, head: Head::default(), seen: 0 }
    }

    /// Reads `bytes`, which start with the first byte that was not passed yet.
    ///
    /// When fewer than all may be passed and nothing is wrong, the rest is the beginning of a head: keep it and call
    /// again with it and what follows.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Scanned {
        let mut pass = 0;
        while let Some(rest) = bytes.get(pass..).filter(|rest| !rest.is_empty()) {
            match self.step(rest) {
                Ok(0) => break,
                Ok(taken) => pass += taken,
                Err((good, violation)) => return Scanned { pass: pass + good, violation: Some(violation) },
            }
        }
        Scanned { pass, violation: None }
    }

    /// True within a body.
    pub(crate) fn is_in_body(&self) -> bool {
        matches!(self.state, State::Length(_) | State::Chunked(_))
    }

    /// True while it is open whether HTTP goes on; decide with [`Self::decide`].
    pub(crate) fn is_undecided(&self) -> bool {
        self.state == State::Undecided
    }

    /// The upgrade was `accepted` (the rest is no HTTP) or not (the next request follows).
    pub(crate) fn decide(&mut self, accepted: bool) {
        if self.is_undecided() {
            self.state = if accepted { State::Opaque } else { State::Head };
        }
    }

    /// Reads on in the current state: how many bytes were taken, 0 for "wait for more".
    fn step(&mut self, rest: &[u8]) -> Result<usize, (usize, Violation)> {
        match &mut self.state {
            State::Head => self.read_head(rest).map_err(|violation| (0, violation)),
            State::Length(left) => {
                let taken = (*left).min(rest.len() as u64);
                *left -= taken;
                if *left == 0 {
                    self.state = State::Head;
                }
                Ok(usize::try_from(taken).unwrap_or(rest.len()))
            }
            State::Chunked(chunked) => {
                let (taken, ended) = chunked.read(rest)?;
                if ended {
                    self.state = State::Head;
                }
                Ok(taken)
            }
            State::Undecided => Ok(0),
            State::Opaque => Ok(rest.len()),
        }
    }

    /// Reads the lines of a head that have arrived; the head's length once it is whole, else 0.
    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        if self.seen == 0 {
            self.head = Head::default();
            self.seen = Self::skip_empty_line(bytes)?;
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
                return self.end_head();
            }
            self.read_line(line)?;
        }
        if bytes.len() > self.limits.bytes { Err(self.too_large()) } else { Ok(0) }
    }

    /// RFC 9112 §2.2: one empty line before a request is forgiven; hyper skips it too. Anything that cannot begin a
    /// start line (a TLS hello on a plain port, say) is refused at once rather than waited for.
    fn skip_empty_line(bytes: &[u8]) -> Result<usize, Violation> {
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

    fn read_line(&mut self, line: &[u8]) -> Result<(), Violation> {
        if self.head.has_start() {
            return self.head.field(line, &self.limits);
        }
        self.head.request_line(line, &self.limits)
    }

    fn end_head(&mut self) -> Result<usize, Violation> {
        // What a request asks for decides nothing about its own body.
        self.state = match self.head.end(Asked::Other)? {
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::Chunked(Chunked::new()),
            BodyFraming::Upgrade => State::Undecided,
            BodyFraming::Empty | BodyFraming::UntilClose | BodyFraming::Interim => State::Head,
        };
        Ok(std::mem::take(&mut self.seen))
    }

    /// A request line without end is a target that is too long, not a head.
    fn too_large(&self) -> Violation {
        if self.head.has_start() { Violation::HeadTooLarge } else { Violation::TargetTooLong }
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
pub(crate) mod tests;
