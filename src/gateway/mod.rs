//! The data plane: the steps a request goes through, in an order that cannot change.
//!
//! [`Gate::pass`] is that order, readable in one piece. Each line that cannot move says what breaks if it does. A step
//! receives a value and returns the next; errors fall out sideways as a [`Turned`], and [`rescue`] chooses what the
//! person or program is told.
//!
//! A [`Gate`] is one generation of configuration, shared by all workers and replaced whole on reload. A [`Worker`] is one
//! thread's handler: its own connections to the apps, its own counters. What may be slow is handed to the control plane
//! ([`control`]).

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Method, header, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    body::Body,
    clock::{Clock, Timestamp},
    config::host::HostPattern,
    login::return_to::ReturnTo,
    message::{Lines, Request, Response},
    policy::{Ask, Denial, Permit},
    portal::site::{Asked, Site},
    server::{Connection, Protocol},
    session::{
        SessionId, Sessions, StoreError,
        cookie::Cookies,
        live::Live,
        near::{Held, Known},
        streams::{OpenStream, Streams},
    },
    upstream::Upstream,
};

mod acquaintance;
pub mod assertion;
pub mod control;
mod dress;
pub mod enrich;
pub mod forward;
pub mod forward_auth;
pub mod intercept;
pub mod peer;
mod presence;
mod rescue;
pub mod route;
pub mod target;
mod worker;

use acquaintance::Acquaintance;
use assertion::{Asserter, KeyError};
use control::Control;
use enrich::HeaderPlan;
use forward::{
    ForwardError, ForwardSettings, Keep, Passage,
    hygiene::{self, Hop},
};
use forward_auth::{ForwardAuth, Untold};
use intercept::Answer;
use peer::{Caller, Peer, Scheme, TrustedProxies};
use presence::{Field, Presence};
use route::{NoRoute, Route, RouteTable};
use target::{BadTarget, Host, KnownHosts, Line, Target};

pub use worker::{Gates, Worker};

/// Where a proxy in front says the person was going.
const WANTED: HeaderName = HeaderName::from_static("x-auth-request-redirect");

/// The largest body our own pages take (threats 5).
const OWN_BODY_LIMIT: usize = 64 * 1024;
/// How long a body for our own pages may take to arrive.
const OWN_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a route leads, beside the route itself.
#[derive(Debug)]
pub struct Leading {
    /// The app.
    pub upstream: Arc<Upstream>,
    /// How it is forwarded to.
    pub settings: ForwardSettings,
}

/// One generation of configuration, as the data plane needs it.
#[derive(Debug)]
pub struct Gate {
    /// Which generation; what was made for a session by an earlier one is made anew.
    pub generation: u64,
    /// Every identity header there can be.
    pub plan: HeaderPlan,
    /// The routes.
    pub routes: RouteTable,
    /// What each route leads to, in the routes' order.
    pub leading: Vec<Leading>,
    /// Which hosts absolute-form may name.
    pub known: KnownHosts,
    /// Whom we believe about who calls.
    pub trusted: Arc<TrustedProxies>,
    /// Our cookies.
    pub cookies: Cookies,
    /// All sessions.
    pub sessions: Arc<Sessions>,
    /// Open streams, to be cut when their session ends.
    pub streams: Arc<Streams>,
    /// Signs assertions.
    pub asserter: Arc<Asserter>,
    /// Deciding for another proxy.
    pub forward_auth: ForwardAuth,
    /// Our own pages.
    pub site: Arc<Site>,
    /// Their prefix.
    pub prefix: String,
    /// Our own origin.
    pub public_url: Url,
    /// Hosts beside our own that we are reached by.
    pub hosts: Vec<(HostPattern, Option<u16>)>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What a request turned out to be, for metrics and the access log.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) peer: Option<Peer>,
    pub(crate) target: Option<Target>,
    /// The route's place in the configuration, from 0.
    pub(crate) route: Option<usize>,
    pub(crate) live: Option<Held>,
    pub(crate) denial: Option<&'static str>,
    /// What another proxy asks about (`forward_auth`).
    pub(crate) about: Option<Box<Target>>,
    /// Where sign-in is, for somebody another proxy asks about.
    pub(crate) sign_in: Option<String>,
}

