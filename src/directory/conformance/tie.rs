//! Identities tied to accounts and untied from them, and accounts removed.

use std::sync::Arc;

use super::{DAY, NOW, Replicas, key, person, settled, someone, together, vouched};
use crate::{
    directory::{Account, Directory, Linked, Search, Unlinked},
    identity::VerifiedIdentity,
};

/// How often a race is run: each time in another order, as it comes.
const ROUNDS: usize = 12;

/// A second identity for someone.
fn second() -> VerifiedIdentity {
    vouched(key("https://other.test", "b"), "second@example.test")
}

async fn linked(directory: &Arc<dyn Directory>, account: &Account, identity: &VerifiedIdentity) -> Account {
    match directory.link(&account.id, identity, NOW.plus(DAY)).await.unwrap() {
        Linked::Done(account) => account,
        other => panic!("not linked: {other:?}"),
    }
}

pub(super) async fn a_linked_identity_signs_in_to_the_account(Replicas { one, other, open: _kept }: Replicas) {
    let before = settled(&one, &someone()).await;
    let account = linked(&other, &before, &second()).await;
    assert_eq!(account.identities[..1], before.identities[..]);
    let tie = &account.identities[1];
    assert_eq!((&tie.origin, &tie.profile), (second().origin(), second().profile()));
    assert_eq!((tie.linked_at, tie.used_at), (NOW.plus(DAY), NOW.plus(DAY)));
    assert_eq!(Account { identities: before.identities.clone(), ..account.clone() }, before, "nothing else changed");
    assert_eq!(one.find_by_identity(&second().origin().key).await.unwrap().as_ref(), Some(&account));
    assert_eq!(one.link(&before.id, &second(), NOW.plus(DAY * 2)).await.unwrap(), Linked::Done(account.clone()));
    let signed_in = one.sign_in(&second(), NOW.plus(DAY * 2)).await.unwrap();
    assert_eq!((signed_in.account.id, signed_in.created), (before.id, false));
    assert_eq!(signed_in.account.profile, *second().profile());
    assert_eq!(signed_in.account.identities[0], before.identities[0], "the other identity is as it was");
    assert_eq!(one.count().await.unwrap(), 1);
}

pub(super) async fn an_identity_of_another_account_is_taken(Replicas { one, other, open: _kept }: Replicas) {
    let owner = settled(&one, &second()).await;
    let account = settled(&one, &someone()).await;
    assert_eq!(other.link(&account.id, &second(), NOW).await.unwrap(), Linked::Taken(owner.id));
    assert_eq!(other.find(&account.id).await.unwrap(), Some(account));
    assert_eq!(other.find_by_identity(&second().origin().key).await.unwrap(), Some(owner));
}

pub(super) async fn of_two_links_of_one_identity_at_once_one_is_done(Replicas { one, other, open: _kept }: Replicas) {
    let (a, b) = (settled(&one, &person(1)).await.id, settled(&one, &person(2)).await.id);
    for round in 0..ROUNDS {
        let identity = person(100 + round);
        let (one, other) = (one.clone(), other.clone());
        let (for_one, for_other) = (identity.clone(), identity.clone());
        let outcome = together(async move { one.link(&a, &for_one, NOW).await.unwrap() }, async move {
            other.link(&b, &for_other, NOW).await.unwrap()
        })
        .await;
        match outcome {
            (Linked::Done(account), Linked::Taken(owner)) => assert_eq!((account.id, owner), (a, a)),
            (Linked::Taken(owner), Linked::Done(account)) => assert_eq!((account.id, owner), (b, b)),
            outcome => panic!("{outcome:?}"),
        }
    }
    let counts = [one.find(&a).await.unwrap().unwrap(), one.find(&b).await.unwrap().unwrap()];
    assert_eq!(counts.iter().map(|account| account.identities.len()).sum::<usize>(), ROUNDS + 2);
}

pub(super) async fn a_link_and_a_first_sign_in_at_once_end_in_one_account(
    Replicas { one, other, open: _kept }: Replicas,
) {
    let host = settled(&one, &someone()).await.id;
    for round in 0..ROUNDS {
        let identity = person(100 + round);
        let (linking, signing) = (one.clone(), other.clone());
        let (for_link, for_sign_in) = (identity.clone(), identity.clone());
        let (link, signed_in) =
            together(async move { linking.link(&host, &for_link, NOW).await.unwrap() }, async move {
                signing.sign_in(&for_sign_in, NOW).await.unwrap().account
            })
            .await;
        let owner = one.find_by_identity(&identity.origin().key).await.unwrap().unwrap();
        assert_eq!(owner.id, signed_in.id);
        match link {
            Linked::Done(account) => assert_eq!((account.id, owner.id), (host, host)),
            Linked::Taken(by) => assert!(by == owner.id && by != host),
            Linked::NoAccount => panic!("it is there"),
        }
    }
}

