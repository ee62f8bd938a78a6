//! Return-to: where a browser goes after sign-in, sign-out or an error.
//!
//! A [`ReturnTo`] is proof that a target was checked; no redirect takes anything else (threat model, 6). Only our own
//! origin and hosts on the configured list are taken. The text is read by a WHATWG parser, the way browsers read it,
//! after everything browsers skip or repair was refused; scheme, host and port are compared as parts, never as text.
//! Targets of our own origin are emitted as paths, so that no name in them can matter.

use std::fmt;

use serde::{Serialize, Serializer};
use url::Url;

use crate::config::host::{BadHost, HostPattern};

/// The longest target, in bytes: it travels in the login attempt's cookie.
pub const MAX_LEN: usize = 2048;

/// A checked target: a path of our own origin, or a whole address on an allowed host.
///
/// Only a check makes one:
///
/// ```compile_fail,E0423
/// let forged = brama::login::return_to::ReturnTo("https://evil.test".into());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnTo(Box<str>);

/// Why a target is refused; go to [`ReturnTo::home`] then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Empty, or longer than [`MAX_LEN`].
    #[error("the return target is empty or too long")]
    Length,
    /// It holds a control character, white space or a backslash, which browsers drop or turn into a slash.
    #[error("the return target holds characters that do not belong in an address")]
    Characters,
    /// It is neither a path nor an http address.
    #[error("the return target is neither a path nor an http address")]
    NotAnAddress,
    /// It leads to a host, port or scheme that is not allowed.
    #[error("the return target leads elsewhere")]
    Foreign,
}

impl Refused {
    /// A short, stable word for logs and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Characters => "characters",
            Self::NotAnAddress => "not_an_address",
            Self::Foreign => "foreign",
        }
    }
}

/// Which hosts beside our own may be returned to, and where our own pages are.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    hosts: Vec<(HostPattern, Option<u16>)>,
    prefix: Box<str>,
}

impl AllowedHosts {
    /// From `portal.allowed_hosts` and `portal.prefix`. An entry without a port means the scheme's own port.
    ///
    /// # Errors
    /// [`BadHost`] for an entry that is no host or pattern.
    pub fn new<'a>(hosts: impl IntoIterator<Item = &'a str>, prefix: &str) -> Result<Self, BadHost> {
        let hosts = hosts.into_iter().map(HostPattern::parse).collect::<Result<_, _>>()?;
        Ok(Self { hosts, prefix: prefix.into() })
    }

    fn allow(&self, url: &Url, origin: &Url) -> bool {
        // Never from TLS down to plain text: the cookie and what the page shows would follow.
        let downgrade = origin.scheme() == "https" && url.scheme() != "https";
        let Some(host) = url.host_str() else { return false };
        let host = host.strip_suffix('.').unwrap_or(host);
        !downgrade
            && self.hosts.iter().any(|(pattern, port)| pattern.matches(host) && url.port() == own_port(*port, url))
    }

    /// Pages that would start another login, or end the session, at once.
    fn would_loop(&self, path: &str) -> bool {
        const LOOPS: [&str; 5] = ["sign_in", "start", "callback", "sign_out", "auth"];
        // As the portal will read it: decoded, without empty segments.
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let mut segments = decoded.split(['/', '\\']).filter(|segment| !segment.is_empty());
        let own = self.prefix.split('/').filter(|segment| !segment.is_empty());
        for expected in own {
            if segments.next() != Some(expected) {
                return false;
            }
        }
        segments.next().is_some_and(|page| LOOPS.contains(&page.split(';').next().unwrap_or_default()))
    }
}

/// The port as [`Url::port`] gives it: absent when it is the scheme's own.
fn own_port(port: Option<u16>, url: &Url) -> Option<u16> {
    let default = if url.scheme() == "https" { 443 } else { 80 };
    port.filter(|port| *port != default)
}

impl ReturnTo {
    /// The root of our own origin.
    pub fn home() -> Self {
        Self("/".into())
    }

    /// Checks a target, percent-decoded once at most by whoever took it from a query. `origin` is `portal.public_url`,
    /// never something a request says.
    ///
    /// Pages of ours that would start the next login or end the session turn into [`home`](Self::home).
    ///
    /// # Errors
    /// [`Refused`] for everything that is not provably ours or allowed.
    pub fn check(raw: &str, origin: &Url, allowed: &AllowedHosts) -> Result<Self, Refused> {
        let url = read(raw, origin)?;
        let own = url.origin() == origin.origin();
        if !own && !allowed.allow(&url, origin) {
            return Err(Refused::Foreign);
        }
        // "/.//evil.test" has the path "//evil.test": alone it would name a host.
        if url.path().starts_with("//") {
            return Err(Refused::Foreign);
        }
        if allowed.would_loop(url.path()) {
            return Ok(Self::home());
        }
        let emitted: &str = if own { &url[url::Position::BeforePath..] } else { url.as_str() };
        // What browsers make of what we emit must be what was checked; if parsers ever disagree, nobody goes anywhere.
        match origin.join(emitted) {
            Ok(again) if again == url && emitted.len() <= MAX_LEN => Ok(Self(emitted.into())),
            _ => Err(Refused::Foreign),
        }
    }

