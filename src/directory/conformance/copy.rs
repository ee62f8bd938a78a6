//! Whole accounts put, as in a copy from another directory.

use super::{DAY, NOW, Replicas, key, person, settled, someone, vouched};
use crate::{
    directory::{Account, Identity, Put, Search},
    identity::{AccountId, VerifiedIdentity},
};

fn identity(vouched: &VerifiedIdentity) -> Identity {
    Identity {
        origin: vouched.origin().clone(),
        profile: vouched.profile().clone(),
        linked_at: NOW,
        used_at: NOW.plus(DAY),
    }
}

/// An account of two identities, as another directory holds it.
fn foreign() -> Account {
    let second = vouched(key("https://other.test", "b"), "second@example.test");
    Account {
        id: AccountId::fresh(NOW),
        created_at: NOW,
        signed_in_at: NOW.plus(DAY),
        disabled: true,
        profile: second.profile().clone(),
        identities: vec![identity(&someone()), Identity { linked_at: NOW.plus(DAY), ..identity(&second) }],
    }
}

pub(super) async fn what_is_put_is_there_as_given_however_often(Replicas { one, other, open: _kept }: Replicas) {
    let account = foreign();
    for directory in [&one, &other, &one] {
        assert_eq!(directory.put(&account).await.unwrap(), Put::Done);
        assert_eq!(other.find(&account.id).await.unwrap().as_ref(), Some(&account));
    }
    assert_eq!(other.find_by_identity(&someone().origin().key).await.unwrap().as_ref(), Some(&account));
    let search = Search::Email("SECOND@example.test".into());
    assert_eq!(other.list(&search, None, 10).await.unwrap().accounts, [account]);
    assert_eq!(other.count().await.unwrap(), 1);
}

pub(super) async fn what_is_put_replaces_what_was_there(Replicas { one, other, open: _kept }: Replicas) {
    let mut account = foreign();
    assert_eq!(one.put(&account).await.unwrap(), Put::Done);
    account.identities.remove(0);
    account.identities.push(Identity { linked_at: NOW.plus(DAY * 2), ..identity(&person(7)) });
    account.profile = person(7).profile().clone();
    account.disabled = false;
    assert_eq!(other.put(&account).await.unwrap(), Put::Done);
    assert_eq!(one.find(&account.id).await.unwrap().as_ref(), Some(&account));
    assert_eq!(one.find_by_identity(&someone().origin().key).await.unwrap(), None, "it is no longer its");
    let old = Search::Email("second@example.test".into());
    assert_eq!(one.list(&old, None, 10).await.unwrap().accounts, []);
    let signed_in = one.sign_in(&person(7), NOW.plus(DAY * 3)).await.unwrap();
    assert_eq!((signed_in.account.id, signed_in.created), (account.id, false));
}

pub(super) async fn what_would_take_an_identity_from_another_account_is_a_conflict(
    Replicas { one, other, open: _kept }: Replicas,
) {
    let account = foreign();
    let taken = VerifiedIdentity::vouched(account.identities[1].origin.clone(), person(1).profile().clone()).unwrap();
    let owner = settled(&one, &taken).await;
    assert_eq!(other.put(&account).await.unwrap(), Put::Conflict(taken.origin().key.clone()));
    assert_eq!(one.find(&account.id).await.unwrap(), None, "nothing was written");
    assert_eq!(one.find_by_identity(&someone().origin().key).await.unwrap(), None);
    assert_eq!(one.find(&owner.id).await.unwrap(), Some(owner));
    assert_eq!(one.count().await.unwrap(), 1);
    // Nor is anything changed of an account that is there.
    let mut account = Account { identities: vec![account.identities[0].clone()], ..account };
    assert_eq!(one.put(&account).await.unwrap(), Put::Done);
    let before = account.clone();
    account.identities.push(identity(&taken));
    account.disabled = false;
    assert_eq!(other.put(&account).await.unwrap(), Put::Conflict(taken.origin().key.clone()));
    assert_eq!(one.find(&account.id).await.unwrap(), Some(before));
}

pub(super) async fn what_was_put_counts_as_announced(Replicas { one, other, open: _kept }: Replicas) {
    let untold = one.sign_in(&person(5), NOW).await.unwrap().account;
    assert_eq!(one.put(&foreign()).await.unwrap(), Put::Done);
    assert_eq!(other.unannounced(NOW.plus(DAY), 10).await.unwrap(), std::slice::from_ref(&untold));
    assert_eq!(one.put(&untold).await.unwrap(), Put::Done);
    assert_eq!(other.unannounced(NOW.plus(DAY), 10).await.unwrap(), []);
    let signed_in = other.sign_in(&vouched(key("https://other.test", "b"), "x@y.test"), NOW).await.unwrap();
    assert!(!signed_in.created);
}
