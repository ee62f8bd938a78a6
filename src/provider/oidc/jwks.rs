//! Key sets (RFC 7517): which keys of a provider's set we take, and which of them fit a token.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderMap;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;
use url::Url;

use super::cached::fresh_for;
use crate::provider::{ProviderError, outgoing::Outgoing};

/// The longest key set read, in bytes.
const MAX_SET: usize = 256 * 1024;
/// The most keys a set may hold.
const MAX_KEYS: usize = 64;
/// The most keys tried for a token that names none.
const MAX_UNNAMED: usize = 4;
/// Shorter RSA keys are left out (NIST SP 800-131A).
const MIN_RSA_BITS: usize = 2048;

/// The keys of a set that we take.
#[derive(Debug, Default)]
pub(in crate::provider) struct KeySet(Vec<Key>);

struct Key {
    kid: Option<String>,
    /// The only algorithm it is for, when the set says.
    algorithm: Option<String>,
    curve: Option<EllipticCurve>,
    key: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({:?})", self.kid)
    }
}

impl KeySet {
    /// Reads a set; keys that cannot be used are left out, so that one of them does not spoil the others.
    pub(in crate::provider) fn parse(body: &[u8]) -> Result<Self, ProviderError> {
        let untrusted = |what: &str| ProviderError::Untrusted(format!("the key set {what}"));
        if body.len() > MAX_SET {
            return Err(untrusted("is too large"));
        }
        let set: Value = serde_json::from_slice(body).map_err(|_| untrusted("is not JSON"))?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or_else(|| untrusted("has no list of keys"))?;
        if listed.len() > MAX_KEYS {
            return Err(untrusted("has too many keys"));
        }
        let keys: Vec<Key> = listed.iter().filter_map(Key::read).collect();
        if keys.is_empty() {
            return Err(untrusted("has no key that can be used (RSA from 2048 bits, P-256, P-384, Ed25519)"));
        }
        Ok(Self(keys))
    }

    /// Fetches a set; with it, how long it is fresh.
    pub(super) async fn fetch(outgoing: &Outgoing, url: &Url) -> Result<(Self, Duration), ProviderError> {
        let (keys, headers) = Self::ask(outgoing, url).await?;
        Ok((keys, fresh_for(&headers)))
    }

    /// Fetches a set; with it, the head of the answer.
    pub(super) async fn ask(outgoing: &Outgoing, url: &Url) -> Result<(Self, HeaderMap), ProviderError> {
        let answer = outgoing.get(url, None, "application/json").await?;
        if !answer.status.is_success() {
            return Err(ProviderError::Unavailable(format!("the key set's address answers {}", answer.status)));
        }
        Ok((Self::parse(&answer.body)?, answer.headers))
    }

    /// The keys a token with this `kid` and algorithm may be checked with. Without a `kid` all of the right type,
    /// if they are few.
    pub(super) fn fitting<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a DecodingKey> {
        let fits = move |key: &&Key| match kid {
            Some(kid) => key.kid.as_deref() == Some(kid) && key.is_for(algorithm),
            None => key.is_for(algorithm),
        };
        let few = kid.is_some() || self.0.iter().filter(fits).count() <= MAX_UNNAMED;
        self.0.iter().filter(move |key| few && fits(key)).map(|key| &key.key)
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        let for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let may_verify =
            jwk.common.key_operations.as_ref().is_none_or(|allowed| allowed.contains(&KeyOperations::Verify));
        if !for_signatures || !may_verify {
            return None;
        }
        let curve = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) if modulus_bits(&rsa.n)? >= MIN_RSA_BITS => None,
            AlgorithmParameters::EllipticCurve(ec) => Some(ec.curve.clone()),
            AlgorithmParameters::OctetKeyPair(pair) => Some(pair.curve.clone()),
            // Symmetric keys have no place in a public document.
            _ => return None,
        };
        let algorithm = value.get("alg").and_then(Value::as_str).map(str::to_owned);
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { kid: jwk.common.key_id, algorithm, curve, key })
    }

    /// True when key type, curve and stated algorithm all match (threats 7.4).
    fn is_for(&self, algorithm: Algorithm) -> bool {
        let curve = match algorithm {
            Algorithm::ES256 => Some(EllipticCurve::P256),
            Algorithm::ES384 => Some(EllipticCurve::P384),
            Algorithm::EdDSA => Some(EllipticCurve::Ed25519),
            _ => None,
        };
        let stated = self.algorithm.as_ref().is_none_or(|stated| stated.parse() == Ok(algorithm));
        algorithm.family() != AlgorithmFamily::Hmac
            && self.key.family() == algorithm.family()
            && self.curve == curve
            && stated
    }
}

