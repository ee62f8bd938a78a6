//! Questions over real sockets, put by hand and by a real nginx.

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use crate::app::test_gateway::{Answer, Browser, TestGateway, parse};

mod nginx;

const ROUTES: &str = r#"
[[route]]
host = "app.gate.test"
upstream = "app"
[[route]]
host = "app.gate.test"
path = "/admin"
upstream = "app"
allow = [{ group = "admins" }]
[[route]]
host = "app.gate.test"
path = "/public"
upstream = "app"
auth = "none"
[[route]]
host = "app.gate.test"
path = "/maybe"
upstream = "app"
auth = "optional"
"#;

const TRUSTED: &str = "[forwarded]\ntrusted_proxies = [\"127.0.0.1\"]\n";

/// A gateway that is asked as Traefik and Caddy ask, with further lines for `[forward_auth]`.
async fn start(more: &str) -> TestGateway {
    TestGateway::start(&format!("{ROUTES}{TRUSTED}[forward_auth]\n{more}\n")).await
}

const X_FORWARDED: &str = "source = \"x-forwarded\"";

/// Asks about GET `uri` at app.gate.test.
async fn ask(browser: &mut Browser, uri: &str, more: &[(&str, &str)]) -> Answer {
    let mut fields = vec![
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "app.gate.test"),
        ("X-Forwarded-Uri", uri),
    ];
    fields.extend_from_slice(more);
    browser.get("/oauth2/auth", &fields).await
}

const PAGE: (&str, &str) = ("Accept", "text/html");

