//! What the tests of all kinds share: a configuration, keys that sign, a small server that answers as told; and the
//! tests of the door itself.

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, jwk::Jwk};
use serde_json::{Value, json};
use toml::{Spanned, de::DeTable, de::DeValue};

use super::*;
use crate::{
    clock::ManualClock,
    config::{
        problem::Problems,
        provider::Provider as Config,
        value::{At, Value as _},
    },
};

pub(super) const SECRET: &str = "a-secret-of-good-length-0123456789";
pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// A configuration of `kind` with nothing but what it needs.
pub(super) fn config(kind: Kind, issuer: &str) -> Config {
    let mut text = format!("kind = \"{}\"\nclient_id = \"client\"\nclient_secret = \"{SECRET}\"\n", kind.word());
    match kind {
        Kind::Cognito => text.push_str("region = \"eu-central-1\"\nuser_pool_id = \"eu-central-1_AbC\"\n"),
        Kind::OAuth2 => {
            for key in ["authorize", "token", "userinfo"] {
                text.push_str(&format!("{key}_url = \"{issuer}/{key}\"\n"));
            }
        }
        Kind::Oidc => text.push_str(&format!("issuer = \"{issuer}\"\n")),
        _ => {}
    }
    let table = DeTable::parse(&text).unwrap();
    let span = table.span();
    let value = Spanned::new(span, DeValue::Table(table.into_inner()));
    let mut problems = Problems::new("test.toml", text.as_str());
    let config = Config::read(&At::new(&value, ""), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    config.unwrap()
}

pub(super) fn opened(config: &Config) -> Arc<dyn Provider> {
    open(ProviderName::new("test"), config, Arc::new(ManualClock::new(NOW))).unwrap()
}

/// A key that signs tokens.
pub(super) struct Signer {
    pub(super) algorithm: Algorithm,
    key: EncodingKey,
    pub(super) jwk: Value,
}

impl Signer {
    pub(super) fn es256(kid: &str) -> Self {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &aws_lc_rs::rand::SystemRandom::new());
        Self::new(kid, Algorithm::ES256, EncodingKey::from_ec_der(pkcs8.unwrap().as_ref()))
    }

    /// One RSA key for all tests: making one is slow.
    pub(super) fn rs256() -> &'static Self {
        static SIGNER: OnceLock<Signer> = OnceLock::new();
        SIGNER.get_or_init(|| {
            use aws_lc_rs::{encoding::AsDer as _, rsa::KeySize, signature::RsaKeyPair};
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
            let pem =
                format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
            Self::new("rsa", Algorithm::RS256, EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap())
        })
    }

    pub(super) fn hs256(secret: &str) -> Self {
        Self::new("hmac", Algorithm::HS256, EncodingKey::from_secret(secret.as_bytes()))
    }

    fn new(kid: &str, algorithm: Algorithm, key: EncodingKey) -> Self {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        Self { algorithm, key, jwk }
    }

    pub(super) fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": self.jwk["kid"], "typ": "JWT"})
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_with(&self.header(), claims)
    }

    pub(super) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{signed}.{signature}")
    }

    pub(super) fn set(&self) -> Value {
        json!({"keys": [self.jwk]})
    }
}

/// A request the server saw.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) form: BTreeMap<String, String>,
    pub(super) authorization: String,
    pub(super) accept: String,
    pub(super) body: String,
}

