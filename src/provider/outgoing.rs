//! Calls to providers: bounded in time and size, over TLS, never redirected.
//!
//! One [`Outgoing`] a provider, with a small connection pool of its own. It sends the access token, the client secret
//! and the code, so it is strict about where: `https` only, except to loopback or where the operator took the risk
//! (`dangerous_allow_http`); a redirect is an answer like any other and is never followed (threats 7.8, 7.10). With
//! `block_private_networks` the *resolved* address is checked, at connect time, so that no name can point inwards
//! (threats 7.9).

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use url::{Host, Url};

use super::{OpenError, ProviderError};
use crate::config;

/// The longest answer read, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("brama/", env!("CARGO_PKG_VERSION"));

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
    #[error("{place} is not https: use https, or set dangerous_allow_http = true if you accept forged answers")]
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

/// The way out to one provider.
#[derive(Clone)]
pub(super) struct Outgoing {
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
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
            .build(https);
        Ok(Self {
            client,
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
        if !self.accepts(url) {
            return Err(CallError::Plaintext { place: place(url) });
        }
        // A literal address never reaches the resolver, so it is checked here.
        if self.block_private && literal_address(url).is_some_and(is_private) {
            return Err(CallError::Private { place: place(url) });
        }
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
        match tokio::time::timeout(self.timeout, call).await {
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

/// True for every address that is not of the public internet.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224 // multicast, reserved, broadcast
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT, RFC 6598
        || (a == 192 && b == 0 && c == 0) // RFC 6890
        || (a == 198 && (b == 18 || b == 19)) // benchmarks, RFC 2544
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| is_private_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff | 0) => ip.is_loopback() || ip.is_unspecified() || v4(g, h), // mapped, compatible
        (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),                                             // NAT64, RFC 6052
        (0x2002, ..) => v4(b, c),                                                           // 6to4
        _ => a & 0xfe00 == 0xfc00 || a & 0xffc0 == 0xfe80 || a & 0xff00 == 0xff00 || a == 0x2001 && b == 0xdb8,
    }
}

/// Resolves a name, leaving out private addresses when told to.
#[derive(Debug, Clone, Copy)]
struct Resolver {
    block_private: bool,
}

impl tower_service::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let block = self.block_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let kept: Vec<SocketAddr> = found.into_iter().filter(|at| !(block && is_private(at.ip()))).collect();
            if kept.is_empty() {
                return Err(io::Error::other("it has no address that may be called"));
            }
            Ok(kept.into_iter())
        })
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
