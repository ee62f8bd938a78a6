//! The body of a response, and what hangs on it: the connection it comes over.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::{Upstream, http1::Exchange, pool::Shelf, stall::Stall, stream::Stream};
use crate::{
    body::{Body, BodyError},
    http1::Switched,
};

/// The body of a response as it comes from the app.
///
/// Read to its clean end, it gives its connection back to the pool. Failed, stalled or dropped before, it closes the
/// connection at once, so that the app stops working for a client that has gone. A failure is an error to whoever reads
/// it: a body that was cut never looks whole.
#[derive(Debug)]
pub struct ResponseBody {
    source: Source,
    lease: Lease,
    stall: Stall,
    pass_trailers: bool,
}

/// Where it comes from.
#[derive(Debug)]
enum Source {
    /// A connection of its own.
    Single(Exchange),
    /// A stream of a shared connection.
    Multiplexed(Incoming),
    /// It has ended, and the connection is back or closed.
    Ended,
}

/// What a request under way holds.
#[derive(Debug)]
pub(super) struct Lease {
    shelf: Option<Arc<Shelf>>,
    _slot: Option<OwnedSemaphorePermit>,
    _counted: Option<Counted>,
}

/// Counts a request as under way at its target.
#[derive(Debug)]
pub(super) struct Counted {
    upstream: Arc<Upstream>,
    target: usize,
}

impl Counted {
    pub(super) fn new(upstream: &Arc<Upstream>, target: usize) -> Self {
        if let Some(target) = upstream.targets.get(target) {
            target.count_in();
        }
        Self { upstream: Arc::clone(upstream), target }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(target) = self.upstream.targets.get(self.target) {
            target.count_out();
        }
    }
}

impl Lease {
    pub(super) fn new(slot: Option<OwnedSemaphorePermit>, counted: Option<Counted>) -> Self {
        Self { shelf: None, _slot: slot, _counted: counted }
    }

    /// The connection comes back to `shelf` after a clean end.
    pub(super) fn returning_to(self, shelf: Arc<Shelf>) -> Self {
        Self { shelf: Some(shelf), ..self }
    }

    /// Nothing is under way any more.
    fn end(&mut self) {
        *self = Self::new(None, None);
    }
}

impl ResponseBody {
    pub(super) fn single(exchange: Exchange, lease: Lease, idle_timeout: Duration) -> Self {
        Self::new(Source::Single(exchange), lease, idle_timeout)
    }

    pub(super) fn multiplexed(incoming: Incoming, lease: Lease, idle_timeout: Duration) -> Self {
        Self::new(Source::Multiplexed(incoming), lease, idle_timeout)
    }

    fn new(source: Source, lease: Lease, idle_timeout: Duration) -> Self {
        let mut body = Self { source, lease, stall: Stall::new(idle_timeout), pass_trailers: false };
        if body.is_end_stream() {
            body.finish();
        }
        body
    }

    /// The body of a 101: empty, but what it holds is held for as long as the tunnel lasts.
    pub(super) fn switched(exchange: Exchange, lease: Lease) -> Self {
        Self { source: Source::Single(exchange), lease, stall: Stall::new(Duration::ZERO), pass_trailers: false }
    }

    /// The stream behind a 101. Until the second value is dropped, the tunnel counts as a request under way.
    pub(crate) fn into_switched(self) -> Option<(Switched<Stream>, impl Drop + use<>)> {
        match self.source {
            Source::Single(exchange) => Some((exchange.into_switched(), UnderWay(self.lease))),
            Source::Multiplexed(_) | Source::Ended => None,
        }
    }

    /// The answer has ended: its connection goes back if both messages ended cleanly, else it is closed.
    fn finish(&mut self) {
        if let Source::Single(exchange) = std::mem::replace(&mut self.source, Source::Ended)
            && let Some(shelf) = self.lease.shelf.take()
            && let Some(connection) = exchange.into_connection()
        {
            shelf.put(connection);
        }
        self.lease.end();
    }

    /// Nothing more may come of it: closes the connection.
    fn cut(&mut self) {
        self.source = Source::Ended;
        self.lease.end();
    }

    /// Lets trailers through; they are dropped otherwise (threats 3.3).
    pub(crate) fn pass_trailers(&mut self) {
        self.pass_trailers = true;
    }

    /// Lets the app be silent for as long as it likes, or shorter than its upstream's `idle_timeout`.
    pub(crate) fn set_idle_timeout(&mut self, idle_timeout: Duration) {
        self.stall = Stall::new(idle_timeout);
    }

    /// The whole body, when it is there already and short: most responses come in one piece with their head, and then
    /// need neither an allocation nor a task switch.
    pub(crate) fn ready(mut self) -> ReadyBody {
        if self.is_end_stream() {
            return ReadyBody::Whole(Body::Empty);
        }
        let short = self.size_hint().exact().is_some_and(|length| length <= SHORT);
        if !short || self.pass_trailers {
            return ReadyBody::Streamed(self);
        }
        // Nobody is woken when more comes: whoever streams the rest asks again.
        match Pin::new(&mut self).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending | Poll::Ready(None) => ReadyBody::Streamed(self),
            Poll::Ready(Some(Err(error))) => ReadyBody::Failed(error),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) if self.is_end_stream() => ReadyBody::Whole(Body::Full(bytes)),
                Ok(bytes) => ReadyBody::Begun(bytes, self),
                Err(_) => ReadyBody::Streamed(self),
            },
        }
    }
}

/// What there is of a body.
pub(crate) enum ReadyBody {
    /// All of it.
    Whole(Body),
    /// Nothing yet.
    Streamed(ResponseBody),
    /// These bytes, and the rest follows.
    Begun(Bytes, ResponseBody),
    /// It failed.
    Failed(BodyError),
}

/// A body up to this long is passed on in one piece when it is there.
const SHORT: u64 = 16 * 1024;

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let polled = match &mut this.source {
                Source::Single(exchange) => Pin::new(exchange).poll_frame(cx),
                Source::Multiplexed(incoming) => {
                    Pin::new(incoming).poll_frame(cx).map_err(|error| BodyError::Cut(error.into()))
                }
                Source::Ended => return Poll::Ready(None),
            };
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    this.stall.moved();
                    if this.is_end_stream() {
                        this.finish();
                    }
                    if frame.is_data() || this.pass_trailers {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.cut();
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    this.finish();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    return this.stall.poll(cx).map(|silence| {
                        this.cut();
                        Some(Err(BodyError::Stalled(silence)))
                    });
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Single(exchange) => exchange.is_end_stream(),
            Source::Multiplexed(incoming) => incoming.is_end_stream(),
            Source::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Single(exchange) => exchange.size_hint(),
            Source::Multiplexed(incoming) => incoming.size_hint(),
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}

/// A tunnel's lease; the drop is all there is to it.
struct UnderWay(#[expect(dead_code, reason = "held, never read")] Lease);

impl Drop for UnderWay {
    fn drop(&mut self) {}
}
