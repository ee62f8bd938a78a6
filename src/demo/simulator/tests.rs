//! Each family of quirks over real sockets.

use std::{collections::HashMap, time::Duration};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request as HttpRequest, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde_json::{Value, json};

use super::{
    keys::{half_hash, hex, hmac_sha256},
    *,
};
use crate::{
    clock::{ManualClock, Timestamp},
    secret::sha256,
};

const CALLBACK: &str = "http://localhost:4180/oauth2/callback/p";
const SIGNED_OUT: &str = "http://localhost:4180/oauth2/signed_out";
const VERIFIER: &str = "a-verifier-of-43-characters-or-more-0123456789";

/// A relying party and its browser.
struct Party {
    simulator: Simulator,
    clock: ManualClock,
    client: Client<HttpConnector, Full<Bytes>>,
    cookies: std::sync::Mutex<HashMap<String, String>>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Parameters of the address it redirects to.
    fn returned(&self) -> HashMap<String, String> {
        let url = Url::parse(self.header("location")).unwrap_or_else(|_| panic!("no redirect: {}", self.body));
        assert!(url.as_str().starts_with(CALLBACK), "{url}");
        url.query_pairs().into_owned().collect()
    }
}

async fn party(kind: SimulatorKind) -> Party {
    let clock = ManualClock::new(Timestamp::from_secs(1_800_000_000));
    let registration = Registration {
        client_id: "client".into(),
        client_secret: "s+cret:%".into(),
        redirect_uris: vec![CALLBACK.into()],
        post_logout_uris: vec![SIGNED_OUT.into()],
    };
    let simulator =
        Simulator::start_at(kind, "127.0.0.1:0".parse().unwrap(), registration, clock.clone()).await.unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    Party { simulator, clock, client, cookies: Default::default() }
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl Party {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, String> {
        let mut request =
            HttpRequest::builder().method(method).uri(format!("http://{}{path}", self.simulator.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let cookies: Vec<_> =
            self.cookies.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let answer =
            self.client.request(request.body(Full::from(body)).unwrap()).await.map_err(|error| error.to_string())?;
        for cookie in answer.headers().get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            self.cookies.lock().unwrap().insert(name.into(), rest.split(';').next().unwrap().into());
        }
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status, headers, body: String::from_utf8(body.to_vec()).unwrap() })
    }

    async fn fetch(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, String::new()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], pairs: &[(&str, &str)]) -> Answer {
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend(headers);
        self.send(Method::POST, path, &all, form(pairs)).await
    }

    /// An authorization request as the gateway would send it, with more parameters.
    async fn authorize(&self, scope: &str, more: &[(&str, &str)]) -> Answer {
        let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER.as_bytes()));
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", "client"),
            ("redirect_uri", CALLBACK),
            ("state", "the-state"),
            ("nonce", "the-nonce"),
            ("scope", scope),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        pairs.extend(more);
        self.fetch(&format!("{}?{}", self.path("authorize"), form(&pairs)), &[]).await
    }

    fn path(&self, endpoint: &str) -> &'static str {
        use SimulatorKind as K;
        match (self.simulator.kind(), endpoint) {
            (K::Google, "authorize") => "/o/oauth2/v2/auth",
            (K::Google, "token") => "/token",
            (K::Google, "userinfo") => "/v1/userinfo",
            (K::Google, "jwks") => "/oauth2/v3/certs",
            (K::Google, "discovery") => "/.well-known/openid-configuration",
            (K::Facebook, "authorize") => "/v24.0/dialog/oauth",
            (K::Facebook, "token") => "/v24.0/oauth/access_token",
            (K::X, "authorize") => "/i/oauth2/authorize",
            (K::X, "token") => "/2/oauth2/token",
            (K::Cognito, "authorize") => "/oauth2/authorize",
            (K::Cognito, "token") => "/oauth2/token",
            (K::Cognito, "jwks") => "/eu-central-1_Simulated/.well-known/jwks.json",
            (K::GitHub, "authorize") => "/login/oauth/authorize",
            (K::GitHub, "token") => "/login/oauth/access_token",
            (K::Oidc, "authorize") => "/realms/demo/authorize",
            (K::Oidc, "token") => "/realms/demo/token",
            (K::Oidc, "userinfo") => "/realms/demo/userinfo",
            (K::Oidc, "jwks") => "/realms/demo/certs",
            (K::Oidc, "discovery") => "/realms/demo/.well-known/openid-configuration",
            (K::OAuth2, "authorize") => "/authorize",
            (K::OAuth2, "token") => "/token",
            (kind, endpoint) => panic!("{kind:?} has no {endpoint}"),
        }
    }

    fn basic() -> String {
        // Each part is form-encoded first (RFC 6749, 2.3.1).
        format!("Basic {}", STANDARD.encode("client:s%2Bcret%3A%25"))
    }

    async fn token(&self, pairs: &[(&str, &str)]) -> Answer {
        match self.simulator.kind() {
            SimulatorKind::X | SimulatorKind::Cognito => {
                self.post(self.path("token"), &[("authorization", &Self::basic())], pairs).await
            }
            _ => {
                let mut all = vec![("client_id", "client"), ("client_secret", "s+cret:%")];
                all.extend(pairs);
                self.post(self.path("token"), &[("accept", "application/json")], &all).await
            }
        }
    }

    async fn redeem(&self, code: &str) -> Answer {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.token(&pairs).await
    }

    async fn refresh(&self, token: &Value) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token.as_str().unwrap())]).await
    }

    /// Logs in as `person` without a page; the token answer.
    async fn login(&self, person: &str, scope: &str, more: &[(&str, &str)]) -> Value {
        self.simulator.auto_approve(Some(person)).unwrap();
        let code = self.authorize(scope, more).await.returned().remove("code").unwrap();
        let answer = self.redeem(&code).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    async fn bearer(&self, path: &str, token: &Value) -> Answer {
        let authorization = format!("Bearer {}", token.as_str().unwrap());
        self.fetch(path, &[("authorization", &authorization), ("user-agent", "test")]).await
    }

    async fn keys(&self) -> JwkSet {
        serde_json::from_value(self.fetch(self.path("jwks"), &[]).await.json()).unwrap()
    }

    /// What a careful relying party makes of an ID token.
    async fn verified(&self, tokens: &Value) -> Result<Value, String> {
        let token = tokens["id_token"].as_str().ok_or("no id token")?;
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let keys = self.keys().await;
        let jwk = keys.find(header.kid.as_deref().unwrap_or_default()).ok_or("unknown kid")?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_exp = false;
        validation.set_audience(&["client"]);
        validation.set_issuer(&[self.simulator.issuer()]);
        let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
        let claims = jsonwebtoken::decode::<Value>(token, &key, &validation).map_err(|error| error.to_string())?.claims;
        let now = self.clock.now().as_secs();
        let number = |name: &str| claims[name].as_i64().unwrap_or(0);
        let sound = claims["nonce"] == "the-nonce"
            && claims["aud"] == "client"
            && (claims["azp"].is_null() || claims["azp"] == "client")
            && claims["at_hash"] == half_hash(tokens["access_token"].as_str().unwrap())
            && claims["sub"].as_str().is_some_and(|sub| !sub.is_empty())
            && (now - 600..=now).contains(&number("iat"))
            && number("exp") > now
            && number("nbf") <= now;
        if sound { Ok(claims) } else { Err(claims.to_string()) }
    }
}

