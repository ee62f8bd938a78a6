//! Dressing a request: the session's ready lines go out with it.
//!
//! They are made once per session and generation of configuration and kept beside the cached session as the very bytes
//! an app is sent. No name in them can stand in the request too: all of them were stripped, and the configuration's
//! checks see to it that no two sources of lines share a name.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    Gate, Person,
    assertion::{Kept, KeyError},
    enrich::{self, Rendered},
    route::Route,
    target::{Host, Target},
};
use crate::{session::Session, upstream::Lines};

/// What was made for a session, kept beside it.
#[derive(Debug)]
pub(super) struct Wardrobe {
    generation: u64,
    sets: Vec<OnceLock<Lines>>,
    tokens: OnceLock<(Rendered, Rendered)>,
    assertions: Kept,
    introduction: OnceLock<HeaderMap>,
}

impl Wardrobe {
    fn new(gate: &Gate) -> Self {
        Self {
            generation: gate.generation,
            sets: std::iter::repeat_with(OnceLock::new).take(gate.plan.set_count()).collect(),
            tokens: OnceLock::new(),
            assertions: Kept::default(),
            introduction: OnceLock::new(),
        }
    }
}

impl Gate {
    /// What the route sends of this person.
    pub(super) fn dress<'p>(
        &self,
        route: &Route,
        person: &'p Person,
        target: &Target,
    ) -> Result<Cow<'p, Lines>, KeyError> {
        match person.live.keep(|| Wardrobe::new(self)) {
            Some(kept) if kept.generation == self.generation => self.dress_from(kept, route, person, target),
            // The configuration has changed since: the cache is being emptied, and this one request makes its own.
            _ => {
                let own = Wardrobe::new(self);
                self.dress_from(&own, route, person, target).map(|lines| Cow::Owned(lines.into_owned()))
            }
        }
    }

    fn dress_from<'w>(
        &self,
        kept: &'w Wardrobe,
        route: &Route,
        person: &Person,
        target: &Target,
    ) -> Result<Cow<'w, Lines>, KeyError> {
        let session = person.live.session();
        let render = || lines(&self.plan.render(session.into(), route.headers));
        let mut lines = match kept.sets.get(route.headers.index()) {
            Some(set) => Cow::Borrowed(set.get_or_init(render)),
            None => Cow::Owned(render()),
        };
        if route.pass_access_token || route.pass_id_token {
            let (access, id) = kept.tokens.get_or_init(|| self.tokens(person, session));
            let passed = [(route.pass_access_token, access), (route.pass_id_token, id)];
            let passed = passed.into_iter().filter(|(passes, _)| *passes).flat_map(|(_, token)| token);
            passed.for_each(|(name, value)| lines.to_mut().put(name, value));
        }
        if route.assertion {
            let audience = self.audience_of(route.assertion_audience.as_ref(), Some(target));
            lines.to_mut().put(self.plan.assertion_header(), &self.assertion(kept, audience, session)?);
        }
        Ok(lines)
    }

    /// The headers by which another proxy is told who it is: all names of its set, also those without a value. An
    /// assertion is for trusted proxies: a script in the person's browser can ask, too.
    pub(super) fn introduce(
        &self,
        person: &Person,
        about: Option<&Target>,
        trusted: bool,
    ) -> Result<HeaderMap, KeyError> {
        let session = person.live.session();
        let own;
        let kept = match person.live.keep(|| Wardrobe::new(self)) {
            Some(kept) if kept.generation == self.generation => kept,
            _ => {
                own = Wardrobe::new(self);
                &own
            }
        };
        let introduction = || {
            let mut headers = self.forward_auth.nobody().clone();
            enrich::apply(&mut headers, &self.plan.render(session.into(), self.forward_auth.headers()));
            headers
        };
        let mut headers = kept.introduction.get_or_init(introduction).clone();
        if let Some(audience) = self.forward_auth.audience().filter(|_| trusted) {
            let audience = self.audience_of(audience, about);
            headers.insert(self.plan.assertion_header().clone(), self.assertion(kept, audience, session)?);
        }
        Ok(headers)
    }

    /// The configured audience, else the host asked for, else our own.
    fn audience_of(&self, configured: Option<&Arc<str>>, target: Option<&Target>) -> Arc<str> {
        match (configured, target) {
            (Some(audience), _) => audience.clone(),
            (None, Some(target)) => target.host().map(Host::name).unwrap_or_default().into(),
            (None, None) => self.public_url.host_str().unwrap_or_default().into(),
        }
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

    fn assertion(&self, kept: &Wardrobe, audience: Arc<str>, session: &Session) -> Result<HeaderValue, KeyError> {
        kept.assertions.value(&self.asserter, session.into(), &audience, session.ends_at, self.clock.now())
    }
}

fn lines(rendered: &[(HeaderName, HeaderValue)]) -> Lines {
    rendered.iter().map(|(name, value)| (name, value)).collect()
}
