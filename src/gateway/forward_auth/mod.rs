//! Forward auth: the same decision without the proxying, for a proxy in front that asks at `{prefix}/auth`.
//!
//! nginx `auth_request`, Traefik ForwardAuth, Caddy `forward_auth`, HAProxy and Envoy `ext_authz` over HTTP differ only
//! in how they tell which request they ask about ([`told`]) and in what they can do with a "no". Recognising,
//! authorising and renewing are the very functions of the proxied way, and an answer for a cached session never leaves
//! the worker.
//!
//! What the proxy in front may rely on (threats 2.7):
//!
//! * A yes carries every header of the configured set, each exactly once, empty where the person has no such value or
//!   the request is public: copying them all leaves nothing of what a client wrote.
//! * A yes for a request that needs a session is never given without one: a broken or unknown session is 401 (or, where
//!   configured, 302 for a page load), a store that does not answer 503.
//! * What is not told, told twice or by a stranger is 403.
//!
//! To add a dialect: a word in `config::forward_auth::Source` and its reader in `told`.

mod told;

#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{HeaderName, HeaderValue, StatusCode, header, request::Parts};

use super::{
    Gate, Person, Seen, Turned, Worker,
    enrich::{HeaderPlan, SetId, UnknownSet},
    intercept::{self, Answer},
    peer::Scheme,
    presence::Presence,
    route::{NoRoute, Route},
};
use crate::{
    body::Body,
    config::{
        forward_auth::{ForwardAuth as Config, Source, Unrouted},
        route::Intercept,
    },
    login::return_to::ReturnTo,
    message::{Lines, Response},
    policy::{
        Ask, Authorities, Denial, Policy,
        narrow::{Authority, Narrowing},
    },
};
use told::Told;
pub(crate) use told::Untold;

/// `[forward_auth]`, with everything derived that can be.
#[derive(Debug)]
pub struct ForwardAuth {
    /// Where it is asked at.
    path: Box<str>,
    source: Source,
    /// What holds where no route does; `None` refuses.
    unrouted: Option<Policy>,
    redirect: bool,
    headers: SetId,
    assertion: bool,
    assertion_audience: Option<Arc<str>>,
    yes: StatusCode,
    authority: Authority,
    /// The answer's fields for a request that passes as nobody: all names, no value.
    nobody: Lines,
    /// Whether the operator was told of a proxy that does not tell what it should.
    warned: AtomicBool,
}

impl ForwardAuth {
    /// From the configuration.
    ///
    /// # Errors
    /// [`UnknownSet`] when there is no such set of headers.
    pub fn new(
        config: &Config,
        prefix: &str,
        plan: &HeaderPlan,
        authorities: &Authorities,
    ) -> Result<Self, UnknownSet> {
        let headers = plan.set(&config.headers)?;
        let assertion = config.assertion.then(|| plan.assertion_header());
        let nobody = yes_of(plan.names(headers).chain(assertion).map(|name| (name, &NOTHING)));
        Ok(Self {
            path: format!("{prefix}/auth").into(),
            source: config.source,
            unrouted: (config.unrouted == Unrouted::SignedIn || config.source == Source::None).then(Policy::signed_in),
            redirect: config.redirect,
            headers,
            assertion: config.assertion,
            assertion_audience: config.assertion_audience.as_deref().map(Into::into),
            yes: StatusCode::from_u16(config.status).unwrap_or(StatusCode::ACCEPTED),
            authority: Authority::new(authorities),
            nobody,
            warned: AtomicBool::new(false),
        })
    }

    /// Whether this is a question of another proxy's, by its target as it came: an odd spelling of our address is none,
    /// so that nobody's canonical form of an asked-about path ever leads past the decision.
    fn is_asked(&self, parts: &Parts) -> bool {
        match (self.source, parts.uri.path().strip_prefix(&*self.path)) {
            (_, Some("")) => true,
            (Source::Path, Some(rest)) => rest.starts_with('/'),
            _ => false,
        }
    }