    /// A target that was checked before it was sealed; whoever opened the seal may say so.
    pub(super) fn checked_before(text: String) -> Self {
        Self(text.into())
    }

    /// The first of `candidates` that passes, else [`home`](Self::home): `rd`, `X-Auth-Request-Redirect`, the request's
    /// own address.
    pub fn first<'a>(
        candidates: impl IntoIterator<Item = Option<&'a str>>,
        origin: &Url,
        allowed: &AllowedHosts,
    ) -> Self {
        let mut checked = candidates.into_iter().flatten().filter_map(|raw| Self::check(raw, origin, allowed).ok());
        checked.next().unwrap_or_else(Self::home)
    }

    /// What goes into `Location` or a link: a path that begins with one slash, or a whole address on an allowed host.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReturnTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Written as text; it is read back only through [`ReturnTo::check`], so that no sealed or stored text skips it.
impl Serialize for ReturnTo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Reads a target as a browser on our origin would, if it is one that no browser has to repair.
fn read(raw: &str, origin: &Url) -> Result<Url, Refused> {
    if raw.is_empty() || raw.len() > MAX_LEN {
        return Err(Refused::Length);
    }
    if raw.chars().any(|char| char.is_control() || char.is_whitespace() || char == '\\' || is_invisible(char)) {
        return Err(Refused::Characters);
    }
    let scheme = raw.split_once("://").map(|(scheme, _)| scheme);
    let absolute = scheme.is_some_and(|scheme| matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https"));
    if !raw.starts_with('/') && !absolute {
        return Err(Refused::NotAnAddress);
    }
    let url = origin.join(raw).map_err(|_| Refused::NotAnAddress)?;
    if !matches!(url.scheme(), "http" | "https") || !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::Foreign);
    }
    Ok(url)
}

