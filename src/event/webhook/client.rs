//! The way out to one receiver: bounded in time and size, over TLS, never redirected.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use crate::config::event::webhook::Webhook as Config;

/// How much of an answer is read: nobody needs it, but a connection is used again only when it was read to the end.
const MAX_BODY: usize = 64 * 1024;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("brama/", env!("CARGO_PKG_VERSION"));

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

/// A client for one address.
pub(super) struct Client {
    client: HyperClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
    tls: Arc<ClientConfig>,
    url: Url,
    timeout: Duration,
}

impl Client {
    /// Reads the certificate authorities; the error says what to do.
    pub(super) fn open(config: &Config) -> Result<Self, String> {
        let tls = tls(config.ca_file.as_deref())?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(config.timeout));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(http);
        let client = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(https);
        Ok(Self { client, tls: Arc::new(tls), url: config.url.clone(), timeout: config.timeout })
    }

    /// Posts, and reads the answer to its end within the timeout. The error says what to do.
    pub(super) async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, String> {
        let mut request =
            Request::post(self.url.as_str()).body(Full::new(body)).map_err(|error| self.unreachable(&error))?;
        *request.headers_mut() = headers;
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let call = async {
            let answer = self.client.request(request).await.map_err(|error| self.unreachable(&error))?;
            let (head, body) = answer.into_parts();
            // The status has said it all: what is wrong with the body changes nothing.
            let _ = Limited::new(body, MAX_BODY).collect().await;
            Ok(Answer { status: head.status, headers: head.headers })
        };
        self.in_time(call).await
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<TcpStream, String> {
        let port = self.url.port_or_known_default().unwrap_or(443);
        let connecting =
            async { TcpStream::connect((self.host(), port)).await.map_err(|error| self.unreachable(&error)) };
        self.in_time(connecting).await
    }

    /// Connects and shakes hands where that is to be done, and asks nothing; gives what is spoken.
    pub(super) async fn greet(&self) -> Result<&'static str, String> {
        let stream = self.connect().await?;
        if self.url.scheme() != "https" {
            return Ok("without TLS");
        }
        let greeting = async {
            let name = ServerName::try_from(self.host().to_owned()).map_err(|error| self.unreachable(&error))?;
            let connector = TlsConnector::from(Arc::clone(&self.tls));
            connector.connect(name, stream).await.map_err(|error| self.unreachable(&error))
        };
        self.in_time(greeting).await.map(|_| "over TLS")
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    /// Where it leads, without query, fit for logs.
    pub(super) fn place(&self) -> String {
        format!("{}{}", self.url.origin().ascii_serialization(), self.url.path())
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        tokio::time::timeout(self.timeout, call).await.unwrap_or_else(|_| {
            Err(format!("{} did not answer within {} s; look at its load", self.place(), self.timeout.as_secs_f32()))
        })
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> String {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        format!("{} cannot be reached ({why}); is it up, and does ca_file know its certificate?", self.place())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.place())
    }
}

/// TLS with the system's roots and those of `ca_file`.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // One that cannot be read is missed only by a receiver who needs it, and told then.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let bad = |why: String| format!("{} holds no usable certificate ({why}): give PEM", path.display());
        let mut added = 0;
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))? {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            added += 1;
        }
        if added == 0 {
            return Err(bad("there is none in it".to_owned()));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
