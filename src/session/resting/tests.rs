use std::{mem::size_of, time::Duration};

use serde_json::json;

use super::*;
use crate::{
    identity::AccountId,
    secret,
    session::{Change, cache::SessionCache},
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const KEY: SessionKey = SessionKey::from_bytes([7; 32]);

fn stored() -> Stored {
    Stored { sealed: vec![], version: 3, last_seen: NOW, expires_at: NOW.plus(HOUR) }
}

fn rested(session: &Session, tokens: Option<&[u8]>) -> Resting {
    Resting::new(session, tokens, &stored(), &Vouchers::default()).unwrap()
}

/// With everything a session can have.
fn full() -> Session {
    serde_json::from_value(json!({
        "account": "0190163d-8694-739b-aea5-966c26f8ad90",
        "origin": {
            "provider": "cognito", "issuer": "https://issuer.test/pool", "subject": "тема", "at": NOW,
            "acr": "urn:mace:silver", "amr": ["pwd", "otp"], "connection": "Google", "sid": "s-1",
        },
        "profile": {
            "email": "olena@example.com", "email_verified": true, "name": "Олена", "given_name": "Олена",
            "family_name": "Коваленко", "preferred_username": "olena", "picture": "https://example.com/o.png",
            "locale": "uk", "groups": ["a", "b"],
            "claims": {"hd": "example.com", "deep": {"level": [1, 2.5, null, true]}, "empty": ""},
        },
        "created_at": NOW, "ends_at": NOW.plus(8 * HOUR), "renew_at": NOW.plus(HOUR / 2),
    }))
    .unwrap()
}

/// With nothing it need not have.
fn bare() -> Session {
    serde_json::from_value(json!({
        "account": "0190163d-8694-739b-aea5-966c26f8ad90",
        "origin": {"provider": "x", "issuer": "i", "subject": "s", "at": 0},
        "profile": {}, "created_at": -5, "ends_at": i64::MAX,
    }))
    .unwrap()
}

/// A person as Google tells of them.
fn typical(number: usize) -> Session {
    serde_json::from_value(json!({
        "account": AccountId::fresh(NOW),
        "origin": {
            "provider": "google", "issuer": "https://accounts.google.com",
            "subject": format!("1{number:020}"), "at": NOW,
        },
        "profile": {
            "email": format!("person.{number}@example.com"), "email_verified": true,
            "name": format!("Person Number {number}"), "given_name": "Person",
            "family_name": format!("Number {number}"), "locale": "uk", "groups": ["engineering", "staff"],
            "picture": format!("https://lh3.googleusercontent.com/a/{}=s96-c", &secret::random_text().repeat(2)[..55]),
            "claims": {"hd": "example.com", "department": "logistics", "level": 3},
        },
        "created_at": NOW, "ends_at": NOW.plus(12 * HOUR), "renew_at": NOW.plus(HOUR),
    }))
    .unwrap()
}

#[test]
fn a_session_is_opened_as_it_was_laid_to_rest() {
    for session in [full(), bare(), typical(7)] {
        let live = rested(&session, None).open(&KEY).unwrap();
        assert_eq!(*live.session(), session);
        assert_eq!((*live.key(), live.version()), (KEY, 3));
        assert_eq!((live.last_seen(), live.expires_at()), (NOW, NOW.plus(HOUR)));
    }
}

#[test]
fn what_sessions_have_in_common_is_left_out_and_put_back() {
    let vouchers = Vouchers::default();
    let mut others = vec![typical(1), typical(2), full(), bare()];
    others[0].profile.picture = Some("https://elsewhere.test/p.png".into());
    others[1].profile.name = Some("Someone Else".into());
    let mut none = typical(3);
    (none.profile.given_name, none.profile.family_name, none.profile.name) = (None, Some("".into()), Some(" ".into()));
    let mut only_parts = typical(4);
    only_parts.profile.name = None;
    others.extend([none, only_parts]);
    let first = Resting::new(&typical(0), None, &stored(), &vouchers).unwrap();
    for session in others {
        let resting = Resting::new(&session, None, &stored(), &vouchers).unwrap();
        assert_eq!(*resting.open(&KEY).unwrap().session(), session);
    }
    let alone = rested(&typical(0), None);
    assert_eq!(alone.0.slice.len(), first.0.slice.len());
    let text = |resting: &Resting| String::from_utf8_lossy(&resting.0.slice).into_owned();
    assert!(!text(&first).contains("googleusercontent") && !text(&first).contains("Person Number"));
}

#[test]
fn tokens_are_at_hand_only_when_they_were_given() {
    assert_eq!(rested(&full(), None).tokens(), None);
    let with = rested(&full(), Some(b"\0sealed\xff"));
    assert_eq!(with.tokens(), Some(b"\0sealed\xff".as_slice()));
    assert_eq!(*with.open(&KEY).unwrap().session(), full());
}

#[test]
fn what_moves_is_one_for_all_who_have_it_open() {
    let resting = rested(&full(), None);
    let (one, other) = (resting.open(&KEY).unwrap(), resting.clone().open(&KEY).unwrap());
    let later = NOW.plus(HOUR / 2);
    assert!(one.resting().sight(later, HOUR / 60) && !other.resting().sight(later, HOUR / 60));
    one.resting().prolong(later.plus(HOUR));
    assert_eq!((other.last_seen(), other.expires_at()), (later, later.plus(HOUR)));
    other.resting().prolong(later);
    assert_eq!(one.expires_at(), later.plus(HOUR), "never back");
}

#[test]
fn a_renewal_is_claimed_by_one_and_again_only_when_it_may() {
    let resting = rested(&full(), None);
    let (one, other) = (resting.open(&KEY).unwrap(), resting.open(&KEY).unwrap());
    assert!(!one.claim_renewal(NOW, Duration::ZERO), "it is not due");
    let due = NOW.plus(HOUR / 2);
    assert!(one.claim_renewal(due, Duration::ZERO) && !other.claim_renewal(due, Duration::ZERO));
    one.renewal_ended(Some(due.plus(HOUR)));
    assert!(!other.claim_renewal(due.plus(HOUR / 2), Duration::ZERO), "it failed not long ago");
    assert!(other.claim_renewal(due.plus(HOUR), Duration::ZERO));
    other.renewal_ended(None);
    assert!(one.claim_renewal(due, HOUR / 60));
    assert!(!rested(&bare(), None).open(&KEY).unwrap().claim_renewal(due, Duration::ZERO), "it is never due");
}

#[test]
fn many_who_claim_at_once_are_one() {
    let resting = rested(&full(), None);
    let claims = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let live = resting.open(&KEY).unwrap();
                (0..1000).for_each(|_| {
                    claims.fetch_add(usize::from(live.claim_renewal(NOW.plus(HOUR), HOUR)), Ordering::SeqCst);
                });
            });
        }
    });
    assert_eq!(claims.into_inner(), 1);
}

