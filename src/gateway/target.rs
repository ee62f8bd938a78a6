//! Target: what is asked for, in one canonical form made once.
//!
//! Policy, routing, logs and the upstream request all use this one value; nobody looks at the raw request line again
//! (threat model, 2.1). Its path is canonical as `config::path` defines it, its query is as it came, its host is in
//! normal form. On the common way nothing is copied: path and query share the buffer the request came in, and the host is
//! that of the request before ([`LastHost`]).
//!
//! Taken are origin-form, absolute-form for configured hosts (in HTTP/2 every request has that shape), and `*` for
//! OPTIONS; CONNECT and authority-form are refused (RFC 9112, 3.2). A raw fragment cannot be seen here because
//! `http::Uri` drops it: for HTTP/1 the rules of `http1` refuse it before; in HTTP/2 nobody, upstream
//! included, ever sees it.

use std::{borrow::Cow, cell::RefCell};

use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header, uri::PathAndQuery};

use super::peer::{Peer, Scheme};
use crate::config::{
    host::{self, BadHost, HostPattern},
    path::{self, BadPath, Marks},
};

/// Why a target is refused: always 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Its path has no safe form.
    #[error(transparent)]
    Path(#[from] BadPath),
    /// CONNECT, authority-form, or `*` with another method than OPTIONS.
    #[error("the form of the request target does not fit the method")]
    Form,
    /// Absolute-form with a scheme or authority that is not configured, or with user info.
    #[error("the request target names a host that is not ours")]
    ForeignAuthority,
    /// No host, several, or one that is none.
    #[error("the host is missing, given twice or not a host")]
    Host,
    /// The request target and the Host field name different hosts.
    #[error("the request target and the Host field disagree")]
    HostMismatch,
    /// The query holds a control character or a raw fragment.
    #[error("the query holds a character that has no place there")]
    Query,
}

impl From<BadHost> for BadTarget {
    fn from(_: BadHost) -> Self {
        Self::Host
    }
}

/// A host with its port, in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    authority: HeaderValue,
    name_len: usize,
    port: Option<u16>,
}

impl Host {
    /// Reads `host` or `host:port`.
    ///
    /// # Errors
    /// [`BadHost`] when it is neither.
    pub fn parse(text: &str) -> Result<Self, BadHost> {
        let (name, port) = host::normalise(text)?;
        let text = match port {
            Some(port) => format!("{name}:{port}"),
            None => name.to_string(),
        };
        Ok(Self { authority: HeaderValue::try_from(text).map_err(|_| BadHost)?, name_len: name.len(), port })
    }

    /// The host alone: lower case, no trailing dot, IPv6 in brackets.
    pub fn name(&self) -> &str {
        self.authority
            .as_bytes()
            .get(..self.name_len)
            .and_then(|name| std::str::from_utf8(name).ok())
            .unwrap_or_default()
    }

    /// The port, when it was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// `host` or `host:port` as a field value: the one `Host` to forward.
    pub fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// True when both name the same place, a missing port being the scheme's own.
    fn is_same(&self, other: &Self, scheme: Scheme) -> bool {
        let port = |host: &Self| host.port.unwrap_or(scheme.default_port());
        self.name() == other.name() && port(self) == port(other)
    }
}

/// The host asked for last on a connection, as it was spelled and as it was read: nearly always the next one's too.
#[derive(Debug, Default)]
pub struct LastHost(RefCell<Option<(Box<str>, Host)>>);

impl LastHost {
    fn read(&self, text: &str) -> Result<Host, BadHost> {
        let mut last = self.0.borrow_mut();
        match &*last {
            Some((spelled, host)) if **spelled == *text => Ok(host.clone()),
            _ => {
                let host = Host::parse(text)?;
                *last = Some((text.into(), host.clone()));
                Ok(host)
            }
        }
    }
}

/// The hosts this gateway is configured for: the public address, allowed hosts, hosts of routes.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts(Vec<KnownHost>);

#[derive(Debug, Clone)]
struct KnownHost {
    pattern: HostPattern,
    port: Option<u16>,
    scheme: Option<Scheme>,
}

impl KnownHosts {
    /// Adds a host; without a port the scheme's own is meant, without a scheme both are.
    pub fn add(&mut self, pattern: HostPattern, port: Option<u16>, scheme: Option<Scheme>) {
        self.0.push(KnownHost { pattern, port, scheme });
    }

    /// Adds the host of a configured URL.
    pub fn add_url(&mut self, url: &url::Url) {
        let scheme = if url.scheme() == "https" { Scheme::Https } else { Scheme::Http };
        if let Some((pattern, _)) = url.host_str().and_then(|host| HostPattern::parse(host).ok()) {
            self.add(pattern, url.port(), Some(scheme));
        }
    }

