//! Every call is cut short at every point where it waits, as a crash would; another replica then goes on.

use std::{future::poll_fn, slice::from_ref, sync::Arc, task::Poll, time::Duration};

use tokio::sync::mpsc;

use super::{CassandraServer, assert_sound, everyone, opened, person, second, two};
use crate::directory::{
    Account, Directory as _, DirectoryError, Linked, Put, Search, Unlinked,
    cassandra::CassandraDirectory,
    conformance::{DAY, NOW, vouched},
};

/// Lets a call wait so many times, and then go: what it has sent is on its way, what comes next never happens.
async fn cut<T>(call: impl Future<Output = T>, waits: usize) -> Option<T> {
    let mut call = Box::pin(call);
    let mut left = waits;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(context).map(Some)
    })
    .await
}

/// Cuts calls at the first point, the second, and so on, until one comes to its end. `round` gives whether it did.
async fn at_every_point(mut round: impl AsyncFnMut(usize) -> bool) {
    for waits in 1..200 {
        if round(waits).await {
            assert!(waits > 1, "it never waited: nothing was cut");
            return;
        }
    }
    panic!("it never comes to its end");
}

async fn by_email(directory: &CassandraDirectory, account: &Account) -> Vec<Account> {
    let email = account.profile.email.clone().unwrap();
    directory.list(&Search::Email(email), None, 10).await.unwrap().accounts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_sign_in_cut_short_is_completed_by_the_next() {
    let (one, other) = two().await;
    at_every_point(async |waits| {
        let ended = cut(one.sign_in(&person(waits), NOW), waits).await.is_some();
        let signed_in = other.sign_in(&person(waits), NOW.plus(Duration::from_secs(1))).await.unwrap();
        let account = signed_in.account;
        assert!(signed_in.created, "nobody was told");
        assert_eq!(other.find_by_identity(&person(waits).origin().key).await.unwrap().as_ref(), Some(&account));
        assert_eq!(by_email(&other, &account).await, from_ref(&account));
        assert_eq!(other.unannounced(NOW.plus(DAY), 100).await.unwrap(), from_ref(&account));
        other.announced(&account.id).await.unwrap();
        assert_eq!(one.count().await.unwrap(), u64::try_from(waits).unwrap(), "one account a person");
        ended
    })
    .await;
    assert_sound(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_sign_in_cut_short_leaves_the_old_or_the_new() {
    let (one, other) = two().await;
    at_every_point(async |waits| {
        let before = one.sign_in(&person(waits), NOW).await.unwrap().account;
        let moved = vouched(person(waits).origin().key.clone(), &format!("moved-{waits}@example.test"));
        let ended = cut(one.sign_in(&moved, NOW.plus(DAY)), waits).await.is_some();
        // What was sent may still come to be: looked at until it is the same before and after.
        let found = loop {
            let found = other.find(&before.id).await.unwrap().unwrap();
            let by_email = by_email(&other, &found).await;
            if other.find(&before.id).await.unwrap().as_ref() == Some(&found) {
                assert_eq!(by_email, from_ref(&found), "found by the address it has");
                break found;
            }
        };
        assert!(
            [before.profile.email.as_ref(), moved.profile().email.as_ref()].contains(&found.profile.email.as_ref())
        );
        let after = other.sign_in(&moved, NOW.plus(DAY)).await.unwrap().account;
        assert_eq!(after.id, before.id);
        assert_eq!(by_email(&other, &after).await, from_ref(&after));
        assert_eq!(by_email(&other, &before).await, [], "no more by the address it had");
        ended
    })
    .await;
    assert_sound(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_cut_short_is_done_by_the_next_or_leaves_the_identity_free() {
    let (one, other) = two().await;
    at_every_point(async |waits| {
        let [host, stranger] = [2 * waits, 2 * waits + 1];
        let id = one.sign_in(&person(host), NOW).await.unwrap().account.id;
        let ended = cut(one.link(&id, &second(host), NOW), waits).await.is_some();
        let Linked::Done(account) = other.link(&id, &second(host), NOW).await.unwrap() else { panic!("it is free") };
        assert_eq!(account.identities.len(), 2);
        assert_eq!(other.find_by_identity(&second(host).origin().key).await.unwrap(), Some(account));

        let id = one.sign_in(&person(stranger), NOW).await.unwrap().account.id;
        cut(one.link(&id, &second(stranger), NOW), waits).await;
        let signed_in = other.sign_in(&second(stranger), NOW).await.unwrap().account;
        assert_eq!(other.find_by_identity(&second(stranger).origin().key).await.unwrap(), Some(signed_in));
        ended
    })
    .await;
    assert_sound(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlink_cut_short_leaves_the_identity_tied_or_free() {
    let (one, other) = two().await;
    at_every_point(async |waits| {
        let id = one.sign_in(&person(waits), NOW).await.unwrap().account.id;
        one.link(&id, &second(waits), NOW).await.unwrap();
        let key = &second(waits).origin().key.clone();
        let ended = cut(one.unlink(&id, key), waits).await.is_some();
        let unlinked = other.unlink(&id, key).await.unwrap();
        assert!(matches!(unlinked, Unlinked::Done(_) | Unlinked::NotThere), "{unlinked:?}");
        assert_eq!(other.find_by_identity(key).await.unwrap(), None);
        assert_eq!(other.find(&id).await.unwrap().unwrap().identities.len(), 1);
        let anew = other.sign_in(&second(waits), NOW).await.unwrap();
        assert!(anew.created && anew.account.id != id);
        ended
    })
    .await;
    assert_sound(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_cut_short_leaves_the_whole_account_or_none() {
    let (one, other) = two().await;
    at_every_point(async |waits| {
        let first = one.sign_in(&person(waits), NOW).await.unwrap().account;
        one.link(&first.id, &second(waits), NOW).await.unwrap();
        let ended = cut(one.delete(&first.id), waits).await.is_some();
        // By either identity it is the old account or a new one.
        let there = loop {
            let there = other.find(&first.id).await.unwrap().is_some();
            let by_first = other.sign_in(&person(waits), NOW).await.unwrap().account;
            let by_second = other.sign_in(&second(waits), NOW).await.unwrap().account;
            if other.find(&first.id).await.unwrap().is_some() == there {
                assert_eq!((by_first.id == first.id, by_second.id == first.id), (there, there));
                break there;
            }
        };
        // Also true of one that was cut short and is brought to its end now.
        assert!(other.delete(&first.id).await.unwrap() || !there);
        assert_eq!(other.find(&first.id).await.unwrap(), None);
        assert!(everyone(&other).await.iter().all(|account| account.id != first.id));
        ended
    })
    .await;
    assert_sound(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_cut_short_is_done_by_the_next() {
    let (one, other) = two().await;
    let (source, _) = two().await;
    at_every_point(async |waits| {
        let mut account = source.sign_in(&person(waits), NOW).await.unwrap().account;
        if let Linked::Done(linked) = source.link(&account.id, &second(waits), NOW).await.unwrap() {
            account = linked;
        }
        let ended = cut(one.put(&account), waits).await.is_some();
        assert_eq!(other.put(&account).await.unwrap(), Put::Done);
        assert_eq!(other.find_by_identity(&second(waits).origin().key).await.unwrap(), Some(account));
        ended
    })
    .await;
    assert_sound(&one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_cut_short_is_repeated() {
    let (one, other) = two().await;
    at_every_point(async |waits| {
        let id = one.sign_in(&person(waits), NOW).await.unwrap().account.id;
        let ended = cut(one.announced(&id), waits).await.is_some();
        loop {
            let waiting = other.unannounced(NOW.plus(DAY), 100).await.unwrap();
            assert!(waiting.iter().all(|account| account.id == id), "only this one may wait");
            let created = other.sign_in(&person(waits), NOW).await.unwrap().created;
            if other.unannounced(NOW.plus(DAY), 100).await.unwrap() == waiting {
                assert_eq!(created, !waiting.is_empty());
                break;
            }
        }
        other.announced(&id).await.unwrap();
        assert_eq!(other.unannounced(NOW.plus(DAY), 100).await.unwrap(), []);
        ended
    })
    .await;
}

/// Signs people in, at most so many at a time, until the first call fails. Gives the accounts that were acknowledged.
async fn sign_in_until_it_fails(directory: Arc<CassandraDirectory>, told: mpsc::UnboundedSender<()>) -> Vec<Account> {
    let workers: Vec<_> = (0..8)
        .map(|worker| {
            let (directory, told) = (Arc::clone(&directory), told.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    match directory.sign_in(&person(worker * 100_000 + number), NOW).await {
                        Ok(signed_in) => acknowledged.push(signed_in.account),
                        Err(DirectoryError::Unavailable(_)) => break,
                        Err(error) => panic!("{error}"),
                    }
                    // Nobody may listen any more.
                    let _ = told.send(());
                }
                acknowledged
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_cassandra_loses_no_acknowledged_account_and_it_is_back_by_itself() {
    let mut server = CassandraServer::start().await;
    let config = server.config("brama");
    let directory = Arc::new(opened(&config).await);
    let (told, mut heard) = mpsc::unbounded_channel();
    let signing_in = tokio::spawn(sign_in_until_it_fails(Arc::clone(&directory), told));
    for _ in 0..100 {
        heard.recv().await.expect("they sign in");
    }
    let mut server = tokio::task::spawn_blocking(move || {
        server.kill();
        server
    })
    .await
    .unwrap();
    let acknowledged = signing_in.await.unwrap();
    assert!(acknowledged.len() >= 100);
    let error = directory.ping().await.unwrap_err();
    assert!(matches!(error, DirectoryError::Unavailable(_)), "{error}");

    // A gateway that starts now starts, and says what it waits for.
    let late = CassandraDirectory::open(&config, true).unwrap();
    let error = late.find(&acknowledged[0].id).await.unwrap_err();
    assert!(error.to_string().contains("can be reached"), "{error}");

    let _server = tokio::task::spawn_blocking(move || {
        server.restart();
        server
    })
    .await
    .unwrap();
    for directory in [&late, &*directory] {
        tokio::time::timeout(Duration::from_secs(60), answers(directory)).await.expect("it is back by itself");
    }
    for account in &acknowledged {
        assert_eq!(directory.find(&account.id).await.unwrap().as_ref(), Some(account));
        let key = &account.identities[0].origin.key;
        assert_eq!(late.find_by_identity(key).await.unwrap().as_ref(), Some(account));
    }
    assert_sound(&directory).await;
}

/// Asks until it answers.
async fn answers(directory: &CassandraDirectory) {
    while directory.ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
