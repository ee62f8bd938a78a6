//! Which connections are used again, which are closed, and how many there may be.

use super::{raw::*, *};

#[tokio::test]
async fn one_connection_serves_request_after_request_however_the_response_ends() {
    local(async {
        let app = RawApp::start(|_| {
            let answers = [
                OK,
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                "HTTP/1.1 204 No Content\r\n\r\n",
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 700\r\n\r\n",
                OK,
            ];
            answers.iter().flat_map(|answer| [Step::Head, say(answer)]).chain([Step::WaitClosed]).collect()
        })
        .await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        for expected in ["ok", "ok", "", "", "", "ok"] {
            assert_eq!(text(&pool, &upstream, Method::GET).await.unwrap(), expected);
        }
        assert_eq!(app.connections(), 1);
        assert_eq!(pool.idle(), 1);
        assert!(app.heads()[0].starts_with("GET /path?query HTTP/1.1\r\nhost: app.example\r\n"), "{:?}", app.heads());
    })
    .await;
}

#[tokio::test]
async fn a_response_to_head_leaves_the_connection_in_order() {
    local(async {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 700\r\n\r\n";
        let app = RawApp::start(move |_| vec![Step::Head, say(head), Step::Head, say(OK), Step::WaitClosed]).await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        let response = ask(&pool, &upstream, Method::HEAD).await.unwrap();
        assert_eq!(response.headers()["content-length"], "700");
        assert_eq!(read(response.into_body()).await.unwrap(), "");
        assert_eq!(text(&pool, &upstream, Method::GET).await.unwrap(), "ok");
        assert_eq!(app.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_body_dropped_early_closes_the_connection_at_once() {
    local(async {
        let part = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart";
        let app = RawApp::start(move |_| vec![Step::Head, say(part), Step::WaitClosed]).await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        let mut response = ask(&pool, &upstream, Method::GET).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        tokio::time::timeout(Duration::from_millis(500), app.closed(1)).await.expect("closed within moments");
        assert_eq!(pool.idle(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_request_given_up_closes_the_connection_at_once() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, Step::WaitClosed]).await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        let asked = tokio::time::timeout(Duration::from_millis(50), ask(&pool, &upstream, Method::GET)).await;
        assert!(asked.is_err(), "the app does not answer");
        tokio::time::timeout(Duration::from_millis(500), app.closed(1)).await.expect("closed within moments");
    })
    .await;
}

#[tokio::test]
async fn connections_closed_or_too_old_are_not_used() {
    local(async {
        // The first closes right after its answer; the second stays but is kept for a moment only.
        let app = RawApp::start(|nth| match nth {
            0 => vec![Step::Head, say(OK)],
            _ => vec![Step::Head, say(OK), Step::WaitClosed],
        })
        .await;
        let (pool, upstream) =
            (Pool::new(), upstream(&[&app.url()], |config| config.keep_alive = Duration::from_millis(40)));
        text(&pool, &upstream, Method::POST).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        text(&pool, &upstream, Method::POST).await.unwrap();
        assert_eq!(app.connections(), 2, "the first was closed by the app");
        tokio::time::sleep(Duration::from_millis(60)).await;
        text(&pool, &upstream, Method::POST).await.unwrap();
        assert_eq!(app.connections(), 3, "the second was too old");
        app.closed(1).await;
    })
    .await;
}

#[tokio::test]
async fn an_app_that_says_close_gets_a_new_connection() {
    local(async {
        let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
        let app = RawApp::start(move |_| vec![Step::Head, say(close), Step::WaitClosed]).await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        for _ in 0..2 {
            assert_eq!(text(&pool, &upstream, Method::POST).await.unwrap(), "ok");
        }
        assert_eq!((app.connections(), pool.idle()), (2, 0));
    })
    .await;
}

#[tokio::test]
async fn more_than_the_allowed_requests_wait_their_turn() {
    local(async {
        let part = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha";
        let app = RawApp::start(move |_| {
            vec![Step::Head, say(part), Step::Pause(Duration::from_millis(100)), say("lf"), Step::Head, say(OK)]
        })
        .await;
        let (pool, upstream) = (
            Pool::new(),
            upstream(&[&app.url()], |config| {
                config.max_connections = 1;
                config.connect_timeout = Duration::from_millis(50);
            }),
        );
        let first = ask(&pool, &upstream, Method::GET).await.unwrap();
        assert_eq!(reason(ask(&pool, &upstream, Method::GET).await), "busy");
        let (first, second) = tokio::join!(read(first.into_body()), async {
            tokio::time::sleep(Duration::from_millis(40)).await;
            text(&pool, &upstream, Method::GET).await
        });
        assert_eq!((first.unwrap().as_str(), second.unwrap().as_str()), ("half", "ok"));
        assert_eq!(app.connections(), 1);
    })
    .await;
}

#[tokio::test]
async fn connections_of_a_replaced_upstream_are_closed() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, say(OK), Step::WaitClosed]).await;
        let pool = Pool::new();
        let before = upstream(&[&app.url()], |_| {});
        text(&pool, &before, Method::GET).await.unwrap();
        drop(before);
        let after = upstream(&[&app.url()], |_| {});
        text(&pool, &after, Method::GET).await.unwrap();
        app.closed(1).await;
        assert_eq!(pool.idle(), 1);
    })
    .await;
}

#[tokio::test]
async fn host_is_what_the_configuration_says() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, say(OK)]).await;
        for (host, expected) in [
            (HostHeader::Pass, "app.example".to_owned()),
            (HostHeader::Target, app.address.to_string()),
            (HostHeader::Fixed("fixed.example".parse().unwrap()), "fixed.example".to_owned()),
        ] {
            let upstream = upstream(&[&app.url()], |config| config.host = host);
            text(&Pool::new(), &upstream, Method::GET).await.unwrap();
            let head = app.heads().pop().unwrap();
            assert!(head.contains(&format!("\r\nhost: {expected}\r\n")), "{head}");
        }
    })
    .await;
}
