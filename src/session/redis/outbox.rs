//! The event outbox in Redis.
//!
//! | key | holds |
//! |---|---|
//! | `outbox:N` | a stream: the letters of partition N; the entry id is the position |
//! | `outbox:marks:N` | a hash: sink → the position it is done with |
//! | `outbox:dead` | a stream: letters given up |
//!
//! Redis runs one script at a time, so entries appear in the order of their ids. A stream that was emptied still knows
//! its last id: no id is given twice. Needs Redis 6.2 (XTRIM MINID, open ranges).

use std::time::Duration;

use async_trait::async_trait;
use redis::ScriptInvocation;
use tokio::sync::Notify;

use super::{Keys, RedisSessions, script};
use crate::{
    clock::Timestamp,
    event::{
        outbox::{DeadLetter, MAX_DEAD, Measure, Outbox, OutboxError, Partition, Position, Waiting},
        sink::Letter,
    },
    session::{SessionStore as _, StoreError},
};

/// Adds letters to the call of a script that tells, after all its other keys and arguments.
pub(super) fn tell(call: &mut ScriptInvocation<'_>, keys: &Keys, letters: &[Letter]) {
    for letter in letters {
        call.key(keys.outbox(Partition::of(&letter.key)));
        add(call, letter);
    }
}

fn add(call: &mut ScriptInvocation<'_>, letter: &Letter) {
    call.arg(letter.id.as_str()).arg(letter.kind.as_str()).arg(letter.key.as_str());
    call.arg(letter.at.as_millis()).arg(letter.body.as_ref());
}

impl Keys {
    fn outbox(&self, partition: Partition) -> String {
        format!("{}outbox:{partition}", self.prefix)
    }

    fn marks(&self, partition: Partition) -> String {
        format!("{}outbox:marks:{partition}", self.prefix)
    }

    fn dead(&self) -> String {
        format!("{}outbox:dead", self.prefix)
    }
}

/// Entries of a stream: id, then names and values by turns.
type Entries = Vec<(String, Vec<Vec<u8>>)>;

