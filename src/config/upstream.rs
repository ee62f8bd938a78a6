//! `[upstream.NAME]`: the apps behind the gateway, and how to reach them.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use http::HeaderValue;
use serde_json::json;
use url::{Host, Url};

use super::problem::Problems;
use super::value::{At, Check, Shape, Value, choice, section};

choice! {
    /// How requests are shared out between the targets.
    pub enum Balance {
        /// One after the other.
        RoundRobin = "round_robin",
        /// To the one with the fewest requests under way.
        LeastConnections = "least_connections",
        /// The same account always to the same target while it is healthy; strangers one after the other.
        Sticky = "sticky",
    }
}

/// What is spoken to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    Http1,
    /// HTTP/2 in the clear, known beforehand (RFC 9113, 3.3).
    H2c,
    /// HTTP over TLS; the version as ALPN agrees.
    Tls,
}

/// Where a target listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or address, without brackets, and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// One place where the app listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it is.
    pub address: Address,
}

const TARGET_SAYS: &str = "an address such as \"http://10.0.0.1:8080\", \"https://app.internal\", \"h2c://10.0.0.1:50051\" or \"unix:/run/app.sock\"";

impl Target {
    /// Reads the text of a target.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        for (prefix, protocol) in [("unix:", Protocol::Http1), ("unix+h2c:", Protocol::H2c)] {
            if let Some(path) = text.strip_prefix(prefix) {
                return Self::unix(protocol, path);
            }
        }
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let (protocol, default_port) = match url.scheme() {
            "http" => (Protocol::Http1, 80),
            "h2c" => (Protocol::H2c, 80),
            "https" => (Protocol::Tls, 443),
            other => return Err(format!("the scheme {other} is not one of http, https, h2c, unix, unix+h2c")),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("it has a path, but requests keep their own".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user name or password".into());
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) if !host.to_string().is_empty() => host.to_string(),
            _ => return Err("it has no host".into()),
        };
        let port = url.port().unwrap_or(default_port);
        if port == 0 {
            return Err("port 0 cannot be called".into());
        }
        Ok(Self { protocol, address: Address::Tcp(host, port) })
    }

    fn unix(protocol: Protocol, path: &str) -> Result<Self, String> {
        if !Path::new(path).is_absolute() {
            return Err("the path of the socket does not start at /".into());
        }
        Ok(Self { protocol, address: Address::Unix(path.into()) })
    }

    /// The authority to name in `Host`: without the port where it is the scheme's own.
    pub fn authority(&self) -> String {
        let default_port = if self.protocol == Protocol::Tls { 443 } else { 80 };
        match &self.address {
            Address::Unix(_) => "localhost".into(),
            Address::Tcp(host, port) => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                if *port == default_port { host } else { format!("{host}:{port}") }
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.protocol) {
            (Address::Unix(path), Protocol::H2c) => write!(f, "unix+h2c:{}", path.display()),
            (Address::Unix(path), _) => write!(f, "unix:{}", path.display()),
            (Address::Tcp(..), Protocol::Http1) => write!(f, "http://{}", self.authority()),
            (Address::Tcp(..), Protocol::H2c) => write!(f, "h2c://{}", self.authority()),
            (Address::Tcp(..), Protocol::Tls) => write!(f, "https://{}", self.authority()),
        }
    }
}

impl Value for Target {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, TARGET_SAYS)?;
        match Self::parse(&text) {
            Ok(target) => Some(target),
            Err(why) => {
                at.problem(
                    problems,
                    format!("\"{}\" cannot be a target: {why}", text.escape_debug()),
                    format!("write {TARGET_SAYS}"),
                );
                None
            }
        }
    }
    fn shape() -> Shape {
        Shape::Leaf {
            says: TARGET_SAYS,
            schema: json!({"type": "string", "pattern": "^(https?://|h2c://|unix(\\+h2c)?:/)"}),
        }
    }
    fn show(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

/// What the app is told in `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// What the client asked for.
    Pass,
    /// The target's own address.
    Target,
    /// Always this.
    Fixed(HeaderValue),
}

const HOST_SAYS: &str = "\"pass\", \"target\" or a fixed host such as \"app.internal\"";

impl Value for HostHeader {
    fn read(at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = at.text(problems, HOST_SAYS)?;
        match text.as_str() {
            "pass" => Some(Self::Pass),
            "target" => Some(Self::Target),
            host => {
                let fixed = host.parse::<http::uri::Authority>().ok().filter(|host| !host.as_str().contains('@'));
                let fixed = fixed.and_then(|host| HeaderValue::from_str(host.as_str()).ok()).map(Self::Fixed);
                if fixed.is_none() {
                    at.problem(
                        problems,
                        format!("\"{}\" cannot stand in Host", host.escape_debug()),
                        format!("write {HOST_SAYS}"),
                    );
                }
                fixed
            }
        }
    }
    fn shape() -> Shape {
        Shape::Leaf { says: HOST_SAYS, schema: json!({"type": "string"}) }
    }
    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Pass => "\"pass\"".into(),
            Self::Target => "\"target\"".into(),
            Self::Fixed(host) => format!("{:?}", host.to_str().unwrap_or_default()),
        })
    }
}

