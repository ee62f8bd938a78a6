//! The accounts' tables in PostgreSQL, made and upgraded by whichever process comes first.
//!
//! They are in the first schema of the role's search path. `brama_schema` tells how far they are.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction, postgres::PgConnectOptions};

use super::connect::{OpenError, Place, connect};

/// The schema, step by step. Append; never edit a step that was released.
///
/// `COLLATE "C"`: compared byte by byte, so that an index stays right when the host's idea of an alphabet changes, and
/// lists have one order everywhere. Documents are TEXT, not JSONB, which refuses \u0000 and keeps no exact spelling. The
/// room left in each page (fillfactor) lets a sign-in update its rows in place, without touching an index.
pub(super) const SCHEMA: &[&str] = &[r#"
    CREATE TABLE account (
        id           TEXT    COLLATE "C" PRIMARY KEY,
        created_at   BIGINT  NOT NULL,
        signed_in_at BIGINT  NOT NULL,
        disabled     BOOLEAN NOT NULL,
        profile      TEXT    NOT NULL,
        email        TEXT    COLLATE "C",
        announced    BOOLEAN NOT NULL
    ) WITH (fillfactor = 80);
    CREATE INDEX account_email       ON account (email, id) WHERE email IS NOT NULL;
    CREATE INDEX account_unannounced ON account (created_at) WHERE NOT announced;
    CREATE TABLE identity (
        issuer    TEXT   COLLATE "C" NOT NULL,
        subject   TEXT   COLLATE "C" NOT NULL,
        account   TEXT   COLLATE "C" NOT NULL REFERENCES account (id),
        origin    TEXT   NOT NULL,
        profile   TEXT   NOT NULL,
        linked_at BIGINT NOT NULL,
        used_at   BIGINT NOT NULL,
        PRIMARY KEY (issuer, subject)
    ) WITH (fillfactor = 80);
    CREATE INDEX identity_account ON identity (account);
"#];

/// Who holds this lock is at the schema: "brama" in ASCII, so as to be nobody else's number.
const LOCK: i64 = 0x62_72_61_6d_61;

/// Finds the schema to be ours, or makes it so when `migrate` is true.
pub(super) async fn bring_up(options: &PgConnectOptions, place: &Place, migrate: bool) -> Result<(), OpenError> {
    let mut connection = connect(options, place).await?;
    let outcome = brought_up(&mut connection, place, migrate).await;
    // What was asked is known; how the farewell goes does not matter, and nobody waits for it long.
    let _ = tokio::time::timeout(place.timeout, connection.close()).await;
    outcome
}

async fn brought_up(connection: &mut PgConnection, place: &Place, migrate: bool) -> Result<(), OpenError> {
    let looking = tokio::time::timeout(place.timeout, look(connection, place)).await;
    let found = looking.unwrap_or_else(|_| Err(place.silent()))?;
    if is_ours(found, place)? {
        return Ok(());
    }
    if !migrate {
        return Err(OpenError::Older { database: place.database.clone(), found, known: known() });
    }
    let found = climb(connection).await.map_err(|error| place.refusal(error))?;
    is_ours(found, place).map(drop)
}

/// How far the tables are; 0 when there are none. Nothing is changed.
async fn look(connection: &mut PgConnection, place: &Place) -> Result<i64, OpenError> {
    if loses_commits(connection).await.map_err(|error| place.refusal(error))? {
        tracing::warn!(
            database = place.database,
            "synchronous_commit is off: a crash of PostgreSQL can lose accounts; set it to on for this role"
        );
    }
    found(connection, place).await
}

/// How far the tables are, and nothing else.
pub(super) async fn found(connection: &mut PgConnection, place: &Place) -> Result<i64, OpenError> {
    let there: bool = sqlx::query_scalar("SELECT to_regclass('brama_schema') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| place.refusal(error))?;
    if there { step(connection).await.map_err(|error| place.refusal(error)) } else { Ok(0) }
}

/// True when the schema is the one we know, false when it is older.
pub(super) fn is_ours(found: i64, place: &Place) -> Result<bool, OpenError> {
    if found > known() {
        return Err(OpenError::Newer { database: place.database.clone(), found, known: known() });
    }
    Ok(found == known())
}

pub(super) fn known() -> i64 {
    i64::try_from(SCHEMA.len()).unwrap_or(i64::MAX)
}

/// What `brama_schema` says.
async fn step(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let step = sqlx::query_scalar("SELECT step FROM brama_schema WHERE owner = 'account'");
    Ok(step.fetch_optional(connection).await?.unwrap_or(0))
}

/// Takes the missing steps, all or none; gives how far the tables are then.
async fn climb(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let mut writing = connection.begin().await?;
    // An upgrade may take longer than a sign-in may.
    sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut *writing).await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *writing).await?;
    // Somebody else may have been faster. The table is asked, never the catalogue: what a transaction has once looked up
    // there, such as that there is no table, it may be told again after others have made one.
    sqlx::query("CREATE TABLE IF NOT EXISTS brama_schema (owner TEXT PRIMARY KEY, step BIGINT NOT NULL)")
        .execute(&mut *writing)
        .await?;
    let found = step(&mut writing).await?;
    if found >= known() {
        return Ok(found);
    }
    take_steps(&mut writing, found).await?;
    writing.commit().await?;
    Ok(known())
}

async fn take_steps(writing: &mut Transaction<'_, Postgres>, found: i64) -> Result<(), sqlx::Error> {
    for step in SCHEMA.iter().skip(usize::try_from(found).unwrap_or(0)) {
        sqlx::raw_sql(*step).execute(&mut **writing).await?;
    }
    sqlx::query(
        "INSERT INTO brama_schema VALUES ('account', $1) ON CONFLICT (owner) DO UPDATE SET step = excluded.step",
    )
    .bind(known())
    .execute(&mut **writing)
    .await?;
    Ok(())
}

/// A sign-in is acknowledged once it is committed. Where that does not mean "on the disk", somebody should know.
pub(super) async fn loses_commits(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let waits: String =
        sqlx::query_scalar("SELECT current_setting('synchronous_commit')").fetch_one(connection).await?;
    Ok(waits == "off")
}
