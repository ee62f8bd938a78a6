//! The keyspace and the tables: made and upgraded here, one process at a time.
//!
//! The row of `schema_step` says how far the tables are, and who is at it. Its holder is set by a conditional write that
//! fades, so a process that dies while upgrading is succeeded after [`LEASE`]. Every statement of a step does nothing
//! when it was run before, so a step that was cut short is simply run again.

use std::time::Duration;

use scylla::{
    client::session::Session,
    errors::ExecutionError,
    response::query_result::QueryResult,
    serialize::row::SerializeRow,
    statement::{Consistency, Statement},
    value::{CqlValue, Row},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    connect::Settings,
    refusal::{OpenError, not_made},
    rows::{first, fresh},
};

/// The schema, step by step. Append; never edit a step that was released. `{}` stands for the keyspace.
const STEPS: &[&[&str]] = &[&[
    "CREATE TABLE IF NOT EXISTS {}.account (
        id uuid PRIMARY KEY, version uuid, gone boolean, announced boolean, created_at bigint, signed_in_at bigint,
        disabled boolean, profile text, identities text, email_entry uuid)",
    "CREATE TABLE IF NOT EXISTS {}.identity (
        issuer text, subject text, account uuid, stamp uuid, founded_at bigint, PRIMARY KEY ((issuer, subject)))",
    "CREATE TABLE IF NOT EXISTS {}.account_by_email (
        email blob, account uuid, entry uuid, PRIMARY KEY (email, account, entry))",
    // What was told of goes soon, and a row that comes back does no harm: tombstones need not stay for ten days.
    "CREATE TABLE IF NOT EXISTS {}.unannounced (
        hour bigint, made_at bigint, account uuid, PRIMARY KEY (hour, made_at, account)) WITH gc_grace_seconds = 3600",
    "CREATE TABLE IF NOT EXISTS {}.unannounced_hour (part int, hour bigint, PRIMARY KEY (part, hour))",
]];

const SCHEMA_STEP: &str = "CREATE TABLE IF NOT EXISTS {}.schema_step (owner text PRIMARY KEY, step int, holder uuid)";

/// How long a process that upgrades holds the others off without a sign of life, in seconds.
const LEASE: u32 = 60;
/// How long we wait for another that upgrades.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long one statement that changes the schema may take.
const SLOWEST: Duration = Duration::from_secs(60);
/// How long we wait before looking again.
const PAUSE: Duration = Duration::from_millis(200);

/// The newest schema we know.
pub(super) fn known() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

/// Makes sure the tables are of the schema we know, upgrading them if `migrate` allows it.
pub(super) async fn bring_up(session: &Session, settings: &Settings, migrate: bool) -> Result<(), OpenError> {
    let schema = Schema { session, settings, keyspace: &settings.config.keyspace };
    let there = schema.is_there().await?;
    let found = if there.table { schema.step().await?.unwrap_or(0) } else { 0 };
    schema.not_newer(found)?;
    if found < known() {
        if !migrate {
            return Err(schema.old(there, found));
        }
        schema.make(there).await?;
        schema.upgrade().await?;
    }
    schema.may_write().await
}

/// How far the tables are, or why they could not be used, with nothing made: `migrate` says whether a start would.
pub(super) async fn look(session: &Session, settings: &Settings, migrate: bool) -> Result<i32, OpenError> {
    let schema = Schema { session, settings, keyspace: &settings.config.keyspace };
    let there = schema.is_there().await?;
    let found = if there.table { schema.step().await?.unwrap_or(0) } else { 0 };
    schema.not_newer(found)?;
    let would_make = migrate && (there.keyspace || settings.config.replication.is_some());
    if found < known() && !would_make {
        return Err(schema.old(there, found));
    }
    if there.table {
        schema.may_write().await?;
    }
    Ok(found)
}

/// What is there already.
#[derive(Clone, Copy)]
struct There {
    keyspace: bool,
    table: bool,
}

struct Schema<'a> {
    session: &'a Session,
    settings: &'a Settings,
    keyspace: &'a str,
}

