//! What waits is kept within bounds of number and age: an alarm at 80 %, and beyond it what `event.when_full` says.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Parts, pulse::Heads};
use crate::{
    clock::Timestamp,
    config::event::{Event as Config, WhenFull},
    event::outbox::{Measure, OutboxError, Partition},
};

/// How often the outbox is measured while something waits.
const INTERVAL: Duration = Duration::from_secs(2);
/// From which part of a bound on the operator is alarmed.
const ALARM_AT: f64 = 0.8;
/// How often at most the log repeats an alarm.
const ALARM_EVERY: Duration = Duration::from_secs(60);
/// How long one replica has the right to drop.
const LEASE: Duration = Duration::from_secs(10);

/// Keeps the bounds.
#[derive(Debug)]
pub(super) struct Bounds {
    parts: Parts,
    holder: Arc<str>,
    max_count: u64,
    max_age: Duration,
    when_full: WhenFull,
    alarmed_at: Option<Timestamp>,
}

impl Bounds {
    pub(super) fn new(parts: &Parts, config: &Config, holder: &Arc<str>) -> Self {
        Self {
            parts: parts.clone(),
            holder: Arc::clone(holder),
            max_count: config.max_count,
            max_age: config.max_age,
            when_full: config.when_full,
            alarmed_at: None,
        }
    }

    /// Looks until `stop`: every few seconds while something waits, and sleeps while nothing does.
    pub(super) async fn keep(mut self, mut heads: watch::Receiver<Heads>, stop: CancellationToken) {
        loop {
            if let Err(error) = self.look().await {
                tracing::debug!(%error, "the outbox cannot be measured");
            }
            let idle = heads.borrow_and_update().is_empty();
            let wake = async {
                tokio::time::sleep(INTERVAL).await;
                // Nobody tells of news any more only when everything stops.
                if idle && heads.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = wake => {}
            }
        }
    }

    /// Measures once and acts on it.
    pub(super) async fn look(&mut self) -> Result<(), OutboxError> {
        let now = self.parts.clock.now();
        let measure = self.measure().await?;
        let dead = self.parts.outbox.dead_count().await?;
        let age = measure.oldest.map(|oldest| now.since(oldest)).unwrap_or_default();
        self.parts.metrics.measured(measure.count, age.as_secs(), dead);
        let filled = self.filled(measure.count, age);
        self.parts.metrics.alarm(filled >= ALARM_AT);
        if filled >= ALARM_AT {
            self.alarm(measure.count, age, now);
        }
        match self.when_full {
            WhenFull::RefuseLogins => self.parts.journal.refuse_logins(filled >= 1.0),
            WhenFull::DropOldest if filled > 1.0 => self.drop(measure.count, now).await?,
            WhenFull::DropOldest => {}
        }
        Ok(())
    }

    /// The part of the nearer bound that is used up.
    fn filled(&self, count: u64, age: Duration) -> f64 {
        let by_count = count as f64 / self.max_count as f64;
        by_count.max(age.as_secs_f64() / self.max_age.as_secs_f64())
    }

    async fn measure(&self) -> Result<Measure, OutboxError> {
        let mut all = Measure::default();
        for partition in Partition::all() {
            let measure = self.parts.outbox.measure(partition).await?;
            all.count += measure.count;
            all.oldest = [all.oldest, measure.oldest].into_iter().flatten().min();
        }
        Ok(all)
    }

    /// One line a minute.
    fn alarm(&mut self, count: u64, age: Duration, now: Timestamp) {
        if self.alarmed_at.is_some_and(|at| now.since(at) < ALARM_EVERY) {
            return;
        }
        self.alarmed_at = Some(now);
        let beyond = match self.when_full {
            WhenFull::DropOldest => "beyond the bounds of [event] the oldest are dropped",
            WhenFull::RefuseLogins => "at the bounds of [event] new logins are refused",
        };
        tracing::warn!(
            events = count,
            max_count = self.max_count,
            oldest_secs = age.as_secs(),
            max_age_secs = self.max_age.as_secs(),
            beyond,
            "events wait too long for a sink: see which one is down (/ready), or raise the bounds"
        );
    }

    /// Drops what is beyond the bounds; one replica at a time, or each would drop as much.
    async fn drop(&self, count: u64, now: Timestamp) -> Result<(), OutboxError> {
        if !self.parts.outbox.claim("bounds", &self.holder, LEASE, now).await? {
            return Ok(());
        }
        let mut dropped = self.parts.outbox.drop_older(now.minus(self.max_age)).await?;
        let excess = count.saturating_sub(dropped).saturating_sub(self.max_count);
        if excess > 0 {
            dropped += self.parts.outbox.drop_oldest(excess).await?;
        }
        if dropped > 0 {
            self.parts.metrics.dropped(dropped);
            tracing::error!(events = dropped, "events were dropped: they waited beyond the bounds of [event]");
        }
        self.parts.outbox.give_back("bounds", &self.holder).await
    }
}
