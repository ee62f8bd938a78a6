//! Messages of simulated providers, sound and flawed, to a whole gateway.

use std::time::Duration;

use crate::{
    app::test_gateway::{Answer, Browser, TestGateway},
    demo::simulator::{LogoutFlaw, People, Person, Simulator},
};

const ROUTE: &str = "[[route]]\nupstream = \"app\"\n";
const API: (&str, &str) = ("Accept", "application/json");

async fn is_signed_in(browser: &mut Browser) -> bool {
    match browser.get("/api/me", &[API]).await.status {
        200 => true,
        401 => false,
        status => panic!("{status}"),
    }
}

/// A revocation reaches the workers within moments.
async fn is_soon_signed_out(browser: &mut Browser) {
    let out = async { while is_signed_in(browser).await {} };
    tokio::time::timeout(Duration::from_secs(10), out).await.expect("signed out within 10 s");
}

fn person(id: &str) -> &'static Person {
    People::find(id).unwrap()
}

async fn tell(gateway: &TestGateway, provider: &str, token: &str) -> Answer {
    let path = format!("/oauth2/backchannel_logout/{provider}");
    gateway.browser().post(&path, &[("logout_token", token)]).await
}

/// The session the provider began for the newest login of this person.
fn only_sid(simulator: &Simulator, person: &str) -> String {
    simulator.sids(person).pop().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_with_a_sid_ends_that_session_and_one_without_ends_all_of_the_person() {
    let gateway = TestGateway::start(ROUTE).await;
    let oidc = &gateway.parts.oidc;
    let mut first = gateway.signed_in("alice", "oidc").await;
    let first_sid = only_sid(oidc, "alice");
    // Another browser has another session there.
    oidc.sign_out_all();
    let mut second = gateway.signed_in("alice", "oidc").await;
    let mut elsewhere = gateway.signed_in("alice", "google").await;
    let mut other = gateway.signed_in("olena", "oidc").await;
    assert!(oidc.sids("alice").iter().any(|sid| *sid != first_sid), "two sessions there: {:?}", oidc.sids("alice"));

    let answer = tell(&gateway, "oidc", &oidc.logout_token(person("alice"), Some(&first_sid), None)).await;
    assert_eq!((answer.status, answer.header("cache-control"), &*answer.body), (200, "no-store", ""));
    is_soon_signed_out(&mut first).await;
    assert!(is_signed_in(&mut second).await);

    let answer = tell(&gateway, "oidc", &oidc.logout_token(person("alice"), None, None)).await;
    assert_eq!(answer.status, 200);
    is_soon_signed_out(&mut second).await;
    assert!(is_signed_in(&mut elsewhere).await, "another issuer's session is not its to end");
    assert!(is_signed_in(&mut other).await);

    let metrics = gateway.running.foundation().metrics.render();
    assert!(metrics.contains(r#"provider="oidc",outcome="ended"} 2"#), "{metrics}");
    assert!(metrics.contains(r#"brama_events_total{event="revoked"} 2"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_flaw_of_a_token_is_refused_and_ends_nothing() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    let sid = only_sid(&gateway.parts.oidc, "alice");
    for flaw in LogoutFlaw::ALL {
        let token = gateway.parts.oidc.logout_token(person("alice"), Some(&sid), Some(flaw));
        let answer = tell(&gateway, "oidc", &token).await;
        assert_eq!((answer.status, answer.header("cache-control")), (400, "no-store"), "{flaw:?}: {answer:?}");
        assert!(answer.body.contains("invalid_request"), "{flaw:?}: {answer:?}");
        assert!(is_signed_in(&mut alice).await, "{flaw:?}");
    }
    let metrics = gateway.running.foundation().metrics.render();
    assert!(
        metrics.contains(&format!("provider=\"oidc\",outcome=\"refused\"}} {}", LogoutFlaw::ALL.len())),
        "{metrics}"
    );
    assert!(!metrics.contains("event=\"revoked\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_counts_once_and_at_its_own_provider_only() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    let token = gateway.parts.oidc.logout_token(person("alice"), None, None);
    for (provider, status) in [("google", 400), ("cognito", 400), ("facebook", 400), ("github", 400), ("nobody", 404)] {
        assert_eq!(tell(&gateway, provider, &token).await.status, status, "{provider}");
    }
    assert!(is_signed_in(&mut alice).await);
    assert_eq!(tell(&gateway, "oidc", &token).await.status, 200);
    is_soon_signed_out(&mut alice).await;
    // Whoever has seen the token cannot sign her out again with it.
    alice.sign_in(&gateway, "alice", "oidc").await;
    assert_eq!(tell(&gateway, "oidc", &token).await.status, 400);
    assert!(is_signed_in(&mut alice).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_refused() {
    let gateway = TestGateway::start(ROUTE).await;
    let mut browser = gateway.browser();
    let token = gateway.parts.oidc.logout_token(person("alice"), None, None);
    let path = "/oauth2/backchannel_logout/oidc";
    for form in [
        &[][..],
        &[("logout_token", "")],
        &[("logout_token", &*token), ("logout_token", &*token)],
        &[("id_token", &*token)],
    ] {
        assert_eq!(browser.post(path, form).await.status, 400, "{form:?}");
    }
    let body = format!("logout_token={token}");
    assert_eq!(browser.send("POST", path, &[("content-type", "application/json")], &body).await.status, 400);
    assert_eq!(browser.get(&format!("{path}?{body}"), &[]).await.status, 405);
    assert_eq!(browser.post("/oauth2/backchannel_logout", &[("logout_token", &token)]).await.status, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facebooks_deauthorisation_ends_the_sessions_of_that_person_once() {
    let gateway = TestGateway::start(ROUTE).await;
    let facebook = &gateway.parts.facebook;
    let mut alice = gateway.signed_in("alice", "facebook").await;
    let mut olena = gateway.signed_in("olena", "facebook").await;
    let path = "/oauth2/deauthorize/facebook";
    let forged = facebook.signed_request(person("alice"), true);
    assert_eq!(gateway.browser().post(path, &[("signed_request", &forged)]).await.status, 400);
    assert!(is_signed_in(&mut alice).await);

    let genuine = facebook.signed_request(person("alice"), false);
    assert_eq!(gateway.browser().post("/oauth2/deauthorize/oidc", &[("signed_request", &genuine)]).await.status, 400);
    assert_eq!(gateway.browser().post(path, &[("logout_token", &genuine)]).await.status, 400);
    assert_eq!(gateway.browser().post(path, &[("signed_request", &genuine)]).await.status, 200);
    is_soon_signed_out(&mut alice).await;
    assert!(is_signed_in(&mut olena).await);

    alice.sign_in(&gateway, "alice", "facebook").await;
    assert_eq!(gateway.browser().post(path, &[("signed_request", &genuine)]).await.status, 400);
    assert!(is_signed_in(&mut alice).await);
}

#[cfg(feature = "session-redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_while_the_store_is_down_is_asked_for_again_and_counts_then() {
    let mut redis = crate::session::redis::server::RedisServer::start();
    let keys = tempfile::tempdir().unwrap();
    let sealing = keys.path().join("sealing.keys");
    std::fs::write(&sealing, crate::config::keys::fresh().expose()).unwrap();
    let more = format!(
        "{ROUTE}[session]\nstore = \"redis\"\n[session.redis]\nurl = \"{}\"\n[keys]\nsealing_file = {sealing:?}\n",
        redis.config().url
    );
    let gateway = TestGateway::start(&more).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    let token = gateway.parts.oidc.logout_token(person("alice"), None, None);
    redis.kill();
    let answer = tell(&gateway, "oidc", &token).await;
    assert_eq!((answer.status, answer.header("cache-control"), answer.header("retry-after")), (503, "no-store", "5"));
    redis.restart();
    let heard = async { while tell(&gateway, "oidc", &token).await.status == 503 {} };
    tokio::time::timeout(Duration::from_secs(20), heard).await.expect("heard within 20 s");
    let out = async {
        // While the store comes back the request itself may be 503.
        while alice.get("/api/me", &[API]).await.status != 401 {}
    };
    tokio::time::timeout(Duration::from_secs(20), out).await.expect("signed out within 20 s");
}
