//! No spelling of a name survives, no value can break out of its field.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    clock::Timestamp,
    identity::{IdentityKey, Issuer, ProviderName, Subject},
};

fn config() -> Headers {
    Headers {
        set: BTreeMap::from([(
            "crm".to_owned(),
            BTreeMap::from([
                ("X-Crm-User".to_owned(), "email".to_owned()),
                ("X-Crm-Team".to_owned(), "claim:team".to_owned()),
                ("X-Crm-Source".to_owned(), "literal:brama".to_owned()),
            ]),
        )]),
        dangerous_send_unverified_email: false,
        strip: vec!["X-Legacy.User".into()],
        assertion_header: "X-Brama-Assertion".into(),
        assertion_life: std::time::Duration::from_secs(300),
    }
}

fn plan() -> HeaderPlan {
    HeaderPlan::build(&config(), true).unwrap()
}

fn origin() -> Origin {
    Origin {
        provider: ProviderName::new("google"),
        key: IdentityKey { issuer: Issuer::new("https://accounts.google.com"), subject: Subject::new("42") },
        at: Timestamp::from_secs(0),
        acr: None,
        amr: vec![],
        connection: None,
        sid: None,
    }
}

fn rendered(plan: &HeaderPlan, set: &str, profile: &Profile) -> BTreeMap<String, String> {
    let account = AccountId::parse("01890000-0000-7000-8000-000000000000").unwrap();
    let person = Person { account: &account, origin: &origin(), profile };
    let rendered = plan.render(person, plan.set(set).unwrap());
    rendered.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
}

#[test]
fn every_spelling_of_every_name_is_removed() {
    let plan = plan();
    for intruder in [
        "X-Forwarded-User",
        "x_forwarded_user",
        "X.Forwarded-User",
        "x-forwarded_user",
        "X~Forwarded!User",
        "X-Forwarded-Email",
        "X-Forwarded-Whatever",
        "X_Forwarded_For",
        "X-Forwarded",
        "Forwarded",
        "X-Real-IP",
        "X_Real.Ip",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Auth-Origin",
        "X-Auth-Request-User",
        "X_AUTH_REQUEST_ANYTHING",
        "Remote-User",
        "REMOTE_USER",
        "X-Brama-Assertion",
        "X-Brama-New",
        "X-Goog-IAP-JWT-Assertion",
        "X-Pomerium-Jwt-Assertion",
        "Cf-Access-Jwt-Assertion",
        "X-Crm-User",
        "X_CRM.TEAM",
        "X-Legacy-User",
        "x_legacy_user",
        "X-HTTP-Method-Override",
        "X-Forwarded-Access-Token",
        "x-forwarded-with-a-name-that-is-longer-than-any-name-we-would-ever-send-to-an-app",
    ] {
        let mut headers = HeaderMap::new();
        headers.append(HeaderName::try_from(intruder).unwrap(), HeaderValue::from_static("evil"));
        headers.append(HeaderName::try_from(intruder).unwrap(), HeaderValue::from_static("evil too"));
        headers.insert("accept", HeaderValue::from_static("*/*"));
        plan.strip(&mut headers);
        assert_eq!(headers.len(), 1, "{intruder} survived");
        assert!(plan.is_ours(&HeaderName::try_from(intruder).unwrap()), "{intruder} passes in trailers");
    }
}

#[test]
fn fields_that_are_not_ours_pass() {
    let plan = plan();
    for name in [
        "host",
        "accept",
        "cookie",
        "authorization",
        "user-agent",
        "content-type",
        "x-requested-with",
        "x-csrf-token",
        "x-request-id",
        "referer",
        "range",
        "x-forward",
        "x-crm",
        "x-crm-users",
        "remote",
        "via",
        "x",
        "traceparent",
    ] {
        assert!(!plan.is_ours(&HeaderName::from_static(name)), "{name}");
    }
}

