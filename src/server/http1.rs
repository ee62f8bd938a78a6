//! HTTP/1: hyper over the strict reader.

use std::{convert::Infallible, pin::Pin, rc::Rc, sync::Arc};

use http::{Request, Response, StatusCode, Version, header};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Connection, Handler,
    drain::{Graceful, Serving},
    respond,
    strict::{HeadLimits, Strict, Timeouts, Verdict},
    worker::Worker,
};
use crate::{
    body::{Body, BodyError},
    config::listen::Limits,
};

/// What is the same for every HTTP/1 connection.
pub(super) struct Settings {
    builder: http1::Builder,
    head: HeadLimits,
    timeouts: Timeouts,
}

impl Settings {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // hyper counts from the end of the request before, so this is the idle time; the strict reader holds heads
            // to theirs. A head that begins just before the idle time is over still gets all of it.
            .header_read_timeout(limits.keep_alive_timeout.saturating_add(limits.head_timeout))
            .half_close(false)
            .max_buf_size(limits.buffer_bytes);
        if limits.head_fields > 100 {
            // Only then: hyper keeps room for its default of 100 on the stack, any other number on the heap.
            builder.max_headers(limits.head_fields);
        }
        Self {
            builder,
            head: HeadLimits { bytes: limits.head_bytes, fields: limits.head_fields, target: limits.target_bytes },
            timeouts: Timeouts { head: limits.head_timeout, body: limits.body_timeout, write: limits.write_timeout },
        }
    }
}

/// Serves `io`, of which `received` was read already, until it ends.
pub(super) async fn serve<IO, H>(io: IO, received: Vec<u8>, connection: Rc<Connection>, worker: Rc<Worker<H>>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let (io, verdict) = Strict::new(io, received, worker.http1.head, worker.http1.timeouts);
    let handler = Rc::clone(&worker.handler);
    let service =
        service_fn(move |request| answer(Rc::clone(&handler), Rc::clone(&connection), Arc::clone(&verdict), request));
    let http = worker.http1.builder.serve_connection(TokioIo::new(io), service).with_upgrades();
    let serving = Serving::new(http, Rc::clone(&worker.roster), None);
    drop(worker);
    if let Err(error) = serving.await {
        tracing::debug!(%error, "HTTP/1 connection ended");
    }
}

async fn answer<H: Handler>(
    handler: Rc<H>,
    connection: Rc<Connection>,
    verdict: Arc<Verdict>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if let Some(violation) = verdict.refusal(&request) {
        return Ok(respond::refuse(violation));
    }
    // The same three conditions as the strict reader's; it waits for the decision below.
    let asks_upgrade = request.version() == Version::HTTP_11
        && request.headers().contains_key(header::UPGRADE)
        && request.body().is_end_stream();
    let response = respond::ask(handler, request, connection).await;
    if let Some(violation) = verdict.broken_body() {
        return Ok(respond::refuse(violation));
    }
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if asks_upgrade {
        verdict.decide_upgrade(switches);
    } else if switches {
        tracing::error!("a handler switched protocols where nobody asked for it");
        return Ok(respond::plain(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here\n"));
    }
    Ok(response)
}

impl<IO, S> Graceful for http1::UpgradeableConnection<IO, S>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    IO: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    BodyError: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}
