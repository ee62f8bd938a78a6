//! A timer for silence: armed only while somebody waits, so that bytes which are there cost nothing.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use crate::wait::Wait;

/// Measures how long nothing came.
#[derive(Debug)]
pub(crate) struct Stall {
    after: Duration,
    wait: Wait,
}

impl Stall {
    /// Gives up after a silence of `after`; zero never does.
    pub(crate) fn new(after: Duration) -> Self {
        Self { after, wait: Wait::default() }
    }

    /// Something came.
    pub(crate) fn moved(&mut self) {
        self.wait.progress();
    }

    /// Nothing is there now: ready with the allowed silence once it is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        if !self.after.is_zero() && self.wait.is_over(cx, self.after) { Poll::Ready(self.after) } else { Poll::Pending }
    }
}
