//! One rule, compiled: conditions that must all hold.

use http::Method;
use serde_json::Value;

use super::{Authorities, BadRule, Facts};
use crate::{
    config::route::Rule,
    identity::{Profile, email_domain},
};

/// A rule with everything derived that can be.
#[derive(Debug)]
pub(super) struct Compiled {
    methods: Box<[Method]>,
    conditions: Box<[Condition]>,
    authorities: Authorities,
}

#[derive(Debug)]
enum Condition {
    Provider(Box<str>),
    /// Local part and domain; the domain in comparable form.
    Email(Box<str>, Box<str>),
    EmailDomain(Box<str>),
    Group(Box<str>),
    Claim(Box<str>, Box<str>),
}

/// How an address counts: an allow rule believes only what is proven, a deny rule takes every claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Believe {
    Proven,
    Everything,
}

impl Compiled {
    pub(super) fn from_rule(rule: &Rule, authorities: &Authorities) -> Result<Self, BadRule> {
        let methods = rule
            .methods
            .iter()
            .map(|method| {
                Method::from_bytes(method.as_bytes()).map_err(|_| BadRule(format!("{method:?} is no method")))
            })
            .collect::<Result<Box<[_]>, _>>()?;
        let conditions = conditions(rule)?;
        if conditions.is_empty() && methods.is_empty() {
            return Err(BadRule("the rule has no condition".into()));
        }
        let by_email = conditions.iter().any(|c| matches!(c, Condition::Email(..) | Condition::EmailDomain(_)));
        // Only rules on addresses ask who is authoritative; the list is short and made once.
        let authorities = if by_email { comparable(authorities) } else { Authorities::new() };
        Ok(Self { methods, conditions, authorities })
    }

    pub(super) fn allows(&self, person: Facts<'_>, method: &Method) -> bool {
        self.matches(person, method, Believe::Proven)
    }

    pub(super) fn denies(&self, person: Facts<'_>, method: &Method) -> bool {
        self.matches(person, method, Believe::Everything)
    }

    fn matches(&self, person: Facts<'_>, method: &Method, believe: Believe) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && self.conditions.iter().all(|condition| self.holds(condition, person, believe))
    }

    fn holds(&self, condition: &Condition, person: Facts<'_>, believe: Believe) -> bool {
        let Facts { origin, profile } = person;
        match condition {
            Condition::Provider(name) => origin.provider.as_str() == &**name,
            Condition::Email(local, domain) => address(profile, believe).is_some_and(|email| {
                email.rsplit_once('@').is_some_and(|(had, _)| had.eq_ignore_ascii_case(local))
                    && self.in_domain(email, domain, person, believe)
            }),
            Condition::EmailDomain(domain) => {
                address(profile, believe).is_some_and(|email| self.in_domain(email, domain, person, believe))
            }
            Condition::Group(group) => profile.groups.iter().any(|had| **had == **group),
            Condition::Claim(name, value) => claim(profile, name).is_some_and(|claim| says(claim, value)),
        }
    }

    fn in_domain(&self, email: &str, domain: &str, person: Facts<'_>, believe: Believe) -> bool {
        is_in_domain(email, domain)
            && (believe == Believe::Everything || is_authoritative(&self.authorities, person, domain))
    }
}

/// Whether the provider this person came by has a say about addresses in `domain`; both in comparable form.
pub(super) fn is_authoritative(authorities: &Authorities, person: Facts<'_>, domain: &str) -> bool {
    match authorities.get(person.origin.provider.as_str()) {
        Some(domains) if !domains.is_empty() => domains.iter().any(|own| own == domain),
        _ => true,
    }
}

fn conditions(rule: &Rule) -> Result<Box<[Condition]>, BadRule> {
    let mut conditions = Vec::new();
    // The cheapest first.
    if let Some(provider) = &rule.provider {
        conditions.push(Condition::Provider(provider.as_str().into()));
    }
    if let Some(group) = &rule.group {
        conditions.push(Condition::Group(group.as_str().into()));
    }
    if let Some(claim) = &rule.claim {
        conditions.push(Condition::Claim(claim.name.as_str().into(), claim.value.as_str().into()));
    }
    if let Some(domain) = &rule.email_domain {
        conditions.push(Condition::EmailDomain(comparable_domain(domain)?));
    }
    if let Some(email) = &rule.email {
        let domain = email_domain(email).ok_or_else(|| BadRule(format!("{email:?} is no e-mail address")))?;
        let local = email.split('@').next().unwrap_or_default();
        conditions.push(Condition::Email(local.into(), domain.into()));
    }
    Ok(conditions.into())
}

fn comparable_domain(domain: &str) -> Result<Box<str>, BadRule> {
    let domain = email_domain(&format!("a@{domain}")).ok_or_else(|| BadRule(format!("{domain:?} is no domain")))?;
    Ok(domain.into())
}

/// A domain that cannot be read stays as it is: it then equals none, and the provider is authoritative for nothing by
/// it rather than for everything.
pub(super) fn comparable(authorities: &Authorities) -> Authorities {
    let read = |domain: &String| email_domain(&format!("a@{domain}")).unwrap_or_else(|| domain.clone());
    authorities.iter().map(|(name, domains)| (name.clone(), domains.iter().map(read).collect())).collect()
}

/// The address, if the provider has proven it.
pub(super) fn proven_address(profile: &Profile) -> Option<&str> {
    address(profile, Believe::Proven)
}

fn address(profile: &Profile, believe: Believe) -> Option<&str> {
    profile.email.as_deref().filter(|_| profile.email_verified || believe == Believe::Everything)
}

/// Whether the address lies in `domain`, which is in comparable form. Plain ASCII domains, nearly all of them, are
/// compared without IDNA.
pub(super) fn is_in_domain(email: &str, domain: &str) -> bool {
    let Some((local, had)) = email.split_once('@') else { return false };
    let plain = had.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
    if plain && !had.ends_with('.') {
        return !local.is_empty() && had.eq_ignore_ascii_case(domain);
    }
    email_domain(email).is_some_and(|had| had == domain)
}

/// The claim `name` of a profile: its whole name, or a JSON pointer into the claims when it begins with a slash
/// (RFC 6901).
pub(crate) fn claim<'a>(profile: &'a Profile, name: &str) -> Option<&'a Value> {
    match name.strip_prefix('/') {
        None => profile.claims.get(name),
        Some(path) => {
            let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
            let claim = profile.claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
            match rest {
                None => Some(claim),
                Some(rest) => claim.pointer(&format!("/{rest}")),
            }
        }
    }
}

/// Whether a claim has this value: text, a number or truth value spelled as JSON does, or a list that holds it.
fn says(claim: &Value, value: &str) -> bool {
    match claim {
        Value::String(text) => text == value,
        Value::Array(list) => list.iter().any(|element| !element.is_array() && says(element, value)),
        Value::Bool(truth) => value == if *truth { "true" } else { "false" },
        Value::Number(number) => number.to_string() == value,
        Value::Null | Value::Object(_) => false,
    }
}
