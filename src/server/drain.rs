//! Who is connected to a worker, and how they are told to finish.
//!
//! A connection's task looks at one `Cell` when it runs; only the end of the server wakes it. A shared signal that
//! every task polls would cost each request a lock.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::sync::Notify;

use super::admission::{AddressPlace, Place};
use crate::wait::Wait;

/// How the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because they did not finish in time.
    pub cut: usize,
}

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    draining: Cell<bool>,
    open: Cell<usize>,
    tasks: RefCell<Tasks>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Tasks {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Roster {
    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// Counts a connection until the seat is dropped.
    pub(crate) fn seat(self: &Rc<Self>, place: Place) -> Seat {
        self.open.set(self.open.get() + 1);
        Seat { roster: Rc::clone(self), _place: place, address: None }
    }

    /// Tells every connection to finish.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        for waker in self.tasks.borrow().wakers.iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// Waits until no connection is left.
    pub(crate) async fn emptied(&self) {
        while self.open.get() > 0 {
            self.emptied.notified().await;
        }
    }

    /// True once every connection was told to finish.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Wakes the task of `waker` when it is to finish, until the slot is dropped.
    pub(crate) fn register(self: &Rc<Self>, waker: &Waker) -> Slot {
        let mut tasks = self.tasks.borrow_mut();
        let index = tasks.free.pop().unwrap_or(tasks.wakers.len());
        match tasks.wakers.get_mut(index) {
            Some(slot) => *slot = Some(waker.clone()),
            None => tasks.wakers.push(Some(waker.clone())),
        }
        Slot { roster: Rc::clone(self), index }
    }
}

/// A connection's place in its worker and in the limits.
#[derive(Debug)]
pub(crate) struct Seat {
    roster: Rc<Roster>,
    _place: Place,
    address: Option<AddressPlace>,
}

impl Seat {
    /// Counts it for its address too.
    pub(crate) fn count_for(&mut self, address: Option<AddressPlace>) {
        self.address = address;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.roster.open.set(self.roster.open.get() - 1);
        if self.roster.open.get() == 0 {
            self.roster.emptied.notify_one();
        }
    }
}

/// Where a task's waker is kept.
#[derive(Debug)]
pub(crate) struct Slot {
    roster: Rc<Roster>,
    index: usize,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut tasks = self.roster.tasks.borrow_mut();
        if let Some(slot) = tasks.wakers.get_mut(self.index) {
            *slot = None;
            tasks.free.push(self.index);
        }
    }
}

/// An HTTP connection that can be asked to end after what it is doing.
pub(crate) trait Graceful: Future {
    /// Asks; keep polling until it has.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

/// Requests being answered on one HTTP/2 connection.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    running: Cell<usize>,
    begun: Cell<bool>,
}

impl Activity {
    /// A request began; it runs until the guard is dropped.
    pub(crate) fn begin(self: &Rc<Self>) -> impl Drop + use<> {
        self.begun.set(true);
        self.running.set(self.running.get() + 1);
        Running(Rc::clone(self))
    }

    fn is_quiet(&self) -> bool {
        !self.begun.replace(false) && self.running.get() == 0
    }
}

struct Running(Rc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
    }
}

/// When a connection that does nothing is asked to end.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) activity: Rc<Activity>,
    pub(crate) limit: Duration,
    pub(crate) wait: Wait,
}

pin_project! {
    /// Drives a connection to its end, whoever asks for it: the client, the server's end, or idleness.
    pub(crate) struct Serving<C> {
        #[pin]
        connection: C,
        roster: Rc<Roster>,
        slot: Option<Slot>,
        idle: Option<Idle>,
        asked: bool,
    }
}

impl<C: Graceful> Serving<C> {
    pub(crate) fn new(connection: C, roster: Rc<Roster>, idle: Option<Idle>) -> Self {
        Self { connection, roster, slot: None, idle, asked: false }
    }
}

impl<C: Graceful> Future for Serving<C> {
    type Output = C::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let mut this = self.project();
        if this.slot.is_none() {
            *this.slot = Some(this.roster.register(cx.waker()));
        }
        // First: a request that has already arrived is answered even when the server is ending.
        if let Poll::Ready(output) = this.connection.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if *this.asked {
            return Poll::Pending;
        }
        let is_idle = match this.idle {
            Some(idle) if idle.activity.is_quiet() => idle.wait.is_over(cx, idle.limit),
            Some(idle) => {
                idle.wait.progress();
                false
            }
            None => false,
        };
        if is_idle || this.roster.draining.get() {
            *this.asked = true;
            this.connection.as_mut().graceful_shutdown();
            return this.connection.poll(cx);
        }
        Poll::Pending
    }
}
