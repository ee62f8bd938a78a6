//! The changes of accounts and of whose an identity is. Each function makes one attempt; the caller makes the next.
//!
//! **Whose an identity is.** An identity is an account's when its claim names the account *and* the account names the
//! identity. The two rows cannot change in one step, so the order is: claim, then name; un-name, then drop the claim. A
//! crash in between leaves a claim without a name, which gives the identity to nobody: it is *void*, and whoever meets it
//! clears it away (`clear`). Only that of a first sign-in is completed instead, while it is young: the account it was to
//! make is then made by the next.
//!
//! **Linking against clearing away.** Who links reads the account, then stamps the claim anew, then writes the account if
//! it is still as read. Who clears a void claim reads the claim's stamp, then moves the account's version on, then drops
//! the claim if it is still of that stamp. Whichever of the two is later finds the other's trace and begins again.

use std::time::Duration;

use uuid::Uuid;

use super::{
    clear::{finish, void},
    index::EmailKey,
    rows::{Claim, Held, Look, Record, Rows, State, Written, fresh},
};
use crate::{
    clock::Timestamp,
    directory::{Account, DirectoryError, Identity, Linked, Put, SignedIn, Unlinked},
    identity::{AccountId, IdentityKey, VerifiedIdentity},
};

/// How long a first sign-in's claim is completed by the next. Much shorter than the mark of a deleted account stays, so
/// that none is ever brought back by an old claim.
const FOUNDING: Duration = Duration::from_secs(600);

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Somebody else wrote at the same time: the next attempt finds what he wrote.
    Collided,
    /// The directory failed.
    Directory(DirectoryError),
}

