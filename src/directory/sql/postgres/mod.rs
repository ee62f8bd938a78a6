//! Accounts in PostgreSQL.
//!
//! Opening touches no network: the gateway starts whether or not the database does. The first call connects, looks at
//! the schema and brings it up; until that has succeeded every call tells why it has not ([`connect`], [`schema`]).
//! After that a pool of connections serves; one that broke is replaced, so an outage ends by itself.
//!
//! Nothing rests on locks that outlive a transaction: a key in the table holds that an identity is tied once, a row
//! lock that changes of one account follow each other, and who loses a race begins anew.

mod connect;
mod schema;
#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Postgres, Row as _, Transaction,
    postgres::{PgArguments, PgConnectOptions, PgPool, PgRow},
    query::Query,
};
use tokio::sync::OnceCell;

pub use self::connect::OpenError;
use self::connect::{Place, pool};
use super::engine::{Engine, Failure, Row, Rows, Value, Work};
use crate::{config::directory::Postgres as Config, directory::DirectoryError};

/// The tables, behind a pool of connections.
pub(super) struct Accounts {
    place: Arc<Place>,
    options: PgConnectOptions,
    pool: PgPool,
    migrate: bool,
    /// Set once the schema was found to be ours, or was made so.
    ready: OnceCell<()>,
}

impl Accounts {
    /// Reads the files `config` names. Must be called on the runtime of the control plane.
    ///
    /// # Errors
    /// [`OpenError`] when a setting cannot be used. Whether PostgreSQL answers is not asked here.
    pub(super) fn open(config: &Config, migrate: bool) -> Result<Self, OpenError> {
        let (options, place) = connect::options(config)?;
        let pool = pool(&options, config);
        Ok(Self { place: Arc::new(place), options, pool, migrate, ready: OnceCell::new() })
    }

    /// The pool, once the schema is ours.
    async fn pool(&self) -> Result<&PgPool, OpenError> {
        self.ready.get_or_try_init(|| self.bring_up()).await?;
        Ok(&self.pool)
    }

    /// On a task of its own: who asked may not wait long enough for an upgrade, which goes on all the same.
    async fn bring_up(&self) -> Result<(), OpenError> {
        let (options, place, migrate) = (self.options.clone(), Arc::clone(&self.place), self.migrate);
        let task = tokio::spawn(async move { schema::bring_up(&options, &place, migrate).await });
        task.await.unwrap_or_else(|error| Err(OpenError::Failed { why: error.to_string() }))
    }

    fn failure(&self, error: sqlx::Error) -> Failure {
        self.place.failure(error)
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they hold the password.
        write!(f, "Accounts({}/{})", self.place.address, self.place.database)
    }
}

#[async_trait]
impl Engine for Accounts {
    async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure> {
        let rows = bound(sql, values).fetch_all(self.pool().await?).await;
        Ok(boxed(rows.map_err(|error| self.failure(error))?))
    }

    async fn begin(&self) -> Result<Box<dyn Work>, Failure> {
        // Said in full, for a database may have another default: each statement is to see what others have committed.
        let transaction = self.pool().await?.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await;
        let transaction = transaction.map_err(|error| self.failure(error))?;
        Ok(Box::new(Writing { transaction, place: Arc::clone(&self.place) }))
    }

    async fn ping(&self) -> Result<(), Failure> {
        // A standby answers, too; but nobody could sign in.
        let rows = self.rows("SELECT current_setting('transaction_read_only') <> 'off' AS readonly", &[]).await?;
        match rows.first().map(|row| row.flag("readonly")).transpose()? {
            Some(true) => Err(self.place.read_only().into()),
            _ => Ok(()),
        }
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.place.timeout)
    }
}

/// A transaction. Dropped before it was committed, it is rolled back, and its connection tested before it serves again.
struct Writing {
    transaction: Transaction<'static, Postgres>,
    place: Arc<Place>,
}

#[async_trait]
impl Work for Writing {
    async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure> {
        let rows = bound(sql, values).fetch_all(&mut *self.transaction).await;
        Ok(boxed(rows.map_err(|error| self.place.failure(error))?))
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Failure> {
        let done = bound(sql, values).execute(&mut *self.transaction).await;
        Ok(done.map_err(|error| self.place.failure(error))?.rows_affected())
    }

    async fn lock_account(&mut self, id: &str) -> Result<bool, Failure> {
        Ok(!self.rows("SELECT id FROM account WHERE id = $1 FOR UPDATE", &[Value::Text(id)]).await?.is_empty())
    }

    async fn commit(self: Box<Self>) -> Result<(), Failure> {
        let Self { transaction, place } = *self;
        transaction.commit().await.map_err(|error| place.failure(error))
    }
}

impl Row for PgRow {
    fn text(&self, column: &'static str) -> Result<&str, Failure> {
        self.try_get(column).map_err(unreadable)
    }

    fn number(&self, column: &'static str) -> Result<i64, Failure> {
        self.try_get(column).map_err(unreadable)
    }

    fn flag(&self, column: &'static str) -> Result<bool, Failure> {
        self.try_get(column).map_err(unreadable)
    }
}

fn unreadable(error: sqlx::Error) -> Failure {
    Failure::Directory(DirectoryError::Corrupt(error.to_string()))
}

fn boxed(rows: Vec<PgRow>) -> Rows {
    rows.into_iter().map(|row| Box::new(row) as Box<dyn Row>).collect()
}

fn bound(sql: &'static str, values: &[Value<'_>]) -> Query<'static, Postgres, PgArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Text(text) => query.bind(text.to_owned()),
        Value::Maybe(text) => query.bind(text.map(str::to_owned)),
        Value::Number(number) => query.bind(number),
        Value::Flag(flag) => query.bind(flag),
    })
}
