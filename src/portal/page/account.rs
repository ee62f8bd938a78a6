//! The account page: who am I, how did I come, where else am I signed in?

use serde::Serialize;

use super::super::browser::Browser;
use crate::{clock::Timestamp, identity::Profile, session::record::Found};

/// The form field that says which sessions to end: [`WHICH_ONE`], [`WHICH_OTHERS`] or [`WHICH_ALL`].
pub const WHICH_FIELD: &str = "end";
/// End the session named in [`SESSION_FIELD`].
pub const WHICH_ONE: &str = "one";
/// End every session but this one.
pub const WHICH_OTHERS: &str = "others";
/// End every session.
pub const WHICH_ALL: &str = "all";
/// The form field that names a session: the hexadecimal form of its key.
pub const SESSION_FIELD: &str = "session";

/// The form field that names an identity to remove from the account, by its [`LinkedIdentity::key`].
pub const UNLINK_FIELD: &str = "unlink";

/// The account page. Its forms are posted to `{prefix}/account` (ending sessions, removing identities) and `{prefix}/sign_out`.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    /// Now, for "3 hours ago".
    pub now: Timestamp,
    /// What they are called; `None` when no provider told.
    pub name: Option<String>,
    /// Their address.
    pub email: Option<String>,
    /// Whether a provider vouches for the address.
    pub email_verified: bool,
    /// The provider this session came by, as people call it.
    pub provider: String,
    /// When they signed in.
    pub signed_in_at: Timestamp,
    /// The identity provider behind a broker, when told.
    pub connection: Option<String>,
    /// Their groups.
    pub groups: Vec<String>,
    /// Every identity that opens this account.
    pub identities: Vec<LinkedIdentity>,
    /// Every session of theirs.
    pub sessions: Vec<OpenSession>,
    /// Where linking another identity begins; `None` when that is not offered.
    pub link_url: Option<String>,
    /// What was just done.
    pub notice: Option<AccountNotice>,
    /// The token of the form that ends sessions.
    pub account_token: String,
    /// The token of the form that signs out.
    pub sign_out_token: String,
    /// Where signing out may lead away to (the provider's own sign-out, another app): browsers apply `form-action`
    /// to redirects too, so the policy of this page must name them.
    #[serde(skip)]
    pub leads_to: Vec<url::Url>,
}

/// One identity that opens the account.
#[derive(Debug, Clone, Serialize)]
pub struct LinkedIdentity {
    /// The name it is removed by.
    pub key: String,
    /// The provider's configured name.
    pub name: String,
    /// Its kind, for the icon.
    pub kind: String,
    /// What people call the provider.
    pub label: String,
    /// Who they are there: an address, else a login name, else the subject.
    pub who: String,
    /// When it was last used to sign in.
    pub used_at: Timestamp,
    /// True when this session came by it.
    pub current: bool,
}

/// One signed-in browser.
#[derive(Debug, Clone, Serialize)]
pub struct OpenSession {
    /// The name it is ended by: the hexadecimal form of its key, which opens nothing.
    pub key: String,
    /// The browser's name.
    pub browser: Option<&'static str>,
    /// What the browser runs on.
    pub system: Option<&'static str>,
    /// True for a phone or a tablet.
    pub mobile: bool,
    /// The provider it came by, as people call it.
    pub provider: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_seen: Timestamp,
    /// True for the browser that asks.
    pub current: bool,
}

/// What was just done, told once at the top of the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AccountNotice {
    /// One session was ended.
    Ended,
    /// All other sessions were ended.
    OthersEnded {
        /// How many there were.
        count: u64,
    },
    /// An identity was linked.
    Linked {
        /// Its provider, as people call it.
        provider: String,
    },
    /// An identity was removed.
    Unlinked {
        /// Its provider, as people call it.
        provider: String,
    },
}

impl LinkedIdentity {
    /// The best name for a person at a provider.
    pub fn who(profile: &Profile, subject: &str) -> String {
        let known = profile.email.as_ref().or(profile.preferred_username.as_ref()).or(profile.name.as_ref());
        known.map_or_else(|| subject.to_owned(), Clone::clone)
    }
}

