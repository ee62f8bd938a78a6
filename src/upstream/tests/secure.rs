//! TLS, Unix sockets and HTTP/2.

use std::{cell::Cell, path::PathBuf};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};
use tokio_rustls::TlsAcceptor;

use super::{raw::*, *};

type Frames = Vec<Result<Frame<Bytes>, std::convert::Infallible>>;

/// Tells the version, authority and path it saw, with trailers as gRPC has them.
async fn echo(
    request: Request<Incoming>,
) -> Result<
    Response<
        StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::convert::Infallible>>>>,
    >,
    hyper::Error,
> {
    let (parts, body) = request.into_parts();
    let host = parts.uri.authority().map(ToString::to_string);
    let host = host.or_else(|| parts.headers.get("host").map(|host| host.to_str().unwrap().to_owned()));
    let body = body.collect().await?.to_bytes();
    let told = format!("{:?} {} {} {}", parts.version, host.unwrap_or_default(), parts.uri.path(), body.len());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames: Frames = vec![Ok(Frame::data(told.into())), Ok(Frame::trailers(trailers))];
    Ok(Response::new(StreamBody::new(futures_util::stream::iter(frames))))
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, h2: bool) {
    let io = TokioIo::new(stream);
    let _ = match h2 {
        true => {
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service_fn(echo)).await
        }
        false => hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(echo)).await,
    };
}

/// An h2c app; the second value counts its connections.
pub(crate) async fn h2c_app() -> (SocketAddr, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Rc::new(Cell::new(0));
    let count = Rc::clone(&connections);
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.set(count.get() + 1);
            tokio::task::spawn_local(serve(stream, true));
        }
    });
    (address, connections)
}

struct Authority {
    folder: tempfile::TempDir,
    ca_file: PathBuf,
    acceptor: TlsAcceptor,
}

/// A certificate authority of our own, and a server with a certificate for app.internal.
fn authority(alpn: &[&[u8]]) -> Authority {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["app.internal".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca.pem()).unwrap();
    Authority { folder, ca_file, acceptor: TlsAcceptor::from(Arc::new(config)) }
}

