//! Sessions: signed-in browsers.
//!
//! A browser holds an opaque [`SessionId`] of 256 random bits in one cookie ([`cookie`]). The store knows only its
//! hash, the [`SessionKey`], so a copy of the store opens nothing. The record under the key is a [`Record`], sealed
//! with the server's keys; the provider's tokens inside are sealed once more with a key that needs the id itself, so
//! only cookie and server together can use them.
//!
//! A session has three forms. The store has its [`Record`], whole. The cache of all workers has it at rest
//! ([`resting`]): what requests need, packed into some 400 bytes. A worker that uses it opens that into a [`live::Live`]
//! and keeps it in its window ([`near`]).
//!
//! A [`SessionStore`] moves sealed bytes under a key for a time, atomically where it matters. Sealing, cookies,
//! lifetimes and caching live above it in [`Sessions`], so no store can get them wrong. To add a store: one file
//! beside [`embedded`], an arm in [`open`](open()), a row in the `conformance` suite.

pub mod cache;
#[cfg(test)]
mod conformance;
pub mod cookie;
pub mod embedded;
mod examine;
mod flight;
pub mod lifetime;
pub mod live;
pub mod near;
mod news;
mod open;
pub mod record;
#[cfg(feature = "session-redis")]
pub mod redis;
pub mod resting;
mod sessions;
pub mod streams;
mod tokens;
mod voucher;

pub use sessions::{Beginning, Sessions};

pub use self::{
    examine::examine,
    open::{OpenError, open},
    record::Record,
};

use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    event::{
        outbox::{Outbox, OutboxError},
        sink::Letter,
    },
    identity::{AccountId, IdentityKey, Origin, Profile},
    secret,
};

/// What the browser's cookie holds: 256 random bits. Not `Debug` and not printable: whoever has it, is signed in.
#[derive(Clone)]
pub struct SessionId(zeroize::Zeroizing<[u8; 32]>);

/// What the store is keyed by: SHA-256 of the session id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey([u8; 32]);

impl SessionId {
    /// A new id from the operating system's randomness.
    pub fn fresh() -> Self {
        Self(zeroize::Zeroizing::new(secret::random()))
    }

    /// Reads the cookie form: base64url without padding, exactly 43 characters, canonical.
    pub fn parse(text: &[u8]) -> Option<Self> {
        use base64::Engine as _;
        if text.len() != 43 {
            return None;
        }
        let mut bytes = zeroize::Zeroizing::new([0; 33]);
        let len = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode_slice(text, bytes.as_mut_slice()).ok()?;
        Some(Self(zeroize::Zeroizing::new(bytes.get(..len)?.try_into().ok()?)))
    }

    /// The cookie form. Every call is a place where a session can leak.
    pub fn expose(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0.as_slice())
    }

    /// The raw bits, to derive keys from.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key under which the store knows it.
    pub fn key(&self) -> SessionKey {
        SessionKey(secret::sha256(self.0.as_slice()))
    }
}

impl SessionKey {
    /// From its bytes, as a store hands them back.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lower-case hexadecimal: for store keys and for a person to name a session by. It opens nothing.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Reads [`hex`](Self::hex).
    pub fn parse_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({}…)", self.hex().get(..8).unwrap_or_default())
    }
}

/// The facts of a signed-in browser: what rules, headers and pages are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Whose it is.
    pub account: AccountId,
    /// How they came.
    pub origin: Origin,
    /// What the provider told of them, as of the login or the last renewal.
    pub profile: Profile,
    /// When the session began.
    pub created_at: Timestamp,
    /// Its absolute end; nothing moves it.
    pub ends_at: Timestamp,
    /// When the next renewal by origin is due; `None` when the origin allows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_at: Option<Timestamp>,
}

/// What a store keeps under a key: sealed bytes and what it needs to keep them by.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The sealed record.
    pub sealed: Vec<u8>,
    /// Counts replacements, from 1.
    pub version: u64,
    /// When the session was last used, to the minute.
    pub last_seen: Timestamp,
    /// When the store drops it: the earlier of idle and absolute end.
    pub expires_at: Timestamp,
}

/// A session to begin.
#[derive(Debug, Clone)]
pub struct NewStored {
    /// Its key.
    pub key: SessionKey,
    /// Whose it is: the index for "sign out everywhere".
    pub account: AccountId,
    /// By which identity: the index for provider logout messages.
    pub identity: IdentityKey,
    /// The provider's session id: the index for its logout messages.
    pub sid: Option<String>,
    /// The sealed record.
    pub sealed: Vec<u8>,
    /// Now.
    pub last_seen: Timestamp,
    /// When the store drops it.
    pub expires_at: Timestamp,
}

/// That a session was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Its key.
    pub key: SessionKey,
    /// When.
    pub seen: Timestamp,
    /// When it expires if it is not used again.
    pub expires_at: Timestamp,
}

/// Which sessions to list or end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// All of one account.
    Account(AccountId),
    /// All that came by one identity.
    Identity(IdentityKey),
    /// The one a provider knows by its own session id, at one issuer.
    Sid(crate::identity::Issuer, String),
}

/// How a replacement went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// The record is the new one.
    Done,
    /// Somebody replaced it first: read again.
    Changed,
    /// It has ended; a replacement never revives a session.
    Gone,
}

