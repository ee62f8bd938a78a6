//! How long to wait before a sink that failed is asked again.

use std::time::Duration;

use crate::secret;

/// The first pause.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause: how late, at most, it is noticed that a sink is back.
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double at every failure, each shortened by chance by up to half, so that replicas do not ask in step.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure.
    pub(super) fn failed(&mut self) -> Duration {
        let pause = pause(self.failures, u32::from_be_bytes(secret::random()));
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// It works again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

fn pause(failures: u32, chance: u32) -> Duration {
    let full = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    full.mul_f64(0.5 + 0.5 * f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_chance_takes_half_at_most() {
        for (failures, longest) in [(0, 250), (1, 500), (3, 2000), (7, 30_000), (u32::MAX, 30_000)] {
            assert_eq!(pause(failures, u32::MAX), Duration::from_millis(longest));
            assert_eq!(pause(failures, 0), Duration::from_millis(longest / 2));
        }
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::default();
        let longest = (0..10).map(|_| backoff.failed()).last();
        assert!(longest >= Some(LONGEST / 2));
        backoff.succeeded();
        assert!(backoff.failed() <= FIRST);
    }
}
