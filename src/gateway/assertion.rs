//! Assertion: who it is, signed, so that an app can check it by itself.
//!
//! A JWT (RFC 7519) signed with ES256 (RFC 7518, 3.4) under a key of our own; the public keys are served as a JWK set
//! (RFC 7517) at `/oauth2/jwks`. It is made once for a session and audience and used until a minute before its end
//! ([`Kept`]), so a request costs no signature.
//!
//! There are three keys: the previous one still verifies, the current one signs, the next one is already published, so
//! that apps which cache the key set know every key before it signs. A key is named by its thumbprint (RFC 7638).

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use super::enrich::Person;
use crate::{clock::Timestamp, secret};

/// One key.
struct SigningKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
    kid: String,
    x: String,
    y: String,
}

/// Our keys: one that signs, one that did, one that will.
#[derive(Clone)]
pub struct SigningKeys {
    previous: Option<Arc<SigningKey>>,
    current: Arc<SigningKey>,
    next: Arc<SigningKey>,
    /// When the current key began to sign.
    since: Timestamp,
}

/// Keys cannot be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The operating system or the cryptographic library failed.
    #[error("a signing key cannot be made or used")]
    Failed,
    /// The bytes are none of ours.
    #[error("the stored signing keys cannot be read")]
    Unreadable,
}

/// How keys are written down, to be sealed by the caller; wiped when dropped.
#[derive(Serialize, Deserialize)]
struct Written {
    since: Timestamp,
    current: String,
    next: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.current.zeroize();
        self.next.zeroize();
        self.previous.zeroize();
    }
}

impl SigningKey {
    fn generate() -> Result<Self, KeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::from_pkcs8(document.map_err(|_| KeyError::Failed)?.as_ref())
    }

    fn from_pkcs8(bytes: &[u8]) -> Result<Self, KeyError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).map_err(|_| KeyError::Unreadable)?;
        // An uncompressed point: 4, then the coordinates (SEC 1, 2.3.3).
        let point = pair.public_key().as_ref().strip_prefix(&[4]).filter(|point| point.len() == 64);
        let (x, y) = point.and_then(|point| point.split_at_checked(32)).ok_or(KeyError::Unreadable)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // Members in the order of their names, no spaces (RFC 7638, 3).
        let thumbprint = secret::sha256(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes());
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        Ok(Self { pkcs8: Zeroizing::new(bytes.to_vec()), pair, kid, x, y })
    }

    fn restore(text: &str) -> Result<Arc<Self>, KeyError> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Unreadable)?);
        Self::from_pkcs8(&bytes).map(Arc::new)
    }

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(&*self.pkcs8)
    }

    fn sign(&self, payload: &serde_json::Value) -> Result<String, KeyError> {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": self.kid});
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(payload.to_string(), &mut token);
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| KeyError::Failed)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl SigningKeys {
    /// New keys.
    ///
    /// # Errors
    /// [`KeyError::Failed`] when the operating system gives no randomness.
    pub fn generate(now: Timestamp) -> Result<Self, KeyError> {
        let (current, next) = (SigningKey::generate()?, SigningKey::generate()?);
        Ok(Self { previous: None, current: Arc::new(current), next: Arc::new(next), since: now })
    }

    /// The keys after a rotation: the next one signs, the current one only verifies, the previous one is gone. Rotate
    /// no more often than apps refresh their key set, and later than the longest life of an assertion.
    ///
    /// # Errors
    /// [`KeyError::Failed`] when the operating system gives no randomness.
    pub fn rotated(&self, now: Timestamp) -> Result<Self, KeyError> {
        Ok(Self {
            previous: Some(self.current.clone()),
            current: self.next.clone(),
            next: Arc::new(SigningKey::generate()?),
            since: now,
        })
    }

    /// When the current key began to sign.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// The public keys as a JWK set (RFC 7517, 5).
    pub fn jwks(&self) -> serde_json::Value {
        let keys: Vec<serde_json::Value> = std::iter::once(&self.current)
            .chain([&self.next])
            .chain(&self.previous)
            .map(|key| json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": key.kid, "x": key.x, "y": key.y}))
            .collect();
        json!({ "keys": keys })
    }

    /// The private keys as bytes. Seal them (`secret::Purpose::SigningKey`) before they go anywhere.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let written = Written {
            since: self.since,
            current: self.current.write(),
            next: self.next.write(),
            previous: self.previous.as_ref().map(|key| key.write()),
        };
        Zeroizing::new(serde_json::to_vec(&written).unwrap_or_default())
    }

    /// Reads what [`to_bytes`](Self::to_bytes) made.
    ///
    /// # Errors
    /// [`KeyError::Unreadable`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let written: Written = serde_json::from_slice(bytes).map_err(|_| KeyError::Unreadable)?;
        Ok(Self {
            previous: written.previous.as_deref().map(SigningKey::restore).transpose()?,
            current: SigningKey::restore(&written.current)?,
            next: SigningKey::restore(&written.next)?,
            since: written.since,
        })
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.current.kid)
    }
}