    /// Whether `host` is one of them.
    pub fn knows(&self, host: &Host, scheme: Scheme) -> bool {
        let port = host.port.unwrap_or(scheme.default_port());
        self.0.iter().any(|known| {
            known.scheme.is_none_or(|known| known == scheme)
                && known.port.unwrap_or(scheme.default_port()) == port
                && known.pattern.matches(host.name())
        })
    }
}

/// The parts of a request that say what is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target as it came.
    pub uri: &'a Uri,
    /// Its version.
    pub version: Version,
    /// Its fields.
    pub headers: &'a HeaderMap,
}

impl<'a, B> From<&'a Request<B>> for Line<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self { method: request.method(), uri: request.uri(), version: request.version(), headers: request.headers() }
    }
}

impl<'a> From<&'a http::request::Parts> for Line<'a> {
    fn from(parts: &'a http::request::Parts) -> Self {
        Self { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    path_and_query: PathAndQuery,
    marks: Marks,
    host: Option<Host>,
}

impl Target {
    /// Reads a request's target, for the [`Peer`] it came from.
    ///
    /// # Errors
    /// [`BadTarget`]: answer 400.
    pub fn parse(line: Line<'_>, peer: &Peer, known: &KnownHosts) -> Result<Self, BadTarget> {
        Self::parse_after(&LastHost::default(), line, peer, known)
    }

    /// The same for a request on a connection that had others.
    ///
    /// # Errors
    /// [`BadTarget`]: answer 400.
    pub fn parse_after(
        last_host: &LastHost,
        line: Line<'_>,
        peer: &Peer,
        known: &KnownHosts,
    ) -> Result<Self, BadTarget> {
        if line.method == Method::CONNECT {
            return Err(BadTarget::Form);
        }
        let field = host_field(line.headers, line.version, last_host)?;
        let own = match line.uri.authority() {
            None => field,
            Some(authority) => Some(authority_host(last_host.read(authority.as_str()), field, line, peer, known)?),
        };
        let Some(path_and_query) = line.uri.path_and_query() else { return Err(BadTarget::Form) };
        let (path_and_query, marks) = canonical(line.method, path_and_query)?;
        // What a trusted proxy tells of the host wins over what it wrote to reach us.
        Ok(Self { path_and_query, marks, host: peer.host.clone().or(own) })
    }

    /// Reads a target that another proxy tells of, such as `/path?query` in X-Forwarded-Uri.
    ///
    /// # Errors
    /// [`BadTarget`]: deny (threat model, 2.7).
    pub fn told(method: &Method, host: &str, target: &str) -> Result<Self, BadTarget> {
        if target.contains('#') {
            return Err(BadTarget::Query);
        }
        let raw: PathAndQuery = target.parse().map_err(|_| BadTarget::Form)?;
        // A parser that drops or adds something has understood something else than the proxy.
        if raw.as_str() != target || method == Method::CONNECT {
            return Err(BadTarget::Form);
        }
        let (path_and_query, marks) = canonical(method, &raw)?;
        Ok(Self { path_and_query, marks, host: Some(Host::parse(host)?) })
    }

    /// The canonical path; `*` for a server-wide OPTIONS.
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query as it came, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }

    /// Path and query: what goes to the upstream, what goes into `rd`.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.path_and_query
    }

    /// The host asked for, when there is one (HTTP/1.0 may have none).
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// What the path still holds that could be read in another way.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// True for `*`, which only OPTIONS can have.
    pub fn is_asterisk(&self) -> bool {
        self.path() == "*"
    }
}

/// The Host field: exactly one, which only HTTP/1.0 and HTTP/2 may leave out (RFC 9112, 3.2; RFC 9113, 8.3.1).
fn host_field(headers: &HeaderMap, version: Version, last_host: &LastHost) -> Result<Option<Host>, BadTarget> {
    let mut values = headers.get_all(header::HOST).iter();
    let first = values.next();
    if values.next().is_some() || (first.is_none() && version == Version::HTTP_11) {
        return Err(BadTarget::Host);
    }
    first.map(|field| Ok(last_host.read(field.to_str().map_err(|_| BadTarget::Host)?)?)).transpose()
}

/// The host of an absolute-form target. The RFC lets it silently win over Host (RFC 9112, 3.2.2); two hosts in one
/// request have no honest use, so a mismatch is refused.
fn authority_host(
    authority: Result<Host, BadHost>,
    field: Option<Host>,
    line: Line<'_>,
    peer: &Peer,
    known: &KnownHosts,
) -> Result<Host, BadTarget> {
    let scheme = match line.uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => return Err(BadTarget::Form),
    };
    let own = authority.map_err(|_| BadTarget::ForeignAuthority)?;
    // In HTTP/2 this is the shape of every request, and its host is judged by the routes like any Host field.
    if line.version < Version::HTTP_2 && !(known.knows(&own, scheme) && is_own_scheme(scheme, peer)) {
        return Err(BadTarget::ForeignAuthority);
    }
    match field {
        Some(field) if !own.is_same(&field, scheme) => Err(BadTarget::HostMismatch),
        _ => Ok(own),
    }
}

