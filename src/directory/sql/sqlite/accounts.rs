//! The accounts' tables in the SQLite file.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{
    Row as _, Sqlite, Transaction,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{Fault, OpenError, SqliteFile, Step};
use crate::directory::{
    DirectoryError,
    sql::engine::{Engine, Failure, Row, Rows, Value, Work},
};

/// The schema, step by step. Append; never edit a step that was released.
pub(super) const SCHEMA: &[Step] = &[
    "
    CREATE TABLE account (
        id           TEXT    PRIMARY KEY,
        created_at   INTEGER NOT NULL,
        signed_in_at INTEGER NOT NULL,
        disabled     INTEGER NOT NULL DEFAULT 0,
        profile      TEXT    NOT NULL
    ) STRICT;
    CREATE TABLE identity (
        issuer    TEXT    NOT NULL,
        subject   TEXT    NOT NULL,
        account   TEXT    NOT NULL REFERENCES account (id),
        origin    TEXT    NOT NULL,
        profile   TEXT    NOT NULL,
        linked_at INTEGER NOT NULL,
        used_at   INTEGER NOT NULL,
        PRIMARY KEY (issuer, subject)
    ) STRICT;
    CREATE INDEX identity_account ON identity (account, linked_at);
",
    // The address in lower case, to search by (SQLite's lower() is of ASCII alone, as is ours). Accounts from before
    // count as announced: their making was told when it happened.
    "
    ALTER TABLE account ADD COLUMN email TEXT;
    UPDATE account SET email = lower(json_extract(profile, '$.email'));
    CREATE INDEX account_email ON account (email, id) WHERE email IS NOT NULL;
    ALTER TABLE account ADD COLUMN announced INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX account_unannounced ON account (created_at) WHERE NOT announced;
",
];

/// The tables, open.
#[derive(Debug)]
pub(in crate::directory::sql) struct Accounts {
    file: SqliteFile,
}

impl Accounts {
    pub(in crate::directory::sql) async fn open(file: SqliteFile, migrate: bool) -> Result<Self, OpenError> {
        if migrate {
            file.bring_up("account", SCHEMA).await?;
        } else {
            file.require("account", SCHEMA).await?;
        }
        Ok(Self { file })
    }
}

#[async_trait]
impl Engine for Accounts {
    async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure> {
        let rows = bound(sql, values).fetch_all(self.file.readers()).await.map_err(Fault::from)?;
        Ok(boxed(rows))
    }

    async fn begin(&self) -> Result<Box<dyn Work>, Failure> {
        Ok(Box::new(Writing(self.file.write().await?)))
    }

    async fn ping(&self) -> Result<(), Failure> {
        Ok(self.file.ping().await?)
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}

/// A transaction that holds the one write lock there is: nobody else changes anything meanwhile.
struct Writing(Transaction<'static, Sqlite>);

#[async_trait]
impl Work for Writing {
    async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure> {
        let rows = bound(sql, values).fetch_all(&mut *self.0).await.map_err(Fault::from)?;
        Ok(boxed(rows))
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Failure> {
        Ok(bound(sql, values).execute(&mut *self.0).await.map_err(Fault::from)?.rows_affected())
    }

    async fn lock_account(&mut self, id: &str) -> Result<bool, Failure> {
        Ok(!self.rows("SELECT id FROM account WHERE id = $1", &[Value::Text(id)]).await?.is_empty())
    }

    async fn commit(self: Box<Self>) -> Result<(), Failure> {
        Ok(self.0.commit().await.map_err(Fault::from)?)
    }
}

impl Row for SqliteRow {
    fn text(&self, column: &'static str) -> Result<&str, Failure> {
        Ok(self.try_get(column).map_err(Fault::from)?)
    }

    fn number(&self, column: &'static str) -> Result<i64, Failure> {
        Ok(self.try_get(column).map_err(Fault::from)?)
    }

    fn flag(&self, column: &'static str) -> Result<bool, Failure> {
        Ok(self.number(column)? != 0)
    }
}

fn boxed(rows: Vec<SqliteRow>) -> Rows {
    rows.into_iter().map(|row| Box::new(row) as Box<dyn Row>).collect()
}

fn bound(sql: &'static str, values: &[Value<'_>]) -> Query<'static, Sqlite, SqliteArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Text(text) => query.bind(text.to_owned()),
        Value::Maybe(text) => query.bind(text.map(str::to_owned)),
        Value::Number(number) => query.bind(number),
        Value::Flag(flag) => query.bind(i64::from(flag)),
    })
}

impl From<Fault> for DirectoryError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) => Self::Unavailable(why),
            Fault::Corrupt(why) => Self::Corrupt(why),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Directory(fault.into())
    }
}
