//! What the reader below hyper and the service above it tell each other, past hyper.

use std::{
    sync::atomic::{AtomicU8, Ordering::Relaxed},
    task::Waker,
};

use futures_util::task::AtomicWaker;

use super::violation::Violation;

const OPEN: u8 = 0;
const REFUSED: u8 = 1;
const ACCEPTED: u8 = 2;

/// The method of the stand-in request that hyper parses in place of a refused head.
///
/// A client may send it too and gains nothing: without a refusal in this connection it is an unknown method.
const STAND_IN_METHOD: &str = "REFUSED";

/// The stand-in itself.
pub(super) const STAND_IN: &[u8] = b"REFUSED / HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n";

/// One connection's notes. Atomic only because hyper wants its I/O to be `Send`; both ends live in one thread.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Number of the violation of a refused head; 0 for none.
    head: AtomicU8,
    /// The same of the body now being read.
    body: AtomicU8,
    /// How an upgrade was answered.
    upgrade: AtomicU8,
    /// The reader waiting for that answer.
    reader: AtomicWaker,
}

impl Verdict {
    /// Why this request, the stand-in, is to be refused; `None` for a real one.
    pub(crate) fn refusal<B>(&self, request: &http::Request<B>) -> Option<Violation> {
        let violation = Violation::from_number(self.head.load(Relaxed))?;
        (request.method().as_str() == STAND_IN_METHOD).then_some(violation)
    }

    /// What broke the body of the request now being served, if anything did.
    pub(crate) fn broken_body(&self) -> Option<Violation> {
        Violation::from_number(self.body.load(Relaxed))
    }

    /// The request that asked for an upgrade was answered; with 101 when `accepted`.
    pub(crate) fn decide_upgrade(&self, accepted: bool) {
        self.upgrade.store(if accepted { ACCEPTED } else { REFUSED }, Relaxed);
        self.reader.wake();
    }

    pub(super) fn refuse_head(&self, violation: Violation) {
        self.head.store(violation as u8, Relaxed);
    }

    pub(super) fn break_body(&self, violation: Violation) {
        self.body.store(violation as u8, Relaxed);
    }

    /// Takes the decision on an upgrade, when it was made.
    pub(super) fn take_decision(&self) -> Option<bool> {
        match self.upgrade.swap(OPEN, Relaxed) {
            OPEN => None,
            decision => Some(decision == ACCEPTED),
        }
    }

    /// Wake this task when the decision is made.
    pub(super) fn wait_for_decision(&self, waker: &Waker) {
        self.reader.register(waker);
    }
}
