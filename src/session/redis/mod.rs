//! Sessions in Redis, shared by all replicas.
//!
//! | key | holds | lives |
//! |---|---|---|
//! | `session:{KEY}` | hash: `v` version, `d` sealed record, `b` when it began, `a` `i` `s` what it is indexed by | `STRIDE` past its end |
//! | `seen:{KEY}` | hash: `at` last seen, `end` when it expires | to its end |
//! | `account:ID` `identity:HASH` `sid:HASH` | sorted set: session keys by when their record is gone | as its youngest record |
//! | `lease:NAME` | hash: `holder`, `until` | the lease |
//! | `used:MARKER` | hash: `holder` (the one call), `until` | until then |
//! | `document:NAME` | the bytes | for good |
//! | `outbox:N` `outbox:marks:N` `outbox:dead` | streams of events and how far sinks have come (`outbox`) | until delivered |
//! | `ping` | nothing of interest | a second |
//!
//! Each with the configured prefix. `{KEY}` is the session key in hexadecimal, in braces so that record and time share
//! a hash slot.
//!
//! **Why two keys a session.** Replicas watch the prefix `session:` (`watch`). A session is touched every minute and
//! nobody needs to hear of it, but any write, even of an expiry, would be told to all. So last use and end are kept
//! beside the record, under a key nobody watches. A record without its `seen` has expired. The record itself outlives
//! it by up to `STRIDE`, because moving its expiry is a write: that is done once a stride, not once a minute.
//!
//! **Indexes** live in other slots and cannot change in one step with the record. A session is entered in its indexes
//! before its record is written, so none is ever missing; members without a record are passed over, and dropped when
//! even the longest record would be gone. A record is never written again under a key that ended.
//!
//! **Durability** is Redis' own: with `appendonly yes` and `appendfsync always` an acknowledged write survives
//! everything; with `everysec` a crash of the machine can lose a second. `maxmemory-policy` should be `noeviction`.
//!
//! Absent: Sentinel and Cluster connections, which would join in `connect`. For a Cluster one thing more would have to
//! change: a script may then touch one slot only, but a letter of the outbox is written in the same script as the record
//! it tells of. Each record would keep its letters beside it, under its own hash tag, and a chore would carry them on to
//! the streams.

mod connect;
mod examine;
mod outbox;
mod script;
#[cfg(test)]
pub(crate) mod server;
mod sightings;
#[cfg(test)]
mod tests;
mod watch;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use tokio::{
    sync::{Notify, broadcast},
    task::JoinHandle,
};

use self::connect::Link;
pub use self::connect::OpenError;
pub(super) use self::examine::examine;
use super::{
    Change, NewStored, Replaced, SessionKey, SessionStore, Sighting, StoreError, Stored, Telling, Whose, news::News,
};
use crate::{
    clock::Timestamp,
    config::session::Redis as Config,
    event::sink::Letter,
    identity::{AccountId, IdentityKey, Issuer},
    secret,
};

/// How much longer than its session a record is kept, so that a touch need not write to it.
const STRIDE: Duration = Duration::from_secs(7 * 24 * 3600);
/// A record with less than this beyond its session's end is given a whole stride again.
const ENOUGH: Duration = Duration::from_secs(3 * 24 * 3600);
/// Redis keeps what has expired for this much longer, so that its clock never ends anything before the caller's does.
const SLACK: Duration = Duration::from_secs(60);
/// The longest life told to Redis, lest it overflow: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How many sessions of one person are read or ended at a time.
const AT_A_TIME: usize = 64;
/// How many sessions are listed.
const LISTED: usize = 100;

/// Sessions in Redis.
#[derive(Debug)]
pub struct RedisSessions {
    link: Link,
    keys: Keys,
    news: Arc<News>,
    appended: Notify,
    watching: JoinHandle<()>,
}