section! {
    /// One app; routes name it by its table's name. Several targets share its requests.
    pub struct Upstream {
        /// Where the app listens, one or several: http://host:port, https://host:port, h2c://host:port (HTTP/2 in the clear, for gRPC), unix:/path or unix+h2c:/path. A Unix socket on the same machine is the fastest.
        targets: Vec<Target>,
        /// How requests are shared out between the targets.
        balance: Balance = Balance::RoundRobin,
        /// Speak HTTP/2 to https targets that offer it (ALPN); gRPC over TLS needs it. WebSockets still go over HTTP/1.1.
        http2: bool = false,
        /// What the app sees in Host: "pass" what the client asked for, "target" the target's own address, or a fixed host.
        host: HostHeader = HostHeader::Pass,
        /// Longest it may take to connect, TLS included; also longest to wait for a free connection.
        connect_timeout: Duration = Duration::from_secs(5),
        /// Longest from the end of the request (or its last byte that moved) to the head of the response. 0 is no limit.
        first_byte_timeout: Duration = Duration::from_secs(60),
        /// Longest the app may pause between bytes of a response. Raise it for apps that stream with long silences. 0 is no limit.
        idle_timeout: Duration = Duration::from_secs(60),
        /// Requests under way to one target from one worker; more wait, for connect_timeout at most. 0 is no limit.
        max_connections: usize = 10_000,
        /// Unused connections kept open to one target by one worker.
        max_idle: usize = 256,
        /// How long an unused connection is kept open. Keep it below the app's own keep-alive time.
        keep_alive: Duration = Duration::from_secs(60),
        /// Bytes read ahead from the app at most for one HTTP/1 response, at least 8192; also bounds the head of a response. Eight times as many once a response has flowed at more than half a gigabit a second for 16 MiB, until it is slow once (64 such bodies at a time on each worker). Less saves memory when clients are slow, more saves CPU on large downloads.
        buffer_bytes: usize = 64 * 1024,
        /// A target that fails this often in a row rests for fail_timeout, if there is another one. 0 never lets one rest.
        max_fails: u32 = 3,
        /// How long a target that failed rests.
        fail_timeout: Duration = Duration::from_secs(10),
        /// How often a request is tried again, on another target if there is one. Only ever when the app cannot have seen it, or when it has no body, its method is idempotent and the kept-alive connection closed before the first byte of an answer.
        retries: u32 = 1,
        /// Ask every target for this path again and again, and use only those that answer well. Leave out to not ask.
        health_path: Option<String> = None,
        /// How often to ask for health_path.
        health_interval: Duration = Duration::from_secs(10),
        /// Longest the answer to health_path may take.
        health_timeout: Duration = Duration::from_secs(2),
        /// Status codes that count as healthy. Empty: any from 200 to 399.
        health_status: Vec<u16> = vec![],
        /// File with the certificate authorities of https targets (PEM); by default the system's.
        ca_file: Option<PathBuf> = None,
        /// File with our client certificate chain (PEM), for mutual TLS.
        cert_file: Option<PathBuf> = None,
        /// File with the key of our client certificate (PEM).
        key_file: Option<PathBuf> = None,
        /// Name that the certificate of https targets must carry; by default the host of each target.
        server_name: Option<String> = None,
        /// Accept any certificate of https targets. Whoever sits on the way can then read and forge everything.
        dangerous_skip_verify: bool = false,
    }
}

/// The least hyper accepts.
const LEAST_BUFFER: usize = 8192;

impl Upstream {
    /// An upstream with these targets and every other key at its default.
    pub fn to(targets: Vec<Target>) -> Self {
        Self {
            targets,
            balance: Balance::RoundRobin,
            http2: false,
            host: HostHeader::Pass,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            max_idle: 256,
            keep_alive: Duration::from_secs(60),
            buffer_bytes: 64 * 1024,
            max_fails: 3,
            fail_timeout: Duration::from_secs(10),
            retries: 1,
            health_path: None,
            health_interval: Duration::from_secs(10),
            health_timeout: Duration::from_secs(2),
            health_status: vec![],
            ca_file: None,
            cert_file: None,
            key_file: None,
            server_name: None,
            dangerous_skip_verify: false,
        }
    }
}

