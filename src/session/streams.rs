//! Open streams by session: a WebSocket or an event stream ends when its session does (threats 3.5).
//!
//! The data plane [`open`](Streams::open)s one per tunnel; the control plane [`check`](Streams::check)s when the store
//! tells of a change, and all of them from time to time for those that expired.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::{SessionKey, Sessions};

/// The open streams of this process.
#[derive(Debug, Default)]
pub struct Streams {
    open: Mutex<HashMap<SessionKey, Vec<(u64, CancellationToken)>>>,
    next: std::sync::atomic::AtomicU64,
}

/// One open stream; dropping it takes it off the books.
#[derive(Debug)]
pub struct OpenStream {
    key: SessionKey,
    number: u64,
    ended: CancellationToken,
    streams: Arc<Streams>,
}

impl OpenStream {
    /// Fires when the session has ended.
    pub fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        // Whoever waits for the end of the session alone need not wait any longer.
        self.ended.cancel();
        let mut open = self.streams.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_session) = open.get_mut(&self.key) {
            of_session.retain(|(number, _)| *number != self.number);
            if of_session.is_empty() {
                open.remove(&self.key);
            }
        }
    }
}

impl Streams {
    /// Books a stream of the session under `key`.
    pub fn open(self: &Arc<Self>, key: SessionKey) -> OpenStream {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let ended = CancellationToken::new();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(key).or_default().push((number, ended.clone()));
        drop(open);
        OpenStream { key, number, ended, streams: self.clone() }
    }

    /// How many are open, for metrics.
    pub fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }

    /// Cuts the streams of the session under `key` if it has ended. When the store does not answer they stay: the
    /// check is made again.
    pub async fn check(&self, key: &SessionKey, sessions: &Sessions) {
        let is_open = self.open.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key);
        if is_open && matches!(sessions.reload(key).await, Ok(None)) {
            self.cut(key);
        }
    }

    /// Checks every session that has a stream open.
    pub async fn check_all(&self, sessions: &Sessions) {
        let keys: Vec<SessionKey> = self.open.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
        for key in keys {
            self.check(&key, sessions).await;
        }
    }

    fn cut(&self, key: &SessionKey) {
        let streams = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(key).unwrap_or_default();
        streams.iter().for_each(|(_, ended)| ended.cancel());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_by_itself_leaves_no_trace() {
        let streams = Arc::new(Streams::default());
        let key = SessionKey::from_bytes([1; 32]);
        let (one, two) = (streams.open(key), streams.open(key));
        assert_eq!(streams.count(), 2);
        drop(one);
        assert_eq!(streams.count(), 1);
        streams.cut(&key);
        assert!(two.ended().is_cancelled());
        drop(two);
        assert_eq!(streams.count(), 0);
    }
}
