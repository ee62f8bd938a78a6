//! `[[route]]`: which requests go where, and who may send them.

use std::{collections::BTreeMap, time::Duration};

use super::host::HostPattern;
use super::problem::Problems;
use super::value::{At, Check, choice, section};

choice! {
    /// Whether a route needs a session.
    pub enum Auth {
        /// Only signed-in people that the rules let pass.
        Required = "required",
        /// Everybody; identity headers for those who are signed in.
        Optional = "optional",
        /// Everybody, and never identity headers.
        None = "none",
    }
}

choice! {
    /// How somebody without a session is answered.
    pub enum Intercept {
        /// As the request looks: page loads are redirected, API calls get 401.
        Auto = "auto",
        /// Always as a page load.
        Page = "page",
        /// Always as an API call.
        Api = "api",
    }
}

section! {
    /// One route. The most specific one that matches is used: an exact host before a wildcard before any; then an exact
    /// path, the longest path prefix, regular expressions in the order of the file, and last the prefix "/".
    pub struct Route {
        /// Host: exact, "*.example.com" (one label below) or "**.example.com" (any depth). Absent: any host.
        host: Option<HostPattern> = None,
        /// Path prefix in whole segments: "/api" takes /api and /api/x, not /apix. Absent, without path_exact and path_regex: "/".
        path: Option<String> = None,
        /// Exactly this path.
        path_exact: Option<String> = None,
        /// Regular expression over the whole path (anchored at both ends); never sees the query.
        path_regex: Option<String> = None,
        /// Methods it is for, such as ["GET", "HEAD"]; empty: all. Others fall to the next specific route.
        methods: Vec<String> = vec![],
        /// Name of the upstream: [upstream.NAME].
        upstream: String,
        /// Whether a session is needed.
        auth: Auth = Auth::Required,
        /// Who may pass: any of these rules. Empty: everybody who is signed in.
        allow: Vec<Rule> = vec![],
        /// Who may not, whatever allow says: any of these rules.
        deny: Vec<Rule> = vec![],
        /// Drop the matched path prefix before the request goes to the upstream.
        strip_prefix: bool = false,
        /// Put this path in the place of the matched path prefix.
        rewrite: Option<String> = None,
        /// How somebody without a session is answered.
        intercept: Intercept = Intercept::Auto,
        /// Let CORS preflights (OPTIONS with Origin and Access-Control-Request-Method) through without a session and without identity headers.
        cors_preflight: bool = false,
        /// Longest wait for the first byte of the answer; absent: as the upstream says.
        first_byte_timeout: Option<Duration> = None,
        /// Longest pause between two bytes of a body, either way; absent: as the upstream says.
        idle_timeout: Option<Duration> = None,
        /// Largest request body in bytes; 0 is unlimited.
        max_body: u64 = 100 * 1024 * 1024,
        /// Accept %2F and %5C in the path and hand them on as they are.
        allow_encoded_slash: bool = false,
        /// Trailer fields that pass, both ways, such as ["grpc-status", "grpc-message"]; all others are dropped. Identity headers never pass.
        allow_trailers: Vec<String> = vec![],
        /// Send the provider's access token as X-Forwarded-Access-Token.
        pass_access_token: bool = false,
        /// Send the provider's ID token as X-Forwarded-Id-Token.
        pass_id_token: bool = false,
        /// Send a signed assertion of who it is (JWT, ES256).
        assertion: bool = false,
        /// Audience of the assertion; absent: the request's host, when it is a configured one.
        assertion_audience: Option<String> = None,
        /// Set of identity headers: a built-in one or [headers.set.NAME].
        headers: String = "default".into(),
        /// Web origins that may open WebSockets, such as ["https://app.example.com"], beside the request's own; "*" takes all.
        websocket_origins: Vec<String> = vec![],
    }
}

section! {
    /// A rule matches a person who meets all the conditions in it.
    pub struct Rule {
        /// Came by this provider. The other conditions then speak of what this provider told.
        provider: Option<String> = None,
        /// Has this address, verified by the provider (a deny rule also takes unverified ones).
        email: Option<String> = None,
        /// Has an address in this domain, verified likewise; subdomains are not meant.
        email_domain: Option<String> = None,
        /// Is in this group.
        group: Option<String> = None,
        /// Has this claim.
        claim: Option<Claim> = None,
        /// Uses one of these methods; empty: any.
        methods: Vec<String> = vec![],
    }
}

