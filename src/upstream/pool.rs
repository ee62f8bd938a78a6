//! The connections of one worker.
//!
//! A worker is one thread, so nothing here is shared with another: no lock is ever waited for. Idle HTTP/1 connections
//! lie on a shelf per target, the last one used on top (it is the warmest, and those below go stale and are closed).
//! HTTP/2 needs a single connection per target, made once however many requests ask for it.

use std::{
    cell::{Cell, RefCell},
    marker::PhantomData,
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use hyper::client::conn::http2::SendRequest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Upstream,
    connect::{Purpose, connect},
    error::UpstreamError,
    http1::Connection,
    multiplexed,
    stream::Stream,
    target::Target,
};
use crate::{body::Body, config::upstream::Protocol};

/// The connections of one worker to all upstreams. Stays on its thread; needs a `LocalSet` or local runtime around it.
#[derive(Debug, Default)]
pub struct Pool {
    // Few upstreams: a scan beats hashing.
    upstreams: RefCell<Vec<Known>>,
    sweeping: Cell<bool>,
    turn: Cell<usize>,
    _stays_on_its_thread: PhantomData<Rc<()>>,
}

/// The connections to one upstream.
#[derive(Debug)]
struct Known {
    // `Weak` keeps the address, by which it is found, from being used again.
    upstream: Weak<Upstream>,
    lanes: Rc<[Lane]>,
}

/// The connections to one target.
#[derive(Debug)]
pub(super) struct Lane {
    shelf: Arc<Shelf>,
    slots: Option<Arc<Semaphore>>,
    multiplexed: RefCell<Option<Shared>>,
    /// Held by the one who makes the HTTP/2 connection while the others wait for it.
    dialling: tokio::sync::Mutex<()>,
    /// ALPN chose HTTP/1.1 for this https target: no need to wait for one another.
    declined_h2: Cell<bool>,
}

/// Idle HTTP/1 connections. Shared only between the lane and the response bodies whose connections come back here; the
/// mutex makes those bodies `Send` as the body type asks, and is never contended.
#[derive(Debug)]
pub(super) struct Shelf {
    idle: Mutex<Vec<Connection>>,
    max_idle: usize,
    keep_alive: Duration,
}

/// A way to send one request.
#[derive(Debug)]
pub(super) enum Way {
    /// A connection of its own.
    Single(Connection),
    /// A stream of the shared connection.
    Multiplexed(Shared),
}

/// The one HTTP/2 connection to a target.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) sender: SendRequest<Body>,
    /// Tells it from the one before.
    generation: u64,
    retired: bool,
}

/// What kind of way a request needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    pub(super) purpose: Purpose,
    /// Make a new connection, for the kept one failed.
    pub(super) fresh: bool,
}

const SWEEP_EVERY: Duration = Duration::from_secs(5);

impl Pool {
    /// An empty pool for this worker.
    pub fn new() -> Rc<Self> {
        Rc::new(Self::default())
    }

    /// Counts requests, for taking turns.
    pub(super) fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    /// The lanes of `upstream`, one per target.
    pub(super) fn lanes(self: &Rc<Self>, upstream: &Arc<Upstream>) -> Rc<[Lane]> {
        let wanted = Arc::as_ptr(upstream);
        if let Some(known) = self.upstreams.borrow().iter().find(|known| known.upstream.as_ptr() == wanted) {
            return Rc::clone(&known.lanes);
        }
        let lanes: Rc<[Lane]> = upstream.targets.iter().map(|_| Lane::new(upstream)).collect();
        let mut upstreams = self.upstreams.borrow_mut();
        // A reload replaced these; their idle connections close with them.
        upstreams.retain(|known| known.upstream.strong_count() > 0);
        upstreams.push(Known { upstream: Arc::downgrade(upstream), lanes: Rc::clone(&lanes) });
        self.keep_sweeping();
        lanes
    }

    /// Idle HTTP/1 connections held now, all upstreams together.
    pub fn idle(&self) -> usize {
        self.upstreams.borrow().iter().flat_map(|known| known.lanes.iter()).map(|lane| lane.shelf.lock().len()).sum()
    }

    /// Closes what has lain idle too long, now and then, for as long as the pool lives.
    fn keep_sweeping(self: &Rc<Self>) {
        if self.sweeping.replace(true) {
            return;
        }
        let pool = Rc::downgrade(self);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.sweep();
            }
        });
    }

    fn sweep(&self) {
        let mut upstreams = self.upstreams.borrow_mut();
        upstreams.retain(|known| known.upstream.strong_count() > 0);
        upstreams.iter().flat_map(|known| known.lanes.iter()).for_each(|lane| lane.shelf.sweep());
    }
}

