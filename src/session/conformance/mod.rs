//! What every session store must do, word by word of [`SessionStore`]'s contract. Time is moved by hand.
//!
//! A case takes two handles of one store, as two replicas would have. A new store is one more row in `conformance!`.

mod outbox;

use std::{any::Any, sync::Arc, time::Duration};

use self::outbox::*;
use super::{Change, NewStored, Replaced, SessionId, SessionKey, SessionStore, Sighting, Stored, Untold, Whose};
use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Issuer, Subject},
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Two handles of one store, and what must live as long as they.
struct Replicas {
    one: Arc<dyn SessionStore>,
    other: Arc<dyn SessionStore>,
    _kept: Box<dyn Any>,
}

macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(super::embedded_replicas().await).await } )*
        }
        #[cfg(feature = "session-redis")]
        mod redis {
            $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::$case(super::redis_replicas().await).await } )*
        }
    };
}

conformance!(
    a_session_is_found_as_it_was_begun,
    an_unknown_session_is_absent,
    a_session_expires_by_the_callers_clock,
    begin_ends_the_session_it_replaces,
    a_session_is_renamed_once_and_only_while_it_lives,
    replace_takes_the_version_it_was_told,
    of_many_replacements_of_one_version_one_wins,
    a_replacement_never_revives,
    a_replacement_may_shorten_the_session,
    touch_moves_forward_and_never_back,
    touch_never_revives,
    many_sightings_go_at_once_and_those_of_ended_sessions_are_told,
    a_session_seen_more_than_once_in_a_call_goes_as_far_as_the_furthest,
    no_sightings_are_no_work,
    touch_is_no_change_and_every_change_is_told_to_every_handle,
    end_says_whether_there_was_one,
    all_of_an_account_end_but_the_one_kept,
    all_of_an_identity_end,
    a_provider_session_ends_at_its_issuer_only,
    ended_and_replaced_at_once_stays_ended,
    list_gives_the_live_ones_newest_first_and_at_most_100,
    a_lease_has_one_holder_until_it_ends,
    of_many_callers_one_gets_the_lease,
    a_marker_is_used_once_among_many,
    a_marker_is_free_again_when_its_time_is_over,
    a_document_is_written_over_what_was_expected_only,
    of_many_first_writers_of_a_document_one_wins,
    sweeping_leaves_the_living,
    ping_answers,
    letters_of_a_beginning_are_written_with_it,
    letters_of_a_renaming_are_written_only_when_it_is_done,
    letters_of_a_replacement_are_written_only_when_it_is_done,
    letters_of_an_end_are_written_only_when_there_was_a_session,
    every_session_that_ends_is_told_by_itself,
    letters_wait_in_order_in_the_partition_of_their_key,
    of_many_writers_all_letters_wait_in_one_order,
    a_letter_goes_when_all_sinks_are_past_it,
    a_mark_never_goes_back_and_a_new_sink_begins_at_the_beginning,
    what_waits_is_measured_and_dropped_by_number_and_age,
    dead_letters_are_kept_revived_and_discarded,
    a_claim_has_one_holder,
);

async fn embedded_replicas() -> Replicas {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::directory::sql::sqlite::SqliteFile::open(&folder.path().join("brama.db")).await.unwrap();
    let store = super::embedded::EmbeddedSessions::open(file).await.unwrap();
    Replicas { one: Arc::new(store.clone()), other: Arc::new(store), _kept: Box::new(folder) }
}

#[cfg(feature = "session-redis")]
async fn redis_replicas() -> Replicas {
    let server = super::redis::server::RedisServer::start();
    let open = || Arc::new(super::redis::RedisSessions::open(&server.config()).unwrap());
    let (one, other) = (open(), open());
    super::redis::server::watching(&*one).await;
    super::redis::server::watching(&*other).await;
    Replicas { one, other, _kept: Box::new(server) }
}

