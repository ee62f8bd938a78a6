//! What a simulator has given out: codes, access tokens, refresh tokens, and which of them still live.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{endpoint::Fault, people::Person};
use crate::{
    clock::Timestamp,
    secret::{random, random_text, sha256},
};

/// What happens to a refresh token when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It stays; the answer has no new one.
    Off,
    /// A new one replaces it at once; using the old one again kills the whole family.
    Strict,
    /// A new one replaces it; the old one works for this many seconds more.
    Grace(u64),
}

/// A person's consent to one login: everything given out for it is one family.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) family: u64,
    pub(super) person: &'static Person,
    pub(super) scopes: Vec<String>,
    pub(super) nonce: Option<String>,
    pub(super) auth_time: Timestamp,
    /// The provider's own session of this browser.
    pub(super) sid: String,
    /// Whether a refresh token comes with the access token.
    pub(super) refreshable: bool,
}

impl Grant {
    pub(super) fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }
}

/// What a code is bound to (RFC 6749, 4.1.3; RFC 7636, 4.4).
#[derive(Debug)]
struct Code {
    grant: Grant,
    redirect_uri: String,
    challenge: Option<String>,
    expires: Timestamp,
    used: bool,
}

#[derive(Debug)]
struct Access {
    grant: Grant,
    issued: Timestamp,
    expires: Option<Timestamp>,
}

#[derive(Debug)]
struct Refresh {
    grant: Grant,
    replaced: Option<Timestamp>,
}

/// Everything given out.
#[derive(Debug, Default)]
pub(super) struct Grants {
    codes: HashMap<String, Code>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    dead: HashSet<u64>,
}

/// A demo that runs for weeks forgets its oldest secrets all at once rather than growing.
const MOST: usize = 50_000;

impl Grants {
    /// A number for a new family.
    pub(super) fn family() -> u64 {
        u64::from_be_bytes(random())
    }

    pub(super) fn code(
        &mut self,
        grant: Grant,
        redirect_uri: &str,
        challenge: Option<String>,
        expires: Timestamp,
    ) -> String {
        if self.codes.len() >= MOST {
            self.codes.clear();
        }
        let code = random_text();
        let bound = Code { grant, redirect_uri: redirect_uri.to_owned(), challenge, expires, used: false };
        self.codes.insert(code.clone(), bound);
        code
    }

    /// Uses a code up. A second use kills what the first one gave (RFC 6749, 4.1.2).
    pub(super) fn redeem(
        &mut self,
        code: &str,
        redirect_uri: Option<&str>,
        verifier: Option<&str>,
        now: Timestamp,
    ) -> Result<Grant, Fault> {
        let bound = self.codes.get_mut(code).ok_or(Fault::DeadCode)?;
        if bound.used {
            self.dead.insert(bound.grant.family);
            return Err(Fault::DeadCode);
        }
        bound.used = true;
        if now >= bound.expires {
            return Err(Fault::DeadCode);
        }
        if redirect_uri != Some(bound.redirect_uri.as_str()) {
            return Err(Fault::WrongRedirect);
        }
        if !verifier_fits(bound.challenge.as_deref(), verifier) {
            return Err(Fault::WrongVerifier);
        }
        Ok(bound.grant.clone())
    }

    pub(super) fn access(&mut self, token: &str, grant: &Grant, issued: Timestamp, lifetime: Option<Duration>) {
        if self.access.len() >= MOST {
            self.access.clear();
        }
        let expires = lifetime.map(|lifetime| issued.plus(lifetime));
        self.access.insert(token.to_owned(), Access { grant: grant.clone(), issued, expires });
    }

    pub(super) fn refresh(&mut self, token: &str, grant: &Grant) {
        if self.refresh.len() >= MOST {
            self.refresh.clear();
        }
        self.refresh.insert(token.to_owned(), Refresh { grant: grant.clone(), replaced: None });
    }

    /// Uses a refresh token; the second value tells whether the answer needs a new one.
    pub(super) fn renew(&mut self, token: &str, rotation: Rotation, now: Timestamp) -> Result<(Grant, bool), Fault> {
        let held = self.refresh.get_mut(token).ok_or(Fault::DeadRefresh)?;
        if self.dead.contains(&held.grant.family) {
            return Err(Fault::DeadRefresh);
        }
        match (rotation, held.replaced) {
            (Rotation::Off, _) => return Ok((held.grant.clone(), false)),
            (_, None) => held.replaced = Some(now),
            (Rotation::Grace(seconds), Some(at)) if now.since(at) < Duration::from_secs(seconds) => {}
            (Rotation::Grace(_), Some(_)) => return Err(Fault::DeadRefresh),
            (Rotation::Strict, Some(_)) => {
                // Somebody else may hold it: nobody keeps access (RFC 9700, 4.14.2).
                self.dead.insert(held.grant.family);
                return Err(Fault::DeadRefresh);
            }
        }
        Ok((held.grant.clone(), true))
    }

