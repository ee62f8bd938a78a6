//! Requests and replies as the simulators see them: small, whole, in memory.

use std::{io, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Limited, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;
use serde_json::Value;

use crate::body::{Body, BodyError};

/// Larger requests are refused; no protocol message comes near.
const LARGEST_REQUEST: usize = 256 * 1024;

/// Decoded parameters of a query or a form, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Params(pub(super) Vec<(String, String)>);

impl Params {
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first parameter of that name; an empty one counts as left out (RFC 6749, 3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// A name that is there more than once: forbidden in OAuth requests (RFC 6749, 3.1 and 3.2).
    pub(super) fn repeated(&self) -> Option<&str> {
        let mut seen = std::collections::HashSet::new();
        self.0.iter().map(|(key, _)| key.as_str()).find(|key| !seen.insert(*key))
    }
}

/// A request, read to its end.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Params,
    pub(super) form: Params,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Request {
    /// Reads the whole request; `None` when its body is cut off or too large.
    pub(super) async fn read(request: http::Request<Incoming>) -> Option<Self> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, LARGEST_REQUEST).collect().await.ok()?.to_bytes();
        let mut this = Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: Params::parse(parts.uri.query().unwrap_or_default().as_bytes()),
            form: Params::default(),
            headers: parts.headers,
            body,
        };
        if this.is("application/x-www-form-urlencoded") {
            this.form = Params::parse(&this.body);
        }
        Some(this)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the body is of this media type.
    pub(super) fn is(&self, media_type: &str) -> bool {
        let given = self.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        given.trim().eq_ignore_ascii_case(media_type)
    }

    pub(super) fn cookie(&self, name: &str) -> Option<&str> {
        self.headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The bearer token (RFC 6750, 2.1); the scheme is case-insensitive.
    pub(super) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    }

    /// Client id and secret of a Basic header, each form-urldecoded (RFC 6749, 2.3.1).
    pub(super) fn basic(&self) -> Option<(String, String)> {
        let (scheme, encoded) = self.header("authorization")?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (id, secret) = pair.split_once(':')?;
        Some((form_decoded(id), form_decoded(secret)))
    }
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// An answer, with what may go wrong on its way.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
    /// How long to wait before answering.
    pub(super) delay: Duration,
    /// Break the connection in the middle of the body.
    pub(super) cut: bool,
}

impl Reply {
    pub(super) fn new(status: StatusCode, media_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO, cut: false }
            .with(header::CONTENT_TYPE, media_type)
            // Whatever a provider says here holds codes, tokens or people (RFC 6749, 5.1).
            .with(header::CACHE_CONTROL, "no-store")
    }

    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    pub(super) fn ok(value: &Value) -> Self {
        Self::json(StatusCode::OK, value)
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: Duration::ZERO, cut: false }
    }

    /// 303, so that a form post is never repeated at the target (RFC 9700, 4.12).
    pub(super) fn see_other(target: &str) -> Self {
        Self::empty(StatusCode::SEE_OTHER)
            .with(header::LOCATION, target)
            .with(header::CACHE_CONTROL, "no-store")
            .with(header::REFERRER_POLICY, "no-referrer")
    }

    /// Sets a header, in place of an earlier one of that name (cookies add up).
    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if name != header::SET_COOKIE {
            self.headers.retain(|(known, _)| *known != name);
        }
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The body as JSON; `None` when it is something else.
    pub(super) fn value(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(super) async fn send(self) -> Response<Body> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let length = self.body.len();
        let body = if self.cut { cut_off(&self.body) } else { Body::full(self.body) };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(name, value);
            }
        }
        if self.cut {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        response
    }
}

/// The first half of `body`, then a broken connection.
fn cut_off(body: &Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let broken = io::Error::from(io::ErrorKind::BrokenPipe);
    let frames = stream::iter([Ok(Frame::data(half)), Err(BodyError::Other(Box::new(broken)))]);
    Body::Boxed(BoxBody::new(StreamBody::new(frames)))
}

/// Text made safe inside HTML elements and quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_repeats_are_noticed() {
        let params = Params::parse(b"scope=openid%20email&empty=&scope=x+y");
        assert_eq!(params.get("scope"), Some("openid email"));
        assert_eq!(params.get("empty"), None);
        assert_eq!(params.repeated(), Some("scope"));
        assert_eq!(Params::parse(b"a=1&b=1").repeated(), None);
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("<a href=\"'&\">"), "&lt;a href=&quot;&#39;&amp;&quot;&gt;");
    }
}
