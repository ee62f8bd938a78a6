//! Route: which configuration a request falls under.
//!
//! The most specific route wins. First by host: exact, `*.` one label below, `**.` any depth (the longest first), any.
//! Within a host by path: exact, the longest prefix in whole segments, regular expressions in the order of the file,
//! and last the prefix `/`. (A regular expression thus never takes a request away from a named prefix: the rule
//! `.*\.css` that lets strangers in is no way around a protected `/admin`.) Within a path a route that names methods
//! before one that takes all. Where nothing matches, the next host is tried.
//!
//! Look-up walks a map of hosts and a tree of segments; its cost depends on the request, not on how many routes there
//! are, and it allocates nothing.
//!
//! A path that can be read in more than one way (`/public/..;/admin`, `%252e`, `%40`) is looked up in all its safe
//! readings; unless all of them fall on the same route it is refused, so that no spelling reaches a public route with
//! what another reader takes for a protected path (threat model, 2.3 and 2.4).

mod tree;

use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{HeaderName, Method, uri::PathAndQuery};

use super::{
    enrich::{HeaderPlan, SetId, UnknownSet},
    target::{Host, Target},
};
use crate::{
    config::{
        self,
        host::HostPattern,
        path::{self, BadPath},
        route::Intercept,
    },
    policy::{Authorities, BadRule, Policy},
};
use tree::PathTable;

/// A route, with everything derived that can be.
#[derive(Debug)]
pub struct Route {
    /// Its number in the file, from 1: what logs and `explain` call it by.
    pub number: usize,
    /// Name of its upstream.
    pub upstream: Box<str>,
    /// Who may pass.
    pub policy: Policy,
    /// How somebody without a session is answered.
    pub intercept: Intercept,
    /// Which identity headers are sent.
    pub headers: SetId,
    /// Whether a signed assertion is sent.
    pub assertion: bool,
    /// Its configured audience; without one the request's host.
    pub assertion_audience: Option<Arc<str>>,
    /// Send the provider's access token.
    pub pass_access_token: bool,
    /// Send the provider's ID token.
    pub pass_id_token: bool,
    /// Longest wait for the first byte of the answer.
    pub first_byte_timeout: Option<Duration>,
    /// Longest pause between two bytes of a body.
    pub idle_timeout: Option<Duration>,
    /// Largest request body in bytes; `None` is unlimited.
    pub max_body: Option<u64>,
    /// Trailer fields that pass.
    pub allow_trailers: Box<[HeaderName]>,
    websocket_origins: Box<[Box<str>]>,
    methods: Box<[Method]>,
    allow_encoded_slash: bool,
    by_regex: bool,
    /// The prefix to take off and what to put in its place.
    rewrite: Option<(Box<str>, Box<str>)>,
}

/// Why no route was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// None matches: 404.
    #[error("no route matches")]
    NotFound,
    /// The path holds `%2F` or `%5C` and the route does not allow it: 400.
    #[error("the path holds an encoded slash")]
    EncodedSlash,
    /// Another reader could take the path for one of another route: 400.
    #[error("the path can be read in more than one way")]
    Ambiguous,
    /// One of its readings has no safe form: 400.
    #[error(transparent)]
    Path(#[from] BadPath),
}

