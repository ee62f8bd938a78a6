//! A timer that runs only while somebody waits.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Tells when a wait has lasted too long. Costs nothing until the first wait.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Called when there is nothing to do but wait: true once that has been so for `limit`. Otherwise the task is
    /// woken when the time is up.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx) == Poll::Ready(())
    }

    /// There was progress: the next wait counts from its own beginning. The timer is kept for it.
    pub(crate) fn progress(&mut self) {
        self.deadline = None;
    }

    /// The wait is over for good: frees the timer, so that idle connections stay small.
    pub(crate) fn end(&mut self) {
        self.deadline = None;
        self.sleep = None;
    }
}
