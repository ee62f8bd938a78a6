//! A document fetched from a provider and kept: discovery and key sets.
//!
//! One fetch at a time (single flight); after a failure the last good value serves on, up to [`MAX_AGE`], and the next
//! try waits (back-off); a refetch on demand, such as for an unknown key, happens at most once per [`COOL_DOWN`]
//! (threats 7.8). The time is the clock's, so all of it can be tested by moving one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::HeaderMap;

use crate::{
    clock::{Clock, Timestamp},
    provider::ProviderError,
};

/// The shortest and longest time a document is taken as fresh, whatever `Cache-Control` says.
const FRESH: std::ops::RangeInclusive<Duration> = Duration::from_secs(300)..=Duration::from_secs(86_400);
/// Fresh for this long when nothing is said.
const FRESH_UNSAID: Duration = Duration::from_secs(3600);
/// After this a document is not used, however long its source fails.
pub(super) const MAX_AGE: Duration = Duration::from_secs(48 * 3600);
/// The least time between two refetches on demand.
pub(super) const COOL_DOWN: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A fetch that has not begun: a document, and how long it is fresh.
pub(super) trait Fetch<T>: Future<Output = Result<(T, Duration), ProviderError>> + Send {}

impl<T, F: Future<Output = Result<(T, Duration), ProviderError>> + Send> Fetch<T> for F {}

/// A kept document.
#[derive(Debug)]
pub(super) struct Cached<T> {
    clock: Arc<dyn Clock>,
    state: Mutex<State<T>>,
    flight: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State<T> {
    kept: Option<Kept<T>>,
    failed: Option<Failure>,
    last_try: Option<Timestamp>,
}

#[derive(Debug)]
struct Kept<T> {
    value: Arc<T>,
    fetched: Timestamp,
    fresh_for: Duration,
}

#[derive(Debug)]
struct Failure {
    times: u32,
    retry_at: Timestamp,
    error: String,
    misconfigured: bool,
}

impl<T> Cached<T> {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { kept: None, failed: None, last_try: None };
        Self { clock, state: Mutex::new(state), flight: tokio::sync::Mutex::new(()) }
    }

    /// The value: fresh, newly fetched, or stale while its source fails.
    pub(super) async fn get(&self, fetch: impl Fetch<T>) -> Result<Arc<T>, ProviderError> {
        if let Some(value) = self.state().fresh(self.clock.now()) {
            return Ok(value);
        }
        let _flight = self.flight.lock().await;
        {
            let (state, now) = (self.state(), self.clock.now());
            if let Some(value) = state.fresh(now) {
                return Ok(value); // fetched while we waited
            }
            if state.failed.as_ref().is_some_and(|failure| now < failure.retry_at) {
                return state.stale(now);
            }
        }
        self.fetch(fetch).await
    }

    /// A newer value than `seen`, unless one was tried for within the cool-down.
    pub(super) async fn newer(&self, seen: &Arc<T>, fetch: impl Fetch<T>) -> Result<Arc<T>, ProviderError> {
        let _flight = self.flight.lock().await;
        {
            let (state, now) = (self.state(), self.clock.now());
            let replaced = state.kept.as_ref().is_some_and(|kept| !Arc::ptr_eq(&kept.value, seen));
            let cooling = state.last_try.is_some_and(|last| now.since(last) < COOL_DOWN);
            if replaced || cooling {
                return state.stale(now);
            }
        }
        self.fetch(fetch).await
    }

