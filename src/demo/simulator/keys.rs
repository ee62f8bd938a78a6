//! Signing keys of a simulator: RSA-2048, made when first needed, rotated on demand.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use aws_lc_rs::{
    encoding::AsDer as _,
    hmac, rand,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};

use crate::secret::{random, sha256};

/// One RSA key.
#[derive(Debug)]
pub(super) struct SigningKey {
    pub(super) kid: String,
    pair: KeyPair,
}

impl SigningKey {
    #[expect(clippy::expect_used, reason = "fails only without memory or randomness")]
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("an RSA key can be made");
        let kid = URL_SAFE_NO_PAD.encode(random::<9>());
        Self { kid, pair }
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518, 3.3).
    #[expect(clippy::expect_used, reason = "the signature buffer has the modulus' length")]
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &rand::SystemRandom::new(), message, &mut signature)
            .expect("an RSA key signs any message");
        signature
    }

    fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// The public key as PEM: what a forger has, and a careless verifier may use as an HMAC key.
    fn public_pem(&self) -> String {
        let der = self.pair.public_key().as_der().map(|der| der.as_ref().to_vec()).unwrap_or_default();
        let encoded = STANDARD.encode(der);
        let lines = encoded.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
        format!("-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n")
    }
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signing<'a> {
    Honest,
    Unsigned,
    UnknownKid,
    WrongKey,
    HmacSecret(&'a str),
    HmacPublicKey,
}

/// The keys of one simulator; the first signs, all are published.
#[derive(Debug, Default)]
pub(super) struct Keys {
    current: Mutex<Vec<Arc<SigningKey>>>,
    stranger: OnceLock<SigningKey>,
}

impl Keys {
    /// The key that signs now.
    pub(super) fn current(&self) -> Arc<SigningKey> {
        let mut keys = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.first() {
            return Arc::clone(key);
        }
        let key = Arc::new(SigningKey::generate());
        keys.push(Arc::clone(&key));
        key
    }

    /// A new key signs from now on; the last one stays published for tokens already given.
    pub(super) fn rotate(&self) {
        let fresh = Arc::new(SigningKey::generate());
        let mut keys = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(0, fresh);
        keys.truncate(2);
    }

    /// The key set (RFC 7517, 5).
    pub(super) fn jwks(&self) -> Value {
        self.current();
        let keys = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
    }

    /// A compact JWS (RFC 7515, 3.1) over the JSON text `claims`.
    pub(super) fn jws(&self, typ: &str, claims: &str, signing: Signing<'_>) -> String {
        let key = self.current();
        let kid = if signing == Signing::UnknownKid { "no-such-key" } else { &key.kid };
        let header = match signing {
            Signing::Unsigned => json!({"alg": "none", "typ": typ}),
            Signing::HmacSecret(_) | Signing::HmacPublicKey => json!({"alg": "HS256", "typ": typ, "kid": kid}),
            _ => json!({"alg": "RS256", "typ": typ, "kid": kid}),
        };
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = match signing {
            Signing::Honest => key.sign(message.as_bytes()),
            Signing::UnknownKid | Signing::WrongKey => {
                self.stranger.get_or_init(SigningKey::generate).sign(message.as_bytes())
            }
            Signing::Unsigned => Vec::new(),
            Signing::HmacSecret(secret) => hmac_sha256(secret.as_bytes(), message.as_bytes()),
            Signing::HmacPublicKey => hmac_sha256(key.public_pem().as_bytes(), message.as_bytes()),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// HMAC-SHA256.
pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// Left half of the SHA-256 of a token (OpenID Connect Core, 3.1.3.6).
pub(super) fn half_hash(token: &str) -> String {
    let hash = sha256(token.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default())
}

/// Lowercase hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, jwk::JwkSet};

    use super::*;

    fn verifies(keys: &Keys, token: &str) -> bool {
        let set: JwkSet = serde_json::from_value(keys.jwks()).unwrap();
        let mut validation = Validation::new(Algorithm::RS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        set.keys.iter().any(|jwk| decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).is_ok())
    }

    #[test]
    fn honest_tokens_verify_and_forged_ones_do_not() {
        let keys = Keys::default();
        assert!(verifies(&keys, &keys.jws("JWT", "{}", Signing::Honest)));
        for forged in [
            Signing::Unsigned,
            Signing::UnknownKid,
            Signing::WrongKey,
            Signing::HmacSecret("secret"),
            Signing::HmacPublicKey,
        ] {
            assert!(!verifies(&keys, &keys.jws("JWT", "{}", forged)), "{forged:?}");
        }
    }

    #[test]
    fn a_rotated_key_signs_and_the_old_one_stays_published() {
        let keys = Keys::default();
        let before = keys.jws("JWT", "{}", Signing::Honest);
        let old = keys.current().kid.clone();
        keys.rotate();
        assert_ne!(keys.current().kid, old);
        assert!(verifies(&keys, &before));
        assert!(verifies(&keys, &keys.jws("JWT", "{}", Signing::Honest)));
    }
}
