//! Bytes both ways, once a connection was switched to a WebSocket.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

use super::websocket::{CLOSE_TO_APP, CLOSE_TO_CLIENT, Frames};
use crate::{
    http1::Switched,
    server::Upgraded,
    upstream::{Stall, Stream},
};

/// Copies with 64 KB at a time: 16 KB messages cost half of what smaller pieces make of them.
const ROOM_BYTES: usize = 64 * 1024;
thread_local! {
    /// Room to read into, one for each worker: what came goes on from here at once, so a WebSocket holds memory of its own
    /// only while a side does not take what is for it.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; ROOM_BYTES].into());
}

/// Longest the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs until either side ends, nothing came for `idle` (zero: however long), or `cancel` fires.
pub(super) async fn run(
    downstream: oneshot::Receiver<Upgraded>,
    upstream: Switched<Stream>,
    idle: Duration,
    cancel: CancellationToken,
) {
    // A client that failed to switch is gone, and the app's side is closed by that.
    let Some(Ok(downstream)) = cancel.run_until_cancelled(downstream).await else { return };
    let mut tunnel = Tunnel::new(downstream, upstream, idle);
    match cancel.run_until_cancelled(std::future::poll_fn(|cx| tunnel.poll(cx))).await {
        Some(outcome) => tracing::debug!(clean = outcome.is_ok(), "websocket ended"),
        None => {
            // Neither side may hold up the end: what cannot be said in time is left unsaid.
            let _ = tokio::time::timeout(GOODBYE, tunnel.say_goodbye()).await;
            tracing::debug!("websocket cut with its session");
        }
    }
}

/// Two streams and what is on its way between them.
struct Tunnel<D, U> {
    downstream: D,
    upstream: U,
    up: OneWay,
    down: OneWay,
    stall: Stall,
}

/// One direction.
#[derive(Default)]
struct OneWay {
    /// Read and not taken yet.
    held: BytesMut,
    frames: Frames,
    unflushed: bool,
    moved: bool,
}

impl<D, U> Tunnel<D, U>
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    fn new(downstream: D, upstream: U, idle: Duration) -> Self {
        Self { downstream, upstream, up: OneWay::default(), down: OneWay::default(), stall: Stall::new(idle) }
    }

    /// Ready when either side ended: WebSockets know no half-open state, both ends close (RFC 6455, 7.1.1).
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = self.up.poll(cx, &mut self.downstream, &mut self.upstream)?;
        let down = self.down.poll(cx, &mut self.upstream, &mut self.downstream)?;
        if up.is_ready() || down.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if std::mem::take(&mut self.up.moved) | std::mem::take(&mut self.down.moved) {
            self.stall.moved();
        }
        self.stall.poll(cx).map(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Tells both sides that we are going away, where a frame of ours fits in; else the cut must speak for itself.
    async fn say_goodbye(&mut self) -> io::Result<()> {
        let Self { downstream, upstream, up, down, .. } = self;
        let to_client = async {
            if down.frames.between() {
                downstream.write_all(&CLOSE_TO_CLIENT).await?;
            }
            downstream.shutdown().await
        };
        let to_app = async {
            if up.frames.between() {
                upstream.write_all(&CLOSE_TO_APP).await?;
            }
            upstream.shutdown().await
        };
        let (client, app) = tokio::join!(to_client, to_app);
        client.and(app)
    }
}

impl OneWay {
    /// Moves what there is; ready when `from` has ended and everything it sent has arrived.
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_write_held(cx, to))?;
            match self.poll_pass(cx, from, to)? {
                Poll::Ready(0) => return Pin::new(to).poll_shutdown(cx),
                Poll::Ready(_) => self.moved = true,
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(to).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads once and writes as much of it as is taken at once; the rest is held. Gives how much was read.
    fn poll_pass<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<usize>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        ROOM.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(from).poll_read(cx, &mut room))?;
            let mut rest = room.filled();
            while !rest.is_empty()
                && let Poll::Ready(written) = self.poll_write(cx, rest, to)?
            {
                rest = rest.get(written..).unwrap_or_default();
            }
            self.held.extend_from_slice(rest);
            Poll::Ready(Ok(room.filled().len()))
        })
    }

    fn poll_write_held<W: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, to: &mut W) -> Poll<io::Result<()>> {
        let mut held = std::mem::take(&mut self.held);
        while !held.is_empty() {
            match self.poll_write(cx, &held, to)? {
                Poll::Ready(written) => held.advance(written),
                Poll::Pending => {
                    self.held = held;
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write<W>(&mut self, cx: &mut Context<'_>, bytes: &[u8], to: &mut W) -> Poll<io::Result<usize>>
    where
        W: AsyncWrite + Unpin,
    {
        let written = ready!(Pin::new(to).poll_write(cx, bytes))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.frames.passed(bytes.get(..written).unwrap_or_default());
        (self.unflushed, self.moved) = (true, true);
        Poll::Ready(Ok(written))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn through(
        idle: Duration,
    ) -> (tokio::io::DuplexStream, tokio::io::DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
        let (client, downstream) = tokio::io::duplex(1024);
        let (app, upstream) = tokio::io::duplex(1024);
        let mut tunnel = Tunnel::new(downstream, upstream, idle);
        let task = tokio::spawn(async move { std::future::poll_fn(|cx| tunnel.poll(cx)).await });
        (client, app, task)
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_whole() {
        let (client, app, task) = through(Duration::ZERO).await;
        let sent: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
        let (mut client_read, mut client_write) = tokio::io::split(client);
        let (mut app_read, mut app_write) = tokio::io::split(app);
        let (mut at_app, mut at_client) = (vec![0; sent.len()], vec![0; sent.len()]);
        tokio::try_join!(
            client_write.write_all(&sent),
            app_write.write_all(&sent),
            app_read.read_exact(&mut at_app),
            client_read.read_exact(&mut at_client),
        )
        .unwrap();
        assert!(at_app == sent && at_client == sent);
        drop((client_read, client_write));
        assert!(task.await.unwrap().is_ok(), "it ends when a side ends");
        assert_eq!(app_read.read(&mut [0; 1]).await.unwrap(), 0, "and the other side is told");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it_and_traffic_keeps_it() {
        let (mut client, mut app, task) = through(Duration::from_secs(60)).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(50)).await;
            client.write_all(b"x").await.unwrap();
            app.read_exact(&mut [0; 1]).await.unwrap();
        }
        assert!(!task.is_finished());
        tokio::time::sleep(Duration::from_secs(70)).await;
        assert_eq!(task.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_goodbye_is_said_only_between_frames() {
        let (mut client, downstream) = tokio::io::duplex(1024);
        let (mut app, upstream) = tokio::io::duplex(1024);
        let mut tunnel = Tunnel::new(downstream, upstream, Duration::ZERO);
        // The app is in the middle of a frame of five bytes; the client sends nothing.
        app.write_all(&[0x82, 5, 1, 2]).await.unwrap();
        let mut begun = [0; 4];
        tokio::select! {
            _ = std::future::poll_fn(|cx| tunnel.poll(cx)) => panic!("it goes on"),
            read = client.read_exact(&mut begun) => { read.unwrap(); }
        }
        tunnel.say_goodbye().await.unwrap();
        drop(tunnel);
        let (mut to_client, mut to_app) = (Vec::new(), Vec::new());
        client.read_to_end(&mut to_client).await.unwrap();
        app.read_to_end(&mut to_app).await.unwrap();
        assert_eq!(to_client, b"", "no frame inside a frame");
        assert_eq!(to_app, CLOSE_TO_APP);
    }
}
