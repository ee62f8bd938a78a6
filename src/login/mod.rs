//! Login: from "nobody is signed in" to a session, and what happens to it until it ends.
//!
//! [`begin`] binds a login [`attempt`] to the browser and sends it to a provider; [`callback`] takes the answer and
//! signs the person in; [`renew`] keeps a session alive the way its origin allows; [`logout`] ends it. [`return_to`]
//! proves that an address may be gone to afterwards; [`remembered`] is what the browser keeps of its last sign-in;
//! [`limits`] holds off floods.
//!
//! Everything here runs on the control plane and may be slow. Nothing here knows HTML or status codes: each step ends
//! in an enum that lists every way it can end, and the portal gives each its page.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use http::HeaderMap;
use url::Url;

use crate::{
    clock::Clock,
    directory::Directory,
    event::{Event, Journal, What},
    identity::{AccountId, ProviderName},
    provider::Provider,
    secret::KeyRing,
    session::{SessionId, SessionKey, Sessions, StoreError, cookie::Cookies, live::Live},
    telemetry::metrics::Metrics,
};

pub mod attempt;
pub mod begin;
pub mod callback;
pub mod limits;
pub mod logout;
pub mod remembered;
pub mod renew;
pub mod return_to;

/// The browser a login is for: what of its request matters here.
pub struct Visitor<'a> {
    /// Our own origin as this browser reaches it: the configured one, or a configured host.
    pub base: &'a Url,
    /// Its headers: our cookies are among them.
    pub headers: &'a HeaderMap,
    /// The session id it brought.
    pub session_id: Option<SessionId>,
    /// From where, after trusted forwarding.
    pub address: Option<IpAddr>,
    /// The browser.
    pub user_agent: Option<&'a str>,
    /// The request's reference, for log and error page.
    pub request: &'a str,
}

impl Visitor<'_> {
    /// The key of the session it brought.
    pub fn session_key(&self) -> Option<SessionKey> {
        self.session_id.as_ref().map(SessionId::key)
    }

    /// Its live session.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn session(&self, sessions: &Sessions) -> Result<Option<Arc<Live>>, StoreError> {
        match self.session_key() {
            Some(key) => sessions.load(&key).await,
            None => Ok(None),
        }
    }
}

/// The login flows over the configured providers, sessions and directory.
#[derive(Debug)]
pub struct Login {
    pub(crate) providers: Providers,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) keys: KeyRing,
    pub(crate) cookies: Cookies,
    /// Path prefix of our own pages.
    pub(crate) prefix: String,
    pub(crate) login_timeout: Duration,
    pub(crate) remember_origin: Duration,
    pub(crate) renew_before: Duration,
    pub(crate) limits: limits::Limits,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: Arc<Journal>,
    pub(crate) metrics: Metrics,
}

/// The configured providers by name.
pub type Providers = BTreeMap<ProviderName, Arc<dyn Provider>>;

impl Login {
    /// The provider called `name`.
    pub fn provider(&self, name: &ProviderName) -> Option<&Arc<dyn Provider>> {
        self.providers.get(name)
    }

    /// Where `provider` must send its answer: built from configuration, one for each provider so that answers cannot
    /// be mixed up (RFC 9700, 4.4.2.2).
    pub fn redirect_uri(&self, provider: &ProviderName, base: &Url) -> Url {
        let mut uri = base.clone();
        uri.set_path(&format!("{}/callback/{provider}", self.prefix));
        uri
    }

    /// Tells an event of this visitor that goes with no change of a session.
    async fn note(
        &self,
        what: What,
        account: Option<AccountId>,
        provider: Option<ProviderName>,
        visitor: &Visitor<'_>,
    ) {
        self.events.note(&self.event(what, account, provider, visitor)).await;
    }

    /// An event of this visitor.
    fn event(
        &self,
        what: What,
        account: Option<AccountId>,
        provider: Option<ProviderName>,
        visitor: &Visitor<'_>,
    ) -> Event {
        let (address, request) = (visitor.address, Some(visitor.request.to_owned()));
        Event { account, provider, address, request, ..Event::new(self.clock.now(), what) }
    }

    /// An error in words while new logins are refused because events wait beyond the bounds (threats 11).
    fn admits_logins(&self) -> Result<(), StoreError> {
        if self.events.refuses_logins() {
            let why =
                "events wait beyond the bounds of [event], and when_full = \"refuse_logins\": see which sink is down";
            return Err(StoreError::Unavailable(why.to_owned()));
        }
        Ok(())
    }
}