impl From<DirectoryError> for Failure {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

impl Written {
    /// Begins again unless it stands.
    pub(super) fn or_again(self) -> Result<(), Failure> {
        if self == Self::Done { Ok(()) } else { Err(Failure::Collided) }
    }
}

pub(super) async fn sign_in(
    rows: &Rows,
    identity: &VerifiedIdentity,
    now: Timestamp,
    look: Look,
) -> Result<SignedIn, Failure> {
    let key = &identity.origin().key;
    let Some(claim) = rows.claim(key, look).await? else {
        let claim = Claim { account: AccountId::fresh(now), stamp: fresh(), founded_at: Some(now) };
        rows.stake(key, &claim, None).await?.or_again()?;
        return found(rows, claim.account, identity, now).await;
    };
    match rows.account(&claim.account, look).await? {
        Some(Held { version, state: State::Kept(record) }) if record.tie(key).is_some() => {
            note_use(rows, record, version, identity, now).await
        }
        None if claim.founded_at.is_some_and(|at| now.since(at) < FOUNDING) => {
            found(rows, claim.account, identity, now).await
        }
        held => {
            void(rows, key, &claim, held).await?;
            Err(Failure::Collided)
        }
    }
}

/// Makes the account of a claim. Others may be doing the same: one of them makes it.
async fn found(rows: &Rows, id: AccountId, identity: &VerifiedIdentity, now: Timestamp) -> Result<SignedIn, Failure> {
    let account = Account {
        id,
        created_at: now,
        signed_in_at: now,
        disabled: false,
        profile: identity.profile().clone(),
        identities: vec![first_seen(identity, now)],
    };
    rows.add_waiting(&id, now).await?;
    let record = Record { account, announced: false, email_entry: None };
    let made = replace(rows, None, None, record).await?;
    Ok(SignedIn { account: made.account, created: true })
}

async fn note_use(
    rows: &Rows,
    record: Record,
    version: Uuid,
    identity: &VerifiedIdentity,
    now: Timestamp,
) -> Result<SignedIn, Failure> {
    let created = !record.announced;
    if record.account.disabled {
        return Ok(SignedIn { account: record.account, created });
    }
    let mut after = record.clone();
    after.account.signed_in_at = now;
    after.account.profile = identity.profile().clone();
    let key = &identity.origin().key;
    if let Some(tie) = after.account.identities.iter_mut().find(|tie| tie.origin.key == *key) {
        tie.origin = identity.origin().clone();
        tie.profile = identity.profile().clone();
        tie.used_at = now;
    }
    let after = changed(rows, record, version, after).await?;
    Ok(SignedIn { account: after.account, created })
}

pub(super) async fn link(
    rows: &Rows,
    id: &AccountId,
    identity: &VerifiedIdentity,
    now: Timestamp,
    look: Look,
) -> Result<Linked, Failure> {
    let key = &identity.origin().key;
    // The account first: what is written at the end holds only if it stayed so from before the claim.
    let Some(Held { version, state: State::Kept(record) }) = rows.account(id, look).await? else {
        return Ok(Linked::NoAccount);
    };
    let claim = rows.claim(key, look).await?;
    match &claim {
        Some(claim) if claim.account != *id => return Ok(Linked::Taken(owner(rows, key, claim, look).await?)),
        Some(_) if record.tie(key).is_some() => return Ok(Linked::Done(record.account)),
        _ => claim_for(rows, id, key, claim.as_ref()).await?,
    }
    let mut after = record.clone();
    after.account.identities.retain(|tie| tie.origin.key != *key);
    after.account.identities.push(first_seen(identity, now));
    let after = replace(rows, Some(&record), Some(version), after).await?;
    Ok(Linked::Done(after.account))
}

pub(super) async fn unlink(rows: &Rows, id: &AccountId, key: &IdentityKey, look: Look) -> Result<Unlinked, Failure> {
    let Some(Held { version, state: State::Kept(record) }) = rows.account(id, look).await? else {
        return Ok(Unlinked::NotThere);
    };
    if record.tie(key).is_none() {
        return Ok(Unlinked::NotThere);
    }
    if record.account.identities.len() < 2 {
        return Ok(Unlinked::Last);
    }
    // Read before it is un-named: a claim stamped later is of somebody who links it again.
    let claim = rows.claim(key, look).await?.filter(|claim| claim.account == *id);
    let mut after = record.clone();
    after.account.identities.retain(|tie| tie.origin.key != *key);
    let after = replace(rows, Some(&record), Some(version), after).await?;
    if let Some(claim) = claim {
        drop_void(rows, key, claim.stamp).await;
    }
    Ok(Unlinked::Done(after.account))
}

pub(super) async fn set_disabled(rows: &Rows, id: &AccountId, disabled: bool, look: Look) -> Result<bool, Failure> {
    let Some(Held { version, state: State::Kept(record) }) = rows.account(id, look).await? else {
        return Ok(false);
    };
    let mut after = record.clone();
    after.account.disabled = disabled;
    changed(rows, record, version, after).await?;
    Ok(true)
}

pub(super) async fn announced(rows: &Rows, id: &AccountId, look: Look) -> Result<(), Failure> {
    let Some(Held { version, state: State::Kept(record) }) = rows.account(id, look).await? else {
        return Ok(());
    };
    let after = Record { announced: true, ..record.clone() };
    let after = changed(rows, record, version, after).await?;
    Ok(rows.drop_waiting(id, after.account.created_at).await?)
}

pub(super) async fn delete(rows: &Rows, id: &AccountId, look: Look) -> Result<bool, Failure> {
    let Some(Held { version, state }) = rows.account(id, look).await? else { return Ok(false) };
    match state {
        State::Gone => return Ok(false),
        // A crash cut another deletion short.
        State::Leaving(record) => finish(rows, &record, version).await?,
        State::Kept(record) => {
            let (written, version) = rows.write(&record, true, Some(version)).await?;
            written.or_again()?;
            finish(rows, &record, version).await?;
        }
    }
    Ok(true)
}

pub(super) async fn put(rows: &Rows, account: &Account, look: Look) -> Result<Put, Failure> {
    let held = rows.account(&account.id, look).await?;
    if let Some(Held { version, state: State::Leaving(record) }) = &held {
        finish(rows, record, *version).await?;
        return Err(Failure::Collided);
    }
    let version = held.as_ref().map(|held| held.version);
    let before = held.and_then(Held::kept);
    let mut claims: Vec<(&IdentityKey, Option<Claim>)> = Vec::new();
    for key in keys(account) {
        let claim = rows.claim(key, look).await?;
        let twice = claims.iter().any(|(other, _)| *other == key);
        match claim {
            _ if twice => return Ok(Put::Conflict(key.clone())),
            Some(claim) if claim.account != account.id => {
                owner(rows, key, &claim, look).await?;
                return Ok(Put::Conflict(key.clone()));
            }
            claim => claims.push((key, claim)),
        }
    }
    let leaving = claims_left(rows, account, before.as_ref(), look).await?;
    claim_all(rows, &account.id, before.as_ref(), &claims).await?;
    let record = Record { account: account.clone(), announced: true, email_entry: None };
    replace(rows, before.as_ref(), version, record).await?;
    for (key, stamp) in leaving {
        drop_void(rows, key, stamp).await;
    }
    if let Some(before) = before.filter(|before| !before.announced) {
        rows.drop_waiting(&account.id, before.account.created_at).await?;
    }
    Ok(Put::Done)
}

fn keys(account: &Account) -> impl Iterator<Item = &IdentityKey> {
    account.identities.iter().map(|identity| &identity.origin.key)
}

/// The claims of identities that `before` names and `account` does not.
async fn claims_left<'a>(
    rows: &Rows,
    account: &Account,
    before: Option<&'a Record>,
    look: Look,
) -> Result<Vec<(&'a IdentityKey, Uuid)>, DirectoryError> {
    let mut left = Vec::new();
    for key in before.into_iter().flat_map(|before| keys(&before.account)) {
        if keys(account).any(|kept| kept == key) {
            continue;
        }
        let claim = rows.claim(key, look).await?;
        left.extend(claim.filter(|claim| claim.account == account.id).map(|claim| (key, claim.stamp)));
    }
    Ok(left)
}

