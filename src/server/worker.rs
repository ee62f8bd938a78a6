//! A worker: one thread, one runtime, its own listeners, one handler.

use std::{
    cell::{Cell, OnceCell},
    future::Future,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::Either};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
    runtime::{Builder, LocalOptions},
    task::spawn_local,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Connection, Handler, Protocol, Signals, TlsInfo,
    admission::{Admission, Place},
    drain::{Roster, Seat},
    http1, http2,
    listener::{Door, DoorSpec},
    proxy_protocol,
    upgrade::Upgrade,
};
use crate::config::listen::Limits;

/// Before accepting again when the system has no descriptors or memory left. Serving goes on meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often a crowd of one address is told of.
const CROWD_INTERVAL: Duration = Duration::from_secs(10);
/// What HTTP/2 begins with (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a worker is to do.
pub(super) struct Plan {
    pub(super) number: usize,
    pub(super) doors: Vec<Door>,
    pub(super) limits: Limits,
    pub(super) admission: Arc<Admission>,
    pub(super) signals: Signals,
}

/// What the connections of one worker share.
pub(super) struct Worker<H> {
    pub(super) handler: Rc<H>,
    pub(super) http1: http1::Settings,
    pub(super) http2: http2::Settings,
    pub(super) roster: Rc<Roster>,
    admission: Arc<Admission>,
    handshake_timeout: Duration,
    signals: Signals,
    /// When a client over its share was last told of in the log.
    crowded: Cell<Option<Instant>>,
}

impl<H> Worker<H> {
    fn new(handler: Rc<H>, limits: &Limits, admission: Arc<Admission>, signals: Signals) -> Self {
        Self {
            handler,
            http1: http1::Settings::new(limits),
            http2: http2::Settings::new(limits),
            roster: Rc::default(),
            admission,
            handshake_timeout: limits.handshake_timeout,
            signals,
            crowded: Cell::new(None),
        }
    }

    /// One that belongs to no server.
    #[cfg(test)]
    pub(super) fn for_test(handler: Rc<H>, limits: &Limits) -> Self {
        Self::new(handler, limits, Admission::new(limits), Signals::default())
    }

    /// Says it, but not with every connection of somebody who opens them by the thousand.
    fn tell_of_crowd(&self, address: SocketAddr) {
        if self.crowded.get().is_none_or(|last| last.elapsed() > CROWD_INTERVAL) {
            self.crowded.set(Some(Instant::now()));
            tracing::warn!(address = %address.ip(), "connections closed: this address has as many as limits.connections_per_address allows");
        }
    }
}

/// Runs until the server ends; returns how many connections were cut then.
pub(super) fn run<H: Handler>(plan: Plan, factory: impl FnOnce(usize) -> Rc<H>, ready: impl FnOnce() -> bool) -> usize {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, worker = plan.number, "a worker has no runtime");
            return 0;
        }
    };
    runtime.block_on(work(plan, factory, ready))
}

async fn work<H: Handler>(plan: Plan, factory: impl FnOnce(usize) -> Rc<H>, ready: impl FnOnce() -> bool) -> usize {
    let Plan { number, doors, limits, admission, signals } = plan;
    let worker = Rc::new(Worker::new(factory(number), &limits, admission, signals.clone()));
    let roster = Rc::clone(&worker.roster);
    let accepting: Vec<_> = match doors.into_iter().map(|door| open(door, &worker)).collect() {
        Ok(accepting) => accepting,
        Err(error) => {
            tracing::error!(%error, worker = number, "a worker cannot use its listeners");
            return 0;
        }
    };
    drop(worker);
    if !ready() {
        return 0;
    }
    let ended = async {
        signals.drain.cancelled().await;
        // First: a door may be waiting for a place that one of the connections has.
        roster.drain();
        // Each takes in what the kernel has accepted for us already, then closes its listener.
        futures_util::future::join_all(accepting).await;
        roster.emptied().await;
    };
    futures_util::future::select(std::pin::pin!(ended), std::pin::pin!(signals.stop.cancelled())).await;
    roster.open()
}

