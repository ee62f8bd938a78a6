//! Enrich: the identity headers, and nothing a client wrote in their place.
//!
//! A [`HeaderPlan`] is made once at start. It knows every name we can ever send: all built-in sets whether in use or
//! not, all own sets, the assertion's header under every well-known name, and the whole forwarding family of `peer`.
//! [`HeaderPlan::strip`] removes all of these from every request, on every route, in every spelling that some server
//! reads as the same: letter case, and all that is no letter or digit as one symbol, because CGI, WSGI and PHP merge
//! them (threat model, 1.1). It is one pass without allocation.
//!
//! The values for a session are made once ([`HeaderPlan::render`]) and go out with each of its requests as ready lines
//! ([`Lines`](crate::message::Lines)).
//!
//! # How values are written
//!
//! * Each header is one field, sent at most once; without a value it is not sent.
//! * A value that holds a control character is not sent at all.
//! * Non-ASCII characters and `%` are percent-encoded as UTF-8 (RFC 3986, 2.1): percent-decoding gives the value back.
//!   Leading and trailing spaces are percent-encoded too, because parsers drop them.
//! * Lists are joined with `,`; a `,` inside an element is percent-encoded, so splitting first and decoding then is
//!   always right.
//! * An e-mail address is sent only when the provider verified it, unless the configuration dangerously says otherwise.
//!
//! To add a source: a variant of `config::headers::Source` with its word, and its arm in `render`.

mod names;
mod render;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    config::headers::{Headers, Source},
    identity::{AccountId, Origin, Profile},
    policy::Facts,
    secret::Secret,
};
use names::Names;

/// Which set of headers a route sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetId(u16);

/// There is no such set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no set of identity headers named \"{0}\"")]
pub struct UnknownSet(pub String);

/// A name or source of an own set is broken; the configuration's own checks find this first, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[headers.set.{set}]: {line:?} is not a header with a source")]
pub struct BadSet {
    set: String,
    line: String,
}

/// Values ready to be put on requests.
pub type Rendered = Box<[(HeaderName, HeaderValue)]>;

/// Whom the values are of.
#[derive(Debug, Clone, Copy)]
pub struct Person<'a> {
    /// Their account.
    pub account: &'a AccountId,
    /// How they came.
    pub origin: &'a Origin,
    /// What the provider told.
    pub profile: &'a Profile,
}

impl<'a> From<&'a crate::session::Session> for Person<'a> {
    fn from(session: &'a crate::session::Session) -> Self {
        Self { account: &session.account, origin: &session.origin, profile: &session.profile }
    }
}

/// The headers of a set and where their values come from.
type Lines = Box<[(HeaderName, Source)]>;

impl<'a> Person<'a> {
    /// What policy looks at.
    pub fn facts(self) -> Facts<'a> {
        Facts { origin: self.origin, profile: self.profile }
    }
}

/// Every identity header there can be, and how each set is filled.
#[derive(Debug)]
pub struct HeaderPlan {
    sets: Vec<(Box<str>, Lines)>,
    ours: Names,
    assertion: HeaderName,
    unverified_email: bool,
}

/// The provider's access token, on routes that pass it.
pub const X_FORWARDED_ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-forwarded-access-token");
/// The provider's ID token, on routes that pass it.
pub const X_FORWARDED_ID_TOKEN: HeaderName = HeaderName::from_static("x-forwarded-id-token");

/// The built-in sets. The account id is what apps should key by: it never changes, whatever provider a person uses.
const BUILT_IN: [(&str, &[(&str, Source)]); 5] = [
    (
        "default",
        &[
            ("x-forwarded-user", Source::Account),
            ("x-forwarded-email", Source::Email),
            ("x-forwarded-preferred-username", Source::PreferredUsername),
            ("x-forwarded-groups", Source::Groups),
            ("x-auth-origin", Source::Provider),
        ],
    ),
    (
        "oauth2-proxy",
        &[
            ("x-forwarded-user", Source::Subject),
            ("x-forwarded-email", Source::Email),
            ("x-forwarded-preferred-username", Source::PreferredUsername),
            ("x-forwarded-groups", Source::Groups),
        ],
    ),
    (
        "x-auth-request",
        &[
            ("x-auth-request-user", Source::Account),
            ("x-auth-request-email", Source::Email),
            ("x-auth-request-preferred-username", Source::PreferredUsername),
            ("x-auth-request-groups", Source::Groups),
        ],
    ),
    (
        "remote-user",
        &[
            ("remote-user", Source::Account),
            ("remote-email", Source::Email),
            ("remote-name", Source::Name),
            ("remote-groups", Source::Groups),
        ],
    ),
    ("none", &[]),
];

/// Names under which well-known products send what we send; removed whether we do or not.
const WELL_KNOWN: [&str; 10] = [
    "x-brama-assertion",
    "x-goog-iap-jwt-assertion",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "x-pomerium-jwt-assertion",
    "cf-access-jwt-assertion",
    "cf-access-authenticated-user-email",
    "x-authenticated-user",
    "x-remote-user",
    "x-webauth-user",
];

