//! The bytes of one client's connection, and how long each may take.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Settings,
    request::{Head, HeadReader},
};
use crate::{
    body::BodyError,
    http1::{BodyFraming, Decoder, Inflow, Outflow, Piece, Switched, Violation},
    wait::Wait,
};

/// How long a client that is not to be answered any more is listened to, so that closing does not destroy the last answer
/// on its way (a socket closed with unread bytes sends RST; RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it still sends is taken and dropped meanwhile.
const LINGER_BYTES: usize = 256 * 1024;
/// What a client that waits to be asked for its body is told (RFC 9110 §15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A connection's bytes, shared by the task that serves it and whoever reads the body of its request. They never wait for
/// each other: both mostly live in one task, and neither holds the lock beyond one call.
pub(super) struct Shared<IO>(Arc<Mutex<Wire<IO>>>);

impl<IO> Shared<IO> {
    /// `io`, of which `received` was read already.
    pub(super) fn new(io: IO, received: &[u8], settings: &Settings) -> Self {
        Self(Arc::new(Mutex::new(Wire {
            io,
            inflow: Inflow::after(received),
            decoder: Decoder::new(BodyFraming::Empty),
            exchange: 0,
            to_continue: b"",
            broken: None,
            fresh: true,
            timeouts: settings.timeouts,
            buffer_bytes: settings.buffer_bytes,
            reading: Wait::default(),
            writing: Wait::default(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Wire<IO>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while somebody holds the body of the request.
    pub(super) fn has_reader(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// For whoever reads the body.
    pub(super) fn source(&self) -> Arc<Mutex<Wire<IO>>> {
        Arc::clone(&self.0)
    }

    /// The bare stream, with what was received and not taken.
    pub(super) fn into_switched(self) -> Option<Switched<IO>> {
        let wire = Arc::into_inner(self.0)?.into_inner().unwrap_or_else(PoisonError::into_inner);
        Some(Switched::new(wire.io, wire.inflow.received.freeze()))
    }
}

/// How long each phase of a connection may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// From the first byte of a head (for the first one: from the start of the connection) to its last.
    pub(super) head: Duration,
    /// Between an answer and the first byte of the next head.
    pub(super) idle: Duration,
    /// Without a byte of a body that is wanted.
    pub(super) body: Duration,
    /// Without the client taking a byte of an answer.
    pub(super) write: Duration,
}

/// What comes next on a connection.
#[derive(Debug)]
pub(super) enum Next {
    /// A request.
    Request(Head),
    /// Something that is refused.
    Refused(Violation),
    /// Nothing.
    End,
}

/// A connection's bytes.
#[derive(Debug)]
pub(super) struct Wire<IO> {
    io: IO,
    inflow: Inflow,
    /// Takes the body of the current request out of what was received.
    decoder: Decoder,
    /// Which request that is: whoever still holds the body of an earlier one gets nothing more.
    exchange: u64,
    /// What is left to be said before the body is read.
    to_continue: &'static [u8],
    /// What is wrong with the body.
    broken: Option<Violation>,
    /// No request came yet.
    fresh: bool,
    timeouts: Timeouts,
    buffer_bytes: usize,
    reading: Wait,
    writing: Wait,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<IO> {
    /// Waits for the next head, unless the connection `ends` before it begins.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>, reader: &mut HeadReader, ends: bool) -> Poll<Next> {
        loop {
            if !self.inflow.received.is_empty() {
                match reader.read(&mut self.inflow.received) {
                    Ok(Some(head)) => return Poll::Ready(Next::Request(self.begin(head))),
                    Ok(None) => {}
                    Err(violation) => return Poll::Ready(Next::Refused(violation)),
                }
            }
            let begun = !self.inflow.received.is_empty();
            match self.inflow.poll_receive(&mut self.io, cx) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    if !begun && !self.fresh {
                        self.reading.progress();
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Next::End),
                Poll::Pending if ends && !begun => return Poll::Ready(Next::End),
                Poll::Pending => {
                    let limit = if begun || self.fresh { self.timeouts.head } else { self.timeouts.idle };
                    return match self.reading.is_over(cx, limit) {
                        false => Poll::Pending,
                        true if begun => Poll::Ready(Next::Refused(Violation::HeadTooSlow)),
                        true => Poll::Ready(Next::End),
                    };
                }
            }
        }
    }

    /// A request begins.
    fn begin(&mut self, head: Head) -> Head {
        self.reading.progress();
        self.fresh = false;
        self.decoder = Decoder::new(head.framing);
        self.exchange += 1;
        self.to_continue = if head.expects_continue { CONTINUE } else { b"" };
        head
    }

    /// Which request is current.
    pub(super) fn exchange(&self) -> u64 {
        self.exchange
    }

    /// True when the body of the request was read to its end.
    pub(super) fn has_whole_request(&self) -> bool {
        self.decoder.has_ended()
    }

    /// What is wrong with the request's body, if it was read so far.
    pub(super) fn broken(&self) -> Option<Violation> {
        self.broken
    }

    /// Passes over what there is of a body that nobody wants.
    pub(super) fn pass_over(&mut self) {
        while !self.decoder.has_ended() {
            match self.decoder.next(&mut self.inflow.received) {
                Ok(Piece::Data(_) | Piece::Trailers(_)) => {}
                Ok(Piece::End | Piece::Wait) => return,
                Err(violation) => {
                    self.broken = Some(violation);
                    return;
                }
            }
        }
    }

    /// The next piece of the request's body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(violation) = self.broken {
                return Poll::Ready(Some(Err(BodyError::Cut(violation.into()))));
            }
            match self.decoder.next(&mut self.inflow.received) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Piece::End) => return Poll::Ready(None),
                Ok(Piece::Wait) => {}
                Err(violation) => {
                    tracing::debug!(reason = %violation, "request body refused");
                    self.broken = Some(violation);
                    continue;
                }
            }
            match ready!(self.poll_more_body(cx)) {
                Ok(()) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Reads more of the body.
    fn poll_more_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        ready!(self.poll_continue(cx)).map_err(|error| BodyError::Cut(error.into()))?;
        let left = self.decoder.left();
        match self.inflow.poll_receive_body(&mut self.io, cx, left, self.buffer_bytes) {
            Poll::Pending if self.reading.is_over(cx, self.timeouts.body) => {
                self.broken = Some(Violation::BodyTooSlow);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => {
                Poll::Ready(Err(BodyError::Cut(io::Error::from(io::ErrorKind::UnexpectedEof).into())))
            }
            Poll::Ready(Ok(_)) => {
                self.reading.progress();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(BodyError::Cut(error.into()))),
        }
    }

    /// Asks for the body, where the client waits for that.
    fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.to_continue.is_empty() {
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, self.to_continue))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.to_continue = self.to_continue.get(count..).unwrap_or_default();
            if self.to_continue.is_empty() {
                return Pin::new(&mut self.io).poll_flush(cx);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The answer begins: who was not asked for the body yet never is, for that would stand within the answer.
    pub(super) fn begin_answer(&mut self) {
        if self.to_continue.len() == CONTINUE.len() {
            self.to_continue = b"";
        }
    }

    /// Ready when the client has gone. Nothing is told while a body, or a next request, stands before the end.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.decoder.has_ended() || !self.inflow.received.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.inflow.poll_receive(&mut self.io, cx)) {
            Ok(count) if count > 0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Writes all that waits. A reader that stops reading holds memory, so it has its time.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, outflow: &mut Outflow) -> Poll<io::Result<()>> {
        // Half of an interim answer must not be followed by another.
        ready!(self.poll_continue(cx))?;
        while !outflow.is_empty() {
            match outflow.poll_send_some(&mut self.io, cx) {
                Poll::Ready(sent) => {
                    sent?;
                    self.writing.progress();
                }
                Poll::Pending if self.writing.is_over(cx, self.timeouts.write) => {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sees to it that what was written leaves.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, outflow: &mut Outflow) -> Poll<io::Result<()>> {
        match outflow.poll_flush(&mut self.io, cx) {
            Poll::Pending if self.writing.is_over(cx, self.timeouts.write) => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(flushed) => {
                self.writing.progress();
                Poll::Ready(flushed)
            }
        }
    }

    /// Ends our side.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.io).poll_shutdown(cx) {
            Poll::Pending if !self.writing.is_over(cx, self.timeouts.write) => Poll::Pending,
            _ => {
                self.reading.progress();
                Poll::Ready(())
            }
        }
    }

    /// Drops what the client still sends, for a moment, counting it in `dropped`.
    pub(super) fn poll_linger(&mut self, cx: &mut Context<'_>, dropped: &mut usize) -> Poll<()> {
        self.inflow.received = BytesMut::new();
        while *dropped < LINGER_BYTES && !self.reading.is_over(cx, LINGER) {
            match ready!(self.inflow.poll_receive(&mut self.io, cx)) {
                Ok(count) if count > 0 => *dropped += count,
                _ => break,
            }
            self.inflow.received.clear();
        }
        Poll::Ready(())
    }
}

/// What the body of a request is read from, whatever the connection runs over.
pub(super) trait Source: Send {
    /// The next piece of the body of request number `exchange`.
    fn poll_body(&mut self, exchange: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;

    /// How much of it is to come, where that is known; 0 once it has ended.
    fn left(&self, exchange: u64) -> Option<u64>;
}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Source for Wire<IO> {
    fn poll_body(&mut self, exchange: u64, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if exchange == self.exchange { Wire::poll_body(self, cx) } else { Poll::Ready(None) }
    }

    fn left(&self, exchange: u64) -> Option<u64> {
        if exchange == self.exchange { self.decoder.left() } else { Some(0) }
    }
}