/// Something changed in the store, perhaps by another replica: what the cache must forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// This record was replaced or ended.
    One(SessionKey),
    /// News may have been missed: trust nothing cached until it was read again.
    Missed,
    /// News flow (again): whatever is read from now on may be cached.
    Watching,
}

/// Why the store did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is too slow, refuses us, or is out of room. A retry later may succeed.
    #[error("the session store is unavailable: {0}")]
    Unavailable(String),
    /// It answered something we cannot read. A retry will not help.
    #[error("the session store holds something unreadable: {0}")]
    Corrupt(String),
}

impl From<StoreError> for OutboxError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) => Self::Unavailable(why),
            StoreError::Corrupt(why) => Self::Corrupt(why),
        }
    }
}

/// Tells of sessions that end: makes the letters of each. Called once a session, perhaps for one that turns out to have
/// ended before; its letters are not written then.
pub trait Telling: Sync {
    /// The letters of this session's end.
    fn letters(&self, key: &SessionKey, account: &AccountId) -> Vec<Letter>;
}

impl<F: Fn(&SessionKey, &AccountId) -> Vec<Letter> + Sync> Telling for F {
    fn letters(&self, key: &SessionKey, account: &AccountId) -> Vec<Letter> {
        self(key, account)
    }
}

/// Tells nothing.
#[derive(Debug, Clone, Copy)]
pub struct Untold;

impl Telling for Untold {
    fn letters(&self, _: &SessionKey, _: &AccountId) -> Vec<Letter> {
        Vec::new()
    }
}

/// Where sessions live, and with them the events that tell of them ([`Outbox`]).
///
/// Whoever begins, replaces or ends a session hands in the letters that tell of it. They are written in the same step:
/// after a crash at any instant there are both or neither, and letters of a change that did not happen are not written.
///
/// All calls run on the control plane. Expired records are absent, whatever the store still holds. Every write is
/// acknowledged only when it survives `kill -9` of this process; how much power failure it survives is the store's own
/// setting. Times are the caller's; the store's clock only helps to drop what has expired.
#[async_trait]
pub trait SessionStore: Outbox {
    /// The record under `key`; `None` when there is none or it has expired.
    async fn load(&self, key: &SessionKey, now: Timestamp) -> Result<Option<Stored>, StoreError>;

    /// Begins a session, as version 1 of its record. With `replaces`, that session ends in the same step (a new id at
    /// every login, threats 8.1).
    async fn begin(&self, new: NewStored, replaces: Option<SessionKey>, letters: &[Letter]) -> Result<(), StoreError>;

    /// Goes on with the session of `old` as `new`: this begins and that ends in one step. False, and nothing is written,
    /// when that has ended: no sign-out is undone.
    async fn rename(&self, new: NewStored, old: &SessionKey, letters: &[Letter]) -> Result<bool, StoreError>;

    /// Replaces the record if it still has `version`; atomic. `expires_at` as in [`NewStored`].
    async fn replace(
        &self,
        key: &SessionKey,
        version: u64,
        sealed: Vec<u8>,
        expires_at: Timestamp,
        now: Timestamp,
        letters: &[Letter],
    ) -> Result<Replaced, StoreError>;

    /// Notes that sessions were used: moves `last_seen` and `expires_at` forward, never back; does not count as a
    /// change. Gives for each sighting, in their order, whether its session goes on: false when it has ended.
    ///
    /// Any number go in one call, in few steps of the store, none of which holds up others for long. After an error some
    /// may be noted and some not; to tell them again does no harm.
    async fn touch(&self, sightings: &[Sighting]) -> Result<Vec<bool>, StoreError>;

    /// Ends one session. False when there was none.
    async fn end(&self, key: &SessionKey, letters: &[Letter]) -> Result<bool, StoreError>;

    /// Ends all that `whose` names, except `keep`; returns their keys.
    async fn end_all(
        &self,
        whose: &Whose,
        keep: Option<&SessionKey>,
        telling: &(dyn Telling + '_),
    ) -> Result<Vec<SessionKey>, StoreError>;

    /// Lists the live sessions of an account, newest first, at most 100.
    async fn list(&self, account: &AccountId, now: Timestamp) -> Result<Vec<(SessionKey, Stored)>, StoreError>;

    /// Takes the lease `name` for `holder` for `life`, or prolongs it when `holder` has it already. False when somebody
    /// else holds it. One renewal at a time per session across all replicas rests on this.
    async fn lease(&self, name: &str, holder: &str, life: Duration, now: Timestamp) -> Result<bool, StoreError>;

    /// Gives the lease back if `holder` still has it.
    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError>;

    /// Marks `marker` as used until `until`; atomic. False when it was marked before: login attempts and `jti`s are
    /// used once by this.
    async fn use_once(&self, marker: &str, until: Timestamp, now: Timestamp) -> Result<bool, StoreError>;

    /// A small document kept for all replicas, such as our sealed signing keys.
    async fn document(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Writes a document if it still is `expected`; atomic. False when somebody else wrote first.
    async fn put_document(&self, name: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<bool, StoreError>;

    /// Asks whether the store answers, for readiness.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Drops what has expired where the store does not do so by itself; returns how many records went.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// News of changes by any replica, from now on. A receiver that lags must treat it as [`Change::Missed`].
    fn changes(&self) -> tokio::sync::broadcast::Receiver<Change>;
}
