//! The way from the data plane to the control plane.
//!
//! Work goes over by value and runs on the other runtime; only where there is no answer without it does a request wait.
//! Dropping the waiting future (the client has gone) does not stop the work: a login or renewal that has begun is
//! finished, never torn.

use std::future::Future;

use tokio::runtime::Handle;

/// Where slow work runs.
#[derive(Debug, Clone)]
pub struct Control(Handle);

impl Control {
    /// Work goes to the runtime of `handle`.
    pub fn new(handle: Handle) -> Self {
        Self(handle)
    }

    /// Runs `work` there and waits for what it gives; nothing when it panicked or the process is stopping.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.0.spawn(work).await.ok()
    }

    /// Starts `work` there without waiting.
    pub fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(work));
    }
}
