//! Every way a request can end on an error page: one list, and beneath it one mapping to status, word and ways on.
//!
//! The words are part of our face: they are the `error` of the JSON answer, the key of the texts
//! (`error-WORD-title`, `-what`, `-todo` in `messages/*.ftl`) and what people search the log for. To add one: a
//! variant, a line in [`ErrorPage::facts`], three texts in each language.

use http::StatusCode;

/// What went wrong, as far as the person in front of it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorPage {
    /// The person turned back at the provider (`access_denied`, RFC 6749, 4.1.2.1).
    LoginCancelled,
    /// The provider cannot be reached, is too slow or overloaded.
    ProviderUnavailable,
    /// The provider refuses our client or our request: an operator must act.
    ProviderMisconfigured,
    /// The provider's answer failed a check; nothing in it was believed.
    ProviderUntrusted,
    /// The provider refused the code.
    ProviderRefused,
    /// The answer is genuine, but such people may not come by this provider.
    NotAdmitted,
    /// The login took too long, or its cookie is gone, and could not be started over.
    LoginExpired,
    /// The login was started over too often: the browser does not keep cookies.
    LoginLooping,
    /// The identity that was to be linked opens another account already.
    LinkTaken,
    /// Whoever asked to link is no longer the one who is signed in.
    LinkLost,
    /// An operator has shut the account.
    AccountDisabled,
    /// A rule says no to this person.
    NotAllowed,
    /// Nobody is signed in, and a redirect would not help (an API call).
    SignInNeeded,
    /// The session store or the directory does not answer: nobody can be recognised.
    StoreUnavailable,
    /// Too many attempts from one address.
    TooManyRequests,
    /// The form's token is missing, too old or not this browser's (CSRF).
    FormExpired,
    /// The request cannot be understood.
    BadRequest,
    /// None of our pages has this address.
    NotFound,
    /// The page exists, but not for this method.
    MethodNotAllowed,
    /// The app behind us cannot be reached.
    UpstreamUnavailable,
    /// The app behind us did not answer in time.
    UpstreamTimedOut,
    /// A mistake of ours.
    Internal,
}

/// The best way on, shown as the main button when the page was given its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayOn {
    /// The same again.
    Retry,
    /// Another provider.
    AnotherWay,
    /// The same, as another person.
    SomeoneElse,
    /// Signing in.
    SignIn,
    /// The start page.
    Home,
}

/// What is said of one kind of ending, beside its texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) status: StatusCode,
    pub(crate) word: &'static str,
    pub(crate) best: WayOn,
    /// Seconds after which a client may try by itself (RFC 9110, 10.2.3).
    pub(crate) retry_after: Option<u32>,
    /// Whether an operator has something to mend: the page then points at the log.
    pub(crate) operator: bool,
}

impl Facts {
    const fn new(status: StatusCode, word: &'static str, best: WayOn) -> Self {
        Self { status, word, best, retry_after: None, operator: false }
    }

    const fn after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    const fn for_operator(self) -> Self {
        Self { operator: true, ..self }
    }
}

