//! What is known of a connection, apart from the requests on it.

use std::{any::Any, cell::OnceCell, net::SocketAddr, sync::Arc};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    drain::Seat,
    upgrade::{Upgrade, Upgraded, Upgrading},
};

/// A client's connection.
///
/// Held in an `Rc` by everything that uses the connection; it counts as open until the last one is gone.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end of the socket; `None` for a Unix socket. IPv4 even where it came in over a socket for both.
    pub remote: Option<SocketAddr>,
    /// Who the peer says it connects for, by a PROXY header from a trusted network.
    pub proxied: Option<SocketAddr>,
    /// Our end of the socket.
    pub local: Option<SocketAddr>,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// What the TLS handshake settled; `None` without TLS.
    pub tls: Option<TlsInfo>,
    /// What is spoken.
    pub protocol: Protocol,
    pub(super) shutdown: CancellationToken,
    /// What the handler keeps of it.
    pub(super) kept: OnceCell<Box<dyn Any>>,
    /// What becomes of it if the request under way is answered with 101.
    pub(super) upgrade: Upgrade,
    /// Given back on drop.
    pub(super) _seat: Option<Seat>,
}

/// What a TLS handshake settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsInfo {
    /// The host name the client asked for.
    pub sni: Option<String>,
    /// The application protocol that was agreed on, such as `h2`.
    pub alpn: Option<Vec<u8>>,
}

/// Which HTTP a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
}

impl Connection {
    /// A connection that belongs to no server, for testing handlers.
    pub fn detached(remote: Option<SocketAddr>, protocol: Protocol) -> Self {
        Self {
            remote,
            proxied: None,
            local: None,
            listener: "detached".into(),
            tls: None,
            protocol,
            shutdown: CancellationToken::new(),
            kept: OnceCell::new(),
            upgrade: Upgrade::default(),
            _seat: None,
        }
    }

    /// The client: whom a trusted PROXY header names, else who is at the other end.
    pub fn client(&self) -> Option<SocketAddr> {
        self.proxied.or(self.remote)
    }

    /// What the handler keeps of the connection for as long as it lasts, made by `make` at the first call; `None` when
    /// something of another type is kept already.
    pub fn keep<T: 'static>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.kept.get_or_init(|| Box::new(make())).downcast_ref()
    }

    /// The connection after the 101 that answers the request under way, which asked for it; whoever takes it gets it once
    /// the 101 was sent. `None` when nobody asked.
    pub fn upgraded(&self) -> Option<oneshot::Receiver<Upgraded>> {
        self.upgrade.take()
    }

    /// The request under way asks for an upgrade.
    pub(super) fn offer_upgrade(&self) -> Upgrading {
        self.upgrade.offer()
    }

    /// Resolves when the server stops; for tunnels, which would otherwise last until they are cut.
    pub fn shutdown(&self) -> impl Future<Output = ()> + 'static {
        self.shutdown.clone().cancelled_owned()
    }
}
