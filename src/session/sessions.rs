//! Sessions above any store: sealing, lifetimes, the cache, the once-a-minute note of use.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use zeroize::Zeroizing;

use super::{
    NewStored, Record, Replaced, Session, SessionId, SessionKey, SessionStore, Sighting, StoreError, Stored, Telling,
    Whose,
    cache::{Loading, SessionCache},
    flight::Flights,
    lifetime::Lifetime,
    live::Live,
    near::{Known, Near},
    record::{self, Found},
    resting::Resting,
    tokens,
    voucher::Vouchers,
};
use crate::{
    clock::{Clock, Timestamp},
    event::sink::Letter,
    identity::{AccountId, VerifiedIdentity},
    provider::Tokens,
    secret::{KeyRing, Purpose},
};

/// How often the store is told that a session is in use.
const SIGHTING_INTERVAL: Duration = Duration::from_secs(60);

/// The longest User-Agent we keep.
const MAX_USER_AGENT: usize = 200;

/// A session to begin: proof of who it is, and what came with it.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// Whose it becomes.
    pub account: AccountId,
    /// Who it is: every check has passed.
    pub identity: &'a VerifiedIdentity,
    /// The provider's tokens.
    pub tokens: &'a Tokens,
    /// When to renew.
    pub renew_at: Option<Timestamp>,
    /// The browser, for the person's list.
    pub user_agent: Option<&'a str>,
}

/// All sessions of this gateway.
#[derive(Debug)]
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    keys: KeyRing,
    lifetime: Lifetime,
    outage_grace: Duration,
    cache: SessionCache<Resting>,
    vouchers: Vouchers,
    /// Whether a route passes the provider's tokens on, so that they must be at hand.
    keeps_tokens: AtomicBool,
    flights: Arc<Flights>,
    clock: Arc<dyn Clock>,
    /// Sightings the store is yet to be told of; drained by [`Sessions::tell_sightings`].
    sightings: Mutex<Vec<Sighting>>,
}