impl ErrorPage {
    /// Every kind there is.
    pub const ALL: [Self; 22] = [
        Self::LoginCancelled,
        Self::ProviderUnavailable,
        Self::ProviderMisconfigured,
        Self::ProviderUntrusted,
        Self::ProviderRefused,
        Self::NotAdmitted,
        Self::LoginExpired,
        Self::LoginLooping,
        Self::LinkTaken,
        Self::LinkLost,
        Self::AccountDisabled,
        Self::NotAllowed,
        Self::SignInNeeded,
        Self::StoreUnavailable,
        Self::TooManyRequests,
        Self::FormExpired,
        Self::BadRequest,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpstreamUnavailable,
        Self::UpstreamTimedOut,
        Self::Internal,
    ];

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        self.facts().status
    }

    /// A short, stable word for JSON, metrics and logs.
    pub fn word(self) -> &'static str {
        self.facts().word
    }

    pub(crate) fn facts(self) -> Facts {
        use StatusCode as S;
        use WayOn::{AnotherWay, Home, Retry, SignIn, SomeoneElse};
        match self {
            // 400 rather than 403: no rule of ours refused anybody.
            Self::LoginCancelled => Facts::new(S::BAD_REQUEST, "login_cancelled", Retry),
            Self::ProviderUnavailable => Facts::new(S::SERVICE_UNAVAILABLE, "provider_unavailable", Retry).after(10),
            Self::ProviderMisconfigured => {
                Facts::new(S::INTERNAL_SERVER_ERROR, "provider_misconfigured", AnotherWay).for_operator()
            }
            Self::ProviderUntrusted => Facts::new(S::BAD_GATEWAY, "provider_untrusted", Retry).for_operator(),
            Self::ProviderRefused => Facts::new(S::BAD_REQUEST, "provider_refused", Retry),
            Self::NotAdmitted => Facts::new(S::FORBIDDEN, "not_admitted", SomeoneElse),
            Self::LoginExpired => Facts::new(S::BAD_REQUEST, "login_expired", Retry),
            Self::LoginLooping => Facts::new(S::BAD_REQUEST, "login_looping", Retry),
            Self::LinkTaken => Facts::new(S::CONFLICT, "link_taken", Retry),
            Self::LinkLost => Facts::new(S::BAD_REQUEST, "link_lost", Retry),
            Self::AccountDisabled => Facts::new(S::FORBIDDEN, "account_disabled", SomeoneElse),
            Self::NotAllowed => Facts::new(S::FORBIDDEN, "not_allowed", SomeoneElse),
            Self::SignInNeeded => Facts::new(S::UNAUTHORIZED, "sign_in_needed", SignIn),
            Self::StoreUnavailable => {
                Facts::new(S::SERVICE_UNAVAILABLE, "store_unavailable", Retry).after(5).for_operator()
            }
            Self::TooManyRequests => Facts::new(S::TOO_MANY_REQUESTS, "too_many_requests", Retry).after(60),
            Self::FormExpired => Facts::new(S::FORBIDDEN, "form_expired", Retry),
            Self::BadRequest => Facts::new(S::BAD_REQUEST, "bad_request", Home),
            Self::NotFound => Facts::new(S::NOT_FOUND, "not_found", Home),
            Self::MethodNotAllowed => Facts::new(S::METHOD_NOT_ALLOWED, "method_not_allowed", Home),
            Self::UpstreamUnavailable => {
                Facts::new(S::BAD_GATEWAY, "upstream_unavailable", Retry).after(10).for_operator()
            }
            Self::UpstreamTimedOut => {
                Facts::new(S::GATEWAY_TIMEOUT, "upstream_timed_out", Retry).after(10).for_operator()
            }
            Self::Internal => Facts::new(S::INTERNAL_SERVER_ERROR, "internal", Retry).for_operator(),
        }
    }

    /// Whether another provider could help.
    pub(crate) fn is_about_signing_in(self) -> bool {
        matches!(
            self,
            Self::LoginCancelled
                | Self::ProviderUnavailable
                | Self::ProviderMisconfigured
                | Self::ProviderUntrusted
                | Self::ProviderRefused
                | Self::LoginExpired
        )
    }

    /// The key of one of its texts: `title`, `what` or `todo`.
    pub(crate) fn text_key(self, part: &str) -> String {
        format!("error-{}-{part}", self.word().replace('_', "-"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::portal::{language::Language, message::Messages};

    #[test]
    fn every_ending_has_its_own_word_and_all_texts() {
        let messages = Messages::built_in().unwrap();
        let words: BTreeSet<_> = ErrorPage::ALL.into_iter().map(ErrorPage::word).collect();
        assert_eq!(words.len(), ErrorPage::ALL.len());
        for ending in ErrorPage::ALL {
            for part in ["title", "what", "todo"] {
                for language in Language::ALL {
                    assert!(messages.has(language, &ending.text_key(part)), "{}", ending.text_key(part));
                }
            }
        }
    }

    #[test]
    fn every_ending_is_an_error_and_every_unavailable_one_says_when_to_return() {
        for ending in ErrorPage::ALL {
            let facts = ending.facts();
            assert!(facts.status.is_client_error() || facts.status.is_server_error(), "{ending:?}");
            if facts.status == StatusCode::SERVICE_UNAVAILABLE {
                assert!(facts.retry_after.is_some(), "{ending:?} (threats, 11)");
            }
        }
    }
}
