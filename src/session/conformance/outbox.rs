//! What every session store's outbox must do, word by word of [`Outbox`](crate::event::Outbox)'s contract.

use std::time::Duration;

use super::*;
use crate::event::{
    outbox::{DeadLetter, Measure, Partition, Position},
    sink::Letter,
};

fn letter(id: &str, key: &str) -> Letter {
    Letter {
        id: id.into(),
        kind: "io.brama.session.begun".into(),
        key: key.into(),
        at: NOW.plus(Duration::from_millis(7)),
        body: format!("{{\"id\":\"{id}\",\"\u{457}\":\"\\n\"}}").into(),
    }
}

fn letters(key: &str, ids: std::ops::Range<usize>) -> Vec<Letter> {
    ids.map(|id| letter(&id.to_string(), key)).collect()
}

/// The ids of what waits in the partition of `key`, in order.
async fn waiting(store: &dyn SessionStore, key: &str) -> Vec<String> {
    let waiting = store.peek(Partition::of(key), Position::default(), 1000).await.unwrap();
    waiting.into_iter().map(|waiting| waiting.letter.id).collect()
}

pub(super) async fn letters_of_a_beginning_are_written_with_it(Replicas { one, other, _kept }: Replicas) {
    let (who, old) = (account(), begun(&*one, account()).await);
    let next = new(who);
    let (made, begun) = (letter("made", &who.to_string()), letter("begun", &who.to_string()));
    one.begin(next.clone(), Some(old), &[made.clone(), begun.clone()]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), one.appended().notified()).await.expect("the relay is woken");
    assert!(alive(&*other, &next.key).await && !alive(&*other, &old).await);
    let waiting = other.peek(Partition::of(&made.key), Position::default(), 10).await.unwrap();
    assert_eq!(waiting.iter().map(|w| &w.letter).collect::<Vec<_>>(), [&made, &begun], "whole and in order");
    assert!(waiting.iter().all(|waiting| waiting.only.is_none()));
}

pub(super) async fn letters_of_a_replacement_are_written_only_when_it_is_done(Replicas { one, _kept, .. }: Replicas) {
    let key = begun(&*one, account()).await;
    let until = NOW.plus(HOUR);
    let told = |id: &str| vec![letter(id, "key")];
    assert_eq!(one.replace(&key, 9, vec![1], until, NOW, &told("changed")).await.unwrap(), Replaced::Changed);
    assert_eq!(one.replace(&key, 1, vec![1], until, NOW, &told("done")).await.unwrap(), Replaced::Done);
    one.end(&key, &[]).await.unwrap();
    assert_eq!(one.replace(&key, 2, vec![2], until, NOW, &told("gone")).await.unwrap(), Replaced::Gone);
    assert_eq!(waiting(&*one, "key").await, ["done"]);
}

pub(super) async fn letters_of_a_renaming_are_written_only_when_it_is_done(Replicas { one, other, _kept }: Replicas) {
    let (old, name) = (begun(&*one, account()).await, new(account()));
    assert!(one.rename(name, &old, &letters("key", 0..2)).await.unwrap());
    tokio::time::timeout(Duration::from_secs(5), one.appended().notified()).await.expect("the relay is woken");
    assert!(!other.rename(new(account()), &old, &letters("key", 2..3)).await.unwrap());
    assert_eq!(waiting(&*one, "key").await, ["0", "1"]);
}

pub(super) async fn letters_of_an_end_are_written_only_when_there_was_a_session(
    Replicas { one, other, _kept }: Replicas,
) {
    let key = begun(&*one, account()).await;
    assert!(one.end(&key, &letters("key", 0..2)).await.unwrap());
    assert!(!other.end(&key, &letters("key", 2..3)).await.unwrap());
    assert_eq!(waiting(&*one, "key").await, ["0", "1"]);
}

