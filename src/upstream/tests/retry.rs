//! What is tried again, and what never.

use super::{raw::*, *};

/// An app that answers once and then closes, without a byte, on the next request of the same connection.
async fn closes_on_second() -> RawApp {
    RawApp::start(|nth| match nth {
        0 => vec![Step::Head, say(OK), Step::Head],
        _ => vec![Step::Head, say(OK), Step::WaitClosed],
    })
    .await
}

#[tokio::test]
async fn an_idempotent_request_is_tried_again_when_a_kept_connection_closes_under_it() {
    local(async {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            let app = closes_on_second().await;
            let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
            text(&pool, &upstream, Method::GET).await.unwrap();
            assert_eq!(reason(ask(&pool, &upstream, method.clone()).await), "ok", "{method}");
            assert_eq!((app.connections(), app.heads().len()), (2, 3), "{method}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_that_may_have_been_seen_is_never_repeated() {
    local(async {
        for method in [Method::POST, Method::PATCH] {
            let app = closes_on_second().await;
            let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |config| config.retries = 5));
            text(&pool, &upstream, Method::GET).await.unwrap();
            assert_eq!(reason(ask(&pool, &upstream, method.clone()).await), "reset", "{method}");
            assert_eq!((app.connections(), app.heads().len()), (1, 2), "{method}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_idempotent_request_with_a_body_is_not_repeated() {
    local(async {
        let app = closes_on_second().await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        text(&pool, &upstream, Method::GET).await.unwrap();
        let request = Request::put("/").header("host", "h").body(Body::full("x")).unwrap();
        assert_eq!(reason(send(&pool, &upstream, request, &SendOptions::default()).await), "reset");
        assert_eq!(app.heads().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn not_even_a_get_is_repeated_once_an_answer_began_or_on_a_new_connection() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, say(OK), Step::Head, say("HTTP/1.1 2")]).await;
        let (pool, begun) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        text(&pool, &begun, Method::GET).await.unwrap();
        assert_eq!(reason(ask(&pool, &begun, Method::GET).await), "reset");
        assert_eq!(app.heads().len(), 2);

        let app = RawApp::start(|_| vec![Step::Head]).await;
        let fresh = upstream(&[&app.url()], |_| {});
        assert_eq!(reason(ask(&Pool::new(), &fresh, Method::GET).await), "reset");
        assert_eq!(app.heads().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn without_retries_nothing_is_repeated() {
    local(async {
        let app = closes_on_second().await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |config| config.retries = 0));
        text(&pool, &upstream, Method::GET).await.unwrap();
        assert_eq!(reason(ask(&pool, &upstream, Method::GET).await), "reset");
        assert_eq!(app.heads().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn when_no_connection_can_be_made_another_target_gets_the_request_whatever_its_method() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, say(OK)]).await;
        let dead = format!("http://{}", nobody().await);
        let (pool, upstream) = (Pool::new(), upstream(&[&dead, &app.url()], |config| config.max_fails = 0));
        for _ in 0..4 {
            let request = Request::post("/").header("host", "h").body(Body::full("body")).unwrap();
            let response = send(&pool, &upstream, request, &SendOptions::default()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert_eq!(app.heads().len(), 4);
    })
    .await;
}

#[tokio::test]
async fn failures_say_whose_side_they_are_on() {
    local(async {
        let dead = format!("http://{}", nobody().await);
        let dead = upstream(&[&dead], |_| {});
        let error = ask(&Pool::new(), &dead, Method::GET).await.err().unwrap();
        assert_eq!((error.reason(), error.side()), ("connect", super::super::Side::Upstream));
        assert!(error.retry_is_safe());
    })
    .await;
}
