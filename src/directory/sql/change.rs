//! The changes that take several statements. Each locks the account before it looks at its identities, so that two
//! changes of one account follow each other; that no identity is tied twice is held by its key in the table.

use super::{
    engine::{Engine, Failure, Value, Work},
    statement::{by_id, first_seen, identity_count, note_use, tie, tied_to, untie, untie_all, write_account},
};
use crate::{
    clock::Timestamp,
    directory::{Account, Linked, Put, SignedIn, Unlinked},
    identity::{AccountId, IdentityKey, VerifiedIdentity},
};

pub(super) async fn sign_in(
    engine: &dyn Engine,
    identity: &VerifiedIdentity,
    now: Timestamp,
) -> Result<SignedIn, Failure> {
    let mut work = engine.begin().await?;
    let id = match tied_to(&mut *work, &identity.origin().key).await? {
        Some(id) => lock_tied(&mut *work, id, &identity.origin().key).await?,
        None => create(&mut *work, identity, now).await?,
    };
    let mut record = by_id(&mut *work, &id).await?.ok_or(GONE)?;
    if !record.account.disabled {
        note_use(&mut *work, &id, identity, now).await?;
        record = by_id(&mut *work, &id).await?.ok_or(GONE)?;
    }
    work.commit().await?;
    Ok(SignedIn { account: record.account, created: !record.announced })
}

/// Locks the account the identity was found tied to. It may have been untied, or the account deleted, before the lock.
async fn lock_tied(work: &mut dyn Work, id: String, key: &IdentityKey) -> Result<String, Failure> {
    let still = work.lock_account(&id).await? && tied_to(work, key).await?.as_deref() == Some(&id);
    if still { Ok(id) } else { Err(GONE) }
}

async fn create(work: &mut dyn Work, identity: &VerifiedIdentity, now: Timestamp) -> Result<String, Failure> {
    let account = Account {
        id: AccountId::fresh(now),
        created_at: now,
        signed_in_at: now,
        disabled: false,
        profile: identity.profile().clone(),
        identities: vec![first_seen(identity, now)],
    };
    let id = account.id.to_string();
    write_account(work, &account, false).await?;
    if tie(work, &id, &first_seen(identity, now)).await? { Ok(id) } else { Err(FIRST) }
}

pub(super) async fn link(
    engine: &dyn Engine,
    id: &AccountId,
    identity: &VerifiedIdentity,
    now: Timestamp,
) -> Result<Linked, Failure> {
    let name = id.to_string();
    let mut work = engine.begin().await?;
    if !work.lock_account(&name).await? {
        return Ok(Linked::NoAccount);
    }
    match tied_to(&mut *work, &identity.origin().key).await? {
        Some(owner) if owner != name => return AccountId::parse(&owner).map(Linked::Taken).ok_or(GONE),
        Some(_) => {}
        None if tie(&mut *work, &name, &first_seen(identity, now)).await? => {}
        None => return Err(FIRST),
    }
    let record = by_id(&mut *work, &name).await?.ok_or(GONE)?;
    work.commit().await?;
    Ok(Linked::Done(record.account))
}

pub(super) async fn unlink(engine: &dyn Engine, id: &AccountId, key: &IdentityKey) -> Result<Unlinked, Failure> {
    let name = id.to_string();
    let mut work = engine.begin().await?;
    if !work.lock_account(&name).await? || tied_to(&mut *work, key).await?.as_deref() != Some(&name) {
        return Ok(Unlinked::NotThere);
    }
    if identity_count(&mut *work, &name).await? < 2 {
        return Ok(Unlinked::Last);
    }
    untie(&mut *work, key).await?;
    let record = by_id(&mut *work, &name).await?.ok_or(GONE)?;
    work.commit().await?;
    Ok(Unlinked::Done(record.account))
}

pub(super) async fn delete(engine: &dyn Engine, id: &AccountId) -> Result<bool, Failure> {
    let name = id.to_string();
    let mut work = engine.begin().await?;
    if !work.lock_account(&name).await? {
        return Ok(false);
    }
    untie_all(&mut *work, &name).await?;
    work.execute("DELETE FROM account WHERE id = $1", &[Value::Text(&name)]).await?;
    work.commit().await?;
    Ok(true)
}

pub(super) async fn put(engine: &dyn Engine, account: &Account) -> Result<Put, Failure> {
    let name = account.id.to_string();
    let mut work = engine.begin().await?;
    // Writing the row locks it, whether it was there or not.
    write_account(&mut *work, account, true).await?;
    untie_all(&mut *work, &name).await?;
    for identity in &account.identities {
        if !tie(&mut *work, &name, identity).await? {
            return Ok(Put::Conflict(identity.origin.key.clone()));
        }
    }
    work.commit().await?;
    Ok(Put::Done)
}

/// Runs one statement; true when it changed something.
pub(super) async fn run(engine: &dyn Engine, sql: &'static str, values: &[Value<'_>]) -> Result<bool, Failure> {
    let mut work = engine.begin().await?;
    let changed = work.execute(sql, values).await?;
    work.commit().await?;
    Ok(changed > 0)
}

const GONE: Failure = Failure::Collided("the account was changed at the same time");
const FIRST: Failure = Failure::Collided("somebody else tied the identity at the same time");
