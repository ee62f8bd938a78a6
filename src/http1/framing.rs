//! A second reader, for tests: follows requests along a stream of bytes by the rules alone and finds the first that has
//! two readings.

use super::{
    chunk::Chunked,
    head::{BodyFraming, HeadLimits},
    head_watch::HeadWatch,
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
    head: HeadWatch,
}

impl Framing {
    /// At the first byte of a connection.
    pub(crate) fn requests(limits: HeadLimits) -> Self {
        Self { limits, state: State::Head, head: HeadWatch::new(limits) }
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

    fn read_head(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let Some((length, framing)) = self.head.read(bytes)? else { return Ok(0) };
        self.head = HeadWatch::new(self.limits);
        self.state = match framing {
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::Chunked(Chunked::new()),
            BodyFraming::Upgrade => State::Undecided,
            BodyFraming::Empty | BodyFraming::UntilClose | BodyFraming::Interim => State::Head,
        };
        Ok(length)
    }
}

#[path = "framing_tests.rs"]
pub(crate) mod tests;