impl RedisSessions {
    /// Reads the settings and the files they name, and begins to watch. Redis need not answer yet: until it does,
    /// calls give [`StoreError::Unavailable`]. Must be called on the runtime of the control plane.
    ///
    /// # Errors
    /// [`OpenError`] names the setting.
    pub fn open(config: &Config) -> Result<Self, OpenError> {
        if config.prefix.contains(['{', '}']) {
            return Err(connect::setting("prefix", "braces would break the placing of keys: leave them out"));
        }
        let client = connect::client(config)?;
        let keys = Keys { prefix: config.prefix.as_str().into() };
        let news = Arc::new(News::new(false));
        let watching = tokio::spawn(watch::watch(client.clone(), keys.clone(), config.timeout, Arc::clone(&news)));
        Ok(Self { link: Link::new(client, config.timeout), keys, news, appended: Notify::new(), watching })
    }

    /// Enters a session in the indexes named, for a record that lives for `life` from `now`.
    async fn index(
        &self,
        key: &SessionKey,
        indexes: &[String],
        life: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let entries = indexes.iter().map(|index| async move {
            let mut call = script::INDEX.prepare_invoke();
            call.key(index).arg(key.hex()).arg(now.plus(life).as_millis()).arg(millis(life)).arg(now.as_millis());
            self.link.script::<()>(&call).await
        });
        try_join_all(entries).await?;
        Ok(())
    }

    /// Ends one session, tells of it, and gives whether it was alive.
    async fn delete(&self, key: &SessionKey, letters: &[Letter]) -> Result<bool, StoreError> {
        let mut call = script::END.prepare_invoke();
        call.key(self.keys.record(key)).key(self.keys.seen(key));
        outbox::tell(&mut call, &self.keys, letters);
        let gone: Gone = self.link.script(&call).await?;
        if gone.0 {
            self.tell_appended(letters);
        }
        Ok(self.forget(key, gone).await)
    }

    /// Tidies up after a session that was deleted; gives whether it was alive.
    async fn forget(&self, key: &SessionKey, (alive, account, identity, sid): Gone) -> bool {
        if alive {
            // The watch tells us too, but perhaps later than this call returns.
            self.news.changed(*key);
        }
        let leaving =
            [account, identity, sid].into_iter().flatten().filter(|index| !index.is_empty()).map(|index| async move {
                let mut leaving = redis::pipe();
                leaving.zrem(index, key.hex()).ignore();
                self.link.pipe::<()>(&leaving).await
            });
        // Only tidiness: a member without a record is passed over.
        let _ = try_join_all(leaving).await;
        alive
    }

    /// Begins `new`, and ends what it replaces in the same step; with `if_alive`, only if that has not ended. Gives what is
    /// known of the replaced one.
    async fn begin_in_place_of(
        &self,
        new: NewStored,
        replaces: Option<SessionKey>,
        if_alive: bool,
        letters: &[Letter],
    ) -> Result<Gone, StoreError> {
        let account = self.keys.account(&new.account);
        let identity = self.keys.identity(&new.identity);
        let sid = new.sid.as_ref().map(|sid| self.keys.sid(&new.identity.issuer, sid));
        let indexes: Vec<String> = [account.clone(), identity.clone()].into_iter().chain(sid.clone()).collect();
        let life = record_life(new.expires_at, new.last_seen);
        self.index(&new.key, &indexes, life, new.last_seen).await?;
        let old = replaces.unwrap_or(new.key);
        let mut call = script::BEGIN.prepare_invoke();
        call.key(self.keys.record(&new.key)).key(self.keys.seen(&new.key));
        call.key(self.keys.record(&old)).key(self.keys.seen(&old));
        call.arg(new.sealed).arg(account).arg(identity).arg(sid.unwrap_or_default());
        call.arg(new.last_seen.as_millis()).arg(new.expires_at.as_millis());
        call.arg(millis(seen_life(new.expires_at, new.last_seen))).arg(millis(life));
        call.arg(u8::from(if_alive));
        outbox::tell(&mut call, &self.keys, letters);
        let gone: Gone = self.link.script(&call).await?;
        self.tell_appended(letters);
        Ok(gone)
    }

