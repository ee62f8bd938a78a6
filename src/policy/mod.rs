//! Policy: who may pass.
//!
//! A [`Policy`] is a route's `auth`, `allow` and `deny`, compiled once at start. [`Policy::decide`] looks at who asks
//! ([`Facts`], or nobody) and how, and gives a [`Permit`] or a [`Denial`]. Nothing else can make a permit, and nothing
//! forwards without one.
//!
//! What others may rely on: it is pure and allocates nothing; deny wins; adding a deny never lets anybody pass (a
//! property below holds that); e-mail conditions of allow rules hold only for verified addresses, read as one address
//! with one `@`, at providers that are authoritative for their domain where the operator said so; a rule that names a
//! provider speaks only of people who came by it.
//!
//! Deliberately absent: headers, cookies, addresses, user agents (threat model, 1.7). To add a condition: a key in
//! `config::route::Rule`, a variant of [`Condition`](matcher), its arm in `holds`. What a proxy that asks adds by query
//! parameters is [`narrow`].

mod matcher;
pub mod narrow;

pub(crate) use matcher::claim;

use std::collections::BTreeMap;

use http::Method;

use crate::{
    config::route::{Auth, Route, Rule},
    identity::{Origin, Profile},
};
use matcher::Compiled;

/// Who asks, as policy sees them: borrowed from the session.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// How they came.
    pub origin: &'a Origin,
    /// What the provider told.
    pub profile: &'a Profile,
}

/// How they ask.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The request's own method: override fields have no say (threat model, 2.6).
    pub method: &'a Method,
    /// Whether it is a CORS preflight; see `gateway::intercept::is_preflight`.
    pub preflight: bool,
}

impl<'a> Ask<'a> {
    /// An ordinary request.
    pub fn with(method: &'a Method) -> Self {
        Self { method, preflight: false }
    }
}

/// Proof that policy let a request pass. Only [`Policy::decide`] makes one; forwarding takes one.
///
/// ```compile_fail,E0423
/// let forged = brama::policy::Permit(true);
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit is there to be forwarded with"]
pub struct Permit(Grant);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    Person,
    Public,
}

impl Permit {
    /// For tests of what takes one; there is no such thing in the product.
    #[cfg(test)]
    #[allow(dead_code, reason = "used by the tests of whatever forwards")]
    pub(crate) fn for_test() -> Self {
        Self(Grant::Person)
    }

    /// True when it passes as the signed-in person: their identity headers belong on it. Otherwise it is public or a
    /// preflight, and none do.
    pub fn is_personal(&self) -> bool {
        self.0 == Grant::Person
    }
}

/// Why a request may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// Nobody is signed in: signing in may help.
    #[error("nobody is signed in")]
    NotSignedIn,
    /// A deny rule names this person.
    #[error("a deny rule matches")]
    Denied,
    /// No allow rule names this person.
    #[error("no allow rule matches")]
    NotAllowed,
}

impl Denial {
    /// A short, stable word for metrics, logs and events.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotSignedIn => "not_signed_in",
            Self::Denied => "denied",
            Self::NotAllowed => "not_allowed",
        }
    }
}

/// For which e-mail domains each provider is authoritative; a provider that is absent or has none: for any.
pub type Authorities = BTreeMap<String, Vec<String>>;

/// A route's policy, compiled.
#[derive(Debug)]
pub struct Policy {
    auth: Auth,
    preflight: bool,
    allow: Box<[Compiled]>,
    deny: Box<[Compiled]>,
}

/// A rule that cannot be compiled. The configuration's own checks find these first, with their place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(String);

impl Policy {
    /// Compiles the policy of a route.
    ///
    /// # Errors
    /// [`BadRule`] when a rule has no condition or one that can never hold: a broken rule must not read as "allow".
    pub fn compile(route: &Route, authorities: &Authorities) -> Result<Self, BadRule> {
        let compile =
            |rules: &[Rule]| rules.iter().map(|rule| Compiled::from_rule(rule, authorities)).collect::<Result<_, _>>();
        Ok(Self {
            auth: route.auth,
            preflight: route.cors_preflight,
            allow: compile(&route.allow)?,
            deny: compile(&route.deny)?,
        })
    }

    /// Everybody who is signed in.
    pub fn signed_in() -> Self {
        Self { auth: Auth::Required, preflight: false, allow: Box::default(), deny: Box::default() }
    }

    /// What the operator wrote for `auth`.
    pub fn auth(&self) -> Auth {
        self.auth
    }

    /// False when who asks makes no difference: nobody need be recognised then.
    pub fn looks_at_people(&self) -> bool {
        self.auth != Auth::None
    }

    /// True when somebody who is not signed in can pass with some request.
    pub fn is_public(&self) -> bool {
        self.auth != Auth::Required || self.preflight
    }

    /// Decides.
    ///
    /// # Errors
    /// The [`Denial`] that says why not.
    pub fn decide(&self, who: Option<Facts<'_>>, ask: Ask<'_>) -> Result<Permit, Denial> {
        // Before everything else: a preflight carries no credentials by design (Fetch, 3.3.5), so it is never personal.
        if self.preflight && ask.preflight {
            return Ok(Permit(Grant::Public));
        }
        match (self.auth, who) {
            (Auth::None, _) | (Auth::Optional, None) => Ok(Permit(Grant::Public)),
            (Auth::Required, None) => Err(Denial::NotSignedIn),
            (Auth::Required | Auth::Optional, Some(person)) => self.judge(person, ask.method),
        }
    }

    fn judge(&self, person: Facts<'_>, method: &Method) -> Result<Permit, Denial> {
        if self.deny.iter().any(|rule| rule.denies(person, method)) {
            return Err(Denial::Denied);
        }
        if self.allow.is_empty() || self.allow.iter().any(|rule| rule.allows(person, method)) {
            return Ok(Permit(Grant::Person));
        }
        Err(Denial::NotAllowed)
    }

    /// The number of the rule that decides, for `explain`: the first deny rule that matches, else the first allow rule.
    pub fn deciding_rule(&self, person: Facts<'_>, method: &Method) -> Option<usize> {
        let denied = self.deny.iter().position(|rule| rule.denies(person, method));
        denied.or_else(|| self.allow.iter().position(|rule| rule.allows(person, method)))
    }
}

#[cfg(test)]
mod tests;
