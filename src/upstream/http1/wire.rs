//! The bytes of one exchange: what is to be written, what was read.

use std::{
    io,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};

use super::idle::Connection;
use crate::{
    body::Body,
    http1::{Inflow, Outflow, Sending, Switched},
    upstream::stream::Stream,
    wait::Wait,
};

/// A connection with an exchange under way.
#[derive(Debug)]
pub(super) struct Wire {
    connection: Box<Connection>,
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
    pub(super) fn new(mut connection: Box<Connection>) -> Self {
        connection.served = true;
        let outflow = Outflow::with_room(std::mem::take(&mut connection.outgoing));
        Self {
            connection,
            outflow,
            inflow: Inflow::default(),
            has_body: false,
            wrote: false,
            read: false,
            failed: None,
        }
    }

    /// The timer of whoever waits for the answer.
    pub(super) fn waiting(&mut self) -> &mut Wait {
        &mut self.connection.waiting
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
            match ready!(self.outflow.poll_send_some(&mut self.connection.stream, cx)) {
                Ok(_) => self.wrote = true,
                Err(error) => self.failed = Some(error),
            }
        }
        Poll::Ready(())
    }

    /// Sees to it that what was written leaves, as far as it goes now.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.outflow.poll_flush(&mut self.connection.stream, cx) {
            self.failed = Some(error);
        }
    }

    /// Reads a head, or whatever comes with it; 0 is the end.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let count = ready!(self.inflow.poll_receive(&mut self.connection.stream, cx))?;
        self.read |= count > 0;
        Poll::Ready(Ok(count))
    }

    /// Reads more of a body of which `left` bytes are to come, where that is known.
    pub(super) fn poll_receive_body(&mut self, cx: &mut Context<'_>, left: Option<u64>) -> Poll<io::Result<usize>> {
        let most = self.connection.buffer_bytes;
        self.inflow.poll_receive_body(&mut self.connection.stream, cx, left, most)
    }

    /// The request's body, all of which was taken: empty if it had none, nothing if some of it may have gone out.
    pub(super) fn into_body(self) -> Option<Body> {
        (!self.has_body || !self.wrote).then(|| Body::full(self.outflow.into_data()))
    }

    /// The connection, when nothing is left over on either side.
    pub(super) fn into_connection(mut self) -> Option<Box<Connection>> {
        let clean = self.inflow.received.is_empty() && !self.is_sending() && self.failed.is_none();
        if !clean || !self.connection.is_quiet() {
            return None;
        }
        self.connection.outgoing = self.outflow.take_room();
        Some(self.connection)
    }

    /// The bare stream, and what was read of what follows.
    pub(super) fn into_switched(self) -> Switched<Stream> {
        Switched::new(self.connection.stream, self.inflow.received.freeze())
    }
}
