//! `[directory.mongodb]`: the MongoDB that holds the accounts.

use std::{path::PathBuf, time::Duration};

use super::check_login;
use crate::{
    config::{
        problem::Problems,
        value::{At, Check, section},
    },
    secret::Secret,
};

section! {
    /// The MongoDB replica set that holds the accounts. Reads and writes are always of the majority, whatever the address says.
    pub struct MongoDb {
        /// Address: mongodb://host:27017,host:27017/?replicaSet=NAME or mongodb+srv://host. Add tls=true for TLS.
        url: String,
        /// Name of the database.
        database: String = "brama".into(),
        /// User to log in as; its database of authentication is authSource= of the address, by default admin.
        username: Option<String> = None,
        /// Password of the user; better given as password_file or "${NAME}".
        password: Option<Secret> = None,
        /// File that holds the password; a trailing newline is ignored.
        password_file: Option<PathBuf> = None,
        /// File with the certificate authority of the servers (PEM); by default the public ones. Turns TLS on.
        ca_file: Option<PathBuf> = None,
        /// File with our client certificate and its key (PEM, both in one), for mutual TLS. Turns TLS on.
        cert_file: Option<PathBuf> = None,
        /// Longest a call may take, finding a server included.
        timeout: Duration = Duration::from_secs(5),
    }
}

impl Check for MongoDb {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if !self.url.starts_with("mongodb://") && !self.url.starts_with("mongodb+srv://") {
            at.problem_at(
                "url",
                problems,
                "it is not a MongoDB address",
                "write mongodb://host:27017/?replicaSet=NAME, or mongodb+srv://host",
            );
        } else if has_password(&self.url) {
            at.problem_at(
                "url",
                problems,
                "there is a password in the address",
                "give it as password_file, and take it out of url",
            );
        }
        // What MongoDB forbids in the name of a database, on any system.
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || "/\\.\"$*<>:|?".contains(c);
        if self.database.is_empty() || self.database.len() > 63 || self.database.contains(forbidden) {
            at.problem_at(
                "database",
                problems,
                "it cannot be the name of a database",
                "use up to 63 letters, digits, dashes and underscores",
            );
        }
        if self.timeout.is_zero() {
            at.problem_at("timeout", problems, "no call can be answered in no time", "write a duration such as \"5s\"");
        }
        check_login(at, problems, &self.username, &self.password, &self.password_file);
    }
}

/// Looked for by hand: an address with several hosts is no URL to a parser of URLs.
fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(login, _)| login.contains(':'))
}
