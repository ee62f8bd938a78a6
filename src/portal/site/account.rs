//! The account page: who am I, how did I come, where else am I signed in, which ways open this account.

use std::time::Duration;

use http::Response;

use super::{Asked, Site, see_other};
use crate::{
    body::Body,
    login::{link::identity_name, logout::Extent, return_to::ReturnTo},
    portal::{ErrorPage, FORM_TOKEN_FIELD, page},
    session::{SessionKey, StoreError, live::Live},
};

/// The parameter of the account page that an identity was just linked.
pub(super) const LINKED: &str = "linked";
/// How long ago that may be for the page to tell of it: the parameter alone proves nothing.
const JUST_NOW: Duration = Duration::from_secs(120);

impl Site {
    /// `account` by GET.
    pub(super) async fn account(&self, asked: &Asked, notice: Option<page::AccountNotice>) -> Response<Body> {
        let live = match asked.visitor().session(&self.sessions).await {
            Ok(Some(live)) => live,
            Ok(None) => return self.to_sign_in_and_back(asked).await,
            Err(error) => return self.store_down(asked, &error),
        };
        match self.account_page(asked, &live, notice).await {
            Ok(page) => self.pages.account(&page, self.language_of(asked)),
            Err(error) => self.store_down(asked, &error),
        }
    }

    /// `account` by POST: ends other sessions, or removes a way to sign in.
    pub(super) async fn end_sessions(&self, asked: &Asked) -> Response<Body> {
        let visitor = asked.visitor();
        let Some(own) = visitor.session_key() else { return self.to_sign_in_and_back(asked).await };
        let token = asked.field(FORM_TOKEN_FIELD).unwrap_or_default();
        if self.account_forms.check(&token, own.bytes(), self.clock.now()).is_err() {
            return self.error(asked, ErrorPage::FormExpired);
        }
        if let Some(named) = asked.field(page::UNLINK_FIELD) {
            return self.unlink(asked, &named).await;
        }
        let ended = match asked.field(page::WHICH_FIELD).as_deref() {
            Some(page::WHICH_ONE) => self.end_one(asked).await,
            Some(page::WHICH_OTHERS) => self
                .login
                .sign_out(Extent::Elsewhere, &ReturnTo::home(), &visitor)
                .await
                .map(|done| Some(page::AccountNotice::OthersEnded { count: done.sessions as u64 })),
            Some(page::WHICH_ALL) => return self.end_all(asked).await,
            _ => return self.error(asked, ErrorPage::BadRequest),
        };
        match ended {
            Ok(notice) => self.account(asked, notice).await,
            Err(error) => self.store_down(asked, &error),
        }
    }

    async fn end_one(&self, asked: &Asked) -> Result<Option<page::AccountNotice>, StoreError> {
        let Some(key) = asked.field(page::SESSION_FIELD).as_deref().and_then(SessionKey::parse_hex) else {
            return Ok(None);
        };
        let ended = self.login.end_own(&key, &asked.visitor()).await?;
        Ok(ended.then_some(page::AccountNotice::Ended))
    }

    async fn end_all(&self, asked: &Asked) -> Response<Body> {
        match self.login.sign_out(Extent::Everywhere, &ReturnTo::home(), &asked.visitor()).await {
            Ok(done) => {
                see_other(&done.at_provider.map_or_else(|| self.after_sign_out.clone(), String::from), done.cookies)
            }
            Err(error) => self.store_down(asked, &error),
        }
    }

    pub(super) async fn to_sign_in_and_back(&self, asked: &Asked) -> Response<Body> {
        self.send_to_sign_in(asked, self.account_return(asked)).await
    }

    async fn account_page(
        &self,
        asked: &Asked,
        live: &Live,
        notice: Option<page::AccountNotice>,
    ) -> Result<page::Account, StoreError> {
        let session = live.session();
        let now = self.clock.now();
        let label = |provider: &crate::identity::ProviderName| self.label(provider);
        let sessions = self.sessions.list(&session.account).await?;
        // The page is worth showing without the directory; it then tells of this session alone.
        let account = self.directory.find(&session.account).await.ok().flatten();
        let identities = account.map(|account| account.identities).unwrap_or_default();
        let profile = &session.profile;
        let just_linked = identities
            .iter()
            .filter(|identity| asked.parameter(LINKED).is_some() && now.since(identity.linked_at) < JUST_NOW)
            .max_by_key(|identity| identity.linked_at)
            .map(|identity| page::AccountNotice::Linked { provider: label(&identity.origin.provider) });
        Ok(page::Account {
            now,
            name: profile.name.clone().or_else(|| profile.preferred_username.clone()),
            email: profile.email.clone(),
            email_verified: profile.email_verified,
            provider: label(&session.origin.provider),
            signed_in_at: session.created_at,
            connection: session.origin.connection.clone(),
            groups: profile.groups.clone(),
            identities: identities
                .into_iter()
                .map(|identity| page::LinkedIdentity {
                    key: identity_name(&identity.origin.key),
                    name: identity.origin.provider.to_string(),
                    kind: self
                        .login
                        .provider(&identity.origin.provider)
                        .map(|provider| provider.kind().to_owned())
                        .unwrap_or_default(),
                    label: label(&identity.origin.provider),
                    who: page::LinkedIdentity::who(&identity.profile, identity.origin.key.subject.as_str()),
                    used_at: identity.used_at,
                    current: identity.origin.key == session.origin.key,
                })
                .collect(),
            sessions: sessions
                .iter()
                .map(|listed| {
                    let provider = label(&listed.record.session.origin.provider);
                    page::OpenSession::of(listed, provider, listed.key == *live.key())
                })
                .collect(),
            link_url: Some(self.link_url(live)),
            notice: notice.or(just_linked),
            account_token: self.account_forms.issue(live.key().bytes(), now),
            sign_out_token: self.sign_out_forms.issue(live.key().bytes(), now),
            leads_to: self.leads_to(&session.origin.provider, asked).await,
        })
    }
}
