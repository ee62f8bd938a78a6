//! Narrowing: who passes by the word of the proxy that asks, on top of the routes' rules.
//!
//! The query parameters of forward auth, as oauth2-proxy has them: `allowed_groups`, `allowed_emails`,
//! `allowed_email_domains`, each a list with commas, each given as often as one likes. Whoever passes must be in every
//! list that is given. Unlike there, a parameter that is given but names nobody lets nobody pass: a variable that turned
//! out empty in the proxy's configuration must not read as "everybody".

use std::borrow::Cow;

use super::{Authorities, Facts, matcher};
use crate::identity::email_domain;

/// For which domains each provider is authoritative, in comparable form; made once.
#[derive(Debug)]
pub struct Authority(Authorities);

impl Authority {
    /// From the configuration.
    pub fn new(authorities: &Authorities) -> Self {
        Self(matcher::comparable(authorities))
    }
}

/// The lists of a request, borrowed from its query.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Narrowing<'q> {
    groups: Option<List<'q>>,
    emails: Option<List<'q>>,
    domains: Option<List<'q>>,
}

type List<'q> = Vec<Cow<'q, str>>;

impl<'q> Narrowing<'q> {
    /// Reads a raw query; other parameters are not its business.
    pub fn of(query: &'q str) -> Self {
        let mut narrowing = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let list = match &*name {
                "allowed_groups" => &mut narrowing.groups,
                "allowed_emails" => &mut narrowing.emails,
                "allowed_email_domains" => &mut narrowing.domains,
                _ => continue,
            };
            let list = list.get_or_insert_default();
            match value {
                Cow::Borrowed(value) => list.extend(elements(value).map(Cow::Borrowed)),
                Cow::Owned(value) => list.extend(elements(&value).map(|element| Cow::Owned(element.to_owned()))),
            }
        }
        narrowing
    }

    /// True when nobody is kept out by it.
    pub fn is_empty(&self) -> bool {
        self.groups.is_none() && self.emails.is_none() && self.domains.is_none()
    }

    /// Whether this person is in every list. Addresses count when they are verified, at providers that are
    /// authoritative for them.
    pub fn admits(&self, person: Facts<'_>, authority: &Authority) -> bool {
        let in_groups = |list: &List<'_>| person.profile.groups.iter().any(|group| list.iter().any(|one| one == group));
        let by_email = |list: &List<'_>, is_named: fn(&str, &str) -> bool| {
            let Some(email) = matcher::proven_address(person.profile) else { return false };
            let Some(domain) = email_domain(email) else { return false };
            matcher::is_authoritative(&authority.0, person, &domain) && list.iter().any(|one| is_named(one, email))
        };
        self.groups.as_ref().is_none_or(in_groups)
            && self.emails.as_ref().is_none_or(|list| by_email(list, is_email))
            && self.domains.as_ref().is_none_or(|list| by_email(list, is_domain))
    }
}

fn elements(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|element| !element.is_empty())
}

fn is_email(named: &str, email: &str) -> bool {
    let (Some((wanted, _)), Some(domain)) = (named.rsplit_once('@'), email_domain(named)) else { return false };
    email.rsplit_once('@').is_some_and(|(local, _)| local.eq_ignore_ascii_case(wanted))
        && matcher::is_in_domain(email, &domain)
}

