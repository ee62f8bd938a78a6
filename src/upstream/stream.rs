//! The bytes to and from a target: TCP, a Unix socket, either with TLS on top.
//!
//! The stream counts what it reads while the head of a response is awaited. That tells two things hyper cannot: whether
//! a single byte of an answer came (a retry is safe only if none did), and when interim responses never end.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::client::TlsStream;

use super::error::HeadTooLong;

/// A plain socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection to a target, whatever it runs over.
#[derive(Debug)]
pub(super) struct Stream {
    transport: Transport,
    head: Arc<HeadWatch>,
}

#[derive(Debug)]
enum Transport {
    Plain(Socket),
    // Boxed: TLS state is ten times the size of a socket.
    Tls(Box<TlsStream<Socket>>),
}

/// Counts the bytes of a response head, interim (1xx) responses included.
#[derive(Debug)]
pub(super) struct HeadWatch(AtomicUsize);

/// All that may come before a response's head is complete. A head itself is bounded by `buffer_bytes`; this bounds the
/// number of interim responses before it (threats 3.6).
const HEAD_BUDGET: usize = 256 * 1024;
const OFF: usize = usize::MAX;

// Relaxed throughout: stream and watcher live on one thread, the atomic is only there to be `Sync`.
impl HeadWatch {
    /// From now on a head is awaited.
    pub(super) fn arm(&self) {
        self.0.store(HEAD_BUDGET, Ordering::Relaxed);
    }

    /// The head came; what follows is not counted.
    pub(super) fn disarm(&self) {
        self.0.store(OFF, Ordering::Relaxed);
    }

    /// True when not one byte came since [`arm`](Self::arm).
    pub(super) fn is_untouched(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HEAD_BUDGET
    }

    fn count(&self, read: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == OFF {
            return Ok(());
        }
        match left.checked_sub(read) {
            Some(left) => {
                self.0.store(left, Ordering::Relaxed);
                Ok(())
            }
            None => Err(io::Error::other(HeadTooLong)),
        }
    }
}

impl Stream {
    pub(super) fn plain(socket: Socket) -> Self {
        Self::new(Transport::Plain(socket))
    }

    pub(super) fn tls(stream: TlsStream<Socket>) -> Self {
        Self::new(Transport::Tls(Box::new(stream)))
    }

    fn new(transport: Transport) -> Self {
        Self { transport, head: Arc::new(HeadWatch(AtomicUsize::new(OFF))) }
    }

    /// The watch over response heads read from this stream.
    pub(super) fn head_watch(&self) -> Arc<HeadWatch> {
        Arc::clone(&self.head)
    }

    /// True when ALPN chose HTTP/2.
    pub(super) fn chose_h2(&self) -> bool {
        match &self.transport {
            Transport::Plain(_) => false,
            Transport::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

/// Calls the same method on whatever the stream runs over.
macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match &mut $stream.get_mut().transport {
            Transport::Plain(Socket::Tcp($inner)) => $call,
            Transport::Plain(Socket::Unix($inner)) => $call,
            Transport::Tls($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(each!(self.as_mut(), inner => Pin::new(inner).poll_read(cx, buf)))?;
        Poll::Ready(self.head.count(buf.filled().len().saturating_sub(before)))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => Pin::new(inner).poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(_) => true,
            Transport::Tls(inner) => inner.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => Pin::new(inner).poll_shutdown(cx))
    }
}

macro_rules! each_socket {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($inner) => $call,
            Socket::Unix($inner) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each_socket!(self, inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each_socket!(self, inner => Pin::new(inner).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each_socket!(self, inner => Pin::new(inner).poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_socket!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_socket!(self, inner => Pin::new(inner).poll_shutdown(cx))
    }
}
