//! Loopback listeners of the demo: HTTP/1.1, one task a connection, gone when their owner is dropped.

use std::{convert::Infallible, future::Future, io, net::SocketAddr};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::body::Body;

/// Binds `listen`, which must be a loopback address: simulated providers let anybody in.
pub(super) async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    if listen.ip().is_loopback() {
        return TcpListener::bind(listen).await;
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("the demo lets anybody in, so it listens on loopback addresses only, not on {listen}"),
    ))
}

/// Binds `listen`, or a free port of the same address when that port is taken.
pub(super) async fn free_port_near(listen: SocketAddr) -> io::Result<SocketAddr> {
    match bind(listen).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(SocketAddr::new(listen.ip(), 0)),
        Err(error) => Err(error),
        Ok(_) => Ok(listen),
    }
}

/// Answers every request on `listener` with `handler` until `stop`.
pub(super) fn serve<H, F>(listener: TcpListener, stop: CancellationToken, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            // A failed accept (too many open files) passes; the listener itself stays good.
            if let Ok((stream, _)) = accepted {
                tokio::spawn(connection(stream, stop.clone(), handler.clone()));
            } else {
                tokio::task::yield_now().await;
            }
        }
    });
}

async fn connection<H, F>(stream: TcpStream, stop: CancellationToken, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // Without this small answers wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        () = stop.cancelled() => {}
        result = connection => if let Err(error) = result {
            tracing::trace!(%error, "a demo connection ended early");
        }
    }
}
