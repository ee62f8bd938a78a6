//! What a request counts: blocks of counters that one worker alone writes, summed when somebody asks.
//!
//! A counter with one writer needs no read-modify-write: a plain load and a plain store, which cost what they would
//! cost without atomics. Readers see each counter whole, if perhaps a moment late.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Unit,
};

/// Upper bounds of the request time buckets, in microseconds; the last bucket has none.
const BOUNDS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];
const BUCKETS: usize = BOUNDS.len() + 1;
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// What a request without a route is counted under.
const NO_ROUTE: &str = "none";

/// A counter with one writer.
#[derive(Debug, Default)]
struct Tally(AtomicU64);

impl Tally {
    fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug, Default)]
struct RouteTally {
    classes: [Tally; CLASSES.len()],
    buckets: [Tally; BUCKETS],
    micros: Tally,
    received: Tally,
    sent: Tally,
}

/// Counts under short words that are not known beforehand; the list is locked for a new word and for reading only.
type Words = Mutex<Vec<(&'static str, Arc<Tally>)>>;

/// The counters of one worker under one configuration. Aligned so that no two blocks share a cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Block {
    names: Vec<String>,
    routes: Vec<RouteTally>,
    no_route: RouteTally,
    cache_hits: Tally,
    cache_misses: Tally,
    opened: Tally,
    closed: Tally,
    denials: Words,
    upstream_failures: Words,
}

