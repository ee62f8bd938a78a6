//! Telling of accounts whose making was not told.
//!
//! An account is made in the directory, and its making is told with the session that follows, in another store. Should
//! the process die in between, or the session not begin, nobody has told of it: this chore looks for such accounts and
//! tells of them. The event's id follows from the account, so whoever hears of it twice knows it.

use std::{sync::Arc, time::Duration};

use super::Foundation;
use crate::{
    directory::{Account, DirectoryError},
    event::{Event, What, outbox::OutboxError},
    secret,
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How old an account is before its sign-in can be taken for dead.
const AFTER: Duration = Duration::from_secs(60);
/// How many accounts at a time.
const BATCH: u16 = 100;
/// One replica looks at a time; how long it may take for a batch.
const LEASE: Duration = Duration::from_secs(50);

#[derive(Debug, thiserror::Error)]
pub(super) enum AnnounceError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

/// Looks for the life of the process.
pub(super) async fn keep(foundation: Arc<Foundation>) {
    let holder = secret::random_text();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = look(&foundation, &holder).await {
            tracing::debug!(%error, "accounts that were not told of are looked for later");
        }
    }
}

/// Tells of every account made long enough ago and not told of; returns how many.
pub(super) async fn look(foundation: &Foundation, holder: &str) -> Result<usize, AnnounceError> {
    let outbox = foundation.sessions.store();
    let mut told = 0;
    // Usually there is nothing, and no lease is needed to see that.
    while !untold(foundation).await?.is_empty() {
        if !outbox.claim("announce", holder, LEASE, foundation.clock.now()).await? {
            break;
        }
        // Read again, for another replica may just have been here.
        for account in untold(foundation).await? {
            let event = creation(&account);
            outbox.append(&foundation.events.letters(std::slice::from_ref(&event))).await?;
            foundation.events.tell(&event);
            // After the letter is safe: a crash here repeats it, and loses nothing.
            foundation.directory.announced(&account.id).await?;
            told += 1;
        }
    }
    Ok(told)
}

async fn untold(foundation: &Foundation) -> Result<Vec<Account>, DirectoryError> {
    foundation.directory.unannounced(foundation.clock.now().minus(AFTER), BATCH).await
}

fn creation(account: &Account) -> Event {
    let first = account.identities.first();
    Event {
        account: Some(account.id),
        provider: first.map(|identity| identity.origin.provider.clone()),
        identity: first.map(|identity| identity.origin.key.clone()),
        profile: first.map(|identity| identity.profile.clone()),
        ..Event::new(account.created_at, What::AccountCreated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app::test_gateway::TestGateway,
        event::outbox::{Partition, Position},
        identity::{IdentityKey, Issuer, Origin, Profile, ProviderName, Subject, VerifiedIdentity},
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_account_whose_making_a_crash_left_untold_is_told_of_once_it_is_old_enough() {
        // The sink cannot be written, so that the letter is found where it waits.
        let gateway = TestGateway::start(
            "[event.sink.lines]\nkind = \"file\"\n[event.sink.lines.file]\npath = \"/nonexistent/events.jsonl\"\n",
        )
        .await;
        let foundation = gateway.running.foundation();
        let now = foundation.clock.now();
        let key = IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new("someone") };
        let origin = Origin {
            provider: ProviderName::new("google"),
            key,
            at: now,
            acr: None,
            amr: vec![],
            connection: None,
            sid: None,
        };
        let identity = VerifiedIdentity::vouched(origin, Profile::default()).unwrap();
        // Signed in, and then nothing: as when the process dies before the session begins.
        let old = foundation.directory.sign_in(&identity, now.minus(2 * AFTER)).await.unwrap().account;
        assert_eq!(look(foundation, "one").await.unwrap(), 1);
        assert_eq!(look(foundation, "one").await.unwrap(), 0, "once is enough");
        let partition = Partition::of(&old.id.to_string());
        let waiting = foundation.sessions.store().peek(partition, Position::default(), 10).await.unwrap();
        assert_eq!(waiting.len(), 1);
        assert_eq!(waiting[0].letter.kind, "io.brama.account.created");
        // The letter that the sign-in itself would have written has the same id.
        let event = Event { account: Some(old.id), ..Event::new(now, What::AccountCreated) };
        assert_eq!(waiting[0].letter.id, foundation.events.letters(&[event])[0].id);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_account_that_is_being_made_is_left_to_its_sign_in() {
        let gateway = TestGateway::start("").await;
        let mut browser = gateway.browser();
        browser.sign_in(&gateway, "olena", "google").await;
        assert_eq!(look(gateway.running.foundation(), "one").await.unwrap(), 0);
    }
}
