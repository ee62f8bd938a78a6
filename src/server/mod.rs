//! Bytes in: listeners, TLS, HTTP/1 read strictly, HTTP/2, and an orderly end.
//!
//! One operating system thread is a *worker*: a single-threaded runtime with its own listener on every TCP address
//! (`SO_REUSEPORT`; the kernel spreads connections), so that a request never crosses threads and the [`Handler`] may
//! hold `Rc`s. A connection's way: accept → admission (counts) → PROXY header → TLS → HTTP/1 or HTTP/2 →
//! the handler. Every stage is a task of exactly its own size: what waits idle is small.
//!
//! What others may rely on:
//! - A request that reaches the handler has one reading (see [`http1`](crate::http1)), a head within the limits, and over HTTP/2 one
//!   host. CONNECT never arrives.
//! - A panic in the handler is that request's 500. A panic in a body it returned costs that connection, and its
//!   answer stays visibly incomplete.
//! - [`Server::start`] has bound everything when it returns. Port 0 tells its number in [`Server::addresses`].
//! - [`Server::drain`] lets running requests end. What works beyond a request (a tunnel) keeps its `Rc<Connection>`
//!   for as long as it lasts, so that it is counted, and watches [`Connection::shutdown`].
//!
//! Deliberately absent: routes, sessions, forwarded headers, access logs (all the gateway's); HTTP/2 WebSockets
//! (RFC 8441); socket activation, which needs `unsafe` to adopt descriptors.
//!
//! Starting a second process on the same TCP address succeeds when both belong to the same user: that is how an
//! upgrade overlaps. Any other program on the address is an error.

mod admission;
mod connection;
mod drain;
mod examine;
mod flow;
mod http1;
mod http2;
mod listener;
mod proxy_protocol;
mod respond;
mod tls;
mod turn;
mod upgrade;
mod worker;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    future::Future,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use connection::{Connection, Protocol, TlsInfo};
pub use drain::Drained;
pub use examine::examine;
pub use listener::BindError;
pub use tls::CertificateError;
pub use tls::examine::{examine_authorities, examine_chain, examine_pair};
pub use upgrade::Upgraded;

use crate::{
    config::listen::{Address, Limits, Listen},
    message::{Request, Response},
};

/// Answers requests. One lives in each worker and is never seen by another.
pub trait Handler: 'static {
    /// Answers `request`, which came over `connection`.
    ///
    /// The answer to an upgrade may be 101 only when the request asked for one and has no body;
    /// [`Connection::upgraded`] is the connection after it. Dropping the future
    /// means the client has gone (HTTP/1: its connection closed; HTTP/2: the stream was reset).
    fn call(self: Rc<Self>, request: Request, connection: Rc<Connection>) -> impl Future<Output = Response> + 'static;
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A certificate or key could not be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS could not be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// A thread could not be started.
    #[error("a worker thread could not be started; is there a limit on threads or memory?")]
    Thread(#[source] std::io::Error),
    /// A worker ended before it was ready.
    #[error("worker {0} ended before it was ready; the log says why")]
    Worker(usize),
}

/// A running server. Dropping it cuts all connections.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<Address>,
    signals: Signals,
    ended: Vec<oneshot::Receiver<usize>>,
    _unix_files: Vec<listener::UnixFile>,
    _reloader: Option<tls::Reloader>,
}

/// What is told to all workers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// Stop accepting; end each connection after what it is doing.
    drain: CancellationToken,
    /// End now.
    stop: CancellationToken,
}

impl Server {
    /// Binds every listener, reads every certificate, starts the workers. `factory` makes the handler of worker `n`,
    /// inside that worker's runtime, where `spawn_local` works.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, a certificate cannot be used, or a worker does not start.
    pub fn start<H, F>(listens: &[Listen], limits: &Limits, factory: F) -> Result<Self, StartError>
    where
        H: Handler,
        F: Fn(usize) -> Rc<H> + Send + Sync + 'static,
    {
        let workers = limits.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let (secured, reloader) = tls::secure(listens)?;
        let mut bound = Vec::with_capacity(listens.len());
        for (listen, tls) in listens.iter().zip(secured) {
            bound.push(listener::bind(listen, tls, workers)?);
        }
        let mut server = Self {
            addresses: bound.iter().map(|bound| bound.address.clone()).collect(),
            signals: Signals::default(),
            ended: Vec::with_capacity(workers),
            _unix_files: bound.iter_mut().filter_map(|bound| bound.file.take()).collect(),
            _reloader: reloader,
        };
        server.spawn_workers(workers, bound, limits, factory)?;
        Ok(server)
    }

    /// Where it listens, in the order of the configuration, with the ports the system chose.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Stops accepting, tells every client (`Connection: close`, GOAWAY), waits up to `limit` for what is running, then
    /// cuts what is left. Returns how much that was.
    pub async fn drain(mut self, limit: Duration) -> Drained {
        self.signals.drain.cancel();
        let mut ended = std::mem::take(&mut self.ended);
        let all = futures_util::future::join_all(ended.iter_mut());
        let in_time = tokio::time::timeout(limit, all).await;
        if let Ok(workers) = in_time {
            return Drained { cut: workers.into_iter().flatten().sum() };
        }
        self.signals.stop.cancel();
        // Those that ended in time had nothing to cut, and are not asked twice.
        let mut cut = 0;
        for worker in ended {
            if !worker.is_terminated() {
                cut += worker.await.unwrap_or_default();
            }
        }
        Drained { cut }
    }

    fn spawn_workers<H, F>(
        &mut self,
        workers: usize,
        mut bound: Vec<listener::Bound>,
        limits: &Limits,
        factory: F,
    ) -> Result<(), StartError>
    where
        H: Handler,
        F: Fn(usize) -> Rc<H> + Send + Sync + 'static,
    {
        let factory = Arc::new(factory);
        let admission = admission::Admission::new(limits);
        let (ready, is_ready) = mpsc::channel();
        for number in 0..workers {
            let plan = worker::Plan {
                number,
                doors: bound.iter_mut().filter_map(listener::Bound::door).collect(),
                limits: limits.clone(),
                admission: Arc::clone(&admission),
                signals: self.signals.clone(),
            };
            let (factory, ready) = (Arc::clone(&factory), ready.clone());
            let (end, ended) = oneshot::channel();
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let cut = worker::run(plan, |number| factory(number), move || ready.send(number).is_ok());
                    end.send(cut).ok();
                })
                .map_err(StartError::Thread)?;
            self.ended.push(ended);
        }
        drop(ready);
        let mut waiting: Vec<usize> = (0..workers).collect();
        for number in is_ready.iter().take(workers) {
            waiting.retain(|waiting| *waiting != number);
        }
        waiting.first().map_or(Ok(()), |number| Err(StartError::Worker(*number)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signals.stop.cancel();
    }
}
