//! Accounts in MongoDB.
//!
//! | collection | holds | indexes |
//! |---|---|---|
//! | `account` | an account with its identities: one document (`record`) | `_id`; `identity` (unique); `email`; `unannounced` (sparse) |
//! | `schema` | `{_id: "account", step}` | `_id` |
//!
//! **Why the identities are inside.** A write to one document is atomic in MongoDB; one to two documents is not, but in
//! a transaction. So an account and its ties are one document, and every call that writes is one command on it: there
//! is no instant between two writes at which a crash could lose or double anything. What goes beyond one document,
//! that an identity is tied to one account only, is held by the unique index over `identities.key`, which has an entry
//! for each identity. Of two replicas at a person's first login one inserts; the other is refused by the index and
//! updates what it then finds. What depends on the account's state (not disabled, not its last identity) is part of the
//! command's filter, never a look before a write.
//!
//! The price: a unique index over something else than the shard key is impossible in a sharded cluster, so `account`
//! must stay unsharded. Ten million accounts with two identities each are some 25 GB before compression: a replica set holds them.
//!
//! **Majority.** See `connect`. A write that was not confirmed in time may still have happened: calls can be repeated.
//!
//! Absent: transactions, and therefore nothing that needs a replica set to be correct (a single server has no spare).

mod connect;
mod examine;
#[cfg(test)]
mod fake;
mod fault;
mod opening;
mod record;
mod schema;
#[cfg(test)]
pub(super) mod server;
#[cfg(test)]
mod tests;

use std::{fmt, future::IntoFuture, time::Duration};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::{
    Collection,
    bson::{Document, doc},
    options::ReturnDocument,
};

pub use self::connect::OpenError;
pub(super) use self::examine::examine;
use self::{
    fault::Fault,
    opening::{Goal, Opening},
    record::Record,
};
use super::{Account, Cursor, Directory, DirectoryError, Linked, Page, Put, Search, SignedIn, Unlinked};
use crate::{
    clock::Timestamp,
    config::directory::MongoDb as Config,
    identity::{AccountId, IdentityKey, VerifiedIdentity},
};

/// The collection of the accounts.
const ACCOUNT: &str = "account";
/// How often a call starts over because the account changed between two commands, before it gives up.
const ATTEMPTS: usize = 8;
/// Longest a count of all accounts may take: it reads everything.
const COUNTING: Duration = Duration::from_secs(300);

/// Accounts in MongoDB.
pub struct MongoDirectory {
    opening: Opening,
    name: String,
    timeout: Duration,
}

impl MongoDirectory {
    /// Reads the settings and the files they name, and begins to connect. MongoDB need not answer yet: until it does
    /// and its schema is ours, calls give [`DirectoryError::Unavailable`]. With `migrate` the schema is made and
    /// upgraded. Must be called on the runtime of the control plane.
    ///
    /// # Errors
    /// [`OpenError`] names the setting and what to do.
    pub fn open(config: &Config, migrate: bool) -> Result<Self, OpenError> {
        Ok(Self {
            opening: Opening::begin(goal(config, migrate)?),
            name: config.database.clone(),
            timeout: config.timeout,
        })
    }

