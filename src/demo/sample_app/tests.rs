use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio_tungstenite::tungstenite::Message;

use super::*;

async fn app() -> SampleApp {
    SampleApp::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

async fn send(app: &SampleApp, path: &str, headers: &[(&str, &str)], body: &'static str) -> Response<Incoming> {
    let mut request = Request::builder().method("POST").uri(format!("http://{}{path}", app.address()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http();
    client.request(request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()).await.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn the_page_shows_who_is_there_decoded_and_escaped() {
    let app = app().await;
    let encoded = "%D0%9E%D0%BB%D0%B5%D0%BD%D0%B0 <b>";
    let page =
        text(send(&app, "/reports/2026?quarter=3", &[("x-forwarded-preferred-username", encoded)], "12345").await)
            .await;
    assert!(page.contains("Hello, Олена &lt;b&gt;"), "{page}");
    assert!(page.contains("/reports/2026?quarter=3") && page.contains("with a body of 5 bytes"));
    assert!(page.contains("did not come"));
    assert_eq!(app.seen()[0].target, "/reports/2026?quarter=3");
}

#[tokio::test]
async fn the_api_tells_identity_and_echoes() {
    let app = app().await;
    let me = text(send(&app, "/api/me", &[("x-forwarded-user", "1"), ("x-forwarded-groups", "a,b")], "").await).await;
    let me: Value = serde_json::from_str(&me).unwrap();
    assert_eq!(me["groups"], json!(["a", "b"]));
    assert_eq!(me["email"], Value::Null);
    let echo = text(send(&app, "/api/echo?x=1", &[("x-two", "a"), ("x-two", "b")], "hello").await).await;
    let echo: Value = serde_json::from_str(&echo).unwrap();
    assert_eq!(echo["method"], "POST");
    assert_eq!(echo["target"], "/api/echo?x=1");
    assert_eq!(echo["body_length"], 5);
    assert_eq!(echo["body_sha256"], "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    let twice = echo["headers"].as_array().unwrap().iter().filter(|pair| pair[0] == "x-two").count();
    assert_eq!(twice, 2);
}

#[tokio::test]
async fn streams_statuses_cookies_and_trailers() {
    let app = app().await;
    let events = text(send(&app, "/events?ms=1&count=3", &[], "").await).await;
    assert_eq!(events.matches("event: tick").count(), 3);
    let big = send(&app, "/big?bytes=200001", &[], "").await.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(big.len(), 200_001);
    assert!(big.iter().zip((0..=250_u8).cycle()).all(|(byte, expected)| *byte == expected));
    assert_eq!(send(&app, "/status/503", &[], "").await.status(), 503);
    assert_eq!(send(&app, "/status/101", &[], "").await.status(), 200);
    let cookies = send(&app, "/set-cookie?name=mine", &[], "").await;
    assert_eq!(cookies.headers().get_all("set-cookie").iter().count(), 2);
    let slow = std::time::Instant::now();
    send(&app, "/slow?ms=30", &[], "").await;
    assert!(slow.elapsed() >= Duration::from_millis(30));
    let trailers = send(&app, "/trailers", &[("te", "trailers")], "").await.into_body().collect().await.unwrap();
    assert_eq!(trailers.trailers().unwrap()["x-checksum"], "abc123");
}

#[tokio::test]
async fn the_websocket_echoes_answers_pings_and_closes() {
    let app = app().await;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{}/ws", app.address())).await.unwrap();
    for size in [0, 5, 125, 126, 65_535, 65_536, 100_000] {
        let message = Message::binary(vec![7_u8; size]);
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    socket.send(Message::text("привіт")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("привіт"));
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    assert_eq!(app.open_websockets(), 1);
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    assert_eq!(send(&app, "/ws", &[], "").await.status(), 426, "no handshake");
}
