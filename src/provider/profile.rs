//! Claims and profile answers, brought into one [`Profile`].
//!
//! Tolerant where providers are careless and nothing hangs on it: booleans as text, numbers as text, missing members.
//! Never tolerant about addresses: whether one is verified is read from where the address itself was read, so that
//! one source's "verified" never vouches for another's address.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{ProviderError, preset::Preset};
use crate::{
    config::provider::Provider as Config,
    identity::{Origin, Profile, VerifiedIdentity, email_domain},
};

/// The most that is kept of claims we have no field for, in bytes of JSON.
const MAX_CLAIMS: usize = 16 * 1024;

/// Claims about the token rather than the person, and claims that have a field of their own.
const NOT_KEPT: &[&str] = &[
    "iss",
    "aud",
    "exp",
    "iat",
    "nbf",
    "jti",
    "nonce",
    "azp",
    "at_hash",
    "c_hash",
    "s_hash",
    "sub",
    "sid",
    "auth_time",
    "acr",
    "amr",
    "token_use",
    "origin_jti",
    "event_id",
    "session_state",
    "typ",
    "email",
    "email_verified",
    "name",
    "given_name",
    "family_name",
    "picture",
    "locale",
];

/// The members of an object.
pub(super) type Claims = Map<String, Value>;

/// An object, or a refusal that names what was read.
pub(super) fn object(body: &[u8], what: &str) -> Result<Claims, ProviderError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(ProviderError::Untrusted(format!("{what} is not a JSON object"))),
    }
}

/// An identifier, exactly as it is: text, or a whole number as text (ids may hold more than 53 bits).
pub(super) fn id(claims: &Claims, name: &str) -> Option<String> {
    match claims.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

/// A text, trimmed, or a whole number as text.
pub(super) fn text(claims: &Claims, name: &str) -> Option<String> {
    match claims.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        _ => None,
    }
}