/// What it answers: status, headers, body.
pub(super) type Reply = (u16, Vec<(&'static str, String)>, String);

pub(super) fn reply(status: u16, body: &Value) -> Reply {
    (status, vec![("content-type", "application/json".into())], body.to_string())
}

/// A server on loopback that answers as `script` says and remembers what it saw.
pub(super) struct Server {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(super) async fn start(script: impl Fn(&str, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let shared = Arc::new((script, url.clone(), Arc::clone(&seen)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, seen }
    }

    pub(super) fn seen(&self, line: &str) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|seen| seen.line == line).cloned().collect()
    }
}

type Shared<S> = Arc<(S, String, Arc<Mutex<Vec<Seen>>>)>;

async fn answer<S: Fn(&str, &Seen) -> Reply>(
    shared: Shared<S>,
    request: http::Request<hyper::body::Incoming>,
) -> Result<http::Response<Full<Bytes>>, std::convert::Infallible> {
    let (script, url, seen) = &*shared;
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let pairs = |bytes: &[u8]| form_urlencoded::parse(bytes).into_owned().collect();
    let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    assert!(header("user-agent").starts_with("brama/"));
    let one = Seen {
        line: format!("{} {}", head.method, head.uri.path()),
        query: pairs(head.uri.query().unwrap_or("").as_bytes()),
        form: pairs(&body),
        authorization: header("authorization"),
        accept: header("accept"),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let (status, headers, body) = script(url, &one);
    seen.lock().unwrap().push(one);
    let mut response = http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::from(body)).unwrap())
}

/// The values of one login.
pub(super) struct Login {
    pub(super) redirect_uri: Url,
    pub(super) code: Secret,
    pub(super) verifier: Secret,
}

impl Login {
    pub(super) fn new() -> Self {
        Self {
            redirect_uri: Url::parse("https://app.test/oauth2/callback/test").unwrap(),
            code: Secret::new("the-code"),
            verifier: Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        }
    }

    pub(super) fn request(&self) -> AuthorizationRequest<'_> {
        AuthorizationRequest {
            state: "state",
            nonce: "nonce",
            pkce_verifier: &self.verifier,
            redirect_uri: &self.redirect_uri,
            login_hint: None,
            prompt: Prompt::Usual,
        }
    }

    pub(super) fn response<'a>(&'a self, iss: Option<&'a str>) -> AuthorizationResponse<'a> {
        AuthorizationResponse {
            code: &self.code,
            iss,
            nonce: "nonce",
            pkce_verifier: &self.verifier,
            redirect_uri: &self.redirect_uri,
        }
    }
}

/// The query of a URL; fails when a parameter stands twice.
pub(super) fn query(url: &Url) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        assert!(found.insert(name.to_string(), value.into_owned()).is_none(), "{name} stands twice in {url}");
    }
    found
}

#[test]
fn mistakes_are_found_when_opening() {
    type Mistake = Box<dyn Fn(&mut Config)>;
    let tries: Vec<(&str, Mistake)> = vec![
        ("no client secret", Box::new(|config| config.client_secret = None)),
        ("an example's", Box::new(|config| config.client_secret = Some(Secret::new("changeme")))),
        ("is empty", Box::new(|config| config.client_secret = Some(Secret::new(" ")))),
        ("shorter than 8", Box::new(|config| config.client_secret = Some(Secret::new("abc")))),
        ("cannot be read", Box::new(|config| config.client_secret_file = Some("/nonexistent/secret".into()))),
        ("ca_file", Box::new(|config| config.ca_file = Some("/nonexistent/ca.pem".into()))),
        ("not https", Box::new(|config| config.issuer = Some("http://op.test".into()))),
        ("not https", Box::new(|config| config.token_url = Some(Url::parse("http://op.test/t").unwrap()))),
        ("is not known", Box::new(|config| config.id_token_algorithms = vec!["none".into()])),
        ("no ID token could", Box::new(|config| config.id_token_algorithms.clear())),
        ("needs a client secret of 64", Box::new(|config| config.id_token_algorithms = vec!["HS512".into()])),
        (
            "which the gateway sets itself",
            Box::new(|config| drop(config.authorize_params.insert("state".into(), "fixed".into()))),
        ),
    ];
    for (told, change) in tries {
        let mut config = config(Kind::Oidc, "https://op.test");
        change(&mut config);
        let error = open(ProviderName::new("test"), &config, Arc::new(ManualClock::new(NOW))).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        assert!(!error.contains(SECRET));
    }
    let mut public = config(Kind::GitHub, "");
    public.client_auth = Some(crate::config::provider::ClientAuth::None);
    assert!(open(ProviderName::new("test"), &public, Arc::new(ManualClock::new(NOW))).is_err());
}

#[test]
fn a_secret_file_ends_without_its_newline_and_ca_files_must_hold_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\r\n")).unwrap();
    let mut config = config(Kind::Oidc, "https://op.test");
    config.client_secret = None;
    config.client_secret_file = Some(path.clone());
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW));
    let registration = Registration::open(ProviderName::new("test"), &config, Arc::clone(&clock)).unwrap();
    assert!(registration.secret.unwrap().matches(SECRET));
    config.ca_file = Some(path);
    let error = Registration::open(ProviderName::new("test"), &config, clock).unwrap_err();
    assert!(error.to_string().contains("no certificate"), "{error}");
}

#[test]
fn every_kind_opens_without_a_call() {
    for kind in [Kind::Google, Kind::Facebook, Kind::X, Kind::Cognito, Kind::GitHub, Kind::Oidc, Kind::OAuth2] {
        let provider = opened(&config(kind, "https://op.test"));
        assert_eq!(provider.kind(), kind.word());
        assert_eq!(provider.health(), Health::Ready);
        assert!(!provider.label().is_empty());
    }
}
