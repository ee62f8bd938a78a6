//! Clearing away what a crash or a race left: void claims, accounts half deleted, index rows that lead nowhere.
//!
//! What looks like a leftover may be the first half of a write that is still under way. So before it is taken away the
//! version of its account is moved on: the write under way then fails to compare, and begins again.

use super::{
    change::Failure,
    rows::{Claim, Held, Look, Record, Rows, State, Written},
};
use crate::{
    directory::DirectoryError,
    identity::{AccountId, IdentityKey},
};

/// Clears away a claim whose account, which is `held`, does not name the identity.
pub(super) async fn void(rows: &Rows, key: &IdentityKey, claim: &Claim, held: Option<Held>) -> Result<(), Failure> {
    fence(rows, &claim.account, held).await?;
    Ok(rows.drop_claim(key, claim.stamp).await?)
}

/// Makes every write under way on what is `held` under this id begin again.
pub(super) async fn fence(rows: &Rows, id: &AccountId, held: Option<Held>) -> Result<(), Failure> {
    let Some(Held { version, state }) = held else { return rows.bury(id, None).await?.or_again() };
    match state {
        State::Kept(record) => rows.write(&record, false, Some(version)).await?.0.or_again(),
        State::Leaving(record) => finish(rows, &record, version).await,
        State::Gone => rows.bury(id, Some(version)).await?.or_again(),
    }
}

/// Brings the deletion of an account to its end. `version` is that of its being deleted.
pub(super) async fn finish(rows: &Rows, record: &Record, version: uuid::Uuid) -> Result<(), Failure> {
    let id = &record.account.id;
    let mut claims = Vec::new();
    for identity in &record.account.identities {
        let key = &identity.origin.key;
        let claim = rows.claim(key, Look::Settled).await?;
        claims.extend(claim.filter(|claim| claim.account == *id).map(|claim| (key, claim.stamp)));
    }
    // Looked at after the claims: if another brought it to its end meanwhile, and an account was put in its place, the
    // claims may be that one's.
    if rows.account(id, Look::Settled).await?.is_none_or(|held| held.version != version) {
        return Ok(());
    }
    for (key, stamp) in claims {
        rows.drop_claim(key, stamp).await?;
    }
    rows.drop_email_of(record).await?;
    rows.drop_waiting(id, record.account.created_at).await?;
    match rows.bury(id, Some(version)).await? {
        Written::Done | Written::Lost => Ok(()),
        Written::Unsure => Err(DirectoryError::Unavailable(
            "an account was deleted, but its last traces may still be there; delete it again".to_owned(),
        )
        .into()),
    }
}
