//! What every directory must do, word by word of [`Directory`]'s contract. Time is moved by hand.
//!
//! A case takes one directory as two replicas hold it, and may open it once more as a process started later does. A new
//! engine is one more row below: its name, and what makes its [`Replicas`].

mod copy;
mod list;
mod sign_in;
mod tie;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use super::{Account, Directory, SignedIn};
use crate::{
    clock::Timestamp,
    identity::{IdentityKey, Issuer, Origin, Profile, ProviderName, Subject, VerifiedIdentity},
};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// One directory, empty at first, as two replicas hold it.
pub(crate) struct Replicas {
    pub(crate) one: Arc<dyn Directory>,
    pub(crate) other: Arc<dyn Directory>,
    /// Opens it once more. Holds whatever must live as long as the directory.
    open: Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Directory>> + Send + Sync>,
}

impl Replicas {
    /// Of the directory that `open` opens.
    pub(crate) async fn of(open: impl Fn() -> BoxFuture<'static, Arc<dyn Directory>> + Send + Sync + 'static) -> Self {
        Self { one: open().await, other: open().await, open: Box::new(open) }
    }

    /// Lets both handles go and opens the directory anew, as after a restart of everything.
    async fn reopened(self) -> Self {
        let Self { one, other, open } = self;
        drop((one, other));
        Self { one: open().await, other: open().await, open }
    }
}

macro_rules! conformance {
    ($engine:ident, $replicas:path) => {
        mod $engine {
            use super::*;
            conformance!(@cases $replicas;
                sign_in::a_first_sign_in_makes_the_account,
                sign_in::a_later_sign_in_updates_it,
                sign_in::of_many_first_sign_ins_at_once_one_makes_the_account,
                sign_in::identities_are_told_apart_by_issuer_and_exact_spelling,
                sign_in::one_address_at_two_providers_is_two_accounts,
                sign_in::a_disabled_account_is_returned_unchanged,
                sign_in::what_is_not_there_is_none,
                sign_in::ping_answers,
                sign_in::an_account_is_called_created_until_that_was_announced,
                sign_in::what_was_not_announced_is_listed,
                sign_in::everything_is_there_after_a_restart,
                tie::a_linked_identity_signs_in_to_the_account,
                tie::an_identity_of_another_account_is_taken,
                tie::of_two_links_of_one_identity_at_once_one_is_done,
                tie::a_link_and_a_first_sign_in_at_once_end_in_one_account,
                tie::an_unlinked_identity_makes_a_new_account,
                tie::the_last_identity_stays,
                tie::of_two_unlinks_of_the_last_two_identities_at_once_one_is_done,
                tie::a_deleted_account_is_gone_and_its_person_gets_a_new_one,
                tie::a_deletion_and_a_sign_in_at_once_leave_nothing_half,
                list::every_account_is_listed_once,
                list::a_search_finds_the_address_whatever_its_letter_case,
                list::a_search_has_pages_too,
                copy::what_is_put_is_there_as_given_however_often,
                copy::what_is_put_replaces_what_was_there,
                copy::what_would_take_an_identity_from_another_account_is_a_conflict,
                copy::what_was_put_counts_as_announced,
            );
        }
    };
    (@cases $replicas:path; $($module:ident::$case:ident),* $(,)?) => {
        $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() { $module::$case($replicas().await).await } )*
    };
}

conformance!(sqlite, sqlite_replicas);
#[cfg(feature = "directory-mongodb")]
conformance!(mongodb, crate::directory::mongodb::server::replicas);
#[cfg(feature = "directory-postgres")]
conformance!(postgres, crate::directory::sql::postgres::tests::replicas);
#[cfg(feature = "directory-cassandra")]
conformance!(cassandra, crate::directory::cassandra::tests::replicas);

/// The file is opened twice, as by two processes.
async fn sqlite_replicas() -> Replicas {
    let folder = tempfile::tempdir().unwrap();
    Replicas::of(move || {
        let path = folder.path().join("brama.db");
        Box::pin(async move {
            let file = super::sql::sqlite::SqliteFile::open(&path).await.unwrap();
            Arc::new(super::sql::SqlDirectory::embedded(file, true).await.unwrap()) as Arc<dyn Directory>
        })
    })
    .await
}

pub(crate) fn key(issuer: &str, subject: &str) -> IdentityKey {
    IdentityKey { issuer: Issuer::new(issuer), subject: Subject::new(subject) }
}

pub(crate) fn vouched(key: IdentityKey, email: &str) -> VerifiedIdentity {
    let origin = Origin {
        provider: ProviderName::new("google"),
        key,
        at: NOW,
        acr: Some("gold".into()),
        amr: vec!["pwd".into(), "otp".into()],
        connection: None,
        sid: Some("sid".into()),
    };
    let profile = Profile {
        email: Some(email.into()),
        email_verified: true,
        name: Some("Лариса ' \" \\ O'Brien \u{0}".into()),
        groups: vec!["dev".into(), "ops".into()],
        claims: [("hd".to_owned(), serde_json::json!({"deep": [1, null, "x"], "dotted.$name": 1.5}))].into(),
        ..Profile::default()
    };
    VerifiedIdentity::vouched(origin, profile).unwrap()
}

pub(crate) fn someone() -> VerifiedIdentity {
    vouched(key("https://issuer.test", "1"), "someone@example.test")
}

/// The person of this number.
pub(crate) fn person(number: usize) -> VerifiedIdentity {
    vouched(key("https://issuer.test", &number.to_string()), &format!("{number}@example.test"))
}

/// Signs the person in, and announces the account.
pub(crate) async fn settled(directory: &Arc<dyn Directory>, identity: &VerifiedIdentity) -> Account {
    let SignedIn { account, .. } = directory.sign_in(identity, NOW).await.unwrap();
    directory.announced(&account.id).await.unwrap();
    account
}

/// Awaits both at the same time, on different workers where there are any.
async fn together<A: Send + 'static, B: Send + 'static>(
    a: impl Future<Output = A> + Send + 'static,
    b: impl Future<Output = B> + Send + 'static,
) -> (A, B) {
    let (a, b) = (tokio::spawn(a), tokio::spawn(b));
    (a.await.unwrap(), b.await.unwrap())
}
