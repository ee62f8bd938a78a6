//! The index rows: accounts by address, and those whose making has not been told.
//!
//! They are written plainly, before the account that they lead to, so none is ever missing; whoever follows one looks
//! at the account, so one too many leads nobody astray.
//!
//! An entry of the address index has an id of its own, which the account names while the entry is its. So the entry of
//! an address that changed can be taken out without hitting one that is just being put in for the same address.

use futures_util::{Stream, TryStreamExt as _};
use scylla::{
    client::pager::QueryPager, deserialize::row::DeserializeRow, serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
};
use uuid::Uuid;

use super::{
    refusal::unreadable,
    rows::{AccountRow, Record, Rows},
};
use crate::{
    clock::Timestamp,
    directory::{Account, DirectoryError},
    identity::AccountId,
    secret,
};

/// What an address is found by: the SHA-256 of it in lower case. Bounded, whatever a provider calls an address; and what
/// a crash leaves behind tells nobody's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EmailKey([u8; 32]);

impl EmailKey {
    pub(super) fn of(address: &str) -> Self {
        Self(secret::sha256(address.to_ascii_lowercase().as_bytes()))
    }

    pub(super) fn of_account(account: &Account) -> Option<Self> {
        account.profile.email.as_deref().map(Self::of)
    }
}

/// The hour that an account made `at` waits in to be told of. By the hour, because what is told soon leaves tombstones,
/// and one partition of all of them would soon be unreadable.
pub(super) fn hour(at: Timestamp) -> i64 {
    at.as_secs().div_euclid(3600)
}

impl Rows {
    pub(super) async fn add_email(
        &self,
        email: EmailKey,
        account: &AccountId,
        entry: Uuid,
    ) -> Result<(), DirectoryError> {
        self.run(&self.statements.add_email, (email.0.as_slice(), account.as_uuid(), entry)).await
    }

    pub(super) async fn drop_email(
        &self,
        email: EmailKey,
        account: &AccountId,
        entry: Uuid,
    ) -> Result<(), DirectoryError> {
        self.run(&self.statements.drop_email, (email.0.as_slice(), account.as_uuid(), entry)).await
    }

    /// Takes out the entry that `record` names.
    pub(super) async fn drop_email_of(&self, record: &Record) -> Result<(), DirectoryError> {
        match (EmailKey::of_account(&record.account), record.email_entry) {
            (Some(email), Some(entry)) => self.drop_email(email, &record.account.id, entry).await,
            _ => Ok(()),
        }
    }

    /// The entries of an address: accounts and the ids of the entries, in the order of accounts.
    pub(super) async fn emails(
        &self,
        email: EmailKey,
        after: Option<&AccountId>,
    ) -> Result<impl Stream<Item = Result<(Uuid, Uuid), DirectoryError>> + use<>, DirectoryError> {
        let email = email.0.as_slice();
        let pager = match after {
            None => self.session.execute_iter(self.statements.emails.clone(), (email,)).await?,
            Some(id) => self.session.execute_iter(self.statements.emails_after.clone(), (email, id.as_uuid())).await?,
        };
        stream(pager)
    }

    /// Notes that an account made `at` is to be told of.
    pub(super) async fn add_waiting(&self, account: &AccountId, at: Timestamp) -> Result<(), DirectoryError> {
        // The hour first: what waits in an hour that nobody looks into would wait for ever.
        self.run(&self.statements.add_hour, (hour(at),)).await?;
        self.run(&self.statements.add_waiting, (hour(at), at.as_millis(), account.as_uuid())).await
    }

    pub(super) async fn drop_waiting(&self, account: &AccountId, at: Timestamp) -> Result<(), DirectoryError> {
        self.run(&self.statements.drop_waiting, (hour(at), at.as_millis(), account.as_uuid())).await
    }

    /// The hours up to that of `before` in which accounts may wait, oldest first.
    pub(super) async fn hours(&self, before: Timestamp) -> Result<Vec<i64>, DirectoryError> {
        let pager = self.session.execute_iter(self.statements.hours.clone(), (hour(before),)).await?;
        stream::<(i64,)>(pager)?.map_ok(|(hour,)| hour).try_collect().await
    }

    pub(super) async fn drop_hour(&self, hour: i64) -> Result<(), DirectoryError> {
        self.run(&self.statements.drop_hour, (hour,)).await
    }

    /// What waits in an hour and was made before `before`: when, and which account; oldest first.
    pub(super) async fn waiting(
        &self,
        hour: i64,
        before: Timestamp,
    ) -> Result<impl Stream<Item = Result<(i64, Uuid), DirectoryError>> + use<>, DirectoryError> {
        let statement = self.statements.waiting.clone();
        stream(self.session.execute_iter(statement, (hour, before.as_millis())).await?)
    }

    /// All accounts, in the order of their tokens, `rows` at a time.
    pub(super) async fn everyone(
        &self,
        after: Option<&AccountId>,
        rows: i32,
    ) -> Result<impl Stream<Item = Result<AccountRow, DirectoryError>> + use<>, DirectoryError> {
        let mut statement =
            if after.is_some() { self.statements.everyone_after.clone() } else { self.statements.everyone.clone() };
        statement.set_page_size(rows);
        let pager = match after {
            None => self.session.execute_iter(statement, ()).await?,
            Some(id) => self.session.execute_iter(statement, (id.as_uuid(),)).await?,
        };
        stream(pager)
    }

    /// Of every row of the table of accounts, whether the account is gone.
    pub(super) async fn states(
        &self,
    ) -> Result<impl Stream<Item = Result<(Option<bool>,), DirectoryError>> + use<>, DirectoryError> {
        stream(self.session.execute_iter(self.statements.states.clone(), ()).await?)
    }

    async fn run(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Result<(), DirectoryError> {
        self.session.execute_unpaged(statement, values).await?;
        Ok(())
    }
}

/// The rows of an answer, fetched page by page as they are asked for.
fn stream<R>(pager: QueryPager) -> Result<impl Stream<Item = Result<R, DirectoryError>> + use<R>, DirectoryError>
where
    R: for<'a, 'b> DeserializeRow<'a, 'b>,
{
    Ok(pager.rows_stream::<R>().map_err(unreadable)?.map_err(DirectoryError::from))
}
