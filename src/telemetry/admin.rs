//! `/ping`, `/ready` and `/metrics`, on a listener of their own that no route reaches.
//!
//! * `/ping`: the process lives.
//! * `/ready`: it can serve; 503 when something it cannot do without is down. Which thing, is told to those who may ask.
//! * `/metrics`: OpenMetrics text.
//!
//! A page in an operator's browser must not read these by naming a host of its own that resolves to our address (DNS
//! rebinding): only `localhost`, addresses and configured names are answered, and no request with an `Origin` is.
//! Beyond loopback a bearer token is required, except for the bare answers probes need.

use std::{convert::Infallible, future::Future, io, net::IpAddr, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use super::metrics::Metrics;
use crate::{
    config::{admin::Admin, read_secret, secrets::SecretError},
    secret::{Secret, constant_time_eq, sha256},
};

/// How long the dependencies may take to answer before we call ourselves not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);
/// How many may ask at once.
const CONNECTIONS: usize = 64;

/// Something we need, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dependency {
    /// What it is, such as `session store`.
    pub name: String,
    /// True when we cannot serve without it.
    pub required: bool,
    /// What is wrong with it; nothing when it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Why the admin listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for health and metrics")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The token cannot be used.
    #[error("the token of the admin listener cannot be used")]
    Token(#[from] SecretError),
    /// Other hosts could ask without a token.
    #[error("{0} can be reached from other hosts, so admin.token_file is needed")]
    Exposed(SocketAddr),
}

/// The open admin listener.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    guard: Guard,
    metrics: Metrics,
}

impl AdminServer {
    /// Opens the listener; refuses one that others can reach without a token.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn bind(config: &Admin, metrics: Metrics) -> Result<Self, AdminError> {
        let token = read_secret(&config.token, &config.token_file, "admin.token")?;
        let address = config.address;
        if token.is_none() && !address.ip().is_loopback() {
            return Err(AdminError::Exposed(address));
        }
        let failed = |source| AdminError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let hosts = config.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        Ok(Self { listener, address, guard: Guard { hosts, token }, metrics })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is done; `ready` tells how the dependencies are.
    pub async fn run<R, F>(self, ready: R, stop: impl Future<Output = ()>)
    where
        R: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Vec<Dependency>> + Send + 'static,
    {
        let Self { listener, guard, metrics, .. } = self;
        let answers = Arc::new(Answers { guard, metrics, ready });
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        tokio::pin!(stop);
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                () = &mut stop => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept; trying again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let answers = Arc::clone(&answers);
                    async move { Ok::<_, Infallible>(answers.answer(&request).await) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .max_buf_size(16 * 1024)
                    .serve_connection(TokioIo::new(stream), service);
                // A peer that breaks off is its own affair.
                let _ = connection.await;
            });
        }
    }
}

struct Answers<R> {
    guard: Guard,
    metrics: Metrics,
    ready: R,
}

