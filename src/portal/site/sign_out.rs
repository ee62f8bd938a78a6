//! Signing out: GET asks, POST does (threats 9).

use http::Response;

use super::{Asked, Site, see_other};
use crate::{
    body::Body,
    login::{logout::Extent, return_to::ReturnTo},
    portal::{ErrorPage, FORM_TOKEN_FIELD, page},
};

impl Site {
    /// `sign_out` by GET: asks first. Without a session there is nothing to ask.
    pub(super) async fn ask_sign_out(&self, asked: &Asked) -> Response<Body> {
        let visitor = asked.visitor();
        let live = match visitor.session(&self.sessions).await {
            Ok(Some(live)) => live,
            Ok(None) => return see_other(&self.after(asked, asked.parameter("rd")), Vec::new()),
            Err(error) => return self.store_down(asked, &error),
        };
        let session = live.session();
        let subject = session.origin.key.subject.as_str();
        let page = page::SignOut {
            signed_in_as: Some(page::LinkedIdentity::who(&session.profile, subject)),
            return_to: self.wanted(asked, asked.parameter("rd")).map(|return_to| return_to.as_str().to_owned()),
            token: self.sign_out_forms.issue(live.key().bytes(), self.clock.now()),
            leads_to: self.leads_to(&session.origin.provider, asked).await,
            ..page::SignOut::default()
        };
        self.pages.sign_out(&page, self.language_of(asked))
    }

    /// `sign_out` by POST, with the form's token.
    pub(super) async fn sign_out(&self, asked: &Asked) -> Response<Body> {
        let visitor = asked.visitor();
        let Some(key) = visitor.session_key() else {
            return see_other(&self.after(asked, asked.field(page::RETURN_TO_FIELD)), Vec::new());
        };
        let token = asked.field(FORM_TOKEN_FIELD).unwrap_or_default();
        if self.sign_out_forms.check(&token, key.bytes(), self.clock.now()).is_err() {
            return self.error(asked, ErrorPage::FormExpired);
        }
        let extent = if asked.field(page::EVERYWHERE_FIELD).is_some() { Extent::Everywhere } else { Extent::Here };
        let after = self.after(asked, asked.field(page::RETURN_TO_FIELD));
        let return_to = ReturnTo::check(&after, &asked.base, &self.allowed).unwrap_or_else(|_| ReturnTo::home());
        match self.login.sign_out(extent, &return_to, &visitor).await {
            Ok(done) => {
                let location = done.at_provider.map_or(after, String::from);
                see_other(&location, done.cookies)
            }
            Err(error) => self.store_down(asked, &error),
        }
    }

    /// `signed_out`: also the way back from a provider's own sign-out page, whose `state` says where to go.
    pub(super) fn signed_out(&self, asked: &Asked) -> Response<Body> {
        let own = format!("{}/signed_out", self.prefix);
        if let Some(return_to) = asked.parameter("state").and_then(|state| self.login.after_provider(&state))
            && return_to.as_str() != own
        {
            return see_other(return_to.as_str(), Vec::new());
        }
        let page = page::SignedOut { sign_in_url: format!("{}/sign_in", self.prefix), ..page::SignedOut::default() };
        self.pages.signed_out(&page, self.language_of(asked))
    }

    /// Where to go after signing out: where the request says, else where the operator says.
    fn after(&self, asked: &Asked, rd: Option<String>) -> String {
        let wanted = rd.and_then(|raw| ReturnTo::check(&raw, &asked.base, &self.allowed).ok());
        wanted.map_or_else(|| self.after_sign_out.clone(), |return_to| return_to.as_str().to_owned())
    }

    /// Where signing out may lead away to: browsers apply a page's `form-action` to the redirect that follows.
    pub(super) async fn leads_to(&self, provider: &crate::identity::ProviderName, asked: &Asked) -> Vec<url::Url> {
        let Some(provider) = self.login.provider(provider) else { return Vec::new() };
        provider.end_session_url(None, &asked.base, "").await.into_iter().collect()
    }
}
