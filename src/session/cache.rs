//! Opened sessions kept in this process, so that a request with a known session waits for no store.
//!
//! A [`SessionCache`] holds a handle on a session (`Resting`) under its key. It is bounded, split into shards so that
//! workers seldom meet, and a hit costs one hash look-up and one reference count: nothing is allocated, nothing is
//! awaited.
//!
//! **Nothing stale is ever kept.** Every [`Change`] of the store goes through [`apply`](SessionCache::apply). A load
//! that began before a change and finishes after it must not put back what the change took away, so each load carries
//! a [`Loading`] from [`begin_load`](SessionCache::begin_load), and [`insert`](SessionCache::insert) refuses one whose
//! shard has forgotten anything since. (One counter a shard rather than a key: a refused insert costs one more load.)
//!
//! **Trusted and suspect.** While news flow, what is here is true. After [`Change::Missed`] it is suspect: `get` gives
//! nothing, and only [`get_during_outage`](SessionCache::get_during_outage), asked when the store failed, still does
//! for the configured grace. [`Change::Watching`] drops everything suspect and trusts again. A new cache is suspect
//! until the first `Watching`.
//!
//! Deliberately absent: expiry (the value knows its own end and its reader has the clock) and "no such session"
//! entries (a guesser could fill the cache with them).

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use quick_cache::{UnitWeighter, unsync};
use tokio::sync::broadcast::error::RecvError;

use super::{Change, SessionKey, SessionStore};
use crate::clock::{Clock, Timestamp};

/// A power of two, well above the number of workers.
const SHARDS: usize = 64;

/// Opened sessions, by key.
pub struct SessionCache<T> {
    shards: Box<[Shard<T>]>,
    trusted: AtomicBool,
    /// When the news stopped, in milliseconds. [`NEVER_TRUSTED`] until they flowed once.
    suspect_since: AtomicI64,
}

/// The right to insert what a load brings. Made before the load starts.
#[derive(Debug, Clone)]
#[must_use = "insert what was loaded with it"]
pub struct Loading {
    key: SessionKey,
    generation: u64,
}

/// When something was taken from the cache; it is current for as long as nothing of its shard was forgotten since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    shard: usize,
    generation: u64,
}

/// Aligned so that two shards never share a line of memory.
#[repr(align(128))]
struct Shard<T> {
    entries: RwLock<Entries<T>>,
    /// How often anything was forgotten here. Moved under the lock, read without it too.
    generation: AtomicU64,
}

type Entries<T> = unsync::Cache<SessionKey, T, UnitWeighter, BuildHasherDefault<KeyHasher>>;

/// No grace for a cache that never saw the store's news: nothing in it was ever known to be current.
const NEVER_TRUSTED: i64 = i64::MIN;

impl<T: Clone> SessionCache<T> {
    /// An empty cache for about `capacity` sessions, suspect until the first [`Change::Watching`].
    pub fn new(capacity: usize) -> Self {
        let each = capacity.div_ceil(SHARDS).max(1);
        let shards = (0..SHARDS).map(|_| Shard::new(each)).collect();
        Self { shards, trusted: AtomicBool::new(false), suspect_since: AtomicI64::new(NEVER_TRUSTED) }
    }

    /// The session under `key`, while news flow.
    #[inline]
    pub fn get(&self, key: &SessionKey) -> Option<T> {
        if self.trusted.load(Ordering::Acquire) { self.held(key) } else { None }
    }

    /// The session under `key` as [`get`](Self::get) gives it, and the stamp to ask by whether it is current later.
    pub(super) fn get_stamped(&self, key: &SessionKey) -> Option<(T, Stamp)> {
        if !self.trusted.load(Ordering::Acquire) {
            return None;
        }
        let (number, shard) = self.shard(key);
        let entries = shard.entries.read().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: whatever is forgotten after this moves the generation on.
        let stamp = Stamp { shard: number, generation: shard.generation.load(Ordering::Acquire) };
        Some((entries.get(key).cloned()?, stamp))
    }

