//! Every rule of the ID token, each named after what it holds off.

use aws_lc_rs::digest::{SHA256, digest};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::provider::tests::{NOW, SECRET, Signer};

const ISSUER: &str = "https://op.test";
const TOKEN: &str = "access-token";

struct Case {
    signer: Signer,
    keys: KeySet,
    access_token: Secret,
    secret: Secret,
    algorithms: Vec<Algorithm>,
    trusted: Vec<String>,
}

impl Case {
    fn new() -> Self {
        let signer = Signer::es256("one");
        Self {
            keys: set(&signer.set()),
            signer,
            access_token: Secret::new(TOKEN),
            secret: Secret::new(SECRET),
            algorithms: vec![Algorithm::ES256],
            trusted: Vec::new(),
        }
    }

    fn check_for(&self, token: &str, occasion: Occasion<'_>) -> Result<IdClaims, Refusal> {
        let expected = Expectations {
            issuer: ISSUER,
            other_issuers: &["op.test"],
            client_id: "client",
            trusted_audiences: &self.trusted,
            algorithms: &self.algorithms,
            client_secret: Some(&self.secret),
            access_token: Some(&self.access_token),
            occasion,
        };
        validate(token, &self.keys, &expected, NOW)
    }

    fn check(&self, token: &str) -> Result<IdClaims, Refusal> {
        self.check_for(token, Occasion::Login { nonce: "nonce" })
    }

    /// A genuine token with some claims changed (`null` takes one away).
    fn with(&self, changes: Value) -> Result<IdClaims, Refusal> {
        self.check(&self.signer.sign(&changed(claims(), &changes)))
    }

    fn with_header(&self, changes: Value) -> Result<IdClaims, Refusal> {
        self.check(&self.signer.sign_with(&changed(self.signer.header(), &changes), &claims()))
    }
}

fn set(keys: &Value) -> KeySet {
    KeySet::parse(keys.to_string().as_bytes()).unwrap()
}

fn changed(mut value: Value, changes: &Value) -> Value {
    let members = value.as_object_mut().unwrap();
    for (name, change) in changes.as_object().unwrap() {
        match change {
            Value::Null => members.remove(name),
            change => members.insert(name.clone(), change.clone()),
        };
    }
    value
}

fn claims() -> Value {
    let at_hash = URL_SAFE_NO_PAD.encode(&digest(&SHA256, TOKEN.as_bytes()).as_ref()[..16]);
    json!({
        "iss": ISSUER, "aud": "client", "sub": "1234", "nonce": "nonce", "at_hash": at_hash,
        "iat": NOW.as_secs(), "exp": NOW.as_secs() + 3600, "auth_time": NOW.as_secs() - 5, "amr": ["pwd"], "acr": "1",
    })
}

#[test]
fn a_genuine_token_passes() {
    let found = Case::new().with(json!({"sid": "s"})).unwrap();
    assert_eq!((found.subject.as_str(), found.sid.as_deref(), found.acr.as_deref()), ("1234", Some("s"), Some("1")));
    assert_eq!((found.amr, found.auth_time), (vec!["pwd".to_owned()], Some(Timestamp::from_secs(NOW.as_secs() - 5))));
}

#[test]
fn claims_are_checked_one_by_one() {
    let now = NOW.as_secs();
    let cases = [
        // Another issuer, or one that only looks alike (mix-up).
        (json!({"iss": "https://evil.test"}), Err(Refusal::Issuer)),
        (json!({"iss": "https://op.test/"}), Err(Refusal::Issuer)),
        (json!({"iss": "https://OP.test"}), Err(Refusal::Issuer)),
        (json!({"iss": null}), Err(Refusal::Missing("iss"))),
        (json!({"iss": "op.test"}), Ok(())),
        // A token for another app at the same issuer (token substitution).
        (json!({"aud": "other"}), Err(Refusal::Audience)),
        (json!({"aud": ["other"]}), Err(Refusal::Audience)),
        (json!({"aud": []}), Err(Refusal::Missing("aud"))),
        (json!({"aud": null}), Err(Refusal::Missing("aud"))),
        (json!({"aud": ["client"]}), Ok(())),
        (json!({"aud": ["client", "other"]}), Err(Refusal::UntrustedAudience)),
        (json!({"aud": ["client", "other"], "azp": "client"}), Err(Refusal::UntrustedAudience)),
        (json!({"aud": "client", "azp": "other"}), Err(Refusal::AuthorizedParty)),
        (json!({"aud": "client", "azp": "client"}), Ok(())),
        // Old, early and never-ending tokens.
        (json!({"exp": now - 60}), Err(Refusal::Expired)),
        (json!({"exp": now - 59}), Ok(())),
        (json!({"exp": null}), Err(Refusal::Missing("exp"))),
        (json!({"exp": 1e300}), Ok(())),
        (json!({"nbf": now + 61}), Err(Refusal::NotYet)),
        (json!({"nbf": now + 60}), Ok(())),
        (json!({"iat": now + 61}), Err(Refusal::IssuedInFuture)),
        (json!({"iat": now + 60}), Ok(())),
        (json!({"iat": now - 661}), Err(Refusal::TooOld)),
        (json!({"iat": now - 660}), Ok(())),
        (json!({"iat": now as f64 + 0.5}), Ok(())),
        (json!({"iat": null}), Err(Refusal::Missing("iat"))),
        // Replay of a token into another login.
        (json!({"nonce": "other"}), Err(Refusal::Nonce)),
        (json!({"nonce": ""}), Err(Refusal::Nonce)),
        (json!({"nonce": null}), Err(Refusal::Missing("nonce"))),
        // An access token swapped for another.
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), Err(Refusal::AccessTokenHash)),
        (json!({"at_hash": ""}), Err(Refusal::AccessTokenHash)),
        (json!({"at_hash": null}), Ok(())),
        // Subjects that cannot be keys.
        (json!({"sub": ""}), Err(Refusal::Subject)),
        (json!({"sub": "x".repeat(256)}), Err(Refusal::Subject)),
        (json!({"sub": "x".repeat(255)}), Ok(())),
        (json!({"sub": "\u{0456}"}), Err(Refusal::Subject)),
        (json!({"sub": null}), Err(Refusal::Missing("sub"))),
    ];
    let case = Case::new();
    for (changes, expected) in cases {
        assert_eq!(case.with(changes.clone()).map(drop), expected, "{changes}");
    }
}

