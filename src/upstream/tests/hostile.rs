//! Apps that break the rules: what they send is refused or cut, never completed and never mixed up.

use super::{raw::*, *};

async fn outcome_of(answer: &str) -> &'static str {
    let answer = answer.to_owned();
    let app = RawApp::start(move |_| vec![Step::Head, say(&answer), Step::WaitClosed]).await;
    let upstream = upstream(&[&app.url()], |config| config.first_byte_timeout = Duration::from_secs(2));
    reason(ask(&Pool::new(), &upstream, Method::GET).await)
}

#[tokio::test]
async fn responses_that_could_be_read_in_two_ways_are_refused() {
    local(async {
        for head in [
            "content-length: 5\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "content-length: 5\r\ncontent-length: 6",
            "content-length: 5\r\ncontent-length: 5",
            "content-length: 5, 5",
            "content-length: -5",
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n0\r\n\r\n");
            assert_eq!(outcome_of(&answer).await, "bad_response", "{head}");
        }
        for answer in [
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nna me: x\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        ] {
            assert_eq!(outcome_of(answer).await, "bad_response", "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_truncated_body_is_an_error() {
    local(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\nzz\r\n",
        ] {
            let app = RawApp::start(move |_| vec![Step::Head, say(answer)]).await;
            let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
            let response = ask(&pool, &upstream, Method::GET).await.unwrap();
            assert!(matches!(read(response.into_body()).await, Err(BodyError::Cut(_))), "{answer}");
            assert_eq!(pool.idle(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn surplus_bytes_retire_the_connection() {
    local(async {
        let surplus = format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged");
        let app = RawApp::start(move |nth| match nth {
            0 => vec![Step::Head, say(&surplus), Step::WaitClosed],
            _ => vec![Step::Head, say(OK), Step::WaitClosed],
        })
        .await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        for _ in 0..2 {
            assert_eq!(text(&pool, &upstream, Method::GET).await.unwrap(), "ok");
        }
        assert_eq!(app.connections(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_response_that_comes_before_its_request_is_never_taken_for_the_answer() {
    local(async {
        let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
        let app = RawApp::start(move |nth| match nth {
            0 => vec![Step::Head, say(OK), Step::Pause(Duration::from_millis(20)), say(forged), Step::WaitClosed],
            _ => vec![Step::Head, say(OK), Step::WaitClosed],
        })
        .await;
        let (pool, upstream) = (Pool::new(), upstream(&[&app.url()], |_| {}));
        assert_eq!(text(&pool, &upstream, Method::GET).await.unwrap(), "ok");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(text(&pool, &upstream, Method::GET).await.unwrap(), "ok");
        assert_eq!(app.connections(), 2);
    })
    .await;
}

#[tokio::test]
async fn interim_responses_are_stepped_over_but_not_without_end() {
    local(async {
        let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let app = RawApp::start(move |_| vec![Step::Head, say(interim), say(interim), say(OK)]).await;
        let upstream_of_some = upstream(&[&app.url()], |_| {});
        assert_eq!(text(&Pool::new(), &upstream_of_some, Method::GET).await.unwrap(), "ok");
        let app = RawApp::start(|_| vec![Step::Head, Step::Endless(b"HTTP/1.1 100 Continue\r\n\r\n")]).await;
        let upstream_of_endless = upstream(&[&app.url()], |_| {});
        let outcome = ask(&Pool::new(), &upstream_of_endless, Method::GET).await;
        assert_eq!(reason(outcome), "bad_response");
    })
    .await;
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    local(async {
        let app =
            RawApp::start(|_| vec![Step::Head, say("HTTP/1.1 200 OK\r\nx: "), Step::Endless(&[b'x'; 4096])]).await;
        let upstream = upstream(&[&app.url()], |_| {});
        assert_eq!(reason(ask(&Pool::new(), &upstream, Method::GET).await), "bad_response");
    })
    .await;
}

#[tokio::test]
async fn silence_before_and_within_a_response_has_an_end() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, Step::WaitClosed]).await;
        let silent = upstream(&[&app.url()], |config| config.first_byte_timeout = Duration::from_millis(50));
        assert_eq!(reason(ask(&Pool::new(), &silent, Method::GET).await), "first_byte_timeout");
        app.closed(1).await;
        assert_eq!(app.connections(), 1, "an app that is slow is not asked twice");

        let part = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\npart";
        let app = RawApp::start(move |_| vec![Step::Head, say(part), Step::WaitClosed]).await;
        let stalling = upstream(&[&app.url()], |config| config.idle_timeout = Duration::from_millis(50));
        let response = ask(&Pool::new(), &stalling, Method::GET).await.unwrap();
        assert!(matches!(read(response.into_body()).await, Err(BodyError::Stalled(_))));
        app.closed(1).await;
    })
    .await;
}