    /// Ends one of the sessions that `whose` names.
    async fn delete_telling(
        &self,
        key: &SessionKey,
        whose: &Whose,
        telling: &(dyn Telling + '_),
    ) -> Result<bool, StoreError> {
        let account = match whose {
            Whose::Account(account) => Some(*account),
            Whose::Identity(_) | Whose::Sid(..) => self.account_of(key).await?,
        };
        // Without an account there is no record any more, and nothing to tell of.
        let letters = account.map(|account| telling.letters(key, &account)).unwrap_or_default();
        self.delete(key, &letters).await
    }

    /// Whose the session under `key` is.
    async fn account_of(&self, key: &SessionKey) -> Result<Option<AccountId>, StoreError> {
        let mut asking = redis::pipe();
        asking.hget(self.keys.record(key), "a");
        let (index,): (Option<String>,) = self.link.pipe(&asking).await?;
        index
            .map(|index| self.keys.account_named(&index))
            .map(|account| account.ok_or_else(|| StoreError::Corrupt("a session of an account that is none".into())))
            .transpose()
    }

    /// Wakes the relay.
    fn tell_appended(&self, letters: &[Letter]) {
        if !letters.is_empty() {
            self.appended.notify_one();
        }
    }

    /// Gives the record of a session that goes on a whole stride again: indexes first.
    async fn lengthen(&self, key: &SessionKey, expires_at: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        let record = self.keys.record(key);
        let mut asking = redis::pipe();
        asking.hmget(&record, &["a", "i", "s"]);
        let (indexes,): (Vec<Option<String>>,) = self.link.pipe(&asking).await?;
        let indexes: Vec<String> = indexes.into_iter().flatten().filter(|index| !index.is_empty()).collect();
        let life = record_life(expires_at, now);
        self.index(key, &indexes, life, now).await?;
        let mut lengthening = redis::pipe();
        lengthening.pexpire(&record, millis(life)).ignore();
        self.link.pipe::<()>(&lengthening).await
    }

    /// The members of an index.
    async fn members(&self, index: &str) -> Result<Vec<SessionKey>, StoreError> {
        let mut asking = redis::pipe();
        asking.zrange(index, 0, -1);
        let (members,): (Vec<String>,) = self.link.pipe(&asking).await?;
        members
            .iter()
            .map(|hex| SessionKey::parse_hex(hex))
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::Corrupt(format!("{index} holds something that is no session key")))
    }

    /// The session under `key` and when it began; nothing when its record or its time is missing, or it has expired.
    async fn load_one(&self, key: &SessionKey, now: Timestamp) -> Result<Option<(Timestamp, Stored)>, StoreError> {
        let mut asking = redis::pipe();
        asking.hmget(self.keys.record(key), &["v", "d", "b"]).hmget(self.keys.seen(key), &["at", "end"]);
        let ([version, sealed, began], [at, end]): ([Field; 3], [Field; 2]) = self.link.pipe(&asking).await?;
        let (Some(version), Some(sealed), Some(began), Some(at), Some(end)) = (version, sealed, began, at, end) else {
            return Ok(None);
        };
        let time = |text: &[u8]| number(text).map(Timestamp::from_millis);
        let stored = Stored { sealed, version: number(&version)?, last_seen: time(&at)?, expires_at: time(&end)? };
        let began_at = time(&began)?;
        Ok((stored.expires_at > now).then_some((began_at, stored)))
    }
}

impl Drop for RedisSessions {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    async fn load(&self, key: &SessionKey, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        Ok(self.load_one(key, now).await?.map(|(_, stored)| stored))
    }

    async fn begin(&self, new: NewStored, replaces: Option<SessionKey>, letters: &[Letter]) -> Result<(), StoreError> {
        let gone = self.begin_in_place_of(new, replaces, false, letters).await?;
        if let Some(old) = replaces {
            self.forget(&old, gone).await;
        }
        Ok(())
    }

