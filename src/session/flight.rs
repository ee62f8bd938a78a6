//! One question to the store for a session, however many requests ask it at once.
//!
//! A page that opens makes ten requests in a moment, and after a reload of the configuration every session is asked for
//! anew. Whoever asks while the same question is under way waits for its answer. Not so when the store has told of a
//! change since it was put: the answer on its way may be older than the change, so a new question goes out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use super::{SessionKey, StoreError, cache::Loading, live::Live};

/// What the store said.
pub(super) type Answer = Result<Option<Arc<Live>>, StoreError>;

/// The questions under way.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<SessionKey, Flight>>);

#[derive(Debug, Clone)]
struct Flight {
    began: Loading,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl Flights {
    /// The answer of the question for `key` that is under way and `is_current`, or of the one that `ask` puts now.
    ///
    /// A question is answered although nobody waits for it any longer, so that none lies about half-asked and is taken
    /// up by somebody much later. Must be called on a runtime.
    pub(super) async fn join(
        self: &Arc<Self>,
        key: SessionKey,
        is_current: impl FnOnce(&Loading) -> bool,
        ask: impl FnOnce() -> (Loading, BoxFuture<'static, Answer>),
    ) -> Answer {
        let answer = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(&key).filter(|flight| is_current(&flight.began)) {
                Some(flight) => flight.answer.clone(),
                None => {
                    let (began, answer) = ask();
                    let flight = Flight { began, answer: answer.shared() };
                    flights.insert(key, flight.clone());
                    tokio::spawn(self.clone().see_through(key, flight.answer.clone()));
                    flight.answer
                }
            }
        };
        answer.await
    }

    async fn see_through(self: Arc<Self>, key: SessionKey, answer: Shared<BoxFuture<'static, Answer>>) {
        // Its answer is for those who wait.
        let _ = answer.clone().await;
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.get(&key).is_some_and(|flight| flight.answer.ptr_eq(&answer)) {
            flights.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        clock::Timestamp,
        session::{Change, cache::SessionCache},
    };

    const KEY: SessionKey = SessionKey::from_bytes([1; 32]);

    struct Store {
        cache: SessionCache<u8>,
        flights: Arc<Flights>,
        asked: Arc<AtomicUsize>,
        answers: Arc<Semaphore>,
    }

    impl Store {
        fn new() -> Arc<Self> {
            let cache = SessionCache::new(10);
            cache.apply(Change::Watching, Timestamp::from_secs(1));
            let (flights, asked, answers) = (Arc::default(), Arc::default(), Arc::new(Semaphore::new(0)));
            Arc::new(Self { cache, flights, asked, answers })
        }

        async fn ask(self: Arc<Self>) -> Answer {
            let ask = || {
                self.asked.fetch_add(1, Ordering::SeqCst);
                let answers = Arc::clone(&self.answers);
                let answer = async move {
                    answers.acquire().await.unwrap().forget();
                    Err(StoreError::Unavailable("down".into()))
                };
                (self.cache.begin_load(&KEY), answer.boxed())
            };
            self.flights.join(KEY, |began| self.cache.is_under_way(began), ask).await
        }

        async fn has_been_asked(&self, times: usize) {
            while self.asked.load(Ordering::SeqCst) < times {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn many_who_ask_at_once_are_one_question() {
        let store = Store::new();
        let waiting: Vec<_> = (0..20).map(|_| tokio::spawn(store.clone().ask())).collect();
        store.has_been_asked(1).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        store.answers.add_permits(1);
        for one in waiting {
            assert!(matches!(one.await.unwrap(), Err(StoreError::Unavailable(_))));
        }
        assert_eq!(store.asked.load(Ordering::SeqCst), 1);
        store.answers.add_permits(1);
        assert!(store.clone().ask().await.is_err());
        assert_eq!(store.asked.load(Ordering::SeqCst), 2, "an answer is for those who waited, not for later");
    }

    #[tokio::test]
    async fn a_question_from_before_a_change_is_not_joined_after_it() {
        let store = Store::new();
        let before = tokio::spawn(store.clone().ask());
        store.has_been_asked(1).await;
        store.cache.apply(Change::One(KEY), Timestamp::from_secs(2));
        let after = tokio::spawn(store.clone().ask());
        store.has_been_asked(2).await;
        store.answers.add_permits(2);
        assert!(before.await.unwrap().is_err() && after.await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_question_nobody_waits_for_is_seen_through() {
        let store = Store::new();
        let given_up = tokio::spawn(store.clone().ask());
        store.has_been_asked(1).await;
        given_up.abort();
        store.answers.add_permits(1);
        while !store.flights.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
