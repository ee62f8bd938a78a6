//! The event outbox in the SQLite file.
//!
//! One table for what waits, with the row number as position: there is one writer, so rows appear in the order of their
//! numbers. One for the marks of the sinks, one for dead letters.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};
use tokio::sync::Notify;

use super::EmbeddedSessions;
use crate::{
    clock::Timestamp,
    directory::sql::sqlite::{Fault, Step},
    event::{
        outbox::{DeadLetter, MAX_DEAD, Measure, Outbox, OutboxError, Partition, Position, Waiting},
        sink::Letter,
    },
    session::SessionStore as _,
};

/// Numbers are never given twice (AUTOINCREMENT), or a mark could be past a letter that came later.
pub(super) const SCHEMA: Step = "
    CREATE TABLE outbox (
        seq       INTEGER PRIMARY KEY AUTOINCREMENT,
        partition INTEGER NOT NULL,
        since     INTEGER NOT NULL,
        only_sink TEXT,
        id        TEXT    NOT NULL,
        kind      TEXT    NOT NULL,
        key       TEXT    NOT NULL,
        at        INTEGER NOT NULL,
        body      BLOB    NOT NULL
    ) STRICT;
    CREATE INDEX outbox_partition ON outbox (partition, seq);
    CREATE INDEX outbox_since     ON outbox (since);

    CREATE TABLE outbox_mark (
        sink      TEXT    NOT NULL,
        partition INTEGER NOT NULL,
        seq       INTEGER NOT NULL,
        PRIMARY KEY (sink, partition)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE outbox_dead (
        seq     INTEGER PRIMARY KEY AUTOINCREMENT,
        sink    TEXT    NOT NULL,
        why     TEXT    NOT NULL,
        dead_at INTEGER NOT NULL,
        id      TEXT    NOT NULL,
        kind    TEXT    NOT NULL,
        key     TEXT    NOT NULL,
        at      INTEGER NOT NULL,
        body    BLOB    NOT NULL
    ) STRICT;
";

/// Writes letters within a transaction.
pub(super) async fn put(writing: &mut SqliteConnection, letters: &[Letter]) -> Result<(), Fault> {
    for letter in letters {
        put_one(writing, letter, letter.at, None).await?;
    }
    Ok(())
}

async fn put_one(
    writing: &mut SqliteConnection,
    letter: &Letter,
    since: Timestamp,
    only: Option<&str>,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO outbox (partition, since, only_sink, id, kind, key, at, body)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(Partition::of(&letter.key).number())
    .bind(since.as_millis())
    .bind(only)
    .bind(letter.id.as_str())
    .bind(letter.kind.as_str())
    .bind(letter.key.as_str())
    .bind(letter.at.as_millis())
    .bind(letter.body.as_ref())
    .execute(writing)
    .await?;
    Ok(())
}

#[async_trait]
impl Outbox for EmbeddedSessions {
    async fn append(&self, letters: &[Letter]) -> Result<(), OutboxError> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut writing = self.file.write().await?;
        put(&mut writing, letters).await?;
        writing.commit().await.map_err(Fault::from)?;
        self.tell_appended(letters);
        Ok(())
    }

    fn appended(&self) -> &Notify {
        &self.appended
    }

    async fn newest(&self) -> Result<Vec<Option<Position>>, OutboxError> {
        let mut newest = Vec::new();
        for partition in Partition::all() {
            let seq: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM outbox WHERE partition = $1")
                .bind(partition.number())
                .fetch_one(self.file.readers())
                .await
                .map_err(Fault::from)?;
            newest.push(seq.map(position));
        }
        Ok(newest)
    }

    async fn mark(&self, partition: Partition, sink: &str) -> Result<Position, OutboxError> {
        let seq: Option<i64> = sqlx::query_scalar("SELECT seq FROM outbox_mark WHERE sink = $1 AND partition = $2")
            .bind(sink)
            .bind(partition.number())
            .fetch_optional(self.file.readers())
            .await
            .map_err(Fault::from)?;
        Ok(seq.map(position).unwrap_or_default())
    }

    async fn peek(&self, partition: Partition, mark: Position, limit: u32) -> Result<Vec<Waiting>, OutboxError> {
        let rows = sqlx::query(
            "SELECT seq, only_sink, id, kind, key, at, body FROM outbox
             WHERE partition = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        )
        .bind(partition.number())
        .bind(row_number(mark))
        .bind(limit)
        .fetch_all(self.file.readers())
        .await
        .map_err(Fault::from)?;
        Ok(rows.iter().map(waiting).collect::<Result<_, Fault>>()?)
    }

    async fn done(
        &self,
        partition: Partition,
        sink: &str,
        mark: Position,
        sinks: &[String],
    ) -> Result<(), OutboxError> {
        let mut writing = self.file.write().await?;
        sqlx::query(
            "INSERT INTO outbox_mark VALUES ($1, $2, $3)
             ON CONFLICT (sink, partition) DO UPDATE SET seq = max(seq, excluded.seq)",
        )
        .bind(sink)
        .bind(partition.number())
        .bind(row_number(mark))
        .execute(&mut *writing)
        .await
        .map_err(Fault::from)?;
        // A sink without a mark has not begun: nothing may go then.
        sqlx::query(
            "DELETE FROM outbox WHERE partition = $1 AND seq <= (
                SELECT CASE WHEN count(*) = json_array_length($2) THEN min(seq) ELSE 0 END FROM outbox_mark
                WHERE partition = $1 AND sink IN (SELECT value FROM json_each($2)))",
        )
        .bind(partition.number())
        .bind(serde_json::to_string(sinks).unwrap_or_default())
        .execute(&mut *writing)
        .await
        .map_err(Fault::from)?;
        writing.commit().await.map_err(Fault::from)?;
        Ok(())
    }

    async fn measure(&self, partition: Partition) -> Result<Measure, OutboxError> {
        let row = sqlx::query(
            "SELECT count(*), (SELECT since FROM outbox WHERE partition = $1 ORDER BY seq LIMIT 1)
             FROM outbox WHERE partition = $1",
        )
        .bind(partition.number())
        .fetch_one(self.file.readers())
        .await
        .map_err(Fault::from)?;
        let read = || {
            let (count, since): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            Ok::<_, Fault>(Measure { count: count.unsigned_abs(), oldest: since.map(Timestamp::from_millis) })
        };
        Ok(read()?)
    }

    async fn drop_oldest(&self, count: u64) -> Result<u64, OutboxError> {
        let dropped = sqlx::query("DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT $1)")
            .bind(i64::try_from(count).unwrap_or(i64::MAX))
            .execute(self.file.writer())
            .await
            .map_err(Fault::from)?;
        Ok(dropped.rows_affected())
    }

    async fn drop_older(&self, then: Timestamp) -> Result<u64, OutboxError> {
        let dropped = sqlx::query("DELETE FROM outbox WHERE since < $1")
            .bind(then.as_millis())
            .execute(self.file.writer())
            .await
            .map_err(Fault::from)?;
        Ok(dropped.rows_affected())
    }

    async fn bury(&self, dead: &DeadLetter) -> Result<(), OutboxError> {
        let mut writing = self.file.write().await?;
        sqlx::query(
            "INSERT INTO outbox_dead (sink, why, dead_at, id, kind, key, at, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(dead.sink.as_str())
        .bind(dead.why.as_str())
        .bind(dead.at.as_millis())
        .bind(dead.letter.id.as_str())
        .bind(dead.letter.kind.as_str())
        .bind(dead.letter.key.as_str())
        .bind(dead.letter.at.as_millis())
        .bind(dead.letter.body.as_ref())
        .execute(&mut *writing)
        .await
        .map_err(Fault::from)?;
        sqlx::query("DELETE FROM outbox_dead WHERE seq <= (SELECT max(seq) FROM outbox_dead) - $1")
            .bind(MAX_DEAD)
            .execute(&mut *writing)
            .await
            .map_err(Fault::from)?;
        writing.commit().await.map_err(Fault::from)?;
        Ok(())
    }

    async fn dead(&self, after: Position, limit: u32) -> Result<Vec<(Position, DeadLetter)>, OutboxError> {
        let rows = sqlx::query(
            "SELECT seq, sink, why, dead_at, id, kind, key, at, body FROM outbox_dead
             WHERE seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(row_number(after))
        .bind(limit)
        .fetch_all(self.file.readers())
        .await
        .map_err(Fault::from)?;
        Ok(rows.iter().map(dead_letter).collect::<Result<_, Fault>>()?)
    }

    async fn dead_count(&self) -> Result<u64, OutboxError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox_dead")
            .fetch_one(self.file.readers())
            .await
            .map_err(Fault::from)?;
        Ok(count.unsigned_abs())
    }

    async fn revive(&self, position: Position, dead: &DeadLetter, now: Timestamp) -> Result<bool, OutboxError> {
        let mut writing = self.file.write().await?;
        let gone = sqlx::query("DELETE FROM outbox_dead WHERE seq = $1")
            .bind(row_number(position))
            .execute(&mut *writing)
            .await
            .map_err(Fault::from)?;
        if gone.rows_affected() == 0 {
            return Ok(false);
        }
        put_one(&mut writing, &dead.letter, now, Some(&dead.sink)).await?;
        writing.commit().await.map_err(Fault::from)?;
        self.appended.notify_one();
        Ok(true)
    }

    async fn discard(&self, position: Position) -> Result<bool, OutboxError> {
        let gone = sqlx::query("DELETE FROM outbox_dead WHERE seq = $1")
            .bind(row_number(position))
            .execute(self.file.writer())
            .await
            .map_err(Fault::from)?;
        Ok(gone.rows_affected() > 0)
    }

    async fn claim(&self, what: &str, holder: &str, life: Duration, now: Timestamp) -> Result<bool, OutboxError> {
        Ok(self.lease(&format!("outbox:{what}"), holder, life, now).await?)
    }

    async fn give_back(&self, what: &str, holder: &str) -> Result<(), OutboxError> {
        Ok(self.release(&format!("outbox:{what}"), holder).await?)
    }
}

