//! Sessions in the one SQLite file, for a gateway that runs alone.
//!
//! Four tables: records (with the columns that `end_all` and `list` search by), leases, used markers, documents; and
//! those of the event outbox (`outbox`). SQLite has one writer, and so do we, so each statement below is atomic by
//! itself; only what takes two, such as a change and the letters that tell of it, is a transaction. All comparisons are
//! with the caller's clock.
//!
//! News of changes go to receivers of this process. Another process that opens the same file to end a session is not
//! heard: the command line asks the running gateway instead.

mod outbox;
mod sightings;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{Row as _, SqliteExecutor, sqlite::SqliteRow};
use tokio::sync::{Notify, broadcast};

use super::{
    Change, NewStored, Replaced, SessionKey, SessionStore, Sighting, StoreError, Stored, Telling, Whose, news::News,
};
use crate::{
    clock::Timestamp,
    directory::sql::sqlite::{self, Fault, OpenError, SqliteFile, Step},
    event::sink::Letter,
    identity::AccountId,
    told::Examined,
};

/// The schema, step by step. Append; never edit a step that was released.
const SCHEMA: &[Step] = &[SESSIONS, outbox::SCHEMA];

const SESSIONS: Step = "
    CREATE TABLE session (
        key        BLOB    NOT NULL UNIQUE,
        account    TEXT    NOT NULL,
        issuer     TEXT    NOT NULL,
        subject    TEXT    NOT NULL,
        sid        TEXT,
        sealed     BLOB    NOT NULL,
        version    INTEGER NOT NULL,
        began_at   INTEGER NOT NULL,
        last_seen  INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX session_account  ON session (account, began_at);
    CREATE INDEX session_identity ON session (issuer, subject);
    CREATE INDEX session_sid      ON session (issuer, sid) WHERE sid IS NOT NULL;
    CREATE INDEX session_expiry   ON session (expires_at);

    CREATE TABLE session_lease (
        name   TEXT    PRIMARY KEY,
        holder TEXT    NOT NULL,
        until  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE session_marker (
        marker TEXT    PRIMARY KEY,
        until  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_marker_expiry ON session_marker (until);

    CREATE TABLE session_document (
        name  TEXT PRIMARY KEY,
        bytes BLOB NOT NULL
    ) STRICT;
";

/// Looks at the file for `brama doctor`, and changes nothing. A start always upgrades these tables.
pub(super) async fn examine(file: &Path) -> Examined {
    let mut sound = sqlite::examine::examine(file, "session", SCHEMA, true).await?;
    // `brama directory migrate` is for the accounts alone.
    for told in &mut sound.warnings {
        "make a backup; the next start upgrades them".clone_into(&mut told.remedy);
    }
    Ok(sound)
}

/// Rows a sweep drops at a time, so that logins need not wait for a long one.
const SWEEP_BATCH: i64 = 1000;

/// Sessions in the SQLite file. Clones share the file and the news.
#[derive(Debug, Clone)]
pub struct EmbeddedSessions {
    file: SqliteFile,
    news: Arc<News>,
    appended: Arc<Notify>,
}

impl EmbeddedSessions {
    /// Makes or updates the tables in `file`. Once a process and file: news go to the clones of one opening.
    ///
    /// # Errors
    /// [`OpenError`] when the file is of a newer schema or cannot be written.
    pub async fn open(file: SqliteFile) -> Result<Self, OpenError> {
        file.bring_up("session", SCHEMA).await?;
        Ok(Self { file, news: Arc::new(News::new(true)), appended: Arc::default() })
    }

    /// Wakes the relay.
    fn tell_appended(&self, letters: &[Letter]) {
        if !letters.is_empty() {
            self.appended.notify_one();
        }
    }

    /// Drops up to a batch of what has expired from `session` or `session_marker`.
    async fn sweep_batch(&self, sql: &'static str, now: Timestamp) -> Result<u64, Fault> {
        let swept = sqlx::query(sql).bind(now.as_millis()).bind(SWEEP_BATCH).execute(self.file.writer()).await?;
        Ok(swept.rows_affected())
    }
}

#[async_trait]
impl SessionStore for EmbeddedSessions {
    async fn load(&self, key: &SessionKey, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        let row = sqlx::query(
            "SELECT sealed, version, last_seen, expires_at FROM session WHERE key = $1 AND expires_at > $2",
        )
        .bind(key.bytes().as_slice())
        .bind(now.as_millis())
        .fetch_optional(self.file.readers())
        .await
        .map_err(Fault::from)?;
        Ok(row.as_ref().map(stored).transpose()?)
    }

    async fn begin(&self, new: NewStored, replaces: Option<SessionKey>, letters: &[Letter]) -> Result<(), StoreError> {
        let mut writing = self.file.write().await?;
        let replaced = match &replaces {
            Some(old) => delete(&mut *writing, old).await?,
            None => false,
        };
        insert(&mut *writing, &new).await?;
        outbox::put(&mut writing, letters).await?;
        writing.commit().await.map_err(Fault::from)?;
        self.tell_appended(letters);
        replaces.filter(|_| replaced).into_iter().for_each(|old| self.news.changed(old));
        Ok(())
    }

    async fn rename(&self, new: NewStored, old: &SessionKey, letters: &[Letter]) -> Result<bool, StoreError> {
        let mut writing = self.file.write().await?;
        let alive = sqlx::query("DELETE FROM session WHERE key = $1 AND expires_at > $2")
            .bind(old.bytes().as_slice())
            .bind(new.last_seen.as_millis())
            .execute(&mut *writing)
            .await
            .map_err(Fault::from)?;
        if alive.rows_affected() == 0 {
            return Ok(false);
        }
        insert(&mut *writing, &new).await?;
        outbox::put(&mut writing, letters).await?;
        writing.commit().await.map_err(Fault::from)?;
        self.tell_appended(letters);
        self.news.changed(*old);
        Ok(true)
    }

    async fn replace(
        &self,
        key: &SessionKey,
        version: u64,
        sealed: Vec<u8>,
        expires_at: Timestamp,
        now: Timestamp,
        letters: &[Letter],
    ) -> Result<Replaced, StoreError> {
        let mut writing = self.file.write().await?;
        let found: Option<i64> = sqlx::query_scalar("SELECT version FROM session WHERE key = $1 AND expires_at > $2")
            .bind(key.bytes().as_slice())
            .bind(now.as_millis())
            .fetch_optional(&mut *writing)
            .await
            .map_err(Fault::from)?;
        match found {
            None => return Ok(Replaced::Gone),
            Some(found) if u64::try_from(found) != Ok(version) => return Ok(Replaced::Changed),
            Some(_) => {}
        }
        sqlx::query("UPDATE session SET sealed = $2, version = version + 1, expires_at = $3 WHERE key = $1")
            .bind(key.bytes().as_slice())
            .bind(sealed)
            .bind(expires_at.as_millis())
            .execute(&mut *writing)
            .await
            .map_err(Fault::from)?;
        outbox::put(&mut writing, letters).await?;
        writing.commit().await.map_err(Fault::from)?;
        self.tell_appended(letters);
        self.news.changed(*key);
        Ok(Replaced::Done)
    }

    async fn touch(&self, sightings: &[Sighting]) -> Result<Vec<bool>, StoreError> {
        Ok(sightings::note(&self.file, sightings).await?)
    }

    async fn end(&self, key: &SessionKey, letters: &[Letter]) -> Result<bool, StoreError> {
        let mut writing = self.file.write().await?;
        let ended = delete(&mut *writing, key).await?;
        if ended {
            outbox::put(&mut writing, letters).await?;
        }
        writing.commit().await.map_err(Fault::from)?;
        if ended {
            self.tell_appended(letters);
            self.news.changed(*key);
        }
        Ok(ended)
    }

    async fn end_all(
        &self,
        whose: &Whose,
        keep: Option<&SessionKey>,
        telling: &(dyn Telling + '_),
    ) -> Result<Vec<SessionKey>, StoreError> {
        // No key is empty, so an empty one keeps nothing.
        let keep = keep.map_or([].as_slice(), |key| key.bytes());
        let query = match whose {
            Whose::Account(account) => {
                sqlx::query("DELETE FROM session WHERE account = $1 AND key <> $2 RETURNING key, account")
                    .bind(account.to_string())
                    .bind(keep)
            }
            Whose::Identity(identity) => sqlx::query(
                "DELETE FROM session WHERE issuer = $1 AND subject = $2 AND key <> $3 RETURNING key, account",
            )
            .bind(identity.issuer.as_str())
            .bind(identity.subject.as_str())
            .bind(keep),
            Whose::Sid(issuer, sid) => {
                sqlx::query("DELETE FROM session WHERE issuer = $1 AND sid = $2 AND key <> $3 RETURNING key, account")
                    .bind(issuer.as_str())
                    .bind(sid)
                    .bind(keep)
            }
        };
        let mut writing = self.file.write().await?;
        let rows = query.fetch_all(&mut *writing).await.map_err(Fault::from)?;
        let (mut ended, mut letters) = (Vec::new(), Vec::new());
        for row in &rows {
            let key = key_of(row)?;
            letters.extend(telling.letters(&key, &account_of(row)?));
            ended.push(key);
        }
        outbox::put(&mut writing, &letters).await?;
        writing.commit().await.map_err(Fault::from)?;
        self.tell_appended(&letters);
        ended.iter().for_each(|key| self.news.changed(*key));
        Ok(ended)
    }

    async fn list(&self, account: &AccountId, now: Timestamp) -> Result<Vec<(SessionKey, Stored)>, StoreError> {
        let rows = sqlx::query(
            "SELECT key, sealed, version, last_seen, expires_at FROM session
             WHERE account = $1 AND expires_at > $2 ORDER BY began_at DESC, key LIMIT 100",
        )
        .bind(account.to_string())
        .bind(now.as_millis())
        .fetch_all(self.file.readers())
        .await
        .map_err(Fault::from)?;
        Ok(rows.iter().map(|row| Ok((key_of(row)?, stored(row)?))).collect::<Result<_, Fault>>()?)
    }

    async fn lease(&self, name: &str, holder: &str, life: Duration, now: Timestamp) -> Result<bool, StoreError> {
        let taken = sqlx::query(
            "INSERT INTO session_lease VALUES ($1, $2, $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE holder = excluded.holder OR until <= $4",
        )
        .bind(name)
        .bind(holder)
        .bind(now.plus(life).as_millis())
        .bind(now.as_millis())
        .execute(self.file.writer())
        .await
        .map_err(Fault::from)?;
        Ok(taken.rows_affected() > 0)
    }

    async fn release(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM session_lease WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(self.file.writer())
            .await
            .map_err(Fault::from)?;
        Ok(())
    }

    async fn use_once(&self, marker: &str, until: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let marked = sqlx::query(
            "INSERT INTO session_marker VALUES ($1, $2)
             ON CONFLICT (marker) DO UPDATE SET until = excluded.until WHERE until <= $3",
        )
        .bind(marker)
        .bind(until.as_millis())
        .bind(now.as_millis())
        .execute(self.file.writer())
        .await
        .map_err(Fault::from)?;
        Ok(marked.rows_affected() > 0)
    }

    async fn document(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(sqlx::query_scalar("SELECT bytes FROM session_document WHERE name = $1")
            .bind(name)
            .fetch_optional(self.file.readers())
            .await
            .map_err(Fault::from)?)
    }

    async fn put_document(&self, name: &str, expected: Option<&[u8]>, bytes: &[u8]) -> Result<bool, StoreError> {
        let query = match expected {
            None => sqlx::query("INSERT INTO session_document VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(name)
                .bind(bytes),
            Some(expected) => sqlx::query("UPDATE session_document SET bytes = $2 WHERE name = $1 AND bytes = $3")
                .bind(name)
                .bind(bytes)
                .bind(expected),
        };
        let written = query.execute(self.file.writer()).await.map_err(Fault::from)?;
        Ok(written.rows_affected() > 0)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.file.ping().await?)
    }

    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut swept = 0;
        for sql in [
            "DELETE FROM session WHERE rowid IN (SELECT rowid FROM session WHERE expires_at <= $1 LIMIT $2)",
            "DELETE FROM session_marker WHERE marker IN (SELECT marker FROM session_marker WHERE until <= $1 LIMIT $2)",
            "DELETE FROM session_lease WHERE name IN (SELECT name FROM session_lease WHERE until <= $1 LIMIT $2)",
        ] {
            loop {
                let batch = self.sweep_batch(sql, now).await?;
                swept += batch;
                if batch < SWEEP_BATCH.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(swept)
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.news.subscribe()
    }
}

async fn insert(executor: impl SqliteExecutor<'_>, new: &NewStored) -> Result<(), Fault> {
    sqlx::query("INSERT INTO session VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7, $8)")
        .bind(new.key.bytes().as_slice())
        .bind(new.account.to_string())
        .bind(new.identity.issuer.as_str())
        .bind(new.identity.subject.as_str())
        .bind(new.sid.as_deref())
        .bind(new.sealed.as_slice())
        .bind(new.last_seen.as_millis())
        .bind(new.expires_at.as_millis())
        .execute(executor)
        .await?;
    Ok(())
}

async fn delete(executor: impl SqliteExecutor<'_>, key: &SessionKey) -> Result<bool, Fault> {
    let done = sqlx::query("DELETE FROM session WHERE key = $1").bind(key.bytes().as_slice()).execute(executor).await?;
    Ok(done.rows_affected() > 0)
}

fn stored(row: &SqliteRow) -> Result<Stored, Fault> {
    let version: i64 = row.try_get("version")?;
    Ok(Stored {
        sealed: row.try_get("sealed")?,
        version: u64::try_from(version).map_err(|_| Fault::Corrupt("a negative version of a session".into()))?,
        last_seen: Timestamp::from_millis(row.try_get("last_seen")?),
        expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
    })
}

fn key_of(row: &SqliteRow) -> Result<SessionKey, Fault> {
    let bytes: &[u8] = row.try_get("key")?;
    let bytes = bytes.try_into().map_err(|_| Fault::Corrupt("a session key that is not 32 bytes".into()))?;
    Ok(SessionKey::from_bytes(bytes))
}

fn account_of(row: &SqliteRow) -> Result<AccountId, Fault> {
    let text: &str = row.try_get("account")?;
    AccountId::parse(text).ok_or_else(|| Fault::Corrupt("a session of an account that is none".into()))
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) => Self::Unavailable(why),
            Fault::Corrupt(why) => Self::Corrupt(why),
        }
    }
}