/// The hidden field that names the pending login.
fn pending(page: &str) -> &str {
    page.split("name=pending value=\"").nth(1).unwrap().split('"').next().unwrap()
}

#[tokio::test]
async fn every_kind_signs_in_through_its_pages_and_then_without_them() {
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        let scope = "openid profile email";
        let page = party.authorize(scope, &[]).await;
        assert_eq!(page.status, 200, "{kind:?}");
        assert!(page.body.contains("Олена Шевченко") && page.body.contains("simulated"), "{kind:?}");
        assert!(page.header("content-security-policy").contains("frame-ancestors 'none'"));
        let mut answer = party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("person", "olena")]).await;
        assert!(answer.header("set-cookie").starts_with(&format!("simulated_{}=", kind.word())));
        if kind != SimulatorKind::Cognito {
            let consent = answer;
            assert!(consent.body.contains("Олена Шевченко"), "{kind:?}");
            answer = party.post("/_consent", &[], &[("pending", pending(&consent.body)), ("allow", "1")]).await;
            let twice = party.post("/_consent", &[], &[("pending", pending(&consent.body)), ("allow", "1")]).await;
            assert_eq!(twice.status, 400, "a page counts once");
        }
        assert_eq!(answer.status, 303);
        let returned = answer.returned();
        assert_eq!(returned["state"], "the-state");
        assert_eq!(party.redeem(&returned["code"]).await.status, 200, "{kind:?}");
        let again = party.authorize(scope, &[]).await;
        assert_eq!(again.status, 303, "{kind:?} knows its browser");
        assert!(again.returned().contains_key("code"));
    }
}

#[tokio::test]
async fn cancelling_is_told_in_each_providers_own_shape() {
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        let page = party.authorize("openid", &[]).await;
        let returned =
            party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("cancel", "1")]).await.returned();
        assert_eq!(returned["error"], "access_denied");
        assert_eq!(returned["state"], "the-state");
        assert_eq!(returned.contains_key("error_reason"), kind == SimulatorKind::Facebook);
        assert_eq!(returned.contains_key("iss"), matches!(kind, SimulatorKind::Google | SimulatorKind::Oidc));
        party.simulator.auto_cancel();
        assert_eq!(party.authorize("openid", &[]).await.returned()["error"], "access_denied");
    }
}

