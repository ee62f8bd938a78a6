//! One pending sign-in, kept by the browser.
//!
//! An [`Attempt`] lives in a sealed cookie of its own, named after its state, so that many tabs can log in at once and
//! anonymous traffic cannot fill the store. State, nonce and PKCE verifier are three hashes of one random seed: they
//! tell nothing of each other, and the cookie stays small. The cookie binds the attempt to the browser (RFC 9700,
//! 4.7.1); the store's single-use marker makes it count once (`login::callback`).

use serde::{Deserialize, Serialize};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::time::Duration;

use super::return_to::ReturnTo;
use crate::{
    clock::Timestamp,
    identity::{AccountId, ProviderName},
    secret::{KeyRing, Purpose, Secret, constant_time_eq, random, sha256},
};

/// How many attempts one browser may have pending; the oldest gives way (threats 5).
pub const MAX_PENDING: usize = 10;

/// Length of a state: 256 bits in base64url.
const STATE_LEN: usize = 43;
/// What follows it when a login was started over.
const STARTED_OVER: char = 'A';

/// One pending sign-in.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    seed: [u8; 32],
    /// By which provider.
    pub provider: ProviderName,
    /// Where to go afterwards.
    pub return_to: ReturnTo,
    /// When it began.
    pub begun_at: Timestamp,
    /// True when it was begun because an earlier one came to nothing: it is not started over again.
    pub again: bool,
    /// True when it has signed somebody in: its callback, should it come again, only carries on.
    pub done: bool,
    /// The account it is to link an identity to; `None` for one that signs in.
    pub link: Option<AccountId>,
}

/// The cookie's sealed content.
#[derive(Serialize, Deserialize)]
struct Record {
    s: String,
    p: ProviderName,
    r: String,
    b: Timestamp,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    a: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    d: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l: Option<AccountId>,
}

impl Attempt {
    /// A new attempt with a fresh seed.
    pub fn begin(provider: ProviderName, return_to: ReturnTo, again: bool, now: Timestamp) -> Self {
        Self { seed: random(), provider, return_to, begun_at: now, again, done: false, link: None }
    }

    /// The `state` parameter: 256 bits, opaque (RFC 6749, 10.12).
    ///
    /// An attempt that starts a login over says so in one more letter: a browser that keeps no cookies would otherwise
    /// be sent round in circles, and the state is all that comes back from it.
    pub fn state(&self) -> String {
        let mut state = self.derived(b"state");
        if self.again {
            state.push(STARTED_OVER);
        }
        state
    }

    /// True when `state` belongs to a login that was started over already.
    pub fn is_started_over(state: &str) -> bool {
        state.len() == STATE_LEN + 1 && state.ends_with(STARTED_OVER)
    }

    /// The `nonce` parameter (OpenID Connect Core, 15.5.2).
    pub fn nonce(&self) -> String {
        self.derived(b"nonce")
    }

    /// The PKCE verifier: 43 unreserved characters (RFC 7636, 4.1).
    pub fn pkce_verifier(&self) -> Secret {
        Secret::new(self.derived(b"pkce verifier"))
    }

    /// True when `state` is this attempt's; in constant time.
    pub fn answers(&self, state: &str) -> bool {
        constant_time_eq(self.state().as_bytes(), state.as_bytes())
    }

    /// The name of its single-use marker in the store.
    pub fn marker(&self) -> String {
        format!("login:{}", URL_SAFE_NO_PAD.encode(sha256(self.state().as_bytes())))
    }

    /// The id of its cookie, which tells it from other attempts': the first characters of the state. `None` for a state
    /// that none of our attempts can have.
    pub fn id(state: &str) -> Option<&str> {
        let fits = (state.len() == STATE_LEN || Self::is_started_over(state))
            && state.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fits.then(|| state.get(..8)).flatten()
    }

    /// True once it may no longer be answered.
    pub fn is_expired(&self, now: Timestamp, life: Duration) -> bool {
        // An attempt from the future was sealed by a clock that has since been moved back: not to be trusted for long.
        now.since(self.begun_at) > life || self.begun_at.since(now) > life
    }

