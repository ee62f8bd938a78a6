//! Those of one process who would write the same take turns. Conditional writes of one row get into each other's way
//! and each then pays for several; in a queue each pays for one. Other processes still collide, and begin again.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hash},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// How many queues. Two that share one by chance only wait a little.
const QUEUES: usize = 64;

#[derive(Debug)]
pub(super) struct Turns {
    queues: [Arc<Mutex<()>>; QUEUES],
    hashing: RandomState,
}

/// The turn; it lasts until this is dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held, not read")] Option<OwnedMutexGuard<()>>);

impl Default for Turns {
    fn default() -> Self {
        Self { queues: std::array::from_fn(|_| Arc::default()), hashing: RandomState::new() }
    }
}

impl Turns {
    /// Waits for the turn to write `what`.
    pub(super) async fn wait(&self, what: &impl Hash) -> Turn {
        let number = usize::from(self.hashing.hash_one(what).to_le_bytes()[0]) % QUEUES;
        match self.queues.get(number) {
            Some(queue) => Turn(Some(Arc::clone(queue).lock_owned().await)),
            None => Turn(None),
        }
    }
}
