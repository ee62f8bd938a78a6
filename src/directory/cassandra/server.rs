//! A real Cassandra for tests: on free ports of the loopback, in a folder of its own, ended with the test process.
//!
//! It takes many seconds to start, so most tests share one and use a keyspace each. TLS with client certificates and
//! passwords are always on. `tests/servers/cassandra/start` runs it: it ends the server when its standard input closes,
//! which happens however the test process ends.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use scylla::client::session::Session;

use super::connect::Settings;
use crate::{
    config::directory::cassandra::{Cassandra as Config, Consistency, SerialConsistency},
    secret::Secret,
};

/// The role of ours, which may make keyspaces.
const ROLE: &str = "brama";
const PASSWORD: &str = "s3cret";

/// The server, and all that is needed to start it again.
pub(crate) struct CassandraServer {
    child: Option<Child>,
    folder: PathBuf,
    native_port: u16,
    storage_port: u16,
    /// What `start` does with the folder when the server has ended.
    afterwards: &'static str,
}

/// The one that tests share; it goes with the test process.
pub(crate) async fn shared() -> &'static CassandraServer {
    static SHARED: OnceLock<CassandraServer> = OnceLock::new();
    tokio::task::spawn_blocking(|| SHARED.get_or_init(|| CassandraServer::start_with("remove"))).await.unwrap()
}

/// A keyspace that no other test uses.
pub(crate) fn fresh_keyspace() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

impl CassandraServer {
    /// Starts one with an empty folder, and makes our role.
    pub(crate) async fn start() -> Self {
        tokio::task::spawn_blocking(|| Self::start_with("keep")).await.unwrap()
    }

    fn start_with(afterwards: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        certificates(&folder);
        let mut server = Self { child: None, folder, native_port: 0, storage_port: 0, afterwards };
        // Another process may take the free ports before Cassandra does.
        for _ in 0..3 {
            let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            [server.native_port, server.storage_port] = ports.map(|port| port.local_addr().unwrap().port());
            if server.try_start(&["Startup complete", "Created default superuser role"]) {
                server.make_role();
                return server;
            }
        }
        panic!("Cassandra does not start: {}", server.log());
    }

    /// Starts it again after [`kill`](Self::kill), on the same ports with the same data.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_start(&["Startup complete"]), "Cassandra does not start again: {}", self.log());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// Settings that reach it, with the right to make the keyspace.
    pub(crate) fn config(&self, keyspace: &str) -> Config {
        Config {
            nodes: vec![format!("127.0.0.1:{}", self.native_port)],
            keyspace: keyspace.to_owned(),
            datacenter: None,
            username: Some(ROLE.to_owned()),
            password: Some(Secret::new(PASSWORD)),
            password_file: None,
            ca_file: Some(self.path("ca.crt")),
            cert_file: Some(self.path("client.crt")),
            key_file: Some(self.path("client.key")),
            server_name: None,
            consistency: Consistency::LocalQuorum,
            serial_consistency: SerialConsistency::LocalSerial,
            replication: Some("{'class': 'NetworkTopologyStrategy', 'replication_factor': 1}".to_owned()),
            timeout: Duration::from_secs(30),
        }
    }

    /// A session past our directory, as administrator.
    pub(crate) async fn meddle(&self) -> Session {
        let mut config = self.config("system");
        (config.username, config.password) = (Some("cassandra".to_owned()), Some(Secret::new("cassandra")));
        Settings::read(&config).unwrap().connect().await.unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn make_role(&self) {
        // On a thread and a runtime of its own: a session ends with the runtime it was made on.
        let making = async {
            let session = self.meddle().await;
            for statement in [
                format!("CREATE ROLE {ROLE} WITH PASSWORD = '{PASSWORD}' AND LOGIN = true"),
                format!("GRANT CREATE ON ALL KEYSPACES TO {ROLE}"),
            ] {
                session.query_unpaged(statement, ()).await.unwrap();
            }
        };
        std::thread::scope(|scope| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            scope.spawn(move || runtime.block_on(making)).join().unwrap();
        });
    }

    fn try_start(&mut self, ready: &[&str]) -> bool {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/cassandra");
        let template = fs::read_to_string(sources.join("cassandra.yaml")).unwrap();
        let settings = template
            .replace("@FOLDER@", &self.folder.to_string_lossy())
            .replace("@NATIVE_PORT@", &self.native_port.to_string())
            .replace("@STORAGE_PORT@", &self.storage_port.to_string());
        fs::write(self.path("cassandra.yaml"), settings).unwrap();
        let log = fs::File::create(self.path("log")).unwrap();
        let child = Command::new(sources.join("start"))
            .args([libs(), self.folder.clone()])
            .arg(self.afterwards)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let child = self.child.insert(child);
        let deadline = Instant::now() + Duration::from_secs(180);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap();
            if ready.iter().all(|line| log.contains(line)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.kill();
        false
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for CassandraServer {
    fn drop(&mut self) {
        self.kill();
        // Whether it goes is of no matter to any test.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Where `tests/servers/cassandra/prepare` put the jars.
fn libs() -> PathBuf {
    let servers = env::var_os("BRAMA_TEST_SERVERS").map_or_else(
        // The test program is TARGET/debug/deps/brama-….
        || env::current_exe().unwrap().ancestors().nth(3).unwrap().join("test-servers"),
        PathBuf::from,
    );
    let libs = servers.join("cassandra/libs");
    assert!(
        libs.is_dir(),
        "these tests need a real Cassandra in {}: run tests/servers/cassandra/prepare (it needs Java 17 and Maven)",
        libs.display()
    );
    libs
}

/// An authority, a server certificate for the loopback and a client certificate; and another authority, to distrust.
fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let authority = |name: &str, file: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        fs::write(folder.join(file), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    };
    let ours = authority("test authority", "ca.crt");
    authority("another authority", "other.crt");
    for (name, hosts) in [("server", ["127.0.0.1", "cassandra.test"].as_slice()), ("client", &["brama"])] {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let certificate = CertificateParams::new(hosts).unwrap().signed_by(&key, &ours).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        // What Cassandra reads: key and certificate in one file.
        fs::write(folder.join(format!("{name}.pem")), key.serialize_pem() + &certificate.pem()).unwrap();
    }
}
