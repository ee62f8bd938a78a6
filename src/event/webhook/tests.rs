//! Against a real HTTP server on loopback.

use std::{collections::VecDeque, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use super::*;
use crate::{clock::Timestamp, secret::Secret};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that answers as told and keeps what it got.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Receiver {
    /// Answers with `answers` in turn (status, Retry-After), then with 204.
    async fn start(answers: &[(u16, Option<&'static str>)]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=hidden", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect::<VecDeque<_>>()));
        let got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>> = Arc::default();
        let kept = got.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, kept) = (answers.clone(), kept.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answers, kept) = (answers.clone(), kept.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        kept.lock().unwrap().push((head.headers, body));
                        let (status, retry) = answers.lock().unwrap().pop_front().unwrap_or((204, None));
                        let mut response = Response::builder().status(status);
                        if let Some(retry) = retry {
                            response = response.header("retry-after", retry);
                        }
                        Ok::<_, std::convert::Infallible>(response.body(Full::new(Bytes::new())).unwrap())
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, got }
    }

    fn ids(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(headers, _)| headers["webhook-id"].to_str().unwrap().to_owned()).collect()
    }
}

fn sink(url: &str) -> WebhookSink {
    WebhookSink::open("hook", &config(url)).unwrap()
}

fn config(url: &str) -> Config {
    Config {
        url: url.parse().unwrap(),
        secret: Some(Secret::new(SECRET)),
        secret_file: None,
        ca_file: None,
        timeout: Duration::from_secs(5),
        dangerous_allow_http: false,
    }
}

fn letters(count: usize) -> Vec<Letter> {
    let letter = |n: usize| Letter {
        id: format!("id-{n}"),
        kind: "io.brama.session.begun".into(),
        key: "key".into(),
        at: Timestamp::from_secs(0),
        body: format!("{{\"n\":{n}}}").into(),
    };
    (0..count).map(letter).collect()
}

#[tokio::test]
async fn each_event_is_a_post_signed_for_its_id_time_and_body() {
    let receiver = Receiver::start(&[]).await;
    let sink = sink(&receiver.url);
    sink.deliver(&letters(3)).await.unwrap();
    sink.ping().await.unwrap();
    assert_eq!(receiver.ids(), ["id-0", "id-1", "id-2"]);
    let key = signing_key(&Secret::new(SECRET)).unwrap();
    for (headers, body) in receiver.got.lock().unwrap().iter() {
        let text = |name: &str| headers[name].to_str().unwrap();
        assert!(text("content-type").starts_with("application/cloudevents+json"));
        let signed = format!("{}.{}.{}", text("webhook-id"), text("webhook-timestamp"), String::from_utf8_lossy(body));
        use base64::Engine as _;
        let hmac = crate::secret::hmac_sha256(&key, signed.as_bytes());
        let expected = base64::engine::general_purpose::STANDARD.encode(hmac);
        assert_eq!(text("webhook-signature"), format!("v1,{expected}"));
        let age = SystemClock.now().as_secs() - text("webhook-timestamp").parse::<i64>().unwrap();
        assert!((0..60).contains(&age), "{age}");
    }
}

#[tokio::test]
async fn what_an_answer_means_is_decided_by_its_status() {
    for (status, never) in [
        (400, true),
        (401, true),
        (404, true),
        (410, true),
        (408, false),
        (425, false),
        (429, false),
        (302, false),
        (500, false),
        (503, false),
    ] {
        let receiver = Receiver::start(&[(204, None), (status, None)]).await;
        let failure = sink(&receiver.url).deliver(&letters(3)).await.unwrap_err();
        assert_eq!(failure.delivered, 1, "{status}");
        assert_eq!(matches!(failure.why, Why::Poison(_)), never, "{status}: {failure}");
        assert!(failure.to_string().contains(&status.to_string()), "{failure}");
        assert!(!failure.to_string().contains("hidden"), "{failure}");
        assert_eq!(receiver.ids().len(), 2, "order is kept: nothing is sent past a failure");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_for_a_pause_gets_it() {
    let sink = sink("http://127.0.0.1:9/");
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, "20".parse().unwrap());
    sink.judge(StatusCode::SERVICE_UNAVAILABLE, &headers).unwrap_err();
    let failure = sink.deliver(&letters(1)).await.unwrap_err();
    assert!(matches!(&failure.why, Why::Unavailable(why) if why.contains("left alone for")), "{failure}");
    tokio::time::advance(Duration::from_secs(21)).await;
    assert_eq!(sink.pause_left(), None);
    headers.insert(header::RETRY_AFTER, "999999999".parse().unwrap());
    assert_eq!(retry_after(&headers), Some(LONGEST_PAUSE));
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_told_by_its_place() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?key=hidden", free.local_addr().unwrap());
    drop(free);
    let sink = sink(&url);
    let failure = sink.deliver(&letters(1)).await.unwrap_err();
    assert!(matches!(&failure.why, Why::Unavailable(why) if why.contains("/hook cannot be reached")), "{failure}");
    let why = sink.ping().await.unwrap_err();
    assert!(why.contains("is it up") && !why.contains("hidden"), "{why}");
}

#[test]
fn settings_that_cannot_be_used_are_told_by_their_key() {
    let missing = Config { ca_file: Some(Path::new("/nonexistent/ca.pem").to_owned()), ..config("https://a.example/") };
    let why = WebhookSink::open("hook", &missing).unwrap_err().to_string();
    assert!(why.contains("event.sink.hook.webhook.ca_file") && why.contains("ca.pem"), "{why}");
    let weak = Config { secret: Some(Secret::new("whsec_tooshort")), ..config("https://a.example/") };
    let why = WebhookSink::open("hook", &weak).unwrap_err().to_string();
    assert!(why.contains("webhook.secret_file") && !why.contains("tooshort"), "{why}");
}

/// A peer with a certificate of its own, whose PEM comes along; it shakes hands and counts what is said after that.
async fn handshaker() -> (u16, String, tokio::task::JoinHandle<usize>) {
    use tokio::io::AsyncReadExt as _;
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(tls));
    let said = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut said = Vec::new();
            // Hung up without a farewell is as good as the end.
            let _ = stream.read_to_end(&mut said).await;
            return said.len();
        }
    });
    (port, cert.pem(), said)
}

#[tokio::test]
async fn an_examination_shakes_hands_and_says_nothing() {
    let (port, authority, said) = handshaker().await;
    let url = format!("https://localhost:{port}/hook?key=s3cret");
    let told = WebhookSink::open("hook", &config(&url)).unwrap().examine().await.unwrap_err();
    assert!(told.what.contains("certificate") && told.remedy.contains("ca_file"), "{told:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, authority).unwrap();
    let known = Config { ca_file: Some(path), ..config(&url) };
    let sound = WebhookSink::open("hook", &known).unwrap().examine().await.unwrap();
    assert!(sound.detail.contains("over TLS") && !sound.detail.contains("s3cret"), "{sound:?}");
    assert_eq!(said.await.unwrap(), 0);
    let nobody = config("https://nowhere.invalid/hook");
    assert!(
        WebhookSink::open("hook", &nobody).unwrap().examine().await.unwrap_err().what.contains("cannot be reached")
    );
}