/// Serves what `listener` accepts with `handler`, in the current `LocalSet` or local runtime and under default limits.
#[cfg(test)]
pub(crate) async fn accept<H: Handler>(listener: TcpListener, handler: Rc<H>) {
    let worker = Rc::new(Worker::for_test(handler, &Limits::default()));
    let spec = DoorSpec { name: "test".into(), tls: None, proxies: Vec::new(), h2c: true };
    accept_tcp(listener, Entrance { spec: Arc::new(spec), worker }).await;
}

/// Begins to accept at `door`.
fn open<H: Handler>(door: Door, worker: &Rc<Worker<H>>) -> io::Result<tokio::task::JoinHandle<()>> {
    let entrance = Entrance { spec: door.spec, worker: Rc::clone(worker) };
    Ok(if door.is_unix {
        let listener = UnixListener::from_std(door.socket.into())?;
        spawn_local(accept_unix(listener, entrance))
    } else {
        let listener = TcpListener::from_std(door.socket.into())?;
        spawn_local(accept_tcp(listener, entrance))
    })
}

/// A listener's rules within one worker.
struct Entrance<H> {
    spec: Arc<DoorSpec>,
    worker: Rc<Worker<H>>,
}

impl<H> Clone for Entrance<H> {
    fn clone(&self) -> Self {
        Self { spec: Arc::clone(&self.spec), worker: Rc::clone(&self.worker) }
    }
}

/// What is known before the first byte.
struct Arrival {
    remote: Option<SocketAddr>,
    local: Option<SocketAddr>,
    proxied: Option<SocketAddr>,
    seat: Seat,
}

async fn accept_tcp<H: Handler>(listener: TcpListener, entrance: Entrance<H>) {
    while let Some(accepted) = next(listener.accept(), &entrance.worker.signals).await {
        let Some((stream, remote)) = usable(accepted).await else { continue };
        let place = entrance.worker.admission.enter().await;
        let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
        entrance.admit_tcp(stream, remote, place);
    }
}

async fn accept_unix<H: Handler>(listener: UnixListener, entrance: Entrance<H>) {
    while let Some(accepted) = next(listener.accept(), &entrance.worker.signals).await {
        let Some((stream, _)) = usable(accepted).await else { continue };
        let place = entrance.worker.admission.enter().await;
        let seat = entrance.worker.roster.seat(place);
        let arrival = Arrival { remote: None, local: None, proxied: None, seat };
        entrance.admit(stream, arrival);
    }
}

/// The next connection; when the server ends, only one that waits already, then `None`.
async fn next<T>(accept: impl Future<Output = T>, signals: &Signals) -> Option<T> {
    let accept = std::pin::pin!(accept);
    match futures_util::future::select(accept, std::pin::pin!(signals.drain.cancelled())).await {
        Either::Left((accepted, _)) => Some(accepted),
        Either::Right(((), accept)) => accept.now_or_never(),
    }
}