fn account() -> AccountId {
    AccountId::fresh(NOW)
}

fn identity(subject: &str) -> IdentityKey {
    IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new(subject) }
}

fn new(account: AccountId) -> NewStored {
    NewStored {
        key: SessionId::fresh().key(),
        account,
        identity: identity("someone"),
        sid: None,
        sealed: b"\0sealed\xff".to_vec(),
        last_seen: NOW,
        expires_at: NOW.plus(HOUR),
    }
}

async fn begun(store: &dyn SessionStore, account: AccountId) -> SessionKey {
    let new = new(account);
    store.begin(new.clone(), None, &[]).await.unwrap();
    new.key
}

/// Notes one sighting.
pub(super) async fn touch(store: &dyn SessionStore, key: &SessionKey, seen: Timestamp, expires_at: Timestamp) -> bool {
    let noted = store.touch(&[Sighting { key: *key, seen, expires_at }]).await.unwrap();
    assert_eq!(noted.len(), 1);
    noted[0]
}

async fn alive(store: &dyn SessionStore, key: &SessionKey) -> bool {
    store.load(key, NOW).await.unwrap().is_some()
}

async fn a_session_is_found_as_it_was_begun(Replicas { one, other, _kept }: Replicas) {
    let new = new(account());
    one.begin(new.clone(), None, &[]).await.unwrap();
    let expected = Stored { sealed: new.sealed, version: 1, last_seen: NOW, expires_at: NOW.plus(HOUR) };
    assert_eq!(other.load(&new.key, NOW).await.unwrap(), Some(expected));
}

async fn an_unknown_session_is_absent(Replicas { one, _kept, .. }: Replicas) {
    let key = SessionId::fresh().key();
    assert_eq!(one.load(&key, NOW).await.unwrap(), None);
    assert!(!one.end(&key, &[]).await.unwrap());
    assert!(!touch(&*one, &key, NOW, NOW.plus(HOUR)).await);
    assert_eq!(one.replace(&key, 1, vec![], NOW.plus(HOUR), NOW, &[]).await.unwrap(), Replaced::Gone);
}

async fn a_session_expires_by_the_callers_clock(Replicas { one, _kept, .. }: Replicas) {
    let key = begun(&*one, account()).await;
    let last = NOW.plus(HOUR).minus(Duration::from_millis(1));
    assert!(one.load(&key, last).await.unwrap().is_some());
    assert!(one.load(&key, NOW.plus(HOUR)).await.unwrap().is_none());
    // The clock of another replica, a little behind, still sees it.
    assert!(one.load(&key, last).await.unwrap().is_some());
}

async fn begin_ends_the_session_it_replaces(Replicas { one, other, _kept }: Replicas) {
    let who = account();
    let old = begun(&*one, who).await;
    let mut news = other.changes();
    let next = new(who);
    one.begin(next.clone(), Some(old), &[]).await.unwrap();
    assert!(!alive(&*other, &old).await);
    assert!(alive(&*other, &next.key).await);
    heard(&mut news, old).await;
    let listed = one.list(&who, NOW).await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [next.key]);
    // Replacing one that is gone already is no error.
    one.begin(new(who), Some(old), &[]).await.unwrap();
}