#[tokio::test]
async fn requests_from_nobody_or_to_elsewhere_get_a_page_and_no_redirect() {
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        party.simulator.auto_approve(Some("alice")).unwrap();
        for (name, value) in [("client_id", "stranger"), ("redirect_uri", "http://localhost:4180/oauth2/callback/p/")] {
            let pairs =
                [("response_type", "code"), ("client_id", "client"), ("redirect_uri", CALLBACK), ("state", "s")];
            let pairs = pairs.map(|(key, old)| (key, if key == name { value } else { old }));
            let answer = party.fetch(&format!("{}?{}", party.path("authorize"), form(&pairs)), &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (400, ""), "{kind:?} {name}");
        }
        let twice = party.authorize("openid", &[("state", "again")]).await;
        assert_eq!(twice.status, 400, "{kind:?}: a repeated parameter");
    }
}

#[tokio::test]
async fn codes_are_bound_to_verifier_and_redirect_and_clients_must_prove_themselves() {
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        party.simulator.auto_approve(Some("alice")).unwrap();
        let refused = |answer: &Answer| answer.status != 200 || answer.json().get("access_token").is_none();
        for (name, value) in [("code_verifier", "wrong"), ("redirect_uri", "http://localhost/"), ("code", "made-up")] {
            let code = party.authorize("openid", &[]).await.returned().remove("code").unwrap();
            let pairs = [
                ("grant_type", "authorization_code"),
                ("code", code.as_str()),
                ("redirect_uri", CALLBACK),
                ("code_verifier", VERIFIER),
            ];
            let answer = party.token(&pairs.map(|(key, old)| (key, if key == name { value } else { old }))).await;
            assert!(refused(&answer), "{kind:?} {name}: {}", answer.body);
        }
        let code = party.authorize("openid", &[]).await.returned().remove("code").unwrap();
        let pairs = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
        let wrong = [pairs.as_slice(), &[("client_id", "client"), ("client_secret", "wrong")]].concat();
        assert!(refused(&party.post(party.path("token"), &[("accept", "application/json")], &wrong).await), "{kind:?}");
        assert!(refused(&party.post(party.path("token"), &[("accept", "application/json")], &pairs).await), "{kind:?}");
    }
}

#[tokio::test]
async fn google_gives_a_refresh_token_only_with_consent_and_revokes_once() {
    let party = party(SimulatorKind::Google).await;
    let offline = [("access_type", "offline")];
    let first = party.login("alice", "openid email profile", &offline).await;
    assert!(first["refresh_token"].is_string());
    assert!(
        party.login("alice", "openid email", &offline).await["refresh_token"].is_null(),
        "consent was given before"
    );
    assert!(party.login("olena", "openid email", &[]).await["refresh_token"].is_null(), "online");
    let claims = party.verified(&first).await.unwrap();
    assert_eq!(claims["hd"], "example.com");
    assert_eq!(claims["azp"], "client");
    let consumer = party.login("olena", "openid email", &[]).await;
    assert!(party.verified(&consumer).await.unwrap().get("hd").is_none());

    let renewed = party.refresh(&first["refresh_token"]).await.json();
    assert!(renewed["refresh_token"].is_null() && renewed["id_token"].is_string());
    let token = first["refresh_token"].as_str().unwrap();
    assert_eq!(party.post("/revoke", &[], &[("token", token)]).await.status, 200);
    let second = party.post("/revoke", &[], &[("token", token)]).await;
    assert_eq!((second.status.as_u16(), second.json()["error"].clone()), (400, json!("invalid_token")));
    assert_eq!(party.refresh(&first["refresh_token"]).await.json()["error"], "invalid_grant");
    let after = party.login("alice", "openid", &offline).await;
    assert!(after["refresh_token"].is_string(), "revoking withdrew the consent");
}

#[tokio::test]
async fn google_prompts_and_issuer_spelling() {
    let party = party(SimulatorKind::Google).await;
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "login_required");
    assert_eq!(party.authorize("openid", &[("prompt", "login")]).await.status, 400, "Google has no prompt=login");
    let page = party.authorize("openid", &[]).await;
    let consent = party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("person", "alice")]).await;
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "consent_required");
    party.post("/_consent", &[], &[("pending", pending(&consent.body)), ("allow", "1")]).await;
    assert!(party.authorize("openid", &[("prompt", "none")]).await.returned().contains_key("code"));
    assert_eq!(party.authorize("openid", &[("prompt", "select_account")]).await.status, 200);
    let hinted = party.authorize("openid", &[("login_hint", "olena@example.net")]).await;
    assert!(hinted.body.contains("class=hinted autofocus"), "somebody else is meant");
    party.simulator.behave(|behaviour| behaviour.issuer_without_scheme = true);
    let tokens = party.login("alice", "openid", &[]).await;
    let payload = URL_SAFE_NO_PAD.decode(tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["iss"], party.simulator.address().to_string());
}