/// Makes assertions.
#[derive(Debug)]
pub struct Asserter {
    keys: ArcSwap<SigningKeys>,
    issuer: Box<str>,
    life: Duration,
}

/// An assertion that was made.
#[derive(Debug, Clone)]
struct Minted {
    audience: Arc<str>,
    value: HeaderValue,
    fresh_until: Timestamp,
}

/// How long before its end an assertion is replaced: the app's clock may be ahead, and it may take its time.
const EARLY: Duration = Duration::from_secs(60);

impl Asserter {
    /// `issuer` is `portal.public_url` without its trailing slash, `life` is `headers.assertion_life`.
    pub fn new(keys: SigningKeys, issuer: impl Into<Box<str>>, life: Duration) -> Self {
        Self { keys: ArcSwap::from_pointee(keys), issuer: issuer.into(), life }
    }

    /// Replaces the keys, after a rotation by this or another replica.
    pub fn replace_keys(&self, keys: SigningKeys) {
        self.keys.store(Arc::new(keys));
    }

    /// The keys in use, for the key set's endpoint.
    pub fn keys(&self) -> Arc<SigningKeys> {
        self.keys.load_full()
    }

    /// Makes an assertion; `ends_at` is the session's absolute end, which it never outlives. Prefer [`Kept::value`].
    fn mint(
        &self,
        person: Person<'_>,
        audience: Arc<str>,
        ends_at: Timestamp,
        now: Timestamp,
    ) -> Result<Minted, KeyError> {
        let expires = now.plus(self.life).min(ends_at);
        let payload = self.claims(person, &audience, expires, now);
        let token = self.keys.load().current.sign(&payload)?;
        let mut value = HeaderValue::try_from(token).map_err(|_| KeyError::Failed)?;
        value.set_sensitive(true);
        Ok(Minted { audience, value, fresh_until: expires.minus(EARLY) })
    }

    fn claims(&self, person: Person<'_>, audience: &str, expires: Timestamp, now: Timestamp) -> serde_json::Value {
        let Person { account, origin, profile } = person;
        let mut claims = json!({
            "iss": self.issuer,
            "aud": audience,
            "sub": account.to_string(),
            "iat": now.as_secs(),
            "exp": expires.as_secs(),
            "auth_time": origin.at.as_secs(),
            "origin": {
                "provider": origin.provider.as_str(),
                "iss": origin.key.issuer.as_str(),
                "sub": origin.key.subject.as_str(),
            },
        });
        let mut set = |name: &str, value: serde_json::Value| {
            if let Some(claims) = claims.as_object_mut() {
                claims.insert(name.to_owned(), value);
            }
        };
        // Apps take an address in a signed token for proven: only a verified one goes in.
        if let Some(email) = profile.email.as_deref().filter(|_| profile.email_verified) {
            set("email", json!(email));
            set("email_verified", json!(true));
        }
        if let Some(name) = &profile.preferred_username {
            set("preferred_username", json!(name));
        }
        if !profile.groups.is_empty() {
            set("groups", json!(profile.groups));
        }
        if let Some(acr) = &origin.acr {
            set("acr", json!(acr));
        }
        if !origin.amr.is_empty() {
            set("amr", json!(origin.amr));
        }
        claims
    }
}

/// A session's assertions, one for each audience, kept beside the cached session. Reading takes no lock.
#[derive(Debug, Default)]
pub struct Kept(ArcSwap<Vec<Minted>>);

/// More audiences than this are made anew each time: they come from routes, so there are few.
const MAX_KEPT: usize = 16;

impl Kept {
    /// The session's assertion for `audience`, made now if there is no fresh one. `ends_at` is the session's absolute
    /// end. Forget the whole `Kept` when the session's profile changes.
    ///
    /// # Errors
    /// [`KeyError::Failed`] when signing fails: the request must not go on without what its route promises.
    pub fn value(
        &self,
        asserter: &Asserter,
        person: Person<'_>,
        audience: &Arc<str>,
        ends_at: Timestamp,
        now: Timestamp,
    ) -> Result<HeaderValue, KeyError> {
        let kept = self.0.load();
        if let Some(minted) = kept.iter().find(|minted| minted.audience == *audience && now < minted.fresh_until) {
            return Ok(minted.value.clone());
        }
        let minted = asserter.mint(person, audience.clone(), ends_at, now)?;
        let value = minted.value.clone();
        let others = kept.iter().filter(|other| other.audience != *audience && now < other.fresh_until);
        // Two workers that do this at once make one signature too many, nothing worse.
        self.0.store(Arc::new(std::iter::once(minted).chain(others.take(MAX_KEPT - 1).cloned()).collect()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};

    use super::*;
    use crate::identity::{AccountId, IdentityKey, Issuer, Origin, Profile, ProviderName, Subject};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const END: Timestamp = Timestamp::from_secs(1_900_000_000);

    struct Fixture {
        account: AccountId,
        origin: Origin,
        profile: Profile,
    }

    impl Fixture {
        fn new(verified: bool) -> Self {
            let key = IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new("42") };
            Self {
                account: AccountId::parse("01890000-0000-7000-8000-000000000000").unwrap(),
                origin: Origin {
                    provider: ProviderName::new("google"),
                    key,
                    at: NOW,
                    acr: None,
                    amr: vec!["pwd".into()],
                    connection: None,
                    sid: None,
                },
                profile: Profile {
                    email: Some("anna@example.com".into()),
                    email_verified: verified,
                    groups: vec!["dev".into()],
                    ..Profile::default()
                },
            }
        }

        fn person(&self) -> Person<'_> {
            Person { account: &self.account, origin: &self.origin, profile: &self.profile }
        }
    }

