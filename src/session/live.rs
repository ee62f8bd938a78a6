//! A session as it is opened for use.

use std::{any::Any, sync::OnceLock};

use super::{Session, SessionKey, resting::Resting};
use crate::clock::Timestamp;

/// An opened session with what would otherwise be worked out on every request.
///
/// Each worker opens its own; what moves is shared by all of them ([`Resting`]) and atomic, so that a request takes no
/// lock. It has the facts alone: nothing here can be written back to the store (`record`).
#[derive(Debug)]
pub struct Live {
    key: SessionKey,
    session: Session,
    version: u64,
    resting: Resting,
    kept: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Live {
    pub(super) fn new(key: SessionKey, session: Session, version: u64, resting: Resting) -> Self {
        Self { key, session, version, resting, kept: OnceLock::new() }
    }

    /// The key it lives under.
    pub fn key(&self) -> &SessionKey {
        &self.key
    }

    /// Whose it is, and until when.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The version of the record this was opened from.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// True while neither the idle nor the absolute end has come.
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.expires_at() && now < self.session.ends_at
    }

    /// When it expires if it is not used again.
    pub fn expires_at(&self) -> Timestamp {
        self.resting.expires_at()
    }

    /// When it was last used, as far as the store was told.
    pub fn last_seen(&self) -> Timestamp {
        self.resting.last_seen()
    }

    /// What the gateway keeps beside the session for as long as it is open, made by `make` at the first call; `None`
    /// when something of another type is kept already.
    pub fn keep<T: Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.kept.get_or_init(|| Box::new(make())).downcast_ref()
    }

    /// What all workers share of it.
    pub fn resting(&self) -> &Resting {
        &self.resting
    }

    /// True when a renewal is due and this caller is the one in this process to do it; it must end with
    /// [`renewal_ended`](Self::renewal_ended).
    pub fn claim_renewal(&self, now: Timestamp, before: std::time::Duration) -> bool {
        let due = self.session.renew_at.is_some_and(|renew_at| now.plus(before) >= renew_at);
        due && self.resting.claim_renewal(now)
    }

    /// Ends a claimed renewal; after a failure the next may begin at `retry_at`.
    pub fn renewal_ended(&self, retry_at: Option<Timestamp>) {
        self.resting.renewal_ended(retry_at);
    }
}