/// Characters that nobody types and that make one address look like another.
fn is_invisible(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin() -> Url {
        "https://app.example.com".parse().unwrap()
    }

    fn allowed() -> AllowedHosts {
        AllowedHosts::new(["other.test", "*.apps.test", "dev.test:8443", "**.deep.test"], "/oauth2").unwrap()
    }

    fn check(raw: &str) -> Result<String, Refused> {
        ReturnTo::check(raw, &origin(), &allowed()).map(|target| target.as_str().to_owned())
    }

    #[test]
    fn our_own_targets_are_emitted_as_paths() {
        for (raw, emitted) in [
            ("/", "/"),
            ("/a/b?c=d#e", "/a/b?c=d#e"),
            ("https://app.example.com/a", "/a"),
            ("HTTPS://APP.example.com:443/a?b", "/a?b"),
            ("https://app.example.com", "/"),
            ("//app.example.com/a", "/a"),
            ("/a/../b", "/b"),
            ("/п", "/%D0%BF"),
            ("/a?next=https://evil.test", "/a?next=https://evil.test"),
            ("/%2F%2Fevil.test", "/%2F%2Fevil.test"),
            ("/%5Cevil.test", "/%5Cevil.test"),
            ("/@evil.test", "/@evil.test"),
        ] {
            assert_eq!(check(raw).as_deref(), Ok(emitted), "{raw}");
        }
    }

    #[test]
    fn allowed_hosts_are_matched_on_the_dot_boundary_and_with_ports() {
        for (raw, passes) in [
            ("https://other.test/a", true),
            ("https://other.test:443/", true),
            ("https://OTHER.test./", true),
            ("https://other.test:8443/", false),
            ("http://other.test/", false),
            ("https://sub.other.test/", false),
            ("https://another.test/", false),
            ("https://x.apps.test/", true),
            ("https://apps.test/", false),
            ("https://x.y.apps.test/", false),
            ("https://evilapps.test/", false),
            ("https://x.y.deep.test/", true),
            ("https://dev.test:8443/", true),
            ("https://dev.test/", false),
        ] {
            assert_eq!(check(raw).is_ok(), passes, "{raw}");
        }
    }

    #[test]
    fn nothing_leads_elsewhere() {
        for (attack, raw) in [
            ("another host", "https://evil.test/"),
            ("protocol-relative", "//evil.test"),
            ("three slashes", "///evil.test"),
            ("four slashes", "////evil.test"),
            ("backslashes", "/\\evil.test"),
            ("two backslashes", "\\\\evil.test"),
            ("tab inside", "/\t/evil.test"),
            ("newline inside", "/\n/evil.test"),
            ("header splitting", "/a\r\nSet-Cookie: x=y"),
            ("leading space", " https://evil.test"),
            ("leading control", "\u{1}https://evil.test"),
            ("no-break space", "\u{a0}//evil.test"),
            ("zero-width space", "https://evil\u{200b}.test"),
            ("script", "javascript:alert(1)"),
            ("script with slashes", "javascript://app.example.com/%0aalert(1)"),
            ("data", "data:text/html,x"),
            ("no slashes", "https:evil.test"),
            ("one slash", "https:/evil.test"),
            ("missing slashes, own scheme", "https:app.example.com"),
            ("relative", "evil.test"),
            ("query only", "?x"),
            ("user info", "https://app.example.com@evil.test/"),
            ("user info on our host", "https://user@app.example.com/"),
            ("password on our host", "https://:pw@app.example.com/"),
            ("user info on an allowed host", "https://app.example.com@other.test/"),
            ("subdomain of the attacker", "https://app.example.com.evil.test/"),
            ("our name as a suffix", "https://evilapp.example.com/"),
            ("another port", "https://app.example.com:8443/"),
            ("plain text", "http://app.example.com/"),
            ("dot segment before slashes", "/.//evil.test"),
            ("parent before slashes", "/a/..//evil.test"),
            ("escaped dot before slashes", "/%2e//evil.test"),
            ("our host, then slashes", "https://app.example.com//evil.test"),
            ("full-width dot in the host", "https://app.example.com\u{ff0e}evil.test/"),
            ("full-width solidus", "https://app.example.com\u{ff0f}@evil.test/"),
            ("escaped at sign", "https://app.example.com%40evil.test/"),
            ("number as address", "https://2130706433/"),
            ("ftp", "ftp://app.example.com/"),
            ("empty", ""),
        ] {
            assert!(check(raw).is_err(), "{attack}: {raw:?} gave {:?}", check(raw));
        }
        assert_eq!(check(&format!("/{}", "a".repeat(MAX_LEN))), Err(Refused::Length));
        assert_eq!(check(&format!("/{}", "п".repeat(MAX_LEN / 3))), Err(Refused::Foreign), "grows when escaped");
    }

    #[test]
    fn a_login_never_returns_into_a_login() {
        for raw in [
            "/oauth2/sign_in",
            "/oauth2/sign_in?rd=/x",
            "/oauth2/start/google",
            "/oauth2/callback/google?code=x",
            "/oauth2/sign_out",
            "/oauth2/%73ign_in",
            "/oauth2//sign_in",
            "/x/../oauth2/start",
            "/%6Fauth2/start;x",
            "https://app.example.com/oauth2/start",
            "https://other.test/oauth2/start",
        ] {
            assert_eq!(check(raw).as_deref(), Ok("/"), "{raw}");
        }
        assert_eq!(check("/oauth2/account").as_deref(), Ok("/oauth2/account"));
        assert_eq!(check("/oauth2/signed_out").as_deref(), Ok("/oauth2/signed_out"));
        assert_eq!(check("/oauth22/start").as_deref(), Ok("/oauth22/start"));
    }

    #[test]
    fn the_first_candidate_that_passes_is_taken() {
        let first = |candidates: [Option<&str>; 3]| ReturnTo::first(candidates, &origin(), &allowed());
        assert_eq!(first([None, Some("//evil.test"), Some("/c")]).as_str(), "/c");
        assert_eq!(first([Some("/a"), Some("/b"), None]).as_str(), "/a");
        assert_eq!(first([None, Some("//evil.test"), None]), ReturnTo::home());
    }

    /// Where a browser on our origin goes for this `Location`.
    fn oracle(location: &str) -> Url {
        Url::parse("https://app.example.com/oauth2/callback/google?code=x").unwrap().join(location).unwrap()
    }

    fn is_fine(url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        url.scheme() == "https"
            && match url.port() {
                None => {
                    matches!(host, "app.example.com" | "other.test")
                        || host.strip_suffix(".apps.test").is_some_and(|label| !label.contains('.'))
                        || host.ends_with(".deep.test")
                }
                Some(8443) => host == "dev.test",
                Some(_) => false,
            }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_foreign_origin_ever_comes_out(
            parts in proptest::collection::vec(proptest::sample::select(vec![
                "/", "//", "\\", ".", "..", "%2e", "%2f", "%5c", ":", "@", "?", "#", ";", "https:", "http:", "HTTPS://",
                "app.example.com", "evil.test", "other.test", ".apps.test", "dev.test:8443", "\t", "\n", " ", "\u{a0}",
                "\u{ff0f}", "\u{ff0e}", "\u{3002}", "a", "oauth2", "start", "[::1]", "127.1", ":443", "%00", "%0d%0a",
            ]), 0..8),
        ) {
            let raw = parts.concat();
            if let Ok(emitted) = check(&raw) {
                prop_assert!(is_fine(&oracle(&emitted)), "{raw:?} leads to {emitted:?}");
                prop_assert!(emitted.bytes().all(|byte| byte.is_ascii_graphic()), "{emitted:?}");
                prop_assert!(!emitted.starts_with("//"), "{emitted:?}");
                prop_assert_eq!(check(&emitted), Ok(emitted.clone()), "checking is idempotent");
            }
        }

        #[test]
        fn arbitrary_text_leads_nowhere_else(raw in "\\PC{0,40}") {
            if let Ok(emitted) = check(&raw) {
                prop_assert!(is_fine(&oracle(&emitted)), "{raw:?} leads to {emitted:?}");
            }
        }
    }
}
