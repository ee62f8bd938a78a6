//! Whole sign-ins of a running gateway, and what is told of them.

use std::{path::Path, time::Duration};

use serde_json::Value;

use super::test_gateway::TestGateway;
use crate::event::catalogue::CATALOGUE;

const PATIENCE: Duration = Duration::from_secs(30);

/// The tables of a sink of JSON lines at `path`.
fn lines(path: &Path) -> String {
    format!(
        "[[route]]\npath = \"/\"\nupstream = \"app\"\n[event.sink.lines]\nkind = \"file\"\n[event.sink.lines.file]\npath = {path:?}\n"
    )
}

/// The events in the file, once there are `count`.
async fn events(path: &Path, count: usize) -> Vec<Value> {
    let read = || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The last line may be half written yet.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>()
    };
    let waiting = async {
        while read().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(in_time.is_ok(), "{count} events within {PATIENCE:?}: {:#?}", read());
    read()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// The value of the hidden field `name` of a page.
fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, after) = page.split_once(&format!("name=\"{name}\"")).unwrap_or_else(|| panic!("{name} in {page}"));
    let (_, value) = after.split_once("value=\"").unwrap();
    value.split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_and_a_sign_out_are_told_in_order_and_without_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let gateway = TestGateway::start(&lines(&path)).await;
    let mut browser = gateway.browser();
    browser.sign_in(&gateway, "olena", "google").await;
    let told = events(&path, 2).await;
    assert_eq!(kinds(&told), ["io.brama.account.created", "io.brama.session.begun"]);
    let signed_in = browser.clone();

    let page = browser.get("/oauth2/sign_out", &[]).await;
    let token = field(&page.body, "csrf").to_owned();
    let out = browser.post("/oauth2/sign_out", &[("csrf", token.as_str())]).await;
    assert_eq!(out.status, 303, "{out:?}");
    let told = events(&path, 3).await;
    assert_eq!(kinds(&told)[2], "io.brama.session.signed_out");
    for event in &told {
        let entry = CATALOGUE.iter().find(|entry| event["type"] == entry.kind).unwrap();
        for field in event["data"].as_object().unwrap().keys() {
            let listed = entry.required.iter().chain(entry.optional).any(|name| name == field);
            assert!(listed, "{field} is not in the catalogue: {event}");
        }
    }
    let of = |event: usize, name: &str| told[event]["data"][name].clone();
    assert_eq!(of(0, "provider"), "google");
    assert_eq!(
        of(0, "subject"),
        gateway.parts.google.subject(crate::demo::simulator::People::find("olena").unwrap()).as_str()
    );
    assert_eq!(of(1, "session"), of(2, "session"));
    assert!(told.iter().all(|event| event["subject"] == told[0]["subject"] && event["subject"].is_string()));
    assert!(told.iter().all(|event| event["source"] == "http://gate.test"));

    // Every secret that took part: cookies, and whatever went to and came from the provider.
    let text = std::fs::read_to_string(&path).unwrap();
    let mut secrets: Vec<String> = signed_in.cookies.values().cloned().collect();
    for endpoint in ["authorize", "token", "userinfo"] {
        for call in gateway.parts.google.calls(endpoint) {
            let secret = ["code", "code_verifier", "client_secret", "state", "nonce"];
            secrets.extend(secret.iter().filter_map(|name| call.parameter(name).map(str::to_owned)));
            let bearer = call.headers.iter().find(|(name, _)| name == "authorization");
            secrets.extend(bearer.and_then(|(_, value)| Some(value.split_once(' ')?.1.to_owned())));
        }
    }
    secrets.retain(|secret| secret.len() >= 8);
    assert!(secrets.len() >= 5, "{secrets:?}");
    for secret in &secrets {
        assert!(!text.contains(secret.as_str()), "{secret} is in {text}");
    }
    gateway.running.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_who_cancels_is_told_as_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let gateway = TestGateway::start(&lines(&path)).await;
    gateway.parts.google.auto_cancel();
    let mut browser = gateway.browser();
    let begun = browser.get("/oauth2/start/google?rd=/", &[]).await;
    browser.follow_login(&begun).await;
    let told = events(&path, 1).await;
    assert_eq!(kinds(&told), ["io.brama.login.refused"]);
    assert_eq!((&told[0]["data"]["reason"], &told[0]["partitionkey"]), (&"cancelled".into(), &"google".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sink_nothing_waits() {
    let gateway = TestGateway::start("").await;
    gateway.signed_in("olena", "google").await;
    let outbox = gateway.running.foundation().sessions.store();
    assert!(outbox.newest().await.unwrap().iter().all(Option::is_none));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_down_is_told_by_readiness_and_keeps_nobody_from_signing_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/events.jsonl");
    let gateway = TestGateway::start(&lines(&path)).await;
    gateway.signed_in("olena", "google").await;
    let admin = format!("http://{}/ready", gateway.running.admin()).parse().unwrap();
    let ready = super::test_gateway::fetch(&admin).await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert!(ready.body.contains("event sink lines") && ready.body.contains("events.jsonl"), "{}", ready.body);
    // Once it is back, all of it arrives.
    std::fs::create_dir(folder.path().join("missing")).unwrap();
    assert_eq!(kinds(&events(&path, 2).await), ["io.brama.account.created", "io.brama.session.begun"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_must_prove_every_login_admits_none_while_events_cannot_be_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/events.jsonl");
    let strict = format!("{}[event]\nmax_count = 2\nwhen_full = \"refuse_logins\"\n", lines(&path));
    let gateway = TestGateway::start(&strict).await;
    let mut first = gateway.signed_in("olena", "google").await;
    let journal = &gateway.running.foundation().events;
    let full = async {
        while !journal.refuses_logins() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("it is noticed that the outbox is full");
    let refused = gateway.browser().get("/oauth2/start/google?rd=/", &[]).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    // Who is signed in already, stays so.
    assert_eq!(first.get("/", &[]).await.status, 200);
}
