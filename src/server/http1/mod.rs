//! HTTP/1 from clients, driven in the connection's own task.
//!
//! A library that reads requests leniently would have to be watched by a strict reader below it, and every head would be
//! read twice. Here one reader does both, by the rules of [`http1`](crate::http1), and a connection that waits for its next
//! request holds a socket, a timer and nothing else.
//!
//! [`request`] reads heads, [`wire`] has the bytes and their timers, [`exchange`] asks the handler and writes what
//! [`answer`] makes of the response; [`inbound`] is the request's body for whoever reads it.
//!
//! What others may rely on:
//!
//! * Requests of one connection are answered in order, one at a time. What is refused is answered after the good ones
//!   before it, and ends the connection.
//! * Nothing of a body is read before somebody asks for it; at most `buffer_bytes` are read ahead.
//! * A refusal *inside a body* ends that body with an error and turns the answer, if it has not begun, into 400.
//! * An answer that cannot be finished ends the connection, and never looks whole. (HTTP/1.0 has no way to tell where the
//!   length was not known ahead.)
//! * The handler's future is dropped when the client closes its connection, also only its side of it.

mod answer;
#[cfg(test)]
mod differential;
mod exchange;
mod inbound;
mod request;
mod wire;

use std::{future::poll_fn, rc::Rc, task::Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use self::{
    exchange::After,
    request::HeadReader,
    wire::{Next, Shared, Timeouts},
};
use super::{Connection, Handler, Upgraded, respond, worker::Worker};
use crate::{config::listen::Limits, http1::HeadLimits};

/// What is the same for every HTTP/1 connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    head: HeadLimits,
    timeouts: Timeouts,
    /// Most bytes to read ahead of a body's reader.
    buffer_bytes: usize,
}

impl Settings {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            head: HeadLimits { bytes: limits.head_bytes, fields: limits.head_fields, target: limits.target_bytes },
            timeouts: Timeouts {
                head: limits.head_timeout,
                idle: limits.keep_alive_timeout,
                body: limits.body_timeout,
                write: limits.write_timeout,
            },
            buffer_bytes: limits.buffer_bytes,
        }
    }
}

/// Serves `io`, of which `received` was read already, until it ends.
pub(super) async fn serve<IO, H>(io: IO, received: Vec<u8>, connection: Rc<Connection>, worker: Rc<Worker<H>>)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let wire = Shared::new(io, &received, &worker.http1);
    drop(received);
    let _slot = poll_fn(|cx| Poll::Ready(worker.roster.register(cx.waker()))).await;
    let mut reader = HeadReader::new(worker.http1.head);
    loop {
        let next = poll_fn(|cx| wire.lock().poll_head(cx, &mut reader, worker.roster.is_draining())).await;
        // Boxed: while a connection waits for its next request, an answer's memory is not held.
        let after = match next {
            Next::End => After::Close,
            Next::Refused(violation) => {
                tracing::debug!(reason = %violation, "request refused");
                Box::pin(exchange::refuse(&wire, respond::refuse(violation))).await
            }
            Next::Request(head) => {
                let (handler, connection) = (Rc::clone(&worker.handler), Rc::clone(&connection));
                Box::pin(exchange::answer(&wire, head, handler, connection, &worker.roster)).await
            }
        };
        match after {
            After::Next => {}
            After::Gone => return,
            After::Close => return poll_fn(|cx| wire.lock().poll_shutdown(cx)).await,
            After::Linger => return linger(&wire).await,
            After::Switch(upgrading) => {
                if let Some(switched) = wire.into_switched() {
                    upgrading.complete(Upgraded::new(switched));
                }
                return;
            }
        }
    }
}

/// Ends our side and lets the client read the last answer before everything is gone.
async fn linger<IO>(wire: &Shared<IO>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| wire.lock().poll_shutdown(cx)).await;
    let mut dropped = 0;
    poll_fn(|cx| wire.lock().poll_linger(cx, &mut dropped)).await;
}
