//! An OpenID provider where anybody can be anybody.
//!
//! The demo's simulators know four people each. Here ever new ones sign in, so that accounts are made during the whole
//! run: who comes says in the address who they are. Codes are used once, ID tokens are signed and fit the nonce; the
//! gateway checks PKCE, state and the rest as with any issuer. It is not among those that are killed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use brama::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// The running provider; it stops with the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    /// What gateways call it.
    pub(crate) name: &'static str,
    issuer: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    key: EcdsaKeyPair,
    /// Codes that were given and not redeemed: whose, and the nonce.
    codes: Mutex<HashMap<String, (String, String)>>,
}

const CLIENT: &str = "chaos";

impl Provider {
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let issuer = format!("http://{}", listener.local_addr().expect("it is bound"));
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let provider = Self { name, issuer, state: Arc::new(State { key, codes: Mutex::default() }) };
        let serving = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let provider = serving.clone();
                tokio::spawn(async move { provider.serve(stream).await });
            }
        });
        provider
    }

    /// Its table in a gateway's configuration.
    pub(crate) fn toml(&self) -> String {
        format!(
            "[provider.{}]\nlabel = \"{0}\"\nkind = \"oidc\"\nissuer = \"{}\"\nclient_id = \"{CLIENT}\"\nclient_secret = \"a secret of the chaos test\"\n\
             id_token_algorithms = [\"ES256\"]\nuserinfo = false\n",
            self.name, self.issuer
        )
    }

    /// `person` signs in at `location`, where a gateway sent them: where they are sent back to.
    pub(crate) fn sign_in(&self, location: &str, person: &str) -> Option<Url> {
        let asked =
            Url::parse(location).ok().filter(|url| location.starts_with(&self.issuer) && url.path() == "/authorize")?;
        let parameter =
            |name: &str| asked.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let code = brama::secret::random_text();
        self.codes().insert(code.clone(), (person.to_owned(), parameter("nonce")?));
        let mut back = Url::parse(&parameter("redirect_uri")?).ok()?;
        back.query_pairs_mut().append_pair("code", &code).append_pair("state", &parameter("state")?);
        Some(back)
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let Some((path, body)) = read(&mut stream).await else { return };
        let (status, answer) = match path.as_str() {
            "/.well-known/openid-configuration" => (200, self.discovery()),
            "/jwks" => (200, self.keys()),
            "/token" => match self.redeem(&body) {
                Some(tokens) => (200, tokens),
                None => (400, json!({ "error": "invalid_grant" })),
            },
            _ => (404, json!({})),
        };
        let body = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} so\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all((head + &body).as_bytes()).await;
    }

    fn discovery(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
            "jwks_uri": at("/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"], "code_challenge_methods_supported": ["S256"],
        })
    }

    fn keys(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let (x, y) = self.state.key.public_key().as_ref()[1..].split_at(32);
        let encoded = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1", "x": encoded(x), "y": encoded(y) }] })
    }

    fn redeem(&self, form: &[u8]) -> Option<Value> {
        let code = form_urlencoded::parse(form).find(|(name, _)| name == "code")?.1.into_owned();
        let (person, nonce) = self.codes().remove(&code)?;
        let now = SystemClock.now().as_secs();
        let claims = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": person, "nonce": nonce, "iat": now, "exp": now + 300,
            "email": format!("{person}@example.com"), "email_verified": true, "name": person,
        });
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encoded(&json!({ "alg": "ES256", "kid": "1", "typ": "JWT" })), encoded(&claims));
        let signature = self.state.key.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        Some(json!({ "access_token": brama::secret::random_text(), "token_type": "Bearer", "id_token": token }))
    }

    fn codes(&self) -> std::sync::MutexGuard<'_, HashMap<String, (String, String)>> {
        self.state.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path and the body of a request.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        match (&path, line.trim_end()) {
            (None, first) => path = Some(first.split(' ').nth(1)?.to_owned()),
            (Some(_), "") => break,
            (Some(_), field) => {
                let (name, value) = field.split_once(':')?;
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().ok()?;
                }
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((path?, body))
}