async fn a_session_is_renamed_once_and_only_while_it_lives(Replicas { one, other, _kept }: Replicas) {
    let who = account();
    let old = begun(&*one, who).await;
    let mut news = other.changes();
    let names: Vec<_> = (0..8).map(|_| new(who)).collect();
    let renaming = names.iter().enumerate().map(|(turn, name)| {
        let store = if turn % 2 == 0 { &one } else { &other };
        store.rename(name.clone(), &old, &[])
    });
    let renamed = futures_util::future::try_join_all(renaming).await.unwrap();
    assert_eq!(renamed.iter().filter(|renamed| **renamed).count(), 1, "{renamed:?}");
    heard(&mut news, old).await;
    assert!(!alive(&*one, &old).await);
    let kept = names.iter().zip(&renamed).find_map(|(name, renamed)| renamed.then_some(name.key)).unwrap();
    let listed = other.list(&who, NOW).await.unwrap();
    assert_eq!(listed.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [kept]);
    // Neither one that was signed out nor one that has expired goes on.
    assert!(one.end(&kept, &[]).await.unwrap());
    assert!(!other.rename(new(who), &kept, &[]).await.unwrap());
    let expired = begun(&*one, who).await;
    let late = NewStored { last_seen: NOW.plus(HOUR), expires_at: NOW.plus(2 * HOUR), ..new(who) };
    assert!(!one.rename(late, &expired, &[]).await.unwrap());
    assert!(one.list(&who, NOW.plus(HOUR)).await.unwrap().is_empty());
}

async fn replace_takes_the_version_it_was_told(Replicas { one, other, _kept }: Replicas) {
    let key = begun(&*one, account()).await;
    let until = NOW.plus(2 * HOUR);
    assert_eq!(one.replace(&key, 1, b"two".to_vec(), until, NOW, &[]).await.unwrap(), Replaced::Done);
    assert_eq!(other.replace(&key, 1, b"late".to_vec(), until, NOW, &[]).await.unwrap(), Replaced::Changed);
    let expected = Stored { sealed: b"two".to_vec(), version: 2, last_seen: NOW, expires_at: until };
    assert_eq!(other.load(&key, NOW).await.unwrap(), Some(expected));
    assert_eq!(other.replace(&key, 2, b"three".to_vec(), until, NOW, &[]).await.unwrap(), Replaced::Done);
    assert_eq!(one.load(&key, NOW).await.unwrap().unwrap().version, 3);
    assert_eq!(one.replace(&key, 9, b"ahead".to_vec(), until, NOW, &[]).await.unwrap(), Replaced::Changed);
}

async fn of_many_replacements_of_one_version_one_wins(Replicas { one, other, _kept }: Replicas) {
    let key = begun(&*one, account()).await;
    let results = at_once(&one, &other, 20, |store, number| async move {
        store.replace(&key, 1, vec![number], NOW.plus(HOUR), NOW, &[]).await.unwrap()
    })
    .await;
    let won: Vec<usize> = (0..20).filter(|number| results[*number] == Replaced::Done).collect();
    assert_eq!(won.len(), 1, "{results:?}");
    assert!(results.iter().all(|result| *result != Replaced::Gone));
    assert_eq!(usize::from(one.load(&key, NOW).await.unwrap().unwrap().sealed[0]), won[0]);
}

async fn a_replacement_never_revives(Replicas { one, other, _kept }: Replicas) {
    let ended = begun(&*one, account()).await;
    assert!(other.end(&ended, &[]).await.unwrap());
    assert_eq!(one.replace(&ended, 1, vec![1], NOW.plus(HOUR), NOW, &[]).await.unwrap(), Replaced::Gone);
    assert!(!alive(&*one, &ended).await);
    let expired = begun(&*one, account()).await;
    let late = NOW.plus(HOUR);
    assert_eq!(one.replace(&expired, 1, vec![1], late.plus(HOUR), late, &[]).await.unwrap(), Replaced::Gone);
    assert!(one.load(&expired, late).await.unwrap().is_none());
}

async fn a_replacement_may_shorten_the_session(Replicas { one, _kept, .. }: Replicas) {
    let key = begun(&*one, account()).await;
    let soon = NOW.plus(Duration::from_secs(60));
    assert_eq!(one.replace(&key, 1, vec![1], soon, NOW, &[]).await.unwrap(), Replaced::Done);
    assert!(one.load(&key, soon).await.unwrap().is_none());
}

