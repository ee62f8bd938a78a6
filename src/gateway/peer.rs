//! Peer: who really is calling.
//!
//! The address, scheme and host of a request come from its connection, unless the connection comes from a configured
//! proxy: then from what this proxy wrote, walking its chain from the right as far as configured proxies go. One
//! family of fields is believed, chosen by the operator; all members of all families are removed in every case
//! (`enrich` does so, in its one pass over the fields) and ours written in their place (threat model, 1.4).
//!
//! What others may rely on: nothing a client writes changes a [`Peer`]; `X-Forwarded-For` at the upstream holds exactly
//! one address, so an app that takes its first, its last or its only element gets the same, verified one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use super::target::{Host, Target};
use crate::config::forwarded::{Believe, Forwarded};
use crate::upstream::Lines;

/// The scheme the person's browser used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// As it is spelled in URLs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that goes without saying.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("https") => Some(Self::Https),
            _ if text.eq_ignore_ascii_case("http") => Some(Self::Http),
            _ => None,
        }
    }
}

/// Whom we believe.
#[derive(Debug, Clone)]
pub struct TrustedProxies {
    networks: Box<[IpNet]>,
    unix_sockets: bool,
    believe: Believe,
}

impl TrustedProxies {
    /// From the configuration.
    pub fn new(config: &Forwarded) -> Self {
        Self {
            networks: config.trusted_proxies.clone().into(),
            unix_sockets: config.trust_unix_sockets,
            believe: config.believe,
        }
    }

    /// Whether whoever is at `address` is believed; `None` is a Unix socket.
    pub fn trusts(&self, address: Option<IpAddr>) -> bool {
        match address {
            Some(address) => self.networks.iter().any(|network| network.contains(&plain(address))),
            None => self.unix_sockets,
        }
    }
}

/// An IPv4 address that came in IPv6 clothes is an IPv4 address: else `::ffff:10.0.0.1` would not be in 10.0.0.0/8.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// What is known of a connection once, so that no request has to find it out again.
#[derive(Debug, Clone)]
pub struct Caller {
    address: Option<IpAddr>,
    address_value: Option<HeaderValue>,
    scheme: Scheme,
    believed: Option<Believed>,
}

#[derive(Debug, Clone)]
struct Believed(std::sync::Arc<TrustedProxies>);

impl Caller {
    /// Made when a connection is accepted. `address` is the socket's other end, or what a configured proxy told by the
    /// PROXY protocol; `None` is a Unix socket.
    pub fn new(address: Option<IpAddr>, scheme: Scheme, trusted: &std::sync::Arc<TrustedProxies>) -> Self {
        let address = address.map(plain);
        Self {
            address,
            address_value: address.and_then(value_of),
            scheme,
            believed: trusted.trusts(address).then(|| Believed(trusted.clone())),
        }
    }

    /// Whether it is one of the proxies that are believed.
    pub fn is_trusted(&self) -> bool {
        self.believed.is_some()
    }

    /// Who calls with these fields.
    pub fn peer(&self, headers: &HeaderMap) -> Peer {
        let direct =
            Peer { address: self.address, scheme: self.scheme, host: None, address_value: self.address_value.clone() };
        match &self.believed {
            None => direct,
            Some(Believed(trusted)) => told(direct, headers, trusted),
        }
    }
}

fn value_of(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(address.to_string()).ok()
}

/// Who really is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Address of the person's machine; `None` when it came over a Unix socket and nobody told.
    pub address: Option<IpAddr>,
    /// What the browser used.
    pub scheme: Scheme,
    /// The host the browser asked for, when a trusted proxy told; else the request's own counts.
    pub host: Option<Host>,
    address_value: Option<HeaderValue>,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Names of the family that are removed exactly; [`FAMILY_PREFIXES`] covers the rest.
pub(super) const FAMILY: [&str; 9] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-rewrite-url",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "client-ip",
];

/// Prefixes of the family: every field that begins so is removed.
pub(super) const FAMILY_PREFIXES: [&str; 2] = ["x-forwarded-", "x-original-"];