/// A boolean, also as text in any case (Cognito's userinfo, Apple, brokers); anything else is false.
pub(super) fn boolean(claims: &Claims, name: &str) -> bool {
    match claims.get(name) {
        Some(Value::Bool(value)) => *value,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// A display text: without control characters, at most 256 characters.
pub(super) fn display(claims: &Claims, name: &str) -> Option<String> {
    let raw = match claims.get(name)? {
        Value::String(text) => text,
        _ => return None,
    };
    let clean: String = raw.chars().filter(|c| !c.is_control()).take(256).collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// A picture's address: http or https, nothing else.
pub(super) fn picture(raw: &str) -> Option<String> {
    let url = url::Url::parse(raw.trim()).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.as_str().len() <= 2048).then(|| url.into())
}

/// A BCP 47 tag; some providers write `uk_UA`.
fn locale(claims: &Claims) -> Option<String> {
    let tag = text(claims, "locale")?.replace('_', "-");
    let fine = tag.len() <= 35 && tag.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    fine.then_some(tag)
}

/// The list under `name`; the whole name is the claim's name, dots and slashes included. A single text is a list of one.
pub(super) fn groups(claims: &Claims, name: &str) -> Vec<String> {
    let one = |value: &Value| match value {
        Value::String(text) if !text.is_empty() && !text.chars().any(char::is_control) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let mut groups: Vec<String> = match claims.get(name) {
        Some(Value::Array(list)) => list.iter().filter_map(one).collect(),
        Some(value) => one(value).into_iter().collect(),
        None => Vec::new(),
    };
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The profile that claims in the names of OpenID Connect Core, 5.1 give: the first source wins, claim by claim.
pub(super) fn standard(sources: &[&Claims], preset: &Preset, config: &Config) -> Profile {
    let first = |read: &dyn Fn(&Claims) -> Option<String>| sources.iter().find_map(|claims| read(claims));
    let given_name = first(&|claims| display(claims, "given_name"));
    let family_name = first(&|claims| display(claims, "family_name"));
    let joined = match (&given_name, &family_name) {
        (Some(given), Some(family)) => Some(format!("{given} {family}")),
        (one, other) => one.clone().or_else(|| other.clone()),
    };
    let (email, email_verified) = address(sources);
    let groups_claim = config.groups_claim.as_deref().unwrap_or(preset.groups_claim);
    let holder = sources.iter().find(|claims| claims.contains_key(groups_claim));
    Profile {
        email,
        email_verified,
        name: first(&|claims| display(claims, "name")).or(joined),
        given_name,
        family_name,
        preferred_username: preset.username_claims.iter().find_map(|name| first(&|claims| display(claims, name))),
        picture: first(&|claims| text(claims, "picture").and_then(|raw| picture(&raw))),
        locale: first(&locale),
        groups: holder.map(|claims| groups(claims, groups_claim)).unwrap_or_default(),
        claims: others(sources, &[groups_claim]),
    }
}

/// The first source's address, and whether a source that gives this very address says that it is verified.
fn address(sources: &[&Claims]) -> (Option<String>, bool) {
    let Some(email) = sources.iter().find_map(|claims| text(claims, "email")) else {
        return (None, false);
    };
    let says = sources
        .iter()
        .find(|claims| claims.contains_key("email_verified") && text(claims, "email").as_deref() == Some(&email));
    let verified = says.is_some_and(|claims| boolean(claims, "email_verified"));
    (Some(email), verified)
}

/// Every claim without a field, the first source first, bounded: the largest are dropped until the rest fits.
pub(super) fn others(sources: &[&Claims], fields: &[&str]) -> BTreeMap<String, Value> {
    let mut kept = BTreeMap::new();
    for (name, value) in sources.iter().flat_map(|claims| claims.iter()) {
        if !NOT_KEPT.contains(&name.as_str()) && !fields.contains(&name.as_str()) && !value.is_null() {
            kept.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    let size = |name: &String, value: &Value| name.len() + value.to_string().len() + 4;
    let mut total: usize = kept.iter().map(|(name, value)| size(name, value)).sum();
    while total > MAX_CLAIMS {
        let Some((largest, bytes)) =
            kept.iter().map(|(name, value)| (name.clone(), size(name, value))).max_by_key(|(_, bytes)| *bytes)
        else {
            break;
        };
        tracing::warn!(claim = %super::outgoing::escaped(&largest), bytes, "a claim is too large to keep");
        kept.remove(&largest);
        total -= bytes;
    }
    kept
}

/// The profile as a login would have it: whatever [`VerifiedIdentity`] does not let in does not come in by renewal.
pub(super) fn renewed(origin: &Origin, profile: Profile) -> Result<Profile, ProviderError> {
    VerifiedIdentity::vouched(origin.clone(), profile)
        .map(|identity| identity.profile().clone())
        .map_err(|error| ProviderError::Untrusted(error.to_string()))
}

/// The last touch for all kinds: an address outside the domains this provider is authoritative for is not verified.
pub(super) fn bounded_by_domains(mut profile: Profile, config: &Config) -> Profile {
    if !config.email_domains.is_empty() {
        let domain = profile.email.as_deref().and_then(email_domain);
        let ours = |listed: &String| match url::Host::parse(listed.trim_start_matches('@')) {
            Ok(url::Host::Domain(listed)) => domain.as_deref() == Some(listed.as_str()),
            _ => false,
        };
        profile.email_verified &= config.email_domains.iter().any(ours);
    }
    profile
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::provider::Kind;

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn read(sources: &[&Claims]) -> Profile {
        let config = crate::provider::tests::config(Kind::Oidc, "http://127.0.0.1:1");
        standard(sources, Preset::of(Kind::Oidc), &config)
    }

    #[test]
    fn careless_types_are_read() {
        let from = claims(json!({
            "n": 9_007_199_254_740_993_u64, "s": " 12 ", "f": 1.5, "yes": "TRUE", "no": "1", "t": true, "z": null
        }));
        assert_eq!(text(&from, "n").as_deref(), Some("9007199254740993"));
        assert_eq!(text(&from, "s").as_deref(), Some("12"));
        assert_eq!(text(&from, "f"), None);
        assert!(boolean(&from, "yes") && boolean(&from, "t"));
        assert!(!boolean(&from, "no") && !boolean(&from, "z") && !boolean(&from, "absent"));
    }

    #[test]
    fn one_sources_verified_never_vouches_for_anothers_address() {
        let id = claims(json!({"email": "victim@example.com"}));
        let info = claims(json!({"email": "attacker@example.net", "email_verified": true}));
        let profile = read(&[&id, &info]);
        assert_eq!((profile.email.as_deref(), profile.email_verified), (Some("victim@example.com"), false));
        let same = claims(json!({"email": "victim@example.com", "email_verified": "true"}));
        assert!(read(&[&id, &same]).email_verified);
        let denied = claims(json!({"email": "victim@example.com", "email_verified": false}));
        assert!(!read(&[&denied, &same]).email_verified, "the first to speak of it decides");
    }

    #[test]
    fn standard_claims_find_their_fields() {
        let id = claims(json!({
            "sub": "1", "given_name": "Lesia", "family_name": "Ukrainka", "locale": "uk_UA", "nickname": "lesia",
            "picture": "javascript:alert(1)", "groups": ["b", "a", "b", 7, {}], "department": "poetry", "nonce": "x",
        }));
        let profile = read(&[&id]);
        assert_eq!(profile.name.as_deref(), Some("Lesia Ukrainka"));
        assert_eq!(profile.locale.as_deref(), Some("uk-UA"));
        assert_eq!(profile.preferred_username.as_deref(), Some("lesia"));
        assert_eq!(profile.picture, None);
        assert_eq!(profile.groups, ["7", "a", "b"]);
        assert_eq!(profile.claims.get("department"), Some(&json!("poetry")));
        assert!(!profile.claims.contains_key("nonce") && !profile.claims.contains_key("groups"));
    }

    #[test]
    fn claims_are_bounded_and_the_largest_goes_first() {
        let from = claims(json!({"huge": "x".repeat(20_000), "small": 1}));
        let kept = others(&[&from], &[]);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["small"]);
    }

    #[test]
    fn addresses_outside_the_listed_domains_are_not_verified() {
        let mut config = crate::provider::tests::config(Kind::Oidc, "http://127.0.0.1:1");
        config.email_domains = vec!["Example.com".into()];
        let with = |email: &str| {
            let profile = Profile { email: Some(email.into()), email_verified: true, ..Profile::default() };
            bounded_by_domains(profile, &config).email_verified
        };
        assert!(with("a@EXAMPLE.com"));
        assert!(!with("a@notexample.com") && !with("a@evil.example.com") && !with("a@evil.test@example.com"));
    }
}
