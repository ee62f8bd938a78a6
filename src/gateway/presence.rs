//! Which fields a request has, of those that a gateway asks about.
//!
//! A dozen steps ask a request about some twenty fields, and of these it has a few. To look for one that is not there
//! costs as much as to find it; so the names are gone through once, and nobody looks for what is not there.

use http::{HeaderMap, HeaderName, header};

/// A field that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    Connection,
    KeepAlive,
    ProxyConnection,
    ProxyAuthenticate,
    ProxyAuthorization,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Http2Settings,
    Expect,
    Accept,
    AcceptLanguage,
    ContentLength,
    ContentType,
    Cookie,
    SecFetchDest,
    SecFetchMode,
    SecWebsocketKey,
    XRequestedWith,
}

use Field::*;

/// All of them, by their place in [`Presence`].
static FIELDS: [(Field, HeaderName); 20] = [
    (Connection, header::CONNECTION),
    (KeepAlive, HeaderName::from_static("keep-alive")),
    (ProxyConnection, HeaderName::from_static("proxy-connection")),
    (ProxyAuthenticate, header::PROXY_AUTHENTICATE),
    (ProxyAuthorization, header::PROXY_AUTHORIZATION),
    (Te, header::TE),
    (Trailer, header::TRAILER),
    (TransferEncoding, header::TRANSFER_ENCODING),
    (Upgrade, header::UPGRADE),
    (Http2Settings, HeaderName::from_static("http2-settings")),
    (Expect, header::EXPECT),
    (Accept, header::ACCEPT),
    (AcceptLanguage, header::ACCEPT_LANGUAGE),
    (ContentLength, header::CONTENT_LENGTH),
    (ContentType, header::CONTENT_TYPE),
    (Cookie, header::COOKIE),
    (SecFetchDest, HeaderName::from_static("sec-fetch-dest")),
    (SecFetchMode, HeaderName::from_static("sec-fetch-mode")),
    (SecWebsocketKey, header::SEC_WEBSOCKET_KEY),
    (XRequestedWith, HeaderName::from_static("x-requested-with")),
];

impl Field {
    /// Told by its length first, which settles nearly all.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "connection" => Connection,
            "keep-alive" => KeepAlive,
            "proxy-connection" => ProxyConnection,
            "proxy-authenticate" => ProxyAuthenticate,
            "proxy-authorization" => ProxyAuthorization,
            "te" => Te,
            "trailer" => Trailer,
            "transfer-encoding" => TransferEncoding,
            "upgrade" => Upgrade,
            "http2-settings" => Http2Settings,
            "expect" => Expect,
            "accept" => Accept,
            "accept-language" => AcceptLanguage,
            "content-length" => ContentLength,
            "content-type" => ContentType,
            "cookie" => Cookie,
            "sec-fetch-dest" => SecFetchDest,
            "sec-fetch-mode" => SecFetchMode,
            "sec-websocket-key" => SecWebsocketKey,
            "x-requested-with" => XRequestedWith,
            _ => return None,
        })
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// The fields that are meant for one connection only: the fixed set (RFC 9110, 7.6.1), `Connection` itself included, and
/// `Expect`. `HTTP2-Settings` is one so that an h2c upgrade cannot be smuggled on.
const HOP_BY_HOP: u32 = Expect.bit() * 2 - 1;

/// Which of these fields there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Presence(u32);

impl Presence {
    /// Goes through the names once.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().filter_map(|name| Field::named(name.as_str())).fold(0, |bits, field| bits | field.bit()))
    }

    /// True when the field was there.
    pub(super) fn has(self, field: Field) -> bool {
        self.0 & field.bit() != 0
    }

    /// True when a field was there that belongs to the connection.
    pub(super) fn has_hop_by_hop(self) -> bool {
        self.0 & HOP_BY_HOP != 0
    }

    /// The fields that belong to the connection.
    pub(super) fn hop_by_hop(self) -> impl Iterator<Item = &'static HeaderName> {
        FIELDS.iter().filter(move |(field, _)| self.0 & HOP_BY_HOP & field.bit() != 0).map(|(_, name)| name)
    }
}

#[cfg(test)]
pub(super) fn hop_by_hop_names() -> impl Iterator<Item = &'static HeaderName> {
    Presence(u32::MAX).hop_by_hop()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn every_field_is_known_by_its_name_and_has_a_place_of_its_own() {
        let mut seen = 0;
        for (index, (field, name)) in FIELDS.iter().enumerate() {
            assert_eq!(Field::named(name.as_str()), Some(*field), "{name}");
            assert_eq!(*field as usize, index, "{name}");
            seen |= field.bit();
        }
        assert_eq!(seen.count_ones() as usize, FIELDS.len());
    }

    #[test]
    fn what_is_there_is_found() {
        for (field, name) in &FIELDS {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
            let present = Presence::of(&headers);
            assert!(present.has(*field), "{name}");
            assert_eq!(FIELDS.iter().filter(|(field, _)| present.has(*field)).count(), 1, "{name}");
        }
        assert_eq!(Presence::of(&HeaderMap::new()), Presence::default());
    }

    #[test]
    fn what_belongs_to_the_connection_is_that_and_nothing_else() {
        assert_eq!(
            hop_by_hop_names().map(HeaderName::as_str).collect::<Vec<_>>(),
            [
                "connection",
                "keep-alive",
                "proxy-connection",
                "proxy-authenticate",
                "proxy-authorization",
                "te",
                "trailer",
                "transfer-encoding",
                "upgrade",
                "http2-settings",
                "expect"
            ]
        );
    }
}