impl Peer {
    /// X-Forwarded-For, -Proto, -Host and -Port for the upstream. What a client wrote there was stripped.
    pub fn lines(&self, target: &Target) -> Lines {
        let mut lines = Lines::default();
        if let Some(address) = &self.address_value {
            lines.put(&X_FORWARDED_FOR, address);
        }
        lines.put(&X_FORWARDED_PROTO, &HeaderValue::from_static(self.scheme.as_str()));
        if let Some(host) = target.host() {
            lines.put(&X_FORWARDED_HOST, host.authority());
        }
        let port = match (target.host().and_then(Host::port), self.scheme) {
            (None | Some(80), Scheme::Http) => HeaderValue::from_static("80"),
            (None | Some(443), Scheme::Https) => HeaderValue::from_static("443"),
            (Some(port), _) => HeaderValue::from(port),
        };
        lines.put(&X_FORWARDED_PORT, &port);
        lines
    }
}

/// The peer as a trusted proxy tells.
fn told(direct: Peer, headers: &HeaderMap, trusted: &TrustedProxies) -> Peer {
    let told = match trusted.believe {
        Believe::Forwarded => forwarded(headers, trusted),
        Believe::XForwarded => chain(elements(headers, &X_FORWARDED_FOR), headers, trusted),
        Believe::XRealIp => chain(single(headers, &X_REAL_IP).into_iter().collect(), headers, trusted),
    };
    let address = told.address.or(direct.address);
    Peer {
        address,
        scheme: told.scheme.unwrap_or(direct.scheme),
        host: told.host,
        address_value: if address == direct.address { direct.address_value } else { address.and_then(value_of) },
    }
}

#[derive(Default)]
struct Told {
    address: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<Host>,
}

/// The most hops that are looked at; a longer list is somebody's play, and its left end is not needed.
const MAX_HOPS: usize = 32;

/// All elements of a list-valued field, in order. One that is not text reads as empty: a client that writes rubbish
/// into the list must not hide what the proxy adds after it.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<&'a str> {
    let lines = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    lines.map(|element| std::str::from_utf8(element).unwrap_or_default().trim()).collect()
}

/// The value of a field that must be there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.trim();
    (values.next().is_none() && !value.contains(',')).then_some(value)
}

/// Walks a chain of addresses from the right and takes scheme and host from the same hop.
fn chain(hops: Vec<&str>, headers: &HeaderMap, trusted: &TrustedProxies) -> Told {
    let (address, from_right) = walk(hops.iter().rev().map(|hop| address(hop)), trusted);
    let hop_of = |name: &HeaderName| {
        let list = elements(headers, name);
        // A proxy that adds to the chain adds to these lists as well, or replaces them. Where they are as long as the
        // chain, the hop that told the address told these; otherwise only the nearest proxy's word counts.
        let index = if list.len() == hops.len() { from_right } else { 0 };
        list.iter().rev().nth(index).copied()
    };
    Told {
        address,
        scheme: hop_of(&X_FORWARDED_PROTO).and_then(Scheme::parse),
        host: hop_of(&X_FORWARDED_HOST).and_then(|host| Host::parse(host).ok()),
    }
}

/// The first address from the right that is not a trusted proxy's, and how far from the right it stands. What cannot be
/// read ends the walk: beyond it nothing is vouched for.
fn walk(hops: impl Iterator<Item = Option<IpAddr>>, trusted: &TrustedProxies) -> (Option<IpAddr>, usize) {
    let mut known = (None, 0);
    for (index, hop) in hops.take(MAX_HOPS).enumerate() {
        let Some(hop) = hop else { break };
        known = (Some(hop), index);
        if !trusted.trusts(Some(hop)) {
            break;
        }
    }
    known
}

/// An address with or without a port, IPv6 with or without brackets (RFC 7239, 6).
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(plain(address));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return address.parse::<Ipv6Addr>().ok().filter(|_| fine).map(|address| plain(address.into()));
    }
    let (address, port) = text.split_once(':')?;
    address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(Into::into)
}