impl<R, F> Answers<R>
where
    R: Fn() -> F,
    F: Future<Output = Vec<Dependency>>,
{
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = match self.guard.check(request) {
            Err(status) => plain(status, status.canonical_reason().unwrap_or_default()),
            Ok(trust) => self.page(request.uri().path(), trust).await,
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    async fn page(&self, path: &str, trust: Trust) -> Response<Full<Bytes>> {
        match (path, trust) {
            ("/ping", _) => plain(StatusCode::OK, "pong\n"),
            ("/ready", trust) => self.readiness(trust).await,
            ("/metrics", Trust::Full) => {
                const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                respond(StatusCode::OK, OPENMETRICS, self.metrics.render())
            }
            ("/metrics", Trust::Bare) => plain(StatusCode::UNAUTHORIZED, "a bearer token is needed\n"),
            _ => plain(StatusCode::NOT_FOUND, "there are /ping, /ready and /metrics\n"),
        }
    }

    async fn readiness(&self, trust: Trust) -> Response<Full<Bytes>> {
        #[derive(Serialize)]
        struct Readiness {
            ready: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            dependencies: Option<Vec<Dependency>>,
        }
        let dependencies = timeout(READY_WITHIN, (self.ready)()).await.unwrap_or_else(|_| {
            vec![Dependency {
                name: "readiness".to_owned(),
                required: true,
                problem: Some(format!("a dependency did not answer within {READY_WITHIN:?}")),
            }]
        });
        let ready = dependencies.iter().all(|dependency| !dependency.required || dependency.problem.is_none());
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = Readiness { ready, dependencies: (trust == Trust::Full).then_some(dependencies) };
        respond(status, "application/json", serde_json::to_string(&body).unwrap_or_default())
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text)
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// How much one may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// That we live and whether we are ready.
    Bare,
    /// Everything.
    Full,
}

/// Decides who may ask.
#[derive(Debug)]
struct Guard {
    hosts: Vec<String>,
    token: Option<Secret>,
}

impl Guard {
    fn check<B>(&self, request: &Request<B>) -> Result<Trust, StatusCode> {
        let headers = request.headers();
        // HTTP/1.1 requires exactly one Host (RFC 9112, 3.2).
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().map_err(|_| StatusCode::BAD_REQUEST)?,
            _ => return Err(StatusCode::BAD_REQUEST),
        };
        if !self.is_our_name(host) {
            return Err(StatusCode::MISDIRECTED_REQUEST);
        }
        if headers.contains_key(header::ORIGIN) {
            return Err(StatusCode::FORBIDDEN);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        match (&self.token, bearer(headers)) {
            (None, _) => Ok(Trust::Full),
            (Some(_), None) => Ok(Trust::Bare),
            // Hashed first, so that not even the length can be timed.
            (Some(token), Some(given)) if same(token.expose(), given) => Ok(Trust::Full),
            (Some(_), Some(_)) => Err(StatusCode::UNAUTHORIZED),
        }
    }

    /// A rebinding page always comes by a name; addresses and our own names are safe.
    fn is_our_name(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || bare.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }
}

/// The token of `Authorization: Bearer` (RFC 6750, 2.1).
fn bearer(headers: &http::HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn same(a: &str, b: &str) -> bool {
    constant_time_eq(&sha256(a.as_bytes()), &sha256(b.as_bytes()))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::oneshot,
    };

    use super::*;
    use crate::config::value::all_defaults;

    fn config() -> Admin {
        Admin { address: SocketAddr::from(([127, 0, 0, 1], 0)), ..all_defaults().unwrap() }
    }

    async fn begin(config: Admin, dependencies: Vec<Dependency>) -> (SocketAddr, oneshot::Sender<()>) {
        let server = AdminServer::bind(&config, Metrics::new()).await.unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.run(move || std::future::ready(dependencies.clone()), async move {
            let _ = stopped.await;
        }));
        (address, stop)
    }

    async fn ask(address: SocketAddr, head: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }

    fn dependency(required: bool, problem: Option<&str>) -> Dependency {
        Dependency { name: "session store".to_owned(), required, problem: problem.map(str::to_owned) }
    }

    #[tokio::test]
    async fn only_our_names_without_an_origin_are_answered() {
        let mut config = config();
        config.allowed_hosts = vec!["brama.internal".to_owned()];
        let (address, _stop) = begin(config, vec![]).await;
        for (head, status) in [
            ("GET /ping HTTP/1.1\r\nHost: localhost:4179", 200),
            ("GET /ping HTTP/1.1\r\nHost: 10.0.0.7:4179", 200),
            ("GET /ping HTTP/1.1\r\nHost: [::1]:4179", 200),
            ("GET /ping HTTP/1.1\r\nHost: Brama.Internal", 200),
            ("GET /ping HTTP/1.1\r\nHost: evil.example", 421),
            ("GET /ping HTTP/1.1\r\nHost: localhost.evil.example", 421),
            ("GET /ping HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", 400),
            ("GET /ping HTTP/1.0", 400),
            ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost", 403),
            ("POST /ping HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0", 405),
            ("GET /else HTTP/1.1\r\nHost: localhost", 404),
        ] {
            assert_eq!(ask(address, head).await.0, status, "{head}");
        }
    }

    #[tokio::test]
    async fn ready_is_what_the_required_dependencies_are() {
        for (dependencies, status) in [
            (vec![], 200),
            (vec![dependency(true, None), dependency(false, Some("down"))], 200),
            (vec![dependency(true, Some("connection refused"))], 503),
        ] {
            let (address, _stop) = begin(config(), dependencies.clone()).await;
            let (got, answer) = ask(address, "GET /ready HTTP/1.1\r\nHost: localhost").await;
            assert_eq!(got, status, "{dependencies:?}");
            for problem in dependencies.iter().filter_map(|dependency| dependency.problem.as_deref()) {
                assert!(answer.contains(problem), "{answer}");
            }
        }
    }

    #[tokio::test]
    async fn with_a_token_only_bare_answers_are_free() {
        let mut config = config();
        config.token = Some(Secret::new("3f9c-token-of-the-test"));
        let (address, _stop) = begin(config, vec![dependency(true, Some("connection refused"))]).await;
        let right = "Authorization: Bearer 3f9c-token-of-the-test";
        for (path, credentials, status) in [
            ("/ping", "X: y", 200),
            ("/ready", "X: y", 503),
            ("/metrics", "X: y", 401),
            ("/metrics", "Authorization: Bearer wrong", 401),
            ("/ping", "Authorization: Bearer wrong", 401),
            ("/metrics", right, 200),
        ] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{credentials}");
            let (got, answer) = ask(address, &head).await;
            assert_eq!(got, status, "{head}");
            assert!(!answer.contains("connection refused"), "why is for those who may ask: {answer}");
        }
        let (_, answer) = ask(address, &format!("GET /ready HTTP/1.1\r\nHost: localhost\r\n{right}")).await;
        assert!(answer.contains("connection refused"));
    }

    #[tokio::test]
    async fn it_does_not_open_to_other_hosts_without_a_token() {
        let mut config = config();
        config.address = SocketAddr::from(([0, 0, 0, 0], 0));
        assert!(matches!(AdminServer::bind(&config, Metrics::new()).await, Err(AdminError::Exposed(_))));
    }
}