#[test]
fn a_persons_default_headers() {
    let profile = Profile {
        email: Some("anna@example.com".into()),
        email_verified: true,
        preferred_username: Some("Анна 100%".into()),
        groups: vec!["a,b".into(), "dev".into()],
        ..Profile::default()
    };
    let found = rendered(&plan(), "default", &profile);
    let expected = [
        ("x-auth-origin", "google"),
        ("x-forwarded-email", "anna@example.com"),
        ("x-forwarded-groups", "a%2Cb,dev"),
        ("x-forwarded-preferred-username", "%D0%90%D0%BD%D0%BD%D0%B0 100%25"),
        ("x-forwarded-user", "01890000-0000-7000-8000-000000000000"),
    ];
    assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn an_unverified_address_is_not_sent() {
    let profile = Profile { email: Some("boss@example.com".into()), ..Profile::default() };
    assert!(!rendered(&plan(), "default", &profile).contains_key("x-forwarded-email"));
    let daring = HeaderPlan::build(&Headers { dangerous_send_unverified_email: true, ..config() }, false).unwrap();
    assert!(rendered(&daring, "default", &profile).contains_key("x-forwarded-email"));
}

#[test]
fn a_value_with_control_characters_is_not_sent() {
    for evil in ["a\r\nX-Forwarded-User: root", "a\0", "a\u{7f}", "a\u{85}b", "   "] {
        let profile =
            Profile { preferred_username: Some(evil.into()), groups: vec![evil.into()], ..Profile::default() };
        let found = rendered(&plan(), "default", &profile);
        assert!(!found.contains_key("x-forwarded-preferred-username"), "{evil:?}");
        assert!(!found.contains_key("x-forwarded-groups"), "{evil:?}");
    }
}

#[test]
fn an_own_set_is_filled_from_claims_and_literals() {
    let claims = BTreeMap::from([("team".to_owned(), serde_json::json!(["x", 7, true, null, {"a": 1}]))]);
    let found = rendered(&plan(), "crm", &Profile { claims, ..Profile::default() });
    assert_eq!(found.get("x-crm-team").map(String::as_str), Some("x,7,true"));
    assert_eq!(found.get("x-crm-source").map(String::as_str), Some("brama"));
    assert!(!found.contains_key("x-crm-user"), "no value, no header");
}

#[test]
fn sets_are_known_by_name_and_tokens_are_sensitive() {
    let plan = plan();
    assert_eq!(plan.names(plan.set("default").unwrap()).count(), 5);
    assert!(plan.set("nope").is_err());
    let token = Secret::new("t");
    assert!(plan.render_tokens(Some(&token), None).iter().all(|(_, value)| value.is_sensitive()));
}

#[test]
fn a_broken_own_set_is_not_built() {
    for (name, source) in [("X User", "email"), ("X-User", "nonsense"), ("Host", "email"), ("X-User", "literal:a\nb")] {
        let set = BTreeMap::from([("own".to_owned(), BTreeMap::from([(name.to_owned(), source.to_owned())]))]);
        assert!(HeaderPlan::build(&Headers { set, ..config() }, false).is_err(), "{name} = {source}");
    }
}

proptest! {
    #[test]
    fn no_alias_of_an_identity_header_survives(
        which in 0_usize..60, upper in proptest::collection::vec(any::<bool>(), 40), dashes in "[-_.~!*]{40}",
    ) {
        let plan = plan();
        let names: Vec<String> = plan.sets.iter().flat_map(|(_, lines)| lines).map(|(name, _)| name.to_string()).collect();
        let name = &names[which % names.len()];
        let alias: String = name.chars().zip(upper.iter().zip(dashes.chars())).map(|(char, (upper, dash))| match char {
            '-' => dash,
            char if *upper => char.to_ascii_uppercase(),
            char => char,
        }).collect();
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::try_from(&alias).unwrap(), HeaderValue::from_static("evil"));
        plan.strip(&mut headers);
        prop_assert!(headers.is_empty(), "{alias} survived");
    }

    #[test]
    fn every_value_is_one_field_that_decodes_to_what_it_was(name in "\\PC{0,20}", groups in proptest::collection::vec("\\PC{1,8}", 0..4)) {
        let profile = Profile { preferred_username: Some(name.clone()), groups: groups.clone(), ..Profile::default() };
        let found = rendered(&plan(), "default", &profile);
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
        if let Some(value) = found.get("x-forwarded-preferred-username") {
            prop_assert!(value.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
            prop_assert_eq!(decode(value), name);
        }
        let sent: Vec<String> = groups.into_iter().filter(|group| !group.trim_matches(' ').is_empty()).collect();
        let received: Vec<String> = found.get("x-forwarded-groups").map(|value| value.split(',').map(decode).collect()).unwrap_or_default();
        prop_assert_eq!(received, sent);
    }
}