/// A client that spoke TLS to us cannot have meant a plain resource. The other way round a proxy may have ended TLS.
fn is_own_scheme(scheme: Scheme, peer: &Peer) -> bool {
    scheme == Scheme::Https || peer.scheme == Scheme::Http
}

fn canonical(method: &Method, raw: &PathAndQuery) -> Result<(PathAndQuery, Marks), BadTarget> {
    let raw_path = raw.path();
    if raw_path == "*" {
        let fine = method == Method::OPTIONS && raw.query().is_none();
        return if fine { Ok((raw.clone(), Marks::default())) } else { Err(BadTarget::Form) };
    }
    if raw.query().is_some_and(|query| query.bytes().any(|byte| byte.is_ascii_control() || byte == b'#')) {
        return Err(BadTarget::Query);
    }
    let path::Canonical { path, marks } = path::canonical(raw_path)?;
    match path {
        // `http` reads an empty path as "/" without writing it; then this is no plain copy.
        Cow::Borrowed(_) if raw.as_str().starts_with('/') => Ok((raw.clone(), marks)),
        path => {
            let text = match raw.query() {
                Some(query) => format!("{path}?{query}"),
                None => path.into_owned(),
            };
            Ok((PathAndQuery::try_from(text).map_err(|_| BadTarget::Form)?, marks))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        config::forwarded::{Believe, Forwarded},
        gateway::peer::{Caller, TrustedProxies},
    };

    fn peer() -> Peer {
        let nobody = Forwarded { trusted_proxies: vec![], trust_unix_sockets: false, believe: Believe::XForwarded };
        let caller = Caller::new("192.0.2.1".parse().ok(), Scheme::Http, &Arc::new(TrustedProxies::new(&nobody)));
        caller.peer(&HeaderMap::new())
    }

    fn known() -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add_url(&"https://app.example.com".parse().unwrap());
        known.add(HostPattern::parse("*.apps.test").unwrap().0, None, None);
        known.add(HostPattern::parse("dev.test").unwrap().0, Some(8080), None);
        known
    }

    fn parse(version: Version, method: Method, uri: &str, hosts: &[&str]) -> Result<Target, BadTarget> {
        let mut request = Request::builder().version(version).method(method).uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        Target::parse(Line::from(&request.body(()).unwrap()), &peer(), &known())
    }

    fn get(uri: &str) -> Result<Target, BadTarget> {
        parse(Version::HTTP_11, Method::GET, uri, &["app.example.com"])
    }

    #[test]
    fn path_and_query_are_told_apart_and_only_the_path_is_touched() {
        let target = get("/a/%7e/../b?x=%2e%2e/&y=%zz//").unwrap();
        assert_eq!((target.path(), target.query()), ("/a/b", Some("x=%2e%2e/&y=%zz//")));
        assert_eq!(target.path_and_query().as_str(), "/a/b?x=%2e%2e/&y=%zz//");
    }

    #[test]
    fn forms_that_do_not_fit_are_refused() {
        let h11 = Version::HTTP_11;
        for (attack, method, uri, expected) in [
            ("CONNECT", Method::CONNECT, "app.example.com:443", BadTarget::Form),
            ("authority-form with GET", Method::GET, "app.example.com:443", BadTarget::Form),
            ("asterisk with GET", Method::GET, "*", BadTarget::Form),
            ("absolute-form, foreign host", Method::GET, "http://evil.test/", BadTarget::ForeignAuthority),
            ("absolute-form, other scheme", Method::GET, "ftp://app.example.com/", BadTarget::Form),
            (
                "absolute-form, plain instead of TLS",
                Method::GET,
                "http://app.example.com/",
                BadTarget::ForeignAuthority,
            ),
            ("absolute-form, other port", Method::GET, "https://app.example.com:444/", BadTarget::ForeignAuthority),
            (
                "absolute-form, user info",
                Method::GET,
                "https://app.example.com@evil.test/",
                BadTarget::ForeignAuthority,
            ),
            ("absolute-form, suffix", Method::GET, "http://evilapps.test/", BadTarget::ForeignAuthority),
            ("absolute-form, two labels", Method::GET, "http://a.b.apps.test/", BadTarget::ForeignAuthority),
            ("absolute-form against Host", Method::GET, "http://x.apps.test/", BadTarget::HostMismatch),
        ] {
            assert_eq!(parse(h11, method, uri, &["app.example.com"]), Err(expected), "{attack}");
        }
    }

    #[test]
    fn absolute_form_of_a_configured_host_is_converted() {
        for (uri, host, path) in [
            ("https://app.example.com/a", "app.example.com", "/a"),
            ("https://APP.example.com:443/a?b", "app.example.com:443", "/a"),
            ("https://app.example.com", "app.example.com", "/"),
            ("https://app.example.com?x", "app.example.com", "/"),
            ("http://x.apps.test/%61", "x.apps.test", "/a"),
            ("http://dev.test:8080/", "dev.test:8080", "/"),
        ] {
            let target = parse(Version::HTTP_11, Method::GET, uri, &[host]).unwrap();
            assert_eq!(target.path(), path, "{uri}");
            assert!(target.path_and_query().as_str().starts_with('/'), "{uri}");
        }
    }

    #[test]
    fn http2_takes_its_authority_and_refuses_another_host() {
        let h2 = Version::HTTP_2;
        let target = parse(h2, Method::GET, "https://Any.test/a", &[]).unwrap();
        assert_eq!(target.host().unwrap().name(), "any.test");
        assert!(parse(h2, Method::GET, "https://any.test/", &["any.test:443"]).is_ok());
        assert_eq!(parse(h2, Method::GET, "https://any.test/", &["evil.test"]), Err(BadTarget::HostMismatch));
    }

    #[test]
    fn asterisk_is_for_options_only() {
        let target = parse(Version::HTTP_11, Method::OPTIONS, "*", &["app.example.com"]).unwrap();
        assert!(target.is_asterisk());
    }

    #[test]
    fn there_is_exactly_one_host() {
        let h11 = Version::HTTP_11;
        for (attack, hosts) in [
            ("none", &[][..]),
            ("two", &["a.test", "b.test"]),
            ("the same twice", &["a.test", "a.test"]),
            ("empty", &[""]),
            ("a list", &["a.test, b.test"]),
            ("user info", &["a@b.test"]),
            ("a path", &["a.test/x"]),
            ("a bad port", &["a.test:x"]),
        ] {
            assert_eq!(parse(h11, Method::GET, "/", hosts), Err(BadTarget::Host), "{attack}");
        }
        assert_eq!(parse(Version::HTTP_10, Method::GET, "/", &[]).unwrap().host(), None);
    }

    #[test]
    fn a_host_is_normalised_and_one_that_is_spelled_like_the_last_is_the_same() {
        let last = LastHost::default();
        for (field, name, authority) in [
            ("app.example.com", "app.example.com", "app.example.com"),
            ("app.example.com:8443", "app.example.com", "app.example.com:8443"),
            ("APP.example.com.:08443", "app.example.com", "app.example.com:8443"),
            ("app.example.com:0443", "app.example.com", "app.example.com:443"),
            ("app.example.com.", "app.example.com", "app.example.com"),
            ("[0::1]:80", "[::1]", "[::1]:80"),
        ] {
            for _ in 0..2 {
                let host = last.read(field).unwrap();
                assert_eq!((host.name(), host.authority().to_str().unwrap()), (name, authority), "{field}");
            }
        }
        assert!(last.read("a/b").is_err() && last.read("a/b").is_err());
        assert_eq!(last.read("app.example.com").unwrap().name(), "app.example.com");
    }

    #[test]
    fn what_another_proxy_tells_is_read_as_strictly() {
        let told = |target| Target::told(&Method::GET, "app.example.com", target);
        assert_eq!(told("/a/../b?x").unwrap().path(), "/b");
        for target in ["", "a", "*", "/a#b", "/a?b#c", "/a\\b", "http://evil.test/", "/%00", "/ a"] {
            assert!(told(target).is_err(), "{target:?}");
        }
        assert_eq!(Target::told(&Method::GET, "a, b", "/"), Err(BadTarget::Host));
    }

    proptest! {
        #[test]
        fn the_policy_view_equals_the_upstream_view(raw in "/[a-z/.;%025eEfFcC@?&=]{0,40}") {
            if let Ok(target) = get(&raw) {
                let again = get(target.path_and_query().as_str()).unwrap();
                prop_assert_eq!(again, target);
            }
        }

        #[test]
        fn no_target_is_ever_read_as_foreign(raw in "[ -~]{1,40}") {
            if let Ok(uri) = raw.parse::<Uri>() {
                let request = Request::builder().uri(uri).header("host", "app.example.com").body(()).unwrap();
                if let Ok(target) = Target::parse(Line::from(&request), &peer(), &known()) {
                    prop_assert_eq!(target.host().unwrap().name(), "app.example.com");
                    prop_assert!(target.path().starts_with('/'));
                }
            }
        }
    }
}
