//! Linking a further way to sign in, and taking one away: the steps between the account page and the login.

use std::sync::Arc;

use http::Response;

use super::{Asked, Site};
use crate::{
    body::Body,
    identity::ProviderName,
    login::{begin::Begin, link::Unlinking, return_to::ReturnTo},
    portal::{ErrorPage, page},
    provider::Prompt,
    session::live::Live,
};

/// The parameter that says a login is to link, and proves that this browser's account page said so.
pub(super) const LINK: &str = "link";

impl Site {
    /// Where linking begins, for the account page of `live`.
    pub(super) fn link_url(&self, live: &Live) -> String {
        format!("{}/sign_in?{LINK}={}", self.prefix, self.link_forms.issue(live.key().bytes(), self.clock.now()))
    }

    /// `sign_in?link=`: which provider is to be added?
    pub(super) async fn choose_link(&self, asked: &Asked, token: &str) -> Response<Body> {
        if let Err(answer) = self.linking(asked, token).await {
            return *answer;
        }
        let start = |name: &ProviderName| format!("{}/start/{name}?{LINK}={token}", self.prefix);
        let choices =
            self.login.providers.values().map(|provider| page::Choice::of(&**provider, start(provider.name())));
        let chooser = page::SignIn { linking: true, ..page::SignIn::new(choices.collect(), None) };
        self.pages.sign_in(&chooser, self.language_of(asked))
    }

    /// `start/{provider}?link=`: begins the login that links.
    pub(super) async fn start_link(&self, asked: &Asked, provider: ProviderName, token: &str) -> Response<Body> {
        let live = match self.linking(asked, token).await {
            Ok(live) => live,
            Err(answer) => return *answer,
        };
        let begin = Begin {
            provider,
            return_to: self.account_return(asked),
            // Whoever is signed in there may well be the one who is linked already.
            prompt: Prompt::SelectAccount,
            login_hint: None,
            again: false,
            link: Some(live.session().account),
        };
        self.begin(asked, begin).await
    }

    /// The session that may link; else the answer: signing in (again) first, or a form that is too old.
    async fn linking(&self, asked: &Asked, token: &str) -> Result<Arc<Live>, Box<Response<Body>>> {
        let live = match asked.visitor().session(&self.sessions).await {
            Ok(Some(live)) => live,
            Ok(None) => return Err(Box::new(self.to_sign_in_and_back(asked).await)),
            Err(error) => return Err(Box::new(self.store_down(asked, &error))),
        };
        if self.link_forms.check(token, live.key().bytes(), self.clock.now()).is_err() {
            return Err(Box::new(self.error(asked, ErrorPage::FormExpired)));
        }
        if self.login.may_link(&live) {
            return Ok(live);
        }
        let begin = Begin {
            provider: live.session().origin.provider.clone(),
            return_to: self.account_return(asked),
            prompt: Prompt::Usual,
            login_hint: None,
            again: false,
            link: None,
        };
        Err(Box::new(self.begin(asked, begin).await))
    }

    /// `account` by POST with `unlink`; the token has been checked.
    pub(super) async fn unlink(&self, asked: &Asked, named: &str) -> Response<Body> {
        match self.login.unlink(named, &asked.visitor()).await {
            Unlinking::Done { provider } => {
                let notice = page::AccountNotice::Unlinked { provider: self.label(&provider) };
                self.account(asked, Some(notice)).await
            }
            Unlinking::NotThere => self.account(asked, None).await,
            // The page offers neither.
            Unlinking::Needed => self.error(asked, ErrorPage::BadRequest),
            Unlinking::DirectoryDown(error) => {
                tracing::error!(%error, request = asked.reference, "the directory did not answer");
                self.error(asked, ErrorPage::StoreUnavailable)
            }
            Unlinking::StoreDown(error) => self.store_down(asked, &error),
        }
    }

    /// The page of a linking that came to nothing, with the way back to the account page.
    pub(super) fn link_error(&self, asked: &Asked, ending: ErrorPage, provider: &ProviderName) -> Response<Body> {
        self.error_page(
            asked,
            &page::Error {
                provider: Some(self.label(provider)),
                retry_url: Some(format!("{}/account", self.prefix)),
                ..page::Error::new(ending, &asked.reference)
            },
        )
    }

    /// What people call a provider, also one that is no longer configured.
    pub(super) fn label(&self, provider: &ProviderName) -> String {
        self.login.provider(provider).map_or_else(|| provider.to_string(), |known| known.label().to_owned())
    }

    pub(super) fn account_return(&self, asked: &Asked) -> ReturnTo {
        let own = format!("{}/account", self.prefix);
        ReturnTo::check(&own, &asked.base, &self.allowed).unwrap_or_else(|_| ReturnTo::home())
    }
}

#[cfg(test)]
mod tests;
