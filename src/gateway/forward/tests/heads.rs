//! Heads: what the app gets to see, and what the client.

use super::*;

#[tokio::test]
async fn what_belongs_to_one_connection_stays_there_both_ways() {
    local(async {
        let app = RawApp::start(|_| {
            vec![
                Step::Head,
                say("HTTP/1.1 200 OK\r\nconnection: x-mine\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\nx-app: 1\r\ncontent-length: 2\r\n\r\nok"),
            ]
        })
        .await;
        let mut client = Gate::before(&app).await.dial().await;
        client
            .say("GET /a%20b?c HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, X-Drop\r\nX-Drop: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Keep: 1\r\n\r\n")
            .await;
        let heard = client.hear("ok").await;
        let head = app.heads().pop().unwrap();
        assert!(head.starts_with("GET /a%20b?c HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("x-keep: 1\r\n") && head.contains("host: app.example\r\n"), "{head}");
        for gone in ["x-drop", "te:", "upgrade", "http2-settings", "connection", "content-length"] {
            assert!(!head.contains(gone), "{gone} in {head}");
        }
        assert!(heard.contains("x-app: 1\r\n") && heard.contains("content-length: 2\r\n"), "{heard}");
        assert!(!heard.contains("x-mine") && !heard.contains("keep-alive"), "{heard}");
    })
    .await;
}

#[tokio::test]
async fn responses_without_a_body_stay_without_one() {
    local(async {
        for (method, answer, expected) in [
            ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 700\r\n\r\n", Some("content-length: 700")),
            (
                "GET",
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 700\r\netag: \"x\"\r\n\r\n",
                Some("content-length: 700"),
            ),
            ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
            ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Some("content-length: 0")),
        ] {
            let app = RawApp::start(move |_| vec![Step::Head, say(answer), Step::Head, say(OK)]).await;
            let mut client = Gate::before(&app).await.dial().await;
            client.say(format!("{method} / HTTP/1.1\r\nhost: h\r\n\r\n")).await;
            let heard = client.hear("\r\n\r\n").await;
            assert_eq!(heard.lines().find(|line| line.starts_with("content-length")), expected, "{heard}");
            assert!(!heard.contains("transfer-encoding"), "{heard}");
            // The same connection goes on, so nobody mistook where the response ends.
            client.say(GET).await;
            assert!(client.hear("ok").await.starts_with("HTTP/1.1 200"));
        }
    })
    .await;
}

#[tokio::test]
async fn expect_is_answered_here_and_only_when_the_app_takes_the_body() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, Step::Body(4), say(OK)]).await;
        let mut client = Gate::before(&app).await.dial().await;
        let head = "POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
        client.say(head).await;
        assert!(client.hear("\r\n\r\n").await.starts_with("HTTP/1.1 100"));
        client.say("body").await;
        assert!(client.hear("ok").await.starts_with("HTTP/1.1 200"));
        assert!(!app.heads()[0].contains("expect"), "{:?}", app.heads());

        let mut client = Gate::with("http://127.0.0.1:1", |_| {}, |_| {}).await.dial().await;
        client.say(head).await;
        let heard = client.hear("\r\n\r\n").await;
        assert!(heard.starts_with("HTTP/1.1 502") && heard.contains("x-reason: connect\r\n"), "{heard}");
    })
    .await;
}
