//! What the proxy in front tells of the request it asks about. Pure.
//!
//! Method, scheme, host and URI come from exactly one configured place. Whatever is missing, there twice, a list or
//! malformed is an error, never a guess, and an error is a refusal (threats 2.7): the proxy's idea of the request and
//! ours must be the same one.

use http::{HeaderMap, HeaderName, Method, header, request::Parts, uri::PathAndQuery};

use crate::{
    config::forward_auth::Source,
    gateway::{
        peer::Scheme,
        target::{BadTarget, Target},
    },
};

/// The request that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) struct Told {
    pub(in crate::gateway) method: Method,
    pub(in crate::gateway) scheme: Scheme,
    pub(in crate::gateway) target: Target,
}

/// Why it cannot be known which request is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untold {
    /// Whoever asks is not one of the trusted proxies.
    #[error("whoever asks is not in forwarded.trusted_proxies, so what it tells is not believed")]
    Untrusted,
    /// A field is not there.
    #[error("the field {0} is missing: let the proxy in front set it, or change forward_auth.source")]
    Missing(&'static str),
    /// A field is there more than once, or is a list.
    #[error("the field {0} is there more than once: let the proxy in front replace what the client sent")]
    Repeated(&'static str),
    /// A field does not hold what it should.
    #[error("the field {0} cannot be read")]
    Malformed(&'static str),
    /// The target could be read in two ways.
    #[error("the request that is asked about: {0}")]
    Target(#[from] BadTarget),
}

impl Untold {
    /// A short, stable word for metrics and logs.
    pub(in crate::gateway) fn reason(self) -> &'static str {
        match self {
            Self::Untrusted => "told_by_stranger",
            Self::Missing(_) => "told_nothing",
            Self::Repeated(_) => "told_twice",
            Self::Malformed(_) | Self::Target(_) => "told_malformed",
        }
    }
}

const METHOD: &str = "x-forwarded-method";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const URI: &str = "x-forwarded-uri";
const ORIGINAL_METHOD: &str = "x-original-method";
const ORIGINAL_URL: &str = "x-original-url";

/// Reads what is told; `None` when the configuration says that nothing is. `scheme` is that of the peer, and `below`
/// the path of forward auth, both for [`Source::Path`].
pub(super) fn read(
    source: Source,
    trusted: bool,
    parts: &Parts,
    scheme: Scheme,
    below: &str,
) -> Result<Option<Told>, Untold> {
    if source == Source::None {
        return Ok(None);
    }
    if !trusted {
        return Err(Untold::Untrusted);
    }
    match source {
        Source::None => Ok(None),
        Source::XForwarded => x_forwarded(&parts.headers).map(Some),
        Source::XOriginal => x_original(&parts.headers).map(Some),
        Source::Path => in_path(parts, scheme, below).map(Some),
    }
}

fn x_forwarded(headers: &HeaderMap) -> Result<Told, Untold> {
    let method = method(single(headers, METHOD)?, METHOD)?;
    let scheme = scheme(word(headers, PROTO)?, PROTO)?;
    let target = target(&method, word(headers, HOST)?, single(headers, URI)?, URI)?;
    Ok(Told { method, scheme, target })
}

fn x_original(headers: &HeaderMap) -> Result<Told, Untold> {
    let malformed = Untold::Malformed(ORIGINAL_URL);
    let method = method(single(headers, ORIGINAL_METHOD)?, ORIGINAL_METHOD)?;
    let (told_scheme, rest) = single(headers, ORIGINAL_URL)?.split_once("://").ok_or(malformed)?;
    let scheme = scheme(told_scheme, ORIGINAL_URL)?;
    let (host, uri) = rest.split_at_checked(rest.find('/').ok_or(malformed)?).ok_or(malformed)?;
    let target = target(&method, host, uri, ORIGINAL_URL)?;
    Ok(Told { method, scheme, target })
}

fn in_path(parts: &Parts, scheme: Scheme, below: &str) -> Result<Told, Untold> {
    let whole = parts.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    let uri = whole.strip_prefix(below).unwrap_or_default();
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => single(&parts.headers, header::HOST.as_str())?,
    };
    Ok(Told { method: parts.method.clone(), scheme, target: target(&parts.method, host, uri, "path")? })
}

/// The value of a field that must be there once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Untold> {
    let known = known(name);
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Untold::Missing(known))?;
    if values.next().is_some() {
        return Err(Untold::Repeated(known));
    }
    // A field that some server reads as the same one is somebody's play, or a proxy that does not clean up (threats 1.1).
    if headers.keys().any(|other| is_spelled_otherwise(other, name)) {
        return Err(Untold::Repeated(known));
    }
    match value.to_str() {
        Ok("") => Err(Untold::Missing(known)),
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(text),
        _ => Err(Untold::Malformed(known)),
    }
}

/// As [`single`], of a field in which a comma can only part a list.
fn word<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Untold> {
    let text = single(headers, name)?;
    if text.contains(',') { Err(Untold::Repeated(known(name))) } else { Ok(text) }
}

