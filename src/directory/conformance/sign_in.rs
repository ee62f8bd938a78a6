//! Signing in, and what is told of it.

use std::{collections::BTreeSet, sync::Arc};

use super::{DAY, NOW, Replicas, key, person, settled, someone, vouched};
use crate::{
    directory::{Account, Linked, Page, Search, SignedIn, Unlinked},
    identity::AccountId,
};

pub(super) async fn a_first_sign_in_makes_the_account(Replicas { one, other, open: _kept }: Replicas) {
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

pub(super) async fn a_later_sign_in_updates_it(Replicas { one, other, open: _kept }: Replicas) {
    let first = settled(&one, &someone()).await;
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

pub(super) async fn of_many_first_sign_ins_at_once_one_makes_the_account(
    Replicas { one, other, open: _kept }: Replicas,
) {
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let directory = Arc::clone(if number % 2 == 0 { &one } else { &other });
            tokio::spawn(async move { directory.sign_in(&someone(), NOW).await.unwrap() })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        let SignedIn { account, created } = task.await.unwrap();
        assert!(created, "nobody has announced it");
        ids.push(account.id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(one.count().await.unwrap(), 1);
}

pub(super) async fn identities_are_told_apart_by_issuer_and_exact_spelling(
    Replicas { one, other, open: _kept }: Replicas,
) {
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

pub(super) async fn one_address_at_two_providers_is_two_accounts(Replicas { one, open: _kept, .. }: Replicas) {
    let email = "same@example.test";
    let here = one.sign_in(&vouched(key("https://a.test", "1"), email), NOW).await.unwrap();
    let there = one.sign_in(&vouched(key("https://b.test", "2"), email), NOW).await.unwrap();
    assert!(there.created);
    assert_ne!(here.account.id, there.account.id);
}

pub(super) async fn a_disabled_account_is_returned_unchanged(Replicas { one, other, open: _kept }: Replicas) {
    let before = settled(&one, &someone()).await;
    assert!(other.set_disabled(&before.id, true).await.unwrap());
    let moved = vouched(key("https://issuer.test", "1"), "new@example.test");
    let SignedIn { account, created } = one.sign_in(&moved, NOW.plus(DAY)).await.unwrap();
    assert!(!created);
    assert_eq!(account, Account { disabled: true, ..before.clone() });
    assert_eq!(other.find(&before.id).await.unwrap(), Some(account));
    assert!(one.set_disabled(&before.id, false).await.unwrap());
    let opened = one.sign_in(&moved, NOW.plus(DAY)).await.unwrap().account;
    assert_eq!((opened.disabled, opened.signed_in_at), (false, NOW.plus(DAY)));
}

pub(super) async fn what_is_not_there_is_none(Replicas { one, open: _kept, .. }: Replicas) {
    let nobody = AccountId::fresh(NOW);
    assert_eq!(one.find(&nobody).await.unwrap(), None);
    assert_eq!(one.find_by_identity(&key("https://issuer.test", "nobody")).await.unwrap(), None);
    assert!(!one.set_disabled(&nobody, true).await.unwrap());
    assert!(!one.delete(&nobody).await.unwrap());
    assert_eq!(one.link(&nobody, &someone(), NOW).await.unwrap(), Linked::NoAccount);
    assert_eq!(one.unlink(&nobody, &someone().origin().key).await.unwrap(), Unlinked::NotThere);
    one.announced(&nobody).await.unwrap();
    assert_eq!(one.unannounced(NOW.plus(DAY), 10).await.unwrap(), []);
    assert_eq!(one.list(&Search::Everyone, None, 10).await.unwrap(), Page { accounts: vec![], next: None });
    assert_eq!(one.count().await.unwrap(), 0);
}

pub(super) async fn ping_answers(Replicas { one, other, open: _kept }: Replicas) {
    one.ping().await.unwrap();
    other.ping().await.unwrap();
}

pub(super) async fn an_account_is_called_created_until_that_was_announced(
    Replicas { one, other, open: _kept }: Replicas,
) {
    let first = one.sign_in(&someone(), NOW).await.unwrap();
    let again = other.sign_in(&someone(), NOW.plus(DAY)).await.unwrap();
    assert!(first.created && again.created, "it could not be told that it was told");
    other.announced(&first.account.id).await.unwrap();
    other.announced(&first.account.id).await.unwrap();
    for directory in [&one, &other] {
        assert!(!directory.sign_in(&someone(), NOW.plus(DAY)).await.unwrap().created);
    }
}

pub(super) async fn what_was_not_announced_is_listed(Replicas { one, other, open: _kept }: Replicas) {
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(one.sign_in(&person(number), NOW).await.unwrap().account);
    }
    one.announced(&made.remove(0).id).await.unwrap();
    let later = one.sign_in(&person(9), NOW.plus(DAY)).await.unwrap().account;
    let ids = |accounts: &[Account]| accounts.iter().map(|account| account.id).collect::<BTreeSet<_>>();
    let found = other.unannounced(NOW.plus(DAY), 10).await.unwrap();
    assert_eq!(ids(&found), ids(&made), "made before, not told");
    assert!(found.contains(&made[0]), "whole accounts");
    assert_eq!(other.unannounced(NOW.plus(DAY), 2).await.unwrap().len(), 2);
    assert_eq!(other.unannounced(NOW, 10).await.unwrap(), []);
    one.delete(&made.remove(0).id).await.unwrap();
    made.push(later);
    assert_eq!(ids(&other.unannounced(NOW.plus(DAY * 2), 10).await.unwrap()), ids(&made));
    for account in &made {
        other.announced(&account.id).await.unwrap();
    }
    assert_eq!(one.unannounced(NOW.plus(DAY * 2), 10).await.unwrap(), []);
}

pub(super) async fn everything_is_there_after_a_restart(replicas: Replicas) {
    let account = settled(&replicas.one, &someone()).await;
    let Linked::Done(linked) = replicas.other.link(&account.id, &person(2), NOW.plus(DAY)).await.unwrap() else {
        panic!("it is free");
    };
    replicas.one.set_disabled(&account.id, true).await.unwrap();
    let untold = replicas.one.sign_in(&person(3), NOW).await.unwrap().account;
    let Replicas { one, other, open: _kept } = replicas.reopened().await;
    let expected = Account { disabled: true, ..linked };
    assert_eq!(one.find(&account.id).await.unwrap(), Some(expected));
    assert_eq!(other.unannounced(NOW.plus(DAY), 10).await.unwrap(), [untold]);
    assert_eq!(other.count().await.unwrap(), 2);
}
