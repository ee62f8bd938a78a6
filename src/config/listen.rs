//! `[[listen]]`: where clients connect; `[limits]`: how much of anything one of them may take.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::json;

use super::problem::Problems;
use super::value::{At, Check, Shape, Value, section};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Value for Address {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        const WANTED: &str = "an address such as \"0.0.0.0:4180\", \"[::]:4180\" or \"unix:/run/brama.sock\"";
        let text = at.text(problems, WANTED)?;
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Some(Self::Unix(problems.folder().join(path)));
        }
        let address = text.parse().ok().map(Self::Tcp);
        if address.is_none() {
            at.problem(
                problems,
                format!("\"{}\" is not {WANTED}", text.escape_debug()),
                "write address and port, the address as numbers (0.0.0.0 or [::] for all interfaces)",
            );
        }
        address
    }
    fn shape() -> Shape {
        Shape::Leaf {
            says: "an address such as \"0.0.0.0:4180\", \"[::]:4180\" or \"unix:/run/brama.sock\"",
            schema: json!({"type": "string"}),
        }
    }
    fn show(&self) -> Option<String> {
        Some(toml::Value::String(self.to_string()).to_string())
    }
}

/// Permission bits of a file, written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Value for Mode {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, "permission bits such as \"0660\"")?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777).map(Self);
        if mode.is_none() {
            at.problem(
                problems,
                format!("\"{}\" is not a set of permission bits", text.escape_debug()),
                "write three octal digits, such as \"0660\"",
            );
        }
        mode
    }
    fn shape() -> Shape {
        Shape::Leaf {
            says: "permission bits such as \"0660\"",
            schema: json!({"type": "string", "pattern": "^0?[0-7]{3}$"}),
        }
    }
    fn show(&self) -> Option<String> {
        Some(format!("\"{:04o}\"", self.0))
    }
}

section! {
    /// A place where clients connect.
    pub struct Listen {
        /// Address and port, or a Unix socket: "0.0.0.0:4180", "`[::]:4180`", "unix:/run/brama.sock".
        address: Address = Address::Tcp(SocketAddr::from(([0, 0, 0, 0], 4180))),
        /// Name of the listener in logs and metrics; by default its address.
        name: Option<String> = None,
        /// Permissions of the Unix socket.
        mode: Mode = Mode(0o660),
        /// Speak TLS (1.2 and 1.3) here; needs at least one [[listen.certificate]].
        tls: bool = false,
        /// Certificates. The name the client asks for picks one by the names in it; the first is for everyone else. Files are read again when they change.
        certificate: Vec<Certificate> = Vec::new(),
        /// Networks whose connections begin with a PROXY protocol header (version 1 or 2), which is then required and believed. From anyone else it is refused as what it is: no HTTP.
        proxy_protocol_from: Vec<ipnet::IpNet> = Vec::new(),
        /// Offer HTTP/2 to TLS clients (by ALPN).
        http2: bool = true,
        /// Accept HTTP/2 without TLS from clients that know beforehand (h2c by prior knowledge; never by upgrade). For gRPC behind a balancer that ends TLS.
        h2c: bool = false,
    }
}

section! {
    /// A certificate and its key.
    pub struct Certificate {
        /// File with the certificate and its chain, ours first (PEM).
        cert_file: PathBuf,
        /// File with the key (PEM: PKCS #8, PKCS #1 or SEC1).
        key_file: PathBuf,
    }
}

impl Check for Certificate {}

impl Check for Listen {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let unix = matches!(self.address, Address::Unix(_));
        if self.tls && self.certificate.is_empty() {
            at.problem_at(
                "tls",
                problems,
                "TLS needs a certificate",
                "add [[listen.certificate]] with cert_file and key_file",
            );
        }
        if !self.tls && !self.certificate.is_empty() {
            at.problem_at("certificate", problems, "certificates are given, but tls is off", "set tls = true");
        }
        if self.tls && self.h2c {
            at.problem_at(
                "h2c",
                problems,
                "h2c is HTTP/2 without TLS, but tls is on",
                "drop h2c: http2 = true offers HTTP/2 under TLS",
            );
        }
        if unix && !self.proxy_protocol_from.is_empty() {
            at.problem_at(
                "proxy_protocol_from",
                problems,
                "clients of a Unix socket have no network address to be trusted by",
                "listen on a TCP address, or drop proxy_protocol_from",
            );
        }
        if !unix && at.child("mode").is_some() {
            at.problem_at("mode", problems, "mode is for Unix sockets", "drop it, or listen on unix:/path");
        }
    }
}