/// The identity in an answer: every name of the set is there exactly once.
fn identity(answer: &Answer) -> [&str; 4] {
    ["user", "email", "preferred-username", "groups"].map(|name| answer.header(&format!("x-auth-request-{name}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_carries_every_header_of_the_set_once_and_nothing_a_client_wrote() {
    let gateway = start(X_FORWARDED).await;
    let forged = [
        ("X-Auth-Request-User", "root"),
        ("x-auth-request-email", "root@evil.test"),
        ("X_Auth_Request_Groups", "wheel"),
    ];

    let mut alice = gateway.signed_in("alice", "oidc").await;
    let answer = ask(&mut alice, "/", &forged).await;
    assert_eq!((answer.status, answer.header("cache-control")), (202, "no-store"));
    let [user, email, name, groups] = identity(&answer);
    assert_eq!((user.len(), email, name, groups), (36, "alice@example.com", "alice", "admins,staff"));

    // He has neither address nor groups: both are answered empty, so that the proxy in front overwrites forged ones.
    let mut boris = gateway.signed_in("boris", "oidc").await;
    let answer = ask(&mut boris, "/", &forged).await;
    let [user, email, name, groups] = identity(&answer);
    assert_eq!((answer.status, user.len(), email, name, groups), (202, 36, "", "boris", ""));
    assert_eq!(answer.header("content-length"), "0");

    // A public route asks nobody: all names, no value, also for somebody who is signed in.
    for browser in [&mut gateway.browser(), &mut alice] {
        let answer = ask(browser, "/public/x", &forged).await;
        assert_eq!((answer.status, identity(&answer)), (202, ["", "", "", ""]));
    }
    // An optional one tells who it is when somebody is.
    assert_eq!(identity(&ask(&mut gateway.browser(), "/maybe", &forged).await), ["", "", "", ""]);
    assert_eq!(identity(&ask(&mut alice, "/maybe", &forged).await)[1], "alice@example.com");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_and_their_rules_decide_as_if_the_request_had_come_here_itself() {
    let gateway = start(X_FORWARDED).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    let mut olena = gateway.signed_in("olena", "oidc").await;
    for (uri, alices, olenas, nobodys) in [
        ("/", 202, 202, 401),
        ("/admin", 202, 403, 401),
        ("/admin/x?y=/public", 202, 403, 401),
        ("/public/../admin", 202, 403, 401),
        ("/%61dmin", 202, 403, 401),
        ("/public", 202, 202, 202),
        // Another reader takes these for the protected path.
        ("/public/..;/admin", 403, 403, 403),
        ("/public%2f..%2fadmin", 403, 403, 403),
        ("/public/%00", 403, 403, 403),
    ] {
        let statuses = [&mut alice, &mut olena, &mut gateway.browser()].map(|browser| browser.clone());
        let mut told = Vec::new();
        for mut browser in statuses {
            told.push(ask(&mut browser, uri, &[]).await.status);
        }
        assert_eq!(told, [alices, olenas, nobodys], "{uri}");
    }
    let elsewhere = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "other.test"),
        ("X-Forwarded-Uri", "/"),
    ];
    assert_eq!(alice.get("/oauth2/auth", &elsewhere).await.status, 403, "no route takes it");

    let gateway = start("source = \"x-forwarded\"\nunrouted = \"signed_in\"\nstatus = 200").await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    assert_eq!(alice.get("/oauth2/auth", &elsewhere).await.status, 200);
    assert_eq!(gateway.browser().get("/oauth2/auth", &elsewhere).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_without_a_session_is_told_where_to_sign_in() {
    let gateway = start(X_FORWARDED).await;
    let sign_in = "http://app.gate.test/oauth2/sign_in?rd=%2Freports%3Fq%3D1";
    for fields in [&[PAGE][..], &[("Accept", "application/json")]] {
        let answer = ask(&mut gateway.browser(), "/reports?q=1", fields).await;
        assert_eq!((answer.status, answer.header("location")), (401, sign_in));
        assert!(answer.header("www-authenticate").starts_with("Cookie"));
    }

    let gateway = start("source = \"x-forwarded\"\nredirect = true").await;
    let answer = ask(&mut gateway.browser(), "/reports?q=1", &[PAGE]).await;
    assert_eq!((answer.status, answer.header("location"), answer.header("cache-control")), (302, sign_in, "no-store"));
    let answer = ask(&mut gateway.browser(), "/reports?q=1", &[("Sec-Fetch-Mode", "cors")]).await;
    assert_eq!(answer.status, 401, "a script that follows a redirect gets HTML where it wanted data");
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((json["error"].as_str(), json["sign_in"].as_str()), (Some("sign_in_needed"), Some(sign_in)));

    // A host that is not ours is never gone back to.
    let fields = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Uri", "/"),
        PAGE,
    ];
    let gateway = start("source = \"x-forwarded\"\nredirect = true\nunrouted = \"signed_in\"").await;
    let answer = gateway.browser().get("/oauth2/auth", &fields).await;
    assert_eq!((answer.status, answer.header("location")), (302, "http://gate.test/oauth2/sign_in?"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_or_unknown_session_is_nobody() {
    let gateway = start(X_FORWARDED).await;
    let alice = gateway.signed_in("alice", "oidc").await;
    let genuine = alice.cookies["brama"].clone();
    for (what, value) in [
        ("unknown", "A".repeat(43)),
        ("short", "AAAA".into()),
        ("not base64", "!".repeat(43)),
        ("empty", String::new()),
        ("two of them", format!("{genuine}; brama={}", "A".repeat(43))),
        ("the same twice", format!("{genuine}; brama={genuine}")),
    ] {
        let mut browser = gateway.browser();
        browser.cookies.insert("brama".into(), value);
        let answer = ask(&mut browser, "/", &[]).await;
        assert_eq!((answer.status, answer.all("x-auth-request-user")), (401, vec![]), "{what}");
    }
    let mut browser = alice.clone();
    assert_eq!(ask(&mut browser, "/", &[]).await.status, 202);
    gateway
        .running
        .foundation()
        .sessions
        .end(&crate::session::SessionId::parse(genuine.as_bytes()).unwrap().key(), &[])
        .await
        .unwrap();
    assert_eq!(ask(&mut browser, "/", &[]).await.status, 401, "a session that was ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_told_or_told_by_a_stranger_is_refused() {
    let gateway = start(X_FORWARDED).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    assert_eq!(alice.get("/oauth2/auth", &[]).await.status, 403);
    assert_eq!(ask(&mut alice, "/", &[("X-Forwarded-Uri", "/public")]).await.status, 403);
    assert_eq!(ask(&mut alice, "/a, /b", &[]).await.status, 403);
    // No spelling of our address leads past the decision.
    for path in ["/oauth2/%61uth", "/oauth2/./auth", "/x/../oauth2/auth", "/oauth2/auth/", "/oauth2/auth/x"] {
        let answer = alice.get(path, &[]).await;
        assert!(answer.status >= 400, "{path}: {}", answer.status);
    }

    let stranger = format!("{ROUTES}[forwarded]\ntrusted_proxies = [\"192.0.2.1\"]\n[forward_auth]\n{X_FORWARDED}\n");
    let gateway = TestGateway::start(&stranger).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    let answer = ask(&mut alice, "/public", &[]).await;
    assert_eq!((answer.status, answer.all("x-auth-request-user")), (403, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn query_parameters_narrow_who_passes_with_and_without_routes() {
    for (dialect, fields) in [
        ("source = \"none\"", &[][..]),
        ("source = \"x-original\"", &[("X-Original-Method", "GET"), ("X-Original-URL", "https://app.gate.test/")]),
    ] {
        let gateway = start(dialect).await;
        let mut olena = gateway.signed_in("olena", "oidc").await;
        for (query, status) in [
            ("", 202),
            ("?allowed_groups=staff", 202),
            ("?allowed_groups=admins", 403),
            ("?allowed_groups=", 403),
            ("?allowed_emails=olena@example.net", 202),
            ("?allowed_email_domains=example.com&allowed_groups=staff", 403),
        ] {
            let path = format!("/oauth2/auth{query}");
            assert_eq!(olena.get(&path, fields).await.status, status, "{dialect} {query}");
            assert_eq!(gateway.browser().get(&path, fields).await.status, 401, "{dialect} {query}");
        }
    }
    // Who must be in a group must be somebody, on a public route as well.
    let gateway = start("source = \"x-original\"").await;
    let public = [("X-Original-Method", "GET"), ("X-Original-URL", "https://app.gate.test/public")];
    assert_eq!(gateway.browser().get("/oauth2/auth?allowed_groups=staff", &public).await.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_asks_with_the_request_itself() {
    let gateway = start("source = \"path\"\nredirect = true").await;
    let mut olena = gateway.signed_in("olena", "oidc").await;
    olena.host = "app.gate.test".into();
    for (method, path, status) in [
        ("GET", "/oauth2/auth/", 202),
        ("DELETE", "/oauth2/auth/x?allowed_groups=admins", 202),
        ("GET", "/oauth2/auth/admin", 403),
        ("GET", "/oauth2/auth/../../admin", 403),
        ("GET", "/oauth2/auth/public/..;/admin", 403),
        ("GET", "/oauth2/auth", 403),
    ] {
        assert_eq!(olena.send(method, path, &[], "").await.status, status, "{method} {path}");
    }
    let mut nobody = gateway.browser();
    nobody.host = "app.gate.test".into();
    let answer = nobody.get("/oauth2/auth/a?b=c", &[PAGE]).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, "http://app.gate.test/oauth2/sign_in?rd=%2Fa%3Fb%3Dc")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_origin_opens_no_websocket() {
    let gateway = start(X_FORWARDED).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    // Proxies keep Upgrade to themselves and hand on the rest.
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(ask(&mut alice, "/ws", &[key, ("Origin", "http://app.gate.test")]).await.status, 202);
    let answer = ask(&mut alice, "/ws", &[key, ("Origin", "http://evil.test")]).await;
    assert_eq!((answer.status, answer.all("x-auth-request-user")), (403, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assertion_goes_to_trusted_proxies_only() {
    let gateway = start("source = \"none\"\nassertion = true").await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    assert_eq!(alice.get("/oauth2/auth", &[]).await.header("x-brama-assertion").split('.').count(), 3);

    let stranger = "[forwarded]\ntrusted_proxies = [\"192.0.2.1\"]\n[forward_auth]\nassertion = true\n";
    let gateway = TestGateway::start(stranger).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    let answer = alice.get("/oauth2/auth", &[]).await;
    assert_eq!((answer.status, answer.header("x-brama-assertion")), (202, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_only_asked_about_is_renewed_as_well() {
    let gateway = start("source = \"none\"\n[session]\nrenew_before = \"1h\"").await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    let renewed = async {
        while gateway.parts.oidc.calls("refresh").is_empty() {
            assert_eq!(alice.get("/oauth2/auth", &[]).await.status, 202);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), renewed).await.expect("a renewal within 20 s");
}

/// The control plane is the test's own thread, which does not run while this waits for the answer.
#[tokio::test(flavor = "current_thread")]
async fn a_cached_session_is_answered_without_the_control_plane() {
    let gateway = start(X_FORWARDED).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    assert_eq!(ask(&mut alice, "/admin", &[]).await.status, 202);
    let request = alice.request(
        "GET",
        "/oauth2/auth?allowed_groups=staff",
        &[
            ("X-Forwarded-Method", "GET"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "app.gate.test"),
            ("X-Forwarded-Uri", "/admin"),
        ],
        "",
    );
    let mut stream = std::net::TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("an answer although the control plane stands still");
    assert_eq!(identity(&parse(&heard))[1], "alice@example.com");
}

#[cfg(feature = "session-redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_down_nobody_is_taken_for_signed_out_or_in() {
    let mut redis = crate::session::redis::server::RedisServer::start();
    let keys = tempfile::tempdir().unwrap();
    let sealing = keys.path().join("sealing.keys");
    std::fs::write(&sealing, crate::config::keys::fresh().expose()).unwrap();
    let more = format!(
        "{X_FORWARDED}\n[session]\nstore = \"redis\"\n[session.redis]\nurl = \"{}\"\n[keys]\nsealing_file = {sealing:?}",
        redis.config().url
    );
    let gateway = start(&more).await;
    let mut alice = gateway.signed_in("alice", "oidc").await;
    assert_eq!(ask(&mut alice, "/", &[]).await.status, 202);
    redis.kill();
    let down = async {
        loop {
            let answer = ask(&mut alice, "/", &[PAGE]).await;
            match answer.status {
                // Until the loss is noticed, what is cached may serve.
                202 => tokio::task::yield_now().await,
                _ => return answer,
            }
        }
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), down).await.expect("the loss is noticed within 20 s");
    assert_eq!((answer.status, answer.all("x-auth-request-user")), (503, vec![]));
    answer.header("retry-after");
    assert_eq!(ask(&mut gateway.browser(), "/public", &[]).await.status, 202, "public routes go on");
    redis.restart();
    let back = async { while ask(&mut alice, "/", &[]).await.status != 202 {} };
    tokio::time::timeout(Duration::from_secs(20), back).await.expect("back within 20 s");
}
