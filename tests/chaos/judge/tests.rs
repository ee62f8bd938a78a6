//! A judge who finds nothing wrong must be one who would have.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{
    Found, Verdict, compare,
    found::Account,
    told::{BEGUN, CREATED, SIGNED_OUT, Told},
};
use crate::{
    browser::Browser,
    ledger::{End, Ledger, Session, Span},
};

/// Somebody who signed in twice, one after the other, and signed out of the first session in between.
struct Case {
    found: Vec<Found>,
    accounts: Vec<Account>,
    events: Vec<Value>,
}

fn event(kind: &str, session: &str) -> Value {
    let id = format!("{kind} {session}");
    json!({ "id": id, "type": kind, "subject": "account", "data": { "account": "account", "session": session } })
}

fn case() -> Case {
    let ledger = Ledger::default();
    let span = || Span { begun: ledger.now(), acknowledged: ledger.now() };
    let found = |name: &str, login: Span, end: End, status: u16| Found {
        session: Session {
            person: "somebody".to_owned(),
            browser: Browser::at(Ipv4Addr::LOCALHOST),
            name: name.to_owned(),
            name_now: name.to_owned(),
            account: Some("account".to_owned()),
            login,
            linked: None,
            end,
        },
        status,
    };
    let (first, out, second) = (span(), span(), span());
    Case {
        found: vec![found("1", first, End::Acknowledged(out), 401), found("2", second, End::None, 200)],
        accounts: vec![Account { id: "account".to_owned(), subjects: vec!["somebody".to_owned()] }],
        events: vec![event(CREATED, "1"), event(BEGUN, "1"), event(SIGNED_OUT, "1"), event(BEGUN, "2")],
    }
}

/// What is wrong after this change.
fn wrongs(change: impl FnOnce(&mut Case)) -> Vec<String> {
    let mut case = case();
    change(&mut case);
    let mut verdict = Verdict::default();
    compare(&mut case.found, &case.accounts, &Told::of(&case.events), &mut verdict);
    verdict.wrongs
}

#[test]
fn what_is_as_it_was_acknowledged_is_well_also_when_told_twice() {
    assert_eq!(wrongs(|_| {}), Vec::<String>::new());
    assert_eq!(wrongs(|case| case.events.extend_from_within(1..3)), Vec::<String>::new());
}

#[test]
fn a_session_that_is_gone_or_still_there_is_found_out() {
    assert_eq!(wrongs(|case| case.found[1].status = 401).len(), 1);
    assert_eq!(wrongs(|case| case.found[1].status = 503).len(), 1);
    assert!(!wrongs(|case| case.found[0].status = 200).is_empty());
}

#[test]
fn an_account_that_is_gone_doubled_or_another_is_found_out() {
    assert!(!wrongs(|case| case.accounts.clear()).is_empty());
    assert!(
        !wrongs(|case| {
            case.accounts.push(Account { id: "another".to_owned(), subjects: vec!["somebody".to_owned()] });
        })
        .is_empty()
    );
    assert!(!wrongs(|case| case.found[1].session.account = Some("another".to_owned())).is_empty());
}

#[test]
fn each_event_that_is_lost_is_found_out() {
    for lost in 0..4 {
        assert!(!wrongs(|case| drop(case.events.remove(lost))).is_empty(), "{lost}");
    }
}

#[test]
fn a_change_of_order_is_found_out() {
    for (one, other) in [(0, 1), (1, 2), (2, 3), (1, 3)] {
        assert!(!wrongs(|case| case.events.swap(one, other)).is_empty(), "{one} and {other}");
    }
}

#[test]
fn what_is_told_and_did_not_happen_is_found_out() {
    assert!(!wrongs(|case| case.events.push(event(SIGNED_OUT, "2"))).is_empty());
    assert!(
        !wrongs(|case| case
            .events
            .push(json!({ "id": "other", "type": BEGUN, "subject": "account", "data": { "session": "1" } })))
        .is_empty()
    );
    assert!(
        !wrongs(|case| case
            .events
            .push(json!({ "id": "x", "type": BEGUN, "subject": "nobody", "data": { "session": "9" } })))
        .is_empty()
    );
}

#[test]
fn a_sign_out_in_doubt_is_told_exactly_when_it_happened() {
    let in_doubt = |status: u16, told: bool| {
        wrongs(|case| {
            case.found[0].session.end = End::InDoubt;
            case.found[0].status = status;
            if !told {
                case.events.remove(2);
            }
        })
    };
    assert!(in_doubt(401, true).is_empty() && in_doubt(200, false).is_empty());
    assert!(!in_doubt(401, false).is_empty() && !in_doubt(200, true).is_empty());
}
