//! Simulated identity providers: each behaves as its original does on the wire, quirks and all, and lies on request.
//!
//! [`Simulator::start`] opens one on a loopback port. A browser sees a sign-in page with a few made-up [`People`] and a
//! consent page, both in the provider's own colours; after that its cookie signs it in without a page. A test fixes the
//! answer instead ([`Simulator::auto_approve`]), makes the simulator [`Lie`], changes what real providers leave to
//! settings ([`Behaviour`]), and looks at what was asked ([`Simulator::calls`]). Another process does the same with
//! `POST /_control`.
//!
//! What others may rely on: client id and secret, redirect URI, PKCE and the single use of codes are really checked, in
//! the provider's own way and with its own errors; ID tokens are really signed. What is absent on purpose: passwords,
//! real looks and logos, anything but loopback addresses, and state that outlives the process.
//!
//! To add a provider: a file with its `Imitation`, an arm in [`SimulatorKind`], a row in the tests.

use std::{io, net::SocketAddr, sync::Arc};

use http::{Response, StatusCode};
use hyper::body::Incoming;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::listen;
use crate::{
    body::Body,
    clock::{Clock, SystemClock},
};

mod authorize;
mod cognito;
mod control;
mod endpoint;
mod facebook;
mod github;
mod google;
mod grants;
mod imitation;
mod keys;
mod lie;
mod message;
mod oauth2;
mod oidc;
mod pages;
mod people;
mod world;
mod x;

#[cfg(test)]
mod tests;

use endpoint::{Endpoint, Fault};
use imitation::Imitation;
use message::{Reply, Request};
use world::{Approval, World};

pub use self::{
    grants::Rotation,
    lie::Lie,
    oidc::LogoutFlaw,
    people::{People, Person},
    world::{Behaviour, Call},
};

/// Which provider is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimulatorKind {
    /// Google.
    Google,
    /// Facebook.
    Facebook,
    /// X.
    X,
    /// An AWS Cognito user pool.
    Cognito,
    /// GitHub.
    GitHub,
    /// An OpenID Connect issuer without oddities.
    Oidc,
    /// A plain OAuth 2.0 service.
    OAuth2,
}

impl SimulatorKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Google, Self::Facebook, Self::X, Self::Cognito, Self::GitHub, Self::Oidc, Self::OAuth2];

    /// The kind as the configuration spells it.
    pub fn word(self) -> &'static str {
        self.imitation().look().word
    }

    /// What people call it.
    pub fn label(self) -> &'static str {
        self.imitation().look().name
    }

    fn imitation(self) -> Box<dyn Imitation> {
        match self {
            Self::Google => Box::new(google::Google),
            Self::Facebook => Box::new(facebook::Facebook),
            Self::X => Box::new(x::X),
            Self::Cognito => Box::new(cognito::Cognito),
            Self::GitHub => Box::new(github::GitHub),
            Self::Oidc => Box::new(oidc::Oidc),
            Self::OAuth2 => Box::new(oauth2::OAuth2),
        }
    }
}

/// What a relying party has registered.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// Its client id.
    pub client_id: String,
    /// Its client secret.
    pub client_secret: String,
    /// Callback addresses, compared byte for byte.
    pub redirect_uris: Vec<String>,
    /// Addresses to return to after sign-out, compared byte for byte.
    pub post_logout_uris: Vec<String>,
}

/// A running simulator; it stops when dropped.
#[derive(Debug)]
pub struct Simulator {
    kind: SimulatorKind,
    address: SocketAddr,
    world: Arc<World>,
    _stop: DropGuard,
}

impl Simulator {
    /// Starts a simulator of `kind` on the runtime this is called in, with the operating system's clock. Port 0 takes
    /// any free port.
    ///
    /// # Errors
    /// When `listen` is not a loopback address or cannot be bound.
    pub async fn start(kind: SimulatorKind, listen: SocketAddr, registration: Registration) -> io::Result<Self> {
        Self::start_at(kind, listen, registration, SystemClock).await
    }