impl Check for Upstream {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let mut refuse = |name: &str, wrong: bool, what: &str, remedy: &str| {
            if wrong {
                at.problem_at(name, problems, what, remedy);
            }
        };
        refuse(
            "targets",
            self.targets.is_empty(),
            "there is no target, so every request would fail",
            "name at least one, such as \"http://127.0.0.1:8080\"",
        );
        refuse("buffer_bytes", self.buffer_bytes < LEAST_BUFFER, "it is too small for HTTP/1", "write 8192 or more");
        refuse(
            "connect_timeout",
            self.connect_timeout.is_zero(),
            "no connection can be made in no time",
            "write a duration such as \"5s\"",
        );
        refuse(
            "cert_file",
            self.cert_file.is_some() != self.key_file.is_some(),
            "a client certificate needs both cert_file and key_file",
            "give both or neither",
        );
        refuse(
            "health_path",
            self.health_path.as_ref().is_some_and(|path| !is_path(path)),
            "it is not a path",
            "write a path that starts with /, such as \"/healthz\"",
        );
        refuse(
            "health_interval",
            self.health_path.is_some() && (self.health_interval.is_zero() || self.health_timeout.is_zero()),
            "health_interval and health_timeout must be longer than nothing",
            "write durations such as \"10s\" and \"2s\"",
        );
        refuse(
            "server_name",
            self.server_name.as_ref().is_some_and(|name| !is_server_name(name)),
            "it is not a host name or address",
            "write the name in the target's certificate, such as \"app.internal\"",
        );
        let has_tls = self.targets.iter().any(|target| target.protocol == Protocol::Tls);
        refuse(
            "ca_file",
            self.ca_file.is_some() && !has_tls && !self.targets.is_empty(),
            "no target is https, so no certificate is ever checked",
            "write the targets as https://… or drop ca_file",
        );
        refuse(
            "ca_file",
            self.ca_file.is_some() && self.dangerous_skip_verify,
            "certificates are not checked (dangerous_skip_verify), so it would never count",
            "drop dangerous_skip_verify",
        );
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok()
}

fn is_server_name(text: &str) -> bool {
    rustls::pki_types::ServerName::try_from(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_in_every_form() {
        for (text, protocol, authority) in [
            ("http://10.0.0.1:8080", Protocol::Http1, "10.0.0.1:8080"),
            ("http://app", Protocol::Http1, "app"),
            ("http://app/", Protocol::Http1, "app"),
            ("https://app.internal", Protocol::Tls, "app.internal"),
            ("https://[::1]:8443", Protocol::Tls, "[::1]:8443"),
            ("h2c://grpc:50051", Protocol::H2c, "grpc:50051"),
            ("h2c://[::1]:50051", Protocol::H2c, "[::1]:50051"),
            ("unix:/run/app.sock", Protocol::Http1, "localhost"),
            ("unix+h2c:/run/app.sock", Protocol::H2c, "localhost"),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.protocol, target.authority().as_str()), (protocol, authority), "{text}");
            assert_eq!(Target::parse(&target.to_string()).unwrap(), target, "{text}");
        }
    }

    #[test]
    fn targets_that_would_surprise_are_refused() {
        for text in [
            "10.0.0.1:8080",
            "ftp://x",
            "http://app/base",
            "http://app?x",
            "http://u:p@app",
            "http://app:0",
            "unix:app.sock",
            "h2c://",
            "h2c:app",
            "http://",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    fn read(text: &str) -> (Option<Upstream>, Vec<String>) {
        let mut problems = Problems::new("brama.toml", text);
        let table = toml::de::DeTable::parse(text).unwrap();
        let span = table.span();
        let value = toml::Spanned::new(span, toml::de::DeValue::Table(table.into_inner()));
        let upstream = Upstream::read(&At::new(&value, "upstream.app"), &mut problems);
        (upstream, problems.into_list().into_iter().map(|problem| problem.to_string()).collect())
    }

    #[test]
    fn defaults_in_the_file_and_in_code_are_the_same() {
        let (read, problems) = read("targets = [\"http://app\"]");
        assert_eq!(problems, Vec::<String>::new());
        let built = Upstream::to(vec![Target::parse("http://app").unwrap()]);
        assert_eq!(format!("{:?}", read.unwrap()), format!("{built:?}"));
    }

    #[test]
    fn mistakes_are_told_together_with_what_to_do() {
        let (_, problems) = read(
            "targets = [\"http://app\"]\nbuffer_bytes = 10\nca_file = \"ca.pem\"\ncert_file = \"c.pem\"\nhealth_path = \"x\"",
        );
        let told = problems.join("\n");
        for expected in ["write 8192 or more", "write the targets as https", "give both or neither", "starts with /"] {
            assert!(told.contains(expected), "{expected} is missing in\n{told}");
        }
        let (upstream, problems) = read("targets = [\"app\", \"http://a/b\"]\nhost = \"a b\"\nbalance = \"random\"");
        assert!(upstream.is_none());
        assert_eq!(problems.len(), 4, "{problems:?}");
    }

    #[test]
    fn host_is_passed_replaced_or_fixed() {
        for (text, expected) in [
            ("pass", HostHeader::Pass),
            ("target", HostHeader::Target),
            ("app.internal", HostHeader::Fixed(HeaderValue::from_static("app.internal"))),
        ] {
            let (upstream, _) = read(&format!("targets = [\"http://app\"]\nhost = \"{text}\""));
            assert_eq!(upstream.unwrap().host, expected);
        }
    }
}
