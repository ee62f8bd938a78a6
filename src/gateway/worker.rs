//! One thread's handler: the steps, and what is counted and written down about each request.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http_body::Body as _;
use tokio_util::sync::CancellationToken;

use super::{Gate, Seen, Turned, control::Control, forward::Forwarder, rescue};
use crate::{
    message::{Request, Response},
    secret,
    server::{Connection, Handler},
    session::near::Near,
    telemetry::{
        access_log::{Record, WorkerAccessLog},
        metrics::WorkerMetrics,
    },
    upstream::Pool,
};

/// The current generation of configuration, replaced whole on reload.
#[derive(Debug, Clone)]
pub struct Gates(Arc<ArcSwap<Gate>>);

impl Gates {
    /// Starts with this one.
    pub fn new(gate: Gate) -> Self {
        gate.make_ready();
        Self(Arc::new(ArcSwap::from_pointee(gate)))
    }

    /// Replaces the current one; requests under way end with the one they began with.
    pub fn replace(&self, gate: Gate) {
        gate.make_ready();
        self.0.store(Arc::new(gate));
    }

    /// The current one.
    pub fn current(&self) -> Arc<Gate> {
        self.0.load_full()
    }

    fn is_current(&self, gate: &Arc<Gate>) -> bool {
        std::ptr::eq(&**self.0.load(), &**gate)
    }
}

/// The current generation as one worker knows it: its requests count themselves there, not where all workers do.
#[expect(clippy::redundant_allocation, reason = "the outer count is this worker's own")]
struct Current {
    gates: Gates,
    known: RefCell<Rc<Arc<Gate>>>,
}

impl Current {
    fn new(gates: Gates) -> Self {
        let known = RefCell::new(Rc::new(gates.current()));
        Self { gates, known }
    }

    /// The current one; looks whether it was replaced, which costs one load.
    #[expect(clippy::redundant_allocation, reason = "the outer count is this worker's own")]
    fn gate(&self) -> Rc<Arc<Gate>> {
        let mut known = self.known.borrow_mut();
        if !self.gates.is_current(&known) {
            *known = Rc::new(self.gates.current());
        }
        Rc::clone(&known)
    }
}

/// One worker thread's handler.
pub struct Worker {
    current: Current,
    pub(super) control: Control,
    pub(super) forwarder: Forwarder,
    /// The sessions in use here.
    pub(super) near: Near,
    pub(super) metrics: WorkerMetrics,
    access_log: Option<WorkerAccessLog>,
    /// Fires never: for requests that no session ends.
    pub(super) never: CancellationToken,
    /// Request references: random for the worker, counted from there.
    reference_prefix: String,
    reference: Cell<u64>,
}

impl Worker {
    /// The handler of one worker; made inside its runtime.
    pub fn new(
        gates: Gates,
        control: Control,
        metrics: WorkerMetrics,
        access_log: Option<WorkerAccessLog>,
    ) -> Rc<Self> {
        let prefix = secret::random::<5>().iter().map(|byte| format!("{byte:02x}")).collect();
        Rc::new(Self {
            current: Current::new(gates),
            control,
            forwarder: Forwarder::new(Pool::new()),
            near: Near::new(),
            metrics,
            access_log,
            never: super::never(),
            reference_prefix: prefix,
            reference: Cell::new(0),
        })
    }

    /// The reference of the request under way, for log and error page. Made only when somebody needs it.
    pub(super) fn reference(&self) -> String {
        let number = self.reference.get().wrapping_add(1);
        self.reference.set(number);
        format!("{}-{number:x}", self.reference_prefix)
    }

    async fn answer(self: Rc<Self>, mut request: Request, connection: Rc<Connection>) -> Response {
        let begun = Instant::now();
        let gate = self.current.gate();
        let mut seen = Seen::default();
        let received = request.body.size_hint().lower();
        let method = self.access_log.as_ref().map(|_| request.head.method.clone());
        let mut reference = None;
        let response = match gate.pass(&self, &mut request, &connection, &mut seen).await {
            Ok(response) => response,
            Err(turned) => {
                let made = self.reference();
                let response: Response = gate.rescue(&turned, &request.head, &mut seen, &made).into();
                self.count_turned(&turned);
                reference = Some(made);
                response
            }
        };
        let took = begun.elapsed();
        let sent = response.body.size_hint().lower();
        self.metrics.request(seen.route, response.status().as_u16(), took, received, sent);
        if let (Some(log), Some(method)) = (&self.access_log, method) {
            let reference = reference.unwrap_or_else(|| self.reference());
            self.write_down(log, &gate, &seen, method.as_str(), &reference, response.status().as_u16(), sent, took);
        }
        response
    }

    fn count_turned(&self, turned: &Turned) {
        match turned {
            Turned::Forward(error) => self.metrics.upstream_failed(error.reason()),
            turned => self.metrics.denied(rescue::reason(turned)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a log line is made of what the request left behind")]
    fn write_down(
        &self,
        log: &WorkerAccessLog,
        gate: &Gate,
        seen: &Seen,
        method: &str,
        reference: &str,
        status: u16,
        bytes: u64,
        took: Duration,
    ) {
        let route = seen.route.map(|index| format!("{}", index + 1));
        let session = seen.live.as_ref().map(|live| live.session());
        let target = seen.target.as_ref();
        log.write(&Record {
            at: gate.clock.now(),
            request: reference,
            peer: seen.peer.as_ref().and_then(|peer| peer.address),
            method,
            host: target.and_then(|target| target.host()).map(|host| host.name()).unwrap_or_default(),
            target: target.map(|target| target.path_and_query().as_str()).unwrap_or_default(),
            status,
            bytes,
            took,
            upstream: seen.route.and_then(|index| gate.leading.get(index)).map(|leading| leading.upstream.name()),
            account: session.map(|session| session.account),
            provider: session.map(|session| session.origin.provider.as_str()),
            route: route.as_deref(),
            denial: seen.denial,
        });
    }
}

impl Handler for Worker {
    fn call(self: Rc<Self>, request: Request, connection: Rc<Connection>) -> impl Future<Output = Response> + 'static {
        self.answer(request, connection)
    }
}