async fn touch_moves_forward_and_never_back(Replicas { one, other, _kept }: Replicas) {
    let key = begun(&*one, account()).await;
    let (seen, until) = (NOW.plus(HOUR / 2), NOW.plus(3 * HOUR));
    assert!(touch(&*one, &key, seen, until).await);
    // A replica whose clock or news is behind.
    assert!(touch(&*other, &key, NOW, NOW.plus(HOUR)).await);
    let stored = other.load(&key, NOW.plus(2 * HOUR)).await.unwrap().unwrap();
    assert_eq!((stored.last_seen, stored.expires_at, stored.version), (seen, until, 1));
    // Far beyond what the store first made room for.
    let far = NOW.plus(24 * 30 * HOUR);
    assert!(touch(&*one, &key, seen, far).await);
    assert_eq!(one.load(&key, far.minus(HOUR)).await.unwrap().unwrap().expires_at, far);
}

async fn touch_never_revives(Replicas { one, other, _kept }: Replicas) {
    let key = begun(&*one, account()).await;
    other.end(&key, &[]).await.unwrap();
    assert!(!touch(&*one, &key, NOW, NOW.plus(HOUR)).await);
    let key = begun(&*one, account()).await;
    assert!(!touch(&*one, &key, NOW.plus(HOUR), NOW.plus(2 * HOUR)).await, "it had expired");
    assert!(one.load(&key, NOW.plus(HOUR)).await.unwrap().is_none());
}

async fn many_sightings_go_at_once_and_those_of_ended_sessions_are_told(Replicas { one, other, _kept }: Replicas) {
    const COUNT: usize = 2500;
    let who = account();
    let mut keys = Vec::new();
    for _ in 0..COUNT / 50 {
        let begins = (0..50).map(|_| begun(&*one, who));
        keys.extend(futures_util::future::join_all(begins).await);
    }
    // Some are known to no store, some have ended, some expired.
    for key in keys.iter_mut().step_by(100) {
        *key = SessionId::fresh().key();
    }
    for key in keys.iter().skip(1).step_by(100) {
        assert!(other.end(key, &[]).await.unwrap());
    }
    let (seen, until) = (NOW.plus(HOUR / 2), NOW.plus(3 * HOUR));
    let told: Vec<Sighting> = keys
        .iter()
        .enumerate()
        .map(|(number, key)| Sighting {
            key: *key,
            seen: if number % 100 == 2 { until } else { seen },
            expires_at: until,
        })
        .collect();
    let noted = one.touch(&told).await.unwrap();
    assert_eq!(noted.len(), COUNT);
    for (number, goes_on) in noted.iter().enumerate() {
        assert_eq!(*goes_on, number % 100 > 2, "{number}");
    }
    for number in [3, 499, 503, 999, 1003, COUNT - 1] {
        let stored = other.load(&keys[number], NOW.plus(2 * HOUR)).await.unwrap().unwrap();
        assert_eq!((stored.last_seen, stored.expires_at, stored.version), (seen, until, 1), "{number}");
    }
    for (number, key) in keys.iter().take(3).enumerate() {
        assert!(other.load(key, NOW.plus(2 * HOUR)).await.unwrap().is_none(), "{number}");
    }
}

async fn a_session_seen_more_than_once_in_a_call_goes_as_far_as_the_furthest(Replicas { one, other, _kept }: Replicas) {
    let key = begun(&*one, account()).await;
    let at = |quarter: u32| NOW.plus(HOUR / 4 * quarter);
    let told = [(1, 6), (2, 8), (0, 5)].map(|(seen, until)| Sighting { key, seen: at(seen), expires_at: at(until) });
    assert_eq!(one.touch(&told).await.unwrap(), [true; 3]);
    let stored = other.load(&key, NOW).await.unwrap().unwrap();
    assert_eq!((stored.last_seen, stored.expires_at), (at(2), at(8)));
    // Had it not been for the first, the second would have come too late; and the last one does.
    let told =
        [(7, 12), (11, 16), (16, 20)].map(|(seen, until)| Sighting { key, seen: at(seen), expires_at: at(until) });
    assert_eq!(one.touch(&told).await.unwrap(), [true, true, false]);
    assert_eq!(other.load(&key, NOW).await.unwrap().unwrap().expires_at, at(16));
}

