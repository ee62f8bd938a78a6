//! News of changes, as every store hands them out.
//!
//! A broadcast tells what happens, not how things stand. So [`subscribe`](News::subscribe) repeats
//! [`Change::Watching`] when news flow already: a receiver may start out trusting nothing and learns within one message
//! whether it may. For receivers that trust already the repetition means nothing.

use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;

use super::{Change, SessionKey};

/// How many changes a slow receiver may be behind before it must take them as [`Change::Missed`]. Enough for
/// everything of a person or a provider ended at once.
const BACKLOG: usize = 4096;

/// The sender of news, and whether they flow.
#[derive(Debug)]
pub(super) struct News {
    sender: broadcast::Sender<Change>,
    /// Held while sending, so that no receiver learns states in another order than they came.
    flowing: Mutex<bool>,
}

impl News {
    pub(super) fn new(flowing: bool) -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), flowing: Mutex::new(flowing) }
    }

    /// One record was replaced or ended.
    pub(super) fn changed(&self, key: SessionKey) {
        // An error only says that nobody listens.
        let _ = self.sender.send(Change::One(key));
    }

    /// News flow from now on, or no longer do. Told once for each turn.
    #[cfg_attr(not(feature = "session-redis"), expect(dead_code, reason = "the embedded store never loses sight"))]
    pub(super) fn flow(&self, flowing: bool) {
        let mut was = self.flowing.lock().unwrap_or_else(PoisonError::into_inner);
        if *was != flowing {
            *was = flowing;
            let _ = self.sender.send(if flowing { Change::Watching } else { Change::Missed });
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Change> {
        let flowing = self.flowing.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        if *flowing {
            let _ = self.sender.send(Change::Watching);
        }
        receiver
    }
}
