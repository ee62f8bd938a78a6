//! Peer: who really is calling.
//!
//! The address, scheme and host of a request come from its connection, unless the connection comes from a configured
//! proxy: then from what this proxy wrote, walking its chain from the right as far as configured proxies go. One
//! family of fields is believed, chosen by the operator; all members of all families are removed in every case
//! (`enrich` does so, in its one pass over the fields) and ours written in their place (threat model, 1.4).
//!
//! What others may rely on: nothing a client writes changes a [`Peer`]; `X-Forwarded-For` at the upstream holds exactly
//! one address, so an app that takes its first, its last or its only element gets the same, verified one.

mod forwarded;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::target::{Host, Target};
use crate::config::forwarded::{Believe, Forwarded};
use crate::message::Lines;

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
        Believe::Forwarded => of_forwarded(headers, trusted),
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
fn of_forwarded(headers: &HeaderMap, trusted: &TrustedProxies) -> Told {
    let hops = forwarded::hops(headers);
    let (address, from_right) = walk(hops.iter().rev().map(|hop| hop.address), trusted);
    let hop = hops.iter().rev().nth(from_right);
    Told {
        address,
        scheme: hop.and_then(|hop| hop.scheme),
        host: hop.and_then(|hop| Host::parse(hop.host.as_deref()?).ok()),
    }
}
