//! The journal: where everything that happens is told.
//!
//! Each event is counted and written into the audit log. Where sinks are configured its letters are written into the
//! outbox: together with the change of the session they tell of ([`letters`](Journal::letters), which the caller hands
//! to the store), or by themselves when there is no such change ([`note`](Journal::note)).

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Event, Outbox, log::AuditLog, outbox::OutboxError, schema::Scribe, sink::Letter};
use crate::telemetry::metrics::Metrics;

/// How long whoever notes an event waits for the outbox. Writing goes on after that, but nobody waits for it.
const PATIENCE: Duration = Duration::from_millis(250);
/// How many letters are kept in memory while the outbox cannot be reached.
const BACKLOG: usize = 10_000;

/// Tells events. Never fails: what cannot be written now is kept and written later.
#[derive(Debug)]
pub struct Journal {
    audit: Option<AuditLog>,
    metrics: Metrics,
    /// Nothing when there are no sinks: no letters are written then.
    scribe: Option<Scribe>,
    waiting: Arc<Backlog>,
    refuses: AtomicBool,
}

/// Letters that could not be written yet, and where to.
#[derive(Debug)]
struct Backlog {
    outbox: Arc<dyn Outbox>,
    letters: Mutex<VecDeque<Letter>>,
    metrics: Metrics,
}

impl Journal {
    /// A journal that counts in `metrics`, writes to `audit`, and writes letters as `scribe` does into `outbox`.
    pub fn new(audit: Option<AuditLog>, metrics: Metrics, scribe: Option<Scribe>, outbox: Arc<dyn Outbox>) -> Self {
        let waiting = Arc::new(Backlog { outbox, letters: Mutex::default(), metrics: metrics.clone() });
        Self { audit, metrics, scribe, waiting, refuses: AtomicBool::new(false) }
    }

    /// Counts one event and writes it down. Its letters are another matter: they go with the change of the session.
    pub fn tell(&self, event: &Event) {
        self.metrics.event(event.what.name());
        if let Some(audit) = &self.audit {
            audit.tell(event);
        }
    }

    /// The letters of events, to be written in the same step as the change they tell of.
    pub fn letters(&self, events: &[Event]) -> Vec<Letter> {
        let Some(scribe) = &self.scribe else { return Vec::new() };
        events.iter().filter_map(|event| scribe.letter(event)).collect()
    }

    /// Tells an event that goes with no change of a session, and writes its letter into the outbox. Waits for the outbox
    /// a moment only.
    pub async fn note(&self, event: &Event) {
        self.tell(event);
        let letters = self.letters(std::slice::from_ref(event));
        if letters.is_empty() {
            return;
        }
        let waiting = Arc::clone(&self.waiting);
        let writing = tokio::spawn(async move {
            waiting.push(letters);
            // Its failure is seen by the relay, which tries again.
            let _ = waiting.flush().await;
        });
        // Too slow is no failure: the task goes on.
        let _ = tokio::time::timeout(PATIENCE, writing).await;
    }

    /// Writes what could not be written before.
    ///
    /// # Errors
    /// When it cannot be written now either.
    pub(super) async fn flush(&self) -> Result<(), OutboxError> {
        self.waiting.flush().await
    }

    /// True when new logins must be refused, because events wait beyond the bounds and `event.when_full` says so.
    pub fn refuses_logins(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    pub(super) fn refuse_logins(&self, refuse: bool) {
        self.refuses.store(refuse, Ordering::Relaxed);
    }
}

impl Backlog {
    fn push(&self, letters: Vec<Letter>) {
        let mut waiting = self.lock();
        waiting.extend(letters);
        while waiting.len() > BACKLOG {
            waiting.pop_front();
            self.metrics.outbox().dropped(1);
        }
    }

    /// Takes all and writes them in one step; puts them back, in their order, when that fails.
    async fn flush(&self) -> Result<(), OutboxError> {
        let taken: Vec<Letter> = self.lock().drain(..).collect();
        if taken.is_empty() {
            return Ok(());
        }
        let written = self.outbox.append(&taken).await;
        if written.is_err() {
            let mut waiting = self.lock();
            taken.into_iter().rev().for_each(|letter| waiting.push_front(letter));
        }
        written
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
