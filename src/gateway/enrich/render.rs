//! How an identity becomes a field value.

use std::borrow::Cow;

use http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::Person;
use crate::{config::headers::Source, identity::email_domain, policy::claim};

/// `%` must be escaped for decoding to give the value back; everything above ASCII always is.
const IN_VALUE: &AsciiSet = &CONTROLS.add(b'%');
const IN_ELEMENT: &AsciiSet = &IN_VALUE.add(b',');

/// The value of a source for a person; `None` when there is none, or none that can be sent.
pub(super) fn value(source: &Source, person: Person<'_>, unverified_email: bool) -> Option<HeaderValue> {
    let Person { account, origin, profile } = person;
    let email = profile.email.as_deref().filter(|_| profile.email_verified || unverified_email);
    match source {
        Source::Account => text(&account.to_string()),
        Source::Email => text(email?),
        Source::EmailDomain => text(&email_domain(email?)?),
        Source::Name => text(profile.name.as_deref()?),
        Source::GivenName => text(profile.given_name.as_deref()?),
        Source::FamilyName => text(profile.family_name.as_deref()?),
        Source::PreferredUsername => text(profile.preferred_username.as_deref()?),
        Source::Groups => list(profile.groups.iter().map(|group| Cow::Borrowed(group.as_str()))),
        Source::Picture => text(profile.picture.as_deref()?),
        Source::Locale => text(profile.locale.as_deref()?),
        Source::Provider => text(origin.provider.as_str()),
        Source::Issuer => text(origin.key.issuer.as_str()),
        Source::Subject => text(origin.key.subject.as_str()),
        Source::Connection => text(origin.connection.as_deref()?),
        Source::Acr => text(origin.acr.as_deref()?),
        Source::Amr => list(origin.amr.iter().map(|method| Cow::Borrowed(method.as_str()))),
        Source::Claim(name) => of_claim(claim(profile, name)?),
        Source::Literal(literal) => HeaderValue::from_str(literal).ok(),
    }
}

fn of_claim(claim: &Value) -> Option<HeaderValue> {
    match claim {
        Value::Array(elements) => list(elements.iter().filter_map(scalar)),
        other => text(&scalar(other)?),
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(text: &str) -> Option<HeaderValue> {
    field(encode(text, IN_VALUE)?)
}

/// Elements that hold control characters fall out; empty ones would not survive splitting and do, too.
fn list<'a>(elements: impl Iterator<Item = Cow<'a, str>>) -> Option<HeaderValue> {
    let encoded: Vec<String> =
        elements.filter_map(|element| encode(&element, IN_ELEMENT)).filter(|element| !element.is_empty()).collect();
    field(encoded.join(","))
}

fn field(value: String) -> Option<HeaderValue> {
    (!value.is_empty()).then_some(value).and_then(|value| HeaderValue::try_from(value).ok())
}

fn encode(text: &str, set: &'static AsciiSet) -> Option<String> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let inner = text.trim_matches(' ');
    if inner.is_empty() {
        return None;
    }
    let start = text.len() - text.trim_start_matches(' ').len();
    let end = text.len() - start - inner.len();
    Some(format!("{}{}{}", "%20".repeat(start), utf8_percent_encode(inner, set), "%20".repeat(end)))
}