    /// The set of identity headers in the answer.
    pub(super) fn headers(&self) -> SetId {
        self.headers
    }

    /// The configured audience of assertions; `None` when none are made.
    pub(super) fn audience(&self) -> Option<Option<&Arc<str>>> {
        self.assertion.then_some(self.assertion_audience.as_ref())
    }

    /// Operators hear of a proxy that does not tell what it should, once; a stranger must not fill the log.
    fn warn(&self, untold: Untold, reference: &str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = %untold, request = reference, "forward auth cannot know which request is asked about");
        }
    }
}

/// No value.
pub(super) static NOTHING: HeaderValue = HeaderValue::from_static("");

/// The fields of a yes. Whoever keeps answers keeps them by session, or another person gets this one's.
pub(super) fn yes_of<'a>(fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>) -> Lines {
    static NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    fields.chain([(&header::CACHE_CONTROL, &NO_STORE)]).collect()
}

/// A question of another proxy's.
#[derive(Debug)]
pub(super) struct Question {
    told: Result<Option<Told>, Untold>,
    trusted: bool,
}

/// Which configuration the request that is asked about falls under.
enum Under<'g> {
    Route(&'g Arc<Route>),
    Policy(&'g Policy),
}

impl Under<'_> {
    fn policy(&self) -> &Policy {
        match self {
            Self::Route(route) => &route.policy,
            Self::Policy(policy) => policy,
        }
    }

    fn intercept(&self) -> Intercept {
        match self {
            Self::Route(route) => route.intercept,
            Self::Policy(_) => Intercept::Auto,
        }
    }
}

impl Gate {
    /// The question this request puts, if it is one: read while what a trusted proxy told is still there.
    /// Boxed: hardly any request is one, and all would carry room for it.
    pub(super) fn question(&self, parts: &Parts, trusted: bool, scheme: Scheme) -> Option<Box<Question>> {
        let forward_auth = &self.forward_auth;
        forward_auth.is_asked(parts).then(|| {
            let told = told::read(forward_auth.source, trusted, parts, scheme, &forward_auth.path);
            Box::new(Question { told, trusted })
        })
    }

    /// Answers it.
    pub(super) async fn forward_auth(
        self: &Arc<Self>,
        worker: &Worker,
        question: Box<Question>,
        parts: &mut Parts,
        seen: &mut Seen,
    ) -> Result<Response, Turned> {
        let told = match question.told {
            Ok(told) => told,
            Err(untold) => {
                self.forward_auth.warn(untold, &worker.reference());
                return Err(Turned::Untold(untold));
            }
        };
        match self.judge(worker, told, question.trusted, parts, seen).await {
            Ok(lines) => {
                let mut response = Response::from(http::Response::new(Body::Empty));
                response.head.status = self.forward_auth.yes;
                response.lines = lines;
                Ok(response)
            }
            Err(turned) => Err(turned),
        }
    }

    /// The decision, with the headers of a yes.
    async fn judge(
        self: &Arc<Self>,
        worker: &Worker,
        told: Option<Told>,
        trusted: bool,
        parts: &mut Parts,
        seen: &mut Seen,
    ) -> Result<Lines, Turned> {
        // Path's query is that of the request asked about, which is a client's.
        let query = match self.forward_auth.source {
            Source::Path => "",
            _ => parts.uri.query().unwrap_or_default(),
        };
        let narrowing = Narrowing::of(query);
        let scheme = told.as_ref().map_or(Scheme::Https, |told| told.scheme);
        if let Some(told) = told {
            // From here on the request is the one that is asked about; its own fields came along.
            parts.method = told.method;
            seen.about = Some(Box::new(told.target));
        }
        let under = self.under(parts, seen)?;
        let must_know = under.policy().looks_at_people() || !narrowing.is_empty();
        let id = must_know.then(|| self.cookies.session_id(&parts.headers)).flatten();
        let person = self.authenticate(worker, id).await.map_err(Turned::Store)?;
        seen.live = person.as_ref().map(|person| person.live.clone());
        let verdict = self.authorise_asked(&under, &narrowing, person.as_ref(), parts, scheme, seen);
        match verdict {
            Ok(true) => match &person {
                Some(person) => self.introduce(person, seen.about.as_deref(), trusted).map_err(Turned::Assertion),
                None => Ok(self.forward_auth.nobody.clone()),
            },
            Ok(false) => Ok(self.forward_auth.nobody.clone()),
            Err(turned) => Err(self.worded(turned, seen)),
        }
    }