section! {
    /// A claim with a value: equal to it, or a list that holds it.
    pub struct Claim {
        /// Name of the claim: the whole name, or a JSON pointer when it begins with a slash.
        name: String,
        /// Its value as text.
        value: String,
    }
}

impl Check for Claim {}

impl Check for Rule {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if self.is_empty() {
            at.problem(
                problems,
                "the rule has no condition",
                "give it one of provider, email, email_domain, group, claim or methods; an absent list means everybody who is signed in",
            );
        }
        check_methods(&self.methods, at, problems);
        if let Some(email) = &self.email
            && crate::identity::email_domain(email).is_none()
        {
            at.problem_at("email", problems, "it is not an e-mail address", "write it like \"anna@example.com\"");
        }
        if let Some(domain) = &self.email_domain
            && crate::identity::email_domain(&format!("a@{domain}")).is_none()
        {
            at.problem_at(
                "email_domain",
                problems,
                "it is not a domain",
                "write it like \"example.com\", without @ or *",
            );
        }
    }
}

impl Rule {
    fn is_empty(&self) -> bool {
        self.provider.is_none()
            && self.email.is_none()
            && self.email_domain.is_none()
            && self.group.is_none()
            && self.claim.is_none()
            && self.methods.is_empty()
    }
}

impl Check for Route {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        self.check_paths(at, problems);
        self.check_access(at, problems);
        check_methods(&self.methods, at, problems);
        for name in &self.allow_trailers {
            if http::HeaderName::try_from(name).is_err() {
                at.problem_at(
                    "allow_trailers",
                    problems,
                    format!("\"{}\" is not a field name", name.escape_debug()),
                    "write names such as \"grpc-status\"",
                );
            }
        }
        for origin in &self.websocket_origins {
            let fine =
                origin == "*" || url::Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin);
            if !fine {
                at.problem_at(
                    "websocket_origins",
                    problems,
                    format!("\"{}\" is not a web origin", origin.escape_debug()),
                    "write scheme, host and port only: \"https://app.example.com\"",
                );
            }
        }
    }
}

impl Route {
    fn check_paths(&self, at: &At<'_>, problems: &mut Problems) {
        let given = [&self.path, &self.path_exact, &self.path_regex].into_iter().flatten().count();
        if given > 1 {
            at.problem_at("path", problems, "path, path_exact and path_regex exclude each other", "keep one of them");
        }
        for (name, path) in [("path", &self.path), ("path_exact", &self.path_exact), ("rewrite", &self.rewrite)] {
            let Some(path) = path else { continue };
            // A route is compared with canonical paths: one that is not canonical would never match.
            if super::path::canonical(path).is_err_and(|_| true)
                || super::path::canonical(path).is_ok_and(|c| c.path != *path || c.marks.is_ambiguous())
            {
                at.problem_at(
                    name,
                    problems,
                    format!("\"{}\" is not a plain, canonical path", path.escape_debug()),
                    "begin with a slash; no query, escapes of plain characters, dot segments, \";\" or repeated slashes",
                );
            }
        }
        if let Some(pattern) = &self.path_regex
            && let Err(error) = super::path::anchored(pattern)
        {
            at.problem_at(
                "path_regex",
                problems,
                format!("it does not compile: {error}"),
                "mend the regular expression",
            );
        }
        if (self.strip_prefix || self.rewrite.is_some()) && (self.path_exact.is_some() || self.path_regex.is_some()) {
            at.problem_at("path", problems, "strip_prefix and rewrite need a path prefix", "use path");
        }
        if self.strip_prefix && self.rewrite.is_some() {
            at.problem_at("rewrite", problems, "strip_prefix and rewrite exclude each other", "keep one of them");
        }
    }

