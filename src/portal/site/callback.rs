//! The provider's answer: each of its endings has its page here.

use http::Response;

use super::{Asked, Site, account::LINKED, see_other};
use crate::{
    body::Body,
    identity::ProviderName,
    login::{callback::Ending, return_to::ReturnTo},
    portal::ErrorPage,
};

impl Site {
    /// `callback/{provider}`, and the bare `callback`, whose provider the state tells.
    pub(super) async fn callback(&self, asked: &Asked, named: &str, answer: &str) -> Response<Body> {
        let named = (!named.is_empty()).then(|| ProviderName::new(named));
        match self.login.callback(named.as_ref(), answer, &asked.visitor()).await {
            Ending::SignedIn { cookies, return_to } => see_other(&self.landing(named.as_ref(), &return_to), cookies),
            Ending::CarryOn { return_to } => see_other(&self.landing(named.as_ref(), &return_to), Vec::new()),
            Ending::StartOver { begin } => self.begin(asked, begin).await,
            Ending::Expired { provider, return_to } => {
                self.login_error(asked, ErrorPage::LoginExpired, provider.as_ref(), &return_to)
            }
            Ending::Malformed => self.login_error(asked, ErrorPage::BadRequest, None, &ReturnTo::home()),
            Ending::Cancelled { provider, return_to } => {
                self.login_error(asked, ErrorPage::LoginCancelled, Some(&provider), &return_to)
            }
            Ending::Failed { provider, error, return_to } => self.provider_failed(asked, &provider, &error, &return_to),
            Ending::Linked { cookies, .. } => see_other(&format!("{}/account?{LINKED}=1", self.prefix), cookies),
            Ending::LinkTaken { provider } => self.link_error(asked, ErrorPage::LinkTaken, &provider),
            Ending::LinkLost { provider } => self.link_error(asked, ErrorPage::LinkLost, &provider),
            Ending::Disabled { provider } => {
                self.login_error(asked, ErrorPage::AccountDisabled, Some(&provider), &ReturnTo::home())
            }
            Ending::DirectoryDown(error) => {
                tracing::error!(%error, request = asked.reference, "the directory did not answer");
                self.error(asked, ErrorPage::StoreUnavailable)
            }
            Ending::StoreDown(error) => self.store_down(asked, &error),
        }
    }

    /// Where to land. Facebook puts the fragment `#_=_` on its answer, and browsers carry a fragment over redirects that
    /// have none of their own (Fetch, 4.4): an empty one keeps it from the app's address and its scripts.
    fn landing(&self, provider: Option<&ProviderName>, return_to: &ReturnTo) -> String {
        let of_facebook = provider.and_then(|name| self.login.provider(name)).is_some_and(|p| p.kind() == "facebook");
        let fragment = if of_facebook && !return_to.as_str().contains('#') { "#" } else { "" };
        format!("{return_to}{fragment}")
    }
}
