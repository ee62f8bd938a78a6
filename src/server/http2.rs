//! HTTP/2, with the limits its many ways to waste a server's time call for (threat model, section 4).

use std::{convert::Infallible, future::Future, pin::Pin, rc::Rc};

use http::{Method, Request, StatusCode, header};
use hyper::{
    body::Incoming,
    rt::{Executor, bounds::Http2ServerConnExec},
    server::conn::http2,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Connection, Handler,
    drain::{Activity, Graceful, Idle, Serving},
    flow::{Flow, Flowing},
    respond,
    turn::Turn,
    worker::Worker,
};
use crate::{body::Body, config::listen::Limits, http1::Violation, message::Response, wait::Wait};

/// Streams the client reset before we looked at them, and streams we reset for its errors: a few are accidents, more
/// are an attack (CVE-2023-44487, CVE-2025-8671).
const MAX_PENDING_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 256;
/// HPACK's own default; more is memory a client commands.
const HEADER_TABLE: u32 = 4096;

/// Spawns on the worker's own thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local;

impl<F> Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// What is the same for every HTTP/2 connection.
pub(super) struct Settings {
    builder: http2::Builder<Local>,
    fields: usize,
    target: usize,
    idle: std::time::Duration,
    write: std::time::Duration,
}

impl Settings {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut builder = http2::Builder::new(Local);
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.http2_streams)
            .max_header_list_size(limits.http2_head_bytes)
            .header_table_size(HEADER_TABLE)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_ERROR_RESETS)
            // One stalled upload cannot take the whole connection's window.
            .initial_connection_window_size(limits.http2_window_bytes)
            .initial_stream_window_size(limits.http2_window_bytes / 2)
            .max_send_buf_size(limits.buffer_bytes)
            .keep_alive_interval(limits.http2_ping_interval)
            .keep_alive_timeout(limits.handshake_timeout);
        Self {
            builder,
            fields: limits.head_fields,
            target: limits.target_bytes,
            idle: limits.keep_alive_timeout,
            write: limits.write_timeout,
        }
    }

    /// What HTTP/1 is refused for, said for HTTP/2 (RFC 9113 §8.3.1, RFC 9110 §7.2).
    fn screen(&self, request: &Request<Incoming>) -> Result<(), Violation> {
        let (uri, headers) = (request.uri(), request.headers());
        if *request.method() == Method::CONNECT {
            return Err(Violation::Target);
        }
        if uri.path_and_query().is_some_and(|target| target.as_str().len() > self.target) {
            return Err(Violation::TargetTooLong);
        }
        // Cookie crumbs are fields too.
        if headers.len() > self.fields {
            return Err(Violation::HeadTooLarge);
        }
        let mut hosts = headers.get_all(header::HOST).iter();
        match (uri.authority(), hosts.next(), hosts.next()) {
            (_, _, Some(_)) | (None, None, _) => Err(Violation::Host),
            (Some(authority), Some(host), None)
                if !authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes()) =>
            {
                Err(Violation::Host)
            }
            _ => Ok(()),
        }
    }
}

/// Serves `io`, of which `received` was read already, until it ends.
pub(super) async fn serve<IO, H>(io: IO, received: Vec<u8>, connection: Rc<Connection>, worker: Rc<Worker<H>>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let activity = Rc::new(Activity::default());
    let flow = Rc::new(Flow::default());
    let idle = Idle { activity: Rc::clone(&activity), limit: worker.http2.idle, wait: Wait::default() };
    let io = TokioIo::new(Turn::new(io, received, Rc::clone(&flow), worker.http2.write));
    let roster = Rc::clone(&worker.roster);
    let answering = Rc::clone(&worker);
    let service = service_fn(move |request| {
        // Boxed: it becomes a task, and is moved at each step on the way there.
        let answer = Box::pin(answer(Rc::clone(&answering), Rc::clone(&connection), Rc::clone(&activity), request));
        let flow = Rc::clone(&flow);
        async move { Ok::<_, Infallible>(answer.await.into_http().map(|body| Flowing::new(body, flow))) }
    });
    let http = worker.http2.builder.serve_connection(io, service);
    drop(worker);
    if let Err(error) = Serving::new(http, roster, Some(idle)).await {
        tracing::debug!(%error, "HTTP/2 connection ended");
    }
}

async fn answer<H: Handler>(
    worker: Rc<Worker<H>>,
    connection: Rc<Connection>,
    activity: Rc<Activity>,
    request: Request<Incoming>,
) -> Response {
    let _running = activity.begin();
    if let Err(violation) = worker.http2.screen(&request) {
        tracing::debug!(reason = %violation, "request refused");
        let mut response = respond::refuse(violation);
        response.headers_mut().remove(header::CONNECTION);
        return response;
    }
    let response = respond::ask(Rc::clone(&worker.handler), request.map(Body::Incoming).into(), connection).await;
    // RFC 9113 §8.6: HTTP/2 has no 101.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        tracing::error!("a handler switched protocols on HTTP/2");
        return respond::plain(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here\n");
    }
    response
}

impl<IO, S> Graceful for http2::Connection<IO, S, Local>
where
    S: HttpService<Incoming, ResBody = Flowing>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    IO: hyper::rt::Read + hyper::rt::Write + Unpin,
    Local: Http2ServerConnExec<S::Future, Flowing>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}
