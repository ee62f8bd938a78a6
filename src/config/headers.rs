//! `[headers]`: how the apps are told who calls.

use std::{collections::BTreeMap, time::Duration};

use super::problem::Problems;
use super::value::{At, Check, section};

section! {
    /// Identity headers. Every spelling of every name that can be sent is removed from what clients send, on every route.
    /// Built-in sets: "default", "oauth2-proxy", "x-auth-request", "remote-user" and "none".
    pub struct Headers {
        /// Own sets: [headers.set.NAME] with lines "Header-Name" = "source". A source is account, email, email_domain,
        /// name, given_name, family_name, preferred_username, groups, picture, locale, provider, issuer, subject,
        /// connection, acr, amr, "claim:NAME" (the whole name, or a JSON pointer such as "claim:/address/country") or
        /// "literal:TEXT".
        set: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new(),
        /// Send an e-mail address the provider has not verified. Apps that decide by the address are then open to whoever claims it.
        dangerous_send_unverified_email: bool = false,
        /// Further header names to remove from what clients send, in every spelling.
        strip: Vec<String> = vec![],
        /// Header that carries the signed assertion on routes with assertion = true. Apps with built-in support know it as X-Goog-IAP-JWT-Assertion, X-Pomerium-Jwt-Assertion or Cf-Access-Jwt-Assertion.
        assertion_header: String = "X-Brama-Assertion".into(),
        /// How long a signed assertion is valid; a new one is made a minute before.
        assertion_life: Duration = Duration::from_secs(300),
    }
}

impl Check for Headers {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if http::HeaderName::try_from(&self.assertion_header).is_err() {
            at.problem_at(
                "assertion_header",
                problems,
                format!("\"{}\" is not a header name", self.assertion_header.escape_debug()),
                "write a name such as \"X-Brama-Assertion\"",
            );
        }
        if self.assertion_life < Duration::from_secs(120) || self.assertion_life > Duration::from_secs(3600) {
            at.problem_at(
                "assertion_life",
                problems,
                "it must lie between 2 minutes and 1 hour",
                "write \"5m\": one that is renewed a minute early and cannot be revoked should be neither shorter nor much longer",
            );
        }
        for problem in own_set_problems(self) {
            at.problem_at("set", problems, problem, "see the list of sources at [headers.set.NAME]");
        }
    }
}

/// Where the value of an identity header comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The account id.
    Account,
    /// The verified address.
    Email,
    /// The domain of the verified address.
    EmailDomain,
    /// Display name.
    Name,
    /// Given name.
    GivenName,
    /// Family name.
    FamilyName,
    /// A name for display such as a login.
    PreferredUsername,
    /// Groups, a list.
    Groups,
    /// Address of a picture.
    Picture,
    /// Language tag.
    Locale,
    /// The configured provider's name: the origin.
    Provider,
    /// Issuer of the origin.
    Issuer,
    /// Subject of the origin.
    Subject,
    /// The identity provider behind a broker.
    Connection,
    /// Authentication context class.
    Acr,
    /// Authentication methods, a list.
    Amr,
    /// A claim by its whole name, or by JSON pointer when it begins with a slash.
    Claim(String),
    /// The same text for everybody.
    Literal(String),
}

impl Source {
    /// Reads a source as the file spells it.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("claim:") {
            return (!name.is_empty()).then(|| Self::Claim(name.to_owned()));
        }
        if let Some(text) = text.strip_prefix("literal:") {
            return (!text.chars().any(char::is_control)).then(|| Self::Literal(text.to_owned()));
        }
        Some(match text {
            "account" => Self::Account,
            "email" => Self::Email,
            "email_domain" => Self::EmailDomain,
            "name" => Self::Name,
            "given_name" => Self::GivenName,
            "family_name" => Self::FamilyName,
            "preferred_username" => Self::PreferredUsername,
            "groups" => Self::Groups,
            "picture" => Self::Picture,
            "locale" => Self::Locale,
            "provider" => Self::Provider,
            "issuer" => Self::Issuer,
            "subject" => Self::Subject,
            "connection" => Self::Connection,
            "acr" => Self::Acr,
            "amr" => Self::Amr,
            _ => return None,
        })
    }
}

/// Names of the built-in sets, which own ones cannot take.
pub const BUILT_IN_SETS: [&str; 5] = ["default", "oauth2-proxy", "x-auth-request", "remote-user", "none"];

/// Fields that an identity header must never be named after: framing, routing, hop-by-hop and what we set ourselves.
const RESERVED: [&str; 17] = [
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-access-token",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-id-token",
    "x-forwarded-port",
    "x-forwarded-proto",
];

fn own_set_problems(headers: &Headers) -> Vec<String> {
    let mut found = Vec::new();
    let fold = |name: &str| name.to_ascii_lowercase().replace(['_', '.'], "-");
    let assertion = fold(&headers.assertion_header);
    for (set, lines) in &headers.set {
        if BUILT_IN_SETS.contains(&set.as_str()) {
            found.push(format!("\"{set}\" is a built-in set; choose another name"));
        }
        let mut seen = std::collections::BTreeSet::new();
        for (name, source) in lines {
            let folded = fold(name);
            if folded == assertion {
                found.push(format!("{set}: \"{}\" is where assertions are sent", name.escape_debug()));
            }
            if !seen.insert(folded.clone()) {
                found.push(format!("{set}: \"{}\" and another name are one header to many apps", name.escape_debug()));
            }
            if http::HeaderName::try_from(name).is_err() || RESERVED.contains(&folded.as_str()) {
                found.push(format!("{set}: \"{}\" cannot be the name of an identity header", name.escape_debug()));
            }
            if Source::parse(source).is_none() {
                found.push(format!("{set}.{name}: \"{}\" is not a source", source.escape_debug()));
            }
        }
    }
    for name in &headers.strip {
        let folded = fold(name);
        if http::HeaderName::try_from(name).is_err() || RESERVED.contains(&folded.as_str()) {
            found.push(format!("strip: \"{}\" cannot be removed", name.escape_debug()));
        }
    }
    found
}