#[test]
fn a_claim_of_the_wrong_type_is_an_error_and_not_an_absence() {
    let case = Case::new();
    for name in ["iss", "aud", "azp", "exp", "nbf", "iat", "nonce", "at_hash", "sub", "auth_time", "acr", "amr", "sid"]
    {
        for wrong in [json!({"a": 1}), json!(true), json!([1])] {
            let refused = case.with(json!({name: wrong}));
            assert_eq!(refused, Err(Refusal::WrongType(name)), "{name}: {wrong}");
        }
        // `null` in place of a claim, which `with` cannot say.
        let mut claims = claims();
        claims[name] = Value::Null;
        assert_eq!(case.check(&case.signer.sign(&claims)), Err(Refusal::WrongType(name)), "{name}: null");
    }
    for (name, wrong) in [("exp", json!("9999999999")), ("iat", json!("1")), ("nbf", json!("0")), ("sub", json!(1234))]
    {
        assert_eq!(case.with(json!({name: wrong})), Err(Refusal::WrongType(name)));
    }
}

#[test]
fn further_audiences_must_be_named_by_the_operator() {
    let mut case = Case::new();
    case.trusted = vec!["other".into()];
    assert!(case.with(json!({"aud": ["client", "other"]})).is_ok());
    assert_eq!(case.with(json!({"aud": ["client", "third"]})), Err(Refusal::UntrustedAudience));
}

#[test]
fn an_unsigned_token_is_never_taken() {
    let case = Case::new();
    let token = case.signer.sign(&claims());
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(case.check(&format!("{signed}.")), Err(Refusal::Signature));
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": none}).to_string());
        let claims = URL_SAFE_NO_PAD.encode(claims().to_string());
        assert_eq!(case.check(&format!("{header}.{claims}.")), Err(Refusal::Algorithm), "{none}");
    }
}

#[test]
fn a_public_key_is_never_an_hmac_secret() {
    let mut case = Case::new();
    case.algorithms = vec![Algorithm::ES256, Algorithm::HS256];
    for material in [case.signer.jwk.to_string(), case.signer.jwk["x"].as_str().unwrap().to_owned()] {
        let forger = Signer::hs256(&material);
        let header = json!({"alg": "HS256", "kid": "one"});
        assert_eq!(case.check(&forger.sign_with(&header, &claims())), Err(Refusal::Signature));
    }
}

#[test]
fn hmac_needs_the_operators_word_and_the_client_secret() {
    let mut case = Case::new();
    let token = Signer::hs256(SECRET).sign(&claims());
    assert_eq!(case.check(&token), Err(Refusal::Algorithm));
    case.algorithms = vec![Algorithm::HS256];
    assert!(case.check(&token).is_ok());
    assert_eq!(case.check(&Signer::hs256("another").sign(&claims())), Err(Refusal::Signature));
}

#[test]
fn an_algorithm_outside_the_list_is_refused_although_its_key_is_genuine() {
    let mut case = Case::new();
    case.algorithms = vec![Algorithm::RS256];
    assert_eq!(case.with(json!({})), Err(Refusal::Algorithm));
}

