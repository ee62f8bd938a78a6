//! The statements, and what their rows mean. Both SQLite and PostgreSQL understand them.

use serde::{Serialize, de::DeserializeOwned};

use super::engine::{Engine, Failure, Row, Rows, Value, Work};
use crate::{
    clock::Timestamp,
    directory::{Account, DirectoryError, Identity},
    identity::{AccountId, IdentityKey, Profile, VerifiedIdentity},
};

/// Accounts with their identities, a row an identity. One statement, so that both are as of one moment; accounts
/// without an identity do not exist.
macro_rules! accounts {
    ($which:literal) => {
        concat!(
            "SELECT a.id, a.created_at, a.signed_in_at, a.disabled, a.announced, a.profile,
                    i.origin, i.profile AS told, i.linked_at, i.used_at
             FROM account a JOIN identity i ON i.account = a.id WHERE ",
            $which,
            " ORDER BY a.id, i.linked_at, i.issuer, i.subject"
        )
    };
}

/// $1: id.
pub(super) const BY_ID: &str = accounts!("a.id = $1");
/// $1: issuer, $2: subject.
pub(super) const BY_IDENTITY: &str =
    accounts!("a.id = (SELECT account FROM identity WHERE issuer = $1 AND subject = $2)");
/// $1: id to begin after, $2: how many.
pub(super) const EVERYONE: &str = accounts!("a.id IN (SELECT id FROM account WHERE id > $1 ORDER BY id LIMIT $2)");
/// $1: address in lower case, $2: id to begin after, $3: how many.
pub(super) const BY_EMAIL: &str =
    accounts!("a.id IN (SELECT id FROM account WHERE email = $1 AND id > $2 ORDER BY id LIMIT $3)");
/// $1: made before, $2: how many.
pub(super) const UNANNOUNCED: &str =
    accounts!("a.id IN (SELECT id FROM account WHERE NOT announced AND created_at < $1 ORDER BY created_at LIMIT $2)");

/// An account as it stands in the tables.
pub(super) struct Record {
    pub(super) account: Account,
    /// Whether its making has been told.
    pub(super) announced: bool,
}

/// Puts the rows of `accounts!` together.
pub(super) fn records(rows: &Rows) -> Result<Vec<Record>, Failure> {
    let mut records: Vec<Record> = Vec::new();
    for row in rows {
        let id = row.text("id")?;
        let id = AccountId::parse(id).ok_or_else(|| corrupt("an account id that is no UUID"))?;
        let identity = identity_from(&**row)?;
        match records.last_mut().filter(|record| record.account.id == id) {
            Some(record) => record.account.identities.push(identity),
            None => records.push(record_from(id, &**row, identity)?),
        }
    }
    Ok(records)
}

/// The accounts of an answer.
pub(super) fn accounts(rows: &Rows) -> Result<Vec<Account>, Failure> {
    Ok(records(rows)?.into_iter().map(|record| record.account).collect())
}

/// The account with this id as a piece of work sees it.
pub(super) async fn by_id(work: &mut dyn Work, id: &str) -> Result<Option<Record>, Failure> {
    Ok(records(&work.rows(BY_ID, &[Value::Text(id)]).await?)?.into_iter().next())
}

/// The id of the account this identity is tied to.
pub(super) async fn tied_to(work: &mut dyn Work, key: &IdentityKey) -> Result<Option<String>, Failure> {
    const SQL: &str = "SELECT account FROM identity WHERE issuer = $1 AND subject = $2";
    let rows = work.rows(SQL, &key_values(key)).await?;
    rows.first().map(|row| row.text("account").map(str::to_owned)).transpose()
}

/// How many identities the account has.
pub(super) async fn identity_count(work: &mut dyn Work, id: &str) -> Result<i64, Failure> {
    counted(&work.rows("SELECT count(*) AS count FROM identity WHERE account = $1", &[Value::Text(id)]).await?)
}

/// How many accounts there are.
pub(super) async fn account_count(engine: &dyn Engine) -> Result<i64, Failure> {
    counted(&engine.rows("SELECT count(*) AS count FROM account", &[]).await?)
}

fn counted(rows: &Rows) -> Result<i64, Failure> {
    rows.first().map_or(Ok(0), |row| row.number("count"))
}

/// Writes an account without its identities, replacing one of the same id.
pub(super) async fn write_account(work: &mut dyn Work, account: &Account, announced: bool) -> Result<(), Failure> {
    const SQL: &str = "
        INSERT INTO account (id, created_at, signed_in_at, disabled, profile, email, announced)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (id) DO UPDATE SET
            created_at = excluded.created_at, signed_in_at = excluded.signed_in_at, disabled = excluded.disabled,
            profile = excluded.profile, email = excluded.email, announced = excluded.announced";
    let (id, profile, email) = (account.id.to_string(), written(&account.profile)?, searched(&account.profile));
    let values = [
        Value::Text(&id),
        Value::Number(account.created_at.as_millis()),
        Value::Number(account.signed_in_at.as_millis()),
        Value::Flag(account.disabled),
        Value::Text(&profile),
        Value::Maybe(email.as_deref()),
        Value::Flag(announced),
    ];
    work.execute(SQL, &values).await?;
    Ok(())
}