/// Prefixes that are ours as a whole.
const OUR_PREFIXES: [&str; 3] = ["x-brama-", "x-auth-request-", "x-pomerium-claim-"];

/// Fields that make an app act on another method than the one policy saw; removed where policy looks at methods
/// (threat model, 2.6).
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

impl HeaderPlan {
    /// Makes the plan. `methods_matter`: some route or rule names methods, so fields that override them go as well.
    ///
    /// # Errors
    /// [`BadSet`] when an own set has a line that is none.
    pub fn build(config: &Headers, methods_matter: bool) -> Result<Self, BadSet> {
        let built_in = BUILT_IN.iter().map(|(name, lines)| {
            let lines = lines.iter().map(|(header, source)| (HeaderName::from_static(header), source.clone()));
            Ok(((*name).into(), lines.collect()))
        });
        let own = config.set.iter().map(|(name, lines)| {
            let lines = lines.iter().map(|(header, source)| own_line(name, header, source));
            Ok((name.as_str().into(), lines.collect::<Result<_, _>>()?))
        });
        let sets = built_in.chain(own).collect::<Result<Vec<(Box<str>, Lines)>, _>>()?;
        let assertion = HeaderName::try_from(&config.assertion_header)
            .map_err(|_| BadSet { set: "assertion_header".into(), line: config.assertion_header.clone() })?;

        let mut ours = Names::default();
        WELL_KNOWN.iter().chain(&super::peer::FAMILY).for_each(|name| ours.add(name));
        OUR_PREFIXES.iter().chain(&super::peer::FAMILY_PREFIXES).for_each(|prefix| ours.add_prefix(prefix));
        METHOD_OVERRIDES.iter().filter(|_| methods_matter).for_each(|name| ours.add(name));
        sets.iter().flat_map(|(_, lines)| lines).for_each(|(name, _)| ours.add(name.as_str()));
        config.strip.iter().for_each(|name| ours.add(name));
        ours.add(assertion.as_str());
        Ok(Self { sets, ours, assertion, unverified_email: config.dangerous_send_unverified_email })
    }

    /// The set of this name.
    ///
    /// # Errors
    /// [`UnknownSet`] when there is none.
    pub fn set(&self, name: &str) -> Result<SetId, UnknownSet> {
        let index = self.sets.iter().position(|(set, _)| **set == *name);
        index.and_then(|index| u16::try_from(index).ok()).map(SetId).ok_or_else(|| UnknownSet(name.to_owned()))
    }

    /// The names a set is responsible for. Forward auth answers with all of them, empty ones included, so that the
    /// proxy in front overwrites what the client sent (threat model, 2.7).
    pub fn names(&self, set: SetId) -> impl Iterator<Item = &HeaderName> {
        self.lines(set).iter().map(|(name, _)| name)
    }

    fn lines(&self, set: SetId) -> &[(HeaderName, Source)] {
        self.sets.get(usize::from(set.0)).map(|(_, lines)| &**lines).unwrap_or_default()
    }

    /// The header that carries the signed assertion.
    pub fn assertion_header(&self) -> &HeaderName {
        &self.assertion
    }

    /// True for every name we may send or that another server could take for one: it passes neither in a request nor
    /// in its trailers.
    pub fn is_ours(&self, name: &HeaderName) -> bool {
        self.ours.has(name)
    }

    /// Removes every such field. Call it first on every request, whatever the route; `peer` reads what a
    /// trusted proxy told before, and its own is written after.
    pub fn strip(&self, headers: &mut HeaderMap) {
        let mut found: Vec<HeaderName> = Vec::new(); // does not allocate until an intruder is found
        for name in headers.keys() {
            if self.ours.has(name) {
                found.push(name.clone());
            }
        }
        for name in found {
            headers.remove(name);
        }
    }

    /// The values of a person for a set; once a session.
    pub fn render(&self, person: Person<'_>, set: SetId) -> Rendered {
        let value = |source| render::value(source, person, self.unverified_email);
        self.lines(set).iter().filter_map(|(name, source)| Some((name.clone(), value(source)?))).collect()
    }

    /// The provider's tokens for a route that passes them; once a session and renewal.
    pub fn render_tokens(&self, access_token: Option<&Secret>, id_token: Option<&Secret>) -> Rendered {
        let field = |name: HeaderName, token: Option<&Secret>| {
            let mut value = HeaderValue::from_str(token?.expose()).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        };
        [field(X_FORWARDED_ACCESS_TOKEN, access_token), field(X_FORWARDED_ID_TOKEN, id_token)]
            .into_iter()
            .flatten()
            .collect()
    }
}

fn own_line(set: &str, header: &str, source: &str) -> Result<(HeaderName, Source), BadSet> {
    let bad = || BadSet { set: set.to_owned(), line: format!("{header} = {source}") };
    let name = HeaderName::try_from(header).map_err(|_| bad())?;
    // Framing and Host can never be an identity's.
    if matches!(name, header::HOST | header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION) {
        return Err(bad());
    }
    Ok((name, Source::parse(source).ok_or_else(bad)?))
}

#[cfg(test)]
mod tests;