/// Why the routes cannot be built; the configuration's own checks find most of these first, with their place.
#[derive(Debug, thiserror::Error)]
pub enum BadRoute {
    /// A rule of it.
    #[error("route {0}: {1}")]
    Rule(usize, #[source] BadRule),
    /// Its regular expression.
    #[error("route {0}: path_regex: {1}")]
    Regex(usize, #[source] Box<regex::Error>),
    /// Its headers.
    #[error("route {0}: {1}")]
    Headers(usize, #[source] UnknownSet),
    /// A method or field name.
    #[error("route {0}: {1:?} is not a name")]
    Name(usize, String),
}

/// All routes.
#[derive(Debug)]
pub struct RouteTable {
    exact: HashMap<Box<str>, PathTable>,
    one_label: HashMap<Box<str>, PathTable>,
    any_depth: HashMap<Box<str>, PathTable>,
    any: PathTable,
    routes: Box<[Arc<Route>]>,
}

impl RouteTable {
    /// Builds the table.
    ///
    /// # Errors
    /// [`BadRoute`]: a broken route must keep the gateway from starting, never fall away.
    pub fn build(
        routes: &[config::route::Route],
        plan: &HeaderPlan,
        authorities: &Authorities,
    ) -> Result<Self, BadRoute> {
        let compiled: Vec<Arc<Route>> = routes
            .iter()
            .enumerate()
            .map(|(index, route)| Route::compile(index + 1, route, plan, authorities).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let mut table = Self {
            exact: HashMap::new(),
            one_label: HashMap::new(),
            any_depth: HashMap::new(),
            any: PathTable::default(),
            routes: compiled.into(),
        };
        for (index, route) in routes.iter().enumerate() {
            table
                .paths_of(route.host.as_ref())
                .add(index, route)
                .map_err(|error| BadRoute::Regex(index + 1, Box::new(error)))?;
        }
        table.finish().map_err(|error| BadRoute::Regex(0, Box::new(error)))?;
        Ok(table)
    }

    fn paths_of(&mut self, host: Option<&HostPattern>) -> &mut PathTable {
        match host {
            None => &mut self.any,
            Some(HostPattern::Exact(name)) => self.exact.entry(name.clone()).or_default(),
            Some(HostPattern::OneLabel(base)) => self.one_label.entry(base.clone()).or_default(),
            Some(HostPattern::AnyDepth(base)) => self.any_depth.entry(base.clone()).or_default(),
        }
    }

    fn finish(&mut self) -> Result<(), regex::Error> {
        let Self { exact, one_label, any_depth, any, routes } = self;
        let has_methods = |index: usize| routes.get(index).is_some_and(|route| !route.methods.is_empty());
        for table in exact.values_mut().chain(one_label.values_mut()).chain(any_depth.values_mut()).chain([any]) {
            table.finish(has_methods)?;
        }
        Ok(())
    }

    /// The routes in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route a request falls under.
    ///
    /// # Errors
    /// [`NoRoute`] when there is none, or when the path is not one this route takes.
    pub fn find(&self, target: &Target, method: &Method) -> Result<&Arc<Route>, NoRoute> {
        let host = target.host().map(Host::name).unwrap_or_default();
        let path = if target.is_asterisk() { "/" } else { target.path() };
        let index = self.lookup(host, path, method).ok_or(NoRoute::NotFound)?;
        let route = self.routes.get(index).ok_or(NoRoute::NotFound)?;
        if !target.marks().is_ambiguous() {
            return Ok(route);
        }
        if target.marks().has_encoded_slash() && !route.allow_encoded_slash {
            return Err(NoRoute::EncodedSlash);
        }
        // A regular expression says nothing about how another reader would see the path.
        if route.by_regex && route.policy.is_public() {
            return Err(NoRoute::Ambiguous);
        }
        let one_route = path::readings(path)?.iter().all(|reading| self.lookup(host, reading, method) == Some(index));
        if one_route { Ok(route) } else { Err(NoRoute::Ambiguous) }
    }

    fn lookup(&self, host: &str, path: &str, method: &Method) -> Option<usize> {
        let takes = |index: usize| self.routes.get(index).is_some_and(|route| route.takes(method));
        let in_table = |table: &PathTable| table.find(path, takes);
        self.exact
            .get(host)
            .and_then(in_table)
            .or_else(|| self.one_label(host).and_then(in_table))
            .or_else(|| self.below(host).find_map(in_table))
            .or_else(|| in_table(&self.any))
    }

    fn one_label(&self, host: &str) -> Option<&PathTable> {
        if self.one_label.is_empty() {
            return None;
        }
        self.one_label.get(host.split_once('.')?.1)
    }

    fn below<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a PathTable> {
        let labels = if self.any_depth.is_empty() { "" } else { host };
        labels.match_indices('.').filter_map(|(dot, _)| self.any_depth.get(labels.get(dot + 1..)?))
    }
}

impl Route {
    fn compile(
        number: usize,
        config: &config::route::Route,
        plan: &HeaderPlan,
        authorities: &Authorities,
    ) -> Result<Self, BadRoute> {
        let name = |text: &String| BadRoute::Name(number, text.clone());
        let methods = config.methods.iter().map(|text| Method::from_bytes(text.as_bytes()).map_err(|_| name(text)));
        let trailers = config.allow_trailers.iter().map(|text| HeaderName::try_from(text).map_err(|_| name(text)));
        Ok(Self {
            number,
            upstream: config.upstream.as_str().into(),
            policy: Policy::compile(config, authorities).map_err(|error| BadRoute::Rule(number, error))?,
            intercept: config.intercept,
            headers: plan.set(&config.headers).map_err(|error| BadRoute::Headers(number, error))?,
            assertion: config.assertion,
            assertion_audience: config.assertion_audience.as_deref().map(Into::into),
            pass_access_token: config.pass_access_token,
            pass_id_token: config.pass_id_token,
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
            max_body: (config.max_body > 0).then_some(config.max_body),
            allow_trailers: trailers
                .filter(|name| !matches!(name, Ok(name) if plan.is_ours(name)))
                .collect::<Result<_, _>>()?,
            websocket_origins: config.websocket_origins.iter().map(|origin| origin.as_str().into()).collect(),
            methods: methods.collect::<Result<_, _>>()?,
            allow_encoded_slash: config.allow_encoded_slash,
            by_regex: config.path_regex.is_some(),
            rewrite: rewrite_of(config),
        })
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// What goes to the upstream as its target: the canonical one, with the prefix exchanged where the route says so.
    pub fn upstream_target(&self, target: &Target) -> PathAndQuery {
        let Some((prefix, replacement)) = self.rewrite.as_ref().filter(|_| !target.is_asterisk()) else {
            return target.path_and_query().clone();
        };
        let Some(rest) = target.path_and_query().as_str().strip_prefix(&**prefix) else {
            return target.path_and_query().clone();
        };
        // "/api" → "/" gives "/x" for "/api/x", "/" for "/api" and "/?q" for "/api?q".
        let slash = if replacement.is_empty() && !rest.starts_with('/') { "/" } else { "" };
        PathAndQuery::try_from(format!("{replacement}{slash}{rest}"))
            .unwrap_or_else(|_| target.path_and_query().clone())
    }

    /// Whether a page of this web origin may open a WebSocket; the request's own origin always may. Browsers do not
    /// apply CORS to WebSockets, and cookies go along, so this check is all there is.
    pub fn lets_websocket_in(&self, origin: Option<&str>, own: &str) -> bool {
        match origin {
            // No browser leaves it out.
            None => true,
            Some(origin) => {
                origin == own || self.websocket_origins.iter().any(|fine| **fine == *origin || &**fine == "*")
            }
        }
    }
}

fn rewrite_of(config: &config::route::Route) -> Option<(Box<str>, Box<str>)> {
    let replacement = match (&config.rewrite, config.strip_prefix) {
        (Some(path), _) => path.trim_end_matches('/'),
        (None, true) => "",
        (None, false) => return None,
    };
    let prefix = config.prefix()?.trim_end_matches('/');
    Some((prefix.into(), replacement.into()))
}

#[cfg(test)]
mod tests;