#[test]
fn key_type_and_algorithm_must_match() {
    let mut case = Case::new();
    case.algorithms = vec![Algorithm::ES256, Algorithm::ES384, Algorithm::RS256];
    // A set that does not say which algorithm a key is for: type and curve must do.
    let silent = changed(case.signer.jwk.clone(), &json!({"alg": null}));
    case.keys = set(&json!({"keys": [silent]}));
    assert!(case.with(json!({})).is_ok());
    assert_eq!(case.with_header(json!({"alg": "RS256"})), Err(Refusal::UnknownKey));
    assert_eq!(case.with_header(json!({"alg": "ES384"})), Err(Refusal::UnknownKey));
}

#[test]
fn a_key_the_token_brings_itself_is_not_looked_at() {
    let case = Case::new();
    let forger = Signer::es256("one");
    for member in ["jwk", "jku", "x5u", "x5c"] {
        let value = if member == "jwk" { forger.jwk.clone() } else { json!("https://evil.test/keys") };
        let header = changed(forger.header(), &json!({member: value}));
        assert_eq!(case.check(&forger.sign_with(&header, &claims())), Err(Refusal::Signature), "{member}");
    }
}

#[test]
fn an_unknown_key_is_told_apart_from_a_wrong_signature() {
    let case = Case::new();
    assert_eq!(case.with_header(json!({"kid": "two"})), Err(Refusal::UnknownKey));
    assert!(case.with_header(json!({"kid": null})).is_ok(), "without a name, the few that fit are tried");
    assert_eq!(case.with_header(json!({"kid": 7})), Err(Refusal::Header));
}

#[test]
fn critical_extensions_and_encryption_are_refused() {
    let case = Case::new();
    assert_eq!(case.with_header(json!({"crit": ["b64"], "b64": false})), Err(Refusal::Critical));
    assert_eq!(case.with_header(json!({"crit": []})), Err(Refusal::Critical));
    assert_eq!(case.with_header(json!({"enc": "A256GCM"})), Err(Refusal::Encrypted));
    assert_eq!(case.check("a.b.c.d.e"), Err(Refusal::Encrypted));
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let case = Case::new();
    let token = case.signer.sign(&claims());
    for index in (0..token.len()).step_by(7) {
        let mut forged = token.clone().into_bytes();
        forged[index] = if forged[index] == b'A' { b'B' } else { b'A' };
        assert!(case.check(std::str::from_utf8(&forged).unwrap()).is_err(), "byte {index}");
    }
}

#[test]
fn a_refreshed_token_is_for_the_same_person_and_login() {
    let case = Case::new();
    let fresh = |changes: Value| case.signer.sign(&changed(claims(), &changes));
    let same = Occasion::Refresh { subject: "1234", nonce: Some("nonce") };
    assert!(case.check_for(&fresh(json!({"nonce": null})), same).is_ok());
    assert!(case.check_for(&fresh(json!({})), same).is_ok());
    assert_eq!(case.check_for(&fresh(json!({"nonce": "other"})), same), Err(Refusal::Nonce));
    assert_eq!(case.check_for(&fresh(json!({"sub": "5678"})), same), Err(Refusal::OtherSubject));
    assert_eq!(case.check_for(&fresh(json!({"aud": "other"})), same), Err(Refusal::Audience));
    assert_eq!(case.check_for(&fresh(json!({"exp": NOW.as_secs() - 60})), same), Err(Refusal::Expired));
}

#[test]
fn an_rsa_key_signs_as_well() {
    let mut case = Case::new();
    case.algorithms = vec![Algorithm::RS256];
    case.keys = set(&Signer::rs256().set());
    assert!(case.check(&Signer::rs256().sign(&claims())).is_ok());
}

#[test]
fn huge_tokens_are_not_read() {
    assert_eq!(Case::new().check(&"a".repeat(MAX_TOKEN + 1)), Err(Refusal::TooLong));
    for shapeless in ["", ".", "..", "a.b", "a.b.c.d"] {
        assert!(Case::new().check(shapeless).is_err(), "{shapeless}");
    }
}

proptest! {
    #[test]
    fn no_stranger_passes(token in "[A-Za-z0-9_.-]{0,300}") {
        prop_assert!(Case::new().check(&token).is_err());
    }

    #[test]
    fn any_header_is_read_or_refused(header in proptest::collection::btree_map(
        "alg|kid|typ|crit|jwk|enc|cty",
        prop_oneof![Just(json!("ES256")), Just(json!("one")), Just(json!(7)), Just(json!([])), Just(json!("none"))],
        0..5,
    )) {
        let case = Case::new();
        let token = case.signer.sign_with(&json!(header), &claims());
        let kid_fits = header.get("kid").is_none_or(|kid| kid == "one");
        let passes = header.get("alg") == Some(&json!("ES256"))
            && kid_fits
            && !header.contains_key("crit")
            && !header.contains_key("enc");
        prop_assert_eq!(case.check(&token).is_ok(), passes);
    }
}
