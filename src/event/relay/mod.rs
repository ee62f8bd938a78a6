//! The relay: carries letters from the outbox to every sink.
//!
//! A [`lane`] for each sink and partition, so that a sink that is down holds up no other, and within a lane one batch at
//! a time, so that order is kept. Replicas share the lanes: whoever holds a lane's lease works on it, and the lease is
//! prolonged while a sink takes its time. Should it be lost all the same, a batch may be delivered twice; consumers drop
//! what they know by its id.
//!
//! Lanes sleep until the [`Pulse`](pulse) says that there is something after their mark. It asks at once when this
//! process has appended a letter and every second otherwise, which is one cheap read: an idle relay costs nearly nothing.
//! [`bounds`] keeps what waits within what the operator allows.

mod backoff;
mod bounds;
mod lane;
mod pulse;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{bounds::Bounds, lane::Lane, pulse::Heads};
use super::{EventSink, Journal, Outbox, filter::Types, outbox::Partition};
use crate::{clock::Clock, config::event::Event as Config, secret, telemetry::metrics::OutboxMetrics};

/// A sink and what it wants.
#[derive(Debug, Clone)]
pub struct Addressee {
    /// The sink.
    pub sink: Arc<dyn EventSink>,
    /// Which types of events it gets.
    pub types: Types,
}

/// What a relay works with.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where letters wait.
    pub outbox: Arc<dyn Outbox>,
    /// Where they go.
    pub addressees: Vec<Addressee>,
    /// What could not be written into the outbox yet.
    pub journal: Arc<Journal>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: OutboxMetrics,
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Starts it on the current runtime, the control plane's. Without sinks there is nothing to do.
    pub fn start(parts: &Parts, config: &Config) -> Self {
        let stop = CancellationToken::new();
        if parts.addressees.is_empty() {
            return Self { stop, tasks: Vec::new() };
        }
        // Replicas must not share it, nor two starts of the same one.
        let holder: Arc<str> = secret::random_text().into();
        let names: Arc<[String]> = parts.addressees.iter().map(|addressee| addressee.sink.name().to_owned()).collect();
        let (heads, _) = watch::channel(Heads::default());
        let mut tasks = Vec::new();
        for addressee in &parts.addressees {
            let health = Arc::new(lane::Health::default());
            for partition in Partition::all() {
                let lane = Lane::new(parts, addressee, partition, &holder, &names, &health);
                tasks.push(tokio::spawn(lane.run(heads.subscribe(), stop.clone())));
            }
        }
        let bounds = Bounds::new(parts, config, &holder);
        tasks.push(tokio::spawn(bounds.keep(heads.subscribe(), stop.clone())));
        tasks.push(tokio::spawn(pulse::beat(parts.clone(), heads, stop.clone())));
        Self { stop, tasks }
    }

    /// Stops it: what waits is offered a last time, for `patience` at most. What is not taken stays in the outbox.
    pub async fn drain(self, patience: Duration) {
        self.stop.cancel();
        let deadline = tokio::time::Instant::now() + patience;
        for task in self.tasks {
            let handle = task.abort_handle();
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                handle.abort();
            }
        }
    }
}
