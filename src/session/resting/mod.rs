//! A session at rest: what the cache of all workers holds of it, in as few bytes as will do.
//!
//! A gateway holds a million sessions and uses some thousands of them at a time. So the cache keeps the facts packed
//! (postcard: no names, numbers as short as they are), without what no request needs: the browser is left to the store,
//! and so are the provider's tokens unless a route passes them on. Whoever uses the session opens it into a [`Live`],
//! which takes a microsecond or two, and keeps that for a while (`near`).
//!
//! What moves is here and not in what was opened: all workers see one last use, one idle end, one renewal.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use serde::{Deserialize, Serialize};
use triomphe::ThinArc;
use uuid::Uuid;

use super::{
    Session, SessionKey, StoreError, Stored,
    live::Live,
    voucher::{Voucher, Vouchers},
};
use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Origin, Profile, Subject},
};

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

/// A time, in milliseconds since the session began: four bytes rather than six.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Since(i64);

/// How facts are packed. Only this process reads it, so it may change with every release.
#[derive(Debug, Serialize, Deserialize)]
struct Packed<'a> {
    version: u64,
    account: [u8; 16],
    created_at: i64,
    ends_at: Since,
    renew_at: Option<Since>,
    #[serde(borrow)]
    origin: PackedOrigin<'a>,
    #[serde(borrow)]
    profile: PackedProfile<'a>,
    /// The provider's tokens, sealed; empty when they are not kept here.
    tokens: &'a [u8],
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedOrigin<'a> {
    subject: &'a str,
    at: Since,
    acr: Option<&'a str>,
    #[serde(borrow)]
    amr: Vec<&'a str>,
    connection: Option<&'a str>,
    sid: Option<&'a str>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PackedProfile<'a> {
    email: Option<&'a str>,
    email_verified: bool,
    name: Option<&'a str>,
    given_name: Option<&'a str>,
    family_name: Option<&'a str>,
    preferred_username: Option<&'a str>,
    picture: Option<&'a str>,
    locale: Option<&'a str>,
    #[serde(borrow)]
    groups: Vec<&'a str>,
    /// JSON, for postcard cannot read values of any shape; empty when there are none.
    claims: &'a str,
}

impl Resting {
    /// Lays `session` to rest, as `stored` was read of it; with its sealed `tokens`, if they are to be at hand.
    pub(super) fn new(
        session: &Session,
        tokens: Option<&[u8]>,
        stored: &Stored,
        vouchers: &Vouchers,
    ) -> Result<Self, StoreError> {
        let moving = Moving {
            voucher: vouchers.of(&session.origin),
            expires_at: AtomicI64::new(stored.expires_at.as_millis()),
            last_seen: AtomicI64::new(stored.last_seen.as_millis()),
            may_renew_from: AtomicI64::new(AT_ONCE),
        };
        let facts = pack(session, tokens.unwrap_or_default(), stored.version)
            .ok_or_else(|| StoreError::Corrupt("a session that cannot be packed".into()))?;
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

/// The facts in few bytes. Nothing in them can fail to be written.
fn pack(session: &Session, tokens: &[u8], version: u64) -> Option<Vec<u8>> {
    let Session { account, origin, profile, created_at, ends_at, renew_at } = session;
    let claims = match profile.claims.is_empty() {
        true => String::new(),
        false => serde_json::to_string(&profile.claims).ok()?,
    };
    let packed = Packed {
        version,
        account: account.as_uuid().into_bytes(),
        created_at: created_at.as_millis(),
        ends_at: Since::new(*ends_at, *created_at),
        renew_at: renew_at.map(|at| Since::new(at, *created_at)),
        origin: PackedOrigin {
            subject: origin.key.subject.as_str(),
            at: Since::new(origin.at, *created_at),
            acr: origin.acr.as_deref(),
            amr: borrowed(&origin.amr),
            connection: origin.connection.as_deref(),
            sid: origin.sid.as_deref(),
        },
        profile: PackedProfile {
            email: profile.email.as_deref(),
            email_verified: profile.email_verified,
            name: profile.name.as_deref(),
            given_name: profile.given_name.as_deref(),
            family_name: profile.family_name.as_deref(),
            preferred_username: profile.preferred_username.as_deref(),
            picture: profile.picture.as_deref(),
            locale: profile.locale.as_deref(),
            groups: borrowed(&profile.groups),
            claims: &claims,
        },
        tokens,
    };
    postcard::to_allocvec(&packed).ok()
}

impl Since {
    /// Wraps where it would not fit, and back again.
    fn new(at: Timestamp, began: Timestamp) -> Self {
        Self(at.as_millis().wrapping_sub(began.as_millis()))
    }

    fn after(self, began: Timestamp) -> Timestamp {
        Timestamp::from_millis(began.as_millis().wrapping_add(self.0))
    }
}

impl Packed<'_> {
    fn into_session(self, voucher: &Voucher) -> Option<Session> {
        let Self { account, created_at, ends_at, renew_at, origin, profile, .. } = self;
        let created_at = Timestamp::from_millis(created_at);
        Some(Session {
            account: AccountId::from_uuid(Uuid::from_bytes(account)),
            origin: origin.into_origin(voucher, created_at),
            profile: profile.into_profile()?,
            created_at,
            ends_at: ends_at.after(created_at),
            renew_at: renew_at.map(|since| since.after(created_at)),
        })
    }
}

impl PackedOrigin<'_> {
    fn into_origin(self, voucher: &Voucher, created_at: Timestamp) -> Origin {
        Origin {
            provider: voucher.provider.clone(),
            key: IdentityKey { issuer: voucher.issuer.clone(), subject: Subject::new(self.subject) },
            at: self.at.after(created_at),
            acr: self.acr.map(Into::into),
            amr: owned(&self.amr),
            connection: self.connection.map(Into::into),
            sid: self.sid.map(Into::into),
        }
    }
}

impl PackedProfile<'_> {
    fn into_profile(self) -> Option<Profile> {
        Some(Profile {
            email: self.email.map(Into::into),
            email_verified: self.email_verified,
            name: self.name.map(Into::into),
            given_name: self.given_name.map(Into::into),
            family_name: self.family_name.map(Into::into),
            preferred_username: self.preferred_username.map(Into::into),
            picture: self.picture.map(Into::into),
            locale: self.locale.map(Into::into),
            groups: owned(&self.groups),
            claims: match self.claims {
                "" => Default::default(),
                json => serde_json::from_str(json).ok()?,
            },
        })
    }
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests;