    /// Connects now and looks at the schema, making or upgrading it with `migrate`; says why it cannot.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub async fn dial(config: &Config, migrate: bool) -> Result<(), OpenError> {
        goal(config, migrate)?.attempt().await.map(drop)
    }

    async fn accounts(&self) -> Result<Collection<Record>, DirectoryError> {
        Ok(self.opening.database(self.timeout).await?.collection(ACCOUNT))
    }

    /// Runs a command for at most the configured time.
    async fn run<T>(&self, command: impl IntoFuture<Output = mongodb::error::Result<T>>) -> Result<T, Fault> {
        schema::within(self.timeout, command).await
    }

    /// Applies `update` to the account `which` is true of, and gives it as it then is.
    async fn change(&self, which: Document, update: Document) -> Result<Result<Option<Record>, Fault>, DirectoryError> {
        let accounts = self.accounts().await?;
        Ok(self.run(accounts.find_one_and_update(which, update).return_document(ReturnDocument::After)).await)
    }

    async fn one(&self, which: Document) -> Result<Option<Record>, DirectoryError> {
        let accounts = self.accounts().await?;
        Ok(self.run(accounts.find_one(which)).await?)
    }

    async fn some(&self, which: Document, by: Document, limit: i64) -> Result<Vec<Record>, DirectoryError> {
        let accounts = self.accounts().await?;
        let found = async { accounts.find(which).sort(by).limit(limit).await?.try_collect().await };
        Ok(self.run(found).await?)
    }

    /// Makes the account; `None` when the identity has one by now.
    async fn make(&self, identity: &VerifiedIdentity, now: Timestamp) -> Result<Option<SignedIn>, DirectoryError> {
        let record = Record::new(identity, now)?;
        let accounts = self.accounts().await?;
        match self.run(accounts.insert_one(&record)).await {
            Ok(_) => Ok(Some(SignedIn { account: record.account()?, created: true })),
            Err(fault) if fault.is_duplicate() => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Which of the account's identities is tied to another account.
    async fn conflict(&self, account: &Account) -> Result<Option<IdentityKey>, DirectoryError> {
        for identity in &account.identities {
            let key = &identity.origin.key;
            let other = doc! { "identities.key": record::key(key), "_id": { "$ne": account.id.to_string() } };
            if self.one(other).await?.is_some() {
                return Ok(Some(key.clone()));
            }
        }
        Ok(None)
    }
}

fn goal(config: &Config, migrate: bool) -> Result<Goal, OpenError> {
    Ok(Goal { address: connect::address(config)?, database: config.database.clone(), migrate, timeout: config.timeout })
}

fn of(key: &IdentityKey) -> Document {
    doc! { "identities.key": record::key(key) }
}

fn at(id: &AccountId) -> Document {
    doc! { "_id": id.to_string() }
}

fn told(record: Record) -> Result<SignedIn, DirectoryError> {
    let created = record.is_unannounced();
    Ok(SignedIn { account: record.account()?, created })
}

/// The account changed between two commands each time: as good as impossible, but better said than looped over.
fn restless() -> DirectoryError {
    DirectoryError::Unavailable("the account kept changing while it was to be changed; try again".into())
}

#[async_trait]
impl Directory for MongoDirectory {
    async fn sign_in(&self, identity: &VerifiedIdentity, now: Timestamp) -> Result<SignedIn, DirectoryError> {
        let key = &identity.origin().key;
        for _ in 0..ATTEMPTS {
            let open = doc! { "identities.key": record::key(key), "disabled": false };
            if let Some(record) = self.change(open, record::signed_in(identity, now)?).await?? {
                return told(record);
            }
            match self.one(of(key)).await? {
                Some(record) if record.is_disabled() => return told(record),
                // Opened or made by another meanwhile: it is updated at the next attempt.
                Some(_) => {}
                None => {
                    if let Some(made) = self.make(identity, now).await? {
                        return Ok(made);
                    }
                }
            }
        }
        Err(restless())
    }

    async fn find(&self, id: &AccountId) -> Result<Option<Account>, DirectoryError> {
        self.one(at(id)).await?.map(Record::account).transpose()
    }

    async fn find_by_identity(&self, key: &IdentityKey) -> Result<Option<Account>, DirectoryError> {
        self.one(of(key)).await?.map(Record::account).transpose()
    }

    async fn link(
        &self,
        id: &AccountId,
        identity: &VerifiedIdentity,
        now: Timestamp,
    ) -> Result<Linked, DirectoryError> {
        let key = &identity.origin().key;
        // A unique index does not keep one document from holding a value twice: the filter does.
        let without = doc! { "_id": id.to_string(), "identities.key": { "$ne": record::key(key) } };
        for _ in 0..ATTEMPTS {
            match self.change(without.clone(), record::linked(identity, now)?).await? {
                Ok(Some(record)) => return Ok(Linked::Done(record.account()?)),
                Ok(None) => match self.one(at(id)).await? {
                    None => return Ok(Linked::NoAccount),
                    Some(record) if record.has(key) => return Ok(Linked::Done(record.account()?)),
                    // It was unlinked meanwhile.
                    Some(_) => {}
                },
                Err(fault) if fault.is_duplicate() => match self.find_by_identity(key).await? {
                    Some(other) if other.id != *id => return Ok(Linked::Taken(other.id)),
                    // Given up by the other meanwhile, or linked here by another call.
                    _ => {}
                },
                Err(fault) => return Err(fault.into()),
            }
        }
        Err(restless())
    }

    async fn unlink(&self, id: &AccountId, key: &IdentityKey) -> Result<Unlinked, DirectoryError> {
        // That a second one is there is part of the command: of two unlinkings at once one finds it gone.
        let spare = doc! {
            "_id": id.to_string(), "identities.key": record::key(key), "identities.1": { "$exists": true },
        };
        let taken = doc! { "$pull": { "identities": { "key": record::key(key) } } };
        for _ in 0..ATTEMPTS {
            if let Some(record) = self.change(spare.clone(), taken.clone()).await?? {
                return Ok(Unlinked::Done(record.account()?));
            }
            match self.one(at(id)).await? {
                Some(record) if record.has(key) && record.has_several() => {}
                Some(record) if record.has(key) => return Ok(Unlinked::Last),
                _ => return Ok(Unlinked::NotThere),
            }
        }
        Err(restless())
    }

    async fn set_disabled(&self, id: &AccountId, disabled: bool) -> Result<bool, DirectoryError> {
        let accounts = self.accounts().await?;
        let done = self.run(accounts.update_one(at(id), doc! { "$set": { "disabled": disabled } })).await?;
        Ok(done.matched_count > 0)
    }

    async fn delete(&self, id: &AccountId) -> Result<bool, DirectoryError> {
        let accounts = self.accounts().await?;
        Ok(self.run(accounts.delete_one(at(id))).await?.deleted_count > 0)
    }

    async fn list(&self, which: &Search, after: Option<&Cursor>, limit: u16) -> Result<Page, DirectoryError> {
        let mut filter = match which {
            Search::Everyone => Document::new(),
            Search::Email(address) => doc! { "email": record::folded_address(address) },
        };
        if let Some(cursor) = after {
            filter.insert("_id", doc! { "$gt": cursor.as_str() });
        }
        // One more than asked for tells whether there is a following page.
        let limit = usize::from(limit.max(1));
        let mut records = self.some(filter, doc! { "_id": 1 }, i64::try_from(limit + 1).unwrap_or(i64::MAX)).await?;
        let more = records.len() > limit;
        records.truncate(limit);
        let next = records.last().filter(|_| more).map(|last| Cursor::new(last.id.as_str()));
        Ok(Page { accounts: records.into_iter().map(Record::account).collect::<Result<_, _>>()?, next })
    }

    async fn put(&self, account: &Account) -> Result<Put, DirectoryError> {
        if account.identities.is_empty() {
            return Err(DirectoryError::Corrupt(format!("the account {} has no identity", account.id)));
        }
        let accounts = self.accounts().await?;
        for _ in 0..ATTEMPTS {
            match self.run(accounts.replace_one(at(&account.id), Record::of(account)?).upsert(true)).await {
                Ok(_) => return Ok(Put::Done),
                Err(fault) if fault.is_duplicate() => {}
                Err(fault) => return Err(fault.into()),
            }
            if let Some(key) = self.conflict(account).await? {
                return Ok(Put::Conflict(key));
            }
            // The same account was put by another call at once, or the other gave the identity up: again.
        }
        Err(restless())
    }

    async fn announced(&self, id: &AccountId) -> Result<(), DirectoryError> {
        let accounts = self.accounts().await?;
        self.run(accounts.update_one(at(id), doc! { "$unset": { "unannounced": "" } })).await?;
        Ok(())
    }

    async fn unannounced(&self, before: Timestamp, limit: u16) -> Result<Vec<Account>, DirectoryError> {
        let which = doc! { "unannounced": { "$lt": before.as_millis() } };
        let records = self.some(which, doc! { "unannounced": 1 }, i64::from(limit.max(1))).await?;
        records.into_iter().map(Record::account).collect()
    }

    async fn count(&self) -> Result<u64, DirectoryError> {
        let accounts = self.accounts().await?;
        Ok(schema::within(COUNTING, accounts.count_documents(doc! {})).await?)
    }

    async fn ping(&self) -> Result<(), DirectoryError> {
        // The schema's number rather than the command `ping`, which anyone may ask, of any member. A newer one is no
        // failure: another replica may be of the next version already. None means the database was dropped under us.
        let database = self.opening.database(self.timeout).await?;
        if self.run(schema::step_of(&database)).await? < schema::KNOWN {
            return Err(DirectoryError::Unavailable(
                "the accounts in MongoDB were dropped while we ran: restore the backup, or restart to begin anew"
                    .into(),
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for MongoDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: it holds the password.
        write!(f, "MongoDirectory({})", self.name)
    }
}
