//! Our cookies: finding them, keeping them from the apps, setting and clearing them. Pure.
//!
//! Three kinds, all named after `session.cookie_name`, here with the usual prefix:
//!
//! | name | holds |
//! |---|---|
//! | `__Host-brama` | the session id |
//! | `__Host-brama-login-ID` | one pending login, sealed; one cookie each so that tabs do not disturb each other |
//! | `__Host-brama-origin` | by which provider the person came last, sealed |
//!
//! The prefix is `__Host-` (the browser holds the cookie to this host, https and `Path=/`), `__Secure-` when a
//! `cookie_domain` shares it with subdomains, and none on plain http, which only a local trial uses
//! (RFC 6265bis, 4.1.3). The three names are reserved **under every prefix**: an id left over from before a change
//! of configuration must not reach an app either.
//!
//! Cookies are separated by `;` and nothing else (RFC 6265, 4.2.1 and 5.4); every other cookie passes byte for byte,
//! whatever it holds, and a lone field without one of ours is not touched at all.

#[cfg(test)]
mod tests;

use std::time::Duration;

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use memchr::memmem::Finder;
use url::Url;

use super::SessionId;
use crate::config::session::Session as Config;

/// Names and attributes of our cookies, made once from the configuration.
#[derive(Debug, Clone)]
pub struct Cookies {
    /// With its prefix: what we set and read.
    name: String,
    /// Without: what is reserved under every prefix.
    reserved: String,
    /// Tells most fields without a cookie of ours by one search.
    finder: Finder<'static>,
    /// `; Path=/; HttpOnly; …`, the same for every cookie we set or clear.
    attributes: String,
}

/// Why our cookies cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCookie {
    /// The name.
    #[error("session.cookie_name {0:?} is no cookie name: use letters, digits, - and _ only")]
    Name(String),
    /// The domain.
    #[error("session.cookie_domain {0:?} is no domain: write it like \"example.com\"")]
    Domain(String),
}

const PREFIXES: [&str; 3] = ["__Host-", "__Secure-", ""];
const LOGIN: &str = "-login-";
const ORIGIN: &str = "-origin";

impl Cookies {
    /// From `[session]` and the address people reach the gateway by.
    ///
    /// # Errors
    /// [`BadCookie`] when `cookie_name` or `cookie_domain` cannot stand in a cookie.
    pub fn new(config: &Config, public_url: &Url) -> Result<Self, BadCookie> {
        if config.cookie_name.is_empty() || !config.cookie_name.bytes().all(is_plain) {
            return Err(BadCookie::Name(config.cookie_name.clone()));
        }
        if let Some(domain) = config.cookie_domain.as_ref().filter(|domain| !domain.bytes().all(is_plain)) {
            return Err(BadCookie::Domain(domain.clone()));
        }
        let secure = public_url.scheme() == "https";
        let prefix = match (secure, &config.cookie_domain) {
            (true, None) => "__Host-",
            (true, Some(_)) => "__Secure-",
            (false, _) => "",
        };
        let mut attributes = String::from("; Path=/");
        if let Some(domain) = &config.cookie_domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        attributes.push_str(if secure { "; Secure; HttpOnly; SameSite=Lax" } else { "; HttpOnly; SameSite=Lax" });
        Ok(Self {
            name: format!("{prefix}{}", config.cookie_name),
            finder: Finder::new(&config.cookie_name).into_owned(),
            reserved: config.cookie_name.clone(),
            attributes,
        })
    }

    /// The name of the session cookie.
    pub fn session_name(&self) -> &str {
        &self.name
    }

    /// The session id the request shows: nothing when there is none, when it is not one, or when there are two (a
    /// sibling host may have tossed in the second, so neither is believed; threats 8.2).
    pub fn session_id(&self, headers: &HeaderMap) -> Option<SessionId> {
        SessionId::parse(self.value(headers, "")?)
    }

    /// Whether the request shows a session cookie at all, good or not: then an anonymous answer should clear it.
    pub fn has_session(&self, headers: &HeaderMap) -> bool {
        self.ours(headers).any(|(name, _)| name == self.name.as_bytes())
    }

