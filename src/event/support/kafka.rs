//! A real Kafka: one process that is broker and controller.

use std::{env, fs, path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use super::{
    certificates, free_ports,
    leash::{ENDED, Leash},
};
use crate::{
    config::event::kafka::{Kafka as Config, Sasl},
    secret::Secret,
};

/// Larger batches are refused.
pub(crate) const LARGEST: usize = 200_000;

/// The server, and all that is needed to start it again.
pub(crate) struct KafkaServer {
    leash: Option<Leash>,
    folder: tempfile::TempDir,
    ports: [u16; 3],
}

/// The one that all tests share who leave it as it is. It ends with the test process.
pub(crate) fn shared() -> &'static KafkaServer {
    static SHARED: OnceLock<KafkaServer> = OnceLock::new();
    SHARED.get_or_init(KafkaServer::start)
}

impl KafkaServer {
    /// One of one's own, to do violence to.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let at = |name| folder.path().join(name);
        let keystore = [fs::read(at("server.key")).unwrap(), fs::read(at("server.crt")).unwrap()].concat();
        fs::write(at("server.pem"), keystore).unwrap();
        let mut server = Self { leash: None, folder, ports: [0; 3] };
        // Another process may take a free port before Kafka does.
        for _ in 0..3 {
            server.ports = free_ports();
            server.format();
            if server.try_start() {
                return server;
            }
        }
        panic!("Kafka does not start: {}", server.log());
    }

    /// Starts it again after [`kill`](Self::kill), on the same ports with the same data.
    pub(crate) fn restart(&mut self) {
        assert!(self.try_start(), "Kafka does not start again: {}", self.log());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.leash = None;
    }

    /// Plain, without a login: may do everything. `topic` must be made first.
    pub(crate) fn config(&self, topic: &str) -> Config {
        Config {
            brokers: vec![self.address()],
            topic: topic.to_owned(),
            create_topic: false,
            partitions: 4,
            replication: 1,
            tls: false,
            ca_file: None,
            cert_file: None,
            key_file: None,
            sasl: Sasl::None,
            username: None,
            password: None,
            password_file: None,
            timeout: Duration::from_secs(10),
        }
    }

    /// With TLS both ways and a login: `brama` may do everything, `stranger` nothing.
    pub(crate) fn secure(&self, topic: &str, sasl: Sasl, user: &str) -> Config {
        Config {
            brokers: vec![format!("localhost:{}", self.ports[2])],
            tls: true,
            ca_file: Some(self.path("ca.crt")),
            cert_file: Some(self.path("client.crt")),
            key_file: Some(self.path("client.key")),
            sasl,
            username: Some(user.to_owned()),
            password: Some(Secret::new("s3cret")),
            ..self.config(topic)
        }
    }

    /// Where it is without TLS and login.
    pub(crate) fn address(&self) -> String {
        format!("localhost:{}", self.ports[0])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings, an empty log and the users.
    fn format(&self) {
        let [plain, controller, secure] = self.ports;
        let folder = self.folder.path().display();
        // Letters of tests are old, so nothing may be too old. After a kill the broker waits until its former self is
        // given up: not for the 9 s it is by default.
        let settings = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@localhost:{controller}\n\
             listeners=PLAINTEXT://localhost:{plain},CONTROLLER://localhost:{controller},SASL_SSL://localhost:{secure}\n\
             advertised.listeners=PLAINTEXT://localhost:{plain},SASL_SSL://localhost:{secure}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=PLAINTEXT\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
             required user_brama=\"s3cret\";\n\
             listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={SCRAM}\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={SCRAM}\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={folder}/server.pem\n\
             ssl.truststore.type=PEM\n\
             ssl.truststore.location={folder}/ca.crt\n\
             listener.name.sasl_ssl.ssl.client.auth=required\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS;User:brama\n\
             auto.create.topics.enable=false\n\
             message.max.bytes={LARGEST}\n\
             log.retention.ms=-1\n\
             broker.session.timeout.ms=3000\n\
             broker.heartbeat.interval.ms=500\n\
             log.dirs={folder}/data\n\
             offsets.topic.replication.factor=1\n"
        );
        fs::write(self.path("server.properties"), settings).unwrap();
        let _ = fs::remove_dir_all(self.path("data"));
        let user = |mechanism, name| format!("SCRAM-SHA-{mechanism}=[name={name},password=s3cret]");
        let formatted = Command::new("java")
            .args(["-XX:TieredStopAtLevel=1", "-cp", &classes(), "kafka.tools.StorageTool", "format"])
            .args(["-t", "AAAAAAAAQACAAAAAAAAAAA", "-c", "server.properties"])
            .args(["--add-scram", &user(256, "brama"), "--add-scram", &user(512, "brama")])
            .args(["--add-scram", &user(512, "stranger")])
            .current_dir(self.folder.path())
            .output()
            .expect("these tests need Java 17: install default-jdk-headless, as tests/run does");
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
    }

    fn try_start(&mut self) -> bool {
        // Quick to start rather than quick to run; small enough to stand beside the other servers.
        let script = format!(
            "java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m -cp '{}' kafka.Kafka server.properties; echo {ENDED}",
            classes()
        );
        self.leash = Leash::start(&script, self.folder.path(), &[], "Kafka Server started");
        self.leash.is_some()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";

/// The class path: the jars that `tests/servers/kafka/prepare` fetches.
fn classes() -> String {
    let servers = env::var_os("BRAMA_TEST_SERVERS").map_or_else(
        || {
            // …/target/debug/deps/brama-0123
            let this = env::current_exe().unwrap();
            this.ancestors().nth(3).unwrap().join("test-servers")
        },
        PathBuf::from,
    );
    let kafka = servers.join("kafka");
    assert!(
        kafka.join("made-of").exists(),
        "these tests need a real Kafka in {}: run tests/servers/kafka/prepare",
        kafka.display()
    );
    format!("{}/libs/*", kafka.display())
}
