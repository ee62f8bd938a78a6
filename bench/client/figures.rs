//! Percentiles.

use std::time::Duration;

use serde_json::{Value, json};

/// Count and percentiles of latencies, in microseconds.
pub(crate) fn latencies(mut all: Vec<Duration>) -> Value {
    all.sort_unstable();
    json!({
        "requests": all.len(),
        "p50_us": percentile(&all, 50.0),
        "p99_us": percentile(&all, 99.0),
        "p999_us": percentile(&all, 99.9),
    })
}

/// The smallest value that `percent` of all do not exceed.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small counts"
)]
fn percentile(sorted: &[Duration], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |latency| latency.as_nanos() as f64 / 1000.0)
}
