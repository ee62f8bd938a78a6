//! The logout token's checks, pure (OpenID Connect Back-Channel Logout 1.0; section numbers are its own).
//!
//! What it has in common with an ID token is checked by the same code. What must keep the two apart, `events` and the
//! absence of a nonce, is checked here: an ID token of this client never ends a session, and a logout token never
//! begins one.

use serde_json::Value;

use super::{
    id_token::{Expectations, Refusal, Signed, check_audience, check_issuer, check_times, subject},
    jwks::KeySet,
};
use crate::clock::Timestamp;

/// The one event that is meant (2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The longest `jti` and `sid` taken, in bytes.
const MAX_ID: usize = 1024;

/// Claims of a logout token that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::provider) struct LogoutClaims {
    pub(in crate::provider) subject: Option<String>,
    pub(in crate::provider) sid: Option<String>,
    pub(in crate::provider) jti: String,
}

/// Checks `token` point by point, in the order of 2.6. Whether its `jti` came before is for the caller to see (2.6, 7).
pub(in crate::provider) fn validate(
    token: &str,
    keys: &KeySet,
    expected: &Expectations<'_>,
    now: Timestamp,
) -> Result<LogoutClaims, Refusal> {
    let Signed { claims, kind, .. } = Signed::verify(token, keys, expected)?;
    check_type(kind.as_deref())?;
    check_issuer(&claims, expected)?;
    check_audience(&claims, expected)?;
    check_times(&claims, &expected.occasion, now)?;
    let subject = subject(&claims)?;
    let sid = claims.text("sid")?.filter(|sid| !sid.is_empty()).map(str::to_owned);
    if subject.is_none() && sid.is_none() {
        return Err(Refusal::Missing("sub or sid"));
    }
    match claims.get("events").ok_or(Refusal::Missing("events"))? {
        Value::Object(events) if events.get(EVENT).is_some_and(Value::is_object) => {}
        Value::Object(_) => return Err(Refusal::Event),
        _ => return Err(Refusal::WrongType("events")),
    }
    // Forbidden, so that it cannot pass for an ID token where somebody takes both (2.4).
    if claims.get("nonce").is_some() {
        return Err(Refusal::Nonce);
    }
    let jti = claims.text("jti")?.filter(|jti| !jti.is_empty()).ok_or(Refusal::Missing("jti"))?.to_owned();
    if jti.len() > MAX_ID || sid.as_ref().is_some_and(|sid| sid.len() > MAX_ID) {
        return Err(Refusal::TooLong);
    }
    Ok(LogoutClaims { subject, sid, jti })
}

