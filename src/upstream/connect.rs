//! Connecting to a target: the socket, and TLS on top where the target wants it.

use std::{io, path::Path, time::Duration};

use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{
    error::UpstreamError,
    stream::{Socket, Stream},
    target::Target,
    tls::Tls,
};
use crate::config::upstream::Address;

/// What the connection is for, which decides what ALPN offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Plain requests.
    Requests,
    /// A request that may become a WebSocket.
    Upgrade,
}

/// Connects, TLS included, within `timeout`.
pub(super) async fn connect(
    target: &Target,
    tls: Option<&Tls>,
    purpose: Purpose,
    timeout: Duration,
) -> Result<Stream, UpstreamError> {
    tokio::time::timeout(timeout, open(target, tls, purpose))
        .await
        .unwrap_or(Err(UpstreamError::ConnectTimeout(timeout)))
}

async fn open(target: &Target, tls: Option<&Tls>, purpose: Purpose) -> Result<Stream, UpstreamError> {
    let socket = match target.address() {
        Address::Tcp(host, port) => tcp(host, *port).await,
        Address::Unix(path) => unix(path).await,
    };
    let socket = socket.map_err(UpstreamError::Connect)?;
    match (target.server_name(), tls) {
        (Some(name), Some(tls)) => secure(socket, name.clone(), tls, purpose).await,
        _ => Ok(Stream::Plain(socket)),
    }
}

/// Host names are resolved anew for each connection, so that a moved app is found without a reload.
async fn tcp(host: &str, port: u16) -> io::Result<Socket> {
    let stream = TcpStream::connect((host, port)).await?;
    // Heads and small bodies are written whole; waiting for more only adds delay.
    stream.set_nodelay(true)?;
    Ok(Socket::Tcp(stream))
}

async fn unix(path: &Path) -> io::Result<Socket> {
    UnixStream::connect(path).await.map(Socket::Unix)
}

async fn secure(
    socket: Socket,
    name: ServerName<'static>,
    tls: &Tls,
    purpose: Purpose,
) -> Result<Stream, UpstreamError> {
    let config = match purpose {
        Purpose::Requests => &tls.requests,
        Purpose::Upgrade => &tls.upgrades,
    };
    let connector = TlsConnector::from(std::sync::Arc::clone(config));
    connector.connect(name, socket).await.map(Stream::tls).map_err(UpstreamError::Tls)
}