/// A port, or an obfuscated one such as `_x` (RFC 7239, 6.3).
fn is_port(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 32
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// `Forwarded` (RFC 7239, 4), walked likewise.
fn forwarded(headers: &HeaderMap, trusted: &TrustedProxies) -> Told {
    let lines: Vec<String> = headers
        .get_all(header::FORWARDED)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect();
    let whole = lines.join(",");
    let hops = hops_of(&whole).or_else(|| hops_of(last_element(&whole))).unwrap_or_default();
    let (address, from_right) = walk(hops.iter().rev().map(|hop| hop.address), trusted);
    let hop = hops.iter().rev().nth(from_right);
    Told {
        address,
        scheme: hop.and_then(|hop| hop.scheme),
        host: hop.and_then(|hop| Host::parse(hop.host.as_deref()?).ok()),
    }
}

/// What stands after the last comma: when the list as a whole breaks the grammar, a client broke it, and what the
/// nearest proxy added at the end is still its own.
fn last_element(line: &str) -> &str {
    line.rsplit(',').next().unwrap_or_default()
}

#[derive(Clone, Default)]
struct Hop {
    address: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<String>,
}

/// Reads the elements of `Forwarded`; nothing when the grammar is broken anywhere.
fn hops_of(line: &str) -> Option<Vec<Hop>> {
    let mut hops = Vec::new();
    let mut hop = Hop::default();
    let mut seen: Vec<String> = Vec::new();
    let mut rest = line;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let (value, after) = pair_value(after)?;
        // A parameter must not occur twice in an element (RFC 7239, 4).
        if !is_token(&name) || seen.contains(&name) {
            return None;
        }
        match name.as_str() {
            "for" => hop.address = address(&value),
            "proto" => hop.scheme = Scheme::parse(&value),
            "host" => hop.host = Some(value),
            _ => {}
        }
        seen.push(name);
        let after = after.trim_start();
        match (after.strip_prefix(';'), after.strip_prefix(',')) {
            (Some(next), _) => rest = next,
            (None, Some(next)) => {
                hops.push(std::mem::take(&mut hop));
                seen.clear();
                rest = next;
            }
            (None, None) => {
                hops.push(hop);
                return after.is_empty().then_some(hops);
            }
        }
    }
}

