//! The PROXY header before everything else: who a trusted balancer connects for.
//!
//! Read to the byte: what follows belongs to TLS or HTTP.

use std::{io, net::SocketAddr};

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// The twelve bytes version 2 begins with (PROXY protocol §2.2).
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2: signature, command, family, length.
const V2_FIXED: usize = 16;
/// Version 2 may announce 64 KiB; addresses and the extensions in use stay far below this.
const V2_MAX: usize = 4096;
/// The longest version 1 line (§2.1).
const V1_MAX: usize = 107;

/// Reads the header; the client's address, or `None` when the balancer speaks for itself (LOCAL, UNKNOWN).
///
/// # Errors
///
/// When there is none, or it is malformed.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    // Both versions are longer than twelve bytes.
    let mut header = vec![0; V2.len()];
    stream.read_exact(&mut header).await?;
    if header == V2 {
        read_v2(stream, &mut header).await?;
    } else if header.starts_with(b"PROXY ") {
        read_v1(stream, &mut header).await?;
    } else {
        return Err(malformed());
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(&header, config).map_err(|_| malformed())?;
    if length != header.len() {
        return Err(malformed());
    }
    Ok(parsed.proxied_address().map(|address| address.source))
}

async fn read_v2(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    header.resize(V2_FIXED, 0);
    stream.read_exact(header.get_mut(V2.len()..).unwrap_or_default()).await?;
    let [.., high, low] = header.as_slice() else { return Err(malformed()) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > V2_MAX {
        return Err(malformed());
    }
    header.resize(V2_FIXED + length, 0);
    stream.read_exact(header.get_mut(V2_FIXED..).unwrap_or_default()).await?;
    Ok(())
}

/// Looks before it takes, so as not to take what follows the line.
async fn read_v1(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    while header.len() < V1_MAX && !header.ends_with(b"\n") {
        let mut ahead = [0; V1_MAX];
        let seen = stream.peek(ahead.get_mut(header.len()..).unwrap_or_default()).await?;
        let seen = ahead.get(header.len()..header.len() + seen).unwrap_or_default();
        let wanted = memchr::memchr(b'\n', seen).map_or(seen.len(), |newline| newline + 1);
        if wanted == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let before = header.len();
        header.resize(before + wanted, 0);
        stream.read_exact(header.get_mut(before..).unwrap_or_default()).await?;
    }
    Ok(())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the PROXY header is missing or malformed")
}
