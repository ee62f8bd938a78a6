//! Linking in a whole gateway, with simulated providers.

use std::time::Duration;

use crate::app::test_gateway::{Answer, Browser, TestGateway};

const ROUTE: &str = "[[route]]\nupstream = \"app\"\n";

/// Who is signed in: the account's id; nothing for nobody.
async fn account(browser: &mut Browser) -> Option<String> {
    let answer = browser.get("/oauth2/userinfo", &[("Accept", "application/json")]).await;
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    json["user"].as_str().map(str::to_owned)
}

/// The first value of this attribute-like text in the account page: what stands between `before` and the next quote.
async fn on_account_page(browser: &mut Browser, before: &str) -> Option<String> {
    let page = browser.get("/oauth2/account", &[]).await;
    assert_eq!(page.status, 200, "{page:?}");
    let (_, rest) = page.body.split_once(before)?;
    Some(rest.split('"').next().unwrap().replace("&#x2f;", "/").replace("&amp;", "&"))
}

/// Begins linking as a person does: account page, choice, provider.
async fn begin_link(browser: &mut Browser, gateway: &TestGateway, person: &str, provider: &str) -> Answer {
    gateway.approve(person, provider);
    let link = on_account_page(browser, "/oauth2/sign_in?link=").await.expect("the page offers to link");
    let chooser = browser.get(&format!("/oauth2/sign_in?link={link}"), &[]).await;
    assert_eq!(chooser.status, 200, "{chooser:?}");
    assert!(chooser.body.contains("Add another way to sign in"), "{}", chooser.body);
    browser.get(&format!("/oauth2/start/{provider}?link={link}"), &[]).await
}

async fn link(browser: &mut Browser, gateway: &TestGateway, person: &str, provider: &str) -> Answer {
    let begun = begin_link(browser, gateway, person, provider).await;
    browser.follow_login(&begun).await
}

async fn csrf(browser: &mut Browser) -> String {
    // The first token on the page is that of signing out; the form that unlinks is one of the account's.
    let page = browser.get("/oauth2/account", &[]).await;
    let (_, forms) = page.body.split_once("action=\"/oauth2/account\"").unwrap();
    let (_, token) = forms.split_once("name=\"csrf\" value=\"").unwrap();
    token.split('"').next().unwrap().to_owned()
}