async fn no_sightings_are_no_work(Replicas { one, _kept, .. }: Replicas) {
    assert_eq!(one.touch(&[]).await.unwrap(), [false; 0]);
}

async fn touch_is_no_change_and_every_change_is_told_to_every_handle(Replicas { one, other, _kept }: Replicas) {
    let who = account();
    let (touched, replaced, ended) = (begun(&*one, who).await, begun(&*one, who).await, begun(&*one, who).await);
    // A change of another session, after which all that was told of the begins has been heard.
    let fence = begun(&*one, account()).await;
    let (mut here, mut there) = (one.changes(), other.changes());
    one.end(&fence, &[]).await.unwrap();
    heard(&mut here, fence).await;
    heard(&mut there, fence).await;

    touch(&*one, &touched, NOW.plus(HOUR / 2), NOW.plus(2 * HOUR)).await;
    one.replace(&replaced, 1, vec![2], NOW.plus(HOUR), NOW, &[]).await.unwrap();
    one.end(&ended, &[]).await.unwrap();
    for news in [&mut here, &mut there] {
        let mut told = Vec::new();
        while told.last() != Some(&ended) {
            told.push(next(news).await);
        }
        assert!(told.contains(&replaced), "{told:?}");
        assert!(!told.contains(&touched), "{told:?}");
    }
    let all = other.end_all(&Whose::Account(who), None, &Untold).await.unwrap();
    assert_eq!(all.len(), 2);
    heard(&mut here, touched).await;
}

async fn end_says_whether_there_was_one(Replicas { one, other, _kept }: Replicas) {
    let key = begun(&*one, account()).await;
    assert!(other.end(&key, &[]).await.unwrap());
    assert!(!one.end(&key, &[]).await.unwrap());
    assert!(!alive(&*one, &key).await);
}

async fn all_of_an_account_end_but_the_one_kept(Replicas { one, other, _kept }: Replicas) {
    let (who, someone_else) = (account(), account());
    let mut theirs = vec![begun(&*one, who).await, begun(&*other, who).await, begun(&*one, who).await];
    let others = begun(&*one, someone_else).await;
    let kept = theirs.pop().unwrap();
    let mut ended = one.end_all(&Whose::Account(who), Some(&kept), &Untold).await.unwrap();
    ended.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ended, theirs);
    assert!(alive(&*one, &kept).await && alive(&*one, &others).await);
    assert!(one.end_all(&Whose::Account(who), Some(&kept), &Untold).await.unwrap().is_empty());
    assert_eq!(one.end_all(&Whose::Account(who), None, &Untold).await.unwrap(), [kept]);
}

async fn all_of_an_identity_end(Replicas { one, other, _kept }: Replicas) {
    let who = account();
    let by = |subject: &str| NewStored { identity: identity(subject), ..new(who) };
    let (first, second) = (by("a"), by("b"));
    one.begin(first.clone(), None, &[]).await.unwrap();
    one.begin(second.clone(), None, &[]).await.unwrap();
    assert_eq!(other.end_all(&Whose::Identity(identity("a")), None, &Untold).await.unwrap(), [first.key]);
    assert!(alive(&*one, &second.key).await);
    // Issuer and subject are two texts, not one.
    let shifted = IdentityKey { issuer: Issuer::new("https://issuer.testb"), subject: Subject::new("") };
    assert!(other.end_all(&Whose::Identity(shifted), None, &Untold).await.unwrap().is_empty());
}