    /// True while [`get`](Self::get) would still give what was taken with `stamp`.
    #[inline]
    pub(super) fn is_current(&self, stamp: Stamp) -> bool {
        let generation = self.shards.get(stamp.shard).map(|shard| shard.generation.load(Ordering::Acquire));
        self.trusted.load(Ordering::Acquire) && generation == Some(stamp.generation)
    }

    /// The session under `key` although its store cannot be asked: while news flow, and for `grace` after they stopped.
    pub fn get_during_outage(&self, key: &SessionKey, now: Timestamp, grace: Duration) -> Option<T> {
        if !self.trusted.load(Ordering::Acquire) {
            let since = self.suspect_since.load(Ordering::Acquire);
            if since == NEVER_TRUSTED || now.since(Timestamp::from_millis(since)) >= grace {
                return None;
            }
        }
        self.held(key)
    }

    /// To be called before the store is asked for `key`.
    pub fn begin_load(&self, key: &SessionKey) -> Loading {
        Loading { key: *key, generation: self.shard(key).1.generation.load(Ordering::Acquire) }
    }

    /// True while what the load brings may be kept.
    pub(super) fn is_under_way(&self, loading: &Loading) -> bool {
        self.shard(&loading.key).1.generation.load(Ordering::Acquire) == loading.generation
    }

    /// Keeps what a load brought. False, and not kept, when something was forgotten since the load began: what was
    /// read may be old, so the reader should read again.
    pub fn insert(&self, loading: Loading, session: T) -> bool {
        let shard = self.shard(&loading.key).1;
        let mut entries = shard.entries.write().unwrap_or_else(PoisonError::into_inner);
        if shard.generation.load(Ordering::Acquire) != loading.generation {
            return false;
        }
        entries.insert(loading.key, session);
        true
    }

    /// Forgets `key`, and refuses loads of it that are under way.
    pub fn forget(&self, key: &SessionKey) {
        self.shard(key).1.change(|entries| {
            entries.remove(key);
        });
    }

    /// Forgets everything, and refuses all loads that are under way.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard.change(Entries::clear);
        }
    }

    /// Follows one piece of news. `now` is when it came.
    pub fn apply(&self, change: Change, now: Timestamp) {
        match change {
            Change::One(key) => self.forget(&key),
            Change::Missed => self.distrust(now),
            Change::Watching => self.trust(),
        }
    }

    /// Follows the news of `store` for as long as it lives. Run once, on the control plane.
    pub async fn follow(&self, store: &dyn SessionStore, clock: &dyn Clock) {
        loop {
            // Each subscription begins by telling whether news flow, so one that lagged is simply renewed.
            let mut news = store.changes();
            loop {
                match news.recv().await {
                    Ok(change) => self.apply(change, clock.now()),
                    Err(RecvError::Lagged(_)) => {
                        self.distrust(clock.now());
                        break;
                    }
                    Err(RecvError::Closed) => {
                        self.distrust(clock.now());
                        return;
                    }
                }
            }
        }
    }

    /// What the tables take of memory themselves, without what the handles lead to. Slots that were never written to do not
    /// count: for the operating system they are not there.
    #[cfg(test)]
    pub(super) fn table_bytes(&self) -> usize {
        let used =
            |shard: &Shard<T>| shard.entries.read().unwrap_or_else(PoisonError::into_inner).memory_used().total();
        self.shards.iter().map(used).sum()
    }

    /// How many sessions are held.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.entries.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether news flow, for readiness and metrics.
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    fn held(&self, key: &SessionKey) -> Option<T> {
        self.shard(key).1.entries.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn distrust(&self, now: Timestamp) {
        // The first of several `Missed` counts: grace runs from when the news stopped.
        if self.trusted.swap(false, Ordering::AcqRel) {
            self.suspect_since.store(now.as_millis(), Ordering::Release);
        }
    }

    fn trust(&self) {
        if self.trusted.load(Ordering::Acquire) {
            return;
        }
        // Every shard is emptied, and loads under way refused, before any is trusted: otherwise a reader could meet an
        // entry from before the outage.
        self.clear();
        self.trusted.store(true, Ordering::Release);
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length, which is never 0")]
    fn shard(&self, key: &SessionKey) -> (usize, &Shard<T>) {
        // A byte the look-up inside the shard does not use. Keys are SHA-256: every byte is as good as random.
        let number = usize::from(key.bytes()[31]) % SHARDS;
        (number, &self.shards[number])
    }
}

impl<T: Clone> std::fmt::Debug for SessionCache<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionCache").field("len", &self.len()).field("trusted", &self.is_trusted()).finish()
    }
}