#[tokio::test]
async fn facebook_exchanges_proves_and_speaks_graph() {
    let party = party(SimulatorKind::Facebook).await;
    party.simulator.auto_approve(Some("alice")).unwrap();
    let back = party.authorize("public_profile,email", &[]).await;
    assert!(back.header("location").ends_with("#_=_"));
    let short = party.redeem(&back.returned()["code"]).await.json();
    assert_eq!(short["token_type"], "bearer");
    assert!(short["refresh_token"].is_null());
    let exchange = |token: &Value| {
        form(&[
            ("grant_type", "fb_exchange_token"),
            ("client_id", "client"),
            ("client_secret", "s+cret:%"),
            ("fb_exchange_token", token.as_str().unwrap()),
        ])
    };
    let long =
        party.fetch(&format!("/v24.0/oauth/access_token?{}", exchange(&short["access_token"])), &[]).await.json();
    assert_eq!(long["expires_in"], 5_184_000);

    let token = long["access_token"].as_str().unwrap().to_owned();
    let proof = hex(&hmac_sha256(b"s+cret:%", token.as_bytes()));
    let me = |fields: &str, proof: &str| format!("/v24.0/me?{fields}access_token={token}{proof}");
    let unproven = party.fetch(&me("", ""), &[]).await;
    assert_eq!((unproven.status.as_u16(), unproven.json()["error"]["code"].clone()), (400, json!(100)));
    let proof = format!("&appsecret_proof={proof}");
    let bare = party.fetch(&me("", &proof), &[]).await.json();
    assert_eq!(bare.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "name"]);
    let full = party.fetch(&me("fields=id,name,email,picture.width(256).height(256)&", &proof), &[]).await.json();
    assert_eq!(full["email"], "alice@example.com");
    let app = "client%7Cs%2Bcret%3A%25";
    let inspected =
        party.fetch(&format!("/v24.0/debug_token?input_token={token}&access_token={app}"), &[]).await.json();
    assert_eq!(inspected["data"]["is_valid"], true);
    assert_eq!(inspected["data"]["user_id"], full["id"]);

    party.simulator.end_grants("alice");
    let dead = party.fetch(&me("", &proof), &[]).await;
    assert_eq!(dead.json()["error"]["code"], 190);
    let dead = party.fetch(&format!("/v24.0/oauth/access_token?{}", exchange(&long["access_token"])), &[]).await;
    assert_eq!(dead.json()["error"]["type"], "OAuthException");
}

#[tokio::test]
async fn facebook_may_hide_expiry_and_address_and_fail_without_an_error() {
    let party = party(SimulatorKind::Facebook).await;
    party.simulator.behave(|behaviour| behaviour.tell_lifetime = false);
    let tokens = party.login("boris", "public_profile,email", &[]).await;
    assert!(tokens["expires_in"].is_null());
    let token = tokens["access_token"].as_str().unwrap();
    let proof = hex(&hmac_sha256(b"s+cret:%", token.as_bytes()));
    let path = format!("/v24.0/me?fields=id,email&access_token={token}&appsecret_proof={proof}");
    assert!(party.fetch(&path, &[]).await.json()["email"].is_null());
    party.simulator.set_lie(Some(Lie::ProfileFalse));
    assert_eq!(party.fetch(&path, &[]).await.body, "false");
    party.simulator.set_lie(Some(Lie::PlatformError));
    let returned = party.authorize("email", &[]).await.returned();
    assert!(returned.contains_key("error_code") && returned.contains_key("error_message"));
    assert!(!returned.contains_key("error"));
    let person = &People::all()[0];
    let genuine = party.simulator.signed_request(person, false);
    let (signature, payload) = genuine.split_once('.').unwrap();
    assert_eq!(signature, URL_SAFE_NO_PAD.encode(hmac_sha256(b"s+cret:%", payload.as_bytes())));
    assert_ne!(party.simulator.signed_request(person, true), genuine);
}

const X_SCOPES: &str = "users.read tweet.read users.email offline.access";

#[tokio::test]
async fn x_wants_basic_and_pkce_and_quick_codes() {
    let party = party(SimulatorKind::X).await;
    party.simulator.auto_approve(Some("alice")).unwrap();
    let without =
        form(&[("response_type", "code"), ("client_id", "client"), ("redirect_uri", CALLBACK), ("state", "s")]);
    assert_eq!(party.fetch(&format!("/i/oauth2/authorize?{without}"), &[]).await.status, 400);
    let code = party.authorize(X_SCOPES, &[]).await.returned().remove("code").unwrap();
    let posted = party
        .post(
            "/2/oauth2/token",
            &[],
            &[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("client_id", "client"),
                ("client_secret", "s+cret:%"),
            ],
        )
        .await;
    assert_eq!((posted.status.as_u16(), posted.json()["error"].clone()), (401, json!("unauthorized_client")));
    party.clock.advance(Duration::from_secs(30));
    let late = party.redeem(&code).await;
    assert_eq!((late.status.as_u16(), late.json()["error"].clone()), (400, json!("invalid_request")));
}

