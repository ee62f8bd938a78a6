//! HTTP/2, mostly by prior knowledge, which needs no certificates.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::*;

fn h2c() -> Listen {
    Listen { h2c: true, ..listen() }
}

async fn client<IO>(io: IO) -> SendRequest<Full<Bytes>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    client(tokio::net::TcpStream::connect(address).await.unwrap()).await
}

fn request(uri: &str) -> http::request::Builder {
    Request::builder().uri(uri)
}

async fn send(client: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> (StatusCode, String) {
    let response = client.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// The answer to a GET over `io`.
pub(super) async fn ask<IO>(io: IO, uri: &str) -> String
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    send(&mut client(io).await, request(uri).body(Full::default()).unwrap()).await.1
}

#[test]
fn many_streams_share_a_connection() {
    let (_server, address) = start(h2c(), limits());
    block_on(async {
        let client = connect(address).await;
        let asked = (0..50).map(|number| {
            let mut client = client.clone();
            let request =
                request(&format!("http://a/{number}")).method("POST").body(Full::from(vec![b'x'; 70_000])).unwrap();
            async move { send(&mut client, request).await }
        });
        for (number, (status, body)) in futures_util::future::join_all(asked).await.into_iter().enumerate() {
            assert_eq!(status, 200);
            assert!(body.starts_with(&format!("http://a/{number}:")) && body.len() > 70_000);
        }
    });
}

#[test]
fn http1_is_still_spoken_where_h2c_is() {
    let (_server, address) = start(h2c(), limits());
    let mut client = Client::new(address);
    // Begins like the preface does, and ends otherwise.
    client.say("P").say("R").say("OPFIND /p HTTP/1.1\r\nHost: a\r\n\r\n").hear("/p:");
    client.say(get("/who")).hear("protocol: H1");
    assert_eq!(statuses(&Client::new(address).say("GET /\n").hear_all()), [400]);
}

#[test]
fn without_h2c_the_preface_is_no_http() {
    let (_server, address) = start(listen(), limits());
    let heard = Client::new(address).say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").hear_all();
    assert_eq!(statuses(&heard), [400], "{heard}");
}

#[test]
fn what_http1_is_refused_http2_is_too() {
    let (_server, address) = start(h2c(), limits());
    let many = (0..101).fold(request("http://a/"), |request, number| request.header(format!("x-{number}"), "y"));
    for (request, status) in [
        (request("http://a/").header("host", "a"), 200),
        (request("http://a/").header("host", "b"), 400),
        (request(&format!("http://a/{}", "a".repeat(9000))), 414),
        (many, 431),
        (request("http://a/lie"), 500),
        (request("http://a/panic"), 500),
        (request("http://a/fine"), 200),
    ] {
        let request = request.body(Full::default()).unwrap();
        let told = format!("{:.60?}", request.uri());
        let (answered, _) = block_on(async { send(&mut connect(address).await, request).await });
        assert_eq!(answered, status, "{told}");
    }
}

#[test]
fn a_panic_costs_one_stream() {
    let (_server, address) = start(h2c(), limits());
    block_on(async {
        let mut client = connect(address).await;
        let panic = request("http://a/panic").body(Full::default()).unwrap();
        assert_eq!(send(&mut client, panic).await.0, 500);
        let after = request("http://a/after").body(Full::default()).unwrap();
        assert_eq!(send(&mut client, after).await, (StatusCode::OK, "http://a/after:".into()));
    });
}

#[test]
fn an_idle_connection_is_ended() {
    let short = Duration::from_millis(200);
    let (server, address) = start(h2c(), Limits { keep_alive_timeout: short, ..limits() });
    block_on(async {
        let mut client = connect(address).await;
        let slow = request("http://a/slow").body(Full::default()).unwrap();
        assert_eq!(send(&mut client, slow).await.0, 200, "a running request is not idleness");
        let start = Instant::now();
        while !client.is_closed() {
            assert!(start.elapsed() < Duration::from_secs(5), "still open");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(start.elapsed() >= short / 2);
    });
    drop(server);
}

#[test]
fn a_client_that_takes_no_answer_is_cut_however_lively_it_is() {
    let short = Duration::from_millis(300);
    let (_server, address) = start(h2c(), Limits { write_timeout: short, ..limits() });
    block_on(async {
        let mut client = connect(address).await;
        let big = request("http://a/big").body(Full::default()).unwrap();
        let _untaken = client.send_request(big).await.unwrap();
        let start = Instant::now();
        while !client.is_closed() {
            assert!(start.elapsed() < Duration::from_secs(5), "still open");
            // Other requests go on meanwhile, and do not count for it.
            let head = request("http://a/").method("HEAD").body(Full::default()).unwrap();
            client.send_request(head).await.ok();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(start.elapsed() >= short / 2);
    });
}

#[test]
fn a_client_that_takes_its_time_is_not_cut() {
    let short = Duration::from_millis(300);
    let (_server, address) = start(h2c(), Limits { write_timeout: short, ..limits() });
    block_on(async {
        let mut client = connect(address).await;
        let big = request("http://a/big").body(Full::default()).unwrap();
        let mut body = client.send_request(big).await.unwrap().into_body();
        let (mut taken, start) = (0, Instant::now());
        while let Some(frame) = body.frame().await {
            taken += frame.unwrap().data_ref().map_or(0, Bytes::len);
            if start.elapsed() < short * 3 {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
        assert_eq!(taken, 64 << 20);
    });
}

#[test]
fn a_running_stream_is_finished_at_the_end() {
    let (server, address) = start(h2c(), limits());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut client = runtime.block_on(connect(address));
    let slow = request("http://a/slow").body(Full::default()).unwrap();
    let answer = runtime.spawn(async move { send(&mut client, slow).await });
    std::thread::sleep(Duration::from_millis(100));
    let drained = block_on(server.drain(Duration::from_secs(5)));
    assert_eq!(drained.cut, 0);
    assert_eq!(runtime.block_on(answer).unwrap(), (StatusCode::OK, "http://a/slow:".into()));
}
