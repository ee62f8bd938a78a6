//! OpenID Connect logins against a small issuer on loopback.

use std::sync::{Mutex, atomic::AtomicU32};

use serde_json::{Value, json};

use super::*;
use crate::{
    clock::{Clock, ManualClock},
    config::provider::{Kind, Provider as Config},
    provider::{
        Prompt, open,
        tests::{Login, NOW, Reply, SECRET, Seen, Server, Signer, config, opened, query, reply},
    },
};

/// What the issuer says; tests change it.
#[derive(Clone)]
struct Script {
    discovery: Value,
    token: (u16, Value),
    /// Claims of the ID token in the token answer; `null`: no ID token.
    claims: Value,
    userinfo: (u16, Value),
    keys: (u16, Value),
}

struct Issuer {
    server: Server,
    script: Arc<Mutex<Script>>,
}

impl Issuer {
    async fn start() -> Self {
        Self::signing_with(Signer::rs256()).await
    }

    async fn signing_with(signer: &'static Signer) -> Self {
        let script = Arc::new(Mutex::new(Script {
            discovery: json!({}),
            token: (
                200,
                json!({"access_token": "at", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "rt"}),
            ),
            claims: json!({
                "aud": "client", "sub": "1234", "nonce": "nonce", "iat": NOW.as_secs(), "exp": NOW.as_secs() + 3600,
                "email": "a@example.com", "email_verified": true, "name": "Ada", "token_use": "id",
            }),
            userinfo: (200, json!({"sub": "1234", "email": "a@example.com", "groups": ["staff"]})),
            keys: (200, signer.set()),
        }));
        let shared = Arc::clone(&script);
        let server = Server::start(move |url, seen| answer(&shared.lock().unwrap(), signer, url, seen)).await;
        Self { server, script }
    }

    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn config(&self, kind: Kind) -> Config {
        let mut config = config(kind, &self.server.url);
        config.issuer = Some(self.server.url.clone());
        config
    }

    async fn login(&self, config: &Config) -> Result<Redeemed, ProviderError> {
        opened(config).redeem(Login::new().response(None), NOW).await
    }
}

fn answer(script: &Script, signer: &Signer, url: &str, seen: &Seen) -> Reply {
    match seen.line.as_str() {
        "GET /.well-known/openid-configuration" => {
            let mut document = json!({
                "issuer": url,
                "authorization_endpoint": format!("{url}/authorize?tenant=one"),
                "token_endpoint": format!("{url}/token"),
                "jwks_uri": format!("{url}/keys"),
                "userinfo_endpoint": format!("{url}/userinfo"),
                "revocation_endpoint": format!("{url}/revoke"),
                "end_session_endpoint": format!("{url}/logout"),
                "response_types_supported": ["code"],
            });
            for (name, value) in script.discovery.as_object().unwrap() {
                document[name] = value.clone();
            }
            reply(200, &document)
        }
        "GET /keys" => reply(script.keys.0, &script.keys.1),
        "POST /token" => {
            let (status, mut body) = script.token.clone();
            if status == 200 && !script.claims.is_null() {
                let mut claims = script.claims.clone();
                if claims.get("iss").is_none() {
                    claims["iss"] = url.into();
                }
                body["id_token"] = signer.sign(&claims).into();
            }
            reply(status, &body)
        }
        "GET /userinfo" => reply(script.userinfo.0, &script.userinfo.1),
        "POST /revoke" => reply(200, &json!({})),
        _ => reply(404, &json!({})),
    }
}

