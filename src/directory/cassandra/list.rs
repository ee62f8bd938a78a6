//! Lists: everyone, by address, and those not told of yet.

use std::{pin::pin, time::Duration};

use futures_util::TryStreamExt as _;

use super::{
    change::Failure,
    clear::{fence, finish},
    index::{EmailKey, hour},
    rows::{Held, Look, Record, Rows, State},
};
use crate::{
    clock::Timestamp,
    directory::{Account, Cursor, DirectoryError, Page},
    identity::AccountId,
};

/// After this long nobody is still about to write into an hour.
const HOUR_IS_OVER: Duration = Duration::from_secs(24 * 3600);

/// A page that fills up.
struct Filling {
    accounts: Vec<Account>,
    limit: usize,
}

impl Filling {
    fn new(limit: u16) -> Self {
        Self { accounts: Vec::new(), limit: usize::from(limit.max(1)) }
    }

    /// Takes one more. False when there are more than fit, so that there is a next page.
    fn take(&mut self, account: Account) -> bool {
        self.accounts.push(account);
        self.accounts.len() <= self.limit
    }

    fn page(mut self) -> Page {
        let more = self.accounts.len() > self.limit;
        self.accounts.truncate(self.limit);
        let next = self.accounts.last().filter(|_| more).map(|last| Cursor::new(last.id.to_string()));
        Page { accounts: self.accounts, next }
    }
}

/// The id a cursor of ours holds. One of another engine begins anew.
pub(super) fn place(after: Option<&Cursor>) -> Option<AccountId> {
    after.and_then(|cursor| AccountId::parse(cursor.as_str()))
}

/// In the order of the ids' tokens: the one order in which Cassandra gives all rows.
pub(super) async fn everyone(rows: &Rows, after: Option<AccountId>, limit: u16) -> Result<Page, Failure> {
    let mut filling = Filling::new(limit);
    let mut found = pin!(rows.everyone(after.as_ref(), i32::from(limit) + 1).await?);
    while let Some(row) = found.try_next().await? {
        match row.held()? {
            Some(Held { state: State::Kept(record), .. }) => {
                if !filling.take(record.account) {
                    break;
                }
            }
            Some(Held { version, state: State::Leaving(record) }) => tidy(finish(rows, &record, version).await),
            Some(Held { state: State::Gone, .. }) | None => {}
        }
    }
    Ok(filling.page())
}

/// In the order of the ids.
pub(super) async fn with_email(
    rows: &Rows,
    email: &str,
    after: Option<AccountId>,
    limit: u16,
) -> Result<Page, Failure> {
    let mut filling = Filling::new(limit);
    let email = EmailKey::of(email);
    let mut found = pin!(rows.emails(email, after.as_ref()).await?);
    while let Some((id, entry)) = found.try_next().await? {
        let id = AccountId::from_uuid(id);
        let held = rows.account(&id, Look::Usual).await?;
        let is_its =
            |record: &Record| record.email_entry == Some(entry) && EmailKey::of_account(&record.account) == Some(email);
        match held {
            Some(Held { state: State::Kept(record), .. }) if is_its(&record) => {
                if !filling.take(record.account) {
                    break;
                }
            }
            held => {
                let cleared = match fence(rows, &id, held).await {
                    Ok(()) => rows.drop_email(email, &id, entry).await.map_err(Failure::from),
                    Err(failure) => Err(failure),
                };
                tidy(cleared);
            }
        }
    }
    Ok(filling.page())
}

/// Those made before `before` and not told of yet, oldest first.
pub(super) async fn unannounced(rows: &Rows, before: Timestamp, limit: u16) -> Result<Vec<Account>, Failure> {
    let mut waiting = Vec::new();
    for hour in rows.hours(before).await? {
        let mut empty = true;
        let mut found = pin!(rows.waiting(hour, before).await?);
        while let Some((made_at, id)) = found.try_next().await? {
            if waiting.len() >= usize::from(limit) {
                return Ok(waiting);
            }
            empty = false;
            waiting.extend(still_waiting(rows, AccountId::from_uuid(id), Timestamp::from_millis(made_at)).await?);
        }
        if empty && hour < self::hour(before.minus(HOUR_IS_OVER)) {
            rows.drop_hour(hour).await?;
        }
    }
    Ok(waiting)
}

/// The account that a row says waits, if it does; else the row is cleared away.
async fn still_waiting(rows: &Rows, id: AccountId, made_at: Timestamp) -> Result<Option<Account>, Failure> {
    let cleared = match rows.account(&id, Look::Usual).await? {
        Some(Held { state: State::Kept(record), .. }) if !record.announced && record.account.created_at == made_at => {
            return Ok(Some(record.account));
        }
        // It was made at another time, or has been told of, or is no more: nobody is making it now.
        Some(Held { state: State::Kept(_) | State::Gone, .. }) => Ok(()),
        held => fence(rows, &id, held).await,
    };
    match cleared {
        Ok(()) => rows.drop_waiting(&id, made_at).await?,
        failed => tidy(failed),
    }
    Ok(None)
}

/// How many there are: all rows are read.
pub(super) async fn count(rows: &Rows) -> Result<u64, DirectoryError> {
    let mut count = 0;
    let mut found = pin!(rows.states().await?);
    while let Some((gone,)) = found.try_next().await? {
        count += u64::from(gone == Some(false));
    }
    Ok(count)
}

/// Clearing away is not what was asked for: when it fails, the next one who passes does it.
fn tidy(cleared: Result<(), Failure>) {
    if let Err(Failure::Directory(error)) = cleared {
        tracing::debug!(%error, "a leftover could not be cleared away");
    }
}
