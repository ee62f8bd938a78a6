//! What every directory must do, word by word of [`Directory`]'s contract. Time is moved by hand.
//!
//! A case takes two handles of one directory, as two replicas would have. A new engine is one more row in
//! `conformance!`.

use std::{any::Any, sync::Arc, time::Duration};

use super::{Directory, SignedIn};
use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Issuer, Origin, Profile, ProviderName, Subject, VerifiedIdentity},
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Two handles of one directory, and what must live as long as they.
struct Replicas {
    one: Arc<dyn Directory>,
    other: Arc<dyn Directory>,
    _kept: Box<dyn Any>,
}

macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(super::sqlite_replicas().await).await } )*
        }
    };
}

conformance!(
    a_first_sign_in_makes_the_account,
    a_later_sign_in_updates_it,
    of_many_first_sign_ins_at_once_one_makes_the_account,
    identities_are_told_apart_by_issuer_and_exact_spelling,
    one_address_at_two_providers_is_two_accounts,
    a_disabled_account_is_returned_unchanged,
    what_is_not_there_is_none,
    ping_answers,
);

/// The file is opened twice, as by two processes.
async fn sqlite_replicas() -> Replicas {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("brama.db");
    let mut handles: Vec<Arc<dyn Directory>> = Vec::new();
    for _ in 0..2 {
        let file = super::sql::sqlite::SqliteFile::open(&path).await.unwrap();
        handles.push(Arc::new(super::sql::SqlDirectory::open(file).await.unwrap()));
    }
    Replicas { one: handles.remove(0), other: handles.remove(0), _kept: Box::new(folder) }
}

fn key(issuer: &str, subject: &str) -> IdentityKey {
    IdentityKey { issuer: Issuer::new(issuer), subject: Subject::new(subject) }
}

fn vouched(key: IdentityKey, email: &str) -> VerifiedIdentity {
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
        name: Some("Лариса ' \" \\ O'Brien".into()),
        groups: vec!["dev".into(), "ops".into()],
        claims: [("hd".to_owned(), serde_json::json!({"deep": [1, null, "x"]}))].into(),
        ..Profile::default()
    };
    VerifiedIdentity::vouched(origin, profile).unwrap()
}

fn someone() -> VerifiedIdentity {
    vouched(key("https://issuer.test", "1"), "someone@example.test")
}

async fn a_first_sign_in_makes_the_account(Replicas { one, other, _kept }: Replicas) {
    let person = someone();
    let SignedIn { account, created } = one.sign_in(&person, NOW).await.unwrap();
    assert!(created);
    assert_eq!((account.created_at, account.signed_in_at, account.disabled), (NOW, NOW, false));
    assert_eq!(&account.profile, person.profile());
    assert_eq!(account.identities.len(), 1);
    let identity = &account.identities[0];
    assert_eq!((&identity.origin, &identity.profile), (person.origin(), person.profile()));
    assert_eq!((identity.linked_at, identity.used_at), (NOW, NOW));
    assert_eq!(other.find(&account.id).await.unwrap().as_ref(), Some(&account));
    assert_eq!(other.find_by_identity(&person.origin().key).await.unwrap(), Some(account));
    assert_eq!(other.count().await.unwrap(), 1);
}

async fn a_later_sign_in_updates_it(Replicas { one, other, _kept }: Replicas) {
    let first = one.sign_in(&someone(), NOW).await.unwrap().account;
    let later = NOW.plus(DAY);
    let moved = vouched(key("https://issuer.test", "1"), "new@example.test");
    let SignedIn { account, created } = other.sign_in(&moved, later).await.unwrap();
    assert!(!created);
    assert_eq!((account.id, account.created_at, account.signed_in_at), (first.id, NOW, later));
    assert_eq!(account.profile.email.as_deref(), Some("new@example.test"));
    assert_eq!((account.identities[0].linked_at, account.identities[0].used_at), (NOW, later));
    assert_eq!(account.identities[0].profile.email.as_deref(), Some("new@example.test"));
    assert_eq!(one.find(&first.id).await.unwrap(), Some(account));
    assert_eq!(one.count().await.unwrap(), 1);
}

async fn of_many_first_sign_ins_at_once_one_makes_the_account(Replicas { one, other, _kept }: Replicas) {
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let directory = Arc::clone(if number % 2 == 0 { &one } else { &other });
            tokio::spawn(async move { directory.sign_in(&someone(), NOW).await.unwrap() })
        })
        .collect();
    let mut made = Vec::new();
    let mut ids = Vec::new();
    for task in tasks {
        let SignedIn { account, created } = task.await.unwrap();
        made.extend(created.then_some(account.id));
        ids.push(account.id);
    }
    assert_eq!(made.len(), 1);
    assert!(ids.iter().all(|id| *id == made[0]));
    assert_eq!(one.count().await.unwrap(), 1);
}

async fn identities_are_told_apart_by_issuer_and_exact_spelling(Replicas { one, other, _kept }: Replicas) {
    let keys = [
        key("https://issuer.test", "a"),
        key("https://issuer.test", "A"),
        key("https://issuer.test/", "a"),
        key("https://other.test", "a"),
        key("https://issuer.test", "a "),
    ];
    let mut ids = Vec::new();
    for key in &keys {
        let signed_in = one.sign_in(&vouched(key.clone(), "a@example.test"), NOW).await.unwrap();
        assert!(signed_in.created, "{key:?}");
        ids.push(signed_in.account.id);
    }
    for (key, id) in keys.iter().zip(ids) {
        assert_eq!(other.find_by_identity(key).await.unwrap().unwrap().id, id, "{key:?}");
    }
    assert_eq!(one.count().await.unwrap(), 5);
}

async fn one_address_at_two_providers_is_two_accounts(Replicas { one, _kept, .. }: Replicas) {
    let email = "same@example.test";
    let here = one.sign_in(&vouched(key("https://a.test", "1"), email), NOW).await.unwrap();
    let there = one.sign_in(&vouched(key("https://b.test", "2"), email), NOW).await.unwrap();
    assert!(there.created);
    assert_ne!(here.account.id, there.account.id);
}

async fn a_disabled_account_is_returned_unchanged(Replicas { one, other, _kept }: Replicas) {
    let before = one.sign_in(&someone(), NOW).await.unwrap().account;
    assert!(other.set_disabled(&before.id, true).await.unwrap());
    let moved = vouched(key("https://issuer.test", "1"), "new@example.test");
    let SignedIn { account, created } = one.sign_in(&moved, NOW.plus(DAY)).await.unwrap();
    assert!(!created);
    assert_eq!(account, super::Account { disabled: true, ..before.clone() });
    assert_eq!(other.find(&before.id).await.unwrap(), Some(account));
    assert!(one.set_disabled(&before.id, false).await.unwrap());
    let opened = one.sign_in(&moved, NOW.plus(DAY)).await.unwrap().account;
    assert_eq!((opened.disabled, opened.signed_in_at), (false, NOW.plus(DAY)));
}

async fn what_is_not_there_is_none(Replicas { one, _kept, .. }: Replicas) {
    let nobody = AccountId::fresh(NOW);
    assert_eq!(one.find(&nobody).await.unwrap(), None);
    assert_eq!(one.find_by_identity(&key("https://issuer.test", "nobody")).await.unwrap(), None);
    assert!(!one.set_disabled(&nobody, true).await.unwrap());
    assert_eq!(one.count().await.unwrap(), 0);
}

async fn ping_answers(Replicas { one, other, _kept }: Replicas) {
    one.ping().await.unwrap();
    other.ping().await.unwrap();
}