    /// As [`start`](Self::start), with a clock of the caller's.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_at(
        kind: SimulatorKind,
        listen: SocketAddr,
        registration: Registration,
        clock: impl Clock + 'static,
    ) -> io::Result<Self> {
        let listener = listen::bind(listen).await?;
        let address = listener.local_addr()?;
        let world = World::new(kind.imitation(), format!("http://{address}"), registration, Box::new(clock));
        let world = Arc::new(world);
        let stop = CancellationToken::new();
        let shared = Arc::clone(&world);
        listen::serve(listener, stop.clone(), move |request| handle(Arc::clone(&shared), request));
        if world.imitation.has_id_token() {
            // Making an RSA key takes a moment: let it be over when the first token is wanted.
            let shared = Arc::clone(&world);
            tokio::task::spawn_blocking(move || shared.keys.current());
        }
        Ok(Self { kind, address, world, _stop: stop.drop_guard() })
    }

    /// Which provider it simulates.
    pub fn kind(&self) -> SimulatorKind {
        self.kind
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL with the path `/`.
    #[expect(clippy::expect_used, reason = "scheme, host and port of a bound socket are a URL")]
    pub fn base(&self) -> Url {
        Url::parse(&self.world.base).expect("an address is a URL")
    }

    /// Its issuer identifier, in the exact spelling of its tokens.
    pub fn issuer(&self) -> String {
        self.world.imitation.issuer(&self.world.base)
    }

    /// Its identifier of a person: what the gateway will know as the subject.
    pub fn subject(&self, person: &Person) -> String {
        self.world.imitation.subject(person)
    }

    /// Lies from now on, or tells the truth again.
    pub fn set_lie(&self, lie: Option<Lie>) {
        self.world.state().lie = lie;
    }

    /// Whoever comes is this person and consents, without a page; `None` brings the pages back.
    ///
    /// # Errors
    /// When nobody has this short name; nothing changes then.
    pub fn auto_approve(&self, person: Option<&str>) -> Result<(), UnknownPerson> {
        let approval = match person {
            Some(id) => Approval::Approve(People::find(id).ok_or_else(|| UnknownPerson(id.to_owned()))?),
            None => Approval::Ask,
        };
        self.world.state().approval = approval;
        Ok(())
    }

    /// Whoever comes cancels, without a page, until [`auto_approve`](Self::auto_approve) is called.
    pub fn auto_cancel(&self) {
        self.world.state().approval = Approval::Cancel;
    }

    /// Changes what real providers leave to settings.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.world.state().behaviour);
    }

    /// Registers one more callback address.
    pub fn allow_redirect(&self, uri: impl Into<String>) {
        self.world.state().redirect_uris.push(uri.into());
    }

    /// Registers one more address to return to after sign-out.
    pub fn allow_post_logout(&self, uri: impl Into<String>) {
        self.world.state().post_logout_uris.push(uri.into());
    }

    /// Signs with a new key from now on; the last one stays published. Takes up to a second: it makes an RSA key.
    pub fn rotate_keys(&self) {
        self.world.keys.rotate();
    }

    /// Ends every token of this person at once, as an administrator or a changed password does.
    pub fn end_grants(&self, person: &str) {
        self.world.state().grants.kill_all(|grant| grant.person.id == person);
    }

    /// Forgets who is signed in and who has consented.
    pub fn sign_out_all(&self) {
        let mut state = self.world.state();
        state.browsers.clear();
        state.consents.clear();
    }

    /// The requests seen at one endpoint, oldest first; for the names see [`Call::endpoint`]. The last 2000 of all are kept.
    pub fn calls(&self, name: &str) -> Vec<Call> {
        self.world.calls(Some(name))
    }

    /// The provider's own sessions (`sid`) in which this person holds living tokens.
    pub fn sids(&self, person: &str) -> Vec<String> {
        self.world.state().grants.sids(person)
    }

    /// Starts counting anew.
    pub fn forget_calls(&self) {
        self.world.forget_calls();
    }

    /// A back-channel logout token for `person` and, if given, one session (`sid`); with `flaw` it breaks one rule.
    pub fn logout_token(&self, person: &Person, sid: Option<&str>, flaw: Option<LogoutFlaw>) -> String {
        oidc::logout_token(&self.world, &self.subject(person), sid, flaw)
    }

    /// A Facebook `signed_request` about `person`, as sent to the deauthorisation and data-deletion callbacks.
    pub fn signed_request(&self, person: &Person, forged: bool) -> String {
        facebook::signed_request(&self.world, person, forged)
    }

    /// The `[provider.NAME]` table a gateway needs to use this simulator.
    pub fn config_toml(&self, name: &str) -> String {
        let mut lines = vec![
            format!("[provider.{name}]"),
            format!("kind = {}", imitation::quoted(self.kind.word())),
            format!("label = {}", imitation::quoted(self.kind.label())),
            format!("client_id = {}", imitation::quoted(&self.world.client_id)),
            format!("client_secret = {}", imitation::quoted(&self.world.client_secret)),
        ];
        let settings = self.world.imitation.settings(&self.world.base);
        lines.extend(settings.into_iter().map(|(key, value)| format!("{key} = {value}")));
        lines.join("\n") + "\n"
    }
}