fn known(name: &str) -> &'static str {
    match name {
        METHOD => "X-Forwarded-Method",
        PROTO => "X-Forwarded-Proto",
        HOST => "X-Forwarded-Host",
        URI => "X-Forwarded-Uri",
        ORIGINAL_METHOD => "X-Original-Method",
        ORIGINAL_URL => "X-Original-URL",
        _ => "Host",
    }
}

fn is_spelled_otherwise(other: &HeaderName, name: &str) -> bool {
    let normal = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    let other = other.as_str();
    other != name && other.len() == name.len() && other.bytes().map(normal).eq(name.bytes())
}

fn method(text: &str, name: &'static str) -> Result<Method, Untold> {
    // A comma is no token character, so that a list falls out here as well (RFC 9110, 9.1).
    Method::from_bytes(text.as_bytes()).map_err(|_| Untold::Malformed(known(name)))
}

/// `http` or `https`; for WebSockets Traefik and Caddy say `ws` and `wss`, which run over the same.
fn scheme(text: &str, name: &'static str) -> Result<Scheme, Untold> {
    match text.to_ascii_lowercase().as_str() {
        "http" | "ws" => Ok(Scheme::Http),
        "https" | "wss" => Ok(Scheme::Https),
        _ => Err(Untold::Malformed(known(name))),
    }
}