pub(super) async fn an_unlinked_identity_makes_a_new_account(Replicas { one, other, open: _kept }: Replicas) {
    let before = settled(&one, &someone()).await;
    linked(&one, &before, &second()).await;
    let key = &second().origin().key.clone();
    assert_eq!(other.unlink(&before.id, key).await.unwrap(), Unlinked::Done(before.clone()));
    assert_eq!(one.find_by_identity(key).await.unwrap(), None);
    assert_eq!(other.unlink(&before.id, key).await.unwrap(), Unlinked::NotThere);
    let again = one.sign_in(&second(), NOW).await.unwrap();
    assert!(again.created && again.account.id != before.id);
    assert_eq!(other.unlink(&before.id, key).await.unwrap(), Unlinked::NotThere, "another account's");
}

pub(super) async fn the_last_identity_stays(Replicas { one, other, open: _kept }: Replicas) {
    let account = settled(&one, &someone()).await;
    assert_eq!(other.unlink(&account.id, &someone().origin().key).await.unwrap(), Unlinked::Last);
    assert_eq!(one.find(&account.id).await.unwrap(), Some(account));
}

pub(super) async fn of_two_unlinks_of_the_last_two_identities_at_once_one_is_done(
    Replicas { one, other, open: _kept }: Replicas,
) {
    for round in 0..ROUNDS {
        let (first, second) = (person(2 * round), person(2 * round + 1));
        let id = settled(&one, &first).await.id;
        linked(&one, &one.find(&id).await.unwrap().unwrap(), &second).await;
        let (here, there) = (one.clone(), other.clone());
        let outcome = together(async move { here.unlink(&id, &first.origin().key).await.unwrap() }, async move {
            there.unlink(&id, &second.origin().key).await.unwrap()
        })
        .await;
        let left = one.find(&id).await.unwrap().expect("the account stays");
        match outcome {
            (Unlinked::Done(account), Unlinked::Last) | (Unlinked::Last, Unlinked::Done(account)) => {
                assert_eq!((account.identities.len(), &account), (1, &left));
            }
            outcome => panic!("{outcome:?}"),
        }
    }
}

pub(super) async fn a_deleted_account_is_gone_and_its_person_gets_a_new_one(
    Replicas { one, other, open: _kept }: Replicas,
) {
    let before = settled(&one, &someone()).await;
    linked(&one, &before, &second()).await;
    assert!(other.delete(&before.id).await.unwrap());
    assert!(!one.delete(&before.id).await.unwrap());
    assert_eq!(one.find(&before.id).await.unwrap(), None);
    assert_eq!(one.find_by_identity(&second().origin().key).await.unwrap(), None);
    let search = Search::Email("someone@example.test".into());
    assert_eq!(one.list(&search, None, 10).await.unwrap().accounts, []);
    assert_eq!(one.count().await.unwrap(), 0);
    let again = one.sign_in(&someone(), NOW.plus(DAY)).await.unwrap();
    assert!(again.created && again.account.id != before.id);
    assert_eq!(again.account.identities.len(), 1);
}

pub(super) async fn a_deletion_and_a_sign_in_at_once_leave_nothing_half(
    Replicas { one, other, open: _kept }: Replicas,
) {
    for round in 0..ROUNDS {
        let identity = person(round);
        let id = settled(&one, &identity).await.id;
        let (deleting, signing, signs_in) = (one.clone(), other.clone(), identity.clone());
        let (deleted, signed_in) = together(async move { deleting.delete(&id).await.unwrap() }, async move {
            signing.sign_in(&signs_in, NOW).await.unwrap()
        })
        .await;
        assert!(deleted);
        assert_eq!(one.find(&id).await.unwrap(), None);
        let now_tied = one.find_by_identity(&identity.origin().key).await.unwrap();
        let made = (signed_in.account.id != id).then_some(signed_in.account);
        assert_eq!(now_tied, made, "a new account if the deletion came first, none otherwise");
    }
}
