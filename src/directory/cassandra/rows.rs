//! Reading and writing the rows of an account and of its identities, one at a time.
//!
//! Both are written by compare-and-set alone. A row that is compared anywhere must be so everywhere: plain writes carry
//! another clock than conditional ones, and mixing them loses writes.

use scylla::{
    DeserializeRow,
    client::session::Session,
    errors::ExecutionError,
    response::query_result::QueryResult,
    serialize::row::SerializeRow,
    statement::prepared::PreparedStatement,
    value::{CqlValue, Row},
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{
    refusal::{may_have_happened, unreadable},
    statement::{Question, Statements},
};
use crate::{
    clock::Timestamp,
    directory::{Account, DirectoryError, Identity},
    identity::{AccountId, IdentityKey},
    secret,
};

/// The tables.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) session: Session,
    pub(super) statements: Statements,
}

/// Who says an identity is his.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Claim {
    /// The account claimed for.
    pub(super) account: AccountId,
    /// Tells this claim from any other that was or will be.
    pub(super) stamp: Uuid,
    /// When a first sign-in claimed it for an account it was about to make; `None` for an account that was there.
    pub(super) founded_at: Option<Timestamp>,
}

/// What stands under the id of an account.
#[derive(Debug)]
pub(super) struct Held {
    /// Another with every write.
    pub(super) version: Uuid,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// An account.
    Kept(Record),
    /// One that is being deleted; its traces may still be there.
    Leaving(Record),
    /// Nothing but the mark that nothing may come to be here; it fades.
    Gone,
}

/// An account and what we note of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) account: Account,
    /// Its making has been told.
    pub(super) announced: bool,
    /// Its entry in the index of addresses.
    pub(super) email_entry: Option<Uuid>,
}

impl Record {
    /// The tie to this identity.
    pub(super) fn tie(&self, key: &IdentityKey) -> Option<&Identity> {
        self.account.identities.iter().find(|identity| identity.origin.key == *key)
    }
}

impl Held {
    /// The account, when there is one.
    pub(super) fn kept(self) -> Option<Record> {
        match self.state {
            State::Kept(record) => Some(record),
            State::Leaving(_) | State::Gone => None,
        }
    }
}

/// How closely is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// At what was acknowledged. Enough where the write that follows is conditional.
    Usual,
    /// At what is under way too: after a collision, or the same is read again.
    Settled,
}

impl Question {
    fn at(&self, look: Look) -> &PreparedStatement {
        match look {
            Look::Usual => &self.usual,
            Look::Settled => &self.settled,
        }
    }
}

/// How a conditional write went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It stands.
    Done,
    /// Something else stood there: nothing was written.
    Lost,
    /// It does not stand now, but may yet come to.
    Unsure,
}

/// A value that was never before.
pub(super) fn fresh() -> Uuid {
    uuid::Builder::from_random_bytes(secret::random()).into_uuid()
}

#[derive(DeserializeRow)]
struct ClaimRow {
    account: Uuid,
    stamp: Uuid,
    founded_at: Option<i64>,
}

/// A row of the table `account`. Everything but the id may be missing.
#[derive(DeserializeRow)]
pub(super) struct AccountRow {
    id: Uuid,
    version: Option<Uuid>,
    gone: Option<bool>,
    announced: Option<bool>,
    created_at: Option<i64>,
    signed_in_at: Option<i64>,
    disabled: Option<bool>,
    profile: Option<String>,
    identities: Option<String>,
    email_entry: Option<Uuid>,
}

impl Rows {
    /// Who claims this identity.
    pub(super) async fn claim(&self, key: &IdentityKey, look: Look) -> Result<Option<Claim>, DirectoryError> {
        let values = (key.issuer.as_str(), key.subject.as_str());
        let answer = self.session.execute_unpaged(self.statements.claim.at(look), values).await?;
        Ok(first::<ClaimRow>(answer)?.map(|row| Claim {
            account: AccountId::from_uuid(row.account),
            stamp: row.stamp,
            founded_at: row.founded_at.map(Timestamp::from_millis),
        }))
    }

    /// Claims an identity: one that nobody claims, or in the place of the claim stamped `before`.
    pub(super) async fn stake(
        &self,
        key: &IdentityKey,
        claim: &Claim,
        before: Option<Uuid>,
    ) -> Result<Written, DirectoryError> {
        let founded_at = claim.founded_at.map(Timestamp::as_millis);
        let (issuer, subject) = (key.issuer.as_str(), key.subject.as_str());
        let (account, stamp) = (claim.account.as_uuid(), claim.stamp);
        let answer = match before {
            None => {
                let values = (account, stamp, founded_at, issuer, subject);
                self.session.execute_unpaged(&self.statements.stake, values).await
            }
            Some(before) => {
                let values = (account, stamp, founded_at, issuer, subject, before);
                self.session.execute_unpaged(&self.statements.restake, values).await
            }
        };
        judge(answer, "stamp", stamp, async || Ok(self.claim(key, Look::Settled).await?.map(|claim| claim.stamp))).await
    }

    /// Takes back the claim with this stamp, if it still stands. Whether it does matters to nobody: a claim its account
    /// does not know of is void.
    pub(super) async fn drop_claim(&self, key: &IdentityKey, stamp: Uuid) -> Result<(), DirectoryError> {
        let values = (key.issuer.as_str(), key.subject.as_str(), stamp);
        self.session.execute_unpaged(&self.statements.drop_claim, values).await?;
        Ok(())
    }

