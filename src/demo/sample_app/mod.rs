//! A legacy app that knows nothing of logins: it shows who the gateway says is there, and what else arrived.
//!
//! | Path | What it does |
//! |---|---|
//! | `/`, and any path not named here | a page with the identity and all headers |
//! | `/api/me` | the identity as JSON |
//! | `/api/echo` | method, target, headers in order, length and SHA-256 of the body, as JSON |
//! | `/events?ms=1000&count=` | server-sent events, one a second |
//! | `/ws` | WebSocket echo |
//! | `/slow?ms=` | answers after that long |
//! | `/big?bytes=` | streams that many bytes |
//! | `/trailers` | a chunked answer with trailers |
//! | `/status/503` | that status |
//! | `/set-cookie?name=` | sets a cookie of that name |
//!
//! It believes `X-Forwarded-User` and the like, as legacy apps do: only the gateway keeps forged ones away. Header values
//! beyond ASCII come percent-encoded as UTF-8; the page decodes them.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::listen;
use crate::body::Body;

mod page;
mod stream;
mod websocket;

/// The running app; it stops when dropped.
#[derive(Debug)]
pub struct SampleApp {
    address: SocketAddr,
    state: Arc<State>,
    _stop: DropGuard,
}

/// A request the app has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its target as it stood in the request line.
    pub target: String,
    /// Its headers, in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// How many bytes its body had.
    pub body_length: u64,
    /// SHA-256 of its body, in hexadecimal.
    pub body_sha256: String,
}

impl Seen {
    /// The first header of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
struct State {
    seen: Mutex<VecDeque<Seen>>,
    websockets: AtomicUsize,
}

const MOST_SEEN: usize = 1000;

impl SampleApp {
    /// Starts the app on the runtime this is called in. Port 0 takes any free port.
    ///
    /// # Errors
    /// When `listen` is not a loopback address or cannot be bound.
    pub async fn start(listen: SocketAddr) -> io::Result<Self> {
        let listener = listen::bind(listen).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let stop = CancellationToken::new();
        let shared = Arc::clone(&state);
        listen::serve(listener, stop.clone(), move |request| handle(Arc::clone(&shared), request));
        Ok(Self { address, state, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last thousand requests it has seen to their end, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Forgets the requests seen.
    pub fn forget_seen(&self) {
        self.state.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many WebSockets are open now.
    pub fn open_websockets(&self) -> usize {
        self.state.websockets.load(Ordering::SeqCst)
    }
}

impl State {
    fn remember(&self, seen: Seen) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_SEEN {
            all.pop_front();
        }
        all.push_back(seen);
    }
}

async fn handle(state: Arc<State>, mut request: Request<Incoming>) -> Response<Body> {
    if request.uri().path() == "/ws" {
        state.remember(seen_head(&request));
        return websocket::accept(&mut request, state);
    }
    match read(request).await {
        Some((seen, headers, uri)) => {
            state.remember(seen.clone());
            answer(&seen, &headers, &uri).await
        }
        None => plain(StatusCode::BAD_REQUEST, "the body was cut off"),
    }
}

fn seen_head<B>(request: &Request<B>) -> Seen {
    let header = |(name, value): (&http::HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Seen {
        method: request.method().to_string(),
        target: request.uri().to_string(),
        headers: request.headers().iter().map(header).collect(),
        body_length: 0,
        body_sha256: String::new(),
    }
}

/// Reads the body to its end without keeping it.
async fn read(request: Request<Incoming>) -> Option<(Seen, HeaderMap, http::Uri)> {
    let mut seen = seen_head(&request);
    let (parts, mut body) = request.into_parts();
    let mut hash = digest::Context::new(&digest::SHA256);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            seen.body_length += data.len() as u64;
            hash.update(&data);
        }
    }
    seen.body_sha256 = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Some((seen, parts.headers, parts.uri))
}

async fn answer(seen: &Seen, headers: &HeaderMap, uri: &http::Uri) -> Response<Body> {
    let query = |name: &str| {
        form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let number = |name: &str, default: u64| query(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    match uri.path() {
        "/api/echo" => json(&json!(seen)),
        "/api/me" => json(&identity(headers)),
        "/events" => stream::events(Duration::from_millis(number("ms", 1000)), number("count", u64::MAX)),
        "/big" => stream::big(number("bytes", 1 << 20)),
        "/trailers" => stream::trailers(),
        "/slow" => {
            let millis = number("ms", 1000);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            plain(StatusCode::OK, format!("after {millis} ms"))
        }
        "/set-cookie" => set_cookie(&query("name").unwrap_or_else(|| "app_cookie".into())),
        path => match path.strip_prefix("/status/").and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok()) {
            // Informational answers are no final answers.
            Some(code) if !code.is_informational() => plain(code, format!("{code}")),
            _ => page::render(seen, headers),
        },
    }
}

/// Who the gateway says is there.
fn identity(headers: &HeaderMap) -> Value {
    let value = |name: &str| headers.get(name).map(decoded);
    let groups = value("x-forwarded-groups");
    json!({
        "user": value("x-forwarded-user"),
        "email": value("x-forwarded-email"),
        "preferred_username": value("x-forwarded-preferred-username"),
        "groups": groups.map(|groups| groups.split(',').map(|group| group.trim().to_owned()).collect::<Vec<_>>()),
        "origin": value("x-auth-origin"),
    })
}

/// A header value with percent-encoded UTF-8 decoded.
fn decoded(value: &HeaderValue) -> String {
    percent_encoding::percent_decode(value.as_bytes()).decode_utf8_lossy().into_owned()
}

fn set_cookie(name: &str) -> Response<Body> {
    let mut response = plain(StatusCode::OK, format!("set {name}"));
    // Two of them, so that a gateway which folds them together is caught.
    for cookie in [format!("{name}=from-the-app; Path=/; HttpOnly"), "second=1; Path=/".to_owned()] {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
    response
}

fn json(value: &Value) -> Response<Body> {
    typed(StatusCode::OK, "application/json", value.to_string())
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", text.into())
}

fn typed(status: StatusCode, media_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