#[tokio::test]
async fn a_login_is_redeemed_into_an_identity_with_its_origin() {
    let issuer = Issuer::start().await;
    issuer.change(|script| script.claims["sid"] = "session".into());
    let config = issuer.config(Kind::Oidc);
    let redeemed = issuer.login(&config).await.unwrap();
    let origin = redeemed.identity.origin();
    assert_eq!(origin.key.issuer.as_str(), issuer.server.url);
    assert_eq!((origin.key.subject.as_str(), origin.sid.as_deref(), origin.at), ("1234", Some("session"), NOW));
    let profile = redeemed.identity.profile();
    assert_eq!((profile.email.as_deref(), profile.email_verified), (Some("a@example.com"), true));
    assert_eq!(redeemed.renew_at, Some(NOW.plus(Duration::from_secs(3600))));
    let [exchange] = issuer.server.seen("POST /token").try_into().unwrap();
    assert_eq!(exchange.form["redirect_uri"], "https://app.test/oauth2/callback/test");
    assert_eq!(exchange.form["code_verifier"], Login::new().verifier.expose());
    assert!(exchange.authorization.starts_with("Basic ") && !exchange.form.contains_key("client_secret"));
    assert_eq!(exchange.accept, "application/json");
    assert!(issuer.server.seen("GET /userinfo").is_empty(), "the ID token suffices");
}