async fn accounts(gateway: &TestGateway) -> u64 {
    gateway.running.foundation().directory.count().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_login_while_signed_in_links_and_the_session_gets_a_new_id() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut alice = gateway.signed_in("alice", "google").await;
    let own = account(&mut alice).await.unwrap();
    let mut before = alice.clone();

    let linked = link(&mut alice, &gateway, "carol", "oidc").await;
    assert_eq!((linked.status, linked.header("location")), (303, "/oauth2/account?linked=1"));
    assert_ne!(alice.cookies["brama"], before.cookies["brama"]);
    assert_eq!(account(&mut alice).await, Some(own.clone()));
    let old_id_is_dead = async { while account(&mut before).await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), old_id_is_dead).await.expect("the old id ends within 10 s");

    let page = alice.get("/oauth2/account?linked=1", &[]).await;
    assert!(page.body.contains("now opens this account, too"), "{}", page.body);
    assert_eq!(page.body.matches("name=\"unlink\"").count(), 1, "the identity in use cannot be removed");
    // The session goes on as it was: by the provider it came by.
    let told = alice.get("/oauth2/userinfo", &[]).await;
    assert!(told.body.contains("\"provider\":\"google\""), "{}", told.body);

    let mut elsewhere = gateway.signed_in("carol", "oidc").await;
    assert_eq!(account(&mut elsewhere).await, Some(own));
    assert_eq!(accounts(&gateway).await, 1);
    assert!(gateway.running.foundation().metrics.render().contains(r#"brama_events_total{event="identity_linked"} 1"#));
    // The answer that comes again carries on, and links nothing twice.
    let again = link(&mut alice, &gateway, "carol", "oidc").await;
    assert_eq!(again.status, 303);
    assert!(gateway.running.foundation().metrics.render().contains(r#"brama_events_total{event="identity_linked"} 1"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_verified_address_at_two_providers_links_nothing() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut google = gateway.signed_in("alice", "google").await;
    let mut oidc = gateway.signed_in("alice", "oidc").await;
    let (one, other) = (account(&mut google).await.unwrap(), account(&mut oidc).await.unwrap());
    assert_ne!(one, other);
    // Nor when the second login happens in a browser that is signed in, unless it was asked to link.
    google.sign_in(&gateway, "alice", "oidc").await;
    assert_eq!(account(&mut google).await, Some(other));
    assert_eq!(accounts(&gateway).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_linked_when_somebody_else_or_nobody_is_signed_in_by_then() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut browser = gateway.signed_in("alice", "google").await;
    let begun = begin_link(&mut browser, &gateway, "carol", "oidc").await;
    browser.sign_in(&gateway, "olena", "google").await;
    let olena = account(&mut browser).await;
    let answer = browser.follow_login(&begun).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("Nothing was changed"), "{}", answer.body);
    assert_eq!(account(&mut browser).await, olena);

    let begun = begin_link(&mut browser, &gateway, "carol", "oidc").await;
    browser.cookies.remove("brama");
    assert_eq!(browser.follow_login(&begun).await.status, 400);
    assert_eq!(account(&mut browser).await, None, "nobody is signed in by an attempt that was to link");

    // Carol's identity is nobody's yet: her first sign-in makes an account.
    gateway.signed_in("carol", "oidc").await;
    assert_eq!(accounts(&gateway).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_of_another_account_stays_there() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut carol = gateway.signed_in("carol", "oidc").await;
    let carols = account(&mut carol).await;
    let mut alice = gateway.signed_in("alice", "google").await;
    let before = alice.cookies["brama"].clone();
    let answer = link(&mut alice, &gateway, "carol", "oidc").await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(alice.cookies["brama"], before);
    assert_eq!(account(&mut gateway.signed_in("carol", "oidc").await).await, carols);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_account_page_of_this_session_begins_a_linking() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut alice = gateway.signed_in("alice", "google").await;
    let mut mallory = gateway.signed_in("olena", "google").await;
    let hers = on_account_page(&mut mallory, "/oauth2/sign_in?link=").await.unwrap();
    for token in ["", "1", &hers] {
        for path in ["sign_in", "start/oidc"] {
            let answer = alice.get(&format!("/oauth2/{path}?link={token}"), &[]).await;
            assert_eq!((answer.status, answer.all("set-cookie")), (403, vec![]), "{path} {token}");
        }
    }
    let answer = gateway.browser().get(&format!("/oauth2/start/oidc?link={hers}"), &[]).await;
    assert_eq!(answer.status, 200, "nobody is signed in: the choice of an ordinary sign-in");
    assert!(!answer.body.contains("Add another way to sign in"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_is_taken_away_with_its_sessions_and_never_the_one_in_use() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut alice = gateway.signed_in("alice", "google").await;
    let own = account(&mut alice).await;
    link(&mut alice, &gateway, "carol", "oidc").await;
    let mut by_carol = gateway.signed_in("carol", "oidc").await;
    assert_eq!(account(&mut by_carol).await, own);
    let carols = on_account_page(&mut alice, "name=\"unlink\" value=\"").await.unwrap();
    let alices = on_account_page(&mut by_carol, "name=\"unlink\" value=\"").await.unwrap();

    assert_eq!(alice.post("/oauth2/account", &[("unlink", &carols)]).await.status, 403, "without the form's token");
    let token = csrf(&mut alice).await;
    let in_use = [("csrf", token.as_str()), ("unlink", alices.as_str())];
    assert_eq!(alice.post("/oauth2/account", &in_use).await.status, 400);
    let nobodys = [("csrf", token.as_str()), ("unlink", "00")];
    assert_eq!(alice.post("/oauth2/account", &nobodys).await.status, 200);
    assert_eq!(account(&mut by_carol).await, own, "nothing has changed");

    let answer = alice.post("/oauth2/account", &[("csrf", &token), ("unlink", &carols)]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("no longer opens this account"), "{}", answer.body);
    assert!(!answer.body.contains("name=\"unlink\""), "the last one stays: {}", answer.body);
    let ended = async { while account(&mut by_carol).await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("its sessions end within 10 s");
    assert_eq!(account(&mut alice).await, own);
    let again = gateway.signed_in("carol", "oidc").await;
    assert_ne!(account(&mut again.clone()).await, own);
    let metrics = gateway.running.foundation().metrics.render();
    assert!(metrics.contains(r#"brama_events_total{event="identity_unlinked"} 1"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_renamed_is_still_renewed() {
    let gateway = TestGateway::start(&format!("{ROUTE}[session]\nrenew_before = \"1h\"\n")).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    link(&mut alice, &gateway, "carol", "github").await;
    gateway.parts.oidc.forget_calls();
    let renewed = async {
        while gateway.parts.oidc.calls("refresh").iter().all(|call| call.status != 200) {
            assert_eq!(alice.get("/api/me", &[]).await.status, 200);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("a renewal within 20 s");
}