    /// The route, or what holds instead of one.
    fn under(&self, parts: &Parts, seen: &mut Seen) -> Result<Under<'_>, Turned> {
        let unrouted = self.forward_auth.unrouted.as_ref();
        let Some(about) = &seen.about else {
            return unrouted.map(Under::Policy).ok_or(Turned::Route(NoRoute::NotFound));
        };
        match (self.routes.find(about, &parts.method), unrouted) {
            (Ok(route), _) => {
                seen.route = Some(route.number - 1);
                Ok(Under::Route(route))
            }
            (Err(NoRoute::NotFound), Some(policy)) => Ok(Under::Policy(policy)),
            (Err(error), _) => Err(Turned::Route(error)),
        }
    }

    /// Whether it passes as the person (true) or as nobody in particular (false).
    fn authorise_asked(
        &self,
        under: &Under<'_>,
        narrowing: &Narrowing<'_>,
        person: Option<&Person>,
        parts: &Parts,
        scheme: Scheme,
        seen: &Seen,
    ) -> Result<bool, Turned> {
        let permit = match (under, &seen.about) {
            (Under::Route(route), Some(about)) => {
                self.authorise(route, person, parts, Presence::of(&parts.headers), scheme, about)?
            }
            _ => {
                let facts = person.map(|person| super::enrich::Person::from(person.live.session()).facts());
                under.policy().decide(facts, Ask::with(&parts.method)).map_err(|denial| match denial {
                    Denial::NotSignedIn => self.sign_in_first(under, parts),
                    denial => Turned::Denied(denial),
                })?
            }
        };
        if narrowing.is_empty() {
            return Ok(permit.is_personal());
        }
        let Some(person) = person else { return Err(self.sign_in_first(under, parts)) };
        let facts = super::enrich::Person::from(person.live.session()).facts();
        match narrowing.admits(facts, &self.forward_auth.authority) {
            true => Ok(permit.is_personal()),
            false => Err(Turned::Denied(Denial::NotAllowed)),
        }
    }

    fn sign_in_first(&self, under: &Under<'_>, parts: &Parts) -> Turned {
        Turned::SignIn(intercept::answer(&parts.method, &parts.headers, under.intercept()))
    }

    /// A "no" in the form the proxy in front can hand on: only where configured is anybody redirected.
    fn worded(&self, turned: Turned, seen: &mut Seen) -> Turned {
        let Turned::SignIn(answer) = turned else { return turned };
        seen.sign_in = Some(self.sign_in_for(seen));
        Turned::SignIn(match answer {
            Answer::Redirect if !self.forward_auth.redirect => Answer::Json,
            answer => answer,
        })
    }

    /// The address of sign-in, at the host the browser knows when it is one of ours, and back to what was asked for.
    fn sign_in_for(&self, seen: &Seen) -> String {
        let base = seen.about.as_ref().map_or_else(|| self.public_url.clone(), |about| self.base(about));
        let back = seen.about.as_ref().and_then(|about| {
            let host = about.host()?.authority().to_str().ok()?;
            let wanted = format!("{}://{host}{}", base.scheme(), about.path_and_query());
            ReturnTo::check(&wanted, &base, self.site.allowed()).ok()
        });
        let path = self.site.sign_in_from(back.as_ref().map(ReturnTo::as_str), false);
        base.join(&path).map_or(path, String::from)
    }
}
