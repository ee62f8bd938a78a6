//! A timer for silence: armed only while somebody waits, so that bytes which are there cost nothing.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// Measures how long nothing came.
#[derive(Debug)]
pub(crate) struct Stall {
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Stall {
    /// Gives up after a silence of `after`; zero never does.
    pub(crate) fn new(after: Duration) -> Self {
        Self { after, sleep: None, waiting: false }
    }

    /// Something came.
    pub(crate) fn moved(&mut self) {
        self.waiting = false;
    }

    /// Nothing is there now: ready with the allowed silence once it is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        if self.after.is_zero() {
            return Poll::Pending;
        }
        let after = self.after;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        if !self.waiting {
            self.waiting = true;
            sleep.as_mut().reset(Instant::now() + after);
        }
        sleep.as_mut().poll(cx).map(|()| after)
    }
}
