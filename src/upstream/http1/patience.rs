//! How long an app may take to begin its answer.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;

use crate::{upstream::progress::Progress, wait::Wait};

/// The time until the head of an answer: `limit` from now, or from the last byte of the request's body.
#[derive(Debug)]
pub(in crate::upstream) struct Patience<'a> {
    limit: Duration,
    since: Instant,
    progress: Option<&'a Progress>,
}

impl<'a> Patience<'a> {
    /// From now on; a `limit` of zero has no end.
    pub(in crate::upstream) fn new(limit: Duration, progress: Option<&'a Progress>) -> Self {
        Self { limit, since: Instant::now(), progress }
    }

    /// Ready with the limit once it is over.
    pub(super) fn poll(&self, wait: &mut Wait, cx: &mut Context<'_>) -> Poll<Duration> {
        if self.limit.is_zero() {
            return Poll::Pending;
        }
        let moved = self.progress.and_then(Progress::last_moved);
        let since = moved.map_or(self.since, |moved| moved.max(self.since));
        wait.poll_until(cx, since + self.limit).map(|()| self.limit)
    }
}
