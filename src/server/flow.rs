//! Notices HTTP/2 clients that ask for answers and never take them.
//!
//! HTTP/2 has flow control of its own: a client can keep the connection lively, grant no window, and so hold the
//! memory of a hundred answers for as long as it likes (CVE-2026-49975, CVE-2026-47774). The socket shows nothing of
//! it. But a body that hyper does not ask for more, although it has more, is an answer that the client does not take.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};

/// The answers of one connection that wait for the client, counted in rounds: whoever waits through a whole round is
/// stuck, however many others have come and gone meanwhile.
#[derive(Debug, Default)]
pub(super) struct Flow {
    round: Cell<u32>,
    /// Waiting since this round.
    new: Cell<usize>,
    /// Waiting since the round before.
    old: Cell<usize>,
}

impl Flow {
    /// True when some answer waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.new.get() + self.old.get() > 0
    }

    /// Ends the round; false when an answer has waited all through it.
    pub(super) fn end_round(&self) -> bool {
        if self.old.get() > 0 {
            return false;
        }
        self.old.set(self.new.replace(0));
        self.round.set(self.round.get().wrapping_add(1));
        true
    }

    fn begin_wait(&self) -> u32 {
        self.new.set(self.new.get() + 1);
        self.round.get()
    }

    fn end_wait(&self, since: u32) {
        let count = if since == self.round.get() { &self.new } else { &self.old };
        count.set(count.get() - 1);
    }
}

/// A body that tells its connection's [`Flow`] how it is getting on.
#[derive(Debug)]
pub(super) struct Flowing {
    body: Body,
    flow: Rc<Flow>,
    /// The round in which it began to wait for the client.
    waiting: Option<u32>,
}

impl Flowing {
    pub(super) fn new(body: Body, flow: Rc<Flow>) -> Self {
        // hyper waits for room before it asks the first time.
        let mut flowing = Self { body, flow, waiting: None };
        flowing.set_waiting(!flowing.body.is_end_stream());
        flowing
    }

    fn set_waiting(&mut self, waits: bool) {
        if let Some(since) = self.waiting.take() {
            self.flow.end_wait(since);
        }
        self.waiting = waits.then(|| self.flow.begin_wait());
    }
}

impl HttpBody for Flowing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.set_waiting(false);
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        // Pending is the upstream's time, not the client's.
        this.set_waiting(matches!(polled, Poll::Ready(Some(Ok(_)))) && !this.body.is_end_stream());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Flowing {
    fn drop(&mut self) {
        self.set_waiting(false);
    }
}
