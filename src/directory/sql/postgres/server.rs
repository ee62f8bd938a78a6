//! A real PostgreSQL for tests: on a free port of the loopback, in a folder of its own, ended with its handle.
//!
//! TLS alone, passwords by SCRAM; the role `brama` must show a certificate of our authority besides. It never runs as
//! root, which PostgreSQL refuses: then the user `postgres` of the package is borrowed.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};

use crate::{config::directory::Postgres as Config, secret::Secret};

/// The server, and all that is needed to start it again.
pub(crate) struct PostgresServer {
    child: Option<Child>,
    folder: tempfile::TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    databases: AtomicU32,
}

const HBA: &str = "\
hostssl all brama 127.0.0.1/32 scram-sha-256 clientcert=verify-ca
hostssl all brama ::1/128      scram-sha-256 clientcert=verify-ca
hostssl all all   127.0.0.1/32 scram-sha-256
hostssl all all   ::1/128      scram-sha-256
";

impl PostgresServer {
    /// The one the tests of this process share; it ends with the last of them.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        tokio::task::spawn_blocking(|| {
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                let server = Arc::new(Self::start());
                *shared = Arc::downgrade(&server);
                server
            })
        })
        .await
        .unwrap()
    }

    /// One of its own, for a test that ends it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Self {
            child: None,
            folder,
            programs: programs(),
            user: borrowed_user(),
            port: 0,
            databases: AtomicU32::new(0),
        };
        server.initialise();
        // Another process may take the free port before PostgreSQL does.
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.try_start() {
                return server;
            }
        }
        panic!("PostgreSQL does not start: {}", server.log());
    }

    /// Starts it again after [`kill`](Self::kill), on the same port with the same data.
    pub(crate) fn restart(&mut self) {
        // It refuses while a process of the killed server is still on its way out.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.try_start() {
            let log = self.log();
            let lingering = log.contains("is still in use") || log.contains("lock file");
            assert!(lingering && Instant::now() < deadline, "PostgreSQL does not start again: {log}");
        }
    }

    /// `kill -9` of the whole server. Its other processes notice at once that the first is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Makes a database that belongs to the role `brama`; gives its name.
    pub(crate) async fn database(&self) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::SeqCst));
        self.run("postgres", &format!("CREATE DATABASE {name} OWNER brama")).await;
        name
    }

    /// Runs statements as the superuser.
    pub(crate) async fn run(&self, database: &str, sql: &str) {
        let mut connection = self.superuser(database).await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A connection past our code.
    pub(crate) async fn superuser(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .host("localhost")
            .port(self.port)
            .username("super")
            .password("s3cret")
            .database(database)
            .ssl_root_cert(self.path("ca.crt"));
        PgConnection::connect_with(&options).await.unwrap()
    }

    /// Settings that reach `database` as the role `brama`.
    pub(crate) fn config(&self, database: &str) -> Config {
        Config {
            url: format!("postgres://localhost:{}/{database}", self.port),
            username: Some("brama".into()),
            password: Some(Secret::new("s3cret-of-brama")),
            password_file: None,
            ca_file: Some(self.path("ca.crt")),
            cert_file: Some(self.path("client.crt")),
            key_file: Some(self.path("client.key")),
            max_connections: 4,
            timeout: Duration::from_secs(20),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes the cluster, the certificates and, in a first run by itself, the role.
    fn initialise(&self) {
        certificates(self.folder.path());
        fs::write(self.path("password"), "s3cret").unwrap();
        self.hand_over();
        let arguments = "-D data -U super -A scram-sha-256 --pwfile=password -E UTF8 --locale=C.UTF-8 --no-sync";
        self.succeeds("initdb", &arguments.split(' ').collect::<Vec<_>>(), None);
        fs::write(self.path("data/pg_hba.conf"), HBA).unwrap();
        self.hand_over();
        let role = "CREATE ROLE brama LOGIN PASSWORD 's3cret-of-brama'\n";
        self.succeeds("postgres", &["--single", "-D", "data", "postgres"], Some(role));
    }

    fn try_start(&mut self) -> bool {
        let port = self.port.to_string();
        let settings = [
            format!("port={port}"),
            "listen_addresses=localhost".into(),
            "unix_socket_directories=".into(),
            "ssl=on".into(),
            "ssl_cert_file=../server.crt".into(),
            "ssl_key_file=../server.key".into(),
            "ssl_ca_file=../ca.crt".into(),
            "max_connections=200".into(),
            "shared_buffers=16MB".into(),
        ];
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command("postgres");
        command.args(["-D", "data"]).args(settings.iter().flat_map(|setting| ["-c", setting]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let child = self.child.insert(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline && child.try_wait().unwrap().is_none() {
            if fs::read_to_string(self.folder.path().join("log")).unwrap().contains("ready to accept connections") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        false
    }

    /// The program, as the user who may run it, in our folder.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env_clear().env("LC_ALL", "C.UTF-8").env("PATH", &self.programs);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn succeeds(&self, program: &str, arguments: &[&str], input: Option<&str>) {
        fs::write(self.path("input"), input.unwrap_or_default()).unwrap();
        let input = fs::File::open(self.path("input")).unwrap();
        let output = self.command(program).args(arguments).stdin(input).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !told.contains("ERROR"), "{program} fails: {told}");
    }

    /// Gives every file to the user who runs the server.
    fn hand_over(&self) {
        let Some((user, group)) = self.user else { return };
        chown(self.folder.path(), Some(user), Some(group)).unwrap();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            chown(entry.unwrap().path(), Some(user), Some(group)).unwrap();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the programs are: Debian keeps them off the PATH, by version.
fn programs() -> PathBuf {
    let mut folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.map(|version| version.unwrap().path().join("bin")));
    }
    let complete = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    folders.into_iter().find(complete).expect("these tests need a real PostgreSQL: install postgresql")
}

/// User and group id of `postgres` when we are root, who may not run it.
fn borrowed_user() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    is_root.then(|| {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let line = users.lines().find(|line| line.starts_with("postgres:"));
        let line = line.expect("PostgreSQL does not run as root: install postgresql, which brings the user postgres");
        let fields: Vec<&str> = line.split(':').collect();
        (fields[2].parse().unwrap(), fields[3].parse().unwrap())
    })
}

/// An authority, a server certificate for localhost, a client certificate, and an authority nobody knows.
fn certificates(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    let authority = |name: &str, file: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        fs::write(folder.join(file), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    };
    authority("a stranger", "stranger.crt");
    let issuer = authority("test authority", "ca.crt");
    for (name, host) in [("server", "localhost"), ("client", "brama")] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        let file = folder.join(format!("{name}.key"));
        fs::write(&file, key.serialize_pem()).unwrap();
        // PostgreSQL takes no key that others may read.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
}
