//! The directory: our record of the people who signed in.
//!
//! An [`Account`] has one or more identities, each keyed by issuer and subject and nothing else; e-mail is an
//! attribute (threat model, 10). An account is created or updated at sign-in, idempotently: two replicas at a person's
//! first login make one account. To add an engine: one file beside [`sql`], an arm in `app`, a row in the `conformance`
//! suite.

#[cfg(test)]
mod conformance;
pub mod sql;

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

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
    /// True when this sign-in made it.
    pub created: bool,
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

/// Where accounts live. All calls run on the control plane; a write is acknowledged only when it is durable.
#[async_trait]
pub trait Directory: Send + Sync + fmt::Debug {
    /// Creates the account of this identity or updates it; one account however many replicas do so at once.
    /// A disabled account is returned unchanged: the caller refuses.
    async fn sign_in(&self, identity: &VerifiedIdentity, now: Timestamp) -> Result<SignedIn, DirectoryError>;

    /// The account with this id.
    async fn find(&self, id: &AccountId) -> Result<Option<Account>, DirectoryError>;

    /// The account this identity is tied to.
    async fn find_by_identity(&self, key: &IdentityKey) -> Result<Option<Account>, DirectoryError>;

    /// Shuts or opens an account. False when there is none.
    async fn set_disabled(&self, id: &AccountId, disabled: bool) -> Result<bool, DirectoryError>;

    /// How many accounts there are.
    async fn count(&self) -> Result<u64, DirectoryError>;

    /// Asks whether the directory answers, for readiness.
    async fn ping(&self) -> Result<(), DirectoryError>;
}
