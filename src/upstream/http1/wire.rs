//! The bytes of a connection: what is to be written, what was read.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};

use crate::{
    body::Body,
    http1::{Inflow, Outflow, Sending, Switched},
    upstream::stream::Stream,
    wait::Wait,
};

/// A connection, for as long as it lasts. It is made once and handed on by pointer, from exchange to rest to exchange.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: Stream,
    /// Most bytes to read ahead.
    pub(super) buffer_bytes: usize,
    /// It carried a request before.
    pub(super) served: bool,
    /// The timer of whoever waits for an answer, kept from request to request.
    pub(super) waiting: Wait,
    /// Its room to write heads in is kept from request to request.
    outflow: Outflow,
    /// Read and not yet taken.
    pub(super) inflow: Inflow,
    /// The request has a body.
    has_body: bool,
    /// A byte of the request was written.
    pub(super) wrote: bool,
    /// A byte of an answer came.
    pub(super) read: bool,
    /// Why nothing can be written any more.
    failed: Option<io::Error>,
}

impl Wire {
    pub(super) fn new(stream: Stream, buffer_bytes: usize) -> Self {
        Self {
            stream,
            buffer_bytes,
            served: false,
            waiting: Wait::default(),
            outflow: Outflow::default(),
            inflow: Inflow::default(),
            has_body: false,
            wrote: false,
            read: false,
            failed: None,
        }
    }

    /// A request begins.
    pub(super) fn begin(&mut self) {
        self.served = true;
        (self.has_body, self.wrote, self.read) = (false, false, false);
    }

    /// Where heads are written.
    pub(super) fn lines(&mut self) -> &mut BytesMut {
        &mut self.outflow.lines
    }

    /// True while a piece of the body waits to be written; none can be put then.
    pub(super) fn has_data(&self) -> bool {
        self.outflow.has_data()
    }

    /// True while there is anything for [`poll_send`](Self::poll_send) or [`poll_flush`](Self::poll_flush) to do.
    pub(super) fn is_sending(&self) -> bool {
        self.outflow.is_busy()
    }

    /// A piece of the body, to go after what is outgoing.
    pub(super) fn put(&mut self, data: Bytes, sending: Sending) {
        self.has_body |= !data.is_empty();
        self.outflow.put(data, sending);
    }

    /// The end of the body.
    pub(super) fn put_end(&mut self, sending: Sending) {
        self.outflow.put_end(sending);
    }

    /// True once a write has failed: nothing more is written, but an answer may be there to be read.
    pub(super) fn is_closed_for_writing(&self) -> bool {
        self.failed.is_some()
    }

    /// What to tell of a connection that ended where it must not.
    pub(super) fn why_closed(&mut self) -> io::Error {
        self.failed.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Writes all that waits; ready when it is written, or can never be.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.outflow.is_empty() && self.failed.is_none() {
            match ready!(self.outflow.poll_send_some(&mut self.stream, cx)) {
                Ok(_) => self.wrote = true,
                Err(error) => self.failed = Some(error),
            }
        }
        Poll::Ready(())
    }

    /// Sees to it that what was written leaves, as far as it goes now.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.outflow.poll_flush(&mut self.stream, cx) {
            self.failed = Some(error);
        }
    }

    /// Reads a head, or whatever comes with it; 0 is the end.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(self.inflow.poll_receive(&mut self.stream, cx))?;
        self.read |= count > 0;
        Poll::Ready(Ok(count))
    }

    /// Reads more of a body of which `left` bytes are to come, where that is known.
    pub(super) fn poll_receive_body(&mut self, cx: &mut Context<'_>, left: Option<u64>) -> Poll<io::Result<usize>> {
        self.inflow.poll_receive_body(&mut self.stream, cx, left, self.buffer_bytes)
    }

    /// The request's body, all of which was taken: empty if it had none, nothing if some of it may have gone out.
    pub(super) fn take_body(&mut self) -> Option<Body> {
        (!self.has_body || !self.wrote).then(|| Body::full(self.outflow.take_data()))
    }

    /// True when nothing is left over on either side, so that another request may follow. Whether the app has sent more
    /// since, or closed, is asked when one does.
    pub(super) fn is_clean(&self) -> bool {
        self.inflow.received.is_empty() && !self.is_sending() && self.failed.is_none()
    }

    /// It lies idle: what was read into is given back, the room for heads is kept.
    pub(super) fn rest(&mut self) {
        self.inflow = Inflow::default();
        self.outflow.clear();
    }

    /// The bare stream, and what was read of what follows.
    pub(super) fn into_switched(self) -> Switched<Stream> {
        Switched::new(self.stream, self.inflow.received.freeze())
    }
}
