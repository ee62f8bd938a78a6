//! What came over a connection and was not taken yet.

use std::{
    cell::RefCell,
    future::Future as _,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::{BufMut as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// Room to read a head, or a short body, into. One for each worker: what was read is copied out in its own size, so a
/// connection holds no more than came, and an idle one nothing.
const SCRATCH: usize = 16 * 1024;

thread_local! {
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// Bytes received and not taken.
#[derive(Debug, Default)]
pub(crate) struct Inflow {
    /// The bytes.
    pub(crate) received: BytesMut,
    /// The last read filled all the room it had: the next is worth a large one.
    flowing: bool,
}

impl Inflow {
    /// Begins with what was read already.
    pub(crate) fn after(received: &[u8]) -> Self {
        Self { received: received.into(), flowing: false }
    }

    /// Reads a head, or whatever comes with it; 0 is the end.
    pub(crate) fn poll_receive<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        IO: AsyncRead + Unpin,
    {
        ROOM.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(io).poll_read(cx, &mut room))?;
            self.received.extend_from_slice(room.filled());
            self.flowing = room.remaining() == 0;
            Poll::Ready(Ok(room.filled().len()))
        })
    }

    /// Reads more of a body of which `left` bytes are to come, where that is known. A body that flows is read in pieces
    /// of up to `most` bytes, without a copy; a trickle, which would waste such room, as a head is.
    pub(crate) fn poll_receive_body<IO>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        left: Option<u64>,
        most: usize,
    ) -> Poll<io::Result<usize>>
    where
        IO: AsyncRead + Unpin,
    {
        let left = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
        let room = most.min(left);
        if !self.flowing || room <= SCRATCH {
            return self.poll_receive(io, cx);
        }
        self.received.reserve(room);
        let read = {
            let mut room = (&mut self.received).limit(room);
            ready!(pin!(io.read_buf(&mut room)).poll(cx))?
        };
        self.flowing = read > SCRATCH;
        Poll::Ready(Ok(read))
    }
}
