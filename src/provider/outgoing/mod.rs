//! Calls to providers: bounded in time and size, over TLS, never redirected.
//!
//! One [`Outgoing`] a provider, with a small connection pool of its own. It sends the access token, the client secret
//! and the code, so it is strict about where: `https` only, except to loopback or where the operator took the risk
//! (`dangerous_allow_http`); a redirect is an answer like any other and is never followed (threats 7.8, 7.10). With
//! `block_private_networks` the *resolved* address is checked, at connect time, so that no name can point inwards
//! (threats 7.9).

mod address;

use std::{
    fmt,
    net::IpAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::Instant;
use tower_service::Service as _;
use url::{Host, Url};

use self::address::{Resolver, is_private};
use super::{OpenError, ProviderError};
use crate::config;

/// The longest answer read, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("brama/", env!("CARGO_PKG_VERSION"));

tokio::task_local! {
    /// When the work this call belongs to must be done.
    static DEADLINE: Instant;
}

/// Runs `work`, whose calls may take `limit` all together; each fails when it would end later. Not a plain timeout:
/// work that holds new tokens can still return them when a later call is cut off.
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> T {
    DEADLINE.scope(Instant::now() + limit, work).await
}

/// What came back, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer. Texts name the place without its query, which may hold tokens.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{place} does not answer: {why}")]
    Unreachable { place: String, why: String },
    #[error("{place} took longer than {limit:?}")]
    Slow { place: String, limit: Duration },
    #[error("{place} answers with more than {MAX_BODY} bytes")]
    TooLarge { place: String },
    #[error("{place} is not https; use https, or set dangerous_allow_http = true if you accept forged answers")]
    Plaintext { place: String },
    #[error("{place} is a private address, which block_private_networks forbids")]
    Private { place: String },
    #[error("the request for {place} cannot be built")]
    Unbuildable { place: String },
}

impl From<CallError> for ProviderError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Plaintext { .. } | CallError::Private { .. } | CallError::Unbuildable { .. } => {
                Self::Misconfigured(error.to_string())
            }
            CallError::Unreachable { .. } | CallError::Slow { .. } => Self::Unavailable(error.to_string()),
            CallError::TooLarge { .. } => Self::Untrusted(error.to_string()),
        }
    }
}

type Connector = HttpsConnector<HttpConnector<Resolver>>;

/// The way out to one provider.
#[derive(Clone)]
pub(super) struct Outgoing {
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    timeout: Duration,
    allow_http: bool,
    block_private: bool,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({:?})", self.timeout)
    }
}

impl Outgoing {
    pub(super) fn open(config: &config::provider::Provider) -> Result<Self, OpenError> {
        let resolver = Resolver { block_private: config.block_private_networks };
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(config.timeout));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(config.ca_file.as_deref())?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(4)
            .build(https.clone());
        Ok(Self {
            client,
            connector: https,
            timeout: config.timeout,
            allow_http: config.dangerous_allow_http,
            block_private: config.block_private_networks,
        })
    }

    /// True when this address may be called (or sent a browser to): https, or http where that is accepted.
    pub(super) fn accepts(&self, url: &Url) -> bool {
        accepts(url, self.allow_http)
    }

    pub(super) async fn get(&self, url: &Url, bearer: Option<&str>, accept: &str) -> Result<Answer, CallError> {
        let mut request = Request::get(url.as_str()).header(header::ACCEPT, accept);
        if let Some(token) = bearer {
            request = request.header(header::AUTHORIZATION, sensitive(&format!("Bearer {token}"), url)?);
        }
        let request = request.body(Vec::new()).map_err(|_| CallError::Unbuildable { place: place(url) })?;
        self.send(url, request).await
    }

    /// Posts a form; `authorization` is the value of that header.
    pub(super) async fn post_form(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        authorization: Option<HeaderValue>,
    ) -> Result<Answer, CallError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::post(url.as_str())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(body.into_bytes()).map_err(|_| CallError::Unbuildable { place: place(url) })?;
        self.send(url, request).await
    }

    /// Sends a request built for `url` and reads the whole answer within the provider's timeout.
    pub(super) async fn send(&self, url: &Url, mut request: Request<Vec<u8>>) -> Result<Answer, CallError> {
        self.permit(url)?;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let call = async {
            let unreachable = |why: String| CallError::Unreachable { place: place(url), why };
            let answer =
                self.client.request(request.map(Full::from)).await.map_err(|error| unreachable(chain(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
                if error.is::<LengthLimitError>() {
                    CallError::TooLarge { place: place(url) }
                } else {
                    unreachable(error.to_string())
                }
            })?;
            Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
        };
        self.in_time(url, call).await
    }

    /// Connects, over TLS where that is spoken, and asks nothing.
    pub(super) async fn reach(&self, url: &Url) -> Result<(), CallError> {
        self.permit(url)?;
        let uri = url.as_str().parse().map_err(|_| CallError::Unbuildable { place: place(url) })?;
        let mut connector = self.connector.clone();
        let dialling = async {
            std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
            connector.call(uri).await
        };
        let reached = async {
            let unreachable = |why: String| CallError::Unreachable { place: place(url), why };
            dialling.await.map(drop).map_err(|error| unreachable(chain(&*error)))
        };
        self.in_time(url, reached).await
    }

    /// Refuses addresses that may not be called.
    fn permit(&self, url: &Url) -> Result<(), CallError> {
        if !self.accepts(url) {
            return Err(CallError::Plaintext { place: place(url) });
        }
        // A literal address never reaches the resolver, so it is checked here.
        if self.block_private && literal_address(url).is_some_and(is_private) {
            return Err(CallError::Private { place: place(url) });
        }
        Ok(())
    }

    async fn in_time<T>(&self, url: &Url, call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
        let left = DEADLINE.try_with(|deadline| deadline.saturating_duration_since(Instant::now()));
        let limit = left.unwrap_or(self.timeout).min(self.timeout);
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Slow { place: place(url), limit: self.timeout }),
        }
    }
}

