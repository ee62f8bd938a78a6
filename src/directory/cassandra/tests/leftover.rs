//! What crashes and races leave behind, made by hand, and who clears it away.

use std::{slice::from_ref, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;

use super::{assert_sound, everyone, person, second, two};
use crate::{
    clock::Timestamp,
    directory::{
        Directory as _, Linked, Search,
        cassandra::{
            CassandraDirectory,
            index::EmailKey,
            rows::{Claim, Held, Look, Rows, State, Written, fresh},
        },
        conformance::{DAY, NOW},
    },
    identity::{AccountId, IdentityKey},
};

async fn rows(directory: &CassandraDirectory) -> Arc<Rows> {
    directory.dial.rows().await.unwrap()
}

async fn claim(rows: &Rows, key: &IdentityKey, account: AccountId, founded_at: Option<Timestamp>) -> Claim {
    let claim = Claim { account, stamp: fresh(), founded_at };
    assert_eq!(rows.stake(key, &claim, None).await.unwrap(), Written::Done);
    claim
}

async fn held(rows: &Rows, id: &AccountId) -> Held {
    rows.account(id, Look::Settled).await.unwrap().expect("something stands there")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_young_claim_without_account_is_completed() {
    let (one, _) = two().await;
    let id = AccountId::fresh(NOW);
    claim(&*rows(&one).await, &person(1).origin().key, id, Some(NOW)).await;
    assert_eq!(one.find_by_identity(&person(1).origin().key).await.unwrap(), None);
    let signed_in = one.sign_in(&person(1), NOW.plus(Duration::from_secs(60))).await.unwrap();
    assert!(signed_in.created && signed_in.account.id == id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_claim_without_account_brings_no_account_back() {
    let (one, _) = two().await;
    let rows = rows(&one).await;
    let id = AccountId::fresh(NOW);
    claim(&rows, &person(1).origin().key, id, Some(NOW)).await;
    let signed_in = one.sign_in(&person(1), NOW.plus(DAY)).await.unwrap();
    assert!(signed_in.created && signed_in.account.id != id);
    // Who was about to make the account for a day finds that he may not.
    let State::Kept(mut record) = held(&rows, &signed_in.account.id).await.state else { panic!("it was made") };
    record.account.id = id;
    assert_eq!(rows.write(&record, false, None).await.unwrap().0, Written::Lost);
    assert_eq!(one.count().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_its_account_does_not_know_of_gives_the_identity_to_nobody() {
    let (one, other) = two().await;
    let rows = rows(&one).await;
    let before = one.sign_in(&person(1), NOW).await.unwrap().account;
    let key = &second(1).origin().key.clone();
    claim(&rows, key, before.id, None).await;
    assert_eq!(one.find_by_identity(key).await.unwrap(), None);
    let anew = other.sign_in(&second(1), NOW).await.unwrap();
    assert!(anew.created && anew.account.id != before.id);
    assert_eq!(one.find(&before.id).await.unwrap(), Some(before));
    assert_sound(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_void_claim_of_another_account_does_not_stop_a_link() {
    let (one, other) = two().await;
    let [a, b] = [one.sign_in(&person(1), NOW).await.unwrap(), one.sign_in(&person(2), NOW).await.unwrap()]
        .map(|signed_in| signed_in.account.id);
    claim(&*rows(&one).await, &second(1).origin().key, a, None).await;
    let linked = other.link(&b, &second(1), NOW).await.unwrap();
    assert!(matches!(linked, Linked::Done(account) if account.id == b));
    assert_sound(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_under_way_begins_again_when_its_claim_was_cleared_away() {
    let (one, other) = two().await;
    let rows = rows(&one).await;
    let host = one.sign_in(&person(1), NOW).await.unwrap().account.id;
    // A link that has read the account and claimed, and is about to write the account.
    let read = held(&rows, &host).await;
    claim(&rows, &second(1).origin().key, host, None).await;
    let stranger = other.sign_in(&second(1), NOW).await.unwrap().account.id;
    assert_ne!(stranger, host);
    let State::Kept(record) = read.state else { panic!("it is there") };
    assert_eq!(rows.write(&record, false, Some(read.version)).await.unwrap().0, Written::Lost);
    assert_eq!(one.link(&host, &second(1), NOW).await.unwrap(), Linked::Taken(stranger));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_cut_short_is_brought_to_its_end_by_whoever_meets_it() {
    let (one, other) = two().await;
    let rows = rows(&one).await;
    for number in 0..3 {
        let account = one.sign_in(&person(number), NOW).await.unwrap().account;
        let Held { version, state: State::Kept(record) } = held(&rows, &account.id).await else { panic!("there") };
        assert_eq!(rows.write(&record, true, Some(version)).await.unwrap().0, Written::Done);
        assert_eq!(other.find(&account.id).await.unwrap(), None);
        match number {
            0 => assert!(other.sign_in(&person(number), NOW).await.unwrap().account.id != account.id),
            1 => assert_eq!(everyone(&other).await.len(), 1),
            _ => assert!(other.delete(&account.id).await.unwrap()),
        }
        assert!(matches!(held(&rows, &account.id).await.state, State::Gone), "no trace but the mark");
        let claim = rows.claim(&person(number).origin().key, Look::Settled).await.unwrap();
        assert!(claim.is_none_or(|claim| claim.account != account.id));
    }
    assert_eq!(one.count().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_lead_nowhere_are_passed_over_and_cleared_away() {
    let (one, other) = two().await;
    let rows = rows(&one).await;
    let account = one.sign_in(&person(1), NOW).await.unwrap().account;
    let nobody = AccountId::fresh(NOW);
    let email = EmailKey::of("1@EXAMPLE.test");
    for id in [&account.id, &nobody] {
        rows.add_email(email, id, fresh()).await.unwrap();
        rows.add_waiting(id, NOW.plus(Duration::from_secs(1))).await.unwrap();
    }
    // A write of the account that was under way when its leftovers were met must begin again.
    let read = held(&rows, &account.id).await;
    let found = other.list(&Search::Email("1@example.TEST".into()), None, 10).await.unwrap();
    assert_eq!((found.accounts.as_slice(), found.next), (from_ref(&account), None));
    let State::Kept(record) = read.state else { panic!("it is there") };
    assert_eq!(rows.write(&record, false, Some(read.version)).await.unwrap().0, Written::Lost);
    let left: Vec<_> = rows.emails(email, None).await.unwrap().try_collect().await.unwrap();
    assert_eq!(left, [(account.id.as_uuid(), record.email_entry.unwrap())]);

    assert_eq!(other.unannounced(NOW.plus(DAY), 10).await.unwrap(), from_ref(&account));
    let hour = super::super::index::hour(NOW);
    let left: Vec<_> = rows.waiting(hour, NOW.plus(DAY)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(left, [(NOW.as_millis(), account.id.as_uuid())]);
    one.announced(&account.id).await.unwrap();
    // The hour goes when it is long over and nobody waits in it.
    assert_eq!(other.unannounced(NOW.plus(DAY * 3), 10).await.unwrap(), []);
    assert_eq!(rows.hours(NOW.plus(DAY * 3)).await.unwrap(), Vec::<i64>::new());
}
