//! A worker's own window onto the sessions all workers share.
//!
//! The shared cache costs a hit one digest, one lock and one shared reference count, and the session in it is at rest and
//! must be opened. What this worker saw lately it finds here by the id itself, opened, with the header lines made for it:
//! no memory line is touched that other workers write to.
//!
//! **Nothing stale.** An entry is as good as the [`Stamp`] it was taken with: once anything of its shard was forgotten,
//! or the store's news stopped, it is passed over and the shared cache is asked. So a revocation takes effect here at
//! the same instant as there.
//!
//! An entry is found by bits of the id and taken only when all 256 are equal, compared in constant time: what an answer
//! takes tells a guesser nothing. It is a window, not a cache: an id has one place, and the last one there stays.

use std::{cell::RefCell, ops::Deref, rc::Rc, sync::Arc, time::Duration};

use super::{
    SessionId,
    cache::{SessionCache, Stamp},
    live::Live,
    resting::Resting,
};
use crate::{clock::Timestamp, secret};

/// Places in the window: sessions in use on one worker within moments. A power of two.
const PLACES: usize = 4096;

/// How long it is remembered that there is no such session.
const ABSENT_FOR: Duration = Duration::from_secs(10);

/// An open session in use on one worker: counted there alone.
#[derive(Debug, Clone)]
#[expect(clippy::redundant_allocation, reason = "the outer count is this worker's own")]
pub struct Held(Rc<Arc<Live>>);

impl Held {
    /// Takes what was opened.
    pub fn new(live: Arc<Live>) -> Self {
        Self(Rc::new(live))
    }

    /// As other threads may have it.
    pub fn shared(&self) -> &Arc<Live> {
        &self.0
    }
}

impl Deref for Held {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

/// One worker's window.
pub struct Near {
    places: RefCell<Vec<Option<Place>>>,
}

struct Place {
    id: SessionId,
    kept: Kept,
}

enum Kept {
    /// As good as its stamp.
    Held(Held, Stamp),
    /// The store had no such session. A fresh id is never one that was asked for before, so it will not have it later
    /// either; the end is there for a store that lost its memory and gets it back.
    Absent { until: Timestamp },
}

/// What the window knows of an id.
#[derive(Debug)]
pub enum Known {
    /// It is this session.
    Session(Held),
    /// It is none.
    Nobody,
}

impl Near {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "one is made for each worker, on purpose")]
    pub fn new() -> Self {
        Self { places: RefCell::default() }
    }

    /// What is known of `id`, if it was seen here: a session only if it is still what `cache` holds.
    pub(super) fn get(&self, id: &SessionId, cache: &SessionCache<Resting>, now: Timestamp) -> Option<Known> {
        let places = self.places.borrow();
        let place = places.get(index(id))?.as_ref()?;
        if !secret::are_same(place.id.bytes(), id.bytes()) {
            return None;
        }
        match &place.kept {
            Kept::Held(held, stamp) => cache.is_current(*stamp).then(|| Known::Session(held.clone())),
            Kept::Absent { until } => (now < *until).then_some(Known::Nobody),
        }
    }

    /// Keeps what was opened of what the cache gave with `stamp`.
    pub(super) fn put(&self, id: &SessionId, live: Live, stamp: Stamp) -> Held {
        let held = Held::new(Arc::new(live));
        self.keep(id, Kept::Held(held.clone(), stamp));
        held
    }

    /// Keeps that the store has no session of `id`: a browser with an old cookie makes many requests, and none need ask
    /// again. Guessers put out one another.
    pub fn put_nobody(&self, id: &SessionId, now: Timestamp) {
        self.keep(id, Kept::Absent { until: now.plus(ABSENT_FOR) });
    }

    fn keep(&self, id: &SessionId, kept: Kept) {
        let mut places = self.places.borrow_mut();
        if places.is_empty() {
            // Only now: a gateway without sessions needs no window.
            places.resize_with(PLACES, || None);
        }
        if let Some(place) = places.get_mut(index(id)) {
            *place = Some(Place { id: id.clone(), kept });
        }
    }
}

impl std::fmt::Debug for Near {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Near").finish_non_exhaustive()
    }
}

/// Ids are random; whoever makes some up to meet in one place only puts out what is found again in the cache.
fn index(id: &SessionId) -> usize {
    let [low, high, ..] = *id.bytes();
    usize::from(u16::from_le_bytes([low, high])) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Change, Session, Stored, voucher::Vouchers};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn resting() -> Resting {
        let session: Session = serde_json::from_value(serde_json::json!({
            "account": "0190163d-8694-739b-aea5-966c26f8ad90",
            "origin": {"provider": "google", "issuer": "i", "subject": "s", "at": NOW},
            "profile": {}, "created_at": NOW, "ends_at": NOW,
        }))
        .unwrap();
        let stored = Stored { sealed: vec![], version: 1, last_seen: NOW, expires_at: NOW };
        Resting::new(&session, None, &stored, &Vouchers::default()).unwrap()
    }

    fn trusted() -> SessionCache<Resting> {
        let cache = SessionCache::new(100);
        cache.apply(Change::Watching, NOW);
        cache
    }

    /// The session of a fresh id in `cache` and in the window.
    fn seen(cache: &SessionCache<Resting>, near: &Near) -> SessionId {
        let id = SessionId::fresh();
        cache.insert(cache.begin_load(&id.key()), resting());
        let (resting, stamp) = cache.get_stamped(&id.key()).unwrap();
        near.put(&id, resting.open(&id.key()).unwrap(), stamp);
        assert!(matches!(near.get(&id, cache, NOW), Some(Known::Session(_))));
        id
    }

    #[test]
    fn a_revoked_session_is_gone_here_at_once() {
        let (cache, near) = (trusted(), Near::new());
        let id = seen(&cache, &near);
        cache.apply(Change::One(id.key()), NOW);
        assert!(near.get(&id, &cache, NOW).is_none());
    }

    #[test]
    fn when_the_news_stop_nothing_is_given_and_after_them_nothing_from_before() {
        let (cache, near) = (trusted(), Near::new());
        let id = seen(&cache, &near);
        cache.apply(Change::Missed, NOW);
        assert!(near.get(&id, &cache, NOW).is_none());
        cache.apply(Change::Watching, NOW);
        assert!(near.get(&id, &cache, NOW).is_none());
    }

    #[test]
    fn another_id_in_the_same_place_is_another_session() {
        let (cache, near) = (trusted(), Near::new());
        let id = seen(&cache, &near);
        let mut bytes = *id.bytes();
        bytes[31] ^= 1;
        use base64::Engine as _;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let twin = SessionId::parse(text.as_bytes()).unwrap();
        assert_eq!(index(&twin), index(&id));
        assert!(near.get(&twin, &cache, NOW).is_none());
    }

    #[test]
    fn nobody_is_remembered_for_a_moment_and_a_session_is_never_taken_for_nobody() {
        let (cache, near) = (trusted(), Near::new());
        let id = SessionId::fresh();
        near.put_nobody(&id, NOW);
        assert!(matches!(near.get(&id, &cache, NOW), Some(Known::Nobody)));
        assert!(near.get(&id, &cache, NOW.plus(ABSENT_FOR)).is_none());
        assert!(near.get(&SessionId::fresh(), &cache, NOW).is_none());
    }
}
