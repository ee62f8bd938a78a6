//! A session as this process holds it while it is in use.

use std::{
    any::Any,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use super::{Session, SessionKey, Stored};
use crate::clock::Timestamp;

/// An opened session with what would otherwise be worked out on every request.
///
/// Shared by all workers; everything that moves is atomic, so that a cached request takes no lock.
#[derive(Debug)]
pub struct Live {
    key: SessionKey,
    session: Session,
    version: u64,
    expires_at: AtomicI64,
    last_seen: AtomicI64,
    renewing: AtomicBool,
    retry_renewal_at: AtomicI64,
    kept: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Live {
    pub(super) fn new(key: SessionKey, session: Session, stored: &Stored) -> Self {
        Self {
            key,
            session,
            version: stored.version,
            expires_at: AtomicI64::new(stored.expires_at.as_millis()),
            last_seen: AtomicI64::new(stored.last_seen.as_millis()),
            renewing: AtomicBool::new(false),
            retry_renewal_at: AtomicI64::new(i64::MIN),
            kept: OnceLock::new(),
        }
    }

    /// The key it lives under.
    pub fn key(&self) -> &SessionKey {
        &self.key
    }

    /// The opened record.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The version of the record this was opened from.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// True while neither the idle nor the absolute end has come.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now.as_millis() < self.expires_at.load(Ordering::Relaxed) && now < self.session.ends_at
    }

    /// When it expires if it is not used again.
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.expires_at.load(Ordering::Relaxed))
    }

    /// When it was last used, as far as the store was told.
    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.last_seen.load(Ordering::Relaxed))
    }

    /// What the gateway keeps beside the session for as long as it is cached, made by `make` at the first call; `None`
    /// when something of another type is kept already.
    pub fn keep<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.kept.get_or_init(|| Box::new(make())).downcast_ref()
    }

    /// True for exactly one caller once `every` has passed since the last sighting: that caller tells the store.
    pub(super) fn sight(&self, now: Timestamp, every: std::time::Duration) -> bool {
        let seen = self.last_seen.load(Ordering::Relaxed);
        now.since(Timestamp::from_millis(seen)) >= every
            && self.last_seen.compare_exchange(seen, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Moves the idle end forward, never back.
    pub(super) fn prolong(&self, expires_at: Timestamp) {
        self.expires_at.fetch_max(expires_at.as_millis(), Ordering::Relaxed);
    }

    /// True when a renewal is due and this caller is the one in this process to do it; it must end with
    /// [`renewal_ended`](Self::renewal_ended).
    pub fn claim_renewal(&self, now: Timestamp, before: std::time::Duration) -> bool {
        let Some(renew_at) = self.session.renew_at else { return false };
        now.plus(before) >= renew_at
            && now.as_millis() >= self.retry_renewal_at.load(Ordering::Relaxed)
            && self.renewing.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Ends a claimed renewal; after a failure the next may begin at `retry_at`.
    pub fn renewal_ended(&self, retry_at: Option<Timestamp>) {
        if let Some(at) = retry_at {
            self.retry_renewal_at.store(at.as_millis(), Ordering::Relaxed);
        }
        self.renewing.store(false, Ordering::Release);
    }
}