/// Why a request was not forwarded.
#[derive(Debug)]
pub(crate) enum Turned {
    /// Its target is none of ours, or could be read in two ways.
    Target(BadTarget),
    /// No route takes it.
    Route(NoRoute),
    /// The session store does not answer: nobody can be recognised, and nobody is taken for signed out.
    Store(StoreError),
    /// Policy says no, and signing in would not help.
    Denied(Denial),
    /// Nobody is signed in, and this is the way to say so.
    SignIn(Answer),
    /// A page of another origin wants to open a WebSocket.
    ForeignOrigin,
    /// The body for one of our own pages did not come whole.
    OwnBody,
    /// Another proxy asks about a request, and it cannot be known which.
    Untold(Untold),
    /// The route promises a signed assertion that could not be made.
    Assertion(KeyError),
    /// The app could not be reached, or did not answer.
    Forward(ForwardError),
}

/// Who asks: a live session, with the id that opened it.
struct Person {
    id: SessionId,
    live: Held,
}

impl Gate {
    /// What must be so before the first request comes: a session that was cached without its tokens must not meet a route
    /// that passes them on.
    fn make_ready(&self) {
        let passes_tokens = |route: &Arc<Route>| route.pass_access_token || route.pass_id_token;
        self.sessions.keep_tokens(self.routes.routes().iter().any(passes_tokens));
    }

    /// Takes a request through all steps. Its head stays, so that whoever asked can be told why not.
    async fn pass(
        self: &Arc<Self>,
        worker: &Worker,
        request: &mut Request,
        connection: &Rc<Connection>,
        seen: &mut Seen,
    ) -> Result<Response, Turned> {
        let head = &mut *request.head;
        // Who calls is read first, while what a trusted proxy told is still there.
        let acquaintance = self.acquaintance(connection);
        let peer = &*seen.peer.insert(acquaintance.caller().peer(&head.headers));
        let question = self.question(head, acquaintance.caller().is_trusted(), peer.scheme);
        // Of our own prefix, but no identity: where the person was going, for our own pages alone, and judged as `rd` is.
        let wanted = head.uri.path().starts_with(&*self.prefix).then(|| head.headers.remove(&WANTED)).flatten();
        // Before anything else reads a header: no identity a client wrote survives, on whatever path (threats 1.1).
        self.plan.strip(&mut head.headers);
        let target = Target::parse_after(acquaintance.last_host(), Line::from(&*head), peer, &self.known);
        let target = &*seen.target.insert(target.map_err(Turned::Target)?);
        if let Some(question) = question {
            return self.forward_auth(worker, question, head, seen).await;
        }
        if let Some(path) = self.own_path(target) {
            head.headers.extend(wanted.map(|wanted| (WANTED, wanted)));
            // Boxed, as all that is rare: the future of every request is as large as the largest thing it may wait for.
            return Box::pin(self.own(worker, path, request, peer, target)).await;
        }
        let route = self.routes.find(target, &head.method).map_err(Turned::Route)?;
        seen.route = Some(route.number - 1);
        let (id, cookies) = self.cookies.part(&head.headers);
        let id = id.filter(|_| route.policy.looks_at_people());
        let person = self.authenticate(worker, id).await.map_err(Turned::Store)?;
        seen.live = person.as_ref().map(|person| person.live.clone());
        let present = Presence::of(&head.headers);
        let permit = match self.authorise(route, person.as_ref(), head, present, peer.scheme, target) {
            Ok(permit) => permit,
            Err(turned) => return Box::pin(self.turn_away(worker, turned, head, peer, target)).await,
        };
        // The Connection field's own fields go before ours are added, so that no client can name ours there (1.3).
        let hop = hygiene::strip_of(&mut head.headers, present);
        cookies.leave(&mut head.headers);
        self.forward(worker, route, permit, person, request, hop, peer, target, connection, &acquaintance).await
    }

    /// What is known of whoever is at the other end of the connection; found out once.
    fn acquaintance(&self, connection: &Connection) -> Rc<Acquaintance> {
        let make = || {
            let scheme = if connection.tls.is_some() { Scheme::Https } else { Scheme::Http };
            let address = connection.client().map(|address| address.ip());
            Rc::new(Acquaintance::new(self.generation, Caller::new(address, scheme, &self.trusted)))
        };
        match connection.keep(make) {
            Some(known) if known.generation() == self.generation => Rc::clone(known),
            // The configuration has changed since it connected.
            _ => make(),
        }
    }