section! {
    /// How much of anything a client may take.
    pub struct Limits {
        /// Threads that serve requests; by default one for each processor core.
        workers: Option<usize> = None,
        /// Open connections, all clients together. At the limit new ones wait in the kernel's queue (one more for each worker is taken off it).
        connections: usize = 20_000,
        /// Open connections of one address (IPv6: one /64 network); more are closed at once. Loopback, Unix sockets and peers in proxy_protocol_from do not count as themselves. Raise it where a balancer that does not speak the PROXY protocol stands in front. 0 sets no limit.
        connections_per_address: u32 = 1_024,
        /// Longest a TLS handshake may take, and the PROXY header before it.
        handshake_timeout: Duration = Duration::from_secs(10),
        /// Longest a request head may take, from its first byte; for the first head, from the start of the connection.
        head_timeout: Duration = Duration::from_secs(15),
        /// Largest request head, in bytes.
        head_bytes: usize = 32 * 1024,
        /// Most fields in a request head.
        head_fields: usize = 100,
        /// Longest request target, in bytes.
        target_bytes: usize = 8 * 1024,
        /// How long a connection may be idle between requests. A request that has begun by then still has head_timeout.
        keep_alive_timeout: Duration = Duration::from_secs(60),
        /// How long the body of a request may pause while we wait for it.
        body_timeout: Duration = Duration::from_secs(30),
        /// How long a client may pause taking an answer; over HTTP/2 up to twice that.
        write_timeout: Duration = Duration::from_secs(60),
        /// Buffer of a connection in each direction, in bytes, at least head_bytes. A body that has flowed at more than half a gigabit a second for 16 MiB is read in pieces eight times as large, until it is slow once (64 such bodies at a time on each worker). Less saves memory when clients are slow, more saves CPU on large bodies.
        buffer_bytes: usize = 64 * 1024,
        /// HTTP/2: requests at once on one connection.
        http2_streams: u32 = 100,
        /// HTTP/2: size of a decoded head as HPACK counts it (32 bytes more for each field), in bytes.
        http2_head_bytes: u32 = 16 * 1024,
        /// HTTP/2: how much of a request body may wait unread on one connection, in bytes; one stream may fill half.
        http2_window_bytes: u32 = 1024 * 1024,
        /// HTTP/2: a connection is asked for a sign of life this often, and has handshake_timeout to give it.
        http2_ping_interval: Duration = Duration::from_secs(30),
        /// How long to wait for running requests when stopping; what is left then is cut.
        shutdown_timeout: Duration = Duration::from_secs(30),
    }
}

impl Default for Listen {
    fn default() -> Self {
        nothing_written()
    }
}

impl Default for Limits {
    fn default() -> Self {
        nothing_written()
    }
}

/// The section as it is when the file says nothing of it.
#[expect(clippy::expect_used, reason = "used for sections whose every key has a default; a test reads each")]
fn nothing_written<T: Value>() -> T {
    let nothing = toml::Spanned::new(0..0, toml::de::DeValue::Table(toml::de::DeTable::new()));
    T::read(&At::new(&nothing, ""), &mut Problems::new("", "")).expect("every key has a default")
}

/// HTTP/2's window before any is negotiated, for each of the two halves, and half of the largest it can express.
const MIN_WINDOW: u32 = 128 * 1024;
const MAX_WINDOW: u32 = 1 << 30;
/// hyper's smallest buffer.
const MIN_BUFFER: usize = 8 * 1024;