/// One worker's counters. Not `Sync`: only the worker that took them can count.
pub struct WorkerMetrics {
    block: Arc<Block>,
    denials: RefCell<Vec<(&'static str, Arc<Tally>)>>,
    upstream_failures: RefCell<Vec<(&'static str, Arc<Tally>)>>,
}

impl WorkerMetrics {
    /// A request was answered. `route` is its place among the configured routes; `None` when none matched.
    pub fn request(&self, route: Option<usize>, status: u16, took: Duration, received: u64, sent: u64) {
        let tally = route.and_then(|index| self.block.routes.get(index)).unwrap_or(&self.block.no_route);
        let class = usize::from(status / 100).saturating_sub(1).min(CLASSES.len() - 1);
        if let Some(class) = tally.classes.get(class) {
            class.add(1);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = tally.buckets.get(bucket) {
            bucket.add(1);
        }
        tally.micros.add(micros);
        tally.received.add(received);
        tally.sent.add(sent);
    }

    /// A request was refused; `reason` is a short stable word.
    pub fn denied(&self, reason: &'static str) {
        count_word(&self.denials, &self.block.denials, reason);
    }

    /// An upstream failed us; `reason` is a short stable word.
    pub fn upstream_failed(&self, reason: &'static str) {
        count_word(&self.upstream_failures, &self.block.upstream_failures, reason);
    }

    /// A session was found in memory.
    pub fn cache_hit(&self) {
        self.block.cache_hits.add(1);
    }

    /// A session had to be asked for at the store.
    pub fn cache_miss(&self) {
        self.block.cache_misses.add(1);
    }

    /// A downstream connection was accepted.
    pub fn connection_opened(&self) {
        self.block.opened.add(1);
    }

    /// A downstream connection has ended.
    pub fn connection_closed(&self) {
        self.block.closed.add(1);
    }
}

impl fmt::Debug for WorkerMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerMetrics").field("routes", &self.block.names.len()).finish_non_exhaustive()
    }
}

/// Counts under a word, finding it among the few this worker has used.
fn count_word(own: &RefCell<Vec<(&'static str, Arc<Tally>)>>, shared: &Words, word: &'static str) {
    let mut own = own.borrow_mut();
    if let Some((_, tally)) = own.iter().find(|(known, _)| *known == word) {
        tally.add(1);
        return;
    }
    let tally = Arc::new(Tally::default());
    tally.add(1);
    lock(shared).push((word, Arc::clone(&tally)));
    own.push((word, tally));
}

/// All blocks, and what is left of those whose worker is gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Workers(Arc<Mutex<Blocks>>);

#[derive(Debug, Default)]
struct Blocks {
    live: Vec<Arc<Block>>,
    ended: Totals,
}

impl Workers {
    pub(super) fn begin(&self, names: Vec<String>) -> WorkerMetrics {
        let block = Arc::new(Block {
            routes: names.iter().map(|_| RouteTally::default()).collect(),
            names,
            no_route: RouteTally::default(),
            cache_hits: Tally::default(),
            cache_misses: Tally::default(),
            opened: Tally::default(),
            closed: Tally::default(),
            denials: Words::default(),
            upstream_failures: Words::default(),
        });
        lock(&self.0).live.push(Arc::clone(&block));
        WorkerMetrics { block, denials: RefCell::default(), upstream_failures: RefCell::default() }
    }

    /// The sum over all workers, past and present.
    fn totals(&self) -> Totals {
        let mut blocks = lock(&self.0);
        let Blocks { live, ended } = &mut *blocks;
        for block in std::mem::take(live) {
            // Only a block without a worker can be taken; that also makes its last counts visible here.
            match Arc::try_unwrap(block) {
                Ok(block) => ended.add(&block),
                Err(block) => live.push(block),
            }
        }
        let mut totals = ended.clone();
        live.iter().for_each(|block| totals.add(block));
        totals
    }
}

#[derive(Debug, Clone, Default)]
struct Totals {
    routes: BTreeMap<String, RouteTotals>,
    cache_hits: u64,
    cache_misses: u64,
    opened: u64,
    closed: u64,
    denials: BTreeMap<&'static str, u64>,
    upstream_failures: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, Default)]
struct RouteTotals {
    classes: [u64; CLASSES.len()],
    buckets: [u64; BUCKETS],
    micros: u64,
    received: u64,
    sent: u64,
}

impl Totals {
    fn add(&mut self, block: &Block) {
        for (name, tally) in block.names.iter().zip(&block.routes) {
            self.routes.entry(name.clone()).or_default().add(tally);
        }
        self.routes.entry(NO_ROUTE.to_owned()).or_default().add(&block.no_route);
        self.cache_hits += block.cache_hits.count();
        self.cache_misses += block.cache_misses.count();
        self.opened += block.opened.count();
        self.closed += block.closed.count();
        for (words, sums) in
            [(&block.denials, &mut self.denials), (&block.upstream_failures, &mut self.upstream_failures)]
        {
            for (word, tally) in lock(words).iter() {
                *sums.entry(word).or_default() += tally.count();
            }
        }
    }
}

impl RouteTotals {
    fn add(&mut self, tally: &RouteTally) {
        self.classes.iter_mut().zip(&tally.classes).for_each(|(sum, tally)| *sum += tally.count());
        self.buckets.iter_mut().zip(&tally.buckets).for_each(|(sum, tally)| *sum += tally.count());
        self.micros = self.micros.wrapping_add(tally.micros.count());
        self.received = self.received.wrapping_add(tally.received.count());
        self.sent = self.sent.wrapping_add(tally.sent.count());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector for Workers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let totals = self.totals();
        let routes = &totals.routes;
        let answered = routes.iter().flat_map(|(route, sums)| {
            CLASSES
                .iter()
                .zip(sums.classes)
                .map(|(class, count)| ([("route", route.as_str()), ("status", *class)], count))
        });
        counters(&mut encoder, "requests", "Requests answered", answered.filter(|(_, count)| *count > 0))?;
        durations(&mut encoder, routes)?;
        let received = routes.iter().map(|(route, sums)| ([("route", route.as_str())], sums.received));
        counters(&mut encoder, "received_bytes", "Bytes of request bodies", received)?;
        let sent = routes.iter().map(|(route, sums)| ([("route", route.as_str())], sums.sent));
        counters(&mut encoder, "sent_bytes", "Bytes of answers' bodies", sent)?;
        let found = [("hit", totals.cache_hits), ("miss", totals.cache_misses)];
        let found = found.into_iter().map(|(result, count)| ([("result", result)], count));
        counters(&mut encoder, "session_cache", "Sessions looked for in memory", found)?;
        let denials = totals.denials.iter().map(|(reason, count)| ([("reason", *reason)], *count));
        counters(&mut encoder, "denials", "Requests refused", denials)?;
        let failures = totals.upstream_failures.iter().map(|(reason, count)| ([("reason", *reason)], *count));
        counters(&mut encoder, "upstream_failures", "Failures of upstreams", failures)?;
        let accepted = std::iter::once(([("state", "accepted")], totals.opened));
        counters(&mut encoder, "connections", "Downstream connections accepted", accepted)?;
        let open = i64::try_from(totals.opened.saturating_sub(totals.closed)).unwrap_or(i64::MAX);
        encoder
            .encode_descriptor("connections_open", "Downstream connections now", None, MetricType::Gauge)?
            .encode_gauge(&open)
    }
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, u64>> = None;

fn counters<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    counts: impl Iterator<Item = (L, u64)>,
) -> Result<(), fmt::Error> {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in counts {
        metric.encode_family(&labels)?.encode_counter(&count, NO_EXEMPLAR)?;
    }
    Ok(())
}

fn durations(encoder: &mut DescriptorEncoder<'_>, routes: &BTreeMap<String, RouteTotals>) -> Result<(), fmt::Error> {
    let help = "Time from a request's first byte to its answer's last";
    let mut metric = encoder.encode_descriptor("request", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    let bounds = || BOUNDS.iter().map(|micros| seconds(*micros)).chain([f64::INFINITY]);
    for (route, sums) in routes {
        let buckets: Vec<(f64, u64)> = bounds().zip(sums.buckets).collect();
        let count = sums.buckets.iter().sum();
        let labels = [("route", route.as_str())];
        metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(seconds(sums.micros), count, &buckets, None)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a microsecond is lost after 285 years")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn has(metrics: &Metrics, line: &str) {
        let text = metrics.render();
        assert!(text.lines().any(|got| got == line), "{line} is not in:\n{text}");
    }

    #[test]
    fn workers_are_summed_by_route() {
        let metrics = Metrics::new();
        let workers = [metrics.worker(["/", "/api"]), metrics.worker(["/", "/api"])];
        for worker in &workers {
            worker.request(Some(1), 200, Duration::from_millis(2), 10, 100);
            worker.request(Some(1), 503, Duration::from_secs(60), 0, 1);
            worker.request(None, 404, Duration::ZERO, 0, 0);
            worker.request(Some(99), 404, Duration::ZERO, 0, 0);
            worker.cache_hit();
            worker.denied("not_signed_in");
            worker.upstream_failed("refused");
            worker.connection_opened();
        }
        workers[0].connection_closed();
        has(&metrics, r#"brama_requests_total{route="/api",status="2xx"} 2"#);
        has(&metrics, r#"brama_requests_total{route="/api",status="5xx"} 2"#);
        has(&metrics, r#"brama_requests_total{route="none",status="4xx"} 4"#);
        has(&metrics, r#"brama_request_seconds_bucket{le="0.001",route="/api"} 0"#);
        has(&metrics, r#"brama_request_seconds_bucket{le="0.0025",route="/api"} 2"#);
        has(&metrics, r#"brama_request_seconds_bucket{le="30.0",route="/api"} 2"#);
        has(&metrics, r#"brama_request_seconds_bucket{le="+Inf",route="/api"} 4"#);
        has(&metrics, r#"brama_request_seconds_count{route="/api"} 4"#);
        has(&metrics, r#"brama_request_seconds_sum{route="/api"} 120.004"#);
        has(&metrics, r#"brama_sent_bytes_total{route="/api"} 202"#);
        has(&metrics, r#"brama_session_cache_total{result="hit"} 2"#);
        has(&metrics, r#"brama_denials_total{reason="not_signed_in"} 2"#);
        has(&metrics, r#"brama_upstream_failures_total{reason="refused"} 2"#);
        has(&metrics, "brama_connections_open 1");
    }

    #[test]
    fn what_a_worker_counted_outlives_it_and_its_routes() {
        let metrics = Metrics::new();
        for _ in 0..3 {
            let worker = metrics.worker(["/old"]);
            worker.request(Some(0), 200, Duration::ZERO, 0, 0);
            drop(worker);
            metrics.render();
        }
        let _now = metrics.worker(["/new"]);
        has(&metrics, r#"brama_requests_total{route="/old",status="2xx"} 3"#);
        has(&metrics, r#"brama_request_seconds_count{route="/new"} 0"#);
        assert_eq!(lock(&metrics.workers.0).live.len(), 1);
    }

    #[test]
    fn counting_goes_on_while_somebody_asks() {
        let metrics = Metrics::new();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let worker = metrics.worker(["/"]);
                thread::spawn(move || {
                    (0..10_000).for_each(|_| {
                        worker.request(Some(0), 200, Duration::ZERO, 0, 0);
                        worker.denied("rate");
                    });
                })
            })
            .collect();
        (0..20).for_each(|_| drop(metrics.render()));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        has(&metrics, r#"brama_requests_total{route="/",status="2xx"} 40000"#);
        has(&metrics, r#"brama_denials_total{reason="rate"} 40000"#);
    }
}
