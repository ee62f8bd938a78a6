//! gRPC as it looks on the wire: HTTP/2 on both sides, the status in trailers.

use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http2, server::conn, service::service_fn};

use super::*;

type Trailing =
    StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<bytes::Bytes>, std::convert::Infallible>>>>;

fn trailing(text: String, name: &'static str) -> Trailing {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, "0".parse().unwrap());
    StreamBody::new(futures_util::stream::iter(vec![Ok(Frame::data(text.into())), Ok(Frame::trailers(trailers))]))
}

/// Tells what it saw: version, TE, cookies, trailers.
async fn app(request: Request<Incoming>) -> Result<Response<Trailing>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?;
    let field = |name: &str| parts.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
    let trailers = body.trailers().map_or(0, HeaderMap::len);
    let told = format!("{:?} te={} cookie={} trailers={trailers}", parts.version, field("te"), field("cookie"));
    Ok(Response::new(trailing(told, "grpc-status")))
}

async fn h2c_app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let serving =
                conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service_fn(app));
            tokio::task::spawn_local(serving);
        }
    });
    address
}

async fn call(gate: &Gate, content_type: &str) -> (String, Option<HeaderMap>) {
    let stream = TcpStream::connect(gate.address).await.unwrap();
    let (mut sender, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    let body = BoxBody::new(trailing("question".into(), "x-forwarded-user"));
    let request = Request::post("http://app.example/Service/Method")
        .header("content-type", content_type)
        .header("te", "trailers")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(body)
        .unwrap();
    let answer = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    let trailers = answer.trailers().cloned();
    (String::from_utf8(answer.to_bytes().to_vec()).unwrap(), trailers)
}

#[tokio::test]
async fn trailers_of_the_answer_pass_for_grpc_and_those_of_the_request_never() {
    local(async {
        let gate = Gate::with(&format!("h2c://{}", h2c_app().await), |_| {}, |_| {}).await;
        let (told, trailers) = call(&gate, "application/grpc").await;
        assert_eq!(told, "HTTP/2.0 te=trailers cookie=a=1; b=2 trailers=0");
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
        let (told, trailers) = call(&gate, "application/json").await;
        assert_eq!(told, "HTTP/2.0 te=- cookie=a=1; b=2 trailers=0");
        assert_eq!(trailers, None);
    })
    .await;
}

#[tokio::test]
async fn http_2_becomes_http_1_for_an_app_that_speaks_that() {
    local(async {
        let raw = RawApp::start(|_| {
            // "question" in chunks: the length of a streamed body is not known.
            vec![Step::Head, Step::Body("8\r\nquestion\r\n0\r\n\r\n".len()), say(OK)]
        })
        .await;
        let (told, _) = call(&Gate::before(&raw).await, "text/plain").await;
        assert_eq!(told, "ok");
        let head = raw.heads().pop().unwrap();
        assert!(head.starts_with("POST /Service/Method HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("host: app.example\r\n") && head.contains("cookie: a=1; b=2\r\n"), "{head}");
        assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("te: trailers"), "{head}");
    })
    .await;
}
