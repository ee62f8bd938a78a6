//! A client's connection after HTTP.

use std::{
    cell::Cell,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use crate::http1::Switched;

/// What a connection may become.
#[derive(Default)]
pub(super) struct Upgrade(Cell<Option<oneshot::Receiver<Upgraded>>>);

impl Upgrade {
    /// The request under way asks for it.
    pub(super) fn offer(&self) -> Upgrading {
        let (sender, receiver) = oneshot::channel();
        self.0.set(Some(receiver));
        Upgrading(sender)
    }

    /// For whoever wants it.
    pub(super) fn take(&self) -> Option<oneshot::Receiver<Upgraded>> {
        self.0.take()
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}

/// Hands a connection on once it speaks no HTTP any more.
#[derive(Debug)]
pub(super) struct Upgrading(oneshot::Sender<Upgraded>);

impl Upgrading {
    /// Hands it on. When nobody wants it, it is closed.
    pub(super) fn complete(self, upgraded: Upgraded) {
        self.0.send(upgraded).ok();
    }
}

/// A byte stream of any kind.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<IO: AsyncRead + AsyncWrite + Unpin + Send> Duplex for IO {}

/// A client's connection that speaks no HTTP any more.
pub struct Upgraded(Box<dyn Duplex>);

impl Upgraded {
    pub(super) fn new<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(switched: Switched<IO>) -> Self {
        Self(Box::new(switched))
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").finish_non_exhaustive()
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
