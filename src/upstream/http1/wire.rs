//! The bytes of one exchange: what is to be written, what was read.

use std::{
    cell::RefCell,
    future::Future as _,
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use super::{encode::Framing, idle::Connection, switched::Switched};
use crate::body::Body;

/// Room to read a head, or a short body, into. One for each worker: what was read is copied out in its own size, so an
/// exchange holds no more than came.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// A connection with an exchange under way.
#[derive(Debug)]
pub(super) struct Wire {
    connection: Box<Connection>,
    /// A piece of the request's body; goes after the connection's `outgoing`.
    data: Bytes,
    /// Goes after `data`.
    behind: &'static [u8],
    /// Read and not yet taken.
    pub(super) received: BytesMut,
    /// The request has a body.
    has_body: bool,
    /// A byte of the request was written.
    pub(super) wrote: bool,
    /// Something was written and may not have left.
    unflushed: bool,
    /// A byte of an answer came.
    pub(super) read: bool,
    /// Why nothing can be written any more.
    failed: Option<io::Error>,
    /// The last read filled all the room it had: the next is worth a large one.
    flowing: bool,
}

impl Wire {
    pub(super) fn new(mut connection: Box<Connection>) -> Self {
        connection.served = true;
        connection.outgoing.clear();
        Self {
            connection,
            data: Bytes::new(),
            behind: b"",
            received: BytesMut::new(),
            has_body: false,
            wrote: false,
            unflushed: false,
            read: false,
            failed: None,
            flowing: false,
        }
    }

    /// Where heads and chunk sizes are written.
    pub(super) fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.connection.outgoing
    }

    /// True while a piece of the body waits to be written; none can be put then.
    pub(super) fn has_data(&self) -> bool {
        !self.data.is_empty() || !self.behind.is_empty()
    }

    fn has_outgoing(&self) -> bool {
        !self.connection.outgoing.is_empty() || self.has_data()
    }

    /// True while there is anything for [`poll_send`](Self::poll_send) or [`poll_flush`](Self::poll_flush) to do.
    pub(super) fn is_sending(&self) -> bool {
        self.unflushed || self.has_outgoing()
    }

    /// A piece of the body, to go after what is outgoing.
    pub(super) fn put(&mut self, data: Bytes, behind: &'static [u8]) {
        self.has_body |= !data.is_empty();
        self.data = data;
        self.behind = behind;
    }

    /// The end of the body. Only chunks have one to write.
    pub(super) fn put_end(&mut self, framing: Framing) {
        match framing {
            Framing::Chunked if self.has_data() => self.behind = b"\r\n0\r\n\r\n",
            framing => framing.end(&mut self.connection.outgoing),
        }
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
        while self.has_outgoing() && self.failed.is_none() {
            match ready!(self.poll_write(cx)) {
                Ok(0) => self.failed = Some(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written(count),
                Err(error) => self.failed = Some(error),
            }
        }
        Poll::Ready(())
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let head = &self.connection.outgoing;
        let stream = Pin::new(&mut self.connection.stream);
        if self.data.is_empty() && self.behind.is_empty() {
            return stream.poll_write(cx, head);
        }
        stream.poll_write_vectored(cx, &[head, &self.data[..], self.behind].map(IoSlice::new))
    }

    /// So many bytes went out.
    fn written(&mut self, mut count: usize) {
        (self.wrote, self.unflushed) = (true, true);
        let head = count.min(self.connection.outgoing.len());
        self.connection.outgoing.advance(head);
        count -= head;
        let data = count.min(self.data.len());
        self.data.advance(data);
        count -= data;
        self.behind = self.behind.get(count..).unwrap_or_default();
    }

    /// Sees to it that what was written leaves, as far as it goes now; matters over TLS.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) {
        match Pin::new(&mut self.connection.stream).poll_flush(cx) {
            Poll::Pending => {}
            Poll::Ready(flushed) => {
                self.unflushed = false;
                self.failed = flushed.err();
            }
        }
    }

    /// Reads a head, or whatever comes with it; 0 is the end.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ROOM.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut self.connection.stream).poll_read(cx, &mut room))?;
            self.received.extend_from_slice(room.filled());
            self.flowing = room.remaining() == 0;
            self.read |= !room.filled().is_empty();
            Poll::Ready(Ok(room.filled().len()))
        })
    }

    /// Reads more of a body of which `left` bytes are to come, where that is known. A body that flows is read in pieces
    /// of up to `buffer_bytes`, without a copy; a trickle, which would waste such room, as a head is.
    pub(super) fn poll_receive_body(&mut self, cx: &mut Context<'_>, left: Option<u64>) -> Poll<io::Result<usize>> {
        let left = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
        let room = self.connection.buffer_bytes.min(left);
        if !self.flowing || room <= SCRATCH {
            return self.poll_receive(cx);
        }
        self.received.reserve(room);
        let read = {
            let mut room = (&mut self.received).limit(room);
            ready!(pin!(self.connection.stream.read_buf(&mut room)).poll(cx))?
        };
        self.flowing = read > SCRATCH;
        Poll::Ready(Ok(read))
    }

    /// The request's body, all of which was taken: empty if it had none, nothing if some of it may have gone out.
    pub(super) fn into_body(self) -> Option<Body> {
        (!self.has_body || !self.wrote).then(|| Body::full(self.data))
    }

    /// The connection, when nothing is left over on either side.
    pub(super) fn into_connection(mut self) -> Option<Box<Connection>> {
        let clean = self.received.is_empty() && !self.is_sending() && self.failed.is_none();
        (clean && self.connection.is_quiet()).then_some(self.connection)
    }

    /// The bare stream, and what was read of what follows.
    pub(super) fn into_switched(self) -> Switched {
        Switched::new(self.connection.stream, self.received.freeze())
    }
}
