//! The page after signing out.

use serde::Serialize;

/// You are signed out; and at the provider?
#[derive(Debug, Clone, Default, Serialize)]
pub struct SignedOut {
    /// True when every session was ended.
    pub everywhere: bool,
    /// How things stand at the provider they came by; `None` when that is not known.
    pub at_provider: Option<AtProvider>,
    /// Where to sign in again.
    pub sign_in_url: String,
}

/// How things stand at a provider after signing out here.
#[derive(Debug, Clone, Serialize)]
pub struct AtProvider {
    /// What people call it.
    pub label: String,
    /// True when they were signed out there, too.
    pub signed_out: bool,
    /// Where they can sign out there, when it has such a page.
    pub sign_out_url: Option<String>,
}

#[cfg(test)]
impl SignedOut {
    pub(crate) fn samples() -> Vec<super::Sample<Self>> {
        use super::sample::HOSTILE;
        let google = |signed_out, sign_out_url: Option<&str>| {
            Some(AtProvider { label: "Google".into(), signed_out, sign_out_url: sign_out_url.map(Into::into) })
        };
        let usual = Self { sign_in_url: "/oauth2/sign_in".into(), ..Self::default() };
        vec![
            ("plain", usual.clone()),
            (
                "still_in_at_provider",
                Self { at_provider: google(false, Some("https://accounts.google.com/Logout")), ..usual.clone() },
            ),
            ("provider_without_a_page", Self { at_provider: google(false, None), ..usual.clone() }),
            ("out_at_provider", Self { everywhere: true, at_provider: google(true, None), ..usual.clone() }),
            (
                "extremes",
                Self {
                    at_provider: Some(AtProvider {
                        label: HOSTILE.into(),
                        signed_out: false,
                        sign_out_url: Some("https://idp.example/logout?a=1&b=%22%3E".into()),
                    }),
                    ..usual
                },
            ),
        ]
    }
}