async fn a_provider_session_ends_at_its_issuer_only(Replicas { one, other, _kept }: Replicas) {
    let here = NewStored { sid: Some("s1".into()), ..new(account()) };
    let mut there = NewStored { sid: Some("s1".into()), ..new(account()) };
    there.identity.issuer = Issuer::new("https://other.test");
    let without = new(account());
    for new in [&here, &there, &without] {
        one.begin(new.clone(), None, &[]).await.unwrap();
    }
    let whose = Whose::Sid(here.identity.issuer.clone(), "s1".into());
    assert_eq!(other.end_all(&whose, None, &Untold).await.unwrap(), [here.key]);
    assert!(alive(&*one, &there.key).await && alive(&*one, &without.key).await);
}

async fn ended_and_replaced_at_once_stays_ended(Replicas { one, other, _kept }: Replicas) {
    for _ in 0..20 {
        let key = begun(&*one, account()).await;
        let (ended, replaced) =
            tokio::join!(other.end(&key, &[]), one.replace(&key, 1, vec![9], NOW.plus(HOUR), NOW, &[]));
        assert!(ended.unwrap());
        assert_ne!(replaced.unwrap(), Replaced::Changed);
        assert!(!alive(&*one, &key).await);
    }
}

async fn list_gives_the_live_ones_newest_first_and_at_most_100(Replicas { one, other, _kept }: Replicas) {
    let who = account();
    let mut keys = Vec::new();
    for number in 0..105 {
        let at = NOW.plus(Duration::from_secs(number));
        let new = NewStored { last_seen: at, expires_at: at.plus(HOUR), ..new(who) };
        one.begin(new.clone(), None, &[]).await.unwrap();
        keys.push(new.key);
    }
    begun(&*one, account()).await;
    // A touch does not make a session newer.
    touch(&*one, &keys[0], NOW.plus(HOUR / 2), NOW.plus(2 * HOUR)).await;
    let listed: Vec<SessionKey> = other.list(&who, NOW).await.unwrap().into_iter().map(|(key, _)| key).collect();
    let newest: Vec<SessionKey> = keys.iter().rev().take(100).copied().collect();
    assert_eq!(listed, newest);
    // All but the last five and the one touched have expired.
    let later = NOW.plus(HOUR).plus(Duration::from_secs(99));
    let living = other.list(&who, later).await.unwrap();
    assert_eq!(living.len(), 6);
    assert_eq!(living[5].0, keys[0]);
    assert_eq!(living[0].1.version, 1);
}

async fn a_lease_has_one_holder_until_it_ends(Replicas { one, other, _kept }: Replicas) {
    let life = Duration::from_secs(10);
    assert!(one.lease("renew", "a", life, NOW).await.unwrap());
    assert!(!other.lease("renew", "b", life, NOW).await.unwrap());
    assert!(other.lease("another", "b", life, NOW).await.unwrap());
    let half = NOW.plus(life / 2);
    assert!(one.lease("renew", "a", life, half).await.unwrap(), "the holder prolongs it");
    assert!(!other.lease("renew", "b", life, NOW.plus(life)).await.unwrap());
    assert!(other.lease("renew", "b", life, half.plus(life)).await.unwrap(), "it has ended");
    // The old holder gives back what it no longer has.
    one.release("renew", "a").await.unwrap();
    assert!(!one.lease("renew", "a", life, half.plus(life)).await.unwrap());
    other.release("renew", "b").await.unwrap();
    assert!(one.lease("renew", "a", life, half.plus(life)).await.unwrap());
}

async fn of_many_callers_one_gets_the_lease(Replicas { one, other, _kept }: Replicas) {
    let results = at_once(&one, &other, 50, |store, number| async move {
        store.lease("renew", &format!("holder {number}"), HOUR, NOW).await.unwrap()
    })
    .await;
    assert_eq!(results.iter().filter(|got| **got).count(), 1);
}

async fn a_marker_is_used_once_among_many(Replicas { one, other, _kept }: Replicas) {
    for marker in ["attempt 1", "attempt 2"] {
        let results =
            at_once(
                &one,
                &other,
                50,
                |store, _| async move { store.use_once(marker, NOW.plus(HOUR), NOW).await.unwrap() },
            )
            .await;
        assert_eq!(results.iter().filter(|first| **first).count(), 1);
    }
}

