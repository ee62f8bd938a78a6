//! `[event.sink.NAME.kafka]`: a Kafka topic.

use std::{path::PathBuf, time::Duration};

use crate::{
    config::{
        problem::Problems,
        secrets,
        value::{At, Check, choice, section},
    },
    secret::Secret,
};

choice! {
    /// How we prove who we are (SASL).
    pub enum Sasl {
        /// Not at all, or by the client certificate.
        None = "none",
        /// User name and password as they are: over TLS only.
        Plain = "plain",
        /// Salted challenge and response with SHA-256.
        ScramSha256 = "scram-sha-256",
        /// Salted challenge and response with SHA-512.
        ScramSha512 = "scram-sha-512",
    }
}

section! {
    /// A Kafka topic.
    pub struct Kafka {
        /// Brokers to begin with, each "host:port"; the others are learnt from them.
        brokers: Vec<String>,
        /// Topic to produce to.
        topic: String = "brama.events".into(),
        /// Make the topic when it is not there.
        create_topic: bool = false,
        /// Partitions of a topic we make.
        partitions: u32 = 12,
        /// Replicas of a topic we make; no more than there are brokers.
        replication: u16 = 3,
        /// Speak TLS.
        tls: bool = false,
        /// File with the certificate authorities of the brokers (PEM); by default the system's.
        ca_file: Option<PathBuf> = None,
        /// File with our client certificate chain (PEM), for mutual TLS.
        cert_file: Option<PathBuf> = None,
        /// File with the key of our client certificate (PEM).
        key_file: Option<PathBuf> = None,
        /// How we prove who we are.
        sasl: Sasl = Sasl::None,
        /// User name, for sasl.
        username: Option<String> = None,
        /// Password, for sasl; better given as password_file or "${NAME}".
        password: Option<Secret> = None,
        /// File that holds the password; a trailing newline is ignored.
        password_file: Option<PathBuf> = None,
        /// Longest a batch of events may take until the brokers have acknowledged it.
        timeout: Duration = Duration::from_secs(10),
    }
}

impl Check for Kafka {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let sound = |broker: &String| {
            broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if self.brokers.is_empty() || !self.brokers.iter().all(sound) {
            at.problem_at(
                "brokers",
                problems,
                "each broker must be a host and a port",
                "write brokers = [\"host:9092\", …]",
            );
        }
        if self.topic.is_empty() {
            at.problem_at("topic", problems, "it is empty", "name a topic, such as \"brama.events\"");
        }
        if self.create_topic && (self.partitions == 0 || self.replication == 0) {
            let key = if self.partitions == 0 { "partitions" } else { "replication" };
            at.problem_at(key, problems, "a topic cannot be made with none", "give at least 1");
        }
        if !self.tls && (self.ca_file.is_some() || self.cert_file.is_some()) {
            at.problem_at("tls", problems, "certificates are given, but tls is off", "add tls = true");
        }
        super::check_client_certificate(self.cert_file.is_some(), self.key_file.is_some(), at, problems);
        self.check_login(at, problems);
    }
}

impl Kafka {
    fn check_login(&self, at: &At<'_>, problems: &mut Problems) {
        let password = self.password.is_some() || self.password_file.is_some();
        if self.sasl != Sasl::None && (self.username.is_none() || !password) {
            let key = if self.username.is_none() { "username" } else { "password_file" };
            at.problem_at(
                key,
                problems,
                format!("sasl = \"{}\" needs user name and password", self.sasl.word()),
                "add username and password_file",
            );
        }
        if self.sasl == Sasl::None && (self.username.is_some() || password) {
            at.problem_at(
                "sasl",
                problems,
                "user name or password are given, but sasl is \"none\"",
                "add sasl = \"scram-sha-512\", or whatever the brokers ask for",
            );
        }
        super::check_given_once("password", self.password.is_some(), self.password_file.is_some(), at, problems);
        secrets::check(at, "password", &self.password, &self.password_file, problems);
    }
}