fn target(method: &Method, host: &str, uri: &str, name: &'static str) -> Result<Target, Untold> {
    if !uri.starts_with('/') && uri != "*" {
        return Err(if name == "path" { Untold::Target(BadTarget::Form) } else { Untold::Malformed(known(name)) });
    }
    Ok(Target::told(method, host, uri)?)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;

    const GOOD: [(&str, &str); 4] = [
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "App.Example.com:8443"),
        ("X-Forwarded-Uri", "/a,b/../c?d=e,f"),
    ];
    const ORIGINAL: [(&str, &str); 2] =
        [("X-Original-Method", "GET"), ("X-Original-URL", "https://app.example.com/a?b=://c")];

    fn ask(source: Source, uri: &str, lines: &[(&str, &str)]) -> Result<Option<Told>, Untold> {
        let mut request = Request::builder().uri(uri).header("host", "front.test").body(()).unwrap();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        read(source, true, &request.into_parts().0, Scheme::Https, "/oauth2/auth")
    }

    fn told(source: Source, uri: &str, lines: &[(&str, &str)]) -> (String, &'static str, String, String) {
        let Told { method, scheme, target } = ask(source, uri, lines).unwrap().unwrap();
        let host = target.host().unwrap().authority().to_str().unwrap().to_owned();
        (method.to_string(), scheme.as_str(), host, target.path_and_query().to_string())
    }

    /// `lines` with the field `name` replaced, taken away, or added once more.
    fn with(lines: &[(&'static str, &'static str)], change: Change) -> Vec<(&'static str, &'static str)> {
        let mut lines = lines.to_vec();
        match change {
            Change::Set(name, value) => lines.iter_mut().filter(|line| line.0 == name).for_each(|line| line.1 = value),
            Change::Drop(name) => lines.retain(|line| line.0 != name),
            Change::Add(name, value) => lines.push((name, value)),
        }
        lines
    }

    #[derive(Clone, Copy, Debug)]
    enum Change {
        Set(&'static str, &'static str),
        Drop(&'static str),
        Add(&'static str, &'static str),
    }

    #[test]
    fn each_dialect_is_read() {
        let expected =
            |method: &str, host: &str, target: &str| (method.to_owned(), "https", host.to_owned(), target.to_owned());
        assert_eq!(
            told(Source::XForwarded, "/oauth2/auth", &GOOD),
            expected("POST", "app.example.com:8443", "/c?d=e,f"),
            "the path is canonical, as on the proxied way"
        );
        assert_eq!(
            told(Source::XOriginal, "/oauth2/auth?x", &ORIGINAL),
            expected("GET", "app.example.com", "/a?b=://c")
        );
        assert_eq!(told(Source::Path, "/oauth2/auth/admin/x?y=1", &[]), expected("GET", "front.test", "/admin/x?y=1"));
        assert_eq!(ask(Source::None, "/oauth2/auth", &GOOD), Ok(None), "what is not configured is not looked at");
    }

    #[test]
    fn what_is_missing_twice_a_list_or_malformed_is_refused() {
        use Change::{Add, Drop, Set};
        for (change, expected) in [
            (Drop("X-Forwarded-Method"), Untold::Missing("X-Forwarded-Method")),
            (Drop("X-Forwarded-Proto"), Untold::Missing("X-Forwarded-Proto")),
            (Drop("X-Forwarded-Host"), Untold::Missing("X-Forwarded-Host")),
            (Drop("X-Forwarded-Uri"), Untold::Missing("X-Forwarded-Uri")),
            (Set("X-Forwarded-Uri", ""), Untold::Missing("X-Forwarded-Uri")),
            (Add("X-Forwarded-Method", "GET"), Untold::Repeated("X-Forwarded-Method")),
            (Add("X-Forwarded-Uri", "/public"), Untold::Repeated("X-Forwarded-Uri")),
            (Add("X_Forwarded_Uri", "/public"), Untold::Repeated("X-Forwarded-Uri")),
            (Set("X-Forwarded-Host", "a.test,b.test"), Untold::Repeated("X-Forwarded-Host")),
            (Set("X-Forwarded-Host", "a.test, b.test"), Untold::Malformed("X-Forwarded-Host")),
            (Set("X-Forwarded-Proto", "https,http"), Untold::Repeated("X-Forwarded-Proto")),
            (Set("X-Forwarded-Proto", "gopher"), Untold::Malformed("X-Forwarded-Proto")),
            (Set("X-Forwarded-Method", "GET,POST"), Untold::Malformed("X-Forwarded-Method")),
            (Set("X-Forwarded-Method", "GET POST"), Untold::Malformed("X-Forwarded-Method")),
            (Set("X-Forwarded-Method", "CONNECT"), Untold::Target(BadTarget::Form)),
            (Set("X-Forwarded-Uri", "public"), Untold::Malformed("X-Forwarded-Uri")),
            (Set("X-Forwarded-Uri", "https://app.test/x"), Untold::Malformed("X-Forwarded-Uri")),
            (Set("X-Forwarded-Uri", "/a, /b"), Untold::Malformed("X-Forwarded-Uri")),
            (Set("X-Forwarded-Uri", "/a#b"), Untold::Target(BadTarget::Query)),
            (Set("X-Forwarded-Uri", "/\u{0456}"), Untold::Malformed("X-Forwarded-Uri")),
            (Set("X-Forwarded-Host", "user@app.test"), Untold::Target(BadTarget::Host)),
        ] {
            assert_eq!(ask(Source::XForwarded, "/oauth2/auth", &with(&GOOD, change)), Err(expected), "{change:?}");
        }
        let encoded = ask(Source::XForwarded, "/", &with(&GOOD, Set("X-Forwarded-Uri", "/%zz")));
        assert!(matches!(encoded, Err(Untold::Target(BadTarget::Path(_)))), "{encoded:?}");
    }

    #[test]
    fn an_original_address_is_whole_or_refused() {
        use Change::{Add, Drop, Set};
        let malformed = Untold::Malformed("X-Original-URL");
        for (change, expected) in [
            (Drop("X-Original-URL"), Untold::Missing("X-Original-URL")),
            (Drop("X-Original-Method"), Untold::Missing("X-Original-Method")),
            (Add("X-Original-URL", "https://app.test/public"), Untold::Repeated("X-Original-URL")),
            (Set("X-Original-URL", "/a"), malformed),
            (Set("X-Original-URL", "https://app.test"), malformed),
            (Set("X-Original-URL", "ftp://app.test/"), malformed),
            (Set("X-Original-URL", "https:///a"), Untold::Target(BadTarget::Host)),
            (Set("X-Original-URL", "https://a@b.test/"), Untold::Target(BadTarget::Host)),
            (Set("X-Original-URL", "https://a.test,b.test/"), Untold::Target(BadTarget::Host)),
        ] {
            assert_eq!(ask(Source::XOriginal, "/oauth2/auth", &with(&ORIGINAL, change)), Err(expected), "{change:?}");
        }
        assert_eq!(
            ask(Source::XOriginal, "/oauth2/auth", &GOOD),
            Err(Untold::Missing("X-Original-Method")),
            "the other family does not count"
        );
    }

    #[test]
    fn a_stranger_tells_nothing() {
        for source in [Source::XForwarded, Source::XOriginal, Source::Path] {
            let parts = Request::builder().uri("/oauth2/auth/x").body(()).unwrap().into_parts().0;
            assert_eq!(read(source, false, &parts, Scheme::Http, "/oauth2/auth"), Err(Untold::Untrusted));
        }
    }

    #[test]
    fn a_path_that_climbs_stays_within_the_request_it_names() {
        assert_eq!(told(Source::Path, "/oauth2/auth/../../admin", &[]).3, "/admin");
        assert_eq!(ask(Source::Path, "/oauth2/auth", &[]), Err(Untold::Target(BadTarget::Form)));
        assert_eq!(ask(Source::Path, "/oauth2/auth?x", &[]), Err(Untold::Target(BadTarget::Form)));
    }

    proptest::proptest! {
        /// However it is put together, what is told is either refused or one host and one canonical target.
        #[test]
        fn anything_is_read_or_refused(
            uri in "[/a-z%.?#;,\\\\ 0-9]{0,24}", host in "[a-z.:,@\\[\\] 0-9]{0,16}", method in "[A-Z, ]{0,8}",
        ) {
            let lines = [
                ("x-forwarded-method", method.as_str()), ("x-forwarded-proto", "https"),
                ("x-forwarded-host", host.as_str()), ("x-forwarded-uri", uri.as_str()),
            ];
            if let Ok(Some(told)) = ask(Source::XForwarded, "/oauth2/auth", &lines) {
                let again = Target::told(&told.method, &host, told.target.path_and_query().as_str());
                proptest::prop_assert_eq!(again.as_ref(), Ok(&told.target), "reading it again changes nothing");
            }
        }
    }
}
