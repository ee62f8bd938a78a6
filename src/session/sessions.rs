//! Sessions above any store: sealing, lifetimes, the cache, the once-a-minute note of use.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};

use super::{
    NewStored, Replaced, Session, SessionId, SessionKey, SessionStore, StoreError, Stored, Telling, Whose,
    cache::SessionCache,
    flight::Flights,
    lifetime::Lifetime,
    live::Live,
    near::{Known, Near},
};
use crate::{
    clock::{Clock, Timestamp},
    event::sink::Letter,
    identity::{AccountId, VerifiedIdentity},
    provider::Tokens,
    secret::{KeyRing, Purpose, Secret},
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
    cache: SessionCache<Live>,
    flights: Arc<Flights>,
    clock: Arc<dyn Clock>,
    /// Sightings the store is yet to be told of; drained by [`Sessions::tell_sightings`].
    sightings: Mutex<Vec<(SessionKey, Timestamp, Timestamp)>>,
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

    /// What is known of `id` without asking the store: from the worker's window or the cache, if that can be trusted. The
    /// data plane's only question: no waiting, and mostly no lock.
    pub fn near(&self, near: &Near, id: &SessionId, now: Timestamp) -> Option<Known> {
        let held = match near.get(id, &self.cache, now) {
            Some(Known::Session(held)) => held,
            Some(Known::Nobody) => return Some(Known::Nobody),
            None => {
                let (live, stamp) = self.cache.get_stamped(&id.key())?;
                near.put(id, live, stamp)
            }
        };
        self.in_use(&held, now).then_some(Known::Session(held))
    }

    /// The cached session under `key`, likewise.
    fn cached(&self, key: &SessionKey, now: Timestamp) -> Option<Arc<Live>> {
        self.cache.get(key).filter(|live| self.in_use(live, now))
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

    /// Reads past the cache, and fills it.
    async fn read(&self, key: &SessionKey, now: Timestamp) -> Result<Option<Arc<Live>>, StoreError> {
        let loading = self.cache.begin_load(key);
        let Some(stored) = self.store.load(key, now).await? else { return Ok(None) };
        let Some(session) = self.open(key, &stored) else {
            // Sealed with a key we no longer have: the session cannot be used, and the person signs in again.
            tracing::info!(session = ?key, "session record does not open with any current key");
            return Ok(None);
        };
        let live = Arc::new(Live::new(*key, session, &stored));
        if !live.is_alive(now) {
            return Ok(None);
        }
        self.cache.insert(loading, live.clone());
        self.note_use(&live, now);
        Ok(Some(live))
    }

    /// A session known before the store was lost, while the grace lasts.
    fn during_outage(&self, key: &SessionKey, now: Timestamp) -> Option<Arc<Live>> {
        if self.outage_grace.is_zero() {
            return None;
        }
        self.cache.get_during_outage(key, now, self.outage_grace).filter(|live| live.is_alive(now))
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
        let session = Session {
            account: beginning.account,
            profile: beginning.identity.profile().clone(),
            created_at: now,
            ends_at,
            renew_at: beginning.renew_at,
            user_agent: beginning
                .user_agent
                .map(|agent| agent.chars().filter(|c| !c.is_control()).take(MAX_USER_AGENT).collect()),
            tokens: Some(self.seal_tokens(&id, beginning.tokens)),
            origin: origin.clone(),
        };
        let new = NewStored {
            key,
            account: beginning.account,
            identity: origin.key,
            sid: origin.sid,
            sealed: self.seal(&key, &session)?,
            last_seen: now,
            expires_at: self.lifetime.expires_at(now, ends_at),
        };
        let letters = telling.letters(&key, &new.account);
        self.store.begin(new, replaces, &letters).await?;
        if let Some(old) = replaces {
            self.cache.forget(&old);
        }
        Ok(id)
    }

    /// Goes on with the session of `id` under a fresh id, because what it may do has changed (threats 8.1); `None` when
    /// it has ended, which nothing undoes. Whoever calls sees to it that it is not renewed meanwhile.
    ///
    /// # Errors
    /// When the store does not acknowledge it; the session may then be over.
    pub async fn rename(&self, id: &SessionId) -> Result<Option<SessionId>, StoreError> {
        let (old, now) = (id.key(), self.clock.now());
        let Some(live) = self.reload(&old).await? else { return Ok(None) };
        let new = SessionId::fresh();
        let key = new.key();
        let mut session = live.session().clone();
        session.tokens = self.tokens(id, &session).map(|tokens| self.seal_tokens(&new, &tokens));
        let stored = NewStored {
            key,
            account: session.account,
            identity: session.origin.key.clone(),
            sid: session.origin.sid.clone(),
            sealed: self.seal(&key, &session)?,
            last_seen: now,
            expires_at: self.lifetime.expires_at(now, session.ends_at),
        };
        // The old one ends first: only who really ends it may go on, so that no sign-out is undone. Nobody signs in or out
        // by it, so there is nothing to tell.
        if !self.end(&old, &[]).await? {
            return Ok(None);
        }
        self.store.begin(stored, None, &[]).await?;
        Ok(Some(new))
    }

    /// Replaces the record of `live` by one with new tokens and, if told, a new profile.
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
        live: &Live,
        renewal: &crate::provider::Renewed,
        letters: &[Letter],
    ) -> Result<Replaced, StoreError> {
        const TRIES: usize = 5;
        let key = *live.key();
        let (mut session, mut version) = (live.session().clone(), live.version());
        for _ in 0..TRIES {
            session.tokens = Some(self.seal_tokens(id, &renewal.tokens));
            session.renew_at = renewal.renew_at;
            if let Some(profile) = &renewal.profile {
                session.profile = profile.clone();
            }
            let now = self.clock.now();
            let sealed = self.seal(&key, &session)?;
            let expires_at = self.lifetime.expires_at(now, session.ends_at);
            match self.store.replace(&key, version, sealed, expires_at, now, letters).await? {
                Replaced::Changed => {}
                done => {
                    self.cache.forget(&key);
                    return Ok(done);
                }
            }
            let Some(stored) = self.store.load(&key, now).await? else { return Ok(Replaced::Gone) };
            session = self
                .open(&key, &stored)
                .ok_or_else(|| StoreError::Corrupt("a record changed into one that does not open".into()))?;
            version = stored.version;
        }
        Ok(Replaced::Changed)
    }

    /// The provider's tokens of a session; only the browser's id opens them.
    pub fn tokens(&self, id: &SessionId, session: &Session) -> Option<Tokens> {
        let sealed = URL_SAFE_NO_PAD.decode(session.tokens.as_deref()?).ok()?;
        let opened = self.keys.open(Purpose::ProviderTokens, id.bytes(), id.key().bytes(), &sealed).ok()?;
        serde_json::from_slice::<TokenRecord>(&opened).ok().map(TokenRecord::into_tokens)
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
    pub async fn list(&self, account: &AccountId) -> Result<Vec<(SessionKey, Session, Timestamp)>, StoreError> {
        let stored = self.store.list(account, self.clock.now()).await?;
        Ok(stored
            .into_iter()
            .filter_map(|(key, stored)| self.open(&key, &stored).map(|session| (key, session, stored.last_seen)))
            .collect())
    }

    /// Tells the store which sessions were used since the last call. Runs on the control plane every few seconds.
    pub async fn tell_sightings(&self) {
        let due = std::mem::take(&mut *self.sightings.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, seen, expires_at) in due {
            match self.store.touch(&key, seen, expires_at).await {
                Ok(true) => {}
                Ok(false) => self.cache.forget(&key),
                // Nothing is lost but precision: the next sighting tells again.
                Err(error) => return tracing::debug!(%error, "could not note the use of sessions"),
            }
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

    /// Forgets every cached session; the store has them all.
    pub fn drop_cache(&self) {
        let now = self.clock.now();
        let was_trusted = self.cache.is_trusted();
        self.cache.apply(super::Change::Missed, now);
        if was_trusted {
            self.cache.apply(super::Change::Watching, now);
        }
    }

    /// How many sessions are cached, for metrics.
    pub fn cached_count(&self) -> usize {
        self.cache.len()
    }

    /// Counts the use of a session: prolongs its idle end at once, tells the store at most once a minute.
    fn note_use(&self, live: &Live, now: Timestamp) {
        if live.sight(now, SIGHTING_INTERVAL) {
            let expires_at = self.lifetime.expires_at(now, live.session().ends_at);
            live.prolong(expires_at);
            self.sightings.lock().unwrap_or_else(PoisonError::into_inner).push((*live.key(), now, expires_at));
        }
    }

    fn seal(&self, key: &SessionKey, session: &Session) -> Result<Vec<u8>, StoreError> {
        let record = serde_json::to_vec(session).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(self.keys.seal(Purpose::SessionRecord, b"", key.bytes(), &record))
    }

    fn open(&self, key: &SessionKey, stored: &Stored) -> Option<Session> {
        let opened = self.keys.open(Purpose::SessionRecord, b"", key.bytes(), &stored.sealed).ok()?;
        serde_json::from_slice(&opened).ok()
    }

    fn seal_tokens(&self, id: &SessionId, tokens: &Tokens) -> String {
        let record = zeroize::Zeroizing::new(serde_json::to_vec(&TokenRecord::from_tokens(tokens)).unwrap_or_default());
        URL_SAFE_NO_PAD.encode(self.keys.seal(Purpose::ProviderTokens, id.bytes(), id.key().bytes(), &record))
    }
}

/// Tokens as they are sealed.
#[derive(Serialize, Deserialize)]
struct TokenRecord {
    access: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl TokenRecord {
    fn from_tokens(tokens: &Tokens) -> Self {
        let text = |secret: &Secret| secret.expose().to_owned();
        Self {
            access: text(&tokens.access_token),
            expires_at: tokens.expires_at,
            refresh: tokens.refresh_token.as_ref().map(text),
            id: tokens.id_token.as_ref().map(text),
        }
    }

    fn into_tokens(self) -> Tokens {
        Tokens {
            access_token: Secret::new(self.access),
            expires_at: self.expires_at,
            refresh_token: self.refresh.map(Secret::new),
            id_token: self.id.map(Secret::new),
        }
    }
}