/// What an allocation of so many bytes takes with glibc: a word of its own, in steps of 16 bytes.
fn allocated(bytes: usize) -> usize {
    (bytes + 8).next_multiple_of(16)
}

/// What a session takes beside the table: a count, what moves, a length, the packed facts.
fn at_rest(resting: &Resting) -> usize {
    allocated(size_of::<usize>() + size_of::<Moving>() + size_of::<usize>() + resting.0.slice.len())
}

/// A counting allocator would be unsafe code, so this is arithmetic. In a running gateway the allocator's leftovers come to
/// some 80 bytes more (`bench/run sessions` measures the process): less than 500 in all.
#[test]
fn a_typical_session_takes_less_than_400_bytes() {
    const COUNT: usize = 20_000;
    let (cache, vouchers) = (SessionCache::new(2 * COUNT), Vouchers::default());
    cache.apply(Change::Watching, NOW);
    let mut at_rest_bytes = 0;
    for number in 0..COUNT {
        let key = SessionKey::from_bytes(secret::sha256(&number.to_be_bytes()));
        let resting = Resting::new(&typical(number), None, &stored(), &vouchers).unwrap();
        at_rest_bytes += at_rest(&resting);
        assert!(cache.insert(cache.begin_load(&key), resting));
    }
    assert_eq!(cache.len(), COUNT);
    let each = (at_rest_bytes + cache.table_bytes()) / COUNT;
    assert!(each < 400, "{each} bytes a session, of which {} in the table", cache.table_bytes() / COUNT);
}
