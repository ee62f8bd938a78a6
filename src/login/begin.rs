//! Beginning a login: the browser is bound first, then sent to the provider.

use http::HeaderValue;
use url::Url;

use super::{
    Login, Visitor,
    attempt::{Attempt, MAX_PENDING},
    return_to::ReturnTo,
};
use crate::{
    clock::Timestamp,
    event::What,
    identity::ProviderName,
    provider::{AuthorizationRequest, Prompt, ProviderError},
    session::StoreError,
    telemetry::metrics::LoginStep,
};

/// A login to begin.
#[derive(Debug, Clone)]
pub struct Begin {
    /// By which provider.
    pub provider: ProviderName,
    /// Where to go afterwards.
    pub return_to: ReturnTo,
    /// What the provider should ask of the person.
    pub prompt: Prompt,
    /// Whom to expect.
    pub login_hint: Option<String>,
    /// True when an earlier attempt came to nothing: this one is not started over again.
    pub again: bool,
}

/// A begun login: where to send the browser, with which cookies.
#[derive(Debug)]
pub struct Begun {
    /// The provider's authorization endpoint with our request.
    pub location: Url,
    /// `Set-Cookie` values: the attempt, and attempts that gave way to it.
    pub cookies: Vec<HeaderValue>,
}

/// Why a login could not begin.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// There is no such provider.
    #[error("no provider is called {0}")]
    UnknownProvider(ProviderName),
    /// This address begins too many logins.
    #[error("too many logins begin from this address")]
    TooMany,
    /// The session store does not answer: no login starts that cannot be finished (threats 11).
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The provider cannot be asked.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl Login {
    /// Begins a login: binds an attempt to the browser and tells where to send it.
    ///
    /// # Errors
    /// [`NotBegun`], each way with its own page.
    pub async fn begin(&self, ask: Begin, visitor: &Visitor<'_>) -> Result<Begun, NotBegun> {
        if !self.limits.admits(visitor.address) {
            return Err(NotBegun::TooMany);
        }
        let provider = self.provider(&ask.provider).ok_or_else(|| NotBegun::UnknownProvider(ask.provider.clone()))?;
        self.admits_logins()?;
        self.sessions.store().ping().await?;
        let now = self.clock.now();
        let attempt = Attempt::begin(ask.provider.clone(), ask.return_to, ask.again, now);
        let redirect_uri = self.redirect_uri(&ask.provider, visitor.base);
        let (state, nonce, verifier) = (attempt.state(), attempt.nonce(), attempt.pkce_verifier());
        let asked = provider
            .authorize_url(AuthorizationRequest {
                state: &state,
                nonce: &nonce,
                pkce_verifier: &verifier,
                redirect_uri: &redirect_uri,
                login_hint: ask.login_hint.as_deref(),
                prompt: ask.prompt,
            })
            .await;
        if let Err(error) = &asked {
            self.refused(&ask.provider, error.reason(), visitor).await;
        }
        let location = asked?;
        self.metrics.login(LoginStep::Begun, &ask.provider);
        Ok(Begun { location, cookies: self.bind(&attempt, visitor) })
    }

    /// The cookies that bind `attempt` to the browser and clear the oldest ones beyond [`MAX_PENDING`].
    fn bind(&self, attempt: &Attempt, visitor: &Visitor<'_>) -> Vec<HeaderValue> {
        let mut pending: Vec<(&str, Timestamp)> =
            self.cookies.logins(visitor.headers).map(|id| (id, self.pending_since(id, visitor))).collect();
        pending.sort_by_key(|(_, begun_at)| *begun_at);
        let surplus = (pending.len() + 1).saturating_sub(MAX_PENDING);
        let mut cookies: Vec<HeaderValue> =
            pending.iter().take(surplus).map(|(id, _)| self.cookies.clear_login(id)).collect();
        let state = attempt.state();
        let id = Attempt::id(&state).unwrap_or_default();
        cookies.push(self.cookies.set_login(id, &attempt.seal(&self.keys, id), self.login_timeout));
        cookies
    }

    /// When the attempt in the cookie `id` began; one that is done or does not open is the first to go.
    fn pending_since(&self, id: &str, visitor: &Visitor<'_>) -> Timestamp {
        let sealed = self.cookies.login(visitor.headers, id).unwrap_or_default();
        Attempt::open(&self.keys, id, sealed).filter(|old| !old.done).map(|old| old.begun_at).unwrap_or_default()
    }

    /// Tells of a refusal: an event, a metric and a log line.
    pub(super) async fn refused(&self, provider: &ProviderName, reason: &'static str, visitor: &Visitor<'_>) {
        self.metrics.login_failed(provider, reason);
        self.note(What::Refused { reason }, None, Some(provider.clone()), visitor).await;
    }
}