    async fn rename(&self, new: NewStored, old: &SessionKey, letters: &[Letter]) -> Result<bool, StoreError> {
        let gone = self.begin_in_place_of(new, Some(*old), true, letters).await?;
        Ok(self.forget(old, gone).await)
    }

    async fn replace(
        &self,
        key: &SessionKey,
        version: u64,
        sealed: Vec<u8>,
        expires_at: Timestamp,
        now: Timestamp,
        letters: &[Letter],
    ) -> Result<Replaced, StoreError> {
        let life = seen_life(expires_at, now);
        let mut call = script::REPLACE.prepare_invoke();
        call.key(self.keys.record(key)).key(self.keys.seen(key));
        call.arg(version).arg(version.saturating_add(1)).arg(sealed);
        call.arg(expires_at.as_millis()).arg(now.as_millis()).arg(millis(life)).arg(millis(life + ENOUGH));
        outbox::tell(&mut call, &self.keys, letters);
        match self.link.script::<u8>(&call).await? {
            0 => return Ok(Replaced::Gone),
            1 => return Ok(Replaced::Changed),
            3 => {
                // The record is replaced whether or not this works; the next touch tries again.
                let _ = self.lengthen(key, expires_at, now).await;
            }
            _ => {}
        }
        self.tell_appended(letters);
        self.news.changed(*key);
        Ok(Replaced::Done)
    }

    async fn touch(&self, sightings: &[Sighting]) -> Result<Vec<bool>, StoreError> {
        self.note(sightings).await
    }

    async fn end(&self, key: &SessionKey, letters: &[Letter]) -> Result<bool, StoreError> {
        self.delete(key, letters).await
    }

    async fn end_all(
        &self,
        whose: &Whose,
        keep: Option<&SessionKey>,
        telling: &(dyn Telling + '_),
    ) -> Result<Vec<SessionKey>, StoreError> {
        let index = match whose {
            Whose::Account(account) => self.keys.account(account),
            Whose::Identity(identity) => self.keys.identity(identity),
            Whose::Sid(issuer, sid) => self.keys.sid(issuer, sid),
        };
        let members = self.members(&index).await?;
        stream::iter(members.into_iter().filter(|key| Some(key) != keep))
            .map(|key| async move { Ok(self.delete_telling(&key, whose, telling).await?.then_some(key)) })
            .buffer_unordered(AT_A_TIME)
            .try_filter_map(|ended| async move { Ok(ended) })
            .try_collect()
            .await
    }

    async fn list(&self, account: &AccountId, now: Timestamp) -> Result<Vec<(SessionKey, Stored)>, StoreError> {
        let mut live: Vec<_> = stream::iter(self.members(&self.keys.account(account)).await?)
            .map(|key| async move {
                let found = self.load_one(&key, now).await?;
                Ok::<_, StoreError>(found.map(|(began_at, stored)| (began_at, key, stored)))
            })
            .buffer_unordered(AT_A_TIME)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await?;
        live.sort_unstable_by_key(|(began_at, key, _)| (std::cmp::Reverse(*began_at), *key));
        live.truncate(LISTED);
        Ok(live.into_iter().map(|(_, key, stored)| (key, stored)).collect())
    }

    async fn lease(&self, name: &str, holder: &str, life: Duration, now: Timestamp) -> Result<bool, StoreError> {
        let mut call = script::LEASE.prepare_invoke();
        call.key(self.keys.named("lease", name)).arg(holder);
        call.arg(now.plus(life).as_millis()).arg(now.as_millis()).arg(millis(life));
        self.link.script(&call).await
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let mut call = script::RELEASE.prepare_invoke();
        call.key(self.keys.named("lease", name)).arg(holder);
        self.link.script(&call).await
    }

    async fn use_once(&self, marker: &str, until: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        // A lease that nobody prolongs: its holder is this one call, so that the call may be repeated.
        let mut call = script::LEASE.prepare_invoke();
        call.key(self.keys.named("used", marker)).arg(secret::random_text());
        call.arg(until.as_millis()).arg(now.as_millis()).arg(millis(seen_life(until, now)));
        self.link.script(&call).await
    }

    async fn document(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut asking = redis::pipe();
        asking.get(self.keys.named("document", name));
        let (bytes,): (Option<Vec<u8>>,) = self.link.pipe(&asking).await?;
        Ok(bytes)
    }

    async fn put_document(&self, name: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<bool, StoreError> {
        let mut call = script::PUT_DOCUMENT.prepare_invoke();
        call.key(self.keys.named("document", name));
        call.arg(u8::from(expected.is_some())).arg(expected.unwrap_or_default()).arg(bytes);
        self.link.script_once(&call).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // A write, for a Redis that is full, read-only or unable to save still answers PING.
        let mut asking = redis::pipe();
        asking.pset_ex(self.keys.named("ping", ""), "", 1000).ignore();
        self.link.pipe(&asking).await
    }

    /// Redis drops what has expired by itself.
    async fn sweep(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.news.subscribe()
    }
}

/// Whether a deleted session was alive, and the indexes it was in.
type Gone = (bool, Option<String>, Option<String>, Option<String>);

/// A field of a hash, if it is there.
type Field = Option<Vec<u8>>;

fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T, StoreError> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| StoreError::Corrupt("a number of a session record is none".into()))
}