    fn asserter() -> Asserter {
        Asserter::new(SigningKeys::generate(NOW).unwrap(), "https://app.example.com", Duration::from_secs(300))
    }

    /// Verifies as an app would: by the key set alone. Time is not checked here, it stands still.
    fn verify(asserter: &Asserter, token: &str, audience: &str) -> Result<serde_json::Value, String> {
        let keys: JwkSet = serde_json::from_value(asserter.keys().jwks()).unwrap();
        let kid = decode_header(token).unwrap().kid.unwrap();
        let key = keys.find(&kid).ok_or("unknown key")?;
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&["https://app.example.com"]);
        validation.validate_exp = false;
        let key = DecodingKey::from_jwk(key).unwrap();
        decode::<serde_json::Value>(token, &key, &validation).map(|data| data.claims).map_err(|error| error.to_string())
    }

    fn value(kept: &Kept, asserter: &Asserter, audience: &str, now: Timestamp) -> String {
        let fixture = Fixture::new(true);
        kept.value(asserter, fixture.person(), &audience.into(), END, now).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn an_app_can_verify_who_it_is_by_the_key_set_alone() {
        let asserter = asserter();
        let token = value(&Kept::default(), &asserter, "app", NOW);
        let claims = verify(&asserter, &token, "app").unwrap();
        assert_eq!(claims["sub"], "01890000-0000-7000-8000-000000000000");
        assert_eq!(claims["email"], "anna@example.com");
        assert_eq!(claims["origin"]["provider"], "google");
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
        assert!(verify(&asserter, &token, "other").is_err(), "another app's token does not serve");
        let (rest, last) = token.split_at(token.len() - 2);
        assert!(verify(&asserter, &format!("{rest}{}", if last == "AA" { "BA" } else { "AA" }), "app").is_err());
    }

    #[test]
    fn an_unverified_address_is_not_asserted() {
        let asserter = asserter();
        let fixture = Fixture::new(false);
        let token = Kept::default().value(&asserter, fixture.person(), &"app".into(), END, NOW).unwrap();
        let claims = verify(&asserter, token.to_str().unwrap(), "app").unwrap();
        assert_eq!(claims.get("email"), None);
    }

    #[test]
    fn it_is_made_once_and_replaced_a_minute_before_its_end() {
        let (asserter, kept) = (asserter(), Kept::default());
        let first = value(&kept, &asserter, "app", NOW);
        let other = value(&kept, &asserter, "other", NOW);
        assert_ne!(first, other);
        assert_eq!(value(&kept, &asserter, "app", NOW.plus(Duration::from_secs(239))), first);
        assert_eq!(value(&kept, &asserter, "other", NOW.plus(Duration::from_secs(239))), other);
        assert_ne!(value(&kept, &asserter, "app", NOW.plus(Duration::from_secs(240))), first);
    }

    #[test]
    fn it_never_outlives_its_session() {
        let asserter = asserter();
        let fixture = Fixture::new(true);
        let end = NOW.plus(Duration::from_secs(30));
        let token = Kept::default().value(&asserter, fixture.person(), &"app".into(), end, NOW).unwrap();
        assert_eq!(verify(&asserter, token.to_str().unwrap(), "app").unwrap()["exp"], end.as_secs());
    }

    #[test]
    fn a_rotation_never_signs_with_a_key_that_was_not_published_before() {
        let asserter = asserter();
        let before = asserter.keys();
        let token = value(&Kept::default(), &asserter, "app", NOW);
        asserter.replace_keys(before.rotated(NOW).unwrap());
        assert!(verify(&asserter, &token, "app").is_ok(), "the previous key still verifies");
        let token = value(&Kept::default(), &asserter, "app", NOW);
        let kid = decode_header(&token).unwrap().kid.unwrap();
        assert!(before.jwks().to_string().contains(&kid), "the new key was in the old set");
        let twice = asserter.keys().rotated(NOW).unwrap();
        asserter.replace_keys(twice);
        assert_eq!(asserter.keys().jwks()["keys"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn keys_come_back_from_their_bytes_and_the_key_set_holds_nothing_private() {
        let keys = SigningKeys::generate(NOW).unwrap().rotated(NOW).unwrap();
        let again = SigningKeys::from_bytes(&keys.to_bytes()).unwrap();
        assert_eq!(again.jwks(), keys.jwks());
        assert_eq!(again.since(), NOW);
        for key in keys.jwks()["keys"].as_array().unwrap() {
            assert!(key.get("d").is_none());
        }
        assert_eq!(SigningKeys::from_bytes(b"{}").unwrap_err(), KeyError::Unreadable);
    }
}