impl OpenSession {
    /// The row of a session, which came by the provider people call `provider`.
    pub fn of(found: &Found, provider: String, current: bool) -> Self {
        let browser = Browser::recognise(found.record.user_agent.as_deref().unwrap_or_default());
        Self {
            key: found.key.hex(),
            browser: browser.name,
            system: browser.system,
            mobile: browser.mobile,
            provider,
            created_at: found.record.session.created_at,
            last_seen: found.last_seen,
            current,
        }
    }
}

#[cfg(test)]
impl Account {
    pub(crate) fn samples() -> Vec<super::Sample<Self>> {
        use super::sample::{HOSTILE, LONG, RTL};
        let now = Timestamp::from_secs(1_800_000_000);
        let ago = |minutes: i64| Timestamp::from_secs(now.as_secs() - minutes * 60);
        let identity = |kind: &str, label: &str, who: &str, minutes, current| LinkedIdentity {
            key: format!("KEY-OF-{kind}"),
            name: kind.into(),
            kind: kind.into(),
            label: label.into(),
            who: who.into(),
            used_at: ago(minutes),
            current,
        };
        let session = |index: u8, browser, system, mobile, minutes| OpenSession {
            key: crate::session::SessionKey::from_bytes([index; 32]).hex(),
            browser,
            system,
            mobile,
            provider: if index == 3 { "Facebook".into() } else { "Google".into() },
            created_at: ago(minutes + 300),
            last_seen: ago(minutes),
            current: index == 1,
        };
        let usual = Self {
            now,
            name: Some("Olena Shevchenko".into()),
            email: Some("olena.shevchenko@example.com".into()),
            email_verified: true,
            provider: "Google".into(),
            signed_in_at: ago(135),
            connection: None,
            groups: vec![],
            identities: vec![
                identity("google", "Google", "olena.shevchenko@example.com", 135, true),
                identity("facebook", "Facebook", "Olena Shevchenko", 60 * 24 * 12, false),
                identity("github", "GitHub", "olena-dev", 60 * 24 * 90, false),
            ],
            sessions: vec![
                session(1, Some("Firefox"), Some("Linux"), false, 0),
                session(2, Some("Safari"), Some("iPhone"), true, 42),
                session(3, Some("Chrome"), Some("Windows"), false, 60 * 24 * 3),
            ],
            link_url: Some("/oauth2/sign_in?link=1".into()),
            notice: None,
            account_token: "ACCOUNT-TOKEN".into(),
            sign_out_token: "SIGN-OUT-TOKEN".into(),
            leads_to: vec![],
        };
        vec![
            ("usual", usual.clone()),
            (
                "only_this_session",
                Self {
                    identities: usual.identities[..1].to_vec(),
                    sessions: usual.sessions[..1].to_vec(),
                    link_url: None,
                    notice: Some(AccountNotice::OthersEnded { count: 2 }),
                    leads_to: vec![url::Url::parse("https://accounts.example.com/logout").unwrap()],
                    ..usual.clone()
                },
            ),
            (
                "no_email",
                Self {
                    name: None,
                    email: None,
                    email_verified: false,
                    provider: "X".into(),
                    identities: vec![identity("x", "X", "1234567890", 5, true)],
                    sessions: vec![session(1, None, None, false, 0)],
                    notice: Some(AccountNotice::Ended),
                    ..usual.clone()
                },
            ),
            (
                "right_to_left",
                Self {
                    name: Some(RTL.into()),
                    email_verified: false,
                    connection: Some("SignInWithApple".into()),
                    groups: vec!["editors".into(), "staff".into(), RTL.into()],
                    notice: Some(AccountNotice::Linked { provider: "GitHub".into() }),
                    ..usual.clone()
                },
            ),
            (
                "extremes",
                Self {
                    name: Some(LONG.into()),
                    email: Some(format!("{}@{}.example.com", "o".repeat(64), "long-label".repeat(6))),
                    provider: HOSTILE.into(),
                    connection: Some(LONG.into()),
                    notice: Some(AccountNotice::Unlinked { provider: HOSTILE.into() }),
                    groups: (0..30).map(|index| format!("group-{index}-of-the-organisation")).collect(),
                    identities: vec![identity("oidc", LONG, HOSTILE, 1, true); 12],
                    sessions: (1..=20)
                        .map(|index| {
                            session(index, Some("Samsung Internet"), Some("Android"), true, i64::from(index) * 700)
                        })
                        .collect(),
                    ..usual
                },
            ),
        ]
    }
}
