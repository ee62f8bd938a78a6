//! WebSockets.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Error, Message, protocol::frame::coding::CloseCode},
};

use super::*;

/// An app that sends every message back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(async move {
                let mut socket = accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn open(gate: &Gate) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(gate.address).await.unwrap();
    client_async("ws://app.example/chat", stream).await.map(|(socket, _)| socket)
}

#[tokio::test]
async fn messages_small_and_large_pass_both_ways() {
    local(async {
        let gate = Gate::with(&format!("http://{}", echo().await), |_| {}, |_| {}).await;
        let mut socket = open(&gate).await.unwrap();
        for length in [0, 1, 64, 16 * 1024, 1024 * 1024] {
            let sent = Message::binary(vec![7; length]);
            socket.send(sent.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), sent, "{length}");
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            assert!(message.is_close(), "{message}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_session_says_goodbye() {
    local(async {
        let gate = Gate::with(&format!("http://{}", echo().await), |_| {}, |_| {}).await;
        let mut socket = open(&gate).await.unwrap();
        socket.send("hello".into()).await.unwrap();
        socket.next().await.unwrap().unwrap();
        gate.cancel.cancel();
        match within_moments(socket.next()).await.unwrap().unwrap() {
            Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Away),
            other => panic!("{other}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_silent_socket_ends_where_that_is_asked_for() {
    local(async {
        let target = format!("http://{}", echo().await);
        let idle = Duration::from_millis(50);
        let gate = Gate::with(&target, |_| {}, |settings| settings.websocket_idle_timeout = idle).await;
        let mut socket = open(&gate).await.unwrap();
        assert!(!matches!(within_moments(socket.next()).await, Some(Ok(_))));
    })
    .await;
}

#[tokio::test]
async fn a_route_may_refuse_and_so_may_the_app() {
    local(async {
        let target = format!("http://{}", echo().await);
        let gate = Gate::with(&target, |_| {}, |settings| settings.websocket = false).await;
        assert!(matches!(open(&gate).await, Err(Error::Http(response)) if response.headers()["x-reason"] == "upgrade_refused"));

        let app = RawApp::start(|_| vec![Step::Head, say("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno")]).await;
        let gate = Gate::before(&app).await;
        assert!(matches!(open(&gate).await, Err(Error::Http(response)) if response.status() == 403));
        let head = app.heads().pop().unwrap();
        assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: Upgrade\r\n"), "{head}");
    })
    .await;
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ASK: &str = "GET /chat HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ";

#[tokio::test]
async fn no_tunnel_without_the_answer_that_matches() {
    local(async {
        for (switch, tunnel) in [
            ("upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true),
            ("upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: AAAALMBiTxaQ9kYGzzhZRbK+xOo=", false),
            ("upgrade: websocket\r\nconnection: upgrade", false),
            ("upgrade: h2c\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", false),
        ] {
            let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{switch}\r\n\r\nearly");
            let app = RawApp::start(move |_| vec![Step::Head, say(&answer), Step::WaitClosed]).await;
            let mut client = Gate::before(&app).await.dial().await;
            client.say(format!("{ASK}{KEY}\r\n\r\n")).await;
            let heard = client.hear("\r\n\r\n").await;
            assert_eq!(heard.starts_with("HTTP/1.1 101"), tunnel, "{heard}");
            if tunnel {
                client.hear("early").await;
                drop(client);
            } else {
                assert!(heard.contains("x-reason: bad_response\r\n"), "{heard}");
            }
            within_moments(app.closed(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_broken_handshake_never_reaches_the_app() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head]).await;
        let gate = Gate::before(&app).await;
        for wrong in [
            format!("{ASK}c2hvcnQ=\r\n\r\n"),
            format!("{ASK}{KEY}\r\nsec-websocket-key: {KEY}\r\n\r\n"),
            format!("{ASK}{KEY}\r\ncontent-length: 4\r\n\r\nbody"),
        ] {
            let mut client = gate.dial().await;
            client.say(&wrong).await;
            let heard = client.hear("\r\n\r\n").await;
            assert!(heard.contains("x-reason: bad_upgrade\r\n"), "{heard} to {wrong}");
        }
        assert_eq!(app.connections(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_target_that_speaks_http_2_alone_cannot_take_one() {
    local(async {
        let gate = Gate::with(&format!("h2c://{}", echo().await), |_| {}, |_| {}).await;
        assert!(
            matches!(open(&gate).await, Err(Error::Http(response)) if response.headers()["x-reason"] == "unsendable")
        );
    })
    .await;
}
