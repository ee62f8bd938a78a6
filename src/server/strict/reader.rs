//! The machine as a layer of I/O: sits between the socket (or TLS) and hyper.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Framing, HeadLimits, Verdict, Violation, verdict::STAND_IN};
use crate::server::stall::Stall;

/// How long a refused client is listened to after the answer, so that closing does not destroy the answer on its way
/// (a socket closed with unread bytes sends RST; RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
/// How much of what it still sends is taken and dropped meanwhile.
const LINGER_BYTES: usize = 256 * 1024;

/// How long each phase of a connection may last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// From the first byte of a head (for the first one: from the start of the connection) to its last.
    pub(crate) head: Duration,
    /// Without a byte of a body that is wanted.
    pub(crate) body: Duration,
    /// Without the client taking a byte of an answer.
    pub(crate) write: Duration,
}

/// What the reader does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    /// The stand-in was handed over; nothing else ever is.
    Refused,
    /// The body being read is broken.
    Broken(Violation),
}

/// I/O under hyper's HTTP/1 that passes only what has one reading.
#[derive(Debug)]
pub(crate) struct Strict<IO> {
    io: IO,
    framing: Framing,
    verdict: Arc<Verdict>,
    /// Bytes received and not handed over: the beginning of a head, or what follows an undecided upgrade.
    held: Vec<u8>,
    /// So many of them, from the front, may be handed over.
    cleared: usize,
    phase: Phase,
    /// No request head was passed yet.
    fresh: bool,
    timeouts: Timeouts,
    reading: Stall,
    writing: Stall,
    /// Our side was shut down; what is left is to linger.
    shut: bool,
    lingered: usize,
}

impl<IO> Strict<IO> {
    /// Wraps `io`, of which `received` was read already.
    pub(crate) fn new(io: IO, received: Vec<u8>, limits: HeadLimits, timeouts: Timeouts) -> (Self, Arc<Verdict>) {
        let verdict = Arc::new(Verdict::default());
        let mut strict = Self {
            io,
            framing: Framing::requests(limits),
            verdict: Arc::clone(&verdict),
            held: received,
            cleared: 0,
            phase: Phase::Reading,
            fresh: true,
            timeouts,
            reading: Stall::default(),
            writing: Stall::default(),
            shut: false,
            lingered: 0,
        };
        strict.scan_held();
        (strict, verdict)
    }

    /// Hands over what was cleared.
    fn deliver(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.cleared.min(buf.remaining());
        buf.put_slice(self.held.get(..count).unwrap_or_default());
        self.held.drain(..count);
        self.cleared -= count;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        self.passed();
    }

    /// Something was handed over: the wait for it is over.
    fn passed(&mut self) {
        self.fresh = false;
        if self.framing.is_in_body() { self.reading.progress() } else { self.reading.end() }
    }

    /// Looks at what is held; clears what is good.
    fn scan_held(&mut self) {
        let scanned = self.framing.feed(&self.held);
        self.cleared = scanned.pass;
        if let Some(violation) = scanned.violation {
            self.held.truncate(scanned.pass);
            self.refuse(violation);
        }
    }

    /// After `self.held` was cut to what is good.
    fn refuse(&mut self, violation: Violation) {
        tracing::debug!(reason = %violation, "request refused");
        if self.framing.is_in_body() {
            self.phase = Phase::Broken(violation);
            return;
        }
        self.verdict.refuse_head(violation);
        self.held.extend_from_slice(STAND_IN);
        self.cleared = self.held.len();
        self.phase = Phase::Refused;
    }

    /// Looks at what came straight into hyper's buffer; the part that is not passed moves to `held`.
    fn scan_in_place(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let new = buf.filled().get(before..).unwrap_or_default();
        let scanned = self.framing.feed(new);
        match scanned.violation {
            None if scanned.pass < new.len() => {
                self.held.extend_from_slice(new.get(scanned.pass..).unwrap_or_default())
            }
            None => {}
            Some(violation) => self.refuse(violation),
        }
        buf.set_filled(before + scanned.pass);
        if scanned.pass > 0 {
            self.passed();
        }
    }

    /// Nothing to read now: has the client had its time?
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.framing.is_in_body() {
            if self.reading.is_over(cx, self.timeouts.body) {
                self.verdict.break_body(Violation::BodyTooSlow);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, Violation::BodyTooSlow)));
            }
        } else if self.is_in_head() && self.reading.is_over(cx, self.timeouts.head) {
            if self.held.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.held.clear();
            self.refuse(Violation::HeadTooSlow);
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn is_in_head(&self) -> bool {
        self.fresh || (!self.held.is_empty() && !self.framing.is_undecided())
    }
}

impl<IO: AsyncRead + Unpin> Strict<IO> {
    /// Reads what follows a request whose upgrade is not decided: only to notice that the client left.
    fn poll_undecided(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.verdict.wait_for_decision(cx.waker());
        if !self.held.is_empty() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        if new.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.held.extend_from_slice(new);
        buf.set_filled(before);
        Poll::Pending
    }

    /// One read from below; `Ready(true)` when hyper has something to look at, be it the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buf) {
            // A refusal after a timeout is picked up by the caller's loop.
            Poll::Pending => return self.wait(cx).map_ok(|()| false),
            Poll::Ready(result) => result?,
        }
        let new = buf.filled().get(before..).unwrap_or_default();
        if new.is_empty() {
            return Poll::Ready(Ok(true));
        }
        if self.held.is_empty() {
            self.scan_in_place(buf, before);
        } else {
            self.held.extend_from_slice(new);
            buf.set_filled(before);
            self.scan_held();
        }
        Poll::Ready(Ok(buf.filled().len() > before))
    }

    /// Drops what a refused client still sends, for a moment.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0u8; 2048];
        while self.lingered < LINGER_BYTES && !self.reading.is_over(cx, LINGER) {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => self.lingered += buf.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Strict<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.cleared > 0 {
                this.deliver(buf);
                return Poll::Ready(Ok(()));
            }
            match this.phase {
                Phase::Reading => {}
                // hyper answers the stand-in and closes; there is nothing to wait for.
                Phase::Refused => return Poll::Pending,
                Phase::Broken(violation) => {
                    // Said only now, when hyper has taken all before it: it is this request's body and no other's.
                    this.verdict.break_body(violation);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, violation)));
                }
            }
            if this.framing.is_undecided() {
                match this.verdict.take_decision() {
                    Some(accepted) => {
                        this.framing.decide(accepted);
                        this.scan_held();
                        continue;
                    }
                    None => return this.poll_undecided(cx, buf),
                }
            }
            if ready!(this.poll_receive(cx, buf))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<IO: AsyncWrite + AsyncRead + Unpin> Strict<IO> {
    /// Ends a write that the client lets wait for too long (a reader that stops reading holds memory).
    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match result {
            Poll::Pending if self.writing.is_over(cx, self.timeouts.write) => {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                self.writing.progress();
                Poll::Ready(result)
            }
        }
    }
}

impl<IO: AsyncWrite + AsyncRead + Unpin> AsyncWrite for Strict<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_write_vectored(cx, slices);
        this.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.io).poll_flush(cx);
        this.watch(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.shut {
            let result = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.watch(cx, result))?;
            this.shut = true;
            this.reading.progress();
        }
        if this.phase != Phase::Reading || this.framing.is_in_body() {
            ready!(this.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
