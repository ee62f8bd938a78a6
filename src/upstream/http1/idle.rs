//! A connection between two exchanges.

use std::{
    future::Future as _,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::io::AsyncReadExt as _;

use super::wire::Wire;
use crate::upstream::stream::Stream;

/// A connection on which nothing is under way. Dropping it closes it.
#[derive(Debug)]
pub(in crate::upstream) struct Connection {
    wire: Box<Wire>,
    since: Instant,
}

impl Connection {
    /// Speaks HTTP/1.1 over `stream`, reading at most `buffer_bytes` ahead.
    pub(in crate::upstream) fn new(stream: Stream, buffer_bytes: usize) -> Self {
        Self::resting(Box::new(Wire::new(stream, buffer_bytes)))
    }

    /// It lies idle from now on.
    pub(super) fn resting(wire: Box<Wire>) -> Self {
        Self { wire, since: Instant::now() }
    }

    /// For the next exchange.
    pub(super) fn into_wire(self) -> Box<Wire> {
        self.wire
    }

    /// True when it carried a request before: it may have been closed by the peer meanwhile.
    pub(in crate::upstream) fn is_reused(&self) -> bool {
        self.wire.served
    }

    /// True when it has lain idle for longer than `keep_alive`.
    pub(in crate::upstream) fn is_stale(&self, keep_alive: Duration) -> bool {
        self.since.elapsed() > keep_alive
    }

    /// True while the peer neither closed it nor sent anything: nobody asked, so whatever comes is no answer (threats
    /// 3.6). The runtime knows whether there is something to read; only then is the kernel asked.
    ///
    /// Unconstrained: a task that has had its share of work is told "not ready" by every socket, and here that would read
    /// as "quiet".
    pub(in crate::upstream) fn is_quiet(&mut self) -> bool {
        let mut nothing = [0; 1];
        let reading = pin!(tokio::task::unconstrained(self.wire.stream.read(&mut nothing)));
        matches!(reading.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::AsyncWriteExt as _,
        net::{TcpListener, TcpStream},
        task::coop,
    };

    use super::*;
    use crate::upstream::stream::Socket;

    #[tokio::test]
    async fn what_comes_unasked_is_noticed_also_by_a_task_that_has_had_its_share_of_work() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut app, _) = listener.accept().await.unwrap();
        app.write_all(b"HTTP/1.1 200 OK").await.unwrap();
        stream.readable().await.unwrap();
        let mut connection = Connection::new(Stream::Plain(Socket::Tcp(stream)), 8192);
        poll_fn(|cx| {
            while coop::has_budget_remaining() {
                let _ = pin!(coop::consume_budget()).poll(cx);
            }
            assert!(!connection.is_quiet());
            Poll::Ready(())
        })
        .await;
    }
}