/// `example.com` is that domain, `.example.com` every one below it, `*` any.
fn is_domain(named: &str, email: &str) -> bool {
    if named == "*" {
        return true;
    }
    let comparable = |domain: &str| email_domain(&format!("a@{domain}"));
    match named.strip_prefix('.') {
        None => comparable(named).is_some_and(|domain| matcher::is_in_domain(email, &domain)),
        Some(base) => comparable(base).zip(email_domain(email)).is_some_and(|(base, domain)| {
            domain.strip_suffix(&*base).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Timestamp,
        identity::{IdentityKey, Issuer, Origin, Profile, ProviderName, Subject},
    };

    fn origin() -> Origin {
        Origin {
            provider: ProviderName::new("google"),
            key: IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new("1") },
            at: Timestamp::default(),
            acr: None,
            amr: vec![],
            connection: None,
            sid: None,
        }
    }

    fn profile() -> Profile {
        Profile {
            email: Some("Olena@Dev.Example.com".into()),
            email_verified: true,
            groups: vec!["admins".into(), "a,b".into(), "staff".into()],
            ..Profile::default()
        }
    }

    fn admits(query: &str, profile: &Profile, authorities: &Authorities) -> bool {
        let origin = origin();
        Narrowing::of(query).admits(Facts { origin: &origin, profile }, &Authority::new(authorities))
    }

    #[test]
    fn each_list_that_is_given_must_name_the_person() {
        for (query, passes) in [
            ("", true),
            ("other=1", true),
            ("allowed_groups=admins", true),
            ("allowed_groups=nobody,admins", true),
            ("allowed_groups=nobody&allowed_groups=staff", true),
            ("allowed_groups=nobody", false),
            ("allowed_groups=Admins", false),
            ("allowed_groups=admin", false),
            ("allowed_groups=", false),
            ("allowed_groups", false),
            ("allowed_groups=,%20,", false),
            ("allowed_emails=olena@dev.example.com", true),
            ("allowed_emails=x@y.test,OLENA@DEV.EXAMPLE.COM", true),
            ("allowed_emails=olena@example.com", false),
            ("allowed_emails=dev.example.com", false),
            ("allowed_emails=", false),
            ("allowed_email_domains=dev.example.com", true),
            ("allowed_email_domains=example.com", false),
            ("allowed_email_domains=.example.com", true),
            ("allowed_email_domains=.dev.example.com", false),
            ("allowed_email_domains=.xample.com", false),
            ("allowed_email_domains=*", true),
            ("allowed_email_domains=", false),
            ("allowed_groups=admins&allowed_email_domains=dev.example.com", true),
            ("allowed_groups=admins&allowed_email_domains=other.test", false),
            ("allowed_groups=nobody&allowed_email_domains=dev.example.com", false),
            ("allowed%5Fgroups=nobody", false),
        ] {
            assert_eq!(admits(query, &profile(), &Authorities::new()), passes, "{query}");
        }
    }

    #[test]
    fn only_a_proven_address_counts() {
        let unverified = Profile { email_verified: false, ..profile() };
        let without = Profile { email: None, ..profile() };
        for query in
            ["allowed_emails=olena@dev.example.com", "allowed_email_domains=dev.example.com", "allowed_email_domains=*"]
        {
            assert!(!admits(query, &unverified, &Authorities::new()), "{query}");
            assert!(!admits(query, &without, &Authorities::new()), "{query}");
            let elsewhere = Authorities::from([("google".to_owned(), vec!["gmail.com".to_owned()])]);
            assert!(!admits(query, &profile(), &elsewhere), "{query}: the provider has no say about the domain");
        }
    }

    #[test]
    fn nothing_given_narrows_nothing() {
        assert!(Narrowing::of("rd=/x&allowed=1").is_empty());
        assert!(!Narrowing::of("allowed_groups=").is_empty());
    }

    proptest::proptest! {
        /// Adding a list never lets anybody pass who did not before.
        #[test]
        fn more_lists_admit_no_more(first in "(allowed_(groups|emails|email_domains)=[a-z,.@*]{0,12}&?){0,3}", more in "allowed_(groups|emails|email_domains)=[a-z,.@*]{0,12}") {
            let name = more.split('=').next().unwrap().to_owned();
            if !first.contains(&name) && admits(&format!("{first}&{more}"), &profile(), &Authorities::new()) {
                proptest::prop_assert!(admits(&first, &profile(), &Authorities::new()));
            }
        }
    }
}
