//! What is to go over a connection: a head or the line before a chunk, a piece of a body, what stands behind it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::Sending;

/// Bytes to be written, in this order; one system call takes all of them.
#[derive(Debug, Default)]
pub(crate) struct Outflow {
    /// Heads and lines before chunks.
    pub(crate) lines: BytesMut,
    /// A piece of a body; goes after `lines`.
    data: Bytes,
    /// Goes after `data`.
    behind: &'static [u8],
    /// Something was written and may not have left.
    unflushed: bool,
}

impl Outflow {
    /// Writes heads into `room`, which is emptied.
    pub(crate) fn with_room(mut room: BytesMut) -> Self {
        room.clear();
        Self { lines: room, ..Self::default() }
    }

    /// True while a piece of a body waits to be written; none can be put then.
    pub(crate) fn has_data(&self) -> bool {
        !self.data.is_empty() || !self.behind.is_empty()
    }

    /// True when there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.has_data()
    }

    /// True while there is anything for [`poll_send_some`](Self::poll_send_some) or [`poll_flush`](Self::poll_flush) to do.
    pub(crate) fn is_busy(&self) -> bool {
        self.unflushed || !self.is_empty()
    }

    /// A piece of a body, to go after the lines.
    pub(crate) fn put(&mut self, data: Bytes, sending: Sending) {
        self.behind = sending.around(&data, &mut self.lines);
        self.data = data;
    }

    /// The end of a body. Only chunks have one to write; it goes with the last piece if that still waits.
    pub(crate) fn put_end(&mut self, sending: Sending) {
        match sending {
            Sending::Chunked if self.has_data() => self.behind = b"\r\n0\r\n\r\n",
            sending => sending.end(&mut self.lines),
        }
    }

    /// The piece of a body that waits, whole or what is left of it.
    pub(crate) fn take_data(&mut self) -> Bytes {
        std::mem::take(&mut self.data)
    }

    /// Forgets all that waits, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
        (self.data, self.behind, self.unflushed) = (Bytes::new(), b"", false);
    }

    /// Gives the room for lines back.
    pub(crate) fn take_room(&mut self) -> BytesMut {
        std::mem::take(&mut self.lines)
    }

    /// Writes some of what waits; gives how much. Ready with 0 when nothing does.
    pub(crate) fn poll_send_some<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        IO: AsyncWrite + Unpin,
    {
        if self.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let io = Pin::new(io);
        let count = if self.has_data() {
            ready!(io.poll_write_vectored(cx, &[&self.lines, &self.data[..], self.behind].map(IoSlice::new)))?
        } else {
            ready!(io.poll_write(cx, &self.lines))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.sent(count);
        Poll::Ready(Ok(count))
    }

    /// So many bytes went out.
    fn sent(&mut self, mut count: usize) {
        self.unflushed = true;
        let lines = count.min(self.lines.len());
        self.lines.advance(lines);
        count -= lines;
        let data = count.min(self.data.len());
        self.data.advance(data);
        count -= data;
        self.behind = self.behind.get(count..).unwrap_or_default();
    }

    /// Sees to it that what was written leaves; matters over TLS.
    pub(crate) fn poll_flush<IO>(&mut self, io: &mut IO, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        IO: AsyncWrite + Unpin,
    {
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
