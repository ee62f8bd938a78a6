//! The server that stands for MongoDB in tests: mongo-java-server, built by tests/servers/mongodb/prepare; on a free port
//! of the loopback, with its data in a folder of its own. It ends with its handle, and with the test process in any case.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use mongodb::Database;

use super::{MongoDirectory, schema};
use crate::{
    config::directory::MongoDb as Config,
    directory::{Directory, conformance::Replicas},
};

/// The server, and all that is needed to start it again.
pub(crate) struct MongoServer {
    running: Option<(Child, ChildStdin)>,
    folder: tempfile::TempDir,
    port: u16,
    tls: bool,
}

impl MongoServer {
    /// Plain.
    pub(crate) fn start() -> Self {
        Self::start_with(false)
    }

    /// With TLS, by a certificate for localhost of our authority `ca.crt`.
    pub(crate) fn start_with_tls() -> Self {
        Self::start_with(true)
    }

    /// One for all tests that do not end it; each should take a database of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<MongoServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start_with(tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let mut server = Self { running: None, folder, port: 0, tls };
        server.restart();
        server
    }

    /// Starts it again after [`kill`](Self::kill), on the same port with the same data.
    pub(crate) fn restart(&mut self) {
        let mut command = Command::new("java");
        let data = self.path("data");
        command
            .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", &class_path(), "Server", &self.port.to_string()])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.path("log")).unwrap());
        if self.tls {
            command.arg(self.path("server.crt")).arg(self.path("server.key"));
        }
        let mut child = command.spawn().expect("these tests need Java: install default-jre-headless");
        let (says, hears) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        self.running = Some((child, hears));
        self.port = listening(says).unwrap_or_else(|| panic!("the MongoDB server does not start: {}", self.log()));
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Settings that reach the database `name` on it.
    pub(crate) fn config(&self, name: &str) -> Config {
        config_at(self.port, name, self.tls.then(|| self.path("ca.crt")))
    }

    /// Settings that reach a database nobody else uses.
    pub(crate) fn fresh(&self) -> Config {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        self.config(&format!("brama-{}", NUMBER.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for MongoServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Settings for a server on this port of the loopback.
pub(crate) fn config_at(port: u16, database: &str, ca_file: Option<PathBuf>) -> Config {
    Config {
        url: format!("mongodb://localhost:{port}"),
        database: database.into(),
        username: None,
        password: None,
        password_file: None,
        ca_file,
        cert_file: None,
        timeout: Duration::from_secs(20),
    }
}

/// The directory at these settings, open.
pub(crate) async fn opened(config: &Config) -> MongoDirectory {
    let directory = MongoDirectory::open(config, true).unwrap();
    directory.ping().await.unwrap();
    directory
}

/// For the conformance suite: a database of its own, reached by two clients.
pub(crate) async fn replicas() -> Replicas {
    let config = MongoServer::shared().fresh();
    Replicas::of(move || {
        let config = config.clone();
        Box::pin(async move { Arc::new(opened(&config).await) as Arc<dyn Directory> })
    })
    .await
}

/// The database past our directory, to look at and meddle with.
pub(crate) async fn meddle(config: &Config) -> Database {
    let address = super::connect::address(config).unwrap();
    let database = super::connect::database(address, &config.database).await.unwrap();
    schema::step_of(&database).await.unwrap();
    database
}

/// What tests/servers/mongodb/prepare made.
fn class_path() -> String {
    let built = env::var_os("BRAMA_TEST_SERVERS").map_or_else(default_folder, PathBuf::from).join("mongodb");
    assert!(
        built.join("made-of").exists(),
        "these tests need the server that stands for MongoDB in {}: run tests/servers/mongodb/prepare",
        built.display()
    );
    format!("{}:{}", built.join("libs/*").display(), built.join("classes").display())
}

/// `test-servers` in cargo's target folder, where this very test lies in `debug/deps`.
fn default_folder() -> PathBuf {
    env::current_exe().unwrap().ancestors().nth(3).unwrap().join("test-servers")
}

/// The port it says it listens on; nothing when it ends or says nothing for too long.
fn listening(says: ChildStdout) -> Option<u16> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(says).read_line(&mut line);
        _ = tell.send(read.ok().and_then(|_| line.trim().strip_prefix("listening ")?.parse().ok()));
    });
    told.recv_timeout(Duration::from_secs(60)).ok().flatten()
}

/// An authority, a certificate for localhost, and a client's with its key in one file.
fn certificates(folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test authority");
    fs::write(folder.join("ca.crt"), params.self_signed(&authority_key).unwrap().pem()).unwrap();
    let authority = Issuer::new(params, authority_key);
    for (name, host) in [("server", "localhost"), ("client", "brama")] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem() + &key.serialize_pem()).unwrap();
    }
}
