//! One HTTP/1.1 connection to a target: the seam behind which HTTP/1 is driven.
//!
//! Everything else knows of a connection only what stands here: it carries one request at a time, tells whether it can
//! carry another, and dropping it closes it at once. Today hyper drives it in a task of the worker; a driver that runs
//! in the request's own task would change this file alone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;

use super::stream::{HeadWatch, Stream};
use crate::body::Body;

/// A connection. Dropping it closes it, whatever is under way on it.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Body>,
    _driver: Driver,
    head: Arc<HeadWatch>,
    idle_since: Instant,
    served: bool,
}

/// The task that moves the bytes; dropping this ends it and with it the socket.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why no response head came.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: hyper::Error,
    /// The request, when not a byte of it was written.
    pub(super) unsent: Option<Request<Body>>,
    /// True when the connection failed before a byte of a response came.
    pub(super) untouched: bool,
}

impl Connection {
    /// Speaks HTTP/1.1 over `stream`, reading at most `buffer_bytes` ahead.
    pub(super) async fn open(stream: Stream, buffer_bytes: usize) -> hyper::Result<Self> {
        let head = stream.head_watch();
        let (sender, connection) =
            http1::Builder::new().max_buf_size(buffer_bytes).handshake(TokioIo::new(stream)).await?;
        let driver = tokio::task::spawn_local(async move {
            // How it ended is told to whoever waits for a response; nobody else minds.
            let _ = connection.with_upgrades().await;
        });
        let _driver = Driver(driver.abort_handle());
        Ok(Self { sender, _driver, head, idle_since: Instant::now(), served: false })
    }

    /// True when it carried a request before: it may have been closed by the peer meanwhile.
    pub(super) fn is_reused(&self) -> bool {
        self.served
    }

    /// True when another request can be sent now: both messages before ended cleanly and the peer has not closed.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready() && !self.sender.is_closed()
    }

    /// Notes that it lies idle from now on.
    pub(super) fn rest(&mut self) {
        self.idle_since = Instant::now();
    }

    /// True when it has lain idle for longer than `keep_alive`.
    pub(super) fn is_stale(&self, keep_alive: Duration) -> bool {
        self.idle_since.elapsed() > keep_alive
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        self.served = true;
        self.head.arm();
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                self.head.disarm();
                Ok(response)
            }
            Err(mut failure) => {
                let unsent = failure.take_message();
                let error = failure.into_error();
                let untouched = self.head.is_untouched() && !error.is_parse();
                Err(Failure { error, unsent, untouched })
            }
        }
    }
}
