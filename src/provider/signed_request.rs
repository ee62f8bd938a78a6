//! Facebook's `signed_request`, pure: what its deauthorise callback is sent
//! (https://developers.facebook.com/docs/facebook-login/guides/advanced/oidc-token and "Deauthorize Callback").
//!
//! `signature.payload`, both base64url; the signature is HMAC-SHA256 over the payload as it is spelled, keyed with the
//! app secret. Nothing in the payload is looked at before the signature holds.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    identity::MAX_SUBJECT_LEN,
    secret::{Secret, sha256},
};

/// How old a request may be.
pub(super) const MAX_AGE: Duration = Duration::from_secs(86_400);
/// How far clocks may be apart.
const LEEWAY: Duration = Duration::from_secs(60);
/// The longest request read, in bytes.
const MAX_LEN: usize = 16 * 1024;

/// Padding is stripped as a rule; requests that have it have been seen.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A request that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    /// Whose: the app-scoped id.
    pub(super) user: String,
    /// What the request is known by when it comes again: it has no id of its own.
    pub(super) id: String,
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is not a signature and a payload")]
    Shape,
    #[error("its signature does not hold: is client_secret the app secret?")]
    Signature,
    #[error("its payload cannot be read")]
    Payload,
    #[error("its algorithm is not HMAC-SHA256")]
    Algorithm,
    #[error("it names nobody")]
    Nobody,
    #[error("it was issued too long ago, or in the future, or does not say when")]
    Age,
}

/// Checks `request`.
pub(super) fn validate(request: &str, app_secret: &Secret, now: Timestamp) -> Result<Heard, Refusal> {
    if request.len() > MAX_LEN {
        return Err(Refusal::Shape);
    }
    let (signature, payload) = request.split_once('.').ok_or(Refusal::Shape)?;
    let signature = BASE64.decode(signature).map_err(|_| Refusal::Shape)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, app_secret.expose().as_bytes());
    // In constant time.
    hmac::verify(&key, payload.as_bytes(), &signature).map_err(|_| Refusal::Signature)?;
    let claims: Map<String, Value> = BASE64
        .decode(payload)
        .ok()
        .and_then(|payload| serde_json::from_slice(&payload).ok())
        .ok_or(Refusal::Payload)?;
    match claims.get("algorithm").and_then(Value::as_str) {
        Some(algorithm) if algorithm.eq_ignore_ascii_case("HMAC-SHA256") => {}
        _ => return Err(Refusal::Algorithm),
    }
    check_age(&claims, now)?;
    Ok(Heard { user: user(&claims).ok_or(Refusal::Nobody)?, id: hex(&sha256(payload.as_bytes())) })
}

fn check_age(claims: &Map<String, Value>, now: Timestamp) -> Result<(), Refusal> {
    let issued = claims.get("issued_at").and_then(Value::as_i64).map(Timestamp::from_secs).ok_or(Refusal::Age)?;
    let fine = now.since(issued) <= MAX_AGE && issued <= now.plus(LEEWAY);
    if fine { Ok(()) } else { Err(Refusal::Age) }
}

/// A removed page names the user 0, which is nobody.
fn user(claims: &Map<String, Value>) -> Option<String> {
    let user = match claims.get("user_id")? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.as_u64()?.to_string(),
        _ => return None,
    };
    let fine = !user.is_empty() && user != "0" && user.len() <= MAX_SUBJECT_LEN && user.is_ascii();
    fine.then_some(user)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const SECRET: &str = "an-app-secret-of-32-characters-00";

    fn signed(payload: &str, secret: &str) -> String {
        let payload = BASE64.encode(payload).trim_end_matches('=').to_owned();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        format!("{}.{payload}", BASE64.encode(hmac::sign(&key, payload.as_bytes()).as_ref()).trim_end_matches('='))
    }

    fn check(request: &str) -> Result<String, Refusal> {
        validate(request, &Secret::new(SECRET), NOW).map(|heard| heard.user)
    }

    fn with(changes: Value) -> Result<String, Refusal> {
        let mut payload = json!({"algorithm": "HMAC-SHA256", "issued_at": NOW.as_secs(), "user_id": "218471"});
        for (name, change) in changes.as_object().unwrap() {
            payload[name] = change.clone();
        }
        check(&signed(&payload.to_string(), SECRET))
    }

    #[test]
    fn a_genuine_request_names_its_user() {
        assert_eq!(with(json!({})).as_deref(), Ok("218471"));
        assert_eq!(with(json!({"algorithm": "hmac-sha256", "user_id": 218_471})).as_deref(), Ok("218471"));
    }

    #[test]
    fn each_rule_is_held() {
        let now = NOW.as_secs();
        for (changes, expected) in [
            (json!({"algorithm": "none"}), Refusal::Algorithm),
            (json!({"algorithm": null}), Refusal::Algorithm),
            (json!({"issued_at": now - 86_401}), Refusal::Age),
            (json!({"issued_at": now + 61}), Refusal::Age),
            (json!({"issued_at": null}), Refusal::Age),
            (json!({"issued_at": now.to_string()}), Refusal::Age),
            (json!({"user_id": ""}), Refusal::Nobody),
            (json!({"user_id": 0}), Refusal::Nobody),
            (json!({"user_id": "0"}), Refusal::Nobody),
            (json!({"user_id": null}), Refusal::Nobody),
            (json!({"user_id": -1}), Refusal::Nobody),
        ] {
            assert_eq!(with(changes.clone()), Err(expected), "{changes}");
        }
        assert!(with(json!({"issued_at": now - 86_400})).is_ok());
    }

    #[test]
    fn a_signature_is_that_of_the_app_secret_over_the_spelled_payload() {
        let payload = json!({"algorithm": "HMAC-SHA256", "issued_at": NOW.as_secs(), "user_id": "1"}).to_string();
        assert_eq!(check(&signed(&payload, "another")), Err(Refusal::Signature));
        let genuine = signed(&payload, SECRET);
        assert_eq!(check(&format!("{genuine}A")), Err(Refusal::Signature));
        assert_eq!(check(&format!(".{}", genuine.split_once('.').unwrap().1)), Err(Refusal::Signature));
        assert_eq!(check(&signed("not json", SECRET)), Err(Refusal::Payload));
        for shapeless in ["", "abc", "!.e30", &"a".repeat(MAX_LEN + 1)] {
            assert_eq!(check(shapeless), Err(Refusal::Shape), "{shapeless:.20}");
        }
    }

    proptest! {
        #[test]
        fn no_stranger_passes(request in "[A-Za-z0-9_=-]{0,60}\\.?[A-Za-z0-9_=-]{0,120}") {
            prop_assert!(check(&request).is_err());
        }
    }
}
