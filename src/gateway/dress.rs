//! Dressing a request: the session's ready lines go out with it.
//!
//! They are made once for an open session and a generation of configuration, as the very bytes an app is sent, and kept
//! beside it. No name in them can stand in the request too: all of them were stripped, and the configuration's
//! checks see to it that no two sources of lines share a name.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use http::{HeaderName, HeaderValue};

use super::{
    Gate, Person,
    assertion::{Kept, KeyError},
    enrich::{Rendered, SetId},
    forward_auth::{NOTHING, yes_of},
    route::Route,
    target::{Host, Target},
};
use crate::{message::Lines, session::Session};

/// What was made for a session, kept beside it: nothing before it is asked for.
#[derive(Debug)]
pub(super) struct Wardrobe {
    generation: u64,
    sets: Sets,
    tokens: OnceLock<Box<(Rendered, Rendered)>>,
    assertions: OnceLock<Kept>,
    introduction: OnceLock<Lines>,
}

/// Header sets by when they were first asked for. Hardly a session is asked for more than one.
#[derive(Debug, Default)]
struct Sets(OnceLock<Box<Set>>);

#[derive(Debug)]
struct Set {
    id: SetId,
    lines: Lines,
    others: Sets,
}

impl Sets {
    /// The lines of the set `id`, made at the first call.
    fn lines(&self, id: SetId, make: impl Fn() -> Lines) -> &Lines {
        let mut sets = self;
        loop {
            let set = sets.0.get_or_init(|| Box::new(Set { id, lines: make(), others: Self::default() }));
            if set.id == id {
                return &set.lines;
            }
            sets = &set.others;
        }
    }
}

impl Wardrobe {
    fn new(gate: &Gate) -> Self {
        Self {
            generation: gate.generation,
            sets: Sets::default(),
            tokens: OnceLock::new(),
            assertions: OnceLock::new(),
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
        let mut lines = Cow::Borrowed(kept.sets.lines(route.headers, render));
        if route.pass_access_token || route.pass_id_token {
            let (access, id) = &**kept.tokens.get_or_init(|| Box::new(self.tokens(person)));
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
    pub(super) fn introduce(&self, person: &Person, about: Option<&Target>, trusted: bool) -> Result<Lines, KeyError> {
        let session = person.live.session();
        let own;
        let kept = match person.live.keep(|| Wardrobe::new(self)) {
            Some(kept) if kept.generation == self.generation => kept,
            _ => {
                own = Wardrobe::new(self);
                &own
            }
        };
        let mut lines = kept.introduction.get_or_init(|| self.introduction(session)).clone();
        if let Some(audience) = self.forward_auth.audience() {
            let assertion = match trusted {
                true => self.assertion(kept, self.audience_of(audience, about), session)?,
                false => NOTHING.clone(),
            };
            lines.put(self.plan.assertion_header(), &assertion);
        }
        Ok(lines)
    }

    /// All names of the set, each once, with this person's values.
    fn introduction(&self, session: &Session) -> Lines {
        let set = self.forward_auth.headers();
        let values = self.plan.render(session.into(), set);
        let value = |name: &HeaderName| values.iter().find(|(of, _)| of == name).map_or(&NOTHING, |(_, value)| value);
        yes_of(self.plan.names(set).map(|name| (name, value(name))))
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
    fn tokens(&self, person: &Person) -> (Rendered, Rendered) {
        match self.sessions.tokens(&person.id, &person.live) {
            Some(tokens) => (
                self.plan.render_tokens(Some(&tokens.access_token), None),
                self.plan.render_tokens(None, tokens.id_token.as_ref()),
            ),
            None => Default::default(),
        }
    }

    fn assertion(&self, kept: &Wardrobe, audience: Arc<str>, session: &Session) -> Result<HeaderValue, KeyError> {
        kept.assertions.get_or_init(Kept::default).value(
            &self.asserter,
            session.into(),
            &audience,
            session.ends_at,
            self.clock.now(),
        )
    }
}

fn lines(rendered: &[(HeaderName, HeaderValue)]) -> Lines {
    rendered.iter().map(|(name, value)| (name, value)).collect()
}