impl Schema<'_> {
    async fn is_there(&self) -> Result<There, OpenError> {
        let asked = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
        let keyspace = self.ask(asked, (self.keyspace,), "tell its keyspaces").await?;
        let asked =
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_step'";
        let table = self.ask(asked, (self.keyspace,), "tell its tables").await?;
        let some = |answer: QueryResult| answer.into_rows_result().is_ok_and(|rows| rows.rows_num() > 0);
        Ok(There { keyspace: some(keyspace), table: some(table) })
    }

    /// How far the tables are, all conditional writes told.
    async fn step(&self) -> Result<Option<i32>, OpenError> {
        let doing = "tell the schema of our tables";
        let mut statement = self.statement("SELECT step FROM {}.schema_step WHERE owner = 'account'");
        statement.set_consistency(self.settings.settled_consistency());
        let answer = self.session.query_unpaged(statement, ()).await.map_err(|error| self.not_read(&error))?;
        let row =
            first::<(Option<i32>,)>(answer).map_err(|error| OpenError::Failed { doing, why: error.to_string() })?;
        Ok(row.and_then(|(step,)| step))
    }

    fn not_newer(&self, found: i32) -> Result<(), OpenError> {
        if found <= known() {
            return Ok(());
        }
        Err(OpenError::Newer { keyspace: self.keyspace.to_owned(), found, known: known() })
    }

    fn old(&self, there: There, found: i32) -> OpenError {
        let keyspace = self.keyspace.to_owned();
        if there.keyspace {
            OpenError::Old { keyspace, found, known: known() }
        } else {
            OpenError::NoKeyspace { keyspace }
        }
    }

    /// Makes the keyspace, if settings say how, and the table that all else is guarded by.
    async fn make(&self, there: There) -> Result<(), OpenError> {
        if !there.keyspace {
            let Some(replication) = &self.settings.config.replication else { return Err(self.old(there, 0)) };
            let statement = format!("CREATE KEYSPACE IF NOT EXISTS {{}} WITH replication = {replication}");
            self.define(&statement, "create the keyspace").await?;
        }
        if !there.table {
            self.define(SCHEMA_STEP, "create tables").await?;
        }
        Ok(())
    }

    /// Takes the missing steps, or waits until another process has.
    async fn upgrade(&self) -> Result<(), OpenError> {
        let holder = fresh();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.step().await?.unwrap_or(0);
            self.not_newer(found)?;
            if found == known() {
                return Ok(());
            }
            if self.hold(holder, None).await? {
                // Another may have taken steps between the look and the lease.
                let found = self.step().await?.unwrap_or(0);
                let taken = self.take_steps(found, holder).await;
                self.let_go(holder).await?;
                return taken.and_then(|()| self.not_newer(found));
            }
            if Instant::now() >= deadline {
                return Err(OpenError::Upgrading(self.keyspace.to_owned()));
            }
            sleep(PAUSE).await;
        }
    }

    async fn take_steps(&self, found: i32, holder: Uuid) -> Result<(), OpenError> {
        for (step, statements) in (1_i32..).zip(STEPS).skip(usize::try_from(found).unwrap_or(0)) {
            for statement in *statements {
                if !self.hold(holder, Some(holder)).await? {
                    return Err(OpenError::Upgrading(self.keyspace.to_owned()));
                }
                self.define(statement, "create tables").await?;
            }
            let set = "UPDATE {}.schema_step SET step = ? WHERE owner = 'account' IF holder = ?";
            self.conditional(set, (step, holder)).await?;
        }
        Ok(())
    }

    /// Takes the lease where `before` holds it, for [`LEASE`] from now.
    async fn hold(&self, holder: Uuid, before: Option<Uuid>) -> Result<bool, OpenError> {
        let take =
            format!("UPDATE {{}}.schema_step USING TTL {LEASE} SET holder = ? WHERE owner = 'account' IF holder = ?");
        self.conditional(&take, (holder, before)).await
    }

    async fn let_go(&self, holder: Uuid) -> Result<(), OpenError> {
        let release = "UPDATE {}.schema_step SET holder = null WHERE owner = 'account' IF holder = ?";
        self.conditional(release, (holder,)).await.map(drop)
    }

    /// Changes nothing, but needs the rights that all our writes need.
    async fn may_write(&self) -> Result<(), OpenError> {
        let nothing = "UPDATE {}.schema_step SET step = 0 WHERE owner = 'account' IF step = -1";
        self.conditional(nothing, ()).await.map(drop)
    }

    /// Runs a conditional write and gives whether it was done.
    async fn conditional(&self, cql: &str, values: impl SerializeRow) -> Result<bool, OpenError> {
        let answer =
            self.session.query_unpaged(self.statement(cql), values).await.map_err(|error| self.not_read(&error))?;
        let row: Option<Row> = answer.into_rows_result().ok().and_then(|rows| rows.maybe_first_row().ok()).flatten();
        let applied = row.and_then(|row| row.columns.into_iter().next().flatten());
        Ok(applied == Some(CqlValue::Boolean(true)))
    }

    /// Runs a statement that changes the schema, and waits until all nodes agree.
    async fn define(&self, cql: &str, doing: &'static str) -> Result<(), OpenError> {
        let mut statement = self.statement(cql);
        statement.set_request_timeout(Some(SLOWEST));
        let defined = self.session.query_unpaged(statement, ()).await;
        let remedy = || {
            let role = self.settings.role();
            match doing {
                "create the keyspace" => format!(
                    "create it yourself (CREATE KEYSPACE {0} WITH replication = …, then GRANT ALL PERMISSIONS ON KEYSPACE {0} TO {role}), or GRANT CREATE ON ALL KEYSPACES TO {role}",
                    self.keyspace
                ),
                _ => format!(
                    "GRANT CREATE and GRANT ALTER ON KEYSPACE {} TO {role}, or run `brama directory migrate` as a role that has them and set directory.migrate = false",
                    self.keyspace
                ),
            }
        };
        defined.map(drop).map_err(|error| not_made(&error, self.settings.role(), doing, remedy))
    }

    async fn ask(&self, cql: &str, values: impl SerializeRow, doing: &'static str) -> Result<QueryResult, OpenError> {
        let mut statement = self.statement(cql);
        // Every node knows the whole schema.
        statement.set_consistency(Consistency::One);
        let answer = self.session.query_unpaged(statement, values).await;
        answer.map_err(|error| not_made(&error, self.settings.role(), doing, String::new))
    }

    fn statement(&self, cql: &str) -> Statement {
        let mut statement = Statement::new(cql.replace("{}", self.keyspace));
        statement.set_is_idempotent(true);
        statement
    }

    fn not_read(&self, error: &ExecutionError) -> OpenError {
        let role = self.settings.role();
        not_made(error, role, "read and write our tables", || {
            format!("GRANT SELECT and GRANT MODIFY ON KEYSPACE {} TO {role}", self.keyspace)
        })
    }
}
