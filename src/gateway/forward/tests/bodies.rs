//! Bodies: streamed, limited, and never made to look whole when they are not.

use super::*;

#[tokio::test]
async fn lengths_are_kept_where_known_and_chunked_where_not() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, Step::Body(4), say(OK)]).await;
        let gate = Gate::before(&app).await;
        let mut client = gate.dial().await;
        client.say("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody").await;
        client.hear("ok").await;
        let mut client = gate.dial().await;
        client.say("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4;ext=1\r\nbody\r\n0\r\nx-forwarded-user: m\r\n\r\n").await;
        client.hear("ok").await;
        let heads = app.heads();
        assert!(heads[0].contains("content-length: 4\r\n") && !heads[0].contains("transfer-encoding"), "{heads:?}");
        assert!(heads[1].contains("transfer-encoding: chunked\r\n") && !heads[1].contains("content-length"), "{heads:?}");
    })
    .await;
}

#[tokio::test]
async fn large_bodies_pass_whole_both_ways() {
    local(async {
        const LENGTH: usize = 8 * 1024 * 1024;
        let large: Vec<u8> = (0..LENGTH).map(|index| (index / 3) as u8).collect();
        let answer = [format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n").as_bytes(), &large].concat();
        let app = RawApp::start(move |_| vec![Step::Head, Step::Body(LENGTH), Step::Send(answer.clone())]).await;
        let mut client = Gate::before(&app).await.dial().await;
        client.say(format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {LENGTH}\r\n\r\n")).await;
        client.say(&large).await;
        client.hear("\r\n\r\n").await;
        let mut heard = vec![0; LENGTH];
        client.0.read_exact(&mut heard).await.unwrap();
        assert!(heard == large);
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_at_once_or_cut() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, Step::WaitClosed]).await;
        let gate = Gate::with(&app.url(), |_| {}, |settings| settings.max_body = 10).await;
        let mut client = gate.dial().await;
        client.say("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 11\r\n\r\n").await;
        assert!(client.hear("\r\n\r\n").await.starts_with("HTTP/1.1 413"));
        assert_eq!(app.connections(), 0, "refused before the app was asked");

        let mut client = gate.dial().await;
        client
            .say("POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n6\r\nsixsix\r\n6\r\nsixsix\r\n")
            .await;
        assert!(client.hear("\r\n\r\n").await.starts_with("HTTP/1.1 413"));
        within_moments(app.closed(1)).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_before_the_upload_ended_passes_and_its_connection_is_not_used_again() {
    local(async {
        let early = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
        let app = RawApp::start(move |nth| match nth {
            0 => vec![Step::Head, say(early), Step::WaitClosed],
            _ => vec![Step::Head, say(OK), Step::WaitClosed],
        })
        .await;
        let gate = Gate::before(&app).await;
        let mut client = gate.dial().await;
        client.say("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\nhalf").await;
        let heard = client.hear("no").await;
        assert!(heard.starts_with("HTTP/1.1 403"), "{heard}");
        within_moments(app.closed(1)).await;
        let mut client = gate.dial().await;
        client.say(GET).await;
        assert!(client.hear("ok").await.starts_with("HTTP/1.1 200"));
        assert_eq!(app.connections(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_stalls_is_given_up_and_one_that_is_slow_is_not() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, Step::WaitClosed]).await;
        let stall = Duration::from_millis(50);
        let gate = Gate::with(&app.url(), |_| {}, |settings| settings.upload_stall = stall).await;
        let mut client = gate.dial().await;
        client.say("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf").await;
        let heard = client.hear("\r\n\r\n").await;
        assert!(heard.contains("x-reason: upload_stalled\r\n"), "{heard}");
        app.closed(1).await;

        // The whole upload takes longer than the app may keep silent, but it moves all the time.
        let app = RawApp::start(|_| vec![Step::Head, Step::Body(10), say(OK)]).await;
        let gate = Gate::with(&app.url(), |config| config.first_byte_timeout = Duration::from_millis(80), |_| {}).await;
        let mut client = gate.dial().await;
        client.say("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\n").await;
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            client.say("x").await;
        }
        assert!(client.hear("ok").await.starts_with("HTTP/1.1 200"));
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_within_its_upload_leaves_no_whole_request() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, Step::WaitClosed]).await;
        let gate = Gate::before(&app).await;
        let mut client = gate.dial().await;
        client.say("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nhalf").await;
        while app.heads().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(client);
        within_moments(app.closed(1)).await;
    })
    .await;
}

#[tokio::test]
async fn events_arrive_as_they_are_sent() {
    local(async {
        let app = RawApp::start(|_| {
            vec![
                Step::Head,
                say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"),
                say("9\r\ndata: 1\n\n\r\n"),
                Step::WaitClosed,
            ]
        })
        .await;
        let mut client = Gate::before(&app).await.dial().await;
        client.say(GET).await;
        within_moments(client.hear("data: 1\n\n")).await;
        drop(client);
        within_moments(app.closed(1)).await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_stops_the_app() {
    local(async {
        let app = RawApp::start(|_| vec![Step::Head, Step::WaitClosed]).await;
        let mut client = Gate::before(&app).await.dial().await;
        client.say(GET).await;
        while app.heads().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(client);
        within_moments(app.closed(1)).await;
    })
    .await;
}

#[tokio::test]
async fn a_truncated_response_is_cut_and_never_completed() {
    local(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart",
        ] {
            let app =
                RawApp::start(move |_| vec![Step::Head, say(answer), Step::Pause(Duration::from_millis(20))]).await;
            let mut client = Gate::before(&app).await.dial().await;
            client.say(GET).await;
            let heard = client.hear_all().await;
            assert!(heard.contains("part") && !heard.ends_with("0\r\n\r\n"), "{heard}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    local(async {
        let app = RawApp::start(|_| {
            vec![
                Step::Head,
                say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n"),
                Step::WaitClosed,
            ]
        })
        .await;
        let gate = Gate::before(&app).await;
        let mut client = gate.dial().await;
        client.say(GET).await;
        client.hear("part\r\n").await;
        gate.cancel.cancel();
        let rest = within_moments(client.hear_all()).await;
        assert!(!rest.contains("0\r\n"), "{rest}");
        within_moments(app.closed(1)).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_comes_after_the_session_ended_is_withheld() {
    local(async {
        let app =
            RawApp::start(|_| vec![Step::Head, Step::Pause(Duration::from_millis(50)), say(OK), Step::WaitClosed])
                .await;
        let gate = Gate::before(&app).await;
        let mut client = gate.dial().await;
        client.say(GET).await;
        gate.cancel.cancel();
        let heard = client.hear("\r\n\r\n").await;
        assert!(heard.contains("x-reason: session_ended\r\n"), "{heard}");
    })
    .await;
}