    /// Seals it for the cookie with the id `cookie`; it opens in no other.
    pub fn seal(&self, keys: &KeyRing, cookie: &str) -> String {
        let record = Record {
            s: URL_SAFE_NO_PAD.encode(self.seed),
            p: self.provider.clone(),
            r: self.return_to.as_str().to_owned(),
            b: self.begun_at,
            a: self.again,
            d: self.done,
            l: self.link,
        };
        let bytes = zeroize::Zeroizing::new(serde_json::to_vec(&record).unwrap_or_default());
        keys.seal_text(Purpose::LoginAttempt, cookie.as_bytes(), &bytes)
    }

    /// Opens what [`seal`](Self::seal) made for the cookie with the id `cookie`.
    pub fn open(keys: &KeyRing, cookie: &str, sealed: &[u8]) -> Option<Self> {
        let bytes = keys.open_text(Purpose::LoginAttempt, cookie.as_bytes(), std::str::from_utf8(sealed).ok()?).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        let seed = URL_SAFE_NO_PAD.decode(record.s).ok()?.try_into().ok()?;
        Some(Self {
            seed,
            provider: record.p,
            return_to: ReturnTo::checked_before(record.r),
            begun_at: record.b,
            again: record.a,
            done: record.d,
            link: record.l,
        })
    }

    fn derived(&self, label: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(sha256(&[b"brama/1 login ", label, &[0], self.seed.as_slice()].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        Attempt::begin(ProviderName::new("google"), ReturnTo::home(), false, Timestamp::from_secs(1_000))
    }

    #[test]
    fn state_nonce_and_verifier_differ_and_come_back_from_the_cookie() {
        let keys = KeyRing::new([7; 32], []);
        let attempt = attempt();
        let opened = Attempt::open(&keys, "c", attempt.seal(&keys, "c").as_bytes()).unwrap();
        assert_eq!(opened, attempt);
        assert_eq!(opened.state().len(), 43);
        assert_ne!(opened.state(), opened.nonce());
        assert_ne!(opened.nonce(), opened.pkce_verifier().expose());
        assert!(opened.answers(&attempt.state()));
        assert!(!opened.answers(&attempt.nonce()));
    }

    #[test]
    fn an_attempt_that_links_says_to_which_account_under_the_seal() {
        let keys = KeyRing::new([7; 32], []);
        let account = AccountId::fresh(Timestamp::from_secs(1));
        let attempt = Attempt { link: Some(account), ..attempt() };
        assert_eq!(Attempt::open(&keys, "c", attempt.seal(&keys, "c").as_bytes()).unwrap().link, Some(account));
    }

    #[test]
    fn a_cookie_moved_to_another_name_does_not_open() {
        let keys = KeyRing::new([7; 32], []);
        assert_eq!(Attempt::open(&keys, "b", attempt().seal(&keys, "a").as_bytes()), None);
    }

    #[test]
    fn an_attempt_ends_after_its_life() {
        let life = Duration::from_secs(600);
        assert!(!attempt().is_expired(Timestamp::from_secs(1_600), life));
        assert!(attempt().is_expired(Timestamp::from_secs(1_601), life));
        assert!(attempt().is_expired(Timestamp::from_secs(0), life));
    }

    #[test]
    fn a_login_started_over_says_so_in_its_state() {
        let again = Attempt { again: true, ..attempt() };
        assert!(Attempt::is_started_over(&again.state()));
        assert!(!Attempt::is_started_over(&attempt().state()));
        assert!(Attempt::id(&again.state()).is_some());
    }

    #[test]
    fn only_a_state_of_ours_names_a_cookie() {
        assert_eq!(Attempt::id(&attempt().state()).map(str::len), Some(8));
        for strange in
            ["", "abc", "a=b; Path=/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "é23456789012345678901234567890123456789012"]
        {
            assert_eq!(Attempt::id(strange), None, "{strange:?}");
        }
    }
}
