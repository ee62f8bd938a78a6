//! When a request's body last moved.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

/// Noted by the request's body, read by whoever waits for the response: a long upload must not look like a silent app.
#[derive(Debug)]
pub struct Progress {
    began: Instant,
    /// Milliseconds after `began`; 0 when nothing moved yet.
    moved: AtomicU64,
}

impl Progress {
    /// Nothing moved yet.
    #[expect(clippy::new_without_default, reason = "it notes the time it is made")]
    pub fn new() -> Self {
        Self { began: Instant::now(), moved: AtomicU64::new(0) }
    }

    /// A piece of the body was taken.
    pub fn note(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis.max(1), Ordering::Relaxed);
    }

    /// When the last piece was taken.
    pub fn last_moved(&self) -> Option<Instant> {
        match self.moved.load(Ordering::Relaxed) {
            0 => None,
            millis => Some(self.began + Duration::from_millis(millis)),
        }
    }
}