impl Check for Limits {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if !(MIN_WINDOW..=MAX_WINDOW).contains(&self.http2_window_bytes) {
            at.problem_at(
                "http2_window_bytes",
                problems,
                "HTTP/2 knows no such window",
                format!("write a number from {MIN_WINDOW} to {MAX_WINDOW}"),
            );
        }
        if self.buffer_bytes < self.head_bytes.max(MIN_BUFFER) {
            at.problem_at(
                "buffer_bytes",
                problems,
                "a head would not fit into it",
                format!("write at least {}", self.head_bytes.max(MIN_BUFFER)),
            );
        }
        for (key, value) in [
            ("connections", self.connections),
            ("head_fields", self.head_fields),
            ("target_bytes", self.target_bytes),
            ("head_bytes", self.head_bytes),
            ("http2_streams", self.http2_streams as usize),
            ("workers", self.workers.unwrap_or(1)),
        ] {
            if value == 0 {
                at.problem_at(key, problems, "with 0 nobody could ever be served", "write a larger number");
            }
        }
        for (key, value) in [
            ("handshake_timeout", self.handshake_timeout),
            ("head_timeout", self.head_timeout),
            ("keep_alive_timeout", self.keep_alive_timeout),
            ("body_timeout", self.body_timeout),
            ("write_timeout", self.write_timeout),
            ("http2_ping_interval", self.http2_ping_interval),
        ] {
            if value.is_zero() {
                at.problem_at(key, problems, "0 leaves no time at all", "write a duration such as \"30s\"");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use toml::{Spanned, de::DeTable, de::DeValue};

    fn read<T: Value>(text: &str) -> Result<T, Vec<String>> {
        let table = DeTable::parse(text).unwrap();
        let value = Spanned::new(table.span(), DeValue::Table(table.into_inner()));
        let mut problems = Problems::new("brama.toml", text);
        let read = T::read(&At::new(&value, ""), &mut problems);
        let found: Vec<String> = problems.into_list().iter().map(ToString::to_string).collect();
        if found.is_empty() { Ok(read.unwrap()) } else { Err(found) }
    }

    #[test]
    fn empty_sections_are_the_defaults() {
        let listen = Listen::default();
        assert_eq!(listen.address.to_string(), "0.0.0.0:4180");
        let limits = Limits::default();
        assert_eq!(limits.head_timeout, Duration::from_secs(15));
        assert_eq!((limits.head_bytes, limits.head_fields, limits.target_bytes), (32 * 1024, 100, 8 * 1024));
    }

    #[test]
    fn addresses_are_tcp_or_unix() {
        let listen: Listen = read("address = \"unix:/run/brama.sock\"\nmode = \"0600\"").unwrap();
        assert_eq!(listen.address, Address::Unix("/run/brama.sock".into()));
        assert_eq!(listen.mode, Mode(0o600));
        let listen: Listen = read("address = \"[::1]:80\"").unwrap();
        assert_eq!(listen.address, Address::Tcp("[::1]:80".parse().unwrap()));
    }

    #[test]
    fn contradictions_are_told() {
        for (text, expected) in [
            ("tls = true", "TLS needs a certificate"),
            ("[[certificate]]\ncert_file = \"a\"\nkey_file = \"b\"", "tls is off"),
            ("address = \"localhost:80\"", "is not an address"),
            ("address = \"unix:\"", "is not an address"),
            ("mode = \"0600\"", "mode is for Unix sockets"),
            ("address = \"unix:/s\"\nmode = \"rw\"", "not a set of permission bits"),
            ("address = \"unix:/s\"\nproxy_protocol_from = [\"10.0.0.0/8\"]", "no network address"),
            (
                "tls = true\nh2c = true\n[[certificate]]\ncert_file = \"a\"\nkey_file = \"b\"",
                "h2c is HTTP/2 without TLS",
            ),
        ] {
            let found = read::<Listen>(text).expect_err(text).join("\n");
            assert!(found.contains(expected), "{text}: {found}");
        }
        for (text, expected) in [
            ("buffer_bytes = 16384", "write at least 32768"),
            ("http2_window_bytes = 1", "no such window"),
            ("http2_streams = 0", "nobody could ever be served"),
            ("connections = 0", "nobody could ever be served"),
            ("workers = 0", "nobody could ever be served"),
            ("head_timeout = \"0s\"", "no time at all"),
        ] {
            let found = read::<Limits>(text).expect_err(text).join("\n");
            assert!(found.contains(expected), "{text}: {found}");
        }
    }
}
