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
pub(crate) struct Wait {
    deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Wait {
    /// Called when there is nothing to do but wait: true once that has been so for `limit`. Otherwise the task is
    /// woken when the time is up.
    pub(crate) fn is_over(&mut self, cx: &mut Context<'_>, limit: Duration) -> bool {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + limit);
        self.poll_until(cx, deadline).is_ready()
    }

    /// The same with a deadline of the caller's, which may be another each time.
    ///
    /// The timer is not moved for every wait: one that is set too early wakes the task, which sets it anew. So waits that
    /// end soon, such as those between the requests of a busy connection, cost no timer at all.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// There was progress: the next wait counts from its own beginning. The timer is kept for it.
    pub(crate) fn progress(&mut self) {
        self.deadline = None;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn over(wait: &mut Wait, limit: Duration) {
        poll_fn(|cx| if wait.is_over(cx, limit) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// One look, as of a task that something else wakes.
    async fn look(wait: &mut Wait, limit: Duration) -> bool {
        poll_fn(|cx| Poll::Ready(wait.is_over(cx, limit))).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_counts_from_its_own_beginning() {
        let mut wait = Wait::default();
        assert!(!look(&mut wait, LIMIT).await);
        tokio::time::advance(LIMIT / 2).await;
        wait.progress();
        let began = Instant::now();
        over(&mut wait, LIMIT).await;
        assert_eq!(began.elapsed(), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_wait_is_not_kept_by_a_longer_one_before_it() {
        let mut wait = Wait::default();
        assert!(!look(&mut wait, LIMIT * 10).await);
        wait.progress();
        let began = Instant::now();
        over(&mut wait, LIMIT).await;
        assert_eq!(began.elapsed(), LIMIT);
    }
}