#[async_trait]
impl Outbox for RedisSessions {
    async fn append(&self, letters: &[Letter]) -> Result<(), OutboxError> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut call = script::APPEND.prepare_invoke();
        tell(&mut call, &self.keys, letters);
        self.link.script::<()>(&call).await?;
        self.tell_appended(letters);
        Ok(())
    }

    fn appended(&self) -> &Notify {
        &self.appended
    }

    async fn newest(&self) -> Result<Vec<Option<Position>>, OutboxError> {
        let mut asking = redis::pipe();
        for partition in Partition::all() {
            asking.cmd("XREVRANGE").arg(self.keys.outbox(partition)).arg(&["+", "-", "COUNT", "1"]);
        }
        let newest: Vec<Entries> = self.link.pipe(&asking).await?;
        Ok(newest.iter().map(first).collect::<Result<_, _>>()?)
    }

    async fn mark(&self, partition: Partition, sink: &str) -> Result<Position, OutboxError> {
        let mut asking = redis::pipe();
        asking.hget(self.keys.marks(partition), sink);
        let (mark,): (Option<String>,) = self.link.pipe(&asking).await?;
        Ok(mark.map(|mark| position(&mark)).transpose()?.unwrap_or_default())
    }

    async fn peek(&self, partition: Partition, mark: Position, limit: u32) -> Result<Vec<Waiting>, OutboxError> {
        let entries = self.range(&self.keys.outbox(partition), mark, limit).await?;
        Ok(entries.into_iter().map(waiting).collect::<Result<_, _>>()?)
    }

    async fn done(
        &self,
        partition: Partition,
        sink: &str,
        mark: Position,
        sinks: &[String],
    ) -> Result<(), OutboxError> {
        let mut call = script::DONE.prepare_invoke();
        call.key(self.keys.marks(partition)).key(self.keys.outbox(partition));
        call.arg(sink).arg(mark.to_string()).arg(sinks);
        Ok(self.link.script(&call).await?)
    }

    async fn measure(&self, partition: Partition) -> Result<Measure, OutboxError> {
        let stream = self.keys.outbox(partition);
        let mut asking = redis::pipe();
        asking.cmd("XLEN").arg(&stream).cmd("XRANGE").arg(&stream).arg(&["-", "+", "COUNT", "1"]);
        let (count, entries): (u64, Entries) = self.link.pipe(&asking).await?;
        let oldest = first(&entries)?.map(|position| Timestamp::from_millis(position.major.cast_signed()));
        Ok(Measure { count, oldest })
    }

    async fn drop_oldest(&self, count: u64) -> Result<u64, OutboxError> {
        let mut asking = redis::pipe();
        for partition in Partition::all() {
            asking.cmd("XLEN").arg(self.keys.outbox(partition));
        }
        let lengths: Vec<u64> = self.link.pipe(&asking).await?;
        let mut trimming = redis::pipe();
        for (partition, length) in Partition::all().zip(left_after(&lengths, count)) {
            trimming.cmd("XTRIM").arg(self.keys.outbox(partition)).arg("MAXLEN").arg(length);
        }
        let dropped: Vec<u64> = self.link.pipe(&trimming).await?;
        Ok(dropped.iter().sum())
    }

    async fn drop_older(&self, then: Timestamp) -> Result<u64, OutboxError> {
        let mut trimming = redis::pipe();
        for partition in Partition::all() {
            let least = then.as_millis().max(0);
            trimming.cmd("XTRIM").arg(self.keys.outbox(partition)).arg("MINID").arg(format!("{least}-0"));
        }
        let dropped: Vec<u64> = self.link.pipe(&trimming).await?;
        Ok(dropped.iter().sum())
    }

    async fn bury(&self, dead: &DeadLetter) -> Result<(), OutboxError> {
        let letter = &dead.letter;
        let mut burying = redis::pipe();
        burying.cmd("XADD").arg(self.keys.dead()).arg("MAXLEN").arg(MAX_DEAD).arg("*");
        burying.arg("sink").arg(dead.sink.as_str()).arg("why").arg(dead.why.as_str());
        burying.arg("dead_at").arg(dead.at.as_millis()).arg("id").arg(letter.id.as_str());
        burying.arg("kind").arg(letter.kind.as_str()).arg("key").arg(letter.key.as_str());
        burying.arg("at").arg(letter.at.as_millis()).arg("body").arg(letter.body.as_ref());
        burying.ignore();
        Ok(self.link.pipe(&burying).await?)
    }

    async fn dead(&self, after: Position, limit: u32) -> Result<Vec<(Position, DeadLetter)>, OutboxError> {
        let entries = self.range(&self.keys.dead(), after, limit).await?;
        Ok(entries.into_iter().map(dead_letter).collect::<Result<_, _>>()?)
    }

    async fn dead_count(&self) -> Result<u64, OutboxError> {
        let mut asking = redis::pipe();
        asking.cmd("XLEN").arg(self.keys.dead());
        let (count,): (u64,) = self.link.pipe(&asking).await?;
        Ok(count)
    }

    async fn revive(&self, position: Position, dead: &DeadLetter, _: Timestamp) -> Result<bool, OutboxError> {
        let mut call = script::REVIVE.prepare_invoke();
        call.key(self.keys.dead()).key(self.keys.outbox(Partition::of(&dead.letter.key)));
        call.arg(position.to_string()).arg(dead.sink.as_str());
        add(&mut call, &dead.letter);
        let revived = self.link.script_once(&call).await?;
        self.appended.notify_one();
        Ok(revived)
    }

    async fn discard(&self, position: Position) -> Result<bool, OutboxError> {
        let mut asking = redis::pipe();
        asking.cmd("XDEL").arg(self.keys.dead()).arg(position.to_string());
        let (gone,): (u64,) = self.link.pipe(&asking).await?;
        Ok(gone > 0)
    }

    async fn claim(&self, what: &str, holder: &str, life: Duration, now: Timestamp) -> Result<bool, OutboxError> {
        Ok(self.lease(&format!("outbox:{what}"), holder, life, now).await?)
    }

    async fn give_back(&self, what: &str, holder: &str) -> Result<(), OutboxError> {
        Ok(self.release(&format!("outbox:{what}"), holder).await?)
    }
}