    /// What stands under this id.
    pub(super) async fn account(&self, id: &AccountId, look: Look) -> Result<Option<Held>, DirectoryError> {
        let answer = self.session.execute_unpaged(self.statements.account.at(look), (id.as_uuid(),)).await?;
        first::<AccountRow>(answer)?.map_or(Ok(None), AccountRow::held)
    }

    /// Writes `record` where the version `before` stands; `None` where nothing does.
    pub(super) async fn write(
        &self,
        record: &Record,
        leaving: bool,
        before: Option<Uuid>,
    ) -> Result<(Written, Uuid), DirectoryError> {
        let (account, version) = (&record.account, fresh());
        let values = (
            version,
            leaving,
            record.announced,
            account.created_at.as_millis(),
            account.signed_in_at.as_millis(),
            account.disabled,
            written(&account.profile)?,
            written(&account.identities)?,
            record.email_entry,
            account.id.as_uuid(),
            before,
        );
        let written = self.compare_and_set(&self.statements.write, values, &account.id, version).await?;
        Ok((written, version))
    }

    /// Leaves nothing under this id but a mark, where the version `before` stands. A write under way that found
    /// something else finds the mark, and begins again.
    pub(super) async fn bury(&self, id: &AccountId, before: Option<Uuid>) -> Result<Written, DirectoryError> {
        let version = fresh();
        self.compare_and_set(&self.statements.bury, (version, id.as_uuid(), before), id, version).await
    }

    async fn compare_and_set(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        id: &AccountId,
        version: Uuid,
    ) -> Result<Written, DirectoryError> {
        let answer = self.session.execute_unpaged(statement, values).await;
        judge(answer, "version", version, async || Ok(self.account(id, Look::Settled).await?.map(|held| held.version)))
            .await
    }

    /// Whether the tables are of the schema we know.
    pub(super) async fn step(&self) -> Result<Option<i32>, DirectoryError> {
        let answer = self.session.execute_unpaged(&self.statements.step, ()).await?;
        Ok(first::<(Option<i32>,)>(answer)?.and_then(|(step,)| step))
    }
}

impl AccountRow {
    /// What it says.
    pub(super) fn held(self) -> Result<Option<Held>, DirectoryError> {
        let Some(version) = self.version else { return Ok(None) };
        let gone = self.gone.unwrap_or_default();
        let state = match self.record()? {
            Some(record) if gone => State::Leaving(record),
            Some(record) => State::Kept(record),
            None => State::Gone,
        };
        Ok(Some(Held { version, state }))
    }

    fn record(self) -> Result<Option<Record>, DirectoryError> {
        let (Some(profile), Some(identities)) = (self.profile, self.identities) else { return Ok(None) };
        let time = |millis: Option<i64>| Timestamp::from_millis(millis.unwrap_or_default());
        let account = Account {
            id: AccountId::from_uuid(self.id),
            created_at: time(self.created_at),
            signed_in_at: time(self.signed_in_at),
            disabled: self.disabled.unwrap_or_default(),
            profile: document(&profile, "profile")?,
            identities: document(&identities, "identities")?,
        };
        Ok(Some(Record { account, announced: self.announced.unwrap_or_default(), email_entry: self.email_entry }))
    }
}

/// The first row of an answer.
pub(super) fn first<R>(answer: QueryResult) -> Result<Option<R>, DirectoryError>
where
    R: for<'a> scylla::deserialize::row::DeserializeRow<'a, 'a>,
{
    answer.into_rows_result().map_err(unreadable)?.maybe_first_row().map_err(unreadable)
}

/// Reads the answer to a conditional write of `mine` into `column`. Where there is none, looks at what stands there.
async fn judge(
    answer: Result<QueryResult, ExecutionError>,
    column: &str,
    mine: Uuid,
    look: impl AsyncFnOnce() -> Result<Option<Uuid>, DirectoryError>,
) -> Result<Written, DirectoryError> {
    match answer {
        Ok(answer) => {
            let (applied, found) = verdict(answer, column)?;
            // Found ours though it was not written: the driver sent it twice.
            Ok(if applied || found == Some(mine) { Written::Done } else { Written::Lost })
        }
        Err(error) if may_have_happened(&error) => match look().await {
            Ok(found) if found == Some(mine) => Ok(Written::Done),
            Ok(_) => Ok(Written::Unsure),
            Err(_) => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Whether it was written and, if not, what stands in `column`. Cassandra answers a conditional write with a row of
/// `[applied]` and, when it is false, of columns of what it found.
fn verdict(answer: QueryResult, column: &str) -> Result<(bool, Option<Uuid>), DirectoryError> {
    let rows = answer.into_rows_result().map_err(unreadable)?;
    let names: Vec<String> = rows.column_specs().iter().map(|spec| spec.name().to_owned()).collect();
    let row: Row = rows.first_row().map_err(unreadable)?;
    let (mut applied, mut found) = (false, None);
    for (name, value) in names.iter().zip(row.columns) {
        match value {
            Some(CqlValue::Boolean(value)) if name == "[applied]" => applied = value,
            Some(CqlValue::Uuid(value)) if name == column => found = Some(value),
            _ => {}
        }
    }
    Ok((applied, found))
}

fn document<T: DeserializeOwned>(text: &str, column: &str) -> Result<T, DirectoryError> {
    // serde's own message could quote a person's data: the column says enough.
    serde_json::from_str(text).map_err(|_| unreadable(format!("the column {column} does not hold what we write")))
}

fn written(value: &impl serde::Serialize) -> Result<String, DirectoryError> {
    serde_json::to_string(value).map_err(unreadable)
}