/// An error of one connection is passed over; one of the system makes us wait rather than spin or fall.
async fn usable<T>(accepted: io::Result<T>) -> Option<T> {
    let error = match accepted {
        Ok(accepted) => return Some(accepted),
        Err(error) => error,
    };
    let of_one = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    if !of_one {
        tracing::error!(%error, "cannot accept connections for a moment; if it says too many open files, raise that limit or lower limits.connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    None
}

impl<H: Handler> Entrance<H> {
    fn admit_tcp(&self, stream: TcpStream, remote: SocketAddr, place: Place) {
        stream.set_nodelay(true).ok();
        let local = stream.local_addr().ok();
        let seat = self.worker.roster.seat(place);
        let mut arrival = Arrival { remote: Some(remote), local, proxied: None, seat };
        if self.spec.proxies.iter().any(|network| network.contains(&remote.ip())) {
            spawn_local(self.clone().admit_proxied(stream, arrival));
        } else if self.count(&mut arrival, remote) {
            self.admit(stream, arrival);
        }
    }

    /// Reads who the balancer connects for; what it connects for is what counts.
    async fn admit_proxied(self, mut stream: TcpStream, mut arrival: Arrival) {
        match timeout(self.worker.handshake_timeout, proxy_protocol::read(&mut stream)).await {
            Ok(Ok(proxied)) => {
                arrival.proxied = proxied.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
                if proxied.is_none_or(|address| self.count(&mut arrival, address)) {
                    self.admit(stream, arrival);
                }
            }
            // A balancer that only looks whether we are there.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Ok(Err(error)) => {
                tracing::warn!(peer = ?arrival.remote, %error, "no PROXY header from a peer in proxy_protocol_from")
            }
            Err(_) => {
                tracing::warn!(peer = ?arrival.remote, "no PROXY header in time from a peer in proxy_protocol_from")
            }
        }
    }

    /// False when the address has its share of connections already.
    fn count(&self, arrival: &mut Arrival, address: SocketAddr) -> bool {
        match self.worker.admission.enter_from(address.ip()) {
            Some(place) => {
                arrival.seat.count_for(place);
                true
            }
            None => {
                self.worker.tell_of_crowd(address);
                false
            }
        }
    }

    fn admit<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, io: IO, arrival: Arrival) {
        match &self.spec.tls {
            Some(config) => {
                let acceptor = TlsAcceptor::from(Arc::clone(config));
                spawn_local(self.clone().secure(acceptor, io, arrival));
            }
            None if self.spec.h2c => {
                spawn_local(self.clone().tell_apart(io, arrival));
            }
            None => {
                let connection = self.connection(arrival, None, Protocol::H1);
                spawn_local(http1::serve(io, Vec::new(), connection, Rc::clone(&self.worker)));
            }
        }
    }

    /// The TLS handshake, a task of its own: its memory is given back before the connection waits for requests.
    async fn secure<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        acceptor: TlsAcceptor,
        io: IO,
        arrival: Arrival,
    ) {
        let io = match timeout(self.worker.handshake_timeout, acceptor.accept(io)).await {
            Ok(Ok(io)) => io,
            Ok(Err(error)) => return tracing::debug!(peer = ?arrival.remote, %error, "TLS handshake failed"),
            Err(_) => return tracing::debug!(peer = ?arrival.remote, "TLS handshake took too long"),
        };
        let tls = tls_info(&io);
        if tls.alpn.as_deref() == Some(b"h2") {
            let connection = self.connection(arrival, Some(tls), Protocol::H2);
            spawn_local(http2::serve(io, Vec::new(), connection, self.worker));
        } else {
            let connection = self.connection(arrival, Some(tls), Protocol::H1);
            spawn_local(http1::serve(io, Vec::new(), connection, self.worker));
        }
    }

    /// Tells HTTP/2 by prior knowledge from HTTP/1 by its first bytes.
    async fn tell_apart<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, mut io: IO, arrival: Arrival) {
        let mut received = Vec::with_capacity(PREFACE.len());
        let told = timeout(self.worker.handshake_timeout, read_preface(&mut io, &mut received)).await;
        match told {
            Ok(Ok(true)) => {
                let connection = self.connection(arrival, None, Protocol::H2);
                spawn_local(http2::serve(io, received, connection, self.worker));
            }
            Ok(Ok(false)) => {
                let connection = self.connection(arrival, None, Protocol::H1);
                spawn_local(http1::serve(io, received, connection, self.worker));
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }

    fn connection(&self, arrival: Arrival, tls: Option<TlsInfo>, protocol: Protocol) -> Rc<Connection> {
        Rc::new(Connection {
            remote: arrival.remote,
            proxied: arrival.proxied,
            local: arrival.local,
            listener: Arc::clone(&self.spec.name),
            tls,
            protocol,
            shutdown: self.worker.signals.drain.clone(),
            kept: OnceCell::new(),
            upgrade: Upgrade::default(),
            _seat: Some(arrival.seat),
        })
    }
}

/// Reads as far as it may be the preface; true when it was all of it.
async fn read_preface(io: &mut (impl AsyncRead + Unpin), received: &mut Vec<u8>) -> io::Result<bool> {
    while received.len() < PREFACE.len() {
        let wanted = (PREFACE.len() - received.len()) as u64;
        if io.take(wanted).read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(received) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn tls_info<IO>(io: &TlsStream<IO>) -> TlsInfo {
    let (_, session) = io.get_ref();
    TlsInfo { sni: session.server_name().map(str::to_owned), alpn: session.alpn_protocol().map(<[u8]>::to_vec) }
}
