//! What lanes sleep by: the newest position of each partition, asked when there may be news.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Parts;
use crate::event::outbox::{Partition, Position};

/// How often the outbox is asked when this process appends nothing: others may have.
const INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two questions, however much is appended.
const REST: Duration = Duration::from_millis(10);

/// The newest position of each partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heads(Vec<Option<Position>>);

impl Heads {
    /// As the outbox tells them.
    pub(super) fn new(newest: Vec<Option<Position>>) -> Self {
        Self(newest)
    }

    /// The newest position of `partition`; nothing when it is empty.
    pub(super) fn of(&self, partition: Partition) -> Option<Position> {
        self.0.get(usize::from(partition.number())).copied().flatten()
    }

    /// True when nothing waits anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// Asks until `stop`, then once more.
pub(super) async fn beat(parts: Parts, heads: watch::Sender<Heads>, stop: CancellationToken) {
    loop {
        ask(&parts, &heads).await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = async { tokio::time::sleep(REST).await; parts.outbox.appended().notified().await } => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
    ask(&parts, &heads).await;
}

async fn ask(parts: &Parts, heads: &watch::Sender<Heads>) {
    if let Err(error) = parts.journal.flush().await {
        tracing::debug!(%error, "events of before cannot be written into the outbox yet");
    }
    match parts.outbox.newest().await {
        // While something waits every beat is told: a lane that another replica had may be free by now.
        Ok(newest) => {
            heads.send_if_modified(|heads| {
                let newest = Heads::new(newest);
                let told = !newest.is_empty() || *heads != newest;
                *heads = newest;
                told
            });
        }
        Err(error) => tracing::debug!(%error, "the outbox does not answer"),
    }
}