pub(super) async fn every_session_that_ends_is_told_by_itself(Replicas { one, other, _kept }: Replicas) {
    let who = account();
    let by = |sid: &str| NewStored { sid: Some(sid.into()), identity: identity(sid), ..new(who) };
    let telling = |key: &SessionKey, account: &AccountId| vec![letter(&key.hex(), &account.to_string())];
    let sessions: Vec<NewStored> = ["a", "b", "c", "d"].map(by).into();
    for session in &sessions {
        one.begin(session.clone(), None, &[]).await.unwrap();
    }
    let sid = Whose::Sid(Issuer::new("https://issuer.test"), "a".into());
    assert_eq!(other.end_all(&sid, None, &telling).await.unwrap(), [sessions[0].key]);
    let by_identity = Whose::Identity(identity("b"));
    assert_eq!(other.end_all(&by_identity, None, &telling).await.unwrap(), [sessions[1].key]);
    assert_eq!(one.end_all(&Whose::Account(who), Some(&sessions[3].key), &telling).await.unwrap(), [sessions[2].key]);
    assert!(one.end_all(&by_identity, None, &telling).await.unwrap().is_empty());
    let ended: Vec<String> = sessions[..3].iter().map(|session| session.key.hex()).collect();
    assert_eq!(waiting(&*one, &who.to_string()).await, ended);
}

pub(super) async fn letters_wait_in_order_in_the_partition_of_their_key(Replicas { one, other, _kept }: Replicas) {
    assert_eq!(one.newest().await.unwrap(), vec![None; 8]);
    one.append(&[]).await.unwrap();
    let keys: Vec<String> = (0..40).map(|key| format!("key {key}")).collect();
    let mixed: Vec<Letter> = (0..400).map(|id| letter(&id.to_string(), &keys[id % 40])).collect();
    for (index, some) in mixed.chunks(50).enumerate() {
        let store = if index % 2 == 0 { &one } else { &other };
        store.append(some).await.unwrap();
    }
    let newest = one.newest().await.unwrap();
    let mut found = 0;
    for (partition, newest) in Partition::all().zip(newest) {
        let (mut mark, mut here) = (Position::default(), Vec::new());
        loop {
            let page = other.peek(partition, mark, 7).await.unwrap();
            assert!(page.len() <= 7);
            let Some(last) = page.last() else { break };
            mark = last.position;
            here.extend(page);
        }
        assert_eq!(newest, here.last().map(|last| last.position));
        assert!(here.is_sorted_by_key(|waiting| waiting.position));
        assert!(here.iter().all(|waiting| Partition::of(&waiting.letter.key) == partition));
        let expected: Vec<&Letter> = mixed.iter().filter(|letter| Partition::of(&letter.key) == partition).collect();
        assert_eq!(here.iter().map(|waiting| &waiting.letter).collect::<Vec<_>>(), expected);
        found += here.len();
    }
    assert_eq!(found, 400);
}

pub(super) async fn of_many_writers_all_letters_wait_in_one_order(Replicas { one, other, _kept }: Replicas) {
    at_once(&one, &other, 20, |store, number| async move {
        for id in 0..5 {
            store.append(&[letter(&format!("{number}.{id}"), "key")]).await.unwrap();
        }
    })
    .await;
    let order = waiting(&*one, "key").await;
    assert_eq!(order.len(), 100);
    assert_eq!(order, waiting(&*other, "key").await);
    for number in 0..20 {
        let prefix = format!("{number}.");
        let own: Vec<&str> = order.iter().filter_map(|id| id.strip_prefix(&prefix)).collect();
        assert_eq!(own, ["0", "1", "2", "3", "4"], "each writer's in its order");
    }
}

pub(super) async fn a_letter_goes_when_all_sinks_are_past_it(Replicas { one, other, _kept }: Replicas) {
    let sinks = ["bus".to_owned(), "log".to_owned()];
    let partition = Partition::of("key");
    one.append(&letters("key", 0..5)).await.unwrap();
    let positions: Vec<Position> =
        one.peek(partition, Position::default(), 10).await.unwrap().iter().map(|waiting| waiting.position).collect();
    one.done(partition, "bus", positions[3], &sinks).await.unwrap();
    assert_eq!(waiting(&*one, "key").await.len(), 5, "the other has not begun");
    other.done(partition, "log", positions[1], &sinks).await.unwrap();
    assert_eq!(waiting(&*one, "key").await, ["2", "3", "4"]);
    other.done(partition, "log", positions[4], &sinks).await.unwrap();
    one.done(partition, "bus", positions[4], &sinks).await.unwrap();
    assert!(waiting(&*one, "key").await.is_empty());
    assert_eq!(one.newest().await.unwrap(), vec![None; 8]);
    // What comes later is after every mark.
    one.append(&letters("key", 5..6)).await.unwrap();
    let mark = one.mark(partition, "bus").await.unwrap();
    assert_eq!(mark, positions[4]);
    assert_eq!(one.peek(partition, mark, 10).await.unwrap().len(), 1);
}

