//! A real RabbitMQ.

use std::{fs, path::PathBuf, sync::OnceLock, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    certificates, free_ports,
    leash::{ENDED, Leash},
};
use crate::{
    config::event::rabbitmq::RabbitMq as Config,
    secret::{Secret, random, sha256},
};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Larger bodies are refused.
pub(crate) const LARGEST: usize = 100_000;

/// The server, and all that is needed to start it again.
pub(crate) struct RabbitServer {
    leash: Option<Leash>,
    folder: tempfile::TempDir,
    ports: [u16; 4],
    settings: &'static str,
}

/// The one that all tests share who leave it as it is. It ends with the test process.
pub(crate) fn shared() -> &'static RabbitServer {
    static SHARED: OnceLock<RabbitServer> = OnceLock::new();
    SHARED.get_or_init(RabbitServer::start)
}

impl RabbitServer {
    /// One of one's own, to do violence to.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// One of one's own, with further lines of configuration.
    pub(crate) fn start_with(settings: &'static str) -> Self {
        assert!(
            PathBuf::from(SERVER).exists(),
            "these tests need a real RabbitMQ: install rabbitmq-server, as tests/run does"
        );
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        fs::write(folder.path().join("plugins"), "[].").unwrap();
        fs::write(folder.path().join("definitions.json"), definitions()).unwrap();
        let mut server = Self { leash: None, folder, ports: [0; 4], settings };
        // Another process may take a free port before RabbitMQ does.
        for _ in 0..3 {
            server.ports = free_ports();
            if server.try_start() {
                return server;
            }
        }
        panic!("RabbitMQ does not start: {}", server.log());
    }

    /// Starts it again after [`kill`](Self::kill), on the same ports with the same data.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_start(), "RabbitMQ does not start again: {}", self.log());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.leash = None;
    }

    /// Plain, as the user who may do everything.
    pub(crate) fn config(&self) -> Config {
        self.config_as("brama")
    }

    /// Plain, as another user: `writer` may only write, `stranger` may do nothing.
    pub(crate) fn config_as(&self, user: &str) -> Config {
        Config {
            url: format!("amqp://localhost:{}", self.ports[0]),
            username: Some(user.to_owned()),
            password: Some(Secret::new("s3cret")),
            password_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            exchange: "brama.events".to_owned(),
            routing_key: "{type}".to_owned(),
            unroutable_after: Duration::from_mins(10),
            timeout: Duration::from_secs(10),
        }
    }

    /// With TLS both ways.
    pub(crate) fn tls(&self) -> Config {
        Config {
            url: format!("amqps://localhost:{}", self.ports[1]),
            ca_file: Some(self.path("ca.crt")),
            cert_file: Some(self.path("client.crt")),
            key_file: Some(self.path("client.key")),
            ..self.config()
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_start(&mut self) -> bool {
        let [plain, tls, distribution, epmd] = self.ports;
        let folder = self.folder.path().display();
        let settings = format!(
            "listeners.tcp.local = 127.0.0.1:{plain}\n\
             listeners.ssl.local = 127.0.0.1:{tls}\n\
             ssl_options.cacertfile = {folder}/ca.crt\n\
             ssl_options.certfile = {folder}/server.crt\n\
             ssl_options.keyfile = {folder}/server.key\n\
             ssl_options.verify = verify_peer\n\
             ssl_options.fail_if_no_peer_cert = true\n\
             load_definitions = {folder}/definitions.json\n\
             max_message_size = {LARGEST}\n\
             distribution.listener.interface = 127.0.0.1\n\
             log.console = true\n\
             log.file = false\n\
             {}\n",
            self.settings
        );
        fs::write(self.path("rabbitmq.conf"), settings).unwrap();
        // Erlang would otherwise start an epmd that outlives everything. "Under systemd" means: do not fork.
        let script = format!("epmd & until epmd -names >/dev/null 2>&1; do sleep 0.02; done; {SERVER}; echo {ENDED}");
        let settings = [
            ("HOME", folder.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT", epmd.to_string()),
            ("RUNNING_UNDER_SYSTEMD", "1".to_owned()),
            ("RABBITMQ_NODENAME", format!("brama{plain}@localhost")),
            ("RABBITMQ_MNESIA_BASE", format!("{folder}/data")),
            ("RABBITMQ_LOG_BASE", format!("{folder}/logs")),
            ("RABBITMQ_CONFIG_FILE", format!("{folder}/rabbitmq")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{folder}/plugins")),
            ("RABBITMQ_PID_FILE", format!("{folder}/pid")),
            ("RABBITMQ_DIST_PORT", distribution.to_string()),
        ];
        self.leash = Leash::start(&script, self.folder.path(), &settings, "Server startup complete");
        self.leash.is_some()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// Users and rights. All have the password `s3cret`.
fn definitions() -> String {
    let user = |name: &str| {
        serde_json::json!({
            "name": name, "password_hash": password_hash("s3cret"),
            "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "",
        })
    };
    let right = |name: &str, configure: &str, write: &str, read: &str| serde_json::json!({ "user": name, "vhost": "/", "configure": configure, "write": write, "read": read });
    serde_json::json!({
        "users": [user("brama"), user("writer"), user("stranger")],
        "vhosts": [{ "name": "/" }],
        "permissions": [right("brama", ".*", ".*", ".*"), right("writer", "^$", "^given-", "^$")],
    })
    .to_string()
}

/// As RabbitMQ stores it: a salt of four bytes, then SHA-256 of salt and password.
fn password_hash(password: &str) -> String {
    let salt: [u8; 4] = random();
    let hash = sha256(&[&salt, password.as_bytes()].concat());
    STANDARD.encode([&salt[..], &hash].concat())
}
