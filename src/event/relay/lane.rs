//! One sink in one partition: takes what waits, in order, one batch at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Addressee, Parts, backoff::Backoff, pulse::Heads};
use crate::{
    clock::Timestamp,
    event::{
        outbox::{DeadLetter, OutboxError, Partition, Position, Waiting},
        sink::{Letter, Undelivered, Why},
    },
};

/// How many letters are offered at a time.
const BATCH: u32 = 100;
/// How long the lease on a lane lasts unless it is prolonged: how late, at most, another replica takes over.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is prolonged while a sink takes its time; with less than twice this left it is prolonged before work.
const PROLONG_EVERY: Duration = Duration::from_secs(4);

/// How a sink does, for all its lanes: a failure is logged once, and so is its end.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: AtomicBool,
}

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    parts: Parts,
    addressee: Addressee,
    partition: Partition,
    name: String,
    holder: Arc<str>,
    sinks: Arc<[String]>,
    health: Arc<Health>,
    backoff: Backoff,
    /// How far this lane has come; unknown until the lease is ours, since another replica may have gone on.
    mark: Option<Position>,
    /// A mark that the outbox could not note yet.
    unnoted: bool,
    leased_until: Timestamp,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// There may be more.
    Go,
    /// Nothing to do until there is news.
    Sleep,
    /// It failed: after this pause.
    Pause(Duration),
}

impl Lane {
    pub(super) fn new(
        parts: &Parts,
        addressee: &Addressee,
        partition: Partition,
        holder: &Arc<str>,
        sinks: &Arc<[String]>,
        health: &Arc<Health>,
    ) -> Self {
        Self {
            name: format!("{partition}:{}", addressee.sink.name()),
            parts: parts.clone(),
            addressee: addressee.clone(),
            partition,
            holder: Arc::clone(holder),
            sinks: Arc::clone(sinks),
            health: Arc::clone(health),
            backoff: Backoff::default(),
            mark: None,
            unnoted: false,
            leased_until: Timestamp::default(),
        }
    }

