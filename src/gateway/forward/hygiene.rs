//! Fields that are meant for one connection only and never travel further (RFC 9110, 7.6.1).
//!
//! The order matters (threats 1.3): the gateway strips first, on the fields as they came in, and adds its own only
//! afterwards. So nothing a client names in `Connection` can take a field of ours away. [`Hop`] is the proof that it was
//! done: only stripping makes one, and nothing is forwarded without it.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, TE, UPGRADE},
};

use crate::gateway::presence::{Field, Presence};

/// What the hop-by-hop fields of a request asked for, kept after they are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    wants_websocket: bool,
    takes_trailers: bool,
    came_with: Presence,
}

impl Hop {
    /// True when the client asks to switch to a WebSocket. Every other upgrade is ignored, as RFC 9110, 7.8 allows.
    pub fn wants_websocket(self) -> bool {
        self.wants_websocket
    }

    /// True when the request came with this field.
    pub(in crate::gateway) fn had(self, field: Field) -> bool {
        self.came_with.has(field)
    }

    /// True when the client takes trailers (`TE: trailers`).
    pub fn takes_trailers(self) -> bool {
        self.takes_trailers
    }
}

/// Takes every hop-by-hop field out of a request's inbound fields, first those `Connection` names.
///
/// `Expect` goes too: the gateway answers 100-continue by itself as soon as it starts to read the body, which is when the
/// app takes it, so the app has nothing left to answer.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) -> Hop {
    strip_of(headers, Presence::of(headers))
}

/// The same, where it was seen which fields there are.
pub(in crate::gateway) fn strip_of(headers: &mut HeaderMap, came_with: Presence) -> Hop {
    let hop = Hop {
        wants_websocket: came_with.has(Field::Upgrade)
            && has_token(headers, &CONNECTION, "upgrade")
            && is_only(headers, &UPGRADE, "websocket"),
        takes_trailers: came_with.has(Field::Te) && has_token(headers, &TE, "trailers"),
        came_with,
    };
    strip(headers, came_with);
    hop
}

/// Takes every hop-by-hop field out of a response.
pub fn clean_response(headers: &mut HeaderMap) {
    strip(headers, Presence::of(headers));
}

fn strip(headers: &mut HeaderMap, present: Presence) {
    if !present.has_hop_by_hop() {
        return;
    }
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    for name in present.hop_by_hop() {
        headers.remove(name);
    }
}

/// The fields that `Connection` names and may name. Mostly none: no allocation then.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter(|value| !matches!(value.as_bytes(), b"keep-alive" | b"close" | b"Keep-Alive" | b"Upgrade" | b"upgrade"))
        .flat_map(tokens)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_end_to_end(name.as_str()))
        .collect()
}

/// Fields that are meant for the recipient or say who is calling. `Connection` must not name them (RFC 9110, 7.6.1), and
/// a client that does gets nothing by it.
fn is_end_to_end(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "host",
        "cookie",
        "set-cookie",
        "authorization",
        "www-authenticate",
        "origin",
        "location",
        "forwarded",
        "via",
        "cache-control",
        "date",
        "expect",
    ];
    const FAMILIES: [&str; 6] = ["content-", "x-forwarded-", "x-real-", "x-original-", "sec-", "access-control-"];
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

/// True when the list field `name` has `token` among its elements.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().flat_map(tokens).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// True when the field `name` stands once and is exactly `text`, upper or lower case.
pub(super) fn is_only(headers: &HeaderMap, name: &HeaderName, text: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.as_bytes().trim_ascii().eq_ignore_ascii_case(text.as_bytes()),
        _ => false,
    }
}

fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn left(fields: &[(&str, &str)]) -> Vec<String> {
        let mut headers = headers(fields);
        strip_hop_by_hop(&mut headers);
        let mut names: Vec<String> = headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn what_connection_names_and_the_fixed_set_go() {
        for (fields, expected) in [
            (vec![("connection", "keep-alive"), ("keep-alive", "5"), ("a", "1")], vec!["a"]),
            (
                vec![
                    ("connection", "x-one, X-Two ,,"),
                    ("connection", "x-three"),
                    ("x-one", "1"),
                    ("x-two", "2"),
                    ("x-three", "3"),
                    ("a", "1"),
                ],
                vec!["a"],
            ),
            (
                vec![
                    ("te", "trailers"),
                    ("trailer", "x"),
                    ("transfer-encoding", "chunked"),
                    ("upgrade", "h2c"),
                    ("http2-settings", "x"),
                    ("proxy-connection", "close"),
                    ("proxy-authorization", "x"),
                    ("proxy-authenticate", "x"),
                    ("expect", "100-continue"),
                ],
                vec![],
            ),
            (vec![("connection", "not a token"), ("a", "1")], vec!["a"]),
        ] {
            assert_eq!(left(&fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn connection_cannot_name_away_what_says_who_is_calling() {
        let fields = [
            (
                "connection",
                "host, cookie, authorization, x-forwarded-for, X-Forwarded-User, x-real-ip, forwarded, content-length, content-type, sec-fetch-mode",
            ),
            ("host", "h"),
            ("cookie", "c"),
            ("authorization", "a"),
            ("x-forwarded-for", "1"),
            ("x-forwarded-user", "u"),
            ("x-real-ip", "1"),
            ("forwarded", "f"),
            ("content-length", "1"),
            ("content-type", "t"),
            ("sec-fetch-mode", "m"),
        ];
        assert_eq!(left(&fields).len(), fields.len() - 1);
    }

    #[test]
    fn only_a_websocket_is_an_upgrade() {
        for (fields, wanted) in [
            (vec![("connection", "Upgrade"), ("upgrade", "websocket")], true),
            (vec![("connection", "keep-alive, upgrade"), ("upgrade", "WebSocket")], true),
            (vec![("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "x")], false),
            (vec![("connection", "Upgrade"), ("upgrade", "websocket, h2c")], false),
            (vec![("connection", "Upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")], false),
            (vec![("upgrade", "websocket")], false),
            (vec![("connection", "Upgrade")], false),
        ] {
            let mut headers = headers(&fields);
            assert_eq!(strip_hop_by_hop(&mut headers).wants_websocket(), wanted, "{fields:?}");
            assert!(headers.is_empty(), "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_hop_by_hop_survives_and_doing_it_twice_changes_nothing(
            connection in "[a-zA-Z, \\-]{0,40}", name in "[a-z\\-]{1,20}"
        ) {
            let mut headers = headers(&[("connection", &connection), (&name, "1"), ("te", "trailers")]);
            strip_hop_by_hop(&mut headers);
            prop_assert!(crate::gateway::presence::hop_by_hop_names().all(|name| !headers.contains_key(name)));
            let once = headers.clone();
            strip_hop_by_hop(&mut headers);
            prop_assert_eq!(once, headers);
        }
    }
}
