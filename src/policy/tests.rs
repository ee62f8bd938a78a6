//! The table of decisions, and the property that a deny only ever takes away.

use proptest::prelude::*;

use super::*;
use crate::{
    clock::Timestamp,
    config::route::{Claim, Intercept},
    identity::{IdentityKey, Issuer, ProviderName, Subject},
};

fn rule() -> Rule {
    Rule { provider: None, email: None, email_domain: None, group: None, claim: None, methods: vec![] }
}

fn route(auth: Auth, allow: Vec<Rule>, deny: Vec<Rule>) -> Route {
    Route {
        host: None,
        path: None,
        path_exact: None,
        path_regex: None,
        methods: vec![],
        upstream: "app".into(),
        auth,
        allow,
        deny,
        strip_prefix: false,
        rewrite: None,
        intercept: Intercept::Auto,
        cors_preflight: false,
        first_byte_timeout: None,
        idle_timeout: None,
        max_body: 0,
        allow_encoded_slash: false,
        allow_trailers: vec![],
        pass_access_token: false,
        pass_id_token: false,
        assertion: false,
        assertion_audience: None,
        headers: "default".into(),
        websocket_origins: vec![],
    }
}

fn origin(provider: &str) -> Origin {
    Origin {
        provider: ProviderName::new(provider),
        key: IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new("1") },
        at: Timestamp::from_secs(0),
        acr: None,
        amr: vec![],
        connection: None,
        sid: None,
    }
}

fn profile(email: &str, verified: bool) -> Profile {
    Profile {
        email: Some(email.into()),
        email_verified: verified,
        groups: vec!["dev".into(), "ops".into()],
        claims: BTreeMap::from([
            ("department".to_owned(), serde_json::json!("sales")),
            ("https://x.test/roles".to_owned(), serde_json::json!(["admin", "user"])),
            ("address".to_owned(), serde_json::json!({"country": "UA"})),
        ]),
        ..Profile::default()
    }
}

fn decide(route: &Route, origin: &Origin, profile: &Profile, authorities: &Authorities) -> Result<bool, Denial> {
    Policy::compile(route, authorities)
        .unwrap()
        .decide(Some(Facts { origin, profile }), Ask::with(&Method::GET))
        .map(|permit| permit.is_personal())
}

fn allowed(rule: Rule, origin: &Origin, profile: &Profile) -> bool {
    decide(&route(Auth::Required, vec![rule], vec![]), origin, profile, &Authorities::new()).is_ok()
}

fn denied(rule: Rule, origin: &Origin, profile: &Profile) -> bool {
    decide(&route(Auth::Required, vec![], vec![rule]), origin, profile, &Authorities::new()) == Err(Denial::Denied)
}

#[test]
fn nobody_passes_a_protected_route_and_anybody_a_public_one() {
    for (auth, nobody, somebody) in [
        (Auth::Required, Err(Denial::NotSignedIn), Ok(true)),
        (Auth::Optional, Ok(false), Ok(true)),
        (Auth::None, Ok(false), Ok(false)),
    ] {
        let route = route(auth, vec![], vec![]);
        let policy = Policy::compile(&route, &Authorities::new()).unwrap();
        let decided = policy.decide(None, Ask::with(&Method::GET)).map(|permit| permit.is_personal());
        assert_eq!(decided, nobody, "{auth:?}");
        assert_eq!(decide(&route, &origin("google"), &profile("a@b.test", true), &Authorities::new()), somebody);
    }
}

#[test]
fn a_preflight_passes_only_where_the_route_says_so_and_never_as_a_person() {
    let ask = Ask { method: &Method::OPTIONS, preflight: true };
    let mut route = route(Auth::Required, vec![], vec![]);
    let closed = Policy::compile(&route, &Authorities::new()).unwrap();
    assert_eq!(closed.decide(None, ask), Err(Denial::NotSignedIn));
    route.cors_preflight = true;
    let open = Policy::compile(&route, &Authorities::new()).unwrap();
    let (origin, profile) = (origin("google"), profile("a@b.test", true));
    assert!(!open.decide(None, ask).unwrap().is_personal());
    assert!(!open.decide(Some(Facts { origin: &origin, profile: &profile }), ask).unwrap().is_personal());
    assert_eq!(open.decide(None, Ask::with(&Method::OPTIONS)), Err(Denial::NotSignedIn));
}

#[test]
fn email_rules_read_one_verified_address() {
    let google = origin("google");
    let in_domain = || Rule { email_domain: Some("Example.com".into()), ..rule() };
    let is_anna = || Rule { email: Some("Anna@example.com".into()), ..rule() };
    for (attack, email, verified, by_domain, by_address) in [
        ("the real one", "anna@example.com", true, true, true),
        ("another spelling", "ANNA@EXAMPLE.COM", true, true, true),
        ("trailing dot", "anna@example.com.", true, true, true),
        ("unverified", "anna@example.com", false, false, false),
        ("two ats", "anna@evil.test@example.com", true, false, false),
        ("two ats, turned", "anna@example.com@evil.test", true, false, false),
        ("subdomain", "anna@sub.example.com", true, false, false),
        ("suffix", "anna@badexample.com", true, false, false),
        ("prefix", "anna@example.com.evil.test", true, false, false),
        ("no local part", "@example.com", true, false, false),
        ("somebody else", "bob@example.com", true, true, false),
        ("look-alike domain", "anna@exаmple.com", true, false, false),
    ] {
        let profile = profile(email, verified);
        assert_eq!(allowed(in_domain(), &google, &profile), by_domain, "{attack} by domain");
        assert_eq!(allowed(is_anna(), &google, &profile), by_address, "{attack} by address");
    }
}

