//! Letters that come back because no queue wants them.
//!
//! That says something of the broker and not of the letter: it starts and its bindings are not back yet, a consumer has
//! yet to make its queue, somebody deleted one. So such a letter waits, and those behind it, for a while. When the queue
//! does not come, nobody wants that kind of event: it goes to the dead letters, and others like it follow without
//! waiting, so that a binding for some types only holds the rest up once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapin::message::BasicReturnMessage;
use tokio::time::Instant;

use crate::event::fate::Fate;

/// The routing keys that lead to no queue. There are no more of them than types of events.
#[derive(Debug)]
pub(super) struct Routes {
    patience: Duration,
    missing: Mutex<HashMap<String, Instant>>,
}

impl Routes {
    /// Waits for a queue for as long as `patience`, by routing key.
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, missing: Mutex::default() }
    }

    /// What becomes of a letter that came back.
    pub(super) fn came_back(&self, message: &BasicReturnMessage) -> Fate {
        let routing_key = message.delivery.routing_key.as_str();
        let since = *self.missing().entry(routing_key.to_owned()).or_insert_with(Instant::now);
        let why = unroutable(message);
        match self.patience.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) {
            Some(left) => Fate::Later(format!("{why}; else it goes to the dead letters in {} s", left.as_secs())),
            None => Fate::Never(why),
        }
    }

    /// Letters with these routing keys went to a queue.
    pub(super) fn lead_on(&self, routing_keys: impl Iterator<Item = String>) {
        let mut missing = self.missing();
        if missing.is_empty() {
            return;
        }
        for routing_key in routing_keys {
            missing.remove(&routing_key);
        }
    }

    fn missing(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unroutable(message: &BasicReturnMessage) -> String {
    format!(
        "no queue wants it: bind one to the exchange {} for the routing key {}, give the exchange an alternate \
         exchange, or leave the type out in types of the sink ({})",
        message.delivery.exchange, message.delivery.routing_key, message.reply_text
    )
}
