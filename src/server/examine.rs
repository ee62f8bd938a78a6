//! Looking at listeners for `brama doctor`: whether their addresses could be bound. None is kept.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::{fs::FileTypeExt as _, net::UnixStream},
    path::Path,
};

use socket2::{Domain, Socket, Type};

use super::listener::BindError;
use crate::{
    config::{folder, listen::Address},
    told::{Examined, Sound, Told},
};

/// Whether `address` could be listened on. Where somebody listens already, that may be the gateway itself: a warning.
///
/// # Errors
/// Why nobody could listen there, and what to do.
pub fn examine(address: &Address) -> Examined {
    let tried = match address {
        Address::Tcp(address) => try_tcp(*address),
        Address::Unix(path) => try_unix(path),
    };
    match tried {
        Ok(()) => Ok(Sound::new("it is free")),
        Err(source) if source.kind() == io::ErrorKind::AddrInUse => Ok(taken(address)),
        Err(source) => {
            let error = BindError { address: address.clone(), source };
            Err(Told::new(format!("cannot listen there ({})", error.source), error.remedy()))
        }
    }
}

fn taken(address: &Address) -> Sound {
    let remedy = match address {
        Address::Tcp(_) => "if it is another program (`ss -ltnp` tells which), stop it or choose another port",
        Address::Unix(_) => "if it is another program (`ss -lxp` tells which), stop it or choose another path",
    };
    Sound { warnings: vec![Told::new("something, perhaps Brama itself, listens there", remedy)], ..Sound::default() }
}

/// Binds and lets go. Without `SO_REUSEPORT`, with which the workers share an address, so that another gateway's socket is
/// in the way, too.
fn try_tcp(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // As the listeners do: connections that linger after a restart are in nobody's way.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())
}

/// Does not bind, for that would leave a file.
fn try_unix(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        // A socket that a killed process left is removed at the start.
        Err(_) if fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket()) => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"))
        }
        Err(_) => folder::takes_files(folder::of(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_address_is_told_from_one_somebody_listens_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        assert!(examine(&address).unwrap().warnings[0].what.contains("perhaps Brama itself"));
        drop(listener);
        assert_eq!(examine(&address).unwrap(), Sound::new("it is free"));
        let elsewhere = examine(&Address::Tcp("192.0.2.1:80".parse().unwrap())).unwrap_err();
        assert!(elsewhere.remedy.contains("no such address"), "{elsewhere:?}");
    }

    #[test]
    fn a_workers_shared_socket_counts_as_taken() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(1).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(examine(&Address::Tcp(address)).unwrap().warnings.len(), 1);
    }

    #[test]
    fn a_unix_socket_leaves_no_file_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("brama.sock");
        let address = Address::Unix(path.clone());
        assert_eq!(examine(&address).unwrap(), Sound::new("it is free"));
        assert!(!path.exists());
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(examine(&address).unwrap().warnings.len(), 1);
        drop(listener);
        assert_eq!(examine(&address).unwrap(), Sound::new("it is free"), "a stale socket is removed at the start");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "notes").unwrap();
        assert!(examine(&address).unwrap_err().what.contains("no socket"));
    }
}
