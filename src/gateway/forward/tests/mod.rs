//! A whole way through over real sockets: client, forwarder, app.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{ForwardError, ForwardSettings, Forwarder, Passage, hygiene::strip_hop_by_hop};
use crate::{
    body::Body,
    config::upstream as config,
    message::{self, Lines},
    policy::Permit,
    server::{self, Connection, Handler},
    upstream::{
        Pool, Upstream,
        tests::{
            raw::{RawApp, Step, local, say},
            upstream,
        },
    },
};

mod bodies;
mod grpc;
mod heads;
mod sockets;

/// A gateway that forwards everything.
#[derive(Clone)]
struct Gate {
    address: SocketAddr,
    cancel: CancellationToken,
    served: Rc<Served>,
}

struct Served {
    forwarder: Forwarder,
    upstream: Arc<Upstream>,
    settings: ForwardSettings,
}

impl Gate {
    async fn before(app: &RawApp) -> Self {
        Self::with(&app.url(), |_| {}, |_| {}).await
    }

    async fn with(
        target: &str,
        change: impl FnOnce(&mut config::Upstream),
        set: impl FnOnce(&mut ForwardSettings),
    ) -> Self {
        let mut settings = ForwardSettings::default();
        set(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let served = Served { forwarder: Forwarder::new(Pool::new()), upstream: upstream(&[target], change), settings };
        let gate =
            Self { address: listener.local_addr().unwrap(), cancel: CancellationToken::new(), served: Rc::new(served) };
        tokio::task::spawn_local(server::tests::accept(listener, Rc::new(gate.clone())));
        gate
    }

    async fn dial(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

impl Handler for Gate {
    async fn call(self: Rc<Self>, mut request: message::Request, connection: Rc<Connection>) -> message::Response {
        let hop = strip_hop_by_hop(&mut request.head.headers);
        let Served { forwarder, upstream, settings } = &*self.served;
        let passage = Passage {
            upstream,
            settings,
            hop,
            lines: [Lines::none(); 2],
            takes_lines: true,
            affinity: None,
            cancel: &self.cancel,
            keep: super::Keep { stream: None, connection: Some(connection) },
        };
        let answer = forwarder.forward(Permit::for_test(), &mut request, &passage).await;
        answer.unwrap_or_else(|error| {
            let status = match error {
                ForwardError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_GATEWAY,
            };
            Response::builder().status(status).header("x-reason", error.reason()).body(Body::Empty).unwrap().into()
        })
    }
}

/// A client that says and hears exactly the bytes it is told to.
struct Client(TcpStream);

impl Client {
    async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads until what came ends with `end`.
    async fn hear(&mut self, end: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(end.as_bytes()) {
            match self.0.read_u8().await {
                Ok(byte) => heard.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&heard)),
            }
        }
        String::from_utf8(heard).unwrap()
    }

    /// Reads until the connection ends.
    async fn hear_all(&mut self) -> String {
        let mut heard = Vec::new();
        let _ = self.0.read_to_end(&mut heard).await;
        String::from_utf8(heard).unwrap()
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: app.example\r\n\r\n";

async fn within_moments<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_millis(500), what).await.expect("within moments")
}