    /// Works until `stop`, then until nothing is left or the sink fails.
    pub(super) async fn run(mut self, mut heads: watch::Receiver<Heads>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let head = heads.borrow_and_update().of(self.partition);
            match self.step(head).await {
                Next::Go => {}
                Next::Sleep => tokio::select! {
                    () = stop.cancelled() => {}
                    changed = heads.changed() => if changed.is_err() { break },
                },
                Next::Pause(pause) => tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(pause) => {}
                },
            }
        }
        self.finish().await;
    }

    /// Offers what is left a last time, and gives the lease back.
    async fn finish(&mut self) {
        loop {
            // The pulse may have stopped before us.
            let Ok(newest) = self.parts.outbox.newest().await else { break };
            if self.step(Heads::new(newest).of(self.partition)).await != Next::Go {
                break;
            }
        }
        if self.leased_until > self.parts.clock.now() {
            // One that cannot be given back runs out by itself.
            let _ = self.parts.outbox.give_back(&self.name, &self.holder).await;
        }
    }

    /// One turn, if there is anything after our mark.
    async fn step(&mut self, head: Option<Position>) -> Next {
        let news = head.is_some_and(|head| self.mark.is_none_or(|mark| mark < head));
        if !news && !self.unnoted {
            return Next::Sleep;
        }
        match self.turn().await {
            Ok(next) => next,
            Err(Failed::Sink) => Next::Pause(self.backoff.failed()),
            Err(Failed::Outbox(why)) => {
                tracing::debug!(sink = self.addressee.sink.name(), why, "the outbox does not answer");
                Next::Pause(self.backoff.failed())
            }
        }
    }

    /// Offers the next batch.
    async fn turn(&mut self) -> Result<Next, Failed> {
        if !self.lease().await? {
            return Ok(Next::Sleep);
        }
        let mark = match self.mark {
            Some(mark) => mark,
            None => self.parts.outbox.mark(self.partition, self.addressee.sink.name()).await?,
        };
        self.mark = Some(mark);
        if self.unnoted {
            self.note(mark).await?;
        }
        let waiting = self.parts.outbox.peek(self.partition, mark, BATCH).await?;
        let Some(last) = waiting.last().map(|last| last.position) else { return Ok(Next::Sleep) };
        // What comes while we work is told by the pulse.
        let next = if waiting.len() < BATCH as usize { Next::Sleep } else { Next::Go };
        let (letters, positions): (Vec<Letter>, Vec<Position>) =
            waiting.into_iter().filter(|waiting| self.wants(waiting)).map(|w| (w.letter, w.position)).unzip();
        let outcome = match letters.is_empty() {
            true => Ok(()),
            false => match self.deliver(&letters).await {
                Some(outcome) => outcome,
                // The lease was lost while the sink took its time: whoever has it goes on from the mark.
                None => return Ok(Next::Sleep),
            },
        };
        match outcome {
            Ok(()) => {
                self.succeeded(letters.len());
                self.note(last).await?;
                Ok(next)
            }
            Err(failure) => self.failed(failure, &letters, &positions).await,
        }
    }

    /// Makes sure that this lane is ours. When it was not until now, another replica may have gone on.
    async fn lease(&mut self) -> Result<bool, OutboxError> {
        let now = self.parts.clock.now();
        if self.leased_until.since(now) > 2 * PROLONG_EVERY {
            return Ok(true);
        }
        let ours = self.parts.outbox.claim(&self.name, &self.holder, LEASE, now).await?;
        if !ours || self.leased_until <= now {
            self.mark = if self.unnoted && ours { self.mark } else { None };
        }
        self.leased_until = if ours { now.plus(LEASE) } else { Timestamp::default() };
        if !ours {
            self.unnoted = false;
        }
        Ok(ours)
    }

    fn wants(&self, waiting: &Waiting) -> bool {
        match &waiting.only {
            Some(only) => only == self.addressee.sink.name(),
            None => self.addressee.types.want(&waiting.letter.kind),
        }
    }

    /// Offers letters while the lease is prolonged; nothing when it was lost meanwhile.
    async fn deliver(&mut self, letters: &[Letter]) -> Option<Result<(), Undelivered>> {
        let (parts, name, holder) = (&self.parts, &self.name, &self.holder);
        let mut leased_until = self.leased_until;
        let prolonging = async {
            loop {
                tokio::time::sleep(PROLONG_EVERY).await;
                let now = parts.clock.now();
                match parts.outbox.claim(name, holder, LEASE, now).await {
                    Ok(true) => leased_until = now.plus(LEASE),
                    Ok(false) => return,
                    // Nobody else can take it from a store that does not answer.
                    Err(_) => {}
                }
            }
        };
        let outcome = tokio::select! {
            outcome = self.addressee.sink.deliver(letters) => Some(outcome),
            () = prolonging => None,
        };
        self.leased_until = if outcome.is_some() { leased_until } else { Timestamp::default() };
        if outcome.is_none() {
            self.mark = None;
        }
        outcome
    }

    /// Notes how far we have come. What the outbox cannot note now is noted at the next turn: it is not offered again.
    async fn note(&mut self, mark: Position) -> Result<(), OutboxError> {
        (self.mark, self.unnoted) = (Some(mark), true);
        self.parts.outbox.done(self.partition, self.addressee.sink.name(), mark, &self.sinks).await?;
        self.unnoted = false;
        Ok(())
    }

    fn succeeded(&mut self, count: usize) {
        self.backoff.succeeded();
        if count == 0 {
            return;
        }
        let sink = self.addressee.sink.name();
        self.parts.metrics.delivered(sink, count as u64);
        if self.health.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(sink, "the sink takes events again");
        }
    }

    /// Notes what was taken; buries a letter that never will be; else waits.
    async fn failed(
        &mut self,
        failure: Undelivered,
        letters: &[Letter],
        positions: &[Position],
    ) -> Result<Next, Failed> {
        let Undelivered { delivered, why } = failure;
        let sink = self.addressee.sink.name().to_owned();
        if let Some(taken) = delivered.checked_sub(1).and_then(|last| positions.get(last)) {
            self.parts.metrics.delivered(&sink, delivered as u64);
            self.note(*taken).await?;
        }
        match (why, letters.get(delivered), positions.get(delivered)) {
            (Why::Poison(why), Some(letter), Some(position)) => {
                self.bury(letter, why).await?;
                self.note(*position).await?;
                Ok(Next::Go)
            }
            (why, ..) => {
                self.parts.metrics.failed(&sink);
                if !self.health.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(sink, %why, "a sink does not take events; they wait in the outbox");
                }
                Err(Failed::Sink)
            }
        }
    }

    async fn bury(&self, letter: &Letter, why: String) -> Result<(), OutboxError> {
        let sink = self.addressee.sink.name();
        tracing::warn!(
            sink,
            event.id = letter.id,
            event.kind = letter.kind,
            why,
            "a sink can never take an event; it is with the dead letters (brama events pending --dead)"
        );
        let dead = DeadLetter { sink: sink.to_owned(), why, at: self.parts.clock.now(), letter: letter.clone() };
        self.parts.outbox.bury(&dead).await?;
        self.parts.metrics.buried(sink);
        Ok(())
    }
}

/// Who failed in a turn that came to nothing.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    Sink,
    Outbox(String),
}

impl From<OutboxError> for Failed {
    fn from(error: OutboxError) -> Self {
        Self::Outbox(error.to_string())
    }
}
