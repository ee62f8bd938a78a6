//! How long a session lives: two clocks, both kept by the server (threat model, 8.3).

use std::time::Duration;

use crate::clock::Timestamp;

/// The two limits of every session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Unused for this long, a session ends.
    pub idle: Duration,
    /// This long after sign-in it ends, however busy it is.
    pub absolute: Duration,
}

impl Lifetime {
    /// The absolute end of a session that begins now.
    pub fn ends_at(&self, created_at: Timestamp) -> Timestamp {
        created_at.plus(self.absolute)
    }

    /// When a session that was used at `seen` and ends at `ends_at` expires if it is not used again.
    ///
    /// Never later than the absolute end, so a clock moved backwards cannot prolong it.
    pub fn expires_at(&self, seen: Timestamp, ends_at: Timestamp) -> Timestamp {
        seen.plus(self.idle).min(ends_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Lifetime = Lifetime { idle: Duration::from_secs(60), absolute: Duration::from_secs(600) };

    #[test]
    fn use_prolongs_a_session_up_to_its_absolute_end() {
        let start = Timestamp::from_secs(1_000);
        let end = LIFETIME.ends_at(start);
        assert_eq!(LIFETIME.expires_at(start, end), Timestamp::from_secs(1_060));
        assert_eq!(LIFETIME.expires_at(Timestamp::from_secs(1_590), end), Timestamp::from_secs(1_600));
    }

    #[test]
    fn a_clock_moved_backwards_never_prolongs_a_session() {
        let end = LIFETIME.ends_at(Timestamp::from_secs(1_000));
        let moved_back = Timestamp::from_secs(0);
        assert!(LIFETIME.expires_at(moved_back, end) <= end);
    }
}