    /// The path below our own prefix, when the target is one of our own pages.
    fn own_path<'t>(&self, target: &'t Target) -> Option<&'t str> {
        let rest = target.path().strip_prefix(self.prefix.as_str())?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }

    /// Our own pages, on the control plane.
    async fn own(
        self: &Arc<Self>,
        worker: &Worker,
        path: &str,
        request: &mut Request,
        peer: &Peer,
        target: &Target,
    ) -> Result<Response, Turned> {
        let body = collect(&request.head.method, std::mem::take(&mut request.body)).await.ok_or(Turned::OwnBody)?;
        let mut asked = self.asked(worker, &request.head, peer, target);
        asked.path = path.to_owned();
        asked.body = body;
        let site = self.site.clone();
        let answer = worker.control.run(async move { site.answer(&asked).await }).await;
        answer.map(Response::from).ok_or(Turned::OwnBody)
    }

    /// The request as our own pages see it.
    fn asked(&self, worker: &Worker, parts: &Parts, peer: &Peer, target: &Target) -> Asked {
        Asked {
            method: parts.method.clone(),
            path: String::new(),
            query: target.query().unwrap_or_default().to_owned(),
            session_id: self.cookies.session_id(&parts.headers),
            headers: parts.headers.clone(),
            body: Bytes::new(),
            address: peer.address,
            base: self.base(target),
            reference: worker.reference(),
        }
    }

    /// Our own origin as this browser reaches it: the configured one, or a configured host (threats 1.5).
    fn base(&self, target: &Target) -> Url {
        let configured = |host: &Host| {
            self.hosts
                .iter()
                .any(|(pattern, port)| pattern.matches(host.name()) && (port.is_none() || *port == host.port()))
        };
        target
            .host()
            .filter(|host| configured(host))
            .and_then(|host| {
                let authority = host.authority().to_str().ok()?;
                Url::parse(&format!("{}://{authority}/", self.public_url.scheme())).ok()
            })
            .unwrap_or_else(|| self.public_url.clone())
    }

    /// Who asks. A route that is public to everyone asks nobody, so it goes on when the store does not (threats 11).
    async fn authenticate(
        self: &Arc<Self>,
        worker: &Worker,
        id: Option<SessionId>,
    ) -> Result<Option<Person>, StoreError> {
        let Some(id) = id else { return Ok(None) };
        let now = self.clock.now();
        let live = match self.sessions.near(&worker.near, &id, now) {
            Some(Known::Session(live)) => {
                worker.metrics.cache_hit();
                live
            }
            Some(Known::Nobody) => return Ok(None),
            None => {
                worker.metrics.cache_miss();
                let (sessions, key) = (self.sessions.clone(), id.key());
                let loaded = worker.control.run(async move { sessions.load(&key).await }).await;
                match loaded.unwrap_or_else(|| Err(StoreError::Unavailable("the control plane has stopped".into())))? {
                    Some(live) => Held::new(live),
                    None => {
                        worker.near.put_nobody(&id, now);
                        return Ok(None);
                    }
                }
            }
        };
        self.renew_if_due(&worker.control, &id, &live, now);
        Ok(Some(Person { id, live }))
    }

    /// Renewal runs beside the request: the session serves while it is valid.
    fn renew_if_due(&self, control: &Control, id: &SessionId, live: &Held, now: Timestamp) {
        let login = self.site.login();
        if login.claim_renewal(live, now) {
            let (login, id, live) = (login.clone(), id.clone(), live.shared().clone());
            control.start(async move {
                login.renew(&id, &live).await;
            });
        }
    }

    /// May it pass?
    fn authorise(
        &self,
        route: &Route,
        person: Option<&Person>,
        parts: &Parts,
        present: Presence,
        scheme: Scheme,
        target: &Target,
    ) -> Result<Permit, Turned> {
        let facts = person.map(|person| enrich::Person::from(person.live.session()).facts());
        let preflight = intercept::is_preflight(&parts.method, &parts.headers);
        let permit =
            route.policy.decide(facts, Ask { method: &parts.method, preflight }).map_err(|denial| match denial {
                Denial::NotSignedIn => {
                    Turned::SignIn(intercept::answer(&parts.method, &parts.headers, route.intercept))
                }
                denial => Turned::Denied(denial),
            })?;
        // Browsers send cookies along with any page's WebSocket: its origin is all there is to go by (threats 3.5).
        // A proxy that asks about one keeps Upgrade to itself, and hands on the rest of the handshake.
        let websocket = present.has(Field::Upgrade) || present.has(Field::SecWebsocketKey);
        if permit.is_personal() && websocket {
            let own = format!(
                "{}://{}",
                scheme.as_str(),
                target.host().and_then(|host| host.authority().to_str().ok()).unwrap_or_default()
            );
            let origin = parts.headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("\0"));
            if !route.lets_websocket_in(origin, &own) {
                return Err(Turned::ForeignOrigin);
            }
        }
        Ok(permit)
    }

    /// A page load without a session goes to sign in at once; everything else is told why not.
    async fn turn_away(
        self: &Arc<Self>,
        worker: &Worker,
        turned: Turned,
        parts: &Parts,
        peer: &Peer,
        target: &Target,
    ) -> Result<Response, Turned> {
        if !matches!(turned, Turned::SignIn(Answer::Redirect)) {
            return Err(turned);
        }
        let asked = self.asked(worker, parts, peer, target);
        let wanted = target.path_and_query().as_str();
        let back = ReturnTo::check(wanted, &asked.base, self.site.allowed()).unwrap_or_else(|_| ReturnTo::home());
        let site = self.site.clone();
        let sent = worker.control.run(async move { site.send_to_sign_in(&asked, back).await }).await;
        sent.map(Response::from).ok_or(turned)
    }

    /// The last step: only a permit gets here.
    #[expect(clippy::too_many_arguments, reason = "everything the steps before have found out meets here")]
    async fn forward(
        self: &Arc<Self>,
        worker: &Worker,
        route: &Route,
        permit: Permit,
        person: Option<Person>,
        request: &mut Request,
        hop: Hop,
        peer: &Peer,
        target: &Target,
        connection: &Rc<Connection>,
        acquaintance: &Acquaintance,
    ) -> Result<Response, Turned> {
        let leading = self.leading.get(route.number - 1).ok_or(Turned::Route(NoRoute::NotFound))?;
        let head = &mut *request.head;
        if let Some(host) = target.host() {
            head.headers.insert(header::HOST, host.authority().clone());
        }
        head.uri = route.upstream_target(target).into();
        let person = person.filter(|_| permit.is_personal());
        let dress = person.as_ref().map(|person| self.dress(route, person, target)).transpose();
        let dress = dress.map_err(Turned::Assertion)?;
        let from = acquaintance.lines(peer, target);
        let stream = person.as_ref().and_then(|person| self.stream(person, head, hop));
        let passage = Passage {
            upstream: &leading.upstream,
            settings: &leading.settings,
            hop,
            lines: [&from, dress.as_deref().unwrap_or(Lines::none())],
            takes_lines: connection.protocol == Protocol::H1,
            affinity: person.as_ref().filter(|_| leading.upstream.is_sticky()).map(|person| affinity(&person.live)),
            cancel: stream.as_ref().map_or(&worker.never, |stream| stream.ended()),
            keep: Keep { stream: stream.clone(), connection: hop.wants_websocket().then(|| connection.clone()) },
        };
        let mut response = worker.forwarder.forward(permit, request, &passage).await.map_err(Turned::Forward)?;
        // No app can sign people in or out here (threats 1.6).
        self.cookies.guard(response.headers_mut());
        Ok(response)
    }

    /// Books what outlives its request, so that it ends with the session.
    fn stream(&self, person: &Person, head: &Parts, hop: Hop) -> Option<Arc<OpenStream>> {
        let events = || {
            let accept = head.headers.get(header::ACCEPT);
            accept.is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"))
        };
        (hop.wants_websocket() || (hop.had(Field::Accept) && events()))
            .then(|| Arc::new(self.streams.open(*person.live.key())))
    }
}

/// A number that is the same for all requests of one account, for upstreams that want them together.
fn affinity(live: &Live) -> u64 {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one(live.session().account)
}

/// The body of a request for our own pages, when it is small and comes in time.
async fn collect(method: &Method, body: Body) -> Option<Bytes> {
    if *method != Method::POST {
        return Some(Bytes::new());
    }
    let limited = Limited::new(body, OWN_BODY_LIMIT).collect();
    Some(tokio::time::timeout(OWN_BODY_TIMEOUT, limited).await.ok()?.ok()?.to_bytes())
}

/// A token that never fires, for requests that end by themselves.
fn never() -> CancellationToken {
    CancellationToken::new()
}
