//! HTTP/2 towards a target: one connection, many requests.

use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::stream::Stream;
use crate::body::Body;

/// What a response may send before it is read: bounds the memory of a slow download (the default is 2 MiB).
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// What is taken of a request before the target reads it.
const SEND_BUFFER: usize = 64 * 1024;
const MAX_HEADER_LIST: u32 = 32 * 1024;
/// A dead peer is found out by pings, for a shared connection that hangs would hang everybody.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Spawns hyper's tasks on this worker.
#[derive(Debug, Clone, Copy)]
struct OnThisWorker;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnThisWorker {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Speaks HTTP/2 over `stream`.
pub(super) async fn open(stream: Stream) -> hyper::Result<SendRequest<Body>> {
    let (sender, connection) = http2::Builder::new(OnThisWorker)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::task::spawn_local(async move {
        // How it ended is told to whoever waits for a response.
        let _ = connection.await;
    });
    Ok(sender)
}
