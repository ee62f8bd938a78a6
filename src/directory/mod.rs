//! The directory: our record of the people who signed in.
//!
//! An [`Account`] has one or more identities, each keyed by issuer and subject and nothing else; e-mail is an
//! attribute (threat model, 10). An account is created or updated at sign-in, idempotently: two replicas at a person's
//! first login make one account.
//!
//! The rest of the crate may rely on the words of [`Directory`] and nothing more; which engine keeps the accounts is
//! known to [`open`](open()) alone. Profiles and origins are kept as JSON, whole; times as milliseconds since the
//! epoch. Tens of millions of accounts are meant: every question but `list` of everyone and `count` is answered from an
//! index.
//!
//! An engine makes and upgrades its own schema, by steps that are only ever appended. One that is another host's opens
//! without it: the gateway starts, serves the sessions there are, and answers sign-ins with
//! [`DirectoryError::Unavailable`] until the database does.
//!
//! To add an engine: a file or folder beside [`sql`], a table in `config::directory`, an arm in [`open`](open()), a row
//! in the `conformance` suite.

#[cfg(feature = "directory-cassandra")]
pub mod cassandra;
#[cfg(test)]
pub(crate) mod conformance;
pub(crate) mod examine;
#[cfg(feature = "directory-mongodb")]
pub mod mongodb;
mod open;
pub mod sql;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::{
    examine::examine,
    open::{OpenError, open},
};
use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Origin, Profile, VerifiedIdentity},
};

/// Our record of a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Its id, told to the apps.
    pub id: AccountId,
    /// When the first sign-in made it.
    pub created_at: Timestamp,
    /// When someone last signed in to it.
    pub signed_in_at: Timestamp,
    /// True when an operator has shut it: no sign-in, no session.
    pub disabled: bool,
    /// What the provider of the last sign-in told.
    pub profile: Profile,
    /// The ties to issuers and subjects, oldest first; never empty.
    pub identities: Vec<Identity>,
}

/// The tie of an account to one issuer and subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// How the person last came by it.
    pub origin: Origin,
    /// What that provider told then.
    pub profile: Profile,
    /// When it was first seen.
    pub linked_at: Timestamp,
    /// When it was last used to sign in.
    pub used_at: Timestamp,
}

/// The result of a sign-in.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedIn {
    /// The account as it now is.
    pub account: Account,
    /// True when this sign-in made it, and at every later one until its making was [`announced`](Directory::announced).
    pub created: bool,
}

/// How a link went.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made once a link, and nearly always the large one")]
pub enum Linked {
    /// Tied now, or it was already.
    Done(Account),
    /// The identity is another account's; nothing changed.
    Taken(AccountId),
    /// No such account.
    NoAccount,
}

/// How an unlinking went.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made once an unlinking, and nearly always the large one")]
pub enum Unlinked {
    /// The account without it.
    Done(Account),
    /// The last identity of an account stays: without one nobody could ever sign in to it (threats 10).
    Last,
    /// No such account, or the identity is not its.
    NotThere,
}

/// Which accounts to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    /// All of them.
    Everyone,
    /// Those whose own profile has this address, ASCII letter case aside.
    Email(String),
}

/// Some accounts of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// At most as many as were asked for.
    pub accounts: Vec<Account>,
    /// Where the following page begins; `None` at the end.
    pub next: Option<Cursor>,
}

/// A place in a list, as the engine that made it writes it. Means nothing to another engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// The longest text that is taken for one, in bytes.
    const LONGEST: usize = 1024;

    /// Made by an engine, of visible ASCII.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Reads what [`Display`](fmt::Display) wrote; `None` for what cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let fine = !text.is_empty() && text.len() <= Self::LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic());
        fine.then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a whole account was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It is there as given.
    Done,
    /// This identity is tied to another account there; nothing was written.
    Conflict(IdentityKey),
}

/// Why the directory did not answer.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be reached, is too slow or refuses us.
    #[error("the directory is unavailable: {0}")]
    Unavailable(String),
    /// It answered something we cannot read.
    #[error("the directory holds something unreadable: {0}")]
    Corrupt(String),
}

/// Where accounts live.
///
/// All calls run on the control plane; a write is acknowledged only when it is durable. A call that failed may be made
/// again: each either happened whole or not at all, and happening twice is as happening once.
#[async_trait]
pub trait Directory: Send + Sync + fmt::Debug {
    /// Creates the account of this identity or updates it; one account however many replicas do so at once.
    /// A disabled account is returned unchanged: the caller refuses.
    ///
    /// `created` is also true while the account's making has not been [`announced`](Self::announced): a crash between
    /// making it and telling of it repeats the telling, and never loses it.
    async fn sign_in(&self, identity: &VerifiedIdentity, now: Timestamp) -> Result<SignedIn, DirectoryError>;

    /// The account with this id.
    async fn find(&self, id: &AccountId) -> Result<Option<Account>, DirectoryError>;

    /// The account this identity is tied to.
    async fn find_by_identity(&self, key: &IdentityKey) -> Result<Option<Account>, DirectoryError>;

    /// Ties this identity to the account. Of two links of one identity to two accounts at once, one is done and the
    /// other finds it taken. An identity that was the account's already is left as it is.
    async fn link(&self, id: &AccountId, identity: &VerifiedIdentity, now: Timestamp)
    -> Result<Linked, DirectoryError>;

    /// Takes an identity from the account. Never leaves an account without any, also when two are taken at once.
    async fn unlink(&self, id: &AccountId, key: &IdentityKey) -> Result<Unlinked, DirectoryError>;

    /// Shuts or opens an account. False when there is none.
    async fn set_disabled(&self, id: &AccountId, disabled: bool) -> Result<bool, DirectoryError>;

    /// Removes the account with its identities and every trace of them; the same person's next sign-in makes a new
    /// account. False when there was none.
    async fn delete(&self, id: &AccountId) -> Result<bool, DirectoryError>;

    /// A page of at most `limit` accounts, in an order of the engine's choice. Following `next` gives every account
    /// exactly once while nothing changes; one made or removed meanwhile may or may not be there. Of
    /// [`Search::Everyone`] the whole directory is read, a page at a time.
    async fn list(&self, which: &Search, after: Option<&Cursor>, limit: u16) -> Result<Page, DirectoryError>;

    /// Writes a whole account under its own id, replacing what is there under that id: for copying from another
    /// directory. What was put counts as announced.
    async fn put(&self, account: &Account) -> Result<Put, DirectoryError>;

    /// Notes that the making of this account has been told. Nothing happens when there is none.
    async fn announced(&self, id: &AccountId) -> Result<(), DirectoryError>;

    /// At most `limit` accounts made before `before` whose making has not been told yet.
    async fn unannounced(&self, before: Timestamp, limit: u16) -> Result<Vec<Account>, DirectoryError>;

    /// How many accounts there are. May read the whole directory.
    async fn count(&self) -> Result<u64, DirectoryError>;

    /// Asks whether the directory answers and is of our schema, for readiness.
    async fn ping(&self) -> Result<(), DirectoryError>;
}