fn seen_life(expires_at: Timestamp, now: Timestamp) -> Duration {
    (expires_at.since(now) + SLACK).min(LONGEST)
}

fn record_life(expires_at: Timestamp, now: Timestamp) -> Duration {
    seen_life(expires_at, now) + STRIDE
}

fn millis(life: Duration) -> i64 {
    i64::try_from(life.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// How keys are named.
#[derive(Debug, Clone)]
struct Keys {
    prefix: Arc<str>,
}

impl Keys {
    fn record(&self, key: &SessionKey) -> String {
        format!("{}session:{{{}}}", self.prefix, key.hex())
    }

    fn seen(&self, key: &SessionKey) -> String {
        format!("{}seen:{{{}}}", self.prefix, key.hex())
    }

    /// What all records begin with.
    fn tracked(&self) -> String {
        format!("{}session:", self.prefix)
    }

    /// The session whose record bears this name.
    fn session_named(&self, name: &[u8]) -> Option<SessionKey> {
        let name = std::str::from_utf8(name).ok()?.strip_prefix(self.prefix.as_ref())?;
        SessionKey::parse_hex(name.strip_prefix("session:{")?.strip_suffix('}')?)
    }

    fn account(&self, account: &AccountId) -> String {
        format!("{}account:{account}", self.prefix)
    }

    /// The account whose index bears this name.
    fn account_named(&self, name: &str) -> Option<AccountId> {
        AccountId::parse(name.strip_prefix(self.prefix.as_ref())?.strip_prefix("account:")?)
    }

    fn identity(&self, identity: &IdentityKey) -> String {
        self.hashed("identity", &identity.issuer, identity.subject.as_str())
    }

    fn sid(&self, issuer: &Issuer, sid: &str) -> String {
        self.hashed("sid", issuer, sid)
    }

    /// A key of fixed length out of two texts of strangers; the length before the first keeps pairs apart.
    fn hashed(&self, kind: &str, issuer: &Issuer, text: &str) -> String {
        let pair = format!("{}:{}{text}", issuer.as_str().len(), issuer.as_str());
        format!("{}{kind}:{}", self.prefix, SessionKey::from_bytes(secret::sha256(pair.as_bytes())).hex())
    }

    fn named(&self, kind: &str, name: &str) -> String {
        format!("{}{kind}:{name}", self.prefix)
    }
}
