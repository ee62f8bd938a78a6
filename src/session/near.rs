//! A worker's own window onto the sessions all workers share.
//!
//! The shared cache costs a hit one digest, one lock and one shared reference count: little, but each of them is a
//! memory line that all workers write to. What this worker saw lately it finds here by the id itself, with none of them.
//!
//! **Nothing stale.** An entry is as good as the [`Stamp`] it was taken with: once anything of its shard was forgotten,
//! or the store's news stopped, it is passed over and the shared cache is asked. So a revocation takes effect here at
//! the same instant as there.
//!
//! An entry is found by bits of the id and taken only when all 256 are equal, compared in constant time: what an answer
//! takes tells a guesser nothing. It is a window, not a cache: an id has one place, and the last one there stays.

use std::{cell::RefCell, ops::Deref, rc::Rc, sync::Arc};

use subtle::ConstantTimeEq as _;

use super::{
    SessionId,
    cache::{SessionCache, Stamp},
    live::Live,
};

/// Places in the window: sessions in use on one worker within moments. A power of two.
const PLACES: usize = 4096;

/// A live session in use on one worker: counted there alone.
#[derive(Debug, Clone)]
pub struct Held(Rc<Arc<Live>>);

impl Held {
    /// Takes what all workers share.
    pub fn new(live: Arc<Live>) -> Self {
        Self(Rc::new(live))
    }

    /// As all workers share it.
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
    stamp: Stamp,
    held: Held,
}

impl Near {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "one is made for each worker, on purpose")]
    pub fn new() -> Self {
        Self { places: RefCell::default() }
    }

    /// The session of `id`, if it was seen here and is still what `cache` holds.
    pub(super) fn get(&self, id: &SessionId, cache: &SessionCache<Live>) -> Option<Held> {
        let places = self.places.borrow();
        let place = places.get(index(id))?.as_ref()?;
        let same = bool::from(place.id.bytes().ct_eq(id.bytes()));
        (same && cache.is_current(place.stamp)).then(|| place.held.clone())
    }

    /// Keeps what `cache` gave.
    pub(super) fn put(&self, id: &SessionId, live: Arc<Live>, stamp: Stamp) -> Held {
        let held = Held::new(live);
        let mut places = self.places.borrow_mut();
        if places.is_empty() {
            // Only now: a gateway without sessions needs no window.
            places.resize_with(PLACES, || None);
        }
        if let Some(place) = places.get_mut(index(id)) {
            *place = Some(Place { id: id.clone(), stamp, held: held.clone() });
        }
        held
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
    use crate::{
        clock::Timestamp,
        session::{Change, Session, Stored},
    };

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn live(id: &SessionId) -> Arc<Live> {
        let session: Session = serde_json::from_value(serde_json::json!({
            "account": "0190163d-8694-739b-aea5-966c26f8ad90",
            "origin": {"provider": "google", "issuer": "i", "subject": "s", "at": NOW},
            "profile": {}, "created_at": NOW, "ends_at": NOW,
        }))
        .unwrap();
        let stored = Stored { sealed: vec![], version: 1, last_seen: NOW, expires_at: NOW };
        Arc::new(Live::new(id.key(), session, &stored))
    }

    fn trusted() -> SessionCache<Live> {
        let cache = SessionCache::new(100);
        cache.apply(Change::Watching, NOW);
        cache
    }

    /// The session of a fresh id in `cache` and in the window.
    fn seen(cache: &SessionCache<Live>, near: &Near) -> SessionId {
        let id = SessionId::fresh();
        cache.insert(cache.begin_load(&id.key()), live(&id));
        let (live, stamp) = cache.get_stamped(&id.key()).unwrap();
        near.put(&id, live, stamp);
        assert!(near.get(&id, cache).is_some());
        id
    }

    #[test]
    fn a_revoked_session_is_gone_here_at_once() {
        let (cache, near) = (trusted(), Near::new());
        let id = seen(&cache, &near);
        cache.apply(Change::One(id.key()), NOW);
        assert!(near.get(&id, &cache).is_none());
    }

    #[test]
    fn when_the_news_stop_nothing_is_given_and_after_them_nothing_from_before() {
        let (cache, near) = (trusted(), Near::new());
        let id = seen(&cache, &near);
        cache.apply(Change::Missed, NOW);
        assert!(near.get(&id, &cache).is_none());
        cache.apply(Change::Watching, NOW);
        assert!(near.get(&id, &cache).is_none());
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
        assert!(near.get(&twin, &cache).is_none());
    }
}
