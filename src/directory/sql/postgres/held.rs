//! A connection out of the pool, which goes back only when it is sound.
//!
//! The pool tests a connection that comes back, and throws a bad one away. Over TLS it then waits for the server to say
//! something (sqlx 0.9 flushes before it closes, and its flush reads), and until then the connection counts: a statement
//! that was given up, or a network that swallowed it, would cost a place in the pool for as long as TCP hopes for the
//! best, a quarter of an hour. Closed on drop it has five seconds for its farewell, so that is what we do with a
//! connection that was left in the middle of something.

use std::time::Duration;

use sqlx::{
    Postgres,
    pool::PoolConnection,
    postgres::{PgArguments, PgPool, PgRow},
    query::Query,
};

use super::super::engine::Value;

pub(super) struct Held {
    /// There until it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    patience: Duration,
    /// While a statement is under way, and for good when one broke the connection.
    busy: bool,
    /// From BEGIN to COMMIT.
    open: bool,
}

impl Held {
    /// Takes one from the pool.
    pub(super) async fn take(pool: &PgPool, patience: Duration) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: Some(pool.acquire().await?), patience, busy: false, open: false })
    }

    /// Begins a transaction. Said in full, for a database may have another default: each statement is to see what others
    /// have committed.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.open = true;
        self.execute("BEGIN ISOLATION LEVEL READ COMMITTED", &[]).await.map(drop)
    }

    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.execute("COMMIT", &[]).await?;
        self.open = false;
        Ok(())
    }

    pub(super) async fn rows(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<PgRow>, sqlx::Error> {
        let connection = self.begin_statement()?;
        let answer = bound(sql, values).fetch_all(&mut **connection).await;
        self.busy = broke(&answer);
        answer
    }

    pub(super) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
        let connection = self.begin_statement()?;
        let answer = bound(sql, values).execute(&mut **connection).await;
        self.busy = broke(&answer);
        Ok(answer?.rows_affected())
    }

    fn begin_statement(&mut self) -> Result<&mut PoolConnection<Postgres>, sqlx::Error> {
        self.busy = true;
        self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.busy {
            connection.close_on_drop();
        } else if self.open {
            roll_back(connection, self.patience);
        }
    }
}

/// Undoes what was not committed, then gives the connection back; one that cannot even do that is closed.
fn roll_back(mut connection: PoolConnection<Postgres>, patience: Duration) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return connection.close_on_drop() };
    runtime.spawn(async move {
        let undone = tokio::time::timeout(patience, sqlx::raw_sql("ROLLBACK").execute(&mut *connection)).await;
        if !matches!(undone, Ok(Ok(_))) {
            connection.close_on_drop();
        }
    });
}

/// True when the connection is of no more use. After an error that PostgreSQL told, it is.
fn broke<T>(answer: &Result<T, sqlx::Error>) -> bool {
    answer.as_ref().is_err_and(|error| error.as_database_error().is_none())
}

fn bound(sql: &'static str, values: &[Value<'_>]) -> Query<'static, Postgres, PgArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Text(text) => query.bind(text.to_owned()),
        Value::Maybe(text) => query.bind(text.map(str::to_owned)),
        Value::Number(number) => query.bind(number),
        Value::Flag(flag) => query.bind(flag),
    })
}