impl Lane {
    fn new(upstream: &Upstream) -> Self {
        let config = &upstream.config;
        Self {
            shelf: Arc::new(Shelf {
                idle: Mutex::new(Vec::new()),
                max_idle: config.max_idle,
                keep_alive: config.keep_alive,
            }),
            slots: (config.max_connections > 0)
                .then(|| Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)))),
            multiplexed: RefCell::new(None),
            dialling: tokio::sync::Mutex::new(()),
            declined_h2: Cell::new(false),
        }
    }

    pub(super) fn shelf(&self) -> &Arc<Shelf> {
        &self.shelf
    }

    /// Waits until another request may be under way; `None` when there is no limit.
    pub(super) async fn slot(&self, timeout: Duration) -> Result<Option<OwnedSemaphorePermit>, UpstreamError> {
        let Some(slots) = &self.slots else { return Ok(None) };
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Ok(Some(slot));
        }
        match tokio::time::timeout(timeout, Arc::clone(slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(Some(slot)),
            Ok(Err(_)) | Err(_) => Err(UpstreamError::Busy),
        }
    }

    /// A way to `target`: the shared HTTP/2 connection, the warmest idle connection, or a new one.
    pub(super) async fn way(&self, upstream: &Upstream, target: &Target, need: Need) -> Result<Way, UpstreamError> {
        if need.purpose == Purpose::Upgrade {
            if target.protocol() == Protocol::H2c {
                return Err(UpstreamError::Unsendable("a WebSocket needs a target that speaks HTTP/1.1"));
            }
            // ALPN may have chosen HTTP/2 for what is pooled; an upgrade has a connection of its own anyway.
            return self.dial_single(upstream, target, Purpose::Upgrade).await;
        }
        let may_be_h2 = match target.protocol() {
            Protocol::Http1 => false,
            Protocol::H2c => true,
            Protocol::Tls => upstream.config.http2 && !self.declined_h2.get(),
        };
        if may_be_h2 { self.shared(upstream, target, need).await } else { self.single(upstream, target, need).await }
    }

    async fn single(&self, upstream: &Upstream, target: &Target, need: Need) -> Result<Way, UpstreamError> {
        if !need.fresh
            && let Some(connection) = self.shelf.take()
        {
            return Ok(Way::Single(connection));
        }
        self.dial_single(upstream, target, Purpose::Requests).await
    }

    async fn dial_single(&self, upstream: &Upstream, target: &Target, purpose: Purpose) -> Result<Way, UpstreamError> {
        let stream = dial(upstream, target, purpose).await?;
        Ok(single_over(stream, upstream))
    }

    async fn shared(&self, upstream: &Upstream, target: &Target, need: Need) -> Result<Way, UpstreamError> {
        if let Some(shared) = self.live() {
            return Ok(Way::Multiplexed(shared));
        }
        let _dialling = self.dialling.lock().await;
        if let Some(shared) = self.live() {
            return Ok(Way::Multiplexed(shared));
        }
        if self.declined_h2.get() {
            return self.single(upstream, target, need).await;
        }
        let stream = dial(upstream, target, Purpose::Requests).await?;
        if target.protocol() == Protocol::Tls && !stream.chose_h2() {
            self.declined_h2.set(true);
            return Ok(single_over(stream, upstream));
        }
        let timeout = upstream.config.connect_timeout;
        let sender = tokio::time::timeout(timeout, Box::pin(multiplexed::open(stream)))
            .await
            .map_err(|_| UpstreamError::ConnectTimeout(timeout))?
            .map_err(|error| UpstreamError::Reset(error.into()))?;
        let generation = self.multiplexed.borrow().as_ref().map_or(0, |before| before.generation.wrapping_add(1));
        let shared = Shared { sender, generation, retired: false };
        *self.multiplexed.borrow_mut() = Some(shared.clone());
        Ok(Way::Multiplexed(shared))
    }

    /// Takes a shared connection out of use that accepts no more requests (GOAWAY), though it may still be answering.
    pub(super) fn retire(&self, refused: &Shared) {
        if let Some(current) = self.multiplexed.borrow_mut().as_mut()
            && current.generation == refused.generation
        {
            current.retired = true;
        }
    }

    fn live(&self) -> Option<Shared> {
        let current = self.multiplexed.borrow();
        current.as_ref().filter(|shared| !shared.retired && !shared.sender.is_closed()).cloned()
    }
}

/// Boxed: most requests find a connection, and need not carry what making one takes.
async fn dial(upstream: &Upstream, target: &Target, purpose: Purpose) -> Result<Stream, UpstreamError> {
    Box::pin(connect(target, upstream.tls.as_ref(), purpose, upstream.config.connect_timeout)).await
}

fn single_over(stream: Stream, upstream: &Upstream) -> Way {
    Way::Single(Connection::new(stream, upstream.config.buffer_bytes))
}

impl Shelf {
    /// The warmest connection that can carry a request; the dead and the stale above it are closed.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.lock();
        while let Some(mut connection) = idle.pop() {
            if connection.is_quiet() && !connection.is_stale(self.keep_alive) {
                return Some(connection);
            }
        }
        None
    }

    /// Takes back a connection on which both messages ended cleanly (threats 3.4). What the app does meanwhile is looked at
    /// when it is taken out.
    pub(super) fn put(&self, connection: Connection) {
        let mut idle = self.lock();
        if idle.len() < self.max_idle {
            idle.push(connection);
        }
    }

    fn sweep(&self) {
        self.lock().retain_mut(|connection| connection.is_quiet() && !connection.is_stale(self.keep_alive));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
