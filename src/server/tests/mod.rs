//! The server over real sockets.

mod drain;
mod http1;
mod http2;
mod limits;
mod proxy;
mod smuggling;
mod tls;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

pub(crate) use super::worker::accept;
use super::{Connection, Handler, Server, Upgraded};
use crate::{
    body::Body,
    config::listen::{Address, Limits, Listen},
    message,
};

/// Answers by path; `/echo` with the body, `/who` with what is known of the connection.
struct TestHandler;

impl Handler for TestHandler {
    async fn call(self: Rc<Self>, request: message::Request, connection: Rc<Connection>) -> message::Response {
        answer(request.into_http(), connection).await.into()
    }
}

async fn answer(request: Request<Body>, connection: Rc<Connection>) -> Response<Body> {
    match request.uri().path() {
        "/panic" => panic!("as asked"),
        "/slow" => tokio::time::sleep(Duration::from_millis(400)).await,
        "/forever" => std::future::pending::<()>().await,
        "/who" => return Response::new(Body::full(format!("{connection:?}"))),
        "/ignore" => return Response::new(Body::full("ignored")),
        "/big" => return Response::new(big()),
        "/tunnel" => return tunnel(connection.upgraded().unwrap(), connection),
        "/lie" => return switching(),
        "/mirror" => return mirror(request.into_body()),
        "/trailers" => return Response::new(trailing(true)),
        "/broken" => return Response::new(trailing(false)),
        "/counted" => return counted().await,
        "/count" => return Response::new(Body::full(COUNTED.load(SeqCst).to_string())),
        _ => {}
    }
    let target = request.uri().to_string();
    match request.into_body().collect().await {
        Ok(body) => Response::new(Body::full([target.as_bytes(), b":", &body.to_bytes()].concat())),
        Err(_) => {
            let mut response = Response::new(Body::full("the upstream would be blamed"));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}

/// 64 MiB in pieces, as an upstream would send it.
fn big() -> Body {
    let piece = || Ok(http_body::Frame::data(bytes::Bytes::from_static(&[b'x'; 1 << 16])));
    let pieces = futures_util::stream::repeat_with(piece).take(1 << 10);
    Body::Boxed(http_body_util::combinators::BoxBody::new(http_body_util::StreamBody::new(pieces)))
}

/// Answers at once, and asks for the request's body only when the answer has begun.
fn mirror(body: Body) -> Response<Body> {
    let begun = futures_util::stream::once(async { Ok(http_body::Frame::data("begun".into())) });
    let frames = begun.chain(futures_util::stream::once(tokio::task::yield_now()).filter_map(|()| async { None }));
    let body = frames.chain(http_body_util::BodyStream::new(body));
    Response::new(Body::Boxed(http_body_util::combinators::BoxBody::new(http_body_util::StreamBody::new(body))))
}

/// Four bytes, then trailers or an error.
fn trailing(whole: bool) -> Body {
    let data = Ok(http_body::Frame::data("body".into()));
    let trailers =
        http::HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))]);
    let frames = match whole {
        true => vec![data, Ok(http_body::Frame::trailers(trailers))],
        false => vec![Ok(http_body::Frame::data("half".into())), Err(crate::body::BodyError::Other("as asked".into()))],
    };
    Body::Boxed(http_body_util::combinators::BoxBody::new(http_body_util::StreamBody::new(futures_util::stream::iter(
        frames,
    ))))
}

static COUNTED: AtomicUsize = AtomicUsize::new(0);

/// Never answers, and is counted while it is asked.
async fn counted() -> Response<Body> {
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            COUNTED.fetch_sub(1, SeqCst);
        }
    }
    COUNTED.fetch_add(1, SeqCst);
    let _counted = Counted;
    std::future::pending().await
}

fn switching() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("echo"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

/// Echoes until the server stops.
fn tunnel(upgrade: oneshot::Receiver<Upgraded>, connection: Rc<Connection>) -> Response<Body> {
    tokio::task::spawn_local(async move {
        let mut io = upgrade.await.unwrap();
        let mut stopping = std::pin::pin!(connection.shutdown());
        let mut buf = [0; 1024];
        loop {
            tokio::select! {
                read = io.read(&mut buf) => match read {
                    Ok(count) if count > 0 => io.write_all(&buf[..count]).await.unwrap(),
                    _ => break,
                },
                () = &mut stopping => {
                    io.write_all(b"bye").await.unwrap();
                    break;
                }
            }
        }
    });
    switching()
}

fn listen() -> Listen {
    Listen { address: Address::Tcp(([127, 0, 0, 1], 0).into()), ..Listen::default() }
}

fn limits() -> Limits {
    Limits { workers: Some(2), ..Limits::default() }
}

fn start(listen: Listen, limits: Limits) -> (Server, SocketAddr) {
    let server = Server::start(&[listen], &limits, |_| Rc::new(TestHandler)).unwrap();
    let Address::Tcp(address) = server.addresses()[0] else { panic!("not TCP") };
    (server, address)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A client that says exactly what it is told to.
struct Client(TcpStream);

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(stream)
    }

    fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Everything until the server closes.
    fn hear_all(&mut self) -> String {
        let mut heard = Vec::new();
        // A reset after the answer is still an end.
        self.0.read_to_end(&mut heard).ok();
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// True when the server says anything before it closes.
    fn heard_any(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(1))
    }

    /// As much as it takes to have heard `text`.
    fn hear(&mut self, text: &str) -> String {
        let (mut heard, mut byte) = (Vec::new(), [0]);
        while !heard.ends_with(text.as_bytes()) {
            match self.0.read(&mut byte) {
                Ok(1) => heard.push(byte[0]),
                ended => panic!("{ended:?} after {:?}, waiting for {text:?}", String::from_utf8_lossy(&heard)),
            }
        }
        String::from_utf8_lossy(&heard).into_owned()
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The status lines in what was heard.
fn statuses(heard: &str) -> Vec<u16> {
    heard.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].parse().unwrap()).collect()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}