/// A token or a quoted string, and what follows.
fn pair_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        // Colons and brackets need quotes by the grammar; several proxies leave them out, and nothing is lost by reading them.
        let fine = !value.is_empty() && value.bytes().all(|byte| is_token_byte(byte) || b":[]".contains(&byte));
        return fine.then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => return Some((value, quoted.get(index + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn trusted(believe: Believe) -> Arc<TrustedProxies> {
        Arc::new(TrustedProxies::new(&Forwarded {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
            trust_unix_sockets: false,
            believe,
        }))
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn peer(from: &str, believe: Believe, lines: &[(&'static str, &str)]) -> (String, Scheme, Option<String>) {
        let caller = Caller::new(from.parse().ok(), Scheme::Http, &trusted(believe));
        let peer = caller.peer(&headers(lines));
        let address = peer.address.map(|address| address.to_string()).unwrap_or_default();
        assert_eq!(peer.address_value.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default(), address);
        (address, peer.scheme, peer.host.map(|host| host.name().to_owned()))
    }

    const EVERYTHING: [(&str, &str); 6] = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-real-ip", "2.2.2.2"),
        ("forwarded", "for=3.3.3.3;proto=https;host=evil.test"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x-original-url", "/admin"),
    ];

    #[test]
    fn a_stranger_is_believed_nothing_whatever_is_configured() {
        for believe in [Believe::XForwarded, Believe::Forwarded, Believe::XRealIp] {
            assert_eq!(peer("192.0.2.9", believe, &EVERYTHING), ("192.0.2.9".into(), Scheme::Http, None));
            assert_eq!(peer("unix", believe, &EVERYTHING), (String::new(), Scheme::Http, None));
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed_one_family_only() {
        for (believe, address, host) in [
            (Believe::XForwarded, "1.1.1.1", "evil.test"),
            (Believe::Forwarded, "3.3.3.3", "evil.test"),
            (Believe::XRealIp, "2.2.2.2", "evil.test"),
        ] {
            assert_eq!(peer("10.0.0.1", believe, &EVERYTHING), (address.into(), Scheme::Https, Some(host.into())));
        }
    }

    #[test]
    fn a_chain_is_walked_from_the_right() {
        for (case, chain, address) in [
            ("a client", "203.0.113.7", "203.0.113.7"),
            ("a forged left end", "1.1.1.1, 203.0.113.7", "203.0.113.7"),
            ("a forged trusted left end", "10.9.9.9, 203.0.113.7", "203.0.113.7"),
            ("two of our proxies", "1.1.1.1, 203.0.113.7, 10.0.0.2, 10.0.0.3", "203.0.113.7"),
            ("only our proxies", "10.0.0.5, 10.0.0.2", "10.0.0.5"),
            ("garbage at the right", "203.0.113.7, unknown", "10.0.0.1"),
            ("garbage behind a proxy", "garbage, 10.0.0.2", "10.0.0.2"),
            ("with a port", "203.0.113.7:4711", "203.0.113.7"),
            ("IPv6 with a port", "[2001:db8::1]:4711", "2001:db8::1"),
            ("bare IPv6", "2001:db8::1", "2001:db8::1"),
            ("IPv4 in IPv6", "::ffff:203.0.113.7, ::ffff:10.0.0.2", "203.0.113.7"),
            ("empty", "", "10.0.0.1"),
            ("empty elements", "203.0.113.7, ,", "10.0.0.1"),
            ("octal look-alike", "010.0.0.1", "10.0.0.1"),
            ("rubbish that would hide the client", "\u{ff}\u{fe}, 203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(peer("10.0.0.1", Believe::XForwarded, &[("x-forwarded-for", chain)]).0, address, "{case}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(peer("10.0.0.1", Believe::XForwarded, &lines).0, "203.0.113.7");
        assert_eq!(
            peer("10.0.0.1", Believe::XRealIp, &[("x-real-ip", "1.1.1.1"), ("x-real-ip", "2.2.2.2")]).0,
            "10.0.0.1"
        );
    }

    #[test]
    fn scheme_and_host_come_from_the_hop_that_told_the_address() {
        let lines = [
            ("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.0.0.2"),
            ("x-forwarded-proto", "http, https, http"),
            ("x-forwarded-host", "forged.test, App.Example.com:8443, inner"),
        ];
        let (_, scheme, host) = peer("10.0.0.1", Believe::XForwarded, &lines);
        assert_eq!((scheme, host.as_deref()), (Scheme::Https, Some("app.example.com")));
        let lines =
            [("x-forwarded-for", "203.0.113.7"), ("x-forwarded-proto", "https, http"), ("x-forwarded-host", "a b")];
        let (_, scheme, host) = peer("10.0.0.1", Believe::XForwarded, &lines);
        assert_eq!((scheme, host), (Scheme::Http, None), "the nearest proxy's word; a broken host is none");
    }

    #[test]
    fn forwarded_is_read_by_its_grammar() {
        for (case, line, address, scheme) in [
            ("plain", "for=203.0.113.7;proto=https", "203.0.113.7", Scheme::Https),
            ("quoted", "For=\"[2001:db8::1]:4711\" ; Proto=HTTPS", "2001:db8::1", Scheme::Https),
            ("unquoted with a port", "for=203.0.113.7:80", "203.0.113.7", Scheme::Http),
            (
                "chain",
                "for=1.1.1.1, for=203.0.113.7;proto=https, for=10.0.0.2;proto=http",
                "203.0.113.7",
                Scheme::Https,
            ),
            ("a comma inside quotes", "for=203.0.113.7;by=\", for=9.9.9.9\"", "203.0.113.7", Scheme::Http),
            ("an escaped quote", "by=\"a\\\", for=9.9.9.9\";for=203.0.113.7", "203.0.113.7", Scheme::Http),
            ("obfuscated", "for=_hidden", "10.0.0.1", Scheme::Http),
            ("unknown", "for=unknown", "10.0.0.1", Scheme::Http),
            ("open quote", "for=\"203.0.113.7", "10.0.0.1", Scheme::Http),
            ("twice", "for=203.0.113.7;for=9.9.9.9", "10.0.0.1", Scheme::Http),
            ("rubbish after", "for=203.0.113.7 x", "10.0.0.1", Scheme::Http),
            ("no value", "for=", "10.0.0.1", Scheme::Http),
            ("an open quote that would hide the client", "for=\"x, for=203.0.113.7", "203.0.113.7", Scheme::Http),
            ("rubbish that would hide the client", "a b c, for=203.0.113.7;proto=https", "203.0.113.7", Scheme::Https),
        ] {
            let (found, found_scheme, _) = peer("10.0.0.1", Believe::Forwarded, &[("forwarded", line)]);
            assert_eq!(found, address, "{case}");
            if found != "10.0.0.1" {
                assert_eq!(found_scheme, scheme, "{case}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_a_stranger_writes_changes_the_peer(line in "[ -~]{0,60}", which in 0_usize..6) {
            let name = EVERYTHING[which].0;
            for believe in [Believe::XForwarded, Believe::Forwarded, Believe::XRealIp] {
                prop_assert_eq!(peer("192.0.2.9", believe, &[(name, &line)]), ("192.0.2.9".into(), Scheme::Http, None));
            }
        }

        #[test]
        fn whatever_is_left_of_an_untrusted_hop_is_never_the_address(left in "[0-9a-f.:, \\[\\]]{0,40}") {
            let line = format!("{left}, 203.0.113.7");
            prop_assert_eq!(peer("10.0.0.1", Believe::XForwarded, &[("x-forwarded-for", &line)]).0, "203.0.113.7");
        }
    }
}