/// `logout+jwt` is recommended, plain `JWT` and none are usual (2.4); any other type is another kind of token (RFC 8725,
/// 3.11).
fn check_type(kind: Option<&str>) -> Result<(), Refusal> {
    let kind = kind.map(|kind| kind.to_ascii_lowercase());
    match kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind)) {
        None | Some("jwt" | "logout+jwt") => Ok(()),
        Some(_) => Err(Refusal::Type),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        provider::{
            oidc::id_token::{MAX_AGE_AT_LOGIN, Occasion},
            tests::{NOW, SECRET, Signer},
        },
        secret::Secret,
    };

    struct Case {
        signer: Signer,
        keys: KeySet,
        secret: Secret,
    }

    impl Case {
        fn new() -> Self {
            let signer = Signer::es256("one");
            let keys = KeySet::parse(signer.set().to_string().as_bytes()).unwrap();
            Self { signer, keys, secret: Secret::new(SECRET) }
        }

        fn check(&self, token: &str) -> Result<LogoutClaims, Refusal> {
            let expected = Expectations {
                issuer: "https://op.test",
                other_issuers: &[],
                client_id: "client",
                trusted_audiences: &[],
                algorithms: &[jsonwebtoken::Algorithm::ES256],
                client_secret: Some(&self.secret),
                access_token: None,
                occasion: Occasion::Logout,
            };
            validate(token, &self.keys, &expected, NOW)
        }

        /// A genuine token with some claims changed (`null` takes one away).
        fn with(&self, changes: Value) -> Result<LogoutClaims, Refusal> {
            self.check(&self.signer.sign(&changed(claims(), &changes)))
        }

        fn typed(&self, typ: Value) -> Result<LogoutClaims, Refusal> {
            self.check(&self.signer.sign_with(&changed(self.signer.header(), &json!({"typ": typ})), &claims()))
        }
    }

    fn changed(mut value: Value, changes: &Value) -> Value {
        for (name, change) in changes.as_object().unwrap() {
            match change {
                Value::Null => value.as_object_mut().unwrap().remove(name),
                change => value.as_object_mut().unwrap().insert(name.clone(), change.clone()),
            };
        }
        value
    }

    fn claims() -> Value {
        json!({
            "iss": "https://op.test", "aud": "client", "sub": "1234", "sid": "s", "jti": "j",
            "iat": NOW.as_secs(), "exp": NOW.as_secs() + 120, "events": {EVENT: {}},
        })
    }

    #[test]
    fn a_genuine_token_passes() {
        let case = Case::new();
        let found = case.with(json!({})).unwrap();
        assert_eq!((found.subject.as_deref(), found.sid.as_deref(), &*found.jti), (Some("1234"), Some("s"), "j"));
        for typ in [json!("logout+jwt"), json!("application/logout+jwt"), json!("JWT"), Value::Null] {
            assert!(case.typed(typ.clone()).is_ok(), "{typ}");
        }
    }

    #[test]
    fn claims_are_checked_one_by_one() {
        let now = NOW.as_secs();
        let oldest = i64::try_from(MAX_AGE_AT_LOGIN.as_secs()).unwrap() + 60;
        let case = Case::new();
        for (changes, expected) in [
            (json!({"iss": "https://evil.test"}), Err(Refusal::Issuer)),
            (json!({"iss": null}), Err(Refusal::Missing("iss"))),
            (json!({"aud": "other"}), Err(Refusal::Audience)),
            (json!({"aud": ["client", "other"]}), Err(Refusal::UntrustedAudience)),
            (json!({"aud": null}), Err(Refusal::Missing("aud"))),
            (json!({"iat": null}), Err(Refusal::Missing("iat"))),
            (json!({"iat": now + 61}), Err(Refusal::IssuedInFuture)),
            (json!({"iat": now - oldest - 1}), Err(Refusal::TooOld)),
            (json!({"iat": now - oldest}), Ok(())),
            (json!({"exp": now - 60}), Err(Refusal::Expired)),
            (json!({"exp": now - 59}), Ok(())),
            // Older issuers leave it out; the age is bounded all the same.
            (json!({"exp": null}), Ok(())),
            (json!({"nbf": now + 61}), Err(Refusal::NotYet)),
            (json!({"sub": null}), Ok(())),
            (json!({"sid": null}), Ok(())),
            (json!({"sub": null, "sid": null}), Err(Refusal::Missing("sub or sid"))),
            (json!({"sub": null, "sid": ""}), Err(Refusal::Missing("sub or sid"))),
            (json!({"sub": ""}), Err(Refusal::Subject)),
            (json!({"events": null}), Err(Refusal::Missing("events"))),
            (json!({"events": {}}), Err(Refusal::Event)),
            (json!({"events": {"https://other.test/event": {}}}), Err(Refusal::Event)),
            (json!({"events": {EVENT: true}}), Err(Refusal::Event)),
            (json!({"events": [EVENT]}), Err(Refusal::WrongType("events"))),
            (json!({"events": {EVENT: {}, "https://other.test/event": {}}}), Ok(())),
            (json!({"nonce": "n"}), Err(Refusal::Nonce)),
            (json!({"nonce": ""}), Err(Refusal::Nonce)),
            (json!({"nonce": 7}), Err(Refusal::Nonce)),
            (json!({"jti": null}), Err(Refusal::Missing("jti"))),
            (json!({"jti": ""}), Err(Refusal::Missing("jti"))),
            (json!({"jti": "x".repeat(MAX_ID + 1)}), Err(Refusal::TooLong)),
            (json!({"sid": "x".repeat(MAX_ID + 1)}), Err(Refusal::TooLong)),
            (json!({"jti": 7}), Err(Refusal::WrongType("jti"))),
            (json!({"sid": 7}), Err(Refusal::WrongType("sid"))),
            (json!({"sub": 7}), Err(Refusal::WrongType("sub"))),
            (json!({"iat": "1"}), Err(Refusal::WrongType("iat"))),
        ] {
            assert_eq!(case.with(changes.clone()).map(drop), expected, "{changes}");
        }
    }

    #[test]
    fn another_kind_of_token_is_none() {
        let case = Case::new();
        for typ in ["at+jwt", "secevent+jwt", "dpop+jwt", ""] {
            assert_eq!(case.typed(json!(typ)), Err(Refusal::Type), "{typ}");
        }
        assert_eq!(case.typed(json!(7)), Err(Refusal::Header));
        let id_token = changed(claims(), &json!({"events": null, "jti": null, "nonce": "n"}));
        assert_eq!(case.check(&case.signer.sign(&id_token)), Err(Refusal::Missing("events")));
    }

    #[test]
    fn only_the_issuers_key_and_algorithm_count() {
        let case = Case::new();
        assert_eq!(case.check(&Signer::es256("one").sign(&claims())), Err(Refusal::Signature));
        assert_eq!(case.check(&Signer::es256("two").sign(&claims())), Err(Refusal::UnknownKey));
        assert_eq!(case.check(&Signer::hs256(SECRET).sign(&claims())), Err(Refusal::Algorithm));
        let unsigned = Signer::hs256(SECRET).sign_with(&json!({"alg": "none"}), &claims());
        assert_eq!(case.check(&format!("{}.", unsigned.rsplit_once('.').unwrap().0)), Err(Refusal::Algorithm));
    }

    proptest! {
        #[test]
        fn no_stranger_passes(token in "[A-Za-z0-9_.-]{0,300}") {
            prop_assert!(Case::new().check(&token).is_err());
        }
    }
}