impl<T: Clone> Shard<T> {
    fn new(capacity: usize) -> Self {
        let weight = u64::try_from(capacity).unwrap_or(u64::MAX);
        // Room is made as sessions come, not for the whole capacity at start.
        let entries =
            Entries::with(capacity.min(16), weight, UnitWeighter, BuildHasherDefault::default(), Default::default());
        Self { entries: RwLock::new(entries), generation: AtomicU64::new(0) }
    }

    /// Forgets something: loads under way are refused and stamps are no longer current from before `forget` ends.
    fn change(&self, forget: impl FnOnce(&mut Entries<T>)) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::AcqRel);
        forget(&mut entries);
    }
}

/// Takes 8 bytes of a key for its hash. Keys are SHA-256 already, and only keys the store knows get in, so nobody can
/// choose them to collide.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_ne_bytes(*first);
        }
    }

    /// The length prefix of an array, which is always 32.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
    const GRACE: Duration = Duration::from_secs(60);

    fn key(byte: u8) -> SessionKey {
        SessionKey::from_bytes([byte; 32])
    }

    fn trusted() -> SessionCache<u32> {
        let cache = SessionCache::new(1000);
        cache.apply(Change::Watching, NOW);
        cache
    }

    fn put(cache: &SessionCache<u32>, key: SessionKey, value: u32) -> bool {
        cache.insert(cache.begin_load(&key), value)
    }

    #[test]
    fn what_was_inserted_is_found_until_it_changes() {
        let cache = trusted();
        assert!(put(&cache, key(1), 7));
        assert_eq!(cache.get(&key(1)).as_ref(), Some(&7));
        assert_eq!(cache.get(&key(2)), None);
        cache.apply(Change::One(key(1)), NOW);
        assert_eq!(cache.get(&key(1)), None);
    }

    #[test]
    fn a_load_that_raced_with_a_change_is_not_kept() {
        let cache = trusted();
        let loading = cache.begin_load(&key(1));
        // The store has answered with the old record; its revocation overtakes the answer.
        cache.apply(Change::One(key(1)), NOW);
        assert!(!cache.insert(loading, 7));
        assert_eq!(cache.get(&key(1)), None);
        assert!(put(&cache, key(1), 8), "a later load is kept");
    }

    #[test]
    fn a_load_that_raced_with_a_change_of_another_key_in_another_shard_is_kept() {
        let cache = trusted();
        let loading = cache.begin_load(&key(1));
        cache.apply(Change::One(key(2)), NOW);
        assert!(cache.insert(loading, 7));
    }

    #[test]
    fn a_load_from_before_an_outage_is_not_kept_after_it() {
        let cache = trusted();
        let before = cache.begin_load(&key(1));
        cache.apply(Change::Missed, NOW);
        let during = cache.begin_load(&key(2));
        cache.apply(Change::Watching, NOW);
        assert!(!cache.insert(before, 1));
        assert!(!cache.insert(during, 2));
        assert!(cache.is_empty());
    }

    #[test]
    fn while_suspect_only_the_outage_door_opens_and_only_for_the_grace() {
        let cache = trusted();
        put(&cache, key(1), 7);
        cache.apply(Change::Missed, NOW);
        assert_eq!(cache.get(&key(1)), None);
        let in_time = NOW.plus(GRACE).minus(Duration::from_millis(1));
        assert_eq!(cache.get_during_outage(&key(1), in_time, GRACE).as_ref(), Some(&7));
        assert_eq!(cache.get_during_outage(&key(1), NOW.plus(GRACE), GRACE), None);
        assert_eq!(cache.get_during_outage(&key(1), NOW, Duration::ZERO), None, "no grace, no session");
        // A second loss does not start the grace anew.
        cache.apply(Change::Missed, in_time);
        assert_eq!(cache.get_during_outage(&key(1), NOW.plus(GRACE), GRACE), None);
    }

    #[test]
    fn a_revocation_heard_during_an_outage_counts() {
        let cache = trusted();
        put(&cache, key(1), 7);
        cache.apply(Change::Missed, NOW);
        cache.apply(Change::One(key(1)), NOW);
        assert_eq!(cache.get_during_outage(&key(1), NOW, GRACE), None);
    }

    #[test]
    fn news_that_flow_again_drop_everything_from_before_and_a_repetition_drops_nothing() {
        let cache = trusted();
        put(&cache, key(1), 7);
        cache.apply(Change::Watching, NOW);
        assert_eq!(cache.len(), 1);
        cache.apply(Change::Missed, NOW);
        cache.apply(Change::Watching, NOW);
        assert_eq!(cache.get(&key(1)), None);
        assert!(cache.is_trusted());
    }

    #[test]
    fn a_cache_that_never_heard_news_gives_nothing() {
        let cache = SessionCache::new(10);
        put(&cache, key(1), 7);
        assert_eq!(cache.get(&key(1)), None);
        assert_eq!(cache.get_during_outage(&key(1), NOW, GRACE), None);
        cache.apply(Change::Missed, NOW);
        assert_eq!(cache.get_during_outage(&key(1), NOW, GRACE), None);
    }

    #[test]
    fn the_capacity_is_kept_and_no_room_is_taken_ahead() {
        let cache = trusted();
        for number in 0..10_000_u32 {
            put(&cache, SessionKey::from_bytes(crate::secret::sha256(&number.to_be_bytes())), number);
        }
        assert!(cache.len() <= 1000 + SHARDS, "{}", cache.len());
        assert!(cache.len() >= 900, "{}", cache.len());
    }

    #[test]
    fn readers_and_news_on_many_threads_never_leave_a_stale_entry() {
        // A store of one counter: a change writes it, then tells. Whoever is cached after all is told is the last.
        use std::sync::atomic::AtomicU32;
        let cache = trusted();
        const LAST: u32 = 2_000;
        let (stored, stale) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while stored.load(Ordering::SeqCst) < LAST {
                        let loading = cache.begin_load(&key(1));
                        let value = stored.load(Ordering::SeqCst);
                        // The answer of the store is on its way.
                        std::thread::yield_now();
                        cache.insert(loading, value);
                    }
                });
            }
            scope.spawn(|| {
                for value in 1..=LAST {
                    stored.store(value, Ordering::SeqCst);
                    cache.apply(Change::One(key(1)), NOW);
                    for _ in 0..20 {
                        std::thread::yield_now();
                        if cache.get(&key(1)).is_some_and(|cached| cached != value) {
                            stale.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        });
        assert_eq!(stale.into_inner(), 0, "cached after its revocation was told");
    }

    #[tokio::test]
    async fn following_a_store_trusts_it_from_the_first_word() {
        let folder = tempfile::tempdir().unwrap();
        let file = crate::directory::sql::sqlite::SqliteFile::open(&folder.path().join("brama.db")).await.unwrap();
        let store = super::super::embedded::EmbeddedSessions::open(file).await.unwrap();
        let cache = Arc::new(SessionCache::<u32>::new(10));
        let following = {
            let (cache, store) = (Arc::clone(&cache), store.clone());
            tokio::spawn(async move { cache.follow(&store, &ManualClock::new(NOW)).await })
        };
        tokio::time::timeout(Duration::from_secs(5), async {
            while !cache.is_trusted() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        following.abort();
    }
}