    /// Whose living access token it is, when it was issued and when it ends.
    pub(super) fn holder(&self, token: &str, now: Timestamp) -> Result<(&Grant, Timestamp, Option<Timestamp>), Fault> {
        let held = self.access.get(token).ok_or(Fault::DeadAccess)?;
        if self.dead.contains(&held.grant.family) || held.expires.is_some_and(|expires| now >= expires) {
            return Err(Fault::DeadAccess);
        }
        Ok((&held.grant, held.issued, held.expires))
    }

    /// The living grant behind a refresh token.
    pub(super) fn refresh_holder(&self, token: &str) -> Option<&Grant> {
        let grant = &self.refresh.get(token)?.grant;
        (!self.dead.contains(&grant.family)).then_some(grant)
    }

    /// The sessions of a person in which something lives, each once.
    pub(super) fn sids(&self, person: &str) -> Vec<String> {
        let living = self.access.values().map(|held| &held.grant).filter(|grant| !self.dead.contains(&grant.family));
        let sids: BTreeSet<String> =
            living.filter(|grant| grant.person.id == person).map(|grant| grant.sid.clone()).collect();
        sids.into_iter().collect()
    }

    /// Forgets one token and leaves its family alone.
    pub(super) fn forget(&mut self, token: &str) {
        self.access.remove(token);
        self.refresh.remove(token);
    }

    /// Ends everything given out with this grant.
    pub(super) fn kill(&mut self, family: u64) {
        self.dead.insert(family);
    }

    /// Ends every family `which` chooses.
    pub(super) fn kill_all(&mut self, which: impl Fn(&Grant) -> bool) {
        let grants = self.access.values().map(|held| &held.grant).chain(self.refresh.values().map(|held| &held.grant));
        let families: Vec<u64> = grants.filter(|grant| which(grant)).map(|grant| grant.family).collect();
        self.dead.extend(families);
    }
}

/// RFC 7636, 4.6. A verifier without a challenge is as wrong as a challenge without a verifier (RFC 9700, 4.8.2).
fn verifier_fits(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            (43..=128).contains(&verifier.len()) && URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())) == challenge
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::simulator::People;

    fn grant() -> Grant {
        Grant {
            family: Grants::family(),
            person: &People::all()[0],
            scopes: vec!["openid".into()],
            nonce: None,
            auth_time: Timestamp::from_secs(0),
            sid: String::new(),
            refreshable: true,
        }
    }

    const NOW: Timestamp = Timestamp::from_secs(1000);
    const LATER: Timestamp = Timestamp::from_secs(1030);

    #[test]
    fn a_code_is_bound_and_single_use() {
        let verifier = "v".repeat(43);
        let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
        let cases = [
            ("https://a/cb", Some(verifier.as_str()), NOW, Ok(())),
            ("https://a/cb/", Some(&verifier), NOW, Err(Fault::WrongRedirect)),
            ("https://a/cb", Some(&verifier[1..]), NOW, Err(Fault::WrongVerifier)),
            ("https://a/cb", None, NOW, Err(Fault::WrongVerifier)),
            ("https://a/cb", Some(&verifier), LATER, Err(Fault::DeadCode)),
        ];
        for (redirect, given, now, expected) in cases {
            let mut grants = Grants::default();
            let code = grants.code(grant(), "https://a/cb", Some(challenge.clone()), LATER);
            assert_eq!(grants.redeem(&code, Some(redirect), given, now).map(|_| ()), expected);
            assert_eq!(grants.redeem(&code, Some(redirect), given, now).map(|_| ()), Err(Fault::DeadCode));
        }
    }

    #[test]
    fn a_used_code_kills_its_tokens() {
        let mut grants = Grants::default();
        let code = grants.code(grant(), "https://a/cb", None, LATER);
        let given = grants.redeem(&code, Some("https://a/cb"), None, NOW).unwrap();
        grants.access("token", &given, NOW, None);
        assert!(grants.holder("token", NOW).is_ok());
        assert!(grants.redeem(&code, Some("https://a/cb"), None, NOW).is_err());
        assert!(grants.holder("token", NOW).is_err());
    }

    #[test]
    fn refresh_tokens_rotate_as_told() {
        let mut grants = Grants::default();
        let (strict, graceful, still) = (grant(), grant(), grant());
        grants.refresh("strict", &strict);
        grants.refresh("strict2", &strict);
        grants.refresh("graceful", &graceful);
        grants.refresh("graceful2", &graceful);
        grants.refresh("still", &still);
        assert!(!grants.renew("still", Rotation::Off, NOW).unwrap().1);
        assert!(!grants.renew("still", Rotation::Off, NOW).unwrap().1);
        assert!(grants.renew("strict", Rotation::Strict, NOW).unwrap().1);
        assert!(grants.renew("strict", Rotation::Strict, NOW).is_err());
        assert!(grants.renew("strict2", Rotation::Strict, NOW).is_err(), "the family is dead");
        assert!(grants.renew("graceful", Rotation::Grace(30), NOW).is_ok());
        assert!(grants.renew("graceful", Rotation::Grace(30), NOW.plus(Duration::from_secs(29))).is_ok());
        assert!(grants.renew("graceful", Rotation::Grace(30), LATER).is_err());
        assert!(grants.renew("graceful2", Rotation::Grace(30), LATER).is_ok(), "the family lives");
    }
}
