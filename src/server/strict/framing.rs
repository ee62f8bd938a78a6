//! The machine: follows messages along a stream of bytes and finds the first that has two readings. No I/O.

use super::{
    bytes,
    chunk::Chunked,
    head::{Asked, BodyFraming, Head, HeadLimits},
    violation::Violation,
};

/// Interim answers before the final one: 100, 102 and 103 have their uses, a stream of them does not.
const MAX_INTERIM: u8 = 8;

/// Which side's messages are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Requests,
    Answer(Asked),
}

/// Where in the stream we stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Chunked(Chunked),
    /// A request asked for an upgrade; what follows is HTTP or not, as the answer decides.
    Undecided,
    /// Whatever comes is passed: after an upgrade, or an answer that ends with its connection.
    Opaque,
    /// An answer has ended.
    Done,
}

/// What was found in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// So many bytes from the start may be passed on.
    pub(crate) pass: usize,
    /// What is wrong with the byte after them, or with the head that begins there.
    pub(crate) violation: Option<Violation>,
}

/// Follows the framing of one direction of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Framing {
    role: Role,
    limits: HeadLimits,
    state: State,
    head: Head,
    /// Bytes of the current head that were read already; they come again until the head is whole.
    seen: usize,
    interim: u8,
}

impl Framing {
    /// For the requests of a client, one after another.
    pub(crate) fn requests(limits: HeadLimits) -> Self {
        Self::new(Role::Requests, limits)
    }

    /// For one answer of an upstream; call [`Self::next_answer`] before each further one.
    #[allow(dead_code, reason = "the upstream side's half of the machine")]
    pub(crate) fn answer(asked: Asked, limits: HeadLimits) -> Self {
        Self::new(Role::Answer(asked), limits)
    }

    fn new(role: Role, limits: HeadLimits) -> Self {
        Self { role, limits, state: State::Head, head: Head::default(), seen: 0, interim: 0 }
    }

    /// Another request was sent on the connection whose answer has ended. False when the answer before has not.
    #[allow(dead_code, reason = "the upstream side's half of the machine")]
    pub(crate) fn next_answer(&mut self, asked: Asked) -> bool {
        let ended = self.state == State::Done;
        if ended {
            *self = Self::new(Role::Answer(asked), self.limits);
        }
        ended
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

    /// True between two messages, when a connection may be used again: nothing of the next was seen.
    #[allow(dead_code, reason = "the upstream side's half of the machine")]
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.state, State::Head | State::Done) && self.seen == 0
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
                    self.state = self.after_message();
                }
                Ok(usize::try_from(taken).unwrap_or(rest.len()))
            }
            State::Chunked(chunked) => {
                let (taken, ended) = chunked.read(rest)?;
                if ended {
                    self.state = self.after_message();
                }
                Ok(taken)
            }
            State::Undecided => Ok(0),
            State::Opaque => Ok(rest.len()),
            State::Done => Err((0, Violation::Surplus)),
        }
    }

    fn after_message(&self) -> State {
        match self.role {
            Role::Requests => State::Head,
            Role::Answer(_) => State::Done,
        }
    }

    /// Reads the lines of a head that have arrived; the head's length once it is whole, else 0.
    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        if self.seen == 0 {
            self.head = Head::default();
            self.seen = self.skip_empty_line(bytes)?;
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
    fn skip_empty_line(&self, bytes: &[u8]) -> Result<usize, Violation> {
        let skipped = match bytes {
            [b'\r', b'\n', ..] if self.role == Role::Requests => 2,
            [b'\r'] if self.role == Role::Requests => return Ok(0),
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
        match self.role {
            Role::Requests => self.head.request_line(line, &self.limits),
            Role::Answer(_) => self.head.status_line(line),
        }
    }

    fn end_head(&mut self) -> Result<usize, Violation> {
        let asked = match self.role {
            Role::Requests => Asked::Other,
            Role::Answer(asked) => asked,
        };
        self.state = match self.head.end(asked)? {
            BodyFraming::Empty => self.after_message(),
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::Chunked(Chunked::new()),
            BodyFraming::UntilClose => State::Opaque,
            BodyFraming::Upgrade if self.role == Role::Requests => State::Undecided,
            BodyFraming::Upgrade => State::Opaque,
            BodyFraming::Interim => {
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Err(Violation::TooManyInterim);
                }
                State::Head
            }
        };
        Ok(std::mem::take(&mut self.seen))
    }

    /// A request line without end is a target that is too long, not a head.
    fn too_large(&self) -> Violation {
        if self.head.has_start() || self.role != Role::Requests {
            Violation::HeadTooLarge
        } else {
            Violation::TargetTooLong
        }
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
pub(crate) mod tests;
