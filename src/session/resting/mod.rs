//! A session at rest: what the cache of all workers holds of it, in as few bytes as will do.
//!
//! A gateway holds a million sessions and uses some thousands of them at a time. So the cache keeps the facts packed
//! (postcard: no names, numbers as short as they are), without what no request needs: the browser is left to the store,
//! and so are the provider's tokens unless a route passes them on. Whoever uses the session opens it into a [`Live`],
//! which takes a microsecond or two, and keeps that for a while (`near`).
//!
//! What moves is here and not in what was opened: all workers see one last use, one idle end, one renewal.

mod packed;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use triomphe::ThinArc;

use self::packed::{Packed, pack};

use super::{
    Session, SessionKey, StoreError, Stored,
    live::Live,
    voucher::{Voucher, Vouchers},
};
use crate::clock::Timestamp;

/// A session at rest, shared by all workers: one allocation, one word to hold it by.
#[derive(Debug, Clone)]
pub struct Resting(ThinArc<Moving, u8>);

/// What moves, and what is shared with other sessions.
#[derive(Debug)]
struct Moving {
    voucher: Arc<Voucher>,
    expires_at: AtomicI64,
    last_seen: AtomicI64,
    /// When the next renewal may begin; [`UNDER_WAY`] while there is one.
    may_renew_from: AtomicI64,
}

const UNDER_WAY: i64 = i64::MAX;
const AT_ONCE: i64 = i64::MIN;

impl Resting {
    /// Lays `session` to rest, as `stored` was read of it; with its sealed `tokens`, if they are to be at hand.
    pub(super) fn new(
        session: &Session,
        tokens: Option<&[u8]>,
        stored: &Stored,
        vouchers: &Vouchers,
    ) -> Result<Self, StoreError> {
        let voucher = vouchers.of(&session.origin);
        let facts = pack(session, tokens.unwrap_or_default(), stored.version, &voucher)
            .ok_or_else(|| StoreError::Corrupt("a session that cannot be packed".into()))?;
        let moving = Moving {
            voucher,
            expires_at: AtomicI64::new(stored.expires_at.as_millis()),
            last_seen: AtomicI64::new(stored.last_seen.as_millis()),
            may_renew_from: AtomicI64::new(AT_ONCE),
        };
        Ok(Self(ThinArc::from_header_and_slice(moving, &facts)))
    }

    /// Opens it for use under `key`. Always there: what was packed here is unpacked here.
    pub fn open(&self, key: &SessionKey) -> Option<Live> {
        let packed = self.packed()?;
        let version = packed.version;
        Some(Live::new(*key, packed.into_session(&self.moving().voucher)?, version, self.clone()))
    }

    /// The provider's tokens, sealed, if they are at hand.
    pub(super) fn tokens(&self) -> Option<&[u8]> {
        self.packed().map(|packed| packed.tokens).filter(|tokens| !tokens.is_empty())
    }

    /// When it expires if it is not used again.
    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.moving().expires_at.load(Ordering::Relaxed))
    }

    /// When it was last used, as far as the store was told.
    pub(super) fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(self.moving().last_seen.load(Ordering::Relaxed))
    }

    /// True for exactly one caller once `every` has passed since the last sighting: that caller tells the store.
    pub(super) fn sight(&self, now: Timestamp, every: std::time::Duration) -> bool {
        let last_seen = &self.moving().last_seen;
        let seen = last_seen.load(Ordering::Relaxed);
        now.since(Timestamp::from_millis(seen)) >= every
            && last_seen.compare_exchange(seen, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Moves the idle end forward, never back.
    pub(super) fn prolong(&self, expires_at: Timestamp) {
        self.moving().expires_at.fetch_max(expires_at.as_millis(), Ordering::Relaxed);
    }

    /// True for one caller of all workers, unless a renewal is under way or failed not long ago.
    pub(super) fn claim_renewal(&self, now: Timestamp) -> bool {
        let may_renew_from = &self.moving().may_renew_from;
        let from = may_renew_from.load(Ordering::Relaxed);
        from <= now.as_millis()
            && from != UNDER_WAY
            && may_renew_from.compare_exchange(from, UNDER_WAY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Ends a claimed renewal; after a failure the next may begin at `retry_at`.
    pub(super) fn renewal_ended(&self, retry_at: Option<Timestamp>) {
        let from = retry_at.map_or(AT_ONCE, Timestamp::as_millis);
        self.moving().may_renew_from.store(from, Ordering::Release);
    }

    fn moving(&self) -> &Moving {
        &self.0.header.header
    }

    fn packed(&self) -> Option<Packed<'_>> {
        postcard::from_bytes(&self.0.slice).ok()
    }
}

#[cfg(test)]
mod tests;