    /// The sealed pending login with this id.
    pub fn login<'h>(&self, headers: &'h HeaderMap, id: &str) -> Option<&'h [u8]> {
        let mut suffix = String::with_capacity(LOGIN.len() + id.len());
        suffix.push_str(LOGIN);
        suffix.push_str(id);
        self.value(headers, &suffix)
    }

    /// The ids of all pending logins the browser holds, to drop the oldest when there are many.
    pub fn logins<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h str> {
        self.ours(headers)
            .filter_map(|(name, _)| name.strip_prefix(self.name.as_bytes())?.strip_prefix(LOGIN.as_bytes()))
            .filter_map(|id| std::str::from_utf8(id).ok())
    }

    /// The sealed memory of how the person came last.
    pub fn origin<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        self.value(headers, ORIGIN)
    }

    /// Tells our cookies from the app's, in one pass over a request's: the session id that it shows, as
    /// [`session_id`](Self::session_id) finds it, and what an app is to see.
    pub fn part(&self, headers: &HeaderMap) -> (Option<SessionId>, Theirs) {
        let mut session = Shown::Nothing;
        let mut fields = headers.get_all(COOKIE).iter();
        let theirs = match (fields.next(), fields.next()) {
            (None, _) => Theirs::AsItWas,
            (Some(only), None) if self.finder.find(only.as_bytes()).is_none() => Theirs::AsItWas,
            (Some(only), None) => self.without_ours(only, &mut session).map_or(Theirs::Nothing, Theirs::Field),
            (Some(_), Some(_)) => {
                self.joined_without_ours(headers, &mut session).map_or(Theirs::Nothing, Theirs::Field)
            }
        };
        (session.id(), theirs)
    }

    fn joined_without_ours<'h>(&self, headers: &'h HeaderMap, session: &mut Shown<'h>) -> Option<HeaderValue> {
        let mut kept = headers.get_all(COOKIE).iter().filter_map(|field| self.without_ours(field, session));
        let first = kept.next();
        let rest: Vec<HeaderValue> = kept.collect();
        first.and_then(|first| joined(first, &rest))
    }

    /// Takes out of an app's answer every `Set-Cookie` that names one of ours, so that no app can sign people in or
    /// out here (threats 1.6).
    pub fn guard(&self, headers: &mut HeaderMap) {
        let names_ours = |field: &HeaderValue| self.is_set_of_ours(field.as_bytes());
        if !headers.get_all(SET_COOKIE).iter().any(names_ours) {
            return;
        }
        let kept: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|field| !names_ours(field)).cloned().collect();
        headers.remove(SET_COOKIE);
        for field in kept {
            headers.append(SET_COOKIE, field);
        }
    }

    /// The `Set-Cookie` value that gives the browser a session; for `life`, or until it is closed.
    pub fn set_session(&self, id: &SessionId, life: Option<Duration>) -> HeaderValue {
        self.set("", &id.expose(), life)
    }

    /// The `Set-Cookie` value that takes the session from the browser.
    pub fn clear_session(&self) -> HeaderValue {
        self.clear("")
    }

    /// The `Set-Cookie` value that keeps a pending login. `id` and `sealed` are base64url text.
    pub fn set_login(&self, id: &str, sealed: &str, life: Duration) -> HeaderValue {
        self.set(&format!("{LOGIN}{id}"), sealed, Some(life))
    }

    /// The `Set-Cookie` value that drops a pending login.
    pub fn clear_login(&self, id: &str) -> HeaderValue {
        self.clear(&format!("{LOGIN}{id}"))
    }

    /// The `Set-Cookie` value that remembers how the person came. `sealed` is base64url text.
    pub fn set_origin(&self, sealed: &str, life: Duration) -> HeaderValue {
        self.set(ORIGIN, sealed, Some(life))
    }

    /// The `Set-Cookie` value that forgets how the person came.
    pub fn clear_origin(&self) -> HeaderValue {
        self.clear(ORIGIN)
    }

    fn set(&self, suffix: &str, value: &str, life: Option<Duration>) -> HeaderValue {
        let age = life.map(|life| format!("; Max-Age={}", life.as_secs())).unwrap_or_default();
        header_value(format!("{}{}={}{}{age}", self.name, plain(suffix), plain(value), self.attributes))
    }

    /// Clears with the very attributes it was set with: a browser takes another domain or path for another cookie
    /// (CVE-2025-55162). `Expires` is for browsers that do not know `Max-Age`.
    fn clear(&self, suffix: &str) -> HeaderValue {
        header_value(format!(
            "{}{}={}; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            self.name,
            plain(suffix),
            self.attributes
        ))
    }

    /// The value of the one cookie named `self.name` + `suffix`; nothing when there are several.
    fn value<'h>(&self, headers: &'h HeaderMap, suffix: &str) -> Option<&'h [u8]> {
        let is_it = |name: &[u8]| name.strip_prefix(self.name.as_bytes()) == Some(suffix.as_bytes());
        let mut found = self.ours(headers).filter(|(name, _)| is_it(name)).map(|(_, value)| value);
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Name and value of all our cookies in the request, under any prefix.
    fn ours<'h>(&self, headers: &'h HeaderMap) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
        let fields = headers.get_all(COOKIE).iter();
        fields.flat_map(|field| pairs(field.as_bytes())).map(name_and_value).filter(|(name, _)| self.is_ours(name))
    }

    /// Whether a cookie of this name is one of our three kinds, under any prefix.
    fn is_ours(&self, name: &[u8]) -> bool {
        PREFIXES.iter().any(|prefix| {
            let rest =
                name.strip_prefix(prefix.as_bytes()).and_then(|name| name.strip_prefix(self.reserved.as_bytes()));
            rest.is_some_and(|rest| rest.is_empty() || rest == ORIGIN.as_bytes() || rest.starts_with(LOGIN.as_bytes()))
        })
    }

    /// The field without our cookies; nothing when no other is left. A field without ours comes back as it is.
    /// `session` is told of each session cookie.
    fn without_ours<'h>(&self, field: &'h HeaderValue, session: &mut Shown<'h>) -> Option<HeaderValue> {
        let (mut kept, mut has_ours) = (Vec::new(), false);
        for pair in pairs(field.as_bytes()) {
            let (name, value) = name_and_value(pair);
            if self.is_ours(name) {
                has_ours = true;
                if name == self.name.as_bytes() {
                    session.is_shown(value);
                }
            } else if kept.is_empty() {
                // What now comes first needs no space after a `;` that is gone.
                kept.extend_from_slice(pair.trim_ascii_start());
            } else {
                kept.push(b';');
                kept.extend_from_slice(pair);
            }
        }
        if !has_ours {
            return Some(field.clone());
        }
        // Parts of a valid field joined by `;` are a valid field.
        let kept = HeaderValue::from_bytes(&kept).ok()?;
        (!kept.as_bytes().trim_ascii().is_empty()).then_some(kept)
    }

    /// Whether this `Set-Cookie` value, as any browser may read it, sets one of ours.
    fn is_set_of_ours(&self, field: &[u8]) -> bool {
        let pair = pairs(field).next().unwrap_or_default();
        let (name, value) = name_and_value(pair);
        // `=name=value` sets a cookie without a name, sent back as `name=value` (RFC 6265bis, 5.6); likewise without
        // any `=`, where all of it is the value.
        self.is_ours(name) || (name.is_empty() && self.is_ours(name_and_value(value).0))
    }
}