/// Claims for `id` what `before` does not name yet; all or, when one was just taken, none.
async fn claim_all(
    rows: &Rows,
    id: &AccountId,
    before: Option<&Record>,
    claims: &[(&IdentityKey, Option<Claim>)],
) -> Result<(), Failure> {
    let mut staked = Vec::new();
    for (key, claim) in claims {
        if claim.is_some() && before.is_some_and(|before| before.tie(key).is_some()) {
            continue;
        }
        let mine = Claim { account: *id, stamp: fresh(), founded_at: None };
        let written = rows.stake(key, &mine, claim.as_ref().map(|claim| claim.stamp)).await?;
        if written != Written::Done {
            for (key, stamp) in staked {
                drop_void(rows, key, stamp).await;
            }
            return Err(Failure::Collided);
        }
        staked.push((*key, mine.stamp));
    }
    Ok(())
}

async fn claim_for(rows: &Rows, id: &AccountId, key: &IdentityKey, before: Option<&Claim>) -> Result<(), Failure> {
    let claim = Claim { account: *id, stamp: fresh(), founded_at: None };
    rows.stake(key, &claim, before.map(|before| before.stamp)).await?.or_again()
}

/// Whose an identity with this claim really is. A void claim is cleared away, for the next attempt.
async fn owner(rows: &Rows, key: &IdentityKey, claim: &Claim, look: Look) -> Result<AccountId, Failure> {
    match rows.account(&claim.account, look).await? {
        Some(Held { state: State::Kept(record), .. }) if record.tie(key).is_some() => Ok(claim.account),
        held => {
            void(rows, key, claim, held).await?;
            Err(Failure::Collided)
        }
    }
}

/// Drops a claim that gives the identity to nobody any more. If that fails, whoever meets it does.
async fn drop_void(rows: &Rows, key: &IdentityKey, stamp: Uuid) {
    if let Err(error) = rows.drop_claim(key, stamp).await {
        tracing::debug!(%error, "a claim that is void is still there");
    }
}

/// Writes `after` for `before`, unless they are the same.
async fn changed(rows: &Rows, before: Record, version: Uuid, after: Record) -> Result<Record, Failure> {
    if after == before { Ok(before) } else { replace(rows, Some(&before), Some(version), after).await }
}

/// Writes `after` where `version` stands, and keeps its entry in the index of addresses in step.
async fn replace(
    rows: &Rows,
    before: Option<&Record>,
    version: Option<Uuid>,
    mut after: Record,
) -> Result<Record, Failure> {
    let email = EmailKey::of_account(&after.account);
    let stays = before.is_some_and(|before| EmailKey::of_account(&before.account) == email);
    after.email_entry = match (before, email) {
        (Some(before), _) if stays => before.email_entry,
        (_, Some(email)) => {
            let entry = fresh();
            rows.add_email(email, &after.account.id, entry).await?;
            Some(entry)
        }
        (_, None) => None,
    };
    let (written, _) = rows.write(&after, false, version).await?;
    let useless = match written {
        Written::Done => before,
        Written::Lost => Some(&after),
        // It may yet come to stand.
        Written::Unsure => None,
    };
    if let Some(record) = useless.filter(|_| !stays)
        && let Err(error) = rows.drop_email_of(record).await
    {
        tracing::debug!(%error, "an entry of no use is still in the index of addresses");
    }
    written.or_again()?;
    Ok(after)
}

fn first_seen(identity: &VerifiedIdentity, now: Timestamp) -> Identity {
    Identity { origin: identity.origin().clone(), profile: identity.profile().clone(), linked_at: now, used_at: now }
}
