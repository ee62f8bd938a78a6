//! Signing in: straight to the provider when it is clear which, else the choice.

use http::Response;

use super::{Asked, Site, link::LINK, see_other};
use crate::{
    body::Body,
    identity::ProviderName,
    login::{
        begin::{Begin, NotBegun},
        remembered::Remembered,
        return_to::ReturnTo,
    },
    portal::{ErrorPage, page},
    provider::{Health, Prompt, ProviderError},
};

impl Site {
    /// `sign_in`: on to the app with a session, to the provider when it is clear which, else the choice.
    pub(super) async fn sign_in(&self, asked: &Asked) -> Response<Body> {
        if let Some(token) = asked.parameter(LINK) {
            return self.choose_link(asked, &token).await;
        }
        let return_to = self.wanted(asked, asked.parameter("rd")).unwrap_or_else(ReturnTo::home);
        if asked.parameter("choose").is_some() {
            return self.chooser(asked, &return_to);
        }
        match asked.visitor().session(&self.sessions).await {
            Ok(Some(_)) => see_other(return_to.as_str(), Vec::new()),
            Ok(None) => self.send_to_sign_in(asked, return_to).await,
            Err(error) => self.store_down(asked, &error),
        }
    }

    /// Sends a browser without a session to sign in and back to `return_to`. Also what the gateway does with a page
    /// load that lacks a session, without a redirect of its own in between.
    pub async fn send_to_sign_in(&self, asked: &Asked, return_to: ReturnTo) -> Response<Body> {
        match self.clear_choice(asked) {
            Some((provider, login_hint)) => {
                let begin = Begin { provider, return_to, prompt: Prompt::Usual, login_hint, again: false, link: None };
                self.begin(asked, begin).await
            }
            None => self.chooser(asked, &return_to),
        }
    }

    /// The provider that need not be chosen: the one of last time, unless the person signed out since; or the only one.
    fn clear_choice(&self, asked: &Asked) -> Option<(ProviderName, Option<String>)> {
        let ready =
            |name: &ProviderName| self.login.provider(name).is_some_and(|provider| provider.health() == Health::Ready);
        match self.remembered(asked) {
            Some(remembered) if remembered.signed_out => None,
            Some(remembered) if ready(&remembered.provider) => Some((remembered.provider, remembered.login_hint)),
            _ => {
                let mut all = self.login.providers.keys();
                let only = all.next().filter(|_| self.skip_chooser && all.next().is_none())?;
                Some((only.clone(), None))
            }
        }
    }

    /// `start/{provider}` or `start?provider=`: begins a login.
    pub(super) async fn start(&self, asked: &Asked, named: &str) -> Response<Body> {
        let named = if named.is_empty() { asked.parameter("provider") } else { Some(named.to_owned()) };
        let return_to = self.wanted(asked, asked.parameter("rd")).unwrap_or_else(ReturnTo::home);
        let Some(named) = named else { return self.send_to_sign_in(asked, return_to).await };
        let provider = ProviderName::new(named);
        if let Some(token) = asked.parameter(LINK) {
            return self.start_link(asked, provider, &token).await;
        }
        let remembered = self.remembered(asked).filter(|remembered| remembered.provider == provider);
        let (prompt, login_hint) = match remembered {
            // After an explicit sign-out nobody is signed straight in again: the provider asks which account.
            Some(remembered) if remembered.signed_out => (Prompt::SelectAccount, None),
            Some(remembered) => (Prompt::Usual, remembered.login_hint),
            None => (Prompt::Usual, None),
        };
        self.begin(asked, Begin { provider, return_to, prompt, login_hint, again: false, link: None }).await
    }

    /// Begins a login and sends the browser to the provider.
    pub(super) async fn begin(&self, asked: &Asked, begin: Begin) -> Response<Body> {
        let (provider, return_to) = (begin.provider.clone(), begin.return_to.clone());
        match self.login.begin(begin, &asked.visitor()).await {
            Ok(begun) => see_other(begun.location.as_str(), begun.cookies),
            Err(NotBegun::UnknownProvider(_)) => self.error(asked, ErrorPage::NotFound),
            Err(NotBegun::TooMany) => self.error(asked, ErrorPage::TooManyRequests),
            Err(NotBegun::Store(error)) => self.store_down(asked, &error),
            Err(NotBegun::Provider(error)) => self.provider_failed(asked, &provider, &error, &return_to),
        }
    }

    /// The page of a provider that failed, with the way to try again and the way round it.
    pub(super) fn provider_failed(
        &self,
        asked: &Asked,
        provider: &ProviderName,
        error: &ProviderError,
        return_to: &ReturnTo,
    ) -> Response<Body> {
        let ending = match error {
            ProviderError::Unavailable(_) => ErrorPage::ProviderUnavailable,
            ProviderError::Misconfigured(_) => ErrorPage::ProviderMisconfigured,
            ProviderError::GrantRefused(_) => ErrorPage::ProviderRefused,
            ProviderError::Untrusted(_) => ErrorPage::ProviderUntrusted,
            ProviderError::NotAllowed(_) => ErrorPage::NotAdmitted,
        };
        self.login_error(asked, ending, Some(provider), return_to)
    }

    /// The page of a login that came to nothing.
    pub(super) fn login_error(
        &self,
        asked: &Asked,
        ending: ErrorPage,
        provider: Option<&ProviderName>,
        return_to: &ReturnTo,
    ) -> Response<Body> {
        let known = provider.and_then(|name| self.login.provider(name));
        self.error_page(
            asked,
            &page::Error {
                provider: known.map(|provider| provider.label().to_owned()),
                retry_url: known.map(|provider| self.start_url(provider.name().as_str(), return_to)),
                sign_in_url: Some(self.sign_in_url(Some(return_to))),
                ..page::Error::new(ending, &asked.reference)
            },
        )
    }

    fn chooser(&self, asked: &Asked, return_to: &ReturnTo) -> Response<Body> {
        let remembered = self.remembered(asked);
        let choices = self
            .login
            .providers
            .values()
            .map(|provider| page::Choice::of(&**provider, self.start_url(provider.name().as_str(), return_to)))
            .collect();
        let mut chooser =
            page::SignIn::new(choices, remembered.as_ref().map(|remembered| remembered.provider.as_str()));
        chooser.remembered_as =
            remembered.and_then(|remembered| remembered.login_hint).filter(|hint| hint.contains('@'));
        chooser.destination = asked
            .base
            .join(return_to.as_str())
            .ok()
            .filter(|url| url.path() != "/")
            .and_then(|url| page::Destination::of(&url));
        self.pages.sign_in(&chooser, self.language_of(asked))
    }

    fn remembered(&self, asked: &Asked) -> Option<Remembered> {
        let sealed = self.login.cookies.origin(&asked.headers)?;
        Remembered::open(&self.login.keys, sealed)
            .filter(|remembered| self.login.provider(&remembered.provider).is_some())
    }
}