/// A header value that never shows in debug output.
pub(super) fn sensitive(text: &str, url: &Url) -> Result<HeaderValue, CallError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| CallError::Unbuildable { place: place(url) })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where a URL points, without query, fragment and user: fit for logs.
pub(super) fn place(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// A stranger's text made fit for logs: escaped, at most 200 characters.
pub(super) fn escaped(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// True when `url` is https, or http to loopback, or http and `allow_http`.
pub(super) fn accepts(url: &Url, allow_http: bool) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => allow_http || is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn literal_address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(ip.into()),
        Host::Domain(_) => None,
    }
}

/// TLS with the system's roots and those of `ca_file`.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, OpenError> {
    let mut roots = system_roots().clone();
    if let Some(path) = ca_file {
        let bad = |why: String| OpenError::BadCaFile { path: path.to_owned(), why };
        let mut added = 0;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            added += 1;
        }
        if added == 0 {
            return Err(bad("it holds no certificate".into()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| OpenError::Tls(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// The system's roots, read once for all providers.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a system certificate authority cannot be read");
        }
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!("the system has no certificate authorities: calls to providers need a ca_file");
        }
        roots
    })
}

/// An error with its causes, innermost last: hyper's own text alone says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::provider::Kind,
        provider::tests::{Server, config},
    };

    #[test]
    fn plain_http_is_for_loopback_only() {
        for (url, accepted) in [
            ("https://op.test", true),
            ("http://op.test", false),
            ("http://127.0.0.1:80", true),
            ("http://[::1]", true),
            ("http://localhost", true),
            ("http://a.localhost", true),
            ("http://localhost.evil.test", false),
            ("http://127.0.0.1.evil.test", false),
            ("ftp://127.0.0.1", false),
        ] {
            assert_eq!(accepts(&Url::parse(url).unwrap(), false), accepted, "{url}");
        }
        assert!(accepts(&Url::parse("http://op.test").unwrap(), true));
    }

    async fn call(change: impl FnOnce(&mut config::provider::Provider), url: &str) -> Result<Answer, CallError> {
        let mut config = config(Kind::Oidc, "https://op.test");
        change(&mut config);
        Outgoing::open(&config).unwrap().get(&Url::parse(url).unwrap(), None, "*/*").await
    }

    #[tokio::test]
    async fn private_networks_are_blocked_by_resolved_address_and_by_literal() {
        let server = Server::start(|_, _| (200, vec![], "here".into())).await;
        let by_name = server.url.replace("127.0.0.1", "localhost");
        assert!(call(|_| (), &by_name).await.is_ok());
        let refused = call(|config| config.block_private_networks = true, &by_name).await;
        assert!(
            matches!(&refused, Err(CallError::Unreachable { why, .. }) if why.contains("no address")),
            "{refused:?}"
        );
        let literal = call(|config| config.block_private_networks = true, &server.url).await;
        assert!(matches!(literal, Err(CallError::Private { .. })));
        assert_eq!(server.seen("GET /").len(), 1);
    }

    #[tokio::test]
    async fn calls_are_bounded_in_time_and_size() {
        let huge = Server::start(|_, _| (200, vec![], "x".repeat(MAX_BODY + 1))).await;
        assert!(matches!(call(|_| (), &huge.url).await, Err(CallError::TooLarge { .. })));
        // A listener that accepts and says nothing.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/path?secret=1", silent.local_addr().unwrap());
        let slow = call(|config| config.timeout = Duration::from_millis(50), &url).await.unwrap_err();
        assert!(matches!(slow, CallError::Slow { .. }));
        assert!(!slow.to_string().contains("secret"), "{slow}");
    }

    #[tokio::test]
    async fn calls_of_one_piece_of_work_share_its_time() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let begun = Instant::now();
        let both = within(Duration::from_millis(50), async {
            (call(|_| (), &url).await.is_err(), call(|_| (), &url).await.is_err())
        });
        assert_eq!(both.await, (true, true));
        assert!(begun.elapsed() < Duration::from_secs(5), "each alone may take ten seconds");
    }

    /// An HTTPS server with a certificate of an authority of its own, whose PEM comes along.
    async fn https() -> (String, String) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let service = hyper::service::service_fn(|_| async {
                    Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from_static(b"over TLS"))))
                });
                let io = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
            }
        });
        (url, cert.pem())
    }

    #[tokio::test]
    async fn a_certificate_counts_only_under_a_known_authority() {
        let (url, authority) = https().await;
        let refused = call(|_| (), &url).await;
        assert!(
            matches!(&refused, Err(CallError::Unreachable { why, .. }) if why.contains("certificate")),
            "{refused:?}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, authority).unwrap();
        let answer = call(|config| config.ca_file = Some(path), &url).await.unwrap();
        assert_eq!(answer.body.as_ref(), b"over TLS");
    }
}