#[test]
fn an_idn_domain_is_compared_after_idna() {
    let rule = || Rule { email_domain: Some("bücher.example".into()), ..rule() };
    for email in ["a@bücher.example", "a@BÜCHER.example", "a@xn--bcher-kva.example"] {
        assert!(allowed(rule(), &origin("google"), &profile(email, true)), "{email}");
    }
}

#[test]
fn a_deny_rule_takes_unverified_addresses_too() {
    let rule = || Rule { email_domain: Some("evil.test".into()), ..rule() };
    assert!(denied(rule(), &origin("google"), &profile("a@evil.test", false)));
    assert!(denied(rule(), &origin("google"), &profile("a@EVIL.test.", false)));
    assert!(!denied(rule(), &origin("google"), &profile("a@good.test", false)));
}

#[test]
fn an_address_counts_only_from_a_provider_authoritative_for_its_domain() {
    let authorities = Authorities::from([("staff".to_owned(), vec!["Example.com".to_owned()])]);
    let route_for =
        |domain: &str| route(Auth::Required, vec![Rule { email_domain: Some(domain.into()), ..rule() }], vec![]);
    for (provider, domain, passes) in
        [("staff", "example.com", true), ("staff", "partner.test", false), ("google", "partner.test", true)]
    {
        let profile = profile(&format!("a@{domain}"), true);
        let decided = decide(&route_for(domain), &origin(provider), &profile, &authorities);
        assert_eq!(decided.is_ok(), passes, "{provider} {domain}");
    }
}

#[test]
fn a_rule_that_names_a_provider_is_bound_to_it() {
    let rule = || Rule { provider: Some("staff".into()), group: Some("ops".into()), ..rule() };
    assert!(allowed(rule(), &origin("staff"), &profile("a@b.test", true)));
    assert!(!allowed(rule(), &origin("social"), &profile("a@b.test", true)));
}

#[test]
fn claims_groups_and_methods_match_exactly() {
    let google = origin("google");
    let profile = profile("a@b.test", true);
    for (name, value, passes) in [
        ("department", "sales", true),
        ("department", "Sales", false),
        ("department", "sale", false),
        ("https://x.test/roles", "admin", true),
        ("https://x.test/roles", "adm", false),
        ("/address/country", "UA", true),
        ("/address", "UA", false),
        ("absent", "", false),
    ] {
        let claim = Some(Claim { name: name.into(), value: value.into() });
        assert_eq!(allowed(Rule { claim, ..rule() }, &google, &profile), passes, "{name} = {value}");
    }
    assert!(allowed(Rule { group: Some("ops".into()), ..rule() }, &google, &profile));
    assert!(!allowed(Rule { group: Some("op".into()), ..rule() }, &google, &profile));
    assert!(allowed(Rule { methods: vec!["GET".into()], ..rule() }, &google, &profile));
    assert!(!allowed(Rule { methods: vec!["get".into()], ..rule() }, &google, &profile));
}

#[test]
fn a_rule_without_a_condition_or_with_a_broken_one_is_not_compiled() {
    for broken in
        [rule(), Rule { email: Some("nobody".into()), ..rule() }, Rule { email_domain: Some("@x".into()), ..rule() }]
    {
        assert!(Policy::compile(&route(Auth::Required, vec![broken], vec![]), &Authorities::new()).is_err());
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let some =
        |words: &'static [&'static str]| proptest::option::of(proptest::sample::select(words).prop_map(String::from));
    (some(&["google", "staff"]), some(&["a@b.test", "c@d.test"]), some(&["b.test", "d.test"]), some(&["dev", "none"]))
        .prop_map(|(provider, email, email_domain, group)| Rule { provider, email, email_domain, group, ..rule() })
        .prop_filter("a rule has a condition", |rule| {
            rule.provider.is_some() || rule.email.is_some() || rule.email_domain.is_some() || rule.group.is_some()
        })
}

proptest! {
    #[test]
    fn adding_a_deny_never_allows(
        auth in proptest::sample::select(vec![Auth::Required, Auth::Optional]),
        allow in proptest::collection::vec(any_rule(), 0..3),
        deny in proptest::collection::vec(any_rule(), 0..3),
        more in any_rule(),
        email in proptest::sample::select(vec!["a@b.test", "c@d.test", "x@y.test"]),
        verified: bool,
    ) {
        let (origin, profile) = (origin("google"), profile(email, verified));
        let before = decide(&route(auth, allow.clone(), deny.clone()), &origin, &profile, &Authorities::new());
        let with_more = deny.into_iter().chain([more]).collect();
        let after = decide(&route(auth, allow, with_more), &origin, &profile, &Authorities::new());
        prop_assert!(before.is_ok() || after.is_err(), "{before:?} became {after:?}");
    }
}
