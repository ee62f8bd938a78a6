//! Accounts in Cassandra (4.0 or newer) or ScyllaDB.
//!
//! | table | key | holds |
//! |---|---|---|
//! | `account` | id | the whole account in one row: profile and identities as JSON, and a `version` that is another with every write |
//! | `identity` | issuer and subject | the claim: for which account, and a `stamp` that is another with every claim |
//! | `account_by_email` | SHA-256 of the address | the accounts with that address |
//! | `unannounced`, `unannounced_hour` | the hour they were made | accounts whose making has not been told |
//! | `schema_step` | `account` | how far the tables are, and who is upgrading them |
//!
//! There are no transactions over rows, so each write stands by itself and the order of writes makes a crash between any
//! two harmless: [`change`] says how for claims and accounts, [`index`] for the index rows, [`clear`] how leftovers go.
//! Accounts and claims are written by compare-and-set (lightweight transactions): uniqueness of an identity, the last
//! identity that stays, and no lost update all need it. Index rows are written plainly.
//!
//! An acknowledged write is on as many nodes as `consistency` says, each as durable as its commit log: see
//! `docs/directories-cassandra.md`.
//!
//! `list` of everyone and `count` read the whole table; everything else is answered from one partition or a few.
//!
//! Absent: `ALLOW FILTERING`, secondary indexes, materialized views, batches, time-to-live but for marks and leases.

mod change;
mod clear;
mod connect;
mod dial;
mod examine;
mod index;
mod list;
mod refusal;
mod rows;
mod schema;
#[cfg(test)]
mod server;
mod statement;
#[cfg(test)]
pub(super) mod tests;
mod tls;
mod turn;

use std::{hash::Hash, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::{sleep, timeout};

pub(super) use self::examine::examine;
pub use self::refusal::OpenError;
use self::{
    change::Failure,
    connect::Settings,
    dial::Dial,
    rows::{Held, Look},
    turn::{Turn, Turns},
};
use super::{Account, Cursor, Directory, DirectoryError, Linked, Page, Put, Search, SignedIn, Unlinked};
use crate::{
    clock::Timestamp,
    config::directory::cassandra::Cassandra as Config,
    identity::{AccountId, IdentityKey, VerifiedIdentity},
    secret,
};

/// A call may take several statements, each within the configured time; all of them together, this many times that.
const STATEMENTS: u32 = 3;
/// The longest pause after a collision.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Accounts in Cassandra.
#[derive(Debug)]
pub struct CassandraDirectory {
    dial: Dial,
    turns: Turns,
    patience: Duration,
}

impl CassandraDirectory {
    /// Reads the settings and the files they name. The cluster need not answer yet: until it does, and its tables are of
    /// our schema, calls give [`DirectoryError::Unavailable`]. With `migrate` the keyspace and the tables are made and
    /// upgraded. Must be used on the runtime of the control plane.
    ///
    /// # Errors
    /// [`OpenError`] names the setting.
    pub fn open(config: &Config, migrate: bool) -> Result<Self, OpenError> {
        let settings = Settings::read(config)?;
        let patience = config.timeout.saturating_mul(STATEMENTS);
        Ok(Self { dial: Dial::new(settings, migrate), turns: Turns::default(), patience })
    }

    /// Connects now, if there is no connection yet, and brings the tables up to our schema where that was allowed.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub async fn connect(&self) -> Result<(), Arc<OpenError>> {
        self.dial.attempt().await.map(drop)
    }

    /// Waits for the turn to write `what`.
    async fn turn(&self, what: &impl Hash) -> Result<Turn, DirectoryError> {
        timeout(self.patience, self.turns.wait(what)).await.map_err(|_| late(self.patience))
    }

    /// Makes attempts until one does not collide with what others write.
    async fn done<T, F>(&self, attempt: impl Fn(Look) -> F) -> Result<T, DirectoryError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let all = async {
            let mut look = Look::Usual;
            for number in 0.. {
                match attempt(look).await {
                    Ok(done) => return Ok(done),
                    Err(Failure::Directory(error)) => return Err(error),
                    Err(Failure::Collided) => sleep(pause(number)).await,
                }
                look = Look::Settled;
            }
            Err(late(self.patience))
        };
        timeout(self.patience, all).await.unwrap_or_else(|_| Err(late(self.patience)))
    }
}

#[async_trait]
impl Directory for CassandraDirectory {
    async fn sign_in(&self, identity: &VerifiedIdentity, now: Timestamp) -> Result<SignedIn, DirectoryError> {
        let rows = self.dial.rows().await?;
        let _turn = self.turn(&identity.origin().key).await?;
        self.done(|look| change::sign_in(&rows, identity, now, look)).await
    }