/// Nobody has this short name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nobody is called {0:?}; see People::all")]
pub struct UnknownPerson(String);

async fn handle(world: Arc<World>, request: http::Request<Incoming>) -> Response<Body> {
    let Some(request) = Request::read(request).await else {
        return Reply::empty(StatusCode::PAYLOAD_TOO_LARGE).send().await;
    };
    let reply = if is_own_host(&request, &world) {
        answer(&request, &world)
    } else {
        Reply::new(StatusCode::MISDIRECTED_REQUEST, "text/plain", "ask for the simulator by its own address")
    };
    reply.send().await
}

/// A name that was pointed at this machine for a moment must not steer the simulator (DNS rebinding).
fn is_own_host(request: &Request, world: &World) -> bool {
    let host = request.header("host").unwrap_or_default();
    let own = world.base.trim_start_matches("http://");
    let port = own.rsplit(':').next().unwrap_or_default();
    host == own || host.strip_prefix("localhost:") == Some(port)
}

fn answer(request: &Request, world: &World) -> Reply {
    match request.path.as_str() {
        control::CONTROL | control::CALLS => return control::answer(request, world),
        "/_sign_in" => return authorize::signed_in(request, world),
        "/_consent" => return authorize::consented(request, world),
        "/" => return pages::front(world, request),
        _ => {}
    }
    let endpoint = match request.path.as_str() {
        lie::ELSEWHERE => Endpoint::Elsewhere,
        _ => world.imitation.endpoint(request),
    };
    let reply = at_endpoint(endpoint, request, world);
    world.record(endpoint, request, reply.status.as_u16());
    reply
}

fn at_endpoint(endpoint: Endpoint, request: &Request, world: &World) -> Reply {
    let imitation = &world.imitation;
    let lie = world.state().lie.clone();
    if endpoint == Endpoint::Authorize {
        let mut reply = authorize::begin(request, world);
        if let Some(lie) = &lie {
            reply.delay = lie.delay(endpoint);
        }
        return reply;
    }
    if let Some(reply) = lie.as_ref().and_then(|lie| lie::before(lie, endpoint, &world.base)) {
        return reply;
    }
    let answer = match lie.as_ref().and_then(|lie| pretended(lie, endpoint)) {
        Some(fault) => Err(fault),
        None => imitation.answer(endpoint, request, world),
    };
    let reply = answer.unwrap_or_else(|fault| imitation.refuse(fault, endpoint, world));
    match lie {
        Some(lie) => lie::after(&lie, endpoint, reply, imitation.subject_pointer(), imitation.has_id_token()),
        None => reply,
    }
}

/// The refusal a lie pretends, which the provider spells in its own way.
fn pretended(lie: &Lie, endpoint: Endpoint) -> Option<Fault> {
    match (lie, endpoint) {
        (Lie::InvalidClient, _) if endpoint.is_token() => Some(Fault::WrongClient),
        (Lie::TooManyRequests, Endpoint::Profile) => Some(Fault::TooMany),
        (Lie::TooManyRequests, _) if endpoint.is_token() => Some(Fault::TooMany),
        (Lie::InvalidGrantOnRefresh, Endpoint::Refresh | Endpoint::Exchange) => Some(Fault::DeadRefresh),
        (Lie::DeadAccessToken, Endpoint::Profile | Endpoint::Emails | Endpoint::Groups) => Some(Fault::DeadAccess),
        _ => None,
    }
}