    fn check_access(&self, at: &At<'_>, problems: &mut Problems) {
        if self.auth != Auth::Required && !(self.allow.is_empty() && self.deny.is_empty()) {
            at.problem_at(
                "auth",
                problems,
                format!("auth = \"{}\" lets everybody pass, so allow and deny would mean nothing", self.auth.word()),
                "write auth = \"required\", or drop the rules",
            );
        }
        let sends_identity = self.assertion || self.pass_access_token || self.pass_id_token;
        if self.auth == Auth::None && sends_identity {
            at.problem_at(
                "auth",
                problems,
                "auth = \"none\" never sends an identity, so it cannot send tokens or assertions",
                "write auth = \"optional\" or \"required\"",
            );
        }
    }

    /// The path prefix, when it matches by prefix.
    pub fn prefix(&self) -> Option<&str> {
        match (&self.path, &self.path_exact, &self.path_regex) {
            (Some(path), _, _) => Some(path),
            (None, None, None) => Some("/"),
            _ => None,
        }
    }
}

fn check_methods(methods: &[String], at: &At<'_>, problems: &mut Problems) {
    for method in methods {
        // Methods are case-sensitive (RFC 9110, 9.1): "get" would silently match nothing.
        let fine =
            http::Method::from_bytes(method.as_bytes()).is_ok() && !method.bytes().any(|b| b.is_ascii_lowercase());
        if !fine || method == "CONNECT" {
            at.problem_at(
                "methods",
                problems,
                format!("\"{}\" is not a method we forward", method.escape_debug()),
                "write them in capitals: [\"GET\", \"HEAD\"]",
            );
        }
    }
}

/// Whether some route or rule looks at methods: then fields that override them are removed.
pub fn methods_matter(routes: &[Route]) -> bool {
    routes.iter().any(|route| {
        let mut rules = route.allow.iter().chain(&route.deny);
        !route.methods.is_empty() || rules.any(|rule| !rule.methods.is_empty())
    })
}

/// Names a route speaks of that nothing has: its upstream, its set of headers, the providers of its rules.
pub fn check_names(
    routes: &[Route],
    is_upstream: impl Fn(&str) -> bool,
    is_provider: impl Fn(&str) -> bool,
    is_own_set: impl Fn(&str) -> bool,
    at: &At<'_>,
    problems: &mut Problems,
) {
    let mut missing = |index: usize, what: &str, name: &str, remedy: &str| {
        at.problem(problems, format!("route {}: there is no {what} \"{}\"", index + 1, name.escape_debug()), remedy);
    };
    for (index, route) in routes.iter().enumerate() {
        if !is_upstream(&route.upstream) {
            missing(index, "upstream", &route.upstream, "add [upstream.NAME], or name one that is there");
        }
        if !super::headers::BUILT_IN_SETS.contains(&route.headers.as_str()) && !is_own_set(&route.headers) {
            missing(index, "set of headers", &route.headers, "add [headers.set.NAME], or name one that is there");
        }
        // A deny rule for a provider that is misspelt would never deny.
        for provider in route.allow.iter().chain(&route.deny).filter_map(|rule| rule.provider.as_deref()) {
            if !is_provider(provider) {
                missing(index, "provider", provider, "add [provider.NAME], or name one that is there");
            }
        }
    }
}

/// Contradictions between routes: two that match the same requests with nothing to prefer one by.
pub fn check_routes(routes: &[Route], at: &At<'_>, problems: &mut Problems) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, route) in routes.iter().enumerate() {
        let host = route.host.as_ref().map(ToString::to_string).unwrap_or_default();
        let path = match (&route.path_exact, &route.path_regex) {
            (Some(exact), _) => format!("= {exact}"),
            (_, Some(regex)) => format!("~ {regex}"),
            _ => route.prefix().unwrap_or_default().trim_end_matches('/').to_owned(),
        };
        let methods: Vec<&str> = match route.methods.as_slice() {
            [] => vec!["*"],
            some => some.iter().map(String::as_str).collect(),
        };
        for method in methods {
            if let Some(first) = seen.insert(format!("{host} {path} {method}"), index) {
                at.problem(
                    problems,
                    format!("route {} matches the same requests as route {}", index + 1, first + 1),
                    "give them different hosts, paths or methods",
                );
            }
        }
    }
}
