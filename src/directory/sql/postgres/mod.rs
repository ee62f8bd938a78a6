//! Accounts in PostgreSQL.
//!
//! Opening touches no network: the gateway starts whether or not the database does. The first call connects, looks at
//! the schema and brings it up; until that has succeeded every call tells why it has not ([`connect`], [`schema`]).
//! After that a pool of connections serves; one that broke is replaced, so an outage ends by itself.
//!
//! Nothing rests on locks that outlive a transaction: a key in the table holds that an identity is tied once, a row
//! lock that changes of one account follow each other, and who loses a race begins anew.

mod connect;
mod examine;
mod held;
mod schema;
#[cfg(test)]
pub(crate) mod server;
#[cfg(test)]
pub(crate) mod tests;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Row as _,
    postgres::{PgConnectOptions, PgPool, PgRow},
};
use tokio::sync::OnceCell;

pub use self::connect::OpenError;
pub(in crate::directory) use self::examine::examine;
use self::{
    connect::{Place, pool},
    held::Held,
};
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

    /// A connection, once the schema is ours.
    async fn connection(&self) -> Result<Held, OpenError> {
        self.ready.get_or_try_init(|| self.bring_up()).await?;
        Held::take(&self.pool, self.place.timeout).await.map_err(|error| self.place.refusal(error))
    }

    /// On a task of its own: who asked may not wait long enough for an upgrade, which goes on all the same.
    async fn bring_up(&self) -> Result<(), OpenError> {
        let (options, place, migrate) = (self.options.clone(), Arc::clone(&self.place), self.migrate);
        let task = tokio::spawn(async move { schema::bring_up(&options, &place, migrate).await });
        task.await.unwrap_or_else(|error| Err(OpenError::Failed { why: error.to_string() }))
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
        let rows = self.connection().await?.rows(sql, values).await;
        Ok(boxed(rows.map_err(|error| self.place.failure(error))?))
    }

    async fn begin(&self) -> Result<Box<dyn Work>, Failure> {
        let mut connection = self.connection().await?;
        connection.begin().await.map_err(|error| self.place.failure(error))?;
        Ok(Box::new(Writing { connection, place: Arc::clone(&self.place) }))
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

/// A transaction, rolled back when it is dropped before it was committed.
struct Writing {
    connection: Held,
    place: Arc<Place>,
}

#[async_trait]
impl Work for Writing {
    async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Rows, Failure> {
        let rows = self.connection.rows(sql, values).await;
        Ok(boxed(rows.map_err(|error| self.place.failure(error))?))
    }

    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Failure> {
        self.connection.execute(sql, values).await.map_err(|error| self.place.failure(error))
    }

    async fn lock_account(&mut self, id: &str) -> Result<bool, Failure> {
        Ok(!self.rows("SELECT id FROM account WHERE id = $1 FOR UPDATE", &[Value::Text(id)]).await?.is_empty())
    }

    async fn commit(self: Box<Self>) -> Result<(), Failure> {
        let Self { connection, place } = *self;
        connection.commit().await.map_err(|error| place.failure(error))
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