#[tokio::test]
async fn x_rotates_and_a_replay_kills_the_family() {
    let party = party(SimulatorKind::X).await;
    let first = party.login("alice", X_SCOPES, &[]).await;
    let second = party.refresh(&first["refresh_token"]).await.json();
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let replay = party.refresh(&first["refresh_token"]).await;
    assert_eq!((replay.status.as_u16(), replay.json()["error"].clone()), (400, json!("invalid_request")));
    assert_eq!(party.refresh(&second["refresh_token"]).await.status, 400, "the whole family is dead");
    assert_eq!(party.bearer("/2/users/me", &second["access_token"]).await.status, 401);
}

#[tokio::test]
async fn x_profiles_have_data_and_errors_and_limits() {
    let party = party(SimulatorKind::X).await;
    let path = "/2/users/me?user.fields=id,name,username,confirmed_email";
    let full = party.login("alice", X_SCOPES, &[]).await;
    let profile = party.bearer(path, &full["access_token"]).await.json();
    assert_eq!(profile["data"]["confirmed_email"], "alice@example.com");
    assert!(profile["data"]["id"].is_string() && profile["errors"].is_null());
    let less = party.login("alice", "users.read tweet.read", &[]).await;
    assert!(less["refresh_token"].is_null());
    let partial = party.bearer(path, &less["access_token"]).await;
    assert_eq!(partial.status, 200);
    assert!(partial.json()["data"]["confirmed_email"].is_null());
    assert_eq!(partial.json()["errors"].as_array().unwrap().len(), 1);
    party.simulator.set_lie(Some(Lie::TooManyRequests));
    let limited = party.bearer(path, &full["access_token"]).await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header("x-rate-limit-reset"), (party.clock.now().as_secs() + 900).to_string());
}

#[tokio::test]
async fn cognito_spells_booleans_as_text_and_hides_pkce() {
    let party = party(SimulatorKind::Cognito).await;
    let discovery = party.fetch("/eu-central-1_Simulated/.well-known/openid-configuration", &[]).await.json();
    assert_eq!(discovery["issuer"], party.simulator.issuer());
    assert!(discovery["code_challenge_methods_supported"].is_null());
    assert_eq!(party.fetch("/.well-known/openid-configuration", &[]).await.status, 404);
    let tokens = party.login("alice", "openid email profile", &[]).await;
    let claims = party.verified(&tokens).await.unwrap();
    assert_eq!(claims["token_use"], "id");
    assert_eq!(claims["email_verified"], true);
    assert_eq!(claims["cognito:groups"], json!(["admins", "staff"]));
    let userinfo = party.bearer("/oauth2/userInfo", &tokens["access_token"]).await.json();
    assert_eq!(userinfo["email_verified"], "true");
    assert!(userinfo["cognito:groups"].is_null());
    let payload = tokens["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    let access: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    assert!(access["aud"].is_null() && access["client_id"] == "client" && access["token_use"] == "access");
    let dead = party.bearer("/oauth2/userInfo", &json!("made.up.token")).await;
    assert!(dead.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn cognito_rotates_as_set_and_revokes_refresh_tokens_only() {
    let party = party(SimulatorKind::Cognito).await;
    let tokens = party.login("alice", "openid", &[]).await;
    assert!(party.refresh(&tokens["refresh_token"]).await.json()["refresh_token"].is_null(), "off by default");
    party.simulator.behave(|behaviour| behaviour.rotation = Rotation::Grace(60));
    assert!(party.refresh(&tokens["refresh_token"]).await.json()["refresh_token"].is_string());
    party.clock.advance(Duration::from_secs(59));
    let graceful = party.refresh(&tokens["refresh_token"]).await.json();
    party.clock.advance(Duration::from_secs(2));
    let dead = party.refresh(&tokens["refresh_token"]).await;
    assert_eq!((dead.status.as_u16(), dead.json()), (400, json!({"error": "invalid_grant"})), "no description");
    let revoke = |token: &Value| {
        let token = token.as_str().unwrap().to_owned();
        let party = &party;
        async move { party.post("/oauth2/revoke", &[("authorization", &Party::basic())], &[("token", &token)]).await }
    };
    assert_eq!(revoke(&graceful["access_token"]).await.json()["error"], "unsupported_token_type");
    assert_eq!(revoke(&graceful["refresh_token"]).await.status, 200);
    assert_eq!(revoke(&json!("unknown")).await.status, 200);
    assert_eq!(party.refresh(&graceful["refresh_token"]).await.status, 400);
}

#[tokio::test]
async fn cognito_logs_out_its_own_way() {
    let party = party(SimulatorKind::Cognito).await;
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "login_required");
    assert_eq!(party.authorize("openid nonsense", &[]).await.returned()["error"], "invalid_scope");
    let page = party.authorize("openid", &[]).await;
    party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("person", "alice")]).await;
    assert!(party.authorize("openid", &[("prompt", "none")]).await.returned().contains_key("code"));
    let standard = form(&[("id_token_hint", "x.y.z"), ("post_logout_redirect_uri", SIGNED_OUT)]);
    assert_eq!(party.fetch(&format!("/logout?{standard}"), &[]).await.status, 400);
    let elsewhere = form(&[("client_id", "client"), ("logout_uri", "https://elsewhere.example/")]);
    assert_eq!(party.fetch(&format!("/logout?{elsewhere}"), &[]).await.status, 400);
    let own = form(&[("client_id", "client"), ("logout_uri", SIGNED_OUT)]);
    assert_eq!(party.fetch(&format!("/logout?{own}"), &[]).await.header("location"), SIGNED_OUT);
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "login_required");
}

