//! Host names as they are compared: one normal form, and patterns over it.
//!
//! Both what requests carry and what operators write go through [`normalise`], so that letter case, a trailing dot, a
//! port or another spelling of an IPv6 address never make two hosts of one (threat model, 2.5).

use std::{borrow::Cow, fmt, net::Ipv6Addr};

use super::problem::Problems;
use super::value::{At, Shape, Value};

/// The text is not `host` or `host:port`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a host name or address, with or without a port")]
pub struct BadHost;

/// The longest host name, in bytes (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;

/// Splits `host` or `host:port` and brings the host into normal form: lower case, no trailing dot, IPv6 in brackets
/// and in its shortest spelling (RFC 5952). Borrowed when it was in that form already.
///
/// # Errors
/// [`BadHost`] for anything else: user info, escapes, non-ASCII (write the `xn--` form), empty names or labels.
pub fn normalise(authority: &str) -> Result<(Cow<'_, str>, Option<u16>), BadHost> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(BadHost)?;
        let address: Ipv6Addr = address.parse().map_err(|_| BadHost)?;
        return Ok((Cow::Owned(format!("[{address}]")), parse_port(port)?));
    }
    let (name, port) = match authority.find(':') {
        Some(colon) => authority.split_at(colon),
        None => (authority, ""),
    };
    Ok((normal_name(name)?, parse_port(port)?))
}

fn normal_name(name: &str) -> Result<Cow<'_, str>, BadHost> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut upper = false;
    let mut previous = b'.';
    for &byte in name.as_bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'A'..=b'Z' => upper = true,
            b'.' if previous != b'.' => {}
            _ => return Err(BadHost),
        }
        previous = byte;
    }
    if name.is_empty() || name.len() > MAX_NAME || previous == b'.' {
        return Err(BadHost);
    }
    Ok(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

/// Reads `:port`, or nothing. An empty port (RFC 3986, 3.2.3, allows `host:`) is refused: nobody needs it.
fn parse_port(text: &str) -> Result<Option<u16>, BadHost> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix(':').ok_or(BadHost)?;
    if digits.is_empty() || digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadHost);
    }
    digits.parse().map(Some).map_err(|_| BadHost)
}

/// Which hosts: one name, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(Box<str>),
    /// `*.example.com`: every name exactly one label below; holds `example.com`.
    OneLabel(Box<str>),
    /// `**.example.com`: every name one or more labels below; holds `example.com`.
    AnyDepth(Box<str>),
}

impl HostPattern {
    /// Reads a pattern; the port, when there is one, comes beside it.
    ///
    /// # Errors
    /// [`BadHost`] when it is neither a host nor `*.` or `**.` before one.
    pub fn parse(text: &str) -> Result<(Self, Option<u16>), BadHost> {
        let (kind, rest): (fn(Box<str>) -> Self, _) = if let Some(rest) = text.strip_prefix("**.") {
            (Self::AnyDepth, rest)
        } else if let Some(rest) = text.strip_prefix("*.") {
            (Self::OneLabel, rest)
        } else {
            (Self::Exact, text)
        };
        let (name, port) = normalise(rest)?;
        if rest.starts_with('[') && rest.len() != text.len() {
            return Err(BadHost);
        }
        Ok((kind(name.into()), port))
    }

    /// Whether `host`, in normal form, is one of them. A wildcard begins at a dot and `*` never crosses one.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::OneLabel(base) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == &**base)
            }
            Self::AnyDepth(base) => {
                host.strip_suffix(&**base).and_then(|rest| rest.strip_suffix('.')).is_some_and(|rest| !rest.is_empty())
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::OneLabel(base) => write!(f, "*.{base}"),
            Self::AnyDepth(base) => write!(f, "**.{base}"),
        }
    }
}

impl Value for HostPattern {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        const SAYS: &str = "a host such as \"app.example.com\" or \"*.example.com\"";
        let text = at.text(problems, SAYS)?;
        match Self::parse(&text) {
            Ok((pattern, None)) => Some(pattern),
            Ok((_, Some(_))) => {
                at.problem(problems, "a port does not belong here", "drop it: every port of the host is meant");
                None
            }
            Err(error) => {
                at.problem(problems, format!("\"{}\": {error}", text.escape_debug()), format!("write {SAYS}"));
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::Leaf {
            says: "a host: \"app.example.com\", \"*.example.com\" (one label below) or \"**.example.com\" (any depth)",
            schema: serde_json::json!({"type": "string"}),
        }
    }
    fn show(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_trailing_dot_and_port_do_not_make_another_host() {
        for (text, name, port) in [
            ("app.example.com", "app.example.com", None),
            ("APP.Example.com.", "app.example.com", None),
            ("app.example.com.:8443", "app.example.com", Some(8443)),
            ("[::1]:80", "[::1]", Some(80)),
            ("[0:0:0:0:0:0:0:1]", "[::1]", None),
            ("127.0.0.1:9000", "127.0.0.1", Some(9000)),
        ] {
            assert_eq!(normalise(text), Ok((Cow::Borrowed(name), port)), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a b",
            "a@b",
            "a/b",
            "a%2eb",
            "a:b",
            "a:",
            "a:99999",
            "a:+80",
            "::1",
            "[::1",
            "[::1]x",
            "[1.2.3.4]",
            "bücher.example",
            "a\0b",
            "a..",
            "a,b",
            "a:80:80",
            "[::1%25eth0]",
        ] {
            assert_eq!(normalise(text), Err(BadHost), "{text:?}");
        }
    }

    #[test]
    fn a_wildcard_keeps_to_the_dot_boundary() {
        let (one, _) = HostPattern::parse("*.example.com").unwrap();
        let (any, _) = HostPattern::parse("**.Example.com").unwrap();
        for (host, in_one, in_any) in [
            ("a.example.com", true, true),
            ("a.b.example.com", false, true),
            ("example.com", false, false),
            ("badexample.com", false, false),
            (".example.com", false, false),
            ("a.example.com.evil.test", false, false),
            ("aexample.com", false, false),
        ] {
            assert_eq!(one.matches(host), in_one, "{host}");
            assert_eq!(any.matches(host), in_any, "{host}");
        }
        assert!(HostPattern::parse("*.[::1]").is_err());
        assert!(HostPattern::parse("*").is_err());
        assert!(HostPattern::parse("a.*.b").is_err());
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "[a-zA-Z0-9._:\\[\\]-]{0,40}") {
            if let Ok((host, _)) = normalise(&text) {
                prop_assert_eq!(normalise(&host), Ok((Cow::Borrowed(&*host), None)));
            }
        }
    }
}
