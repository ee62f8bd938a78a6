//! The sign-out page: really?

use serde::Serialize;

/// The form field that says where to go afterwards.
pub const RETURN_TO_FIELD: &str = "rd";
/// The form field that is present when every session is to end.
pub const EVERYWHERE_FIELD: &str = "everywhere";

/// Asks before signing out: a link alone must not do it (threats, 9). Posted to `{prefix}/sign_out`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SignOut {
    /// Who is signed in: an address or a name.
    pub signed_in_as: Option<String>,
    /// Where to go afterwards, as it was asked for; checked again when the form comes back.
    pub return_to: Option<String>,
    /// Where "stay signed in" leads.
    pub stay_url: String,
    /// The form's token.
    pub token: String,
    /// Where signing out may lead away to; see [`Account::leads_to`](super::Account::leads_to).
    #[serde(skip)]
    pub leads_to: Vec<url::Url>,
}

#[cfg(test)]
impl SignOut {
    pub(crate) fn samples() -> Vec<super::Sample<Self>> {
        use super::sample::{HOSTILE, LONG};
        let usual = Self {
            signed_in_as: Some("olena.shevchenko@example.com".into()),
            return_to: Some("/goodbye?from=reports&year=2026".into()),
            stay_url: "/".into(),
            token: "SIGN-OUT-TOKEN".into(),
            leads_to: vec![url::Url::parse("https://pool.auth.eu-central-1.example.com/logout?client_id=1").unwrap()],
        };
        vec![
            ("usual", usual.clone()),
            ("extremes", Self { signed_in_as: Some(format!("{LONG} {HOSTILE}")), return_to: None, ..usual }),
        ]
    }
}
