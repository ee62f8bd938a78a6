//! Dressing a request: the session's ready header values are copied on.
//!
//! Values are made once per session and generation of configuration and kept beside the cached session; a request copies
//! reference-counted bytes.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue};

use super::{
    Gate, Person,
    assertion::{Kept, KeyError},
    enrich::{self, Rendered},
    route::Route,
    target::{Host, Target},
};
use crate::session::Session;

/// What was made for a session, kept beside it.
#[derive(Debug)]
pub(super) struct Wardrobe {
    generation: u64,
    sets: Vec<OnceLock<Rendered>>,
    tokens: OnceLock<(Rendered, Rendered)>,
    assertions: Kept,
}

impl Wardrobe {
    fn new(gate: &Gate) -> Self {
        Self {
            generation: gate.generation,
            sets: std::iter::repeat_with(OnceLock::new).take(gate.plan.set_count()).collect(),
            tokens: OnceLock::new(),
            assertions: Kept::default(),
        }
    }
}

impl Gate {
    /// Puts on what the route sends of this person.
    pub(super) fn dress(
        &self,
        route: &Route,
        person: &Person,
        target: &Target,
        headers: &mut HeaderMap,
    ) -> Result<(), KeyError> {
        let session = person.live.session();
        match person.live.keep(|| Wardrobe::new(self)) {
            Some(kept) if kept.generation == self.generation => {
                self.dress_from(kept, route, person, session, target, headers)
            }
            // The configuration has changed since: the cache is being emptied, and this one request makes its own.
            _ => self.dress_from(&Wardrobe::new(self), route, person, session, target, headers),
        }
    }

    fn dress_from(
        &self,
        kept: &Wardrobe,
        route: &Route,
        person: &Person,
        session: &Session,
        target: &Target,
        headers: &mut HeaderMap,
    ) -> Result<(), KeyError> {
        let render = || self.plan.render(session.into(), route.headers);
        match kept.sets.get(route.headers.index()) {
            Some(set) => enrich::apply(headers, set.get_or_init(render)),
            None => enrich::apply(headers, &render()),
        }
        if route.pass_access_token || route.pass_id_token {
            let (access, id) = kept.tokens.get_or_init(|| self.tokens(person, session));
            enrich::apply(headers, if route.pass_access_token { access } else { &[] });
            enrich::apply(headers, if route.pass_id_token { id } else { &[] });
        }
        if route.assertion {
            headers.insert(self.plan.assertion_header().clone(), self.assertion(kept, route, session, target)?);
        }
        Ok(())
    }

    /// The provider's tokens; only the browser's own id opens them.
    fn tokens(&self, person: &Person, session: &Session) -> (Rendered, Rendered) {
        match self.sessions.tokens(&person.id, session) {
            Some(tokens) => (
                self.plan.render_tokens(Some(&tokens.access_token), None),
                self.plan.render_tokens(None, tokens.id_token.as_ref()),
            ),
            None => Default::default(),
        }
    }

    fn assertion(
        &self,
        kept: &Wardrobe,
        route: &Route,
        session: &Session,
        target: &Target,
    ) -> Result<HeaderValue, KeyError> {
        let audience: Arc<str> = match &route.assertion_audience {
            Some(audience) => audience.clone(),
            None => target.host().map(Host::name).unwrap_or_default().into(),
        };
        kept.assertions.value(&self.asserter, session.into(), &audience, session.ends_at, self.clock.now())
    }
}