/// Ties an identity to the account. False when it is tied already, to whichever account; waits for one who is about to.
pub(super) async fn tie(work: &mut dyn Work, id: &str, identity: &Identity) -> Result<bool, Failure> {
    const SQL: &str = "
        INSERT INTO identity (issuer, subject, account, origin, profile, linked_at, used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (issuer, subject) DO NOTHING";
    let (origin, profile) = (written(&identity.origin)?, written(&identity.profile)?);
    let [issuer, subject] = key_values(&identity.origin.key);
    let values = [
        issuer,
        subject,
        Value::Text(id),
        Value::Text(&origin),
        Value::Text(&profile),
        Value::Number(identity.linked_at.as_millis()),
        Value::Number(identity.used_at.as_millis()),
    ];
    Ok(work.execute(SQL, &values).await? > 0)
}

/// Notes that the identity was used to sign in to the account.
pub(super) async fn note_use(
    work: &mut dyn Work,
    id: &str,
    identity: &VerifiedIdentity,
    now: Timestamp,
) -> Result<(), Failure> {
    let (profile, email) = (written(identity.profile())?, searched(identity.profile()));
    let origin = written(identity.origin())?;
    let now = Value::Number(now.as_millis());
    let account = [Value::Text(id), now, Value::Text(&profile), Value::Maybe(email.as_deref())];
    work.execute("UPDATE account SET signed_in_at = $2, profile = $3, email = $4 WHERE id = $1", &account).await?;
    let [issuer, subject] = key_values(&identity.origin().key);
    let tie = [issuer, subject, Value::Text(&origin), Value::Text(&profile), now];
    work.execute(
        "UPDATE identity SET origin = $3, profile = $4, used_at = $5 WHERE issuer = $1 AND subject = $2",
        &tie,
    )
    .await?;
    Ok(())
}

/// Unties one identity.
pub(super) async fn untie(work: &mut dyn Work, key: &IdentityKey) -> Result<(), Failure> {
    work.execute("DELETE FROM identity WHERE issuer = $1 AND subject = $2", &key_values(key)).await?;
    Ok(())
}

/// Unties every identity of the account.
pub(super) async fn untie_all(work: &mut dyn Work, id: &str) -> Result<(), Failure> {
    work.execute("DELETE FROM identity WHERE account = $1", &[Value::Text(id)]).await?;
    Ok(())
}

/// An address as it is searched by.
pub(super) fn lowered(email: &str) -> String {
    email.to_ascii_lowercase()
}

/// Issuer and subject, to be bound.
pub(super) fn key_values(key: &IdentityKey) -> [Value<'_>; 2] {
    [Value::Text(key.issuer.as_str()), Value::Text(key.subject.as_str())]
}

/// The identity as it is when it is first seen.
pub(super) fn first_seen(identity: &VerifiedIdentity, now: Timestamp) -> Identity {
    Identity { origin: identity.origin().clone(), profile: identity.profile().clone(), linked_at: now, used_at: now }
}

pub(super) fn corrupt(what: impl Into<String>) -> Failure {
    Failure::Directory(DirectoryError::Corrupt(what.into()))
}

/// The address an account is found by. One longer than mail allows (RFC 5321, 4.5.3.1) is not: no index takes a key of
/// any length, and it is nobody's.
fn searched(profile: &Profile) -> Option<String> {
    profile.email.as_deref().filter(|email| email.len() <= 320).map(lowered)
}

fn record_from(id: AccountId, row: &dyn Row, identity: Identity) -> Result<Record, Failure> {
    let account = Account {
        id,
        created_at: time(row, "created_at")?,
        signed_in_at: time(row, "signed_in_at")?,
        disabled: row.flag("disabled")?,
        profile: document(row, "profile")?,
        identities: vec![identity],
    };
    Ok(Record { account, announced: row.flag("announced")? })
}

fn identity_from(row: &dyn Row) -> Result<Identity, Failure> {
    Ok(Identity {
        origin: document(row, "origin")?,
        profile: document(row, "told")?,
        linked_at: time(row, "linked_at")?,
        used_at: time(row, "used_at")?,
    })
}

fn time(row: &dyn Row, column: &'static str) -> Result<Timestamp, Failure> {
    row.number(column).map(Timestamp::from_millis)
}

fn document<T: DeserializeOwned>(row: &dyn Row, column: &'static str) -> Result<T, Failure> {
    // serde's own message could quote a person's data: the column says enough.
    serde_json::from_str(row.text(column)?)
        .map_err(|_| corrupt(format!("the column {column} does not hold what we write")))
}

fn written(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| corrupt(error.to_string()))
}
