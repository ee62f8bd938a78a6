//! What came over a connection and was not taken yet.

use std::{
    cell::{Cell, RefCell},
    future::Future as _,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
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
    pace: Pace,
}

impl Inflow {
    /// Begins with what was read already.
    pub(crate) fn after(received: &[u8]) -> Self {
        Self { received: received.into(), ..Self::default() }
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

    /// Reads more of a body of which `left` bytes are to come, where that is known; called when what was read before is
    /// taken. A body that flows is read in pieces of up to `most` bytes, without a copy, and in larger ones once
    /// it has flowed fast for long; a trickle, which would waste such room, as a head is.
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
        let room = self.pace.room(most).min(left);
        if !self.flowing || room <= SCRATCH {
            return self.poll_receive(io, cx);
        }
        if self.received.is_empty() && self.received.capacity() > 2 * room {
            // It was fast before, and is so no more.
            self.received = BytesMut::new();
        }
        self.received.reserve(room);
        let read = {
            let mut room = (&mut self.received).limit(room);
            ready!(pin!(io.read_buf(&mut room)).poll(cx))?
        };
        self.flowing = read > SCRATCH;
        self.pace.was_read(read);
        Poll::Ready(Ok(read))
    }
}

/// How fast whoever takes a body takes it. Each piece costs two system calls and wakes another process, so a fast body is
/// worth large ones; but a slow one holds its piece in memory for as long as its reader likes.
#[derive(Debug, Default)]
struct Pace {
    /// The piece that is being taken: since when, and how large it is.
    taking: Option<(Instant, usize)>,
    /// Bytes taken fast in a row.
    fast: usize,
    grant: Option<Grant>,
}

impl Pace {
    /// What the buffers of two systems may swallow before it shows that nobody reads.
    const PROVEN: usize = 16 * 1024 * 1024;
    /// How much larger the pieces of a fast body are.
    const LARGER: usize = 8;
    /// Bytes a microsecond that are fast: half a gigabit a second.
    const FAST: usize = 64;

    /// The last piece was taken: how large may the next one be?
    fn room(&mut self, most: usize) -> usize {
        if let Some((since, size)) = self.taking.take() {
            self.was_taken(size, since.elapsed());
        }
        if self.fast < Self::PROVEN {
            self.grant = None;
        } else if self.grant.is_none() {
            self.grant = Grant::ask();
        }
        if self.grant.is_some() { most.saturating_mul(Self::LARGER) } else { most }
    }

    fn was_taken(&mut self, size: usize, took: Duration) {
        let is_fast = took.as_micros() <= (size / Self::FAST) as u128;
        self.fast = if is_fast { self.fast.saturating_add(size) } else { 0 };
    }

    fn was_read(&mut self, size: usize) {
        self.taking = Some((Instant::now(), size));
    }
}

thread_local! {
    static GRANTED: Cell<usize> = const { Cell::new(0) };
}

/// Leave to read in large pieces. A worker gives few: who has been fast and then stops holds one for long, and many such
/// must not hold much (threats 5).
#[derive(Debug)]
struct Grant;

impl Grant {
    /// Bodies in large pieces at once on one worker.
    const MOST: usize = 64;

    fn ask() -> Option<Self> {
        let granted = GRANTED.get();
        (granted < Self::MOST).then(|| {
            GRANTED.set(granted + 1);
            Self
        })
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        GRANTED.set(GRANTED.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 64 * 1024;

    #[test]
    fn pieces_grow_only_for_who_has_long_been_fast_and_one_slow_piece_ends_it() {
        let (fast, slow) = (Duration::from_micros(1000), Duration::from_micros(1100));
        let mut pace = Pace::default();
        for _ in 0..Pace::PROVEN / MOST {
            assert_eq!(pace.room(MOST), MOST);
            pace.was_taken(MOST, fast);
        }
        assert_eq!(pace.room(MOST), MOST * Pace::LARGER);
        pace.was_taken(MOST * Pace::LARGER, slow);
        assert_eq!(pace.room(MOST), MOST * Pace::LARGER, "a larger piece has longer");
        pace.was_taken(MOST, slow);
        assert_eq!(pace.room(MOST), MOST);
    }

    #[test]
    fn a_worker_reads_few_bodies_in_large_pieces_and_the_next_when_one_has_ended() {
        let fast = || Pace { fast: Pace::PROVEN, ..Pace::default() };
        let mut granted: Vec<Pace> = (0..Grant::MOST).map(|_| fast()).collect();
        assert!(granted.iter_mut().all(|pace| pace.room(MOST) > MOST));
        let mut next = fast();
        assert_eq!(next.room(MOST), MOST);
        granted.pop();
        assert!(next.room(MOST) > MOST);
        next.fast = 0;
        assert_eq!(next.room(MOST), MOST);
        assert!(fast().room(MOST) > MOST, "what is slow gives its leave back");
    }

    #[test]
    fn a_piece_is_taken_once_however_often_one_waits_for_the_next() {
        let mut pace = Pace::default();
        pace.was_read(MOST);
        pace.room(MOST);
        let fast = pace.fast;
        pace.room(MOST);
        assert_eq!(pace.fast, fast);
    }
}