    /// Why there is no usable value, when fetching it has failed.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = self.state();
        let usable = state.stale(self.clock.now()).is_ok();
        state.failed.as_ref().filter(|_| !usable).map(|failure| failure.error.clone())
    }

    /// Fetches now; the caller holds the flight.
    async fn fetch(&self, fetch: impl Fetch<T>) -> Result<Arc<T>, ProviderError> {
        self.state().last_try = Some(self.clock.now());
        let fetched = fetch.await;
        let (mut state, now) = (self.state(), self.clock.now());
        match fetched {
            Ok((value, fresh_for)) => {
                let value = Arc::new(value);
                state.kept = Some(Kept { value: Arc::clone(&value), fetched: now, fresh_for });
                state.failed = None;
                Ok(value)
            }
            Err(error) => {
                let times = state.failed.as_ref().map_or(0, |failure| failure.times);
                state.failed = Some(Failure {
                    times: times.saturating_add(1),
                    retry_at: now.plus(back_off(times)),
                    error: error.to_string(),
                    misconfigured: matches!(error, ProviderError::Misconfigured(_)),
                });
                state.stale(now)
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn fresh(&self, now: Timestamp) -> Option<Arc<T>> {
        let kept = self.kept.as_ref()?;
        (now.since(kept.fetched) < kept.fresh_for).then(|| Arc::clone(&kept.value))
    }

    fn stale(&self, now: Timestamp) -> Result<Arc<T>, ProviderError> {
        match (&self.kept, &self.failed) {
            (Some(kept), _) if now.since(kept.fetched) < MAX_AGE => Ok(Arc::clone(&kept.value)),
            (_, Some(failure)) if failure.misconfigured => Err(ProviderError::Misconfigured(failure.error.clone())),
            (_, Some(failure)) => Err(ProviderError::Unavailable(failure.error.clone())),
            _ => Err(ProviderError::Unavailable("nothing has been fetched yet".into())),
        }
    }
}

/// The wait after the failure that follows `times` others: doubling, bounded.
pub(super) fn back_off(times: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << times.min(10)).min(LAST_RETRY)
}

/// How long an answer is fresh by its `Cache-Control: max-age` (RFC 9111, 5.2.2.1), within our bounds.
pub(super) fn fresh_for(headers: &HeaderMap) -> Duration {
    let said = headers
        .get_all(http::header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|directive| {
            let (name, seconds) = directive.split_once('=')?;
            name.trim().eq_ignore_ascii_case("max-age").then(|| seconds.trim().trim_matches('"').parse().ok())?
        });
    said.map_or(FRESH_UNSAID, Duration::from_secs).clamp(*FRESH.start(), *FRESH.end())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::ManualClock;

    struct Source {
        clock: ManualClock,
        cached: Cached<u32>,
        calls: AtomicU32,
    }

    impl Source {
        fn new() -> Self {
            let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
            Self { cached: Cached::new(Arc::new(clock.clone())), clock, calls: AtomicU32::new(0) }
        }
        fn answer(&self, works: bool) -> Result<(u32, Duration), ProviderError> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
            if works { Ok((call, FRESH_UNSAID)) } else { Err(ProviderError::Unavailable("down".into())) }
        }
        async fn get(&self, works: bool) -> Result<Arc<u32>, ProviderError> {
            self.cached.get(async { self.answer(works) }).await
        }
        fn calls(&self) -> u32 {
            self.calls.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cause_one_fetch() {
        let source = Source::new();
        let slow = || async {
            tokio::task::yield_now().await;
            source.answer(true)
        };
        let (a, b, c) = tokio::join!(source.cached.get(slow()), source.cached.get(slow()), source.cached.get(slow()));
        assert_eq!((*a.unwrap(), *b.unwrap(), *c.unwrap(), source.calls()), (1, 1, 1, 1));
    }

    #[tokio::test]
    async fn a_stale_value_serves_while_its_source_fails_but_not_for_ever() {
        let source = Source::new();
        assert_eq!(*source.get(true).await.unwrap(), 1);
        source.clock.advance(FRESH_UNSAID);
        assert_eq!(*source.get(false).await.unwrap(), 1, "stale while error");
        assert_eq!(source.cached.trouble(), None);
        source.clock.advance(MAX_AGE);
        assert!(matches!(source.get(false).await, Err(ProviderError::Unavailable(_))));
        assert_eq!(source.cached.trouble().as_deref(), Some("the provider is unavailable: down"));
        source.clock.advance(LAST_RETRY);
        assert_eq!(*source.get(true).await.unwrap(), 4);
        assert_eq!(source.cached.trouble(), None);
    }

    #[tokio::test]
    async fn a_failing_source_is_left_alone_between_tries() {
        let source = Source::new();
        for _ in 0..5 {
            assert!(source.get(false).await.is_err());
        }
        assert_eq!(source.calls(), 1);
        source.clock.advance(FIRST_RETRY);
        assert!(source.get(false).await.is_err());
        assert_eq!(source.calls(), 2);
        source.clock.advance(FIRST_RETRY);
        assert!(source.get(true).await.is_err(), "the wait doubles");
        assert_eq!(source.calls(), 2);
    }

    #[tokio::test]
    async fn unknown_keys_cause_one_refetch_per_cool_down() {
        let source = Source::new();
        let seen = source.get(true).await.unwrap();
        let source = &source;
        let newer = |seen| newer_of(source, seen);
        assert_eq!(*newer(Arc::clone(&seen)).await.unwrap(), 1, "just fetched");
        source.clock.advance(COOL_DOWN);
        assert_eq!(*newer(Arc::clone(&seen)).await.unwrap(), 2);
        assert_eq!(*newer(Arc::clone(&seen)).await.unwrap(), 2, "someone else has fetched since");
        assert_eq!(source.calls(), 2);
    }

    async fn newer_of(source: &Source, seen: Arc<u32>) -> Result<Arc<u32>, ProviderError> {
        source.cached.newer(&seen, async { source.answer(true) }).await
    }

    #[test]
    fn cache_control_counts_within_bounds() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static(value));
            fresh_for(&headers).as_secs()
        };
        assert_eq!(of("public, max-age=19800, must-revalidate"), 19_800);
        assert_eq!((of("max-age=0"), of("max-age=99999999"), of("no-store")), (300, 86_400, 3600));
    }
}
