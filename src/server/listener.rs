//! Binding: one socket a worker on a TCP address, one shared by all on a Unix path.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::ServerConfig;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::listen::{Address, Listen, Mode};

/// Connections that wait in the kernel to be accepted; the kernel caps it (net.core.somaxconn).
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}\n    {}", self.remedy())]
pub struct BindError {
    /// The address.
    pub address: Address,
    /// What the system said.
    pub source: io::Error,
}

impl BindError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match (self.source.kind(), &self.address) {
            (io::ErrorKind::AddrInUse, Address::Tcp(_)) => {
                "another program listens there (`ss -ltnp` tells which): stop it or choose another port"
            }
            (io::ErrorKind::AddrInUse, Address::Unix(_)) => {
                "another process listens there: stop it or choose another path"
            }
            (io::ErrorKind::AddrNotAvailable, _) => {
                "this machine has no such address: choose 0.0.0.0, [::] or one it has"
            }
            (io::ErrorKind::PermissionDenied, Address::Tcp(_)) => {
                "ports below 1024 need a right: choose 4180, or grant CAP_NET_BIND_SERVICE"
            }
            (io::ErrorKind::PermissionDenied, Address::Unix(_)) => "give this user write access to the folder",
            (io::ErrorKind::NotFound, _) => "create the folder first",
            _ => "check [[listen]] address",
        }
    }
}

/// A bound address and what is spoken there.
pub(super) struct Bound {
    /// The address, with the port the system chose.
    pub(super) address: Address,
    /// The file of a Unix socket.
    pub(super) file: Option<UnixFile>,
    spec: Arc<DoorSpec>,
    sockets: Vec<Socket>,
}

/// What is the same for all workers at one listener.
pub(super) struct DoorSpec {
    pub(super) name: Arc<str>,
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) proxies: Vec<ipnet::IpNet>,
    pub(super) h2c: bool,
}

/// One worker's way in.
pub(super) struct Door {
    pub(super) socket: Socket,
    pub(super) is_unix: bool,
    pub(super) spec: Arc<DoorSpec>,
}

impl Bound {
    /// The next worker's way in.
    pub(super) fn door(&mut self) -> Option<Door> {
        let is_unix = matches!(self.address, Address::Unix(_));
        self.sockets.pop().map(|socket| Door { socket, is_unix, spec: Arc::clone(&self.spec) })
    }
}

/// A Unix socket's file, removed when dropped.
#[derive(Debug)]
pub(super) struct UnixFile(PathBuf);

impl Drop for UnixFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// Binds the address of `listen` for so many workers.
pub(super) fn bind(listen: &Listen, tls: Option<Arc<ServerConfig>>, workers: usize) -> Result<Bound, BindError> {
    let bound = match &listen.address {
        Address::Tcp(address) => {
            bind_tcp(*address, workers).map(|(address, sockets)| (Address::Tcp(address), None, sockets))
        }
        Address::Unix(path) => {
            bind_unix(path, listen.mode, workers).map(|(file, sockets)| (listen.address.clone(), Some(file), sockets))
        }
    };
    let (address, file, sockets) = bound.map_err(|source| BindError { address: listen.address.clone(), source })?;
    let name = listen.name.clone().unwrap_or_else(|| address.to_string());
    let spec = DoorSpec { name: name.into(), tls, proxies: listen.proxy_protocol_from.clone(), h2c: listen.h2c };
    Ok(Bound { address, file, spec: Arc::new(spec), sockets })
}

fn bind_tcp(mut address: std::net::SocketAddr, workers: usize) -> io::Result<(std::net::SocketAddr, Vec<Socket>)> {
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            // [::] means everyone, IPv4 too, whatever the system's default is.
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        // Port 0: the first socket chooses for all.
        address = socket.local_addr()?.as_socket().unwrap_or(address);
        sockets.push(socket);
    }
    Ok((address, sockets))
}

fn bind_unix(path: &Path, mode: Mode, workers: usize) -> io::Result<(UnixFile, Vec<Socket>)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = UnixFile(path.to_owned());
    // Before listening: nobody connects while the permissions are still the process's default.
    fs::set_permissions(path, fs::Permissions::from_mode(mode.0))?;
    socket.listen(BACKLOG)?;
    let sockets = (0..workers).map(|_| socket.try_clone()).collect::<io::Result<_>>()?;
    Ok((file, sockets))
}

/// Removes a socket nobody listens on any more, left by a process that was killed. Anything else stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let is_socket = fs::symlink_metadata(path)
                .is_ok_and(|metadata| std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()));
            if is_socket { fs::remove_file(path) } else { Ok(()) }
        }
        // Bind says the rest: in use, no folder, no right.
        _ => Ok(()),
    }
}