async fn https_app(authority: &Authority) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = authority.acceptor.clone();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::task::spawn_local(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    serve(stream, h2).await;
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn https_targets_are_checked_against_the_given_authority() {
    local(async {
        let ours = authority(&[b"http/1.1"]);
        let other = authority(&[]);
        let target = format!("https://{}", https_app(&ours).await);
        let with = |ca: &PathBuf, name: Option<&str>, skip: bool| {
            upstream(&[&target], |config| {
                config.ca_file = (!skip).then(|| ca.clone());
                config.server_name = name.map(Into::into);
                config.dangerous_skip_verify = skip;
            })
        };
        let name = Some("app.internal");
        let told = text(&Pool::new(), &with(&ours.ca_file, name, false), Method::GET).await.unwrap();
        assert_eq!(told, "HTTP/1.1 app.example /path 0");
        assert_eq!(reason(ask(&Pool::new(), &with(&other.ca_file, name, false), Method::GET).await), "tls");
        assert_eq!(reason(ask(&Pool::new(), &with(&ours.ca_file, None, false), Method::GET).await), "tls");
        assert_eq!(reason(ask(&Pool::new(), &with(&ours.ca_file, None, true), Method::GET).await), "ok");
        drop((ours.folder, other.folder));
    })
    .await;
}

#[tokio::test]
async fn alpn_decides_between_http_2_and_http_1() {
    local(async {
        for (alpn, http2, expected) in [
            (&[&b"h2"[..], b"http/1.1"][..], true, "HTTP/2.0"),
            (&[b"h2", b"http/1.1"], false, "HTTP/1.1"),
            (&[b"http/1.1"], true, "HTTP/1.1"),
            (&[], true, "HTTP/1.1"),
        ] {
            let ours = authority(alpn);
            let upstream = upstream(&[&format!("https://{}", https_app(&ours).await)], |config| {
                config.ca_file = Some(ours.ca_file.clone());
                config.server_name = Some("app.internal".into());
                config.http2 = http2;
            });
            let pool = Pool::new();
            for _ in 0..2 {
                let told = text(&pool, &upstream, Method::GET).await.unwrap();
                assert_eq!(told, format!("{expected} app.example /path 0"));
            }
            // What may become a WebSocket goes over HTTP/1.1 even where HTTP/2 is chosen for the rest.
            let options = SendOptions { upgrade: true, ..SendOptions::default() };
            let response = send(&pool, &upstream, request(Method::GET), &options).await.unwrap();
            assert_eq!(read(response.into_body()).await.unwrap(), "HTTP/1.1 app.example /path 0");
        }
    })
    .await;
}

#[tokio::test]
async fn many_requests_share_one_h2c_connection_and_trailers_pass_when_allowed() {
    local(async {
        let (address, connections) = h2c_app().await;
        let (pool, upstream) = (Pool::new(), upstream(&[&format!("h2c://{address}")], |_| {}));
        let asked = (0..20).map(|_| text(&pool, &upstream, Method::GET));
        for told in futures_util::future::join_all(asked).await {
            assert_eq!(told.unwrap(), "HTTP/2.0 app.example /path 0");
        }
        assert_eq!(connections.get(), 1);

        let without = ask(&pool, &upstream, Method::GET).await.unwrap().into_body().collect().await.unwrap();
        assert!(without.trailers().is_none());
        let mut response = ask(&pool, &upstream, Method::GET).await.unwrap();
        response.body_mut().pass_trailers();
        let with = response.into_body().collect().await.unwrap();
        assert_eq!(with.trailers().unwrap()["grpc-status"], "0");
    })
    .await;
}

#[tokio::test]
async fn a_shared_connection_that_goes_away_is_replaced() {
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(async move {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service_fn(echo)));
                    // Each connection says GOAWAY after a moment, as a server does that restarts.
                    let moment = Duration::from_millis(20);
                    if tokio::time::timeout(moment, serving.as_mut()).await.is_err() {
                        serving.as_mut().graceful_shutdown();
                        let _ = serving.await;
                    }
                });
            }
        });
        let (pool, upstream) = (Pool::new(), upstream(&[&format!("h2c://{address}")], |config| config.retries = 0));
        for _ in 0..60 {
            assert_eq!(text(&pool, &upstream, Method::POST).await.unwrap(), "HTTP/2.0 app.example /path 0");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_given_up_is_reset_on_a_shared_connection() {
    struct Gone(Rc<Cell<bool>>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    local(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gone = Rc::new(Cell::new(false));
        let noted = Rc::clone(&gone);
        tokio::task::spawn_local(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |_| {
                let gone = Gone(Rc::clone(&noted));
                async move {
                    std::future::pending::<()>().await;
                    drop(gone);
                    Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Empty::<Bytes>::new()))
                }
            });
            let _ =
                hyper::server::conn::http2::Builder::new(OnLocal).serve_connection(TokioIo::new(stream), service).await;
        });
        let (pool, upstream) = (Pool::new(), upstream(&[&format!("h2c://{address}")], |_| {}));
        let asked = tokio::time::timeout(Duration::from_millis(50), ask(&pool, &upstream, Method::GET)).await;
        assert!(asked.is_err() && !gone.get());
        while !gone.get() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[derive(Clone, Copy)]
struct OnLocal;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnLocal {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move { drop(future.await) });
    }
}

#[tokio::test]
async fn unix_sockets_are_reached() {
    local(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::task::spawn_local(serve(stream, false));
            }
        });
        let upstream = upstream(&[&format!("unix:{}", path.display())], |config| config.host = HostHeader::Target);
        assert_eq!(text(&Pool::new(), &upstream, Method::GET).await.unwrap(), "HTTP/1.1 localhost /path 0");
    })
    .await;
}

#[test]
fn files_of_no_use_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for path in [folder.path().join("missing.pem"), empty] {
        let mut config = config::Upstream::to(vec![config::Target::parse("https://app").unwrap()]);
        config.ca_file = Some(path.clone());
        let error = Upstream::build("app", config).unwrap_err().to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
    }
}
