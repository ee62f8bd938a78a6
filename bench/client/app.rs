//! The app behind the proxies: small answers, a WebSocket echo, bodies of any size. It says where it listens.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{handshake::derive_accept_key, protocol::Role},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen; port 0 is any free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
}

#[tokio::main]
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.address).await?;
    crate::tell(&json!({ "address": listener.local_addr()? }))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
            // A connection that ends early is the client's affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
        return echo(request);
    }
    if matches!(*request.method(), Method::POST | Method::PUT) {
        let length = taken(request.into_body()).await;
        return Response::new(Full::from(format!("{length}\n")));
    }
    Response::new(Full::from("hello from the app\n"))
}

/// How many bytes the body had; none of them is kept.
async fn taken(body: Incoming) -> usize {
    let mut frames = body.into_data_stream();
    let mut length = 0;
    while let Some(Ok(bytes)) = frames.next().await {
        length += bytes.len();
    }
    length
}

fn echo(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let accept = request.headers().get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(echoing(upgrade));
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Some(accept) = accept.and_then(|accept| HeaderValue::try_from(accept).ok()) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

async fn echoing(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    let (sending, receiving) = socket.split();
    // Ends with the connection; control frames are answered by the library.
    let _ = receiving
        .take_while(|message| std::future::ready(message.as_ref().is_ok_and(|message| !message.is_close())))
        .forward(sending)
        .await;
}
