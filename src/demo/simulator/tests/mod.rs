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

mod cognito;
mod everyone;
mod facebook;
mod github;
mod google;
mod lies;
mod openid;
mod x;

const CALLBACK: &str = "http://localhost:4180/oauth2/callback/p";
const SIGNED_OUT: &str = "http://localhost:4180/oauth2/signed_out";
const X_SCOPES: &str = "users.read tweet.read users.email offline.access";
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
