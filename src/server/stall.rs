//! A timer that runs only while somebody waits.

use std::{future::Future, pin::Pin, task::Context, time::Duration};

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
    ///
    /// The timer is not moved for every wait: one that is set too early wakes the task, which sets it anew. So waits that
    /// end soon, such as those between the requests of a busy connection, cost no timer at all.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }

    /// There was progress: the next wait counts from its own beginning. The timer is kept for it.
    pub(crate) fn progress(&mut self) {
        self.deadline = None;
    }
}
