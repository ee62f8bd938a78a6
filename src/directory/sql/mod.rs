//! Accounts in SQL.
//!
//! Two tables: `account`, and `identity` keyed by (issuer, subject), each exactly as the provider spells it. What a
//! provider told (profile, origin) is kept as JSON text: it is read and written whole, and new claims need no new
//! column. The statements are ones SQLite and PostgreSQL both understand; what differs, how a database is opened, its
//! schema and its locking, is a leaf: [`sqlite`]. To add an engine: a leaf beside it that gives a transaction in which
//! concurrent first sign-ins of one identity wait for each other.

pub mod sqlite;

use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use self::sqlite::{Fault, OpenError, SqliteFile, Step};
use super::{Account, Directory, DirectoryError, Identity, SignedIn};
use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Origin, Profile, VerifiedIdentity},
};

/// The schema, step by step. Append; never edit a step that was released.
const SCHEMA: &[Step] = &["
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
"];

/// Accounts in the SQLite file.
#[derive(Debug, Clone)]
pub struct SqlDirectory {
    file: SqliteFile,
}

impl SqlDirectory {
    /// Makes or updates the tables in `file`.
    ///
    /// # Errors
    /// [`OpenError`] when the file is of a newer schema or cannot be written.
    pub async fn open(file: SqliteFile) -> Result<Self, OpenError> {
        file.bring_up("account", SCHEMA).await?;
        Ok(Self { file })
    }
}

#[async_trait]
impl Directory for SqlDirectory {
    async fn sign_in(&self, identity: &VerifiedIdentity, now: Timestamp) -> Result<SignedIn, DirectoryError> {
        // The write lock is taken first, so of many first sign-ins of one person all but one find the account made.
        let mut writing = self.file.write().await?;
        let (id, created) = match account_of(&mut writing, &identity.origin().key).await? {
            Some(id) => (id, false),
            None => (create(&mut writing, identity, now).await?, true),
        };
        let mut account = read(&mut writing, &id).await?.ok_or_else(|| orphan(&id))?;
        if !created && !account.disabled {
            update(&mut writing, &id, identity, now).await?;
            account = read(&mut writing, &id).await?.ok_or_else(|| orphan(&id))?;
        }
        writing.commit().await.map_err(Fault::from)?;
        Ok(SignedIn { account, created })
    }

    async fn find(&self, id: &AccountId) -> Result<Option<Account>, DirectoryError> {
        // One snapshot for account and identities, so that they fit together.
        let mut reading = self.file.readers().begin().await.map_err(Fault::from)?;
        read(&mut reading, &id.to_string()).await
    }

    async fn find_by_identity(&self, key: &IdentityKey) -> Result<Option<Account>, DirectoryError> {
        let mut reading = self.file.readers().begin().await.map_err(Fault::from)?;
        match account_of(&mut reading, key).await? {
            Some(id) => read(&mut reading, &id).await,
            None => Ok(None),
        }
    }

    async fn set_disabled(&self, id: &AccountId, disabled: bool) -> Result<bool, DirectoryError> {
        let done = sqlx::query("UPDATE account SET disabled = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(i64::from(disabled))
            .execute(self.file.writer())
            .await
            .map_err(Fault::from)?;
        Ok(done.rows_affected() > 0)
    }

    async fn count(&self) -> Result<u64, DirectoryError> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM account")
            .fetch_one(self.file.readers())
            .await
            .map_err(Fault::from)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        Ok(self.file.ping().await?)
    }
}

async fn account_of(connection: &mut SqliteConnection, key: &IdentityKey) -> Result<Option<String>, Fault> {
    let found = sqlx::query_scalar("SELECT account FROM identity WHERE issuer = $1 AND subject = $2")
        .bind(key.issuer.as_str())
        .bind(key.subject.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(found)
}

async fn create(
    connection: &mut SqliteConnection,
    identity: &VerifiedIdentity,
    now: Timestamp,
) -> Result<String, Fault> {
    let id = AccountId::fresh(now).to_string();
    let profile = written(identity.profile())?;
    sqlx::query("INSERT INTO account (id, created_at, signed_in_at, profile) VALUES ($1, $2, $2, $3)")
        .bind(&id)
        .bind(now.as_millis())
        .bind(&profile)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO identity (issuer, subject, account, origin, profile, linked_at, used_at)
         VALUES ($1, $2, $3, $4, $5, $6, $6)",
    )
    .bind(identity.origin().key.issuer.as_str())
    .bind(identity.origin().key.subject.as_str())
    .bind(&id)
    .bind(written(identity.origin())?)
    .bind(&profile)
    .bind(now.as_millis())
    .execute(connection)
    .await?;
    Ok(id)
}

async fn update(
    connection: &mut SqliteConnection,
    id: &str,
    identity: &VerifiedIdentity,
    now: Timestamp,
) -> Result<(), Fault> {
    let profile = written(identity.profile())?;
    sqlx::query("UPDATE account SET signed_in_at = $2, profile = $3 WHERE id = $1")
        .bind(id)
        .bind(now.as_millis())
        .bind(&profile)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE identity SET origin = $3, profile = $4, used_at = $5 WHERE issuer = $1 AND subject = $2")
        .bind(identity.origin().key.issuer.as_str())
        .bind(identity.origin().key.subject.as_str())
        .bind(written(identity.origin())?)
        .bind(&profile)
        .bind(now.as_millis())
        .execute(connection)
        .await?;
    Ok(())
}

async fn read(connection: &mut SqliteConnection, id: &str) -> Result<Option<Account>, DirectoryError> {
    let account = sqlx::query("SELECT id, created_at, signed_in_at, disabled, profile FROM account WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await
        .map_err(Fault::from)?;
    let Some(account) = account else { return Ok(None) };
    let identities = sqlx::query(
        "SELECT origin, profile, linked_at, used_at FROM identity WHERE account = $1
         ORDER BY linked_at, issuer, subject",
    )
    .bind(id)
    .fetch_all(connection)
    .await
    .map_err(Fault::from)?;
    Ok(Some(account_from(&account, &identities)?))
}

fn account_from(account: &SqliteRow, identities: &[SqliteRow]) -> Result<Account, Fault> {
    let id: String = account.try_get("id")?;
    Ok(Account {
        id: AccountId::parse(&id).ok_or_else(|| Fault::Corrupt("an account id that is no UUID".into()))?,
        created_at: time(account, "created_at")?,
        signed_in_at: time(account, "signed_in_at")?,
        disabled: account.try_get::<i64, _>("disabled")? != 0,
        profile: document::<Profile>(account, "profile")?,
        identities: identities.iter().map(identity_from).collect::<Result<_, _>>()?,
    })
}

fn identity_from(row: &SqliteRow) -> Result<Identity, Fault> {
    Ok(Identity {
        origin: document::<Origin>(row, "origin")?,
        profile: document::<Profile>(row, "profile")?,
        linked_at: time(row, "linked_at")?,
        used_at: time(row, "used_at")?,
    })
}

fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, Fault> {
    Ok(Timestamp::from_millis(row.try_get(column)?))
}

fn document<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, Fault> {
    let text: &str = row.try_get(column)?;
    // serde's own message could quote a person's data: the column says enough.
    serde_json::from_str(text).map_err(|_| Fault::Corrupt(format!("the column {column} does not hold what we write")))
}

fn written(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::Corrupt(error.to_string()))
}

fn orphan(id: &str) -> Fault {
    Fault::Corrupt(format!("an identity is tied to the account {id}, which is not there"))
}

impl From<Fault> for DirectoryError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(why) => Self::Unavailable(why),
            Fault::Corrupt(why) => Self::Corrupt(why),
        }
    }
}