pub(super) async fn a_mark_never_goes_back_and_a_new_sink_begins_at_the_beginning(
    Replicas { one, other, _kept }: Replicas,
) {
    let partition = Partition::of("key");
    let sinks = ["bus".to_owned(), "new".to_owned()];
    assert_eq!(one.mark(partition, "bus").await.unwrap(), Position::default());
    one.append(&letters("key", 0..12)).await.unwrap();
    let page = one.peek(partition, Position::default(), 20).await.unwrap();
    one.done(partition, "bus", page[11].position, &sinks).await.unwrap();
    other.done(partition, "bus", page[2].position, &sinks).await.unwrap();
    assert_eq!(other.mark(partition, "bus").await.unwrap(), page[11].position);
    assert_eq!(one.mark(partition, "new").await.unwrap(), Position::default());
    assert_eq!(one.peek(partition, Position::default(), 20).await.unwrap().len(), 12);
}

pub(super) async fn what_waits_is_measured_and_dropped_by_number_and_age(Replicas { one, other, _kept }: Replicas) {
    let partition = Partition::of("key");
    assert_eq!(one.measure(partition).await.unwrap(), Measure::default());
    let now = crate::clock::Clock::now(&crate::clock::SystemClock);
    let at = |letters: Vec<Letter>| letters.into_iter().map(|letter| Letter { at: now, ..letter }).collect::<Vec<_>>();
    one.append(&at(letters("key", 0..10))).await.unwrap();
    let measure = other.measure(partition).await.unwrap();
    assert_eq!(measure.count, 10);
    // Redis measures by its own clock.
    let oldest = measure.oldest.unwrap();
    assert!(oldest > now.minus(Duration::from_secs(60)) && oldest < now.plus(Duration::from_secs(60)), "{oldest}");
    assert_eq!(other.drop_oldest(4).await.unwrap(), 4);
    assert_eq!(waiting(&*one, "key").await, ["4", "5", "6", "7", "8", "9"]);
    assert_eq!(one.drop_older(now.minus(HOUR)).await.unwrap(), 0);
    assert_eq!(one.drop_older(now.plus(HOUR)).await.unwrap(), 6);
    assert_eq!(one.measure(partition).await.unwrap(), Measure::default());
    assert_eq!(one.drop_oldest(4).await.unwrap(), 0);
}

pub(super) async fn dead_letters_are_kept_revived_and_discarded(Replicas { one, other, _kept }: Replicas) {
    let dead = |id: &str| DeadLetter {
        sink: "hook".into(),
        why: "the receiver answers 410 \u{2014} gone".into(),
        at: NOW,
        letter: letter(id, "key"),
    };
    for id in ["a", "b", "c"] {
        one.bury(&dead(id)).await.unwrap();
    }
    assert_eq!(other.dead_count().await.unwrap(), 3);
    let listed = other.dead(Position::default(), 2).await.unwrap();
    assert_eq!(listed.iter().map(|(_, dead)| dead.clone()).collect::<Vec<_>>(), [dead("a"), dead("b")]);
    let rest = other.dead(listed[1].0, 10).await.unwrap();
    assert_eq!(rest.len(), 1);

    assert!(other.revive(listed[0].0, &listed[0].1, NOW).await.unwrap());
    assert!(!one.revive(listed[0].0, &listed[0].1, NOW).await.unwrap(), "once only");
    let back = one.peek(Partition::of("key"), Position::default(), 10).await.unwrap();
    assert_eq!(back.len(), 1);
    assert_eq!((back[0].only.as_deref(), &back[0].letter), (Some("hook"), &letter("a", "key")));

    assert!(one.discard(listed[1].0).await.unwrap());
    assert!(!one.discard(listed[1].0).await.unwrap());
    assert_eq!(one.dead_count().await.unwrap(), 1);
}

pub(super) async fn a_claim_has_one_holder(Replicas { one, other, _kept }: Replicas) {
    let life = Duration::from_secs(10);
    assert!(one.claim("3:bus", "a", life, NOW).await.unwrap());
    assert!(!other.claim("3:bus", "b", life, NOW).await.unwrap());
    assert!(other.claim("3:log", "b", life, NOW).await.unwrap(), "another lane");
    one.give_back("3:bus", "a").await.unwrap();
    assert!(other.claim("3:bus", "b", life, NOW).await.unwrap());
}