    async fn find(&self, id: &AccountId) -> Result<Option<Account>, DirectoryError> {
        let held = self.dial.rows().await?.account(id, Look::Usual).await?;
        Ok(held.and_then(Held::kept).map(|record| record.account))
    }

    async fn find_by_identity(&self, key: &IdentityKey) -> Result<Option<Account>, DirectoryError> {
        let rows = self.dial.rows().await?;
        let Some(claim) = rows.claim(key, Look::Usual).await? else { return Ok(None) };
        let held = rows.account(&claim.account, Look::Usual).await?;
        // A claim that the account does not know of gives the identity to nobody.
        Ok(held.and_then(Held::kept).filter(|record| record.tie(key).is_some()).map(|record| record.account))
    }

    async fn link(
        &self,
        id: &AccountId,
        identity: &VerifiedIdentity,
        now: Timestamp,
    ) -> Result<Linked, DirectoryError> {
        let rows = self.dial.rows().await?;
        let _turn = self.turn(id).await?;
        self.done(|look| change::link(&rows, id, identity, now, look)).await
    }

    async fn unlink(&self, id: &AccountId, key: &IdentityKey) -> Result<Unlinked, DirectoryError> {
        let rows = self.dial.rows().await?;
        let _turn = self.turn(id).await?;
        self.done(|look| change::unlink(&rows, id, key, look)).await
    }

    async fn set_disabled(&self, id: &AccountId, disabled: bool) -> Result<bool, DirectoryError> {
        let rows = self.dial.rows().await?;
        let _turn = self.turn(id).await?;
        self.done(|look| change::set_disabled(&rows, id, disabled, look)).await
    }

    async fn delete(&self, id: &AccountId) -> Result<bool, DirectoryError> {
        let rows = self.dial.rows().await?;
        let _turn = self.turn(id).await?;
        self.done(|look| change::delete(&rows, id, look)).await
    }

    async fn list(&self, which: &Search, after: Option<&Cursor>, limit: u16) -> Result<Page, DirectoryError> {
        let rows = self.dial.rows().await?;
        let after = list::place(after);
        match which {
            Search::Everyone => self.done(|_| list::everyone(&rows, after, limit)).await,
            Search::Email(email) => self.done(|_| list::with_email(&rows, email, after, limit)).await,
        }
    }

    async fn put(&self, account: &Account) -> Result<Put, DirectoryError> {
        if account.identities.is_empty() {
            return Err(DirectoryError::Corrupt(format!("the account {} has no identity", account.id)));
        }
        let rows = self.dial.rows().await?;
        let _turn = self.turn(&account.id).await?;
        self.done(|look| change::put(&rows, account, look)).await
    }

    async fn announced(&self, id: &AccountId) -> Result<(), DirectoryError> {
        let rows = self.dial.rows().await?;
        let _turn = self.turn(id).await?;
        self.done(|look| change::announced(&rows, id, look)).await
    }

    async fn unannounced(&self, before: Timestamp, limit: u16) -> Result<Vec<Account>, DirectoryError> {
        let rows = self.dial.rows().await?;
        self.done(|_| list::unannounced(&rows, before, limit)).await
    }

    async fn count(&self) -> Result<u64, DirectoryError> {
        // However long it takes: only each page of rows must come in time.
        list::count(&*self.dial.rows().await?).await
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        // To the end of the attempt, also where tables are being made: `brama directory migrate` waits for just that.
        let rows = self.dial.attempt().await.map_err(|error| DirectoryError::Unavailable(error.to_string()))?;
        let found = rows.step().await?.unwrap_or(0);
        if found == schema::known() {
            return Ok(());
        }
        Err(DirectoryError::Unavailable(format!(
            "its tables are of schema {found} now, this program knows {}: run the version that belongs to them",
            schema::known()
        )))
    }
}

/// How long to let the others go first: longer after every collision, and never the same for two.
fn pause(collisions: u32) -> Duration {
    let [random] = secret::random::<1>();
    let full = Duration::from_millis(4_u64 << collisions.min(8)).min(LONGEST_PAUSE);
    full.mul_f64(0.5 + f64::from(random) / 512.0)
}

fn late(patience: Duration) -> DirectoryError {
    DirectoryError::Unavailable(format!(
        "Cassandra did not come to an end of it within {}",
        humantime::format_duration(patience)
    ))
}
