//! The way to the app over real sockets: apps that behave, and apps that do not.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;

use super::{Pool, ResponseBody, SendOptions, Upstream, UpstreamError};
use crate::{
    body::{Body, BodyError},
    config::upstream::{self as config, HostHeader},
    message,
};

mod health;
mod hostile;
pub(crate) mod raw;
mod retry;
mod reuse;
mod secure;

/// An upstream with these targets, its other settings changed by `change`.
pub(crate) fn upstream(targets: &[&str], change: impl FnOnce(&mut config::Upstream)) -> Arc<Upstream> {
    let targets = targets.iter().map(|target| config::Target::parse(target).unwrap()).collect();
    let mut config = config::Upstream::to(targets);
    change(&mut config);
    Upstream::build("app", config).unwrap()
}

fn request(method: Method) -> Request<Body> {
    Request::builder().method(method).uri("/path?query").header("host", "app.example").body(Body::Empty).unwrap()
}

async fn ask(
    pool: &Rc<Pool>,
    upstream: &Arc<Upstream>,
    method: Method,
) -> Result<Response<ResponseBody>, UpstreamError> {
    send(pool, upstream, request(method), &SendOptions { takes_lines: true, ..SendOptions::default() }).await
}

/// As [`super::send`], in the types that tests build and read.
async fn send(
    pool: &Rc<Pool>,
    upstream: &Arc<Upstream>,
    request: Request<Body>,
    options: &SendOptions<'_>,
) -> Result<Response<ResponseBody>, UpstreamError> {
    super::send(pool, upstream, &mut request.into(), options).await.map(message::Response::into_http)
}

/// Asks and reads the whole body.
async fn text(pool: &Rc<Pool>, upstream: &Arc<Upstream>, method: Method) -> Result<String, UpstreamError> {
    let response = ask(pool, upstream, method).await?;
    Ok(read(response.into_body()).await.expect("a whole body"))
}

async fn read(body: ResponseBody) -> Result<String, BodyError> {
    Ok(String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap())
}

fn reason<T>(outcome: Result<T, UpstreamError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(error) => error.reason(),
    }
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