fn position(seq: i64) -> Position {
    Position { major: 0, minor: seq.unsigned_abs() }
}

fn row_number(position: Position) -> i64 {
    i64::try_from(position.minor).unwrap_or(i64::MAX)
}

fn letter(row: &SqliteRow) -> Result<Letter, Fault> {
    let body: Vec<u8> = row.try_get("body")?;
    Ok(Letter {
        id: row.try_get("id")?,
        kind: row.try_get("kind")?,
        key: row.try_get("key")?,
        at: Timestamp::from_millis(row.try_get("at")?),
        body: body.into(),
    })
}

fn waiting(row: &SqliteRow) -> Result<Waiting, Fault> {
    Ok(Waiting { position: position(row.try_get("seq")?), letter: letter(row)?, only: row.try_get("only_sink")? })
}

fn dead_letter(row: &SqliteRow) -> Result<(Position, DeadLetter), Fault> {
    let dead = DeadLetter {
        sink: row.try_get("sink")?,
        why: row.try_get("why")?,
        at: Timestamp::from_millis(row.try_get("dead_at")?),
        letter: letter(row)?,
    };
    Ok((position(row.try_get("seq")?), dead))
}

impl From<Fault> for OutboxError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) => Self::Unavailable(why),
            Fault::Corrupt(why) => Self::Corrupt(why),
        }
    }
}
