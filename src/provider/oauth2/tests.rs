//! Plain OAuth 2.0 logins, kind by kind, against small servers on loopback.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::*;
use crate::{
    config::provider::{ClientAuth, Kind, Provider as Config},
    provider::tests::{Login, NOW, Reply, SECRET, Seen, Server, config, opened, query, reply},
};

const HOUR: Duration = Duration::from_secs(3600);

/// The values a server answers by request line; tests change them.
type Script = Arc<Mutex<Vec<(&'static str, u16, Value)>>>;

async fn server(answers: Vec<(&'static str, u16, Value)>) -> (Server, Script) {
    let script = Arc::new(Mutex::new(answers));
    let shared = Arc::clone(&script);
    let answer = move |_: &str, seen: &Seen| -> Reply {
        let script = shared.lock().unwrap();
        match script.iter().rev().find(|(line, ..)| *line == seen.line) {
            Some((_, status, body)) => reply(*status, body),
            None => reply(404, &json!({})),
        }
    };
    (Server::start(answer).await, script)
}

fn at(server: &Server, path: &str) -> Option<Url> {
    Some(Url::parse(&format!("{}{path}", server.url)).unwrap())
}

async fn login(config: &Config) -> Result<Redeemed, ProviderError> {
    opened(config).redeem(Login::new().response(None), NOW).await
}

fn x_config(server: &Server) -> Config {
    let mut config = config(Kind::X, "");
    config.api_url = at(server, "/");
    config
}

fn x_answers() -> Vec<(&'static str, u16, Value)> {
    vec![
        (
            "POST /2/oauth2/token",
            200,
            json!({"token_type": "bearer", "expires_in": 7200, "access_token": "at", "refresh_token": "r1"}),
        ),
        (
            "GET /2/users/me",
            200,
            json!({
                "data": {"id": "2244994945", "name": "Ada", "username": "ada", "verified": true, "confirmed_email": "a@example.com"},
                "errors": [{"title": "Field Authorization Error"}],
            }),
        ),
        ("POST /2/oauth2/revoke", 200, json!({"revoked": true})),
    ]
}

#[tokio::test]
async fn x_tells_who_it_is_inside_data() {
    let (server, script) = server(x_answers()).await;
    let config = x_config(&server);
    let redeemed = login(&config).await.unwrap();
    let origin = redeemed.identity.origin();
    assert_eq!((origin.key.issuer.as_str(), origin.key.subject.as_str()), ("https://x.com", "2244994945"));
    let profile = redeemed.identity.profile();
    assert_eq!((profile.email.as_deref(), profile.email_verified), (Some("a@example.com"), true));
    assert_eq!(profile.preferred_username.as_deref(), Some("ada"));
    assert_eq!(redeemed.renew_at, Some(NOW.plus(2 * HOUR)));
    let [exchange] = server.seen("POST /2/oauth2/token").try_into().unwrap();
    assert!(exchange.authorization.starts_with("Basic "));
    assert!(exchange.form.contains_key("code_verifier"));
    // The blue tick says nothing about the address.
    script.lock().unwrap().push(("GET /2/users/me", 200, json!({"data": {"id": "1", "verified": true}})));
    let bare = login(&config).await.unwrap();
    assert_eq!((bare.identity.profile().email.clone(), bare.identity.profile().email_verified), (None, false));
    script.lock().unwrap().push(("GET /2/users/me", 200, json!({"id": "1"})));
    assert!(matches!(login(&config).await, Err(ProviderError::Untrusted(_))));
}

#[tokio::test]
async fn x_is_asked_again_without_the_address_when_that_is_not_granted() {
    let server = Server::start(|_, seen| match seen.line.as_str() {
        "POST /2/oauth2/token" => reply(200, &json!({"access_token": "at", "token_type": "bearer"})),
        _ if seen.query["user.fields"].contains("confirmed_email") => reply(403, &json!({"title": "Forbidden"})),
        _ => reply(200, &json!({"data": {"id": "1"}})),
    })
    .await;
    let redeemed = login(&x_config(&server)).await.unwrap();
    assert_eq!(redeemed.identity.profile().email, None);
    assert_eq!(server.seen("GET /2/users/me").len(), 2);
}

#[tokio::test]
async fn x_rotates_refresh_tokens_and_has_its_own_word_for_dead_ones() {
    let (server, script) = server(x_answers()).await;
    let config = x_config(&server);
    let redeemed = login(&config).await.unwrap();
    let (provider, origin) = (opened(&config), redeemed.identity.origin());
    let token = "POST /2/oauth2/token";
    let fresh = json!({"token_type": "bearer", "expires_in": 7200, "access_token": "at2", "refresh_token": "r2"});
    script.lock().unwrap().push((token, 200, fresh));
    let renewed = provider.renew(&redeemed.tokens, origin, NOW).await.unwrap();
    assert_eq!(renewed.tokens.refresh_token, Some(Secret::new("r2")));
    assert_eq!(server.seen(token)[1].form["refresh_token"], "r1");
    // A profile that cannot be read does not lose the only valid refresh token.
    script.lock().unwrap().push(("GET /2/users/me", 429, json!({})));
    let limited = provider.renew(&redeemed.tokens, origin, NOW).await.unwrap();
    assert_eq!((limited.tokens.refresh_token, limited.profile), (Some(Secret::new("r2")), None));
    let dead = json!({"error": "invalid_request", "error_description": "Value passed for the token was invalid."});
    script.lock().unwrap().push((token, 400, dead));
    assert!(matches!(provider.renew(&redeemed.tokens, origin, NOW).await, Err(ProviderError::GrantRefused(_))));
    script.lock().unwrap().push((token, 401, json!({"error": "unauthorized_client"})));
    assert!(matches!(provider.renew(&redeemed.tokens, origin, NOW).await, Err(ProviderError::Misconfigured(_))));
    provider.revoke(&redeemed.tokens).await.unwrap();
    assert_eq!(server.seen("POST /2/oauth2/revoke")[0].form["token"], "r1");
}

#[tokio::test]
async fn x_always_gets_pkce_and_a_public_client_names_itself() {
    let (server, _) = server(x_answers()).await;
    let mut config = x_config(&server);
    (config.pkce, config.client_auth, config.client_secret) = (Some(false), Some(ClientAuth::None), None);
    login(&config).await.unwrap();
    let [exchange] = server.seen("POST /2/oauth2/token").try_into().unwrap();
    assert_eq!((exchange.form["client_id"].as_str(), exchange.authorization.as_str()), ("client", ""));
    let url = opened(&config).authorize_url(Login::new().request()).await.unwrap();
    assert_eq!(url.host_str(), Some("x.com"));
    let query = query(&url);
    assert_eq!(query["code_challenge_method"], "S256");
    assert!(!query.contains_key("nonce"), "there is no ID token");
}

fn facebook_config(server: &Server) -> Config {
    let mut config = config(Kind::Facebook, "");
    config.api_url = at(server, "/");
    config
}

fn facebook_answers() -> Vec<(&'static str, u16, Value)> {
    vec![
        (
            "POST /v24.0/oauth/access_token",
            200,
            json!({"access_token": "at", "token_type": "bearer", "expires_in": 5_184_000}),
        ),
        (
            "GET /v24.0/me",
            200,
            json!({
                "id": "10215241773831025", "name": "Ada L", "first_name": "Ada", "last_name": "L", "email": "a@example.com",
                "picture": {"data": {"url": "https://cdn.test/a.jpg", "is_silhouette": false}},
            }),
        ),
        (
            "GET /v24.0/debug_token",
            200,
            json!({"data": {
                "app_id": "client", "is_valid": true, "user_id": "10215241773831025", "expires_at": NOW.as_secs() + 100,
            }}),
        ),
        ("DELETE /v24.0/me/permissions", 200, json!({"success": true})),
    ]
}

#[tokio::test]
async fn facebook_logins_get_a_long_lived_token_and_an_unverified_address() {
    let (server, _) = server(facebook_answers()).await;
    let mut config = facebook_config(&server);
    let redeemed = login(&config).await.unwrap();
    let origin = redeemed.identity.origin();
    assert_eq!(
        (origin.key.issuer.as_str(), origin.key.subject.as_str()),
        ("https://www.facebook.com", "10215241773831025")
    );
    let profile = redeemed.identity.profile();
    assert_eq!((profile.email.as_deref(), profile.email_verified), (Some("a@example.com"), false));
    assert_eq!(profile.picture.as_deref(), Some("https://cdn.test/a.jpg"));
    assert_eq!(redeemed.renew_at, Some(NOW.plus(HOUR)));
    let [code, long] = server.seen("POST /v24.0/oauth/access_token").try_into().unwrap();
    assert_eq!((code.form["client_secret"].as_str(), code.form.contains_key("code_verifier")), (SECRET, false));
    assert_eq!(
        (long.form["grant_type"].as_str(), long.form["fb_exchange_token"].as_str()),
        ("fb_exchange_token", "at")
    );
    let [me] = server.seen("GET /v24.0/me").try_into().unwrap();
    assert_eq!(me.query["appsecret_proof"].len(), 64);
    assert!(me.query["fields"].contains("email") && me.authorization == "Bearer at");
    config.trust_email = true;
    assert!(login(&config).await.unwrap().identity.profile().email_verified);
}

#[tokio::test]
async fn a_facebook_token_without_an_end_must_prove_to_be_ours() {
    let (server, script) = server(facebook_answers()).await;
    let config = facebook_config(&server);
    script.lock().unwrap().push((
        "POST /v24.0/oauth/access_token",
        200,
        json!({"access_token": "at", "token_type": "bearer"}),
    ));
    let redeemed = login(&config).await.unwrap();
    assert_eq!(redeemed.tokens.expires_at, Some(NOW.plus(Duration::from_secs(100))));
    for (member, value, reason) in [
        ("app_id", json!("another"), "untrusted"),
        ("user_id", json!("1"), "untrusted"),
        ("is_valid", json!(false), "grant_refused"),
    ] {
        let mut data = facebook_answers()[2].2.clone();
        data["data"][member] = value;
        script.lock().unwrap().push(("GET /v24.0/debug_token", 200, data));
        assert_eq!(login(&config).await.unwrap_err().reason(), reason, "{member}");
    }
}

#[tokio::test]
async fn facebook_renewal_asks_whether_access_still_stands() {
    let (server, script) = server(facebook_answers()).await;
    let config = facebook_config(&server);
    let redeemed = login(&config).await.unwrap();
    let (provider, origin) = (opened(&config), redeemed.identity.origin());
    let renewed = provider.renew(&redeemed.tokens, origin, NOW).await.unwrap();
    assert_eq!(renewed.profile.unwrap().name.as_deref(), Some("Ada L"));
    assert_eq!(server.seen("POST /v24.0/oauth/access_token").len(), 2, "a long token is not exchanged every time");
    let later = NOW.plus(Duration::from_secs(40 * 86_400));
    provider.renew(&redeemed.tokens, origin, later).await.unwrap();
    assert_eq!(server.seen("POST /v24.0/oauth/access_token").len(), 3, "a shorter one is");
    let me = "GET /v24.0/me";
    for (status, body, reason) in [
        (400, json!({"error": {"code": 190, "error_subcode": 460, "message": "password changed"}}), "grant_refused"),
        (400, json!({"error": {"code": 4, "message": "too many calls"}}), "unavailable"),
        (500, json!({"error": {"code": 99, "message": "?"}}), "unavailable"),
        (200, json!(false), "unavailable"),
        (200, json!({"id": "1"}), "untrusted"),
    ] {
        script.lock().unwrap().push((me, status, body));
        assert_eq!(provider.renew(&redeemed.tokens, origin, NOW).await.unwrap_err().reason(), reason);
    }
    provider.revoke(&redeemed.tokens).await.unwrap();
    assert!(server.seen("DELETE /v24.0/me/permissions").is_empty(), "the app stays in the account");
}

#[tokio::test]
async fn a_facebook_code_that_is_dead_starts_over_and_a_wrong_secret_alarms() {
    let (server, script) = server(facebook_answers()).await;
    let config = facebook_config(&server);
    for (error, reason) in [
        (json!({"code": 100, "message": "This authorization code has been used."}), "grant_refused"),
        (json!({"code": 100, "message": "Error validating: redirect_uri differs"}), "misconfigured"),
        (json!({"code": 1, "message": "Error validating client secret."}), "misconfigured"),
        (json!({"code": 2, "message": "Service temporarily unavailable"}), "unavailable"),
    ] {
        script.lock().unwrap().push(("POST /v24.0/oauth/access_token", 400, json!({"error": error})));
        assert_eq!(login(&config).await.unwrap_err().reason(), reason);
    }
}

fn github_config(server: &Server) -> Config {
    let mut config = config(Kind::GitHub, "");
    config.token_url = at(server, "/login/oauth/access_token");
    config.api_url = at(server, "/");
    config
}

fn github_answers() -> Vec<(&'static str, u16, Value)> {
    vec![
        (
            "POST /login/oauth/access_token",
            200,
            json!({"access_token": "gho_1", "token_type": "bearer", "scope": "read:user,user:email"}),
        ),
        (
            "GET /user",
            200,
            json!({
                "id": 583_231, "login": "octocat", "name": null, "email": "public@example.net", "company": "GitHub",
                "avatar_url": "https://cdn.test/o.png", "followers_url": "https://api.test/f",
            }),
        ),
        (
            "GET /user/emails",
            200,
            json!([
                {"email": "old@example.com", "primary": false, "verified": true},
                {"email": "octo@example.com", "primary": true, "verified": true},
            ]),
        ),
        ("DELETE /applications/client/token", 204, json!({})),
    ]
}

#[tokio::test]
async fn github_gives_the_number_and_the_primary_verified_address() {
    let (server, script) = server(github_answers()).await;
    let config = github_config(&server);
    let redeemed = login(&config).await.unwrap();
    let origin = redeemed.identity.origin();
    assert_eq!((origin.key.issuer.as_str(), origin.key.subject.as_str()), ("https://github.com", "583231"));
    let profile = redeemed.identity.profile();
    assert_eq!((profile.email.as_deref(), profile.email_verified), (Some("octo@example.com"), true));
    assert_eq!((profile.name.as_deref(), profile.preferred_username.as_deref()), (Some("octocat"), Some("octocat")));
    assert_eq!(profile.claims.keys().collect::<Vec<_>>(), ["company"]);
    assert_eq!((redeemed.tokens.expires_at, redeemed.renew_at), (None, Some(NOW.plus(HOUR))));
    // Neither the public address nor an unverified one is ever taken.
    for emails in [json!([{"email": "octo@example.com", "primary": true, "verified": false}]), json!([])] {
        script.lock().unwrap().push(("GET /user/emails", 200, emails));
        assert_eq!(login(&config).await.unwrap().identity.profile().email, None);
    }
    script.lock().unwrap().push(("GET /user/emails", 404, json!({})));
    assert_eq!(login(&config).await.unwrap().identity.profile().email, None, "the scope was not granted");
    script.lock().unwrap().push(("GET /user/emails", 500, json!({})));
    assert!(matches!(login(&config).await, Err(ProviderError::Unavailable(_))));
}

#[tokio::test]
async fn github_errors_inside_success_are_errors() {
    let (server, script) = server(github_answers()).await;
    let config = github_config(&server);
    for (word, reason) in [
        ("bad_verification_code", "grant_refused"),
        ("incorrect_client_credentials", "misconfigured"),
        ("redirect_uri_mismatch", "misconfigured"),
        ("unverified_user_email", "not_allowed"),
    ] {
        script.lock().unwrap().push(("POST /login/oauth/access_token", 200, json!({"error": word})));
        assert_eq!(login(&config).await.unwrap_err().reason(), reason);
    }
}

#[tokio::test]
async fn github_recheck_ends_when_access_was_withdrawn() {
    let (server, script) = server(github_answers()).await;
    let config = github_config(&server);
    let redeemed = login(&config).await.unwrap();
    let (provider, origin) = (opened(&config), redeemed.identity.origin());
    let renewed = provider.renew(&redeemed.tokens, origin, NOW).await.unwrap();
    assert_eq!((renewed.tokens, renewed.renew_at), (redeemed.tokens.clone(), Some(NOW.plus(HOUR))));
    provider.revoke(&redeemed.tokens).await.unwrap();
    let [revocation] = server.seen("DELETE /applications/client/token").try_into().unwrap();
    assert_eq!(
        (revocation.body.as_str(), revocation.authorization.starts_with("Basic ")),
        (r#"{"access_token":"gho_1"}"#, true)
    );
    script.lock().unwrap().push(("GET /user", 401, json!({"message": "Bad credentials"})));
    assert!(matches!(provider.renew(&redeemed.tokens, origin, NOW).await, Err(ProviderError::GrantRefused(_))));
    script.lock().unwrap().push(("GET /user", 200, json!({"id": 1, "login": "octocat"})));
    assert!(
        matches!(provider.renew(&redeemed.tokens, origin, NOW).await, Err(ProviderError::Untrusted(_))),
        "a login that was taken over is another person"
    );
}

#[tokio::test]
async fn github_groups_are_read_page_by_page_up_to_a_bound() {
    let endless = Arc::new(AtomicBool::new(false));
    let without_end = Arc::clone(&endless);
    let server = Server::start(move |_, seen| {
        let page: usize = seen.query.get("page").map_or(0, |page| page.parse().unwrap());
        let more = page == 1 || without_end.load(Ordering::SeqCst);
        let (status, mut headers, body) = match seen.line.as_str() {
            "POST /login/oauth/access_token" => reply(200, &json!({"access_token": "t", "token_type": "bearer"})),
            "GET /user" => reply(200, &json!({"id": 1, "login": "o"})),
            "GET /user/orgs" => reply(200, &json!([{"login": format!("org{page}")}])),
            "GET /user/teams" => reply(200, &json!([{"slug": "core", "organization": {"login": "org1"}}])),
            _ => reply(200, &json!([])),
        };
        if more && page > 0 {
            headers.push(("link", "<https://evil.test/next>; rel=\"next\"".into()));
        }
        (status, headers, body)
    })
    .await;
    let mut config = github_config(&server);
    config.read_groups = true;
    let redeemed = login(&config).await.unwrap();
    assert_eq!(redeemed.identity.profile().groups, ["org1", "org1:core", "org2"]);
    let url = opened(&config).authorize_url(Login::new().request()).await.unwrap();
    assert_eq!(query(&url)["scope"], "read:user user:email read:org");
    endless.store(true, Ordering::SeqCst);
    assert_eq!(login(&config).await.unwrap().identity.profile().groups.len(), 11);
}

#[tokio::test]
async fn github_says_who_answered_in_two_ways() {
    let (server, _) = server(github_answers()).await;
    let provider = opened(&github_config(&server));
    let login = Login::new();
    assert!(provider.redeem(login.response(Some("https://github.com/login/oauth")), NOW).await.is_ok());
    assert!(provider.redeem(login.response(Some("https://evil.test")), NOW).await.is_err());
}

#[test]
fn an_enterprise_server_is_its_own_issuer() {
    let mut enterprise = config(Kind::GitHub, "");
    enterprise.issuer = Some("https://ghe.example".into());
    let shown = format!("{:?}", opened(&enterprise));
    for part in ["https://ghe.example/api/v3", "/login/oauth/authorize", "/login/oauth/access_token"] {
        assert!(shown.contains(part), "{part}");
    }
    assert!(!shown.contains(SECRET));
}

#[tokio::test]
async fn any_service_with_a_profile_will_do() {
    let (server, script) = server(vec![
        (
            "POST /token",
            200,
            json!({"access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": "unchecked"}),
        ),
        ("GET /userinfo", 200, json!({"uid": 42, "email": "a@example.com", "teams": ["b", "a"]})),
    ])
    .await;
    let mut config = config(Kind::OAuth2, &server.url);
    config.issuer = None;
    config.subject_claim = "uid".into();
    config.groups_claim = Some("teams".into());
    let redeemed = login(&config).await.unwrap();
    let origin = redeemed.identity.origin();
    assert_eq!(
        (origin.key.subject.as_str(), origin.key.issuer.as_str()),
        ("42", format!("{}/token", server.url).as_str())
    );
    assert_eq!(redeemed.identity.profile().groups, ["a", "b"]);
    assert!(!redeemed.identity.profile().email_verified);
    assert_eq!((redeemed.tokens.id_token, redeemed.renew_at), (None, None), "an ID token nobody checked is not kept");
    script.lock().unwrap().push(("GET /userinfo", 200, json!({"sub": "42"})));
    assert!(matches!(login(&config).await, Err(ProviderError::Misconfigured(_))));
}