impl Sessions {
    /// Sessions kept in `store`, sealed with `keys`, cached up to `capacity`.
    pub fn new(
        store: Arc<dyn SessionStore>,
        keys: KeyRing,
        lifetime: Lifetime,
        outage_grace: Duration,
        capacity: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            cache: SessionCache::new(capacity),
            vouchers: Vouchers::default(),
            keeps_tokens: AtomicBool::new(false),
            flights: Arc::default(),
            store,
            keys,
            lifetime,
            outage_grace,
            clock,
            sightings: Mutex::default(),
        }
    }

    /// The store beneath.
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        &self.store
    }

    /// The keys records are sealed with.
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// Keeps the provider's tokens, sealed, with cached sessions from now on, or no longer.
    ///
    /// To be called before the configuration that passes them on is in use: when this returns, none is found in the cache
    /// without its tokens, whatever was being loaded meanwhile. During an outage of the store that means that no session
    /// from before is found at all: a request without the token its route promises would be worse than none.
    pub fn keep_tokens(&self, keep: bool) {
        // Told before the cache is emptied: a load that is not refused by that has begun after it, and sees this.
        if !self.keeps_tokens.swap(keep, Ordering::SeqCst) && keep {
            self.cache.clear();
        }
    }

    /// What is known of `id` without asking the store: from the worker's window or the cache, if that can be trusted. The
    /// data plane's only question: no waiting, and mostly no lock.
    pub fn near(&self, near: &Near, id: &SessionId, now: Timestamp) -> Option<Known> {
        let held = match near.get(id, &self.cache, now) {
            Some(Known::Session(held)) => held,
            Some(Known::Nobody) => return Some(Known::Nobody),
            None => {
                let key = id.key();
                let (resting, stamp) = self.cache.get_stamped(&key)?;
                near.put(id, resting.open(&key)?, stamp)
            }
        };
        self.in_use(&held, now).then_some(Known::Session(held))
    }

    /// The cached session under `key`, likewise.
    fn cached(&self, key: &SessionKey, now: Timestamp) -> Option<Arc<Live>> {
        self.cache.get(key)?.open(key).filter(|live| self.in_use(live, now)).map(Arc::new)
    }

    /// Notes that a session is used, if it is alive.
    fn in_use(&self, live: &Live, now: Timestamp) -> bool {
        let alive = live.is_alive(now);
        if alive {
            self.note_use(live, now);
        }
        alive
    }

    /// The session under `key`, from the cache or the store.
    ///
    /// # Errors
    /// When the store does not answer and no grace applies: the request is 503, never "signed out" (threats 11).
    pub async fn load(self: &Arc<Self>, key: &SessionKey) -> Result<Option<Arc<Live>>, StoreError> {
        let now = self.clock.now();
        if let Some(live) = self.cached(key, now) {
            return Ok(Some(live));
        }
        let ask = || {
            let (this, key) = (self.clone(), *key);
            (self.cache.begin_load(&key), async move { this.read(&key, now).await }.boxed())
        };
        match self.flights.join(*key, |began| self.cache.is_under_way(began), ask).await {
            Err(StoreError::Unavailable(why)) => {
                self.during_outage(key, now).map(Some).ok_or(StoreError::Unavailable(why))
            }
            answer => answer,
        }
    }

    /// The session under `key` as the store has it now, past the cache.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reload(&self, key: &SessionKey) -> Result<Option<Arc<Live>>, StoreError> {
        self.read(key, self.clock.now()).await
    }

    /// The record under `key` as the store has it now: whole, and with what is needed to replace it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn record(&self, key: &SessionKey) -> Result<Option<Found>, StoreError> {
        let now = self.clock.now();
        let Some(fetched) = self.fetch(key, now).await? else { return Ok(None) };
        let Some(record) = Record::read(&fetched.json) else { return Ok(self.unreadable(key)) };
        let tokens = if self.keeps_tokens() { record.sealed_tokens() } else { None };
        let (version, last_seen) = (fetched.stored.version, fetched.stored.last_seen);
        let live = self.admit(key, record.session.clone(), tokens.as_deref(), fetched, now)?;
        Ok(live.map(|_| Found { key: *key, record, version, last_seen }))
    }

    /// Reads past the cache, and fills it.
    async fn read(&self, key: &SessionKey, now: Timestamp) -> Result<Option<Arc<Live>>, StoreError> {
        let Some(fetched) = self.fetch(key, now).await? else { return Ok(None) };
        let Some(session) = Record::only_facts(&fetched.json) else { return Ok(self.unreadable(key)) };
        let tokens = if self.keeps_tokens() { Record::only_tokens(&fetched.json) } else { None };
        Ok(self.admit(key, session, tokens.as_deref(), fetched, now)?.map(Arc::new))
    }

    /// Asks the store for a record, and unseals it.
    async fn fetch(&self, key: &SessionKey, now: Timestamp) -> Result<Option<Fetched>, StoreError> {
        let loading = self.cache.begin_load(key);
        let Some(stored) = self.store.load(key, now).await? else { return Ok(None) };
        let Some(json) = self.unseal(key, &stored) else { return Ok(self.unreadable(key)) };
        Ok(Some(Fetched { loading, stored, json }))
    }

    /// A record sealed with a key that we no longer have: the session cannot be used, and the person signs in again.
    fn unreadable<T>(&self, key: &SessionKey) -> Option<T> {
        tracing::info!(session = ?key, "session record does not open with any current key");
        None
    }

    /// Fills the cache with what was read, and opens it for use, if it is alive.
    fn admit(
        &self,
        key: &SessionKey,
        session: Session,
        tokens: Option<&[u8]>,
        Fetched { loading, stored, .. }: Fetched,
        now: Timestamp,
    ) -> Result<Option<Live>, StoreError> {
        let resting = Resting::new(&session, tokens, &stored, &self.vouchers)?;
        let live = Live::new(*key, session, stored.version, resting.clone());
        if !live.is_alive(now) {
            return Ok(None);
        }
        self.cache.insert(loading, resting);
        self.note_use(&live, now);
        Ok(Some(live))
    }

    /// A session known before the store was lost, while the grace lasts.
    fn during_outage(&self, key: &SessionKey, now: Timestamp) -> Option<Arc<Live>> {
        if self.outage_grace.is_zero() {
            return None;
        }
        let resting = self.cache.get_during_outage(key, now, self.outage_grace)?;
        resting.open(key).filter(|live| live.is_alive(now)).map(Arc::new)
    }

    /// Begins a session under a fresh id; the session `replaces` ends in the same step (threats 8.1), in which the
    /// letters of `telling` are written too.
    ///
    /// # Errors
    /// When the store does not acknowledge it: nobody is signed in then.
    pub async fn begin(
        &self,
        beginning: Beginning<'_>,
        replaces: Option<SessionKey>,
        telling: &(dyn Telling + '_),
    ) -> Result<SessionId, StoreError> {
        let now = self.clock.now();
        let id = SessionId::fresh();
        let key = id.key();
        let origin = beginning.identity.origin().clone();
        let ends_at = self.lifetime.ends_at(now);
        let record = Record {
            session: Session {
                account: beginning.account,
                profile: beginning.identity.profile().clone(),
                created_at: now,
                ends_at,
                renew_at: beginning.renew_at,
                origin: origin.clone(),
            },
            user_agent: beginning
                .user_agent
                .map(|agent| agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect()),
            tokens: Some(self.seal_tokens(&id, beginning.tokens)),
        };
        let new = NewStored {
            key,
            account: beginning.account,
            identity: origin.key,
            sid: origin.sid,
            sealed: self.seal(&key, &record)?,
            last_seen: now,
            expires_at: self.lifetime.expires_at(now, ends_at),
        };
        let stored = Stored { sealed: Vec::new(), version: 1, last_seen: now, expires_at: new.expires_at };
        let letters = telling.letters(&key, &new.account);
        let loading = self.cache.begin_load(&key);
        self.store.begin(new, replaces, &letters).await?;
        if let Some(old) = replaces {
            self.cache.forget(&old);
        }
        self.keep_begun(loading, &record, &stored);
        Ok(id)
    }

    /// Fills the cache with a session that the store has acknowledged, as a load would: its browser is on its way back
    /// with the id. Should anything be forgotten there meanwhile, the next request asks the store.
    fn keep_begun(&self, loading: Loading, record: &Record, stored: &Stored) {
        let tokens = if self.keeps_tokens() { record.sealed_tokens() } else { None };
        if let Ok(resting) = Resting::new(&record.session, tokens.as_deref(), stored, &self.vouchers) {
            self.cache.insert(loading, resting);
        }
    }

    /// Goes on with the session of `id` under a fresh id, because what it may do has changed (threats 8.1); `None` when
    /// it has ended, which nothing undoes. Whoever calls sees to it that it is not renewed meanwhile;
    /// `letters` that tell of the change are written in the same step.
    ///
    /// # Errors
    /// When the store does not acknowledge it; the session may then have gone on under an id nobody knows.
    pub async fn rename(&self, id: &SessionId, letters: &[Letter]) -> Result<Option<SessionId>, StoreError> {
        let (old, now) = (id.key(), self.clock.now());
        let Some(Found { mut record, .. }) = self.record(&old).await? else { return Ok(None) };
        let new = SessionId::fresh();
        let key = new.key();
        record.tokens = self.tokens_of(id, &record).map(|tokens| self.seal_tokens(&new, &tokens));
        let session = &record.session;
        let stored = NewStored {
            key,
            account: session.account,
            identity: session.origin.key.clone(),
            sid: session.origin.sid.clone(),
            sealed: self.seal(&key, &record)?,
            last_seen: now,
            expires_at: self.lifetime.expires_at(now, session.ends_at),
        };
        let renamed = self.store.rename(stored, &old, letters).await?;
        self.cache.forget(&old);
        if !renamed {
            return Ok(None);
        }
        Ok(Some(new))
    }

    /// Replaces the record that was `found` by one with new tokens and, if told, a new profile.
    ///
    /// The `letters` that tell of it are written in the same step.
    /// Retries while somebody else changed the record in between, so that a rotated refresh token is not lost
    /// (threats 8.5); never revives an ended session.
    ///
    /// # Errors
    /// When the store does not acknowledge it.
    pub async fn renewed(
        &self,
        id: &SessionId,
        found: &Found,
        renewal: &crate::provider::Renewed,
        letters: &[Letter],
    ) -> Result<Replaced, StoreError> {
        const TRIES: usize = 5;
        let (key, mut record, mut version) = (found.key, found.record.clone(), found.version);
        for _ in 0..TRIES {
            record.tokens = Some(self.seal_tokens(id, &renewal.tokens));
            record.session.renew_at = renewal.renew_at;
            if let Some(profile) = &renewal.profile {
                record.session.profile = profile.clone();
            }
            let now = self.clock.now();
            let sealed = self.seal(&key, &record)?;
            let expires_at = self.lifetime.expires_at(now, record.session.ends_at);
            match self.store.replace(&key, version, sealed, expires_at, now, letters).await? {
                Replaced::Changed => {}
                done => {
                    self.cache.forget(&key);
                    return Ok(done);
                }
            }
            let Some(stored) = self.store.load(&key, now).await? else { return Ok(Replaced::Gone) };
            record = self
                .open(&key, &stored)
                .ok_or_else(|| StoreError::Corrupt("a record changed into one that does not open".into()))?;
            version = stored.version;
        }
        Ok(Replaced::Changed)
    }

    /// The provider's tokens of a session in use, if they are kept at hand ([`keep_tokens`](Self::keep_tokens)); only the
    /// browser's id opens them.
    pub fn tokens(&self, id: &SessionId, live: &Live) -> Option<Tokens> {
        tokens::open(&self.keys, id, live.resting().tokens()?)
    }

    /// The provider's tokens of a session as its record has them; only the browser's id opens them.
    pub fn tokens_of(&self, id: &SessionId, record: &Record) -> Option<Tokens> {
        tokens::open(&self.keys, id, &record.sealed_tokens()?)
    }

    /// Ends one session, here at once and everywhere within moments, and tells of it in the same step. False when there
    /// was none.
    ///
    /// # Errors
    /// When the store does not acknowledge it.
    pub async fn end(&self, key: &SessionKey, letters: &[Letter]) -> Result<bool, StoreError> {
        let ended = self.store.end(key, letters).await?;
        self.cache.forget(key);
        Ok(ended)
    }

    /// Ends all that `whose` names, except `keep`, and tells of each in the same step; returns their keys.
    ///
    /// # Errors
    /// When the store does not acknowledge it.
    pub async fn end_all(
        &self,
        whose: &Whose,
        keep: Option<&SessionKey>,
        telling: &(dyn Telling + '_),
    ) -> Result<Vec<SessionKey>, StoreError> {
        let ended = self.store.end_all(whose, keep, telling).await?;
        ended.iter().for_each(|key| self.cache.forget(key));
        Ok(ended)
    }

    /// The live sessions of an account, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self, account: &AccountId) -> Result<Vec<Found>, StoreError> {
        let listed = self.store.list(account, self.clock.now()).await?;
        let found = |(key, stored): (SessionKey, Stored)| {
            let record = self.open(&key, &stored)?;
            Some(Found { key, record, version: stored.version, last_seen: stored.last_seen })
        };
        Ok(listed.into_iter().filter_map(found).collect())
    }

    /// Tells the store which sessions were used since the last call. Runs on the control plane every few seconds.
    pub async fn tell_sightings(&self) {
        let due = std::mem::take(&mut *self.sightings.lock().unwrap_or_else(PoisonError::into_inner));
        if due.is_empty() {
            return;
        }
        match self.store.touch(&due).await {
            Ok(going_on) => {
                let ended = due.iter().zip(going_on).filter(|(_, goes_on)| !goes_on);
                ended.for_each(|(sighting, _)| self.cache.forget(&sighting.key));
            }
            // Nothing is lost but precision: the next sighting tells again.
            Err(error) => tracing::debug!(%error, "could not note the use of sessions"),
        }
    }

    /// Follows the store's news until the store goes away. Runs on the control plane for the life of the process.
    pub async fn follow_changes(self: Arc<Self>, tell: impl Fn(super::Change) + Send) {
        let mut changes = self.store.changes();
        loop {
            let change = match changes.recv().await {
                Ok(change) => change,
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {
                    // What was missed is unknown: drop everything, then trust again.
                    self.cache.apply(super::Change::Missed, self.clock.now());
                    super::Change::Watching
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            };
            self.cache.apply(change, self.clock.now());
            tell(change);
        }
    }

    /// Forgets every cached session; the store has them all. During its outage they stay, for nothing could bring them
    /// back.
    pub fn drop_cache(&self) {
        if self.cache.is_trusted() {
            self.cache.clear();
        }
    }

    /// How many sessions are cached, for metrics.
    pub fn cached_count(&self) -> usize {
        self.cache.len()
    }

    /// Counts the use of a session: prolongs its idle end at once, tells the store at most once a minute.
    fn note_use(&self, live: &Live, now: Timestamp) {
        if live.resting().sight(now, SIGHTING_INTERVAL) {
            let expires_at = self.lifetime.expires_at(now, live.session().ends_at);
            live.resting().prolong(expires_at);
            let sighting = Sighting { key: *live.key(), seen: now, expires_at };
            self.sightings.lock().unwrap_or_else(PoisonError::into_inner).push(sighting);
        }
    }

    fn keeps_tokens(&self) -> bool {
        self.keeps_tokens.load(Ordering::SeqCst)
    }

    fn seal(&self, key: &SessionKey, record: &Record) -> Result<Vec<u8>, StoreError> {
        let json = serde_json::to_vec(record).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(self.keys.seal(Purpose::SessionRecord, b"", key.bytes(), &json))
    }

    fn unseal(&self, key: &SessionKey, stored: &Stored) -> Option<Zeroizing<Vec<u8>>> {
        self.keys.open(Purpose::SessionRecord, b"", key.bytes(), &stored.sealed).ok()
    }

    fn open(&self, key: &SessionKey, stored: &Stored) -> Option<Record> {
        Record::read(&self.unseal(key, stored)?)
    }

    fn seal_tokens(&self, id: &SessionId, tokens: &Tokens) -> String {
        record::wrapped(&tokens::seal(&self.keys, id, tokens))
    }
}

/// A record on its way from the store.
struct Fetched {
    /// The right to cache it.
    loading: Loading,
    stored: Stored,
    json: Zeroizing<Vec<u8>>,
}

#[cfg(test)]
mod tests;