#[tokio::test]
async fn the_authorization_request_has_everything_once() {
    let issuer = Issuer::start().await;
    let mut config = issuer.config(Kind::Oidc);
    config.authorize_params.insert("audience".into(), "api".into());
    let login = Login::new();
    let mut request = login.request();
    request.prompt = Prompt::Silent;
    request.login_hint = Some("a@example.com");
    let url = opened(&config).authorize_url(request).await.unwrap();
    assert!(url.as_str().contains("scope=openid%20email%20profile"), "{url}");
    let query = query(&url);
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "client"),
        ("state", "state"),
        ("nonce", "nonce"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("prompt", "none"),
        ("login_hint", "a@example.com"),
        ("audience", "api"),
        ("tenant", "one"),
    ] {
        assert_eq!(query.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[tokio::test]
async fn an_answer_of_another_issuer_is_refused_before_the_code_is_spent() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    let login = Login::new();
    let refused = opened(&config).redeem(login.response(Some("https://evil.test")), NOW).await;
    assert!(matches!(refused, Err(ProviderError::Untrusted(_))));
    assert!(opened(&config).redeem(login.response(Some(&issuer.server.url)), NOW).await.is_ok());
    issuer.change(|script| script.discovery = json!({"authorization_response_iss_parameter_supported": true}));
    let missing = opened(&config).redeem(login.response(None), NOW).await;
    assert!(matches!(missing, Err(ProviderError::Untrusted(_))));
    assert_eq!(issuer.server.seen("POST /token").len(), 1);
}

#[tokio::test]
async fn discovery_naming_another_issuer_is_not_used() {
    let issuer = Issuer::start().await;
    issuer.change(|script| script.discovery = json!({"issuer": "https://evil.test"}));
    let provider = opened(&issuer.config(Kind::Oidc));
    let refused = provider.authorize_url(Login::new().request()).await;
    assert!(matches!(refused, Err(ProviderError::Misconfigured(_))));
    assert!(matches!(provider.health(), Health::Unready(_)));
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let thief = Server::start(|_, _| reply(200, &json!({}))).await;
    let to = thief.url.clone();
    let server = Server::start(move |_, _| (307, vec![("location", format!("{to}/stolen"))], String::new())).await;
    let mut config = config(Kind::Oidc, &server.url);
    config.authorize_url = Some(format!("{}/a", server.url).parse().unwrap());
    config.token_url = Some(format!("{}/t", server.url).parse().unwrap());
    config.jwks_url = Some(format!("{}/k", server.url).parse().unwrap());
    config.client_secret = Some(Secret::new(SECRET));
    config.id_token_algorithms = vec!["HS256".into()];
    let refused = opened(&config).redeem(Login::new().response(None), NOW).await;
    assert!(matches!(refused, Err(ProviderError::Misconfigured(_))), "{refused:?}");
    assert_eq!(server.seen("POST /t").len(), 1, "a code is never tried twice");
    assert!(thief.seen("POST /stolen").is_empty());
}

#[tokio::test]
async fn errors_hold_no_secret() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    for (status, body) in [
        (200, json!({"access_token": "at-secret", "token_type": 7})),
        (200, json!({"access_token": {"at-secret": 1}})),
        (400, json!({"error": "invalid_grant", "error_description": "<b>\r\nno\u{1b}[31m"})),
        (401, json!({"error": "invalid_client"})),
        (503, json!({})),
    ] {
        issuer.change(|script| (script.token, script.claims) = ((status, body), Value::Null));
        let error = issuer.login(&config).await.unwrap_err().to_string();
        for secret in ["at-secret", "the-code", SECRET, Login::new().verifier.expose(), "\r", "\u{1b}"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    for (status, word, reason) in [
        (400, "invalid_grant", "grant_refused"),
        (401, "invalid_client", "misconfigured"),
        (400, "invalid_scope", "misconfigured"),
        (400, "temporarily_unavailable", "unavailable"),
        (502, "invalid_grant", "unavailable"),
        (429, "invalid_grant", "unavailable"),
    ] {
        issuer.change(|script| script.token = (status, json!({"error": word})));
        assert_eq!(issuer.login(&config).await.unwrap_err().reason(), reason, "{word}");
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_a_forged_one_is_not_asked_for_again() {
    let issuer = Issuer::start().await;
    let clock = ManualClock::new(NOW);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let provider = open(ProviderName::new("test"), &issuer.config(Kind::Oidc), shared).unwrap();
    let login = Login::new();
    issuer.change(|script| script.keys.1 = Signer::es256("old").set());
    assert!(provider.redeem(login.response(None), NOW).await.is_err());
    assert!(provider.redeem(login.response(None), NOW).await.is_err());
    assert_eq!(issuer.server.seen("GET /keys").len(), 1, "within the cool-down");
    clock.advance(cached::COOL_DOWN);
    issuer.change(|script| script.keys.1 = Signer::rs256().set());
    assert!(provider.redeem(login.response(None), NOW).await.is_ok());
    assert!(provider.redeem(login.response(None), NOW).await.is_ok());
    assert_eq!(issuer.server.seen("GET /keys").len(), 2);
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_spend_neither_code_nor_refresh_token() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    let redeemed = issuer.login(&config).await.unwrap();
    issuer.change(|script| script.keys.0 = 500);
    let provider = opened(&config);
    let login = provider.redeem(Login::new().response(None), NOW).await;
    let renewal = provider.renew(&redeemed.tokens, redeemed.identity.origin(), NOW).await;
    assert!(matches!(login, Err(ProviderError::Unavailable(_))));
    assert!(matches!(renewal, Err(ProviderError::Unavailable(_))));
    assert_eq!(issuer.server.seen("POST /token").len(), 1);
    assert!(matches!(provider.health(), Health::Unready(_)));
}

#[tokio::test]
async fn an_issuer_that_was_down_becomes_ready_by_itself() {
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let server = Server::start(move |url, seen| match seen.line.as_str() {
        "GET /keys" => reply(200, &Signer::rs256().set()),
        _ if counted.fetch_add(1, Ordering::SeqCst) == 0 => reply(503, &json!({})),
        _ => reply(
            200,
            &json!({
                "issuer": url, "authorization_endpoint": format!("{url}/a"),
                "token_endpoint": format!("{url}/t"), "jwks_uri": format!("{url}/keys"),
            }),
        ),
    })
    .await;
    let config = config(Kind::Oidc, &server.url);
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock);
    let provider = open(ProviderName::new("test"), &config, clock).unwrap();
    assert!(provider.authorize_url(Login::new().request()).await.is_err());
    assert!(matches!(provider.health(), Health::Unready(_)));
    tokio::time::timeout(Duration::from_secs(20), async {
        while provider.health() != Health::Ready {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it is tried again without a login");
}

#[tokio::test]
async fn a_thin_id_token_is_filled_up_from_userinfo() {
    let issuer = Issuer::start().await;
    issuer.change(|script| drop(script.claims.as_object_mut().unwrap().remove("email")));
    let thin = issuer.login(&issuer.config(Kind::Oidc)).await.unwrap();
    assert_eq!(thin.identity.profile().email.as_deref(), Some("a@example.com"));
    assert!(!thin.identity.profile().email_verified, "the ID token's word was about no address");
    let cognito = issuer.login(&issuer.config(Kind::Cognito)).await.unwrap();
    assert_eq!(cognito.identity.profile().email, None);
    assert_eq!(issuer.server.seen("GET /userinfo").len(), 1);
}

#[tokio::test]
async fn userinfo_about_another_person_is_thrown_away() {
    let issuer = Issuer::start().await;
    let mut config = issuer.config(Kind::Oidc);
    config.userinfo = Some(true);
    assert_eq!(issuer.login(&config).await.unwrap().identity.profile().groups, ["staff"]);
    issuer.change(|script| script.userinfo.1["sub"] = "5678".into());
    assert!(matches!(issuer.login(&config).await, Err(ProviderError::Untrusted(_))));
    issuer.change(|script| script.userinfo.1 = json!({"groups": ["staff"]}));
    assert!(matches!(issuer.login(&config).await, Err(ProviderError::Untrusted(_))));
}

#[tokio::test]
async fn renewal_keeps_what_the_answer_leaves_out() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    let redeemed = issuer.login(&config).await.unwrap();
    let (tokens, origin) = (&redeemed.tokens, redeemed.identity.origin());
    let provider = opened(&config);
    // No new refresh token: the old one stays. The refreshed ID token lacks the name, and says no to the address.
    issuer.change(|script| {
        script.token.1 = json!({"access_token": "at2", "token_type": "bearer", "expires_in": "60"});
        script.claims.as_object_mut().unwrap().remove("name");
        script.claims["email_verified"] = false.into();
    });
    let renewed = provider.renew(tokens, origin, NOW).await.unwrap();
    assert_eq!(renewed.tokens.refresh_token, Some(Secret::new("rt")));
    assert_eq!(renewed.renew_at, Some(NOW.plus(Duration::from_secs(60))));
    let profile = renewed.profile.unwrap();
    assert_eq!((profile.name.as_deref(), profile.email_verified), (Some("Ada"), false));
    // An address that would not pass at a login does not come in by renewal either.
    issuer.change(|script| script.claims["email"] = "a@b@example.com\r\nX: 1".into());
    assert_eq!(provider.renew(tokens, origin, NOW).await.unwrap().profile.unwrap().email, None);
    // No ID token: the old one stays, and userinfo tells what is new.
    issuer.change(|script| script.claims = Value::Null);
    let renewed = provider.renew(tokens, origin, NOW).await.unwrap();
    assert_eq!(renewed.tokens.id_token, tokens.id_token);
    assert_eq!(renewed.profile.unwrap().groups, ["staff"]);
    issuer.change(|script| script.userinfo.0 = 503);
    assert_eq!(provider.renew(tokens, origin, NOW).await.unwrap().profile, None, "tokens are not lost for it");
    issuer.change(|script| script.userinfo.0 = 401);
    assert!(matches!(provider.renew(tokens, origin, NOW).await, Err(ProviderError::GrantRefused(_))));
}

#[tokio::test]
async fn a_refreshed_token_of_another_person_is_refused() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    let redeemed = issuer.login(&config).await.unwrap();
    issuer.change(|script| script.claims["sub"] = "5678".into());
    let refused = opened(&config).renew(&redeemed.tokens, redeemed.identity.origin(), NOW).await;
    assert!(matches!(refused, Err(ProviderError::Untrusted(_))));
}

#[tokio::test]
async fn sign_out_revokes_the_refresh_token_and_says_who_left() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    let redeemed = issuer.login(&config).await.unwrap();
    let provider = opened(&config);
    provider.revoke(&redeemed.tokens).await.unwrap();
    let [revocation] = issuer.server.seen("POST /revoke").try_into().unwrap();
    assert_eq!((revocation.form["token"].as_str(), revocation.authorization.is_empty()), ("rt", false));
    let home = Url::parse("https://app.test/").unwrap();
    let url = provider.end_session_url(redeemed.tokens.id_token.as_ref(), &home, "s").await.unwrap();
    let query = query(&url);
    assert_eq!((query["post_logout_redirect_uri"].as_str(), query["state"].as_str()), ("https://app.test/", "s"));
    assert_eq!(query["id_token_hint"], redeemed.tokens.id_token.unwrap().expose());
    let mut quiet = issuer.config(Kind::Oidc);
    (quiet.sign_out_at_provider, quiet.revoke_on_sign_out) = (false, Some(false));
    assert_eq!(opened(&quiet).end_session_url(None, &home, "s").await, None);
}

#[tokio::test]
async fn google_admits_by_the_hosted_domain_claim_alone() {
    let issuer = Issuer::start().await;
    let mut config = issuer.config(Kind::Google);
    assert!(issuer.login(&config).await.is_ok());
    config.hosted_domains = vec!["Example.com".into()];
    // The address is of the domain, the account is not.
    assert!(matches!(issuer.login(&config).await, Err(ProviderError::NotAllowed(_))));
    issuer.change(|script| script.claims["hd"] = "evil.test".into());
    assert!(matches!(issuer.login(&config).await, Err(ProviderError::NotAllowed(_))));
    issuer.change(|script| script.claims["hd"] = "example.com".into());
    let redeemed = issuer.login(&config).await.unwrap();
    // Leaving the domain ends the session at the next renewal.
    issuer.change(|script| script.claims["hd"] = "evil.test".into());
    let provider = opened(&config);
    let renewal = provider.renew(&redeemed.tokens, redeemed.identity.origin(), NOW).await;
    assert!(matches!(renewal, Err(ProviderError::NotAllowed(_))));
    let url = provider.authorize_url(Login::new().request()).await.unwrap();
    let query = query(&url);
    assert_eq!((query["access_type"].as_str(), query["hd"].as_str()), ("offline", "Example.com"));
    assert!(!query.contains_key("prompt"), "consent is not forced");
    assert_eq!(provider.end_session_url(None, &url, "s").await, None);
    provider.revoke(&redeemed.tokens).await.unwrap();
    assert!(issuer.server.seen("POST /revoke").is_empty(), "it would withdraw the whole consent");
}

#[tokio::test]
async fn googles_two_spellings_are_one_issuer_and_nobody_elses() {
    let issuer = Issuer::start().await;
    issuer.change(|script| script.claims["iss"] = "accounts.google.com".into());
    let redeemed = issuer.login(&issuer.config(Kind::Google)).await.unwrap();
    assert_eq!(redeemed.identity.origin().key.issuer.as_str(), issuer.server.url);
    assert!(matches!(issuer.login(&issuer.config(Kind::Oidc)).await, Err(ProviderError::Untrusted(_))));
}

#[tokio::test]
async fn google_without_a_refresh_token_is_not_renewed_here() {
    let issuer = Issuer::start().await;
    issuer.change(|script| drop(script.token.1.as_object_mut().unwrap().remove("refresh_token")));
    let config = issuer.config(Kind::Google);
    let redeemed = issuer.login(&config).await.unwrap();
    assert_eq!(redeemed.renew_at, None);
    let unchanged = opened(&config).renew(&redeemed.tokens, redeemed.identity.origin(), NOW).await.unwrap();
    assert_eq!(unchanged.tokens, redeemed.tokens, "not being able to renew is nobody's no");
    assert!(opened(&config).supports_silent());
}

#[tokio::test]
async fn cognito_has_ways_of_its_own() {
    let issuer = Issuer::start().await;
    issuer.change(|script| {
        script.claims["cognito:groups"] = json!(["admins"]);
        script.claims["cognito:username"] = "Google_1".into();
        script.claims["identities"] = json!([{"providerName": "Google", "userId": "1", "primary": "true"}]);
    });
    let mut config = issuer.config(Kind::Cognito);
    config.pkce = Some(false);
    config.identity_provider = Some("Google".into());
    let redeemed = issuer.login(&config).await.unwrap();
    assert_eq!(redeemed.identity.origin().connection.as_deref(), Some("Google"));
    assert_eq!(redeemed.identity.profile().groups, ["admins"]);
    assert_eq!(redeemed.identity.profile().preferred_username.as_deref(), Some("Google_1"));
    let provider = opened(&config);
    let asked = query(&provider.authorize_url(Login::new().request()).await.unwrap());
    assert_eq!((asked["code_challenge_method"].as_str(), asked["identity_provider"].as_str()), ("S256", "Google"));
    let home = Url::parse("https://app.test/bye").unwrap();
    let goodbye = provider.end_session_url(redeemed.tokens.id_token.as_ref(), &home, "s").await.unwrap();
    assert_eq!(goodbye.query(), Some("client_id=client&logout_uri=https%3A%2F%2Fapp.test%2Fbye"));
    // An access token is signed by the same keys.
    issuer.change(|script| script.claims["token_use"] = "access".into());
    assert!(matches!(issuer.login(&config).await, Err(ProviderError::Untrusted(_))));
}

#[tokio::test]
async fn a_cognito_pool_without_a_domain_is_told_to_the_operator() {
    let issuer = Issuer::start().await;
    issuer.change(|script| {
        let host = "https://cognito-idp.eu-central-1.amazonaws.com";
        script.discovery = json!({
            "authorization_endpoint": format!("{host}/oauth2/authorize"), "token_endpoint": format!("{host}/oauth2/token"),
        });
    });
    let error = opened(&issuer.config(Kind::Cognito)).authorize_url(Login::new().request()).await.unwrap_err();
    assert!(error.to_string().contains("assign a domain to the user pool"), "{error}");
}

#[tokio::test]
async fn an_examination_fetches_what_is_published_and_compares_clocks() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    let sound = of_today(&config).examine().await.unwrap();
    assert!(sound.detail.contains("endpoints and keys are known") && sound.warnings.is_empty(), "{sound:?}");
    assert_eq!(issuer.server.seen("GET /keys").len(), 1);
    assert!(issuer.server.seen("POST /token").is_empty() && issuer.server.seen("GET /authorize").is_empty());
    // The tests' own clock is nobody else's.
    let skewed = opened(&config).examine().await.unwrap();
    assert!(skewed.warnings[0].what.contains("the clock of this host"), "{skewed:?}");
}

#[tokio::test]
async fn an_examination_tells_what_a_login_would_fail_by() {
    let issuer = Issuer::start().await;
    let config = issuer.config(Kind::Oidc);
    issuer.change(|script| script.discovery = json!({ "issuer": "https://evil.test" }));
    let told = of_today(&config).examine().await.unwrap_err();
    assert!(told.what.contains("names the issuer") && told.remedy.contains("spelled alike"), "{told:?}");
    issuer.change(|script| script.discovery = json!({ "token_endpoint": "http://127.0.0.1:1/token" }));
    let told = of_today(&config).examine().await.unwrap_err();
    assert!(told.what.contains("127.0.0.1:1/token does not answer") && told.remedy.contains("firewall"), "{told:?}");
    issuer.change(|script| (script.discovery, script.keys) = (json!({}), (200, json!({ "keys": [] }))));
    let told = of_today(&config).examine().await.unwrap_err();
    assert!(told.what.contains("no key that can be used"), "{told:?}");
}

/// The provider by the clock on the wall.
fn of_today(config: &Config) -> Arc<dyn crate::provider::Provider> {
    open(ProviderName::new("test"), config, Arc::new(crate::clock::SystemClock)).unwrap()
}
