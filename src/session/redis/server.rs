//! A real redis-server for tests: on a free port of the loopback, in a folder of its own, ended with its handle.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{config::session::Redis as Config, secret::Secret, session::Change, session::SessionStore};

/// The server, and all that is needed to start it again.
pub(crate) struct RedisServer {
    child: Option<Child>,
    folder: tempfile::TempDir,
    port: u16,
    tls: bool,
}

/// Durable to the last write.
const SETTINGS: &str = "bind 127.0.0.1\nsave \"\"\nappendonly yes\nappendfsync always\ndaemonize no\n";
const ACL: &str = "user default off\nuser brama on >s3cret ~brama:* &* +@all -@dangerous +client +cluster +info\n";

impl RedisServer {
    /// Plain, without a login.
    pub(crate) fn start() -> Self {
        Self::start_with(false, "")
    }

    /// With TLS (clients must show a certificate of our authority) and the one user `brama`.
    pub(crate) fn start_with_tls_and_acl() -> Self {
        Self::start_with(true, ACL)
    }

    /// Plain, with further lines of configuration.
    pub(crate) fn start_with(tls: bool, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if tls {
            certificates(folder.path());
        }
        fs::write(folder.path().join("settings"), settings).unwrap();
        let mut server = Self { child: None, folder, port: 0, tls };
        // Another process may take the free port before Redis does.
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.try_start() {
                return server;
            }
        }
        panic!("redis-server does not start: {}", server.log());
    }

    /// Starts it again after [`kill`](Self::kill), on the same port with the same data.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_start(), "redis-server does not start again: {}", self.log());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Settings that reach it.
    pub(crate) fn config(&self) -> Config {
        let file = |name| self.tls.then(|| self.path(name));
        Config {
            url: format!("{}://localhost:{}/0", if self.tls { "rediss" } else { "redis" }, self.port),
            username: self.tls.then(|| "brama".into()),
            password: self.tls.then(|| Secret::new("s3cret")),
            password_file: None,
            ca_file: file("ca.crt"),
            cert_file: file("client.crt"),
            key_file: file("client.key"),
            prefix: "brama:".into(),
            timeout: Duration::from_secs(1),
        }
    }

    /// A connection past our store, to meddle with its data.
    pub(crate) async fn meddle(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.config().url).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_start(&mut self) -> bool {
        let port = if self.tls {
            format!(
                "port 0\ntls-port {}\ntls-cert-file server.crt\ntls-key-file server.key\ntls-ca-cert-file ca.crt\ntls-auth-clients yes\n",
                self.port
            )
        } else {
            format!("port {}\n", self.port)
        };
        let settings = fs::read_to_string(self.path("settings")).unwrap();
        fs::write(self.path("redis.conf"), format!("{SETTINGS}{port}{settings}")).unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        let child = Command::new("redis-server")
            .arg("redis.conf")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log)
            .spawn()
            .expect("these tests need a real Redis: install redis-server");
        let child = self.child.insert(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            if fs::read_to_string(self.folder.path().join("log")).unwrap().contains("Ready to accept connections") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until the store hears of changes.
pub(crate) async fn watching(store: &dyn SessionStore) {
    let mut news = store.changes();
    let flowing = async { while news.recv().await.unwrap() != Change::Watching {} };
    tokio::time::timeout(Duration::from_secs(10), flowing).await.expect("news flow within 10 s");
}

/// An authority, a server certificate for localhost and a client certificate.
fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Its own name: OpenSSL takes a certificate whose issuer is named like itself for self-signed.
    params.distinguished_name.push(DnType::CommonName, "test authority");
    fs::write(folder.join("ca.crt"), params.self_signed(&authority_key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, authority_key);
    for (name, host) in [("server", "localhost"), ("client", "brama")] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}