#[tokio::test]
async fn github_answers_forms_and_errors_with_200() {
    let party = party(SimulatorKind::GitHub).await;
    party.simulator.auto_approve(Some("alice")).unwrap();
    let code = party.authorize("read:user user:email", &[]).await.returned().remove("code").unwrap();
    let pairs = [
        ("client_id", "client"),
        ("client_secret", "s+cret:%"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let plain = party.post("/login/oauth/access_token", &[], &pairs).await;
    assert!(plain.header("content-type").starts_with("application/x-www-form-urlencoded"));
    let members: HashMap<_, _> = form_urlencoded::parse(plain.body.as_bytes()).into_owned().collect();
    assert_eq!(members["scope"], "read:user,user:email");
    let again = party.post("/login/oauth/access_token", &[("accept", "application/json")], &pairs).await;
    assert_eq!((again.status.as_u16(), again.json()["error"].clone()), (200, json!("bad_verification_code")));
}

#[tokio::test]
async fn github_profiles_are_numbered_and_without_an_address() {
    let party = party(SimulatorKind::GitHub).await;
    let tokens = party.login("alice", "read:user user:email read:org", &[]).await;
    assert!(tokens["expires_in"].is_null());
    let token = &tokens["access_token"];
    let profile = party.bearer("/api/v3/user", token).await.json();
    assert!(profile["id"].is_u64() && profile["email"].is_null());
    let emails = party.bearer("/api/v3/user/emails", token).await.json();
    let primary: Vec<_> = emails.as_array().unwrap().iter().filter(|entry| entry["primary"] == true).collect();
    assert_eq!(primary[0]["email"], "alice@example.com");
    assert_eq!(party.bearer("/api/v3/user/teams", token).await.json()[0]["organization"]["login"], "acme");
    let authorization = format!("Bearer {}", token.as_str().unwrap());
    assert_eq!(party.fetch("/api/v3/user", &[("authorization", &authorization)]).await.status, 403, "no User-Agent");
    let basic = Party::basic();
    let headers = [("authorization", basic.as_str()), ("user-agent", "test"), ("content-type", "application/json")];
    let body = json!({"access_token": token}).to_string();
    let path = "/api/v3/applications/client/token";
    assert_eq!(party.send(Method::DELETE, path, &headers[1..], body.clone()).await.status, 401);
    assert_eq!(party.send(Method::DELETE, path, &headers, body.clone()).await.status, 204);
    assert_eq!(party.send(Method::DELETE, path, &headers, body).await.status, 404);
    assert_eq!(party.bearer("/api/v3/user", token).await.status, 401);
}

#[tokio::test]
async fn github_apps_expire_and_rotate() {
    let party = party(SimulatorKind::GitHub).await;
    party.simulator.behave(|behaviour| behaviour.expiring_tokens = true);
    let tokens = party.login("alice", "", &[]).await;
    assert_eq!((tokens["expires_in"].clone(), tokens["scope"].clone()), (json!(28_800), json!("")));
    assert!(party.refresh(&tokens["refresh_token"]).await.json()["refresh_token"].is_string());
    let replay = party.refresh(&tokens["refresh_token"]).await;
    assert_eq!((replay.status.as_u16(), replay.json()["error"].clone()), (200, json!("bad_refresh_token")));
}

#[tokio::test]
async fn oidc_names_itself_rotates_keys_and_signs_out() {
    let party = party(SimulatorKind::Oidc).await;
    let discovery = party.fetch(party.path("discovery"), &[]).await.json();
    assert_eq!(discovery["issuer"], party.simulator.issuer());
    assert_eq!(discovery["authorization_response_iss_parameter_supported"], true);
    let page = party.authorize("openid email profile", &[]).await;
    let consent = party.post("/_sign_in", &[], &[("pending", pending(&page.body)), ("person", "alice")]).await;
    let back = party.post("/_consent", &[], &[("pending", pending(&consent.body)), ("allow", "1")]).await.returned();
    assert_eq!(back["iss"], party.simulator.issuer());
    let tokens = party.redeem(&back["code"]).await.json();
    assert_eq!(party.verified(&tokens).await.unwrap()["groups"], json!(["admins", "staff"]));
    let before = party.keys().await;
    party.simulator.rotate_keys();
    assert_eq!(party.keys().await.keys.len(), 2);
    let renewed = party.refresh(&tokens["refresh_token"]).await.json();
    let kid = jsonwebtoken::decode_header(renewed["id_token"].as_str().unwrap()).unwrap().kid.unwrap();
    assert!(before.find(&kid).is_none(), "signed by a key nobody has seen");

    let hint = tokens["id_token"].as_str().unwrap();
    let unasked = party.fetch(&format!("/realms/demo/logout?{}", form(&[("state", "s")])), &[]).await;
    assert!(unasked.body.contains("Do you want to sign out?"));
    let pairs = form(&[("id_token_hint", hint), ("post_logout_redirect_uri", SIGNED_OUT), ("state", "s")]);
    let out = party.fetch(&format!("/realms/demo/logout?{pairs}"), &[]).await;
    assert_eq!(out.header("location"), format!("{SIGNED_OUT}?state=s"));
    assert_eq!(party.refresh(&renewed["refresh_token"]).await.json()["error"], "invalid_grant", "the session is over");
    assert_eq!(party.authorize("openid", &[("prompt", "none")]).await.returned()["error"], "login_required");
}

#[tokio::test]
async fn logout_tokens_are_genuine_unless_a_flaw_is_wanted() {
    let party = party(SimulatorKind::Oidc).await;
    let alice = &People::all()[0];
    let claims = |flaw| {
        let token = party.simulator.logout_token(alice, Some("sid"), flaw);
        let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<Value>(&payload).unwrap()
    };
    let sound = claims(None);
    assert_eq!(sound["sub"], party.simulator.subject(alice));
    assert!(sound["events"].get("http://schemas.openid.net/event/backchannel-logout").is_some());
    assert_eq!(claims(Some(LogoutFlaw::Nonce))["nonce"], "forbidden");
    assert!(claims(Some(LogoutFlaw::Nobody))["sub"].is_null());
}

#[tokio::test]
async fn plain_oauth2_has_a_profile_and_no_id_token() {
    let party = party(SimulatorKind::OAuth2).await;
    let tokens = party.login("carol", "profile", &[]).await;
    assert!(tokens["id_token"].is_null());
    let profile = party.bearer("/me", &tokens["access_token"]).await.json();
    assert_eq!(profile["email_verified"], false);
    assert_eq!(profile["id"], party.simulator.subject(People::find("carol").unwrap()));
    assert!(party.refresh(&tokens["refresh_token"]).await.json()["refresh_token"].is_null());
    party.clock.advance(Duration::from_secs(3600));
    let expired = party.bearer("/me", &tokens["access_token"]).await;
    assert_eq!(expired.status, 401);
    assert!(expired.header("www-authenticate").contains("invalid_token"));
}

#[tokio::test]
async fn every_lie_in_an_id_token_is_one_a_careful_verifier_sees() {
    for kind in [SimulatorKind::Google, SimulatorKind::Cognito, SimulatorKind::Oidc] {
        let party = party(kind).await;
        for lie in Lie::ID_TOKEN {
            party.simulator.set_lie(Some(lie.clone()));
            let tokens = party.login("alice", "openid email", &[]).await;
            let verdict = party.verified(&tokens).await;
            // serde_json keeps the last of two members: seeing the double is up to a stricter reader.
            if lie == Lie::DuplicateClaims {
                let payload = URL_SAFE_NO_PAD.decode(tokens["id_token"].as_str().unwrap().split('.').nth(1).unwrap());
                assert_eq!(String::from_utf8(payload.unwrap()).unwrap().matches("\"sub\":").count(), 2);
            } else {
                assert!(verdict.is_err(), "{kind:?} {lie:?}: {verdict:?}");
            }
        }
        party.simulator.set_lie(None);
        let honest = party.login("alice", "openid email", &[]).await;
        party.verified(&honest).await.unwrap();
    }
}

#[tokio::test]
async fn lies_on_the_wire() {
    let party = party(SimulatorKind::Oidc).await;
    let tokens = party.login("alice", "openid", &[]).await;
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    party.simulator.behave(|behaviour| behaviour.rotation = Rotation::Off);
    let lie = |lie: Lie| party.simulator.set_lie(Some(lie));

    for (told, status) in [
        (Lie::Token500, 500),
        (Lie::TooManyRequests, 429),
        (Lie::TokenRedirect, 307),
        (Lie::InvalidClient, 401),
        (Lie::InvalidGrantOnRefresh, 400),
    ] {
        lie(told.clone());
        assert_eq!(party.token(&refresh).await.status, status, "{told:?}");
    }
    lie(Lie::GiantBody);
    assert!(party.token(&refresh).await.body.len() > 2 * 1024 * 1024);
    lie(Lie::ExpiresInText);
    assert_eq!(party.token(&refresh).await.json()["expires_in"], "300");
    lie(Lie::DuplicateKeys);
    assert_eq!(party.token(&refresh).await.body.matches("\"access_token\"").count(), 2);
    lie(Lie::TruncatedBody);
    let pairs = [("client_id", "client"), ("client_secret", "s+cret:%"), refresh[0], refresh[1]];
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert!(party.try_send(Method::POST, party.path("token"), &headers, form(&pairs)).await.is_err());
    lie(Lie::slow_token(Duration::from_millis(80)));
    let started = std::time::Instant::now();
    party.token(&refresh).await;
    assert!(started.elapsed() >= Duration::from_millis(80));

    lie(Lie::Jwks500);
    assert_eq!(party.fetch(party.path("jwks"), &[]).await.status, 500);
    lie(Lie::JwksRedirect);
    let target = party.fetch(party.path("jwks"), &[]).await;
    assert!(party.simulator.calls("elsewhere").is_empty());
    party.fetch(Url::parse(target.header("location")).unwrap().path(), &[]).await;
    assert_eq!(party.simulator.calls("elsewhere").len(), 1);
    lie(Lie::DiscoveryOtherIssuer);
    assert_ne!(party.fetch(party.path("discovery"), &[]).await.json()["issuer"], party.simulator.issuer());
    lie(Lie::UserinfoOtherSub);
    assert_eq!(party.bearer(party.path("userinfo"), &tokens["access_token"]).await.json()["sub"], "somebody-else");
    lie(Lie::DeadAccessToken);
    assert_eq!(party.bearer(party.path("userinfo"), &tokens["access_token"]).await.status, 401);
    lie(Lie::RefreshChangesSub);
    let changed = party.token(&refresh).await.json();
    let claims = URL_SAFE_NO_PAD.decode(changed["id_token"].as_str().unwrap().split('.').nth(1).unwrap()).unwrap();
    let other: Value = serde_json::from_slice(&claims).unwrap();
    assert_ne!(other["sub"], party.simulator.subject(&People::all()[0]));

    lie(Lie::CallbackWrongIss);
    assert_eq!(party.authorize("openid", &[]).await.returned()["iss"], "https://issuer.invalid");
    lie(Lie::CallbackMissingIss);
    assert!(!party.authorize("openid", &[]).await.returned().contains_key("iss"));
    lie(Lie::CallbackDuplicateCode);
    assert_eq!(party.authorize("openid", &[]).await.header("location").matches("code=").count(), 2);
    lie(Lie::CallbackWrongState);
    assert_ne!(party.authorize("openid", &[]).await.returned()["state"], "the-state");
}

#[tokio::test]
async fn calls_are_kept_and_control_works_from_outside() {
    let party = party(SimulatorKind::X).await;
    let control = |body: Value| {
        let headers = [("content-type", "application/json")];
        let party = &party;
        async move { party.send(Method::POST, "/_control", &headers, body.to_string()).await }
    };
    let state =
        control(json!({"auto_approve": "olena", "lie": "token500", "behaviour": {"rotation": {"grace": 5}}})).await;
    assert_eq!(state.status, 200, "{}", state.body);
    assert_eq!(state.json()["behaviour"]["rotation"], json!({"grace": 5}));
    let code = party.authorize(X_SCOPES, &[]).await.returned().remove("code").unwrap();
    assert_eq!(party.redeem(&code).await.status, 500);
    control(json!({"lie": null})).await;
    assert_eq!(party.redeem(&code).await.status, 200, "the lie did not use the code up");

    let calls = party.simulator.calls("token");
    assert_eq!(calls.iter().map(|call| call.status).collect::<Vec<_>>(), [500, 200]);
    assert_eq!(calls[1].parameter("code_verifier"), Some(VERIFIER));
    assert_eq!(calls[1].header("authorization"), Some(Party::basic().as_str()));
    assert_eq!(party.simulator.calls("authorize")[0].parameter("code_challenge_method"), Some("S256"));
    assert_eq!(party.fetch("/_calls?name=token", &[]).await.json().as_array().unwrap().len(), 2);

    for bad in [json!({"lie": "white"}), json!({"auto_approve": "nobody"}), json!({"what": 1}), json!([])] {
        assert_eq!(control(bad.clone()).await.status, 400, "{bad}");
    }
    assert_eq!(party.post("/_control", &[], &[("lie", "wrong_iss")]).await.status, 400, "a form is no control");
    let rebound = party.fetch("/_calls", &[("host", "attacker.example")]).await;
    assert_eq!(rebound.status, 421);
    assert!(party.simulator.auto_approve(Some("nobody")).is_err());
}

#[tokio::test]
async fn the_configuration_it_writes_is_one_the_gateway_reads() {
    use crate::config::{
        problem::Problems,
        provider::Provider,
        value::{At, Value as _},
    };
    for kind in SimulatorKind::ALL {
        let party = party(kind).await;
        let text = party.simulator.config_toml("p");
        let document = toml::de::DeTable::parse(&text).unwrap();
        let span = document.span();
        let root = toml::Spanned::new(span, toml::de::DeValue::Table(document.into_inner()));
        let mut problems = Problems::default();
        let root = At::new(&root, "");
        let provider = Provider::read(&root.child("provider").unwrap().child("p").unwrap(), &mut problems);
        assert!(provider.is_some() && problems.is_empty(), "{kind:?}: {text}");
    }
}
