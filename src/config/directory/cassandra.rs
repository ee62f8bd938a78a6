//! `[directory.cassandra]`: the Cassandra or ScyllaDB that holds the accounts.

use std::{path::PathBuf, time::Duration};

use super::{check_certificate, check_login};
use crate::{
    config::{
        problem::Problems,
        value::{At, Check, choice, section},
    },
    secret::Secret,
};

choice! {
    /// How many replicas answer before a read or write counts. Weaker ones are left out: they could lose an account.
    pub enum Consistency {
        /// Most of this data centre.
        LocalQuorum = "local_quorum",
        /// Most of all replicas.
        Quorum = "quorum",
        /// Most of each data centre; reads are of the local one.
        EachQuorum = "each_quorum",
        /// Every replica.
        All = "all",
    }
}

choice! {
    /// Among whom a conditional write is agreed.
    pub enum SerialConsistency {
        /// This data centre.
        LocalSerial = "local_serial",
        /// All data centres.
        Serial = "serial",
    }
}

section! {
    /// The Cassandra (4.0 or newer) or ScyllaDB cluster that holds the accounts.
    pub struct Cassandra {
        /// Some nodes to learn the cluster from, each as "host:9042".
        nodes: Vec<String>,
        /// Name of the keyspace.
        keyspace: String = "brama".into(),
        /// The data centre this gateway is in: none but its nodes are asked. Has to be set where the cluster has several.
        datacenter: Option<String> = None,
        /// Role to log in as.
        username: Option<String> = None,
        /// Password of the role; better given as password_file or "${NAME}".
        password: Option<Secret> = None,
        /// File that holds the password; a trailing newline is ignored.
        password_file: Option<PathBuf> = None,
        /// File with the certificate authority of the nodes (PEM). Turns TLS on.
        ca_file: Option<PathBuf> = None,
        /// File with our client certificate chain (PEM), for mutual TLS. Turns TLS on.
        cert_file: Option<PathBuf> = None,
        /// File with the key of our client certificate (PEM).
        key_file: Option<PathBuf> = None,
        /// Name that the certificates of all nodes bear; by default each must bear the IP address of its node. Turns TLS on.
        server_name: Option<String> = None,
        /// How many replicas answer before a read or write counts.
        consistency: Consistency = Consistency::LocalQuorum,
        /// Among whom is agreed that an identity is nobody else's. Where people sign in through several data centres: serial.
        serial_consistency: SerialConsistency = SerialConsistency::LocalSerial,
        /// Replication of the keyspace should it have to be made, such as "{'class': 'NetworkTopologyStrategy', 'dc1': 3}". Without, the keyspace must be there.
        replication: Option<String> = None,
        /// Longest a call may take.
        timeout: Duration = Duration::from_secs(5),
    }
}

impl Check for Cassandra {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let with_port = |node: &String| {
            node.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if self.nodes.is_empty() || !self.nodes.iter().all(with_port) {
            at.problem_at(
                "nodes",
                problems,
                "it must name at least one node, each with its port",
                "write nodes = [\"host:9042\"]",
            );
        }
        // An unquoted name of CQL: the statements are made with it.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts_well = self.keyspace.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts_well || self.keyspace.len() > 48 || !self.keyspace.chars().all(plain) {
            at.problem_at(
                "keyspace",
                problems,
                "it cannot be the name of a keyspace",
                "use up to 48 lower-case letters, digits and underscores, a letter first",
            );
        }
        let is_map = |text: &String| text.starts_with('{') && text.ends_with('}') && text.contains("'class'");
        if !self.replication.as_ref().is_none_or(is_map) {
            at.problem_at(
                "replication",
                problems,
                "it is not a replication map",
                "write replication = \"{'class': 'NetworkTopologyStrategy', 'dc1': 3}\"",
            );
        }
        if self.timeout.is_zero() {
            at.problem_at("timeout", problems, "no call can be answered in no time", "write a duration such as \"5s\"");
        }
        check_certificate(at, problems, &self.cert_file, &self.key_file);
        check_login(at, problems, &self.username, &self.password, &self.password_file);
    }
}