async fn a_marker_is_free_again_when_its_time_is_over(Replicas { one, other, _kept }: Replicas) {
    assert!(one.use_once("jti", NOW.plus(HOUR), NOW).await.unwrap());
    assert!(!other.use_once("jti", NOW.plus(HOUR), NOW.plus(HOUR).minus(Duration::from_millis(1))).await.unwrap());
    assert!(other.use_once("jti", NOW.plus(2 * HOUR), NOW.plus(HOUR)).await.unwrap());
}

async fn a_document_is_written_over_what_was_expected_only(Replicas { one, other, _kept }: Replicas) {
    assert_eq!(one.document("keys").await.unwrap(), None);
    assert!(!one.put_document("keys", Some(b""), b"x").await.unwrap());
    assert!(one.put_document("keys", None, b"first\0").await.unwrap());
    assert!(!other.put_document("keys", None, b"second").await.unwrap());
    assert!(!other.put_document("keys", Some(b"not it"), b"second").await.unwrap());
    assert!(other.put_document("keys", Some(b"first\0"), b"second").await.unwrap());
    assert_eq!(one.document("keys").await.unwrap().as_deref(), Some(b"second".as_slice()));
    assert_eq!(one.document("other").await.unwrap(), None);
}

async fn of_many_first_writers_of_a_document_one_wins(Replicas { one, other, _kept }: Replicas) {
    let results =
        at_once(
            &one,
            &other,
            20,
            |store, number| async move { store.put_document("keys", None, &[number]).await.unwrap() },
        )
        .await;
    let won: Vec<usize> = (0..20).filter(|number| results[*number]).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(usize::from(one.document("keys").await.unwrap().unwrap()[0]), won[0]);
}

async fn sweeping_leaves_the_living(Replicas { one, _kept, .. }: Replicas) {
    let who = account();
    let short = begun(&*one, who).await;
    let long = NewStored { expires_at: NOW.plus(3 * HOUR), ..new(who) };
    one.begin(long.clone(), None, &[]).await.unwrap();
    one.use_once("long", NOW.plus(3 * HOUR), NOW).await.unwrap();
    let later = NOW.plus(2 * HOUR);
    one.sweep(later).await.unwrap();
    assert!(one.load(&short, later).await.unwrap().is_none());
    assert!(one.load(&long.key, later).await.unwrap().is_some());
    assert!(!one.use_once("long", NOW.plus(3 * HOUR), later).await.unwrap());
    assert_eq!(one.sweep(later).await.unwrap(), 0, "nothing is left to sweep");
}

async fn ping_answers(Replicas { one, other, _kept }: Replicas) {
    one.ping().await.unwrap();
    other.ping().await.unwrap();
}

/// Runs `count` calls at once, half on each handle; the results in the order of their numbers.
async fn at_once<T, F>(
    one: &Arc<dyn SessionStore>,
    other: &Arc<dyn SessionStore>,
    count: u8,
    call: impl Fn(Arc<dyn SessionStore>, u8) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count)
        .map(|number| tokio::spawn(call(Arc::clone(if number % 2 == 0 { one } else { other }), number)))
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

/// The next record told to have changed.
async fn next(news: &mut tokio::sync::broadcast::Receiver<Change>) -> SessionKey {
    loop {
        match tokio::time::timeout(Duration::from_secs(5), news.recv()).await.expect("news within 5 s").unwrap() {
            Change::One(key) => return key,
            Change::Watching => {}
            Change::Missed => panic!("no news were to be missed"),
        }
    }
}

/// Waits until `key` is told to have changed.
async fn heard(news: &mut tokio::sync::broadcast::Receiver<Change>, key: SessionKey) {
    while next(news).await != key {}
}
