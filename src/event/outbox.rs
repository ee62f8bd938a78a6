//! The outbox: where letters wait for their sinks, beside the state they tell of.
//!
//! It lives in the engine of the session store, so that a letter is written in the same step as the change of a
//! session: neither is ever there without the other. Letters are kept in [`Partition`]s by the hash of their key; within
//! one they keep the order in which they were written. Every sink has its own mark in each partition, how far it has
//! come, so that one that is down holds up no other; a letter goes away when all sinks are past it.
//!
//! The contract says nothing of retries, bounds or who works on which partition: that is the [`relay`](super::relay)'s.

use std::{fmt, str::FromStr, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::sink::Letter;
use crate::{clock::Timestamp, secret};

/// How many partitions there are. Changing it would break the order of what waits.
pub const PARTITIONS: u8 = 8;

/// One of the [`PARTITIONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// The partition of a key: the same in every replica and version.
    pub fn of(key: &str) -> Self {
        let [first, ..] = secret::sha256(key.as_bytes());
        Self(first % PARTITIONS)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// Its number, from 0.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a letter stands: grows within a partition, and within the dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Redis: the milliseconds of the entry id. SQLite: 0.
    pub major: u64,
    /// Redis: the number within the millisecond. SQLite: the row.
    pub minor: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let (major, minor) = text.split_once('-').ok_or(NotAPosition)?;
        let number = |text: &str| text.parse().map_err(|_| NotAPosition);
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// The text is no [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position in the outbox")]
pub struct NotAPosition;

/// A letter that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Where it stands.
    pub position: Position,
    /// The letter.
    pub letter: Letter,
    /// The one sink it is for, when it was given up before and is tried again; otherwise it is for all.
    pub only: Option<String>,
}

/// A letter that a sink can never take.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Which sink.
    pub sink: String,
    /// Why, as the sink said it.
    pub why: String,
    /// When it was given up.
    pub at: Timestamp,
    /// The letter.
    pub letter: Letter,
}

/// How much waits in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Measure {
    /// How many letters.
    pub count: u64,
    /// Since when the first of them waits.
    pub oldest: Option<Timestamp>,
}

/// Why the outbox did not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    /// It cannot be reached, is too slow, refuses us, or is out of room. A retry later may succeed.
    #[error("the outbox is unavailable: {0}")]
    Unavailable(String),
    /// It answered something we cannot read.
    #[error("the outbox holds something unreadable: {0}")]
    Corrupt(String),
}

/// The most dead letters that are kept; beyond it the oldest go.
pub const MAX_DEAD: u32 = 10_000;

/// Where letters wait. All calls run on the control plane; a write is acknowledged when it survives `kill -9`. A call
/// may be repeated after a lost answer, so a letter can be there twice: it has the same id then.
#[async_trait]
pub trait Outbox: Send + Sync + fmt::Debug {
    /// Appends letters that tell of no change of a session, each to the partition of its key, in this order.
    async fn append(&self, letters: &[Letter]) -> Result<(), OutboxError>;

    /// Notified whenever this process has appended something. What others append is only found by asking.
    fn appended(&self) -> &Notify;

    /// The newest letter of each partition, in the order of the partitions. Cheap: it is asked every second.
    async fn newest(&self) -> Result<Vec<Option<Position>>, OutboxError>;

    /// How far `sink` has come; the beginning when it has not begun.
    async fn mark(&self, partition: Partition, sink: &str) -> Result<Position, OutboxError>;

    /// The letters after `mark`, in order, at most `limit`.
    async fn peek(&self, partition: Partition, mark: Position, limit: u32) -> Result<Vec<Waiting>, OutboxError>;

    /// Notes that `sink` is done with everything up to `mark`, never back, and drops what all of `sinks` are done with.
    async fn done(&self, partition: Partition, sink: &str, mark: Position, sinks: &[String])
    -> Result<(), OutboxError>;

    /// How much waits.
    async fn measure(&self, partition: Partition) -> Result<Measure, OutboxError>;

    /// Drops `count` of the oldest letters; an engine that cannot compare partitions takes them from the fullest. Returns
    /// how many went.
    async fn drop_oldest(&self, count: u64) -> Result<u64, OutboxError>;

    /// Drops letters that have waited since before `then`; returns how many went.
    async fn drop_older(&self, then: Timestamp) -> Result<u64, OutboxError>;

    /// Puts a letter to the dead ones, of which the newest [`MAX_DEAD`] are kept.
    async fn bury(&self, dead: &DeadLetter) -> Result<(), OutboxError>;

    /// The dead letters after `after`, oldest first, at most `limit`.
    async fn dead(&self, after: Position, limit: u32) -> Result<Vec<(Position, DeadLetter)>, OutboxError>;

    /// How many dead letters there are.
    async fn dead_count(&self) -> Result<u64, OutboxError>;

    /// Takes a dead letter back into the outbox, for its sink alone, in one step. False when it is not there any more.
    async fn revive(&self, position: Position, dead: &DeadLetter, now: Timestamp) -> Result<bool, OutboxError>;

    /// Drops a dead letter for good. False when it is not there any more.
    async fn discard(&self, position: Position) -> Result<bool, OutboxError>;

    /// Takes or prolongs the right to do `what` for `holder`, for `life`. False when another replica has it.
    async fn claim(&self, what: &str, holder: &str, life: Duration, now: Timestamp) -> Result<bool, OutboxError>;

    /// Gives that right back.
    async fn give_back(&self, what: &str, holder: &str) -> Result<(), OutboxError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_as_it_is_written() {
        let position = Position { major: 1_700_000_000_000, minor: 3 };
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!(Position { major: 9, minor: 9 } < Position { major: 10, minor: 0 });
        for bad in ["", "1", "1-", "-1", "a-b", "1-2-3"] {
            assert_eq!(bad.parse::<Position>(), Err(NotAPosition), "{bad}");
        }
    }

    #[test]
    fn keys_spread_over_all_partitions_and_stay_where_they_are() {
        let used: std::collections::BTreeSet<Partition> =
            (0..200).map(|n| Partition::of(&format!("account {n}"))).collect();
        assert_eq!(used.len(), usize::from(PARTITIONS));
        // What waits was perhaps written by the version before.
        assert_eq!(Partition::of("gateway").number(), 6);
        assert_eq!(Partition::of("0198c5a0-0000-7000-8000-000000000000").number(), 1);
    }
}
