//! The error page: what happened, what to do, and a reference to ask for help with.

use super::super::ending::ErrorPage;

/// A request that did not end as hoped.
#[derive(Debug, Clone)]
pub struct Error {
    /// Which way it ended.
    pub ending: ErrorPage,
    /// The request's reference, the same as in the log.
    pub reference: String,
    /// The provider it happened at, as people call it.
    pub provider: Option<String>,
    /// Who is signed in, where that matters: an address or a name.
    pub signed_in_as: Option<String>,
    /// Where the same can be tried again.
    pub retry_url: Option<String>,
    /// Where to sign in another way or as someone else.
    pub sign_in_url: Option<String>,
}

impl Error {
    /// An ending with its reference, and neither person nor way on.
    pub fn new(ending: ErrorPage, reference: impl Into<String>) -> Self {
        Self {
            ending,
            reference: reference.into(),
            provider: None,
            signed_in_as: None,
            retry_url: None,
            sign_in_url: None,
        }
    }
}

#[cfg(test)]
impl Error {
    pub(crate) fn samples() -> Vec<super::Sample<Self>> {
        use super::sample::{HOSTILE, LONG};
        let usual = |ending| Self {
            provider: Some("Google".into()),
            retry_url: Some("/oauth2/start?provider=google&rd=%2Freports".into()),
            sign_in_url: Some("/oauth2/sign_in?rd=%2Freports".into()),
            ..Self::new(ending, "019abc3f-7d20-7c41-9a55-2f1f8f6f0001")
        };
        let mut samples: Vec<_> = ErrorPage::ALL.into_iter().map(|ending| (ending.word(), usual(ending))).collect();
        for (_, error) in &mut samples {
            if matches!(error.ending, ErrorPage::NotAllowed | ErrorPage::AccountDisabled) {
                error.signed_in_as = Some("olena.shevchenko@example.com".into());
            }
        }
        samples.push(("bare", Self::new(ErrorPage::ProviderUnavailable, "019abc3f")));
        samples.push((
            "extremes",
            Self { provider: Some(HOSTILE.into()), signed_in_as: Some(LONG.into()), ..usual(ErrorPage::NotAdmitted) },
        ));
        samples
    }
}