/// A request's cookies without ours.
#[derive(Debug)]
pub enum Theirs {
    /// What came: there is nothing of ours in it.
    AsItWas,
    /// None.
    Nothing,
    /// This one field.
    Field(HeaderValue),
}

impl Theirs {
    /// Leaves them alone in the request they were told apart in (threats 1.6). They stand in one field then: the crumbs of
    /// HTTP/2 must be joined before they leave it, and may be within it (RFC 9113, 8.2.3).
    pub fn leave(self, headers: &mut HeaderMap) {
        match self {
            Self::AsItWas => {}
            Self::Nothing => {
                headers.remove(COOKIE);
            }
            Self::Field(field) => {
                headers.insert(COOKIE, field);
            }
        }
    }
}

/// The session cookies that were seen.
enum Shown<'h> {
    Nothing,
    Once(&'h [u8]),
    /// A sibling host may have tossed in the second, so neither is believed (threats 8.2).
    Again,
}

impl<'h> Shown<'h> {
    fn is_shown(&mut self, value: &'h [u8]) {
        *self = if matches!(self, Self::Nothing) { Self::Once(value) } else { Self::Again };
    }

    fn id(&self) -> Option<SessionId> {
        match self {
            Self::Once(value) => SessionId::parse(value),
            Self::Nothing | Self::Again => None,
        }
    }
}

/// The cookies of a field, each as it stands between the `;`.
fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        let all = rest?;
        match memchr::memchr(b';', all).and_then(|at| all.split_at_checked(at)) {
            Some((pair, behind)) => {
                rest = behind.get(1..);
                Some(pair)
            }
            None => rest.take(),
        }
    })
}

/// Name and value of one cookie, without the spaces around them. Without `=` all of it is the name: a browser's
/// nameless cookie, which an app may read either way.
fn name_and_value(pair: &[u8]) -> (&[u8], &[u8]) {
    let (name, value) = match memchr::memchr(b'=', pair).and_then(|at| pair.split_at_checked(at)) {
        Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
        None => (pair, [].as_slice()),
    };
    (name.trim_ascii(), value.trim_ascii())
}

/// One field out of several.
fn joined(first: HeaderValue, rest: &[HeaderValue]) -> Option<HeaderValue> {
    if rest.is_empty() {
        return Some(first);
    }
    let mut whole = first.as_bytes().to_vec();
    for field in rest {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(field.as_bytes());
    }
    // Fields joined by `; ` are a field.
    let mut whole = HeaderValue::from_bytes(&whole).ok()?;
    whole.set_sensitive(true);
    Some(whole)
}

/// What our names and values are made of: base64url, and the dots of a domain.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The text without anything that could end a cookie or begin an attribute: the id of a pending login comes back
/// through the browser.
fn plain(text: &str) -> String {
    text.chars().filter(|char| u8::try_from(*char).is_ok_and(is_plain)).collect()
}

/// Marked sensitive, so that HTTP/2 keeps it out of its tables (RFC 7541, 7.1.3).
#[expect(clippy::expect_used, reason = "every part is plain or a constant")]
fn header_value(text: String) -> HeaderValue {
    let mut value = HeaderValue::try_from(text).expect("our cookies are visible ASCII");
    value.set_sensitive(true);
    value
}