fn modulus_bits(modulus: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).ok()?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    let leading = bytes.get(first)?.leading_zeros() as usize;
    Some((bytes.len() - first) * 8 - leading)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rsa(kid: &str, bits: usize, extra: Value) -> Value {
        let mut modulus = vec![0_u8; bits / 8];
        modulus[0] = 0x80;
        modulus[bits / 8 - 1] = 1;
        let mut key = json!({"kty": "RSA", "kid": kid, "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"});
        key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        key
    }

    fn count(keys: &[Value], kid: Option<&str>, algorithm: Algorithm) -> usize {
        KeySet::parse(&serde_json::to_vec(&json!({"keys": keys})).unwrap()).unwrap().fitting(kid, algorithm).count()
    }

    #[test]
    fn only_keys_for_signatures_of_the_right_type_are_taken() {
        let keys = [
            rsa("good", 2048, json!({"use": "sig", "alg": "RS256"})),
            rsa("short", 1024, json!({"use": "sig"})),
            rsa("enc", 2048, json!({"use": "enc"})),
            rsa("ops", 2048, json!({"key_ops": ["encrypt"]})),
            json!({"kty": "oct", "kid": "hmac", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}),
            json!({"kty": "EC", "kid": "broken", "crv": "P-256", "x": "!", "y": "!"}),
            json!({"kty": "future", "kid": "unknown"}),
            json!("nonsense"),
        ];
        for (kid, expected) in [("good", 1), ("short", 0), ("enc", 0), ("ops", 0), ("broken", 0), ("unknown", 0)] {
            assert_eq!(count(&keys, Some(kid), Algorithm::RS256), expected, "{kid}");
        }
        assert_eq!(count(&keys, Some("good"), Algorithm::RS512), 0, "the set says RS256");
        assert_eq!(count(&keys, Some("good"), Algorithm::ES256), 0);
        assert_eq!(count(&keys, Some("hmac"), Algorithm::HS256), 0, "never an HMAC key from a public set");
        assert_eq!(count(&keys, None, Algorithm::RS256), 1);
    }

    #[test]
    fn a_flood_of_keys_is_refused() {
        let many: Vec<Value> = (0..=MAX_KEYS).map(|n| rsa(&n.to_string(), 2048, json!({}))).collect();
        assert!(KeySet::parse(&serde_json::to_vec(&json!({"keys": many})).unwrap()).is_err());
        assert_eq!(count(&many[..MAX_UNNAMED + 1], None, Algorithm::RS256), 0, "too many to try without a name");
        for body in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":7}"#] {
            assert!(KeySet::parse(body.as_bytes()).is_err(), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            drop(KeySet::parse(&body));
        }

        #[test]
        fn any_members_are_read_or_refused(members in proptest::collection::btree_map(
            "kty|use|alg|kid|n|e|crv|x|y|k|key_ops", "RSA|EC|OKP|oct|sig|AQAB|P-256|Ed25519|[A-Za-z0-9_-]{0,90}", 0..9,
        )) {
            if let Ok(set) = KeySet::parse(json!({"keys": [members]}).to_string().as_bytes()) {
                proptest::prop_assert_eq!(set.fitting(None, Algorithm::HS256).count(), 0);
            }
        }
    }
}