impl RedisSessions {
    /// The entries of a stream after a position.
    async fn range(&self, stream: &str, after: Position, limit: u32) -> Result<Entries, StoreError> {
        let mut asking = redis::pipe();
        asking.cmd("XRANGE").arg(stream).arg(format!("({after}")).arg("+").arg("COUNT").arg(limit);
        let (entries,): (Entries,) = self.link.pipe(&asking).await?;
        Ok(entries)
    }
}

/// How long each stream may stay when `count` entries have to go: the fullest give way first.
fn left_after(lengths: &[u64], count: u64) -> Vec<u64> {
    let keep = lengths.iter().sum::<u64>().saturating_sub(count);
    // The highest level at which no more than `keep` are left.
    let (mut low, mut high) = (0, lengths.iter().copied().max().unwrap_or(0));
    while low < high {
        let level = low + (high - low).div_ceil(2);
        if lengths.iter().map(|length| (*length).min(level)).sum::<u64>() <= keep {
            low = level;
        } else {
            high = level - 1;
        }
    }
    lengths.iter().map(|length| (*length).min(low)).collect()
}

fn position(text: &str) -> Result<Position, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("a position in the outbox that is none".into()))
}

fn first(entries: &Entries) -> Result<Option<Position>, StoreError> {
    entries.first().map(|(id, _)| position(id)).transpose()
}

/// The fields of an entry.
struct Fields(Vec<Vec<u8>>);

impl Fields {
    fn bytes(&self, name: &str) -> Option<&[u8]> {
        let mut pairs = self.0.chunks_exact(2).filter_map(|pair| match pair {
            [field, value] => Some((field, value)),
            _ => None,
        });
        pairs.find(|(field, _)| field.as_slice() == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    fn text(&self, name: &str) -> Result<String, StoreError> {
        self.bytes(name)
            .and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
            .ok_or_else(|| StoreError::Corrupt(format!("a letter without {name}")))
    }

    fn time(&self, name: &str) -> Result<Timestamp, StoreError> {
        super::number(self.bytes(name).unwrap_or_default()).map(Timestamp::from_millis)
    }

    fn letter(&self) -> Result<Letter, StoreError> {
        Ok(Letter {
            id: self.text("id")?,
            kind: self.text("kind")?,
            key: self.text("key")?,
            at: self.time("at")?,
            body: bytes::Bytes::copy_from_slice(self.bytes("body").unwrap_or_default()),
        })
    }
}

fn waiting((id, fields): (String, Vec<Vec<u8>>)) -> Result<Waiting, StoreError> {
    let fields = Fields(fields);
    let only = fields.bytes("only").map(|_| fields.text("only")).transpose()?;
    Ok(Waiting { position: position(&id)?, letter: fields.letter()?, only })
}

fn dead_letter((id, fields): (String, Vec<Vec<u8>>)) -> Result<(Position, DeadLetter), StoreError> {
    let fields = Fields(fields);
    let dead = DeadLetter {
        sink: fields.text("sink")?,
        why: fields.text("why")?,
        at: fields.time("dead_at")?,
        letter: fields.letter()?,
    };
    Ok((position(&id)?, dead))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_streams_give_way_first_and_never_too_few_go() {
        for (lengths, count, left) in [
            (vec![10, 0, 2], 5, vec![5, 0, 2]),
            (vec![10, 10, 1], 2, vec![9, 9, 1]),
            (vec![10, 10, 1], 3, vec![8, 8, 1]),
            (vec![3, 3], 100, vec![0, 0]),
            (vec![3, 3], 0, vec![3, 3]),
            (vec![], 4, vec![]),
        ] {
            assert_eq!(left_after(&lengths, count), left, "{lengths:?} - {count}");
        }
    }
}
