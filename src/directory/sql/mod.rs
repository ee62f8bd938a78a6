//! Accounts in SQL.
//!
//! Two tables: `account`, and `identity` keyed by (issuer, subject), each exactly as the provider spells it. What a
//! provider told (profile, origin) is kept as JSON text: it is read and written whole, and new claims need no new
//! column.
//!
//! The statements ([`statement`]) and the changes made of them ([`change`]) are written once, for any database behind
//! the narrow contract of [`engine`]. How a database is opened, its schema and its locking are a leaf: [`sqlite`] and
//! `postgres`. To add one: a leaf beside them.

mod change;
mod engine;
#[cfg(feature = "directory-postgres")]
pub mod postgres;
pub mod sqlite;
mod statement;

use std::sync::Arc;

use async_trait::async_trait;

use self::engine::{Engine, Failure, Value};
use super::{Account, Cursor, Directory, DirectoryError, Linked, Page, Put, Search, SignedIn, Unlinked};
use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, VerifiedIdentity},
};

/// Accounts in an SQL database. Clones share it.
#[derive(Debug, Clone)]
pub struct SqlDirectory {
    engine: Arc<dyn Engine>,
}

/// How often a change is begun that others get in the way of. Each time one of the others got through.
const ATTEMPTS: u32 = 10;

impl SqlDirectory {
    /// Makes or upgrades the tables in `file`, unless `migrate` is false.
    ///
    /// # Errors
    /// [`OpenError`](sqlite::OpenError) when the file is of a newer schema or cannot be written, or of an older one that
    /// may not be upgraded.
    pub async fn embedded(file: sqlite::SqliteFile, migrate: bool) -> Result<Self, sqlite::OpenError> {
        Ok(Self { engine: Arc::new(sqlite::accounts::Accounts::open(file, migrate).await?) })
    }

    /// Accounts in PostgreSQL, which need not answer yet. Must be called on the runtime of the control plane.
    ///
    /// # Errors
    /// [`OpenError`](postgres::OpenError) when a setting cannot be used.
    #[cfg(feature = "directory-postgres")]
    pub fn postgres(config: &crate::config::directory::Postgres, migrate: bool) -> Result<Self, postgres::OpenError> {
        Ok(Self { engine: Arc::new(postgres::Accounts::open(config, migrate)?) })
    }

    /// Makes attempts until one does not collide with what others do.
    async fn done<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, DirectoryError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let all = async {
            let mut why = "";
            for _ in 0..ATTEMPTS {
                match attempt().await {
                    Ok(done) => return Ok(done),
                    Err(Failure::Directory(error)) => return Err(error),
                    Err(Failure::Collided(reason)) => why = reason,
                }
            }
            Err(DirectoryError::Unavailable(format!("{why}, {ATTEMPTS} times over")))
        };
        match self.engine.patience() {
            None => all.await,
            Some(patience) => tokio::time::timeout(patience, all).await.unwrap_or_else(|_| {
                Err(DirectoryError::Unavailable(format!(
                    "it did not answer within {}",
                    humantime::format_duration(patience)
                )))
            }),
        }
    }

    async fn accounts(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Account>, DirectoryError> {
        self.done(|| async move { statement::accounts(&self.engine.rows(sql, values).await?) }).await
    }

    async fn account(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Account>, DirectoryError> {
        Ok(self.accounts(sql, values).await?.into_iter().next())
    }
}

#[async_trait]
impl Directory for SqlDirectory {
    async fn sign_in(&self, identity: &VerifiedIdentity, now: Timestamp) -> Result<SignedIn, DirectoryError> {
        self.done(|| change::sign_in(&*self.engine, identity, now)).await
    }

    async fn find(&self, id: &AccountId) -> Result<Option<Account>, DirectoryError> {
        self.account(statement::BY_ID, &[Value::Text(&id.to_string())]).await
    }

    async fn find_by_identity(&self, key: &IdentityKey) -> Result<Option<Account>, DirectoryError> {
        self.account(statement::BY_IDENTITY, &statement::key_values(key)).await
    }

    async fn link(
        &self,
        id: &AccountId,
        identity: &VerifiedIdentity,
        now: Timestamp,
    ) -> Result<Linked, DirectoryError> {
        self.done(|| change::link(&*self.engine, id, identity, now)).await
    }

    async fn unlink(&self, id: &AccountId, key: &IdentityKey) -> Result<Unlinked, DirectoryError> {
        self.done(|| change::unlink(&*self.engine, id, key)).await
    }

    async fn set_disabled(&self, id: &AccountId, disabled: bool) -> Result<bool, DirectoryError> {
        let id = id.to_string();
        let values = [Value::Text(&id), Value::Flag(disabled)];
        self.done(|| change::run(&*self.engine, "UPDATE account SET disabled = $2 WHERE id = $1", &values)).await
    }

    async fn delete(&self, id: &AccountId) -> Result<bool, DirectoryError> {
        self.done(|| change::delete(&*self.engine, id)).await
    }

    async fn list(&self, which: &Search, after: Option<&Cursor>, limit: u16) -> Result<Page, DirectoryError> {
        // Ids are never empty, so all of them come after the empty one. One more than asked for tells whether that is all.
        let after = Value::Text(after.map_or("", Cursor::as_str));
        let limit = usize::from(limit.max(1));
        let asked = Value::Number(i64::try_from(limit + 1).unwrap_or(i64::MAX));
        let mut accounts = match which {
            Search::Everyone => self.accounts(statement::EVERYONE, &[after, asked]).await?,
            Search::Email(email) => {
                let email = statement::lowered(email);
                self.accounts(statement::BY_EMAIL, &[Value::Text(&email), after, asked]).await?
            }
        };
        let more = accounts.len() > limit;
        accounts.truncate(limit);
        let next = accounts.last().filter(|_| more).map(|last| Cursor::new(last.id.to_string()));
        Ok(Page { accounts, next })
    }

    async fn put(&self, account: &Account) -> Result<Put, DirectoryError> {
        if account.identities.is_empty() {
            return Err(DirectoryError::Corrupt(format!("the account {} has no identity", account.id)));
        }
        self.done(|| change::put(&*self.engine, account)).await
    }

    async fn announced(&self, id: &AccountId) -> Result<(), DirectoryError> {
        let id = id.to_string();
        let values = [Value::Text(&id), Value::Flag(true)];
        self.done(|| change::run(&*self.engine, "UPDATE account SET announced = $2 WHERE id = $1", &values)).await?;
        Ok(())
    }

    async fn unannounced(&self, before: Timestamp, limit: u16) -> Result<Vec<Account>, DirectoryError> {
        let values = [Value::Number(before.as_millis()), Value::Number(i64::from(limit))];
        self.accounts(statement::UNANNOUNCED, &values).await
    }

    async fn count(&self) -> Result<u64, DirectoryError> {
        let count = self.done(|| statement::account_count(&*self.engine)).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        // Not hurried: it may be what upgrades the schema. Who asks for readiness has a deadline of their own.
        match self.engine.ping().await {
            Ok(()) => Ok(()),
            Err(Failure::Directory(error)) => Err(error),
            Err(Failure::Collided(why)) => Err(DirectoryError::Unavailable(why.to_owned())),
        }
    }
}
