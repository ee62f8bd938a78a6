//! `[directory.postgres]`: the PostgreSQL that holds the accounts.

use std::{path::PathBuf, time::Duration};

use super::{check_certificate, check_login};
use crate::{
    config::{
        problem::Problems,
        value::{At, Check, section},
    },
    secret::Secret,
};

section! {
    /// The PostgreSQL (12 or newer) that holds the accounts.
    pub struct Postgres {
        /// Address: postgres://host:5432/database. Its ?sslmode= may be disable, prefer, require, verify-ca or verify-full; by default verify-full, and prefer for this host itself.
        url: String,
        /// Role to log in as.
        username: Option<String> = None,
        /// Password of the role; better given as password_file or "${NAME}".
        password: Option<Secret> = None,
        /// File that holds the password; a trailing newline is ignored.
        password_file: Option<PathBuf> = None,
        /// File with the certificate authority of the server (PEM), beside the public ones, which are always believed.
        ca_file: Option<PathBuf> = None,
        /// File with our client certificate chain (PEM), for mutual TLS.
        cert_file: Option<PathBuf> = None,
        /// File with the key of our client certificate (PEM).
        key_file: Option<PathBuf> = None,
        /// The most connections each process holds. Logins use them, requests do not.
        max_connections: u32 = 10,
        /// Longest a call may take, waiting for a connection included. The server gives up on a statement after the same time.
        timeout: Duration = Duration::from_secs(5),
    }
}

/// What may stand after sslmode=. `allow` is left out: it is plain text wherever the server has not forbidden that.
const MODES: &[&str] = &["disable", "prefer", "require", "verify-ca", "verify-full"];

impl Check for Postgres {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if let Some((what, remedy)) = wrong_address(&self.url) {
            at.problem_at("url", problems, what, remedy);
        }
        if self.max_connections == 0 {
            at.problem_at("max_connections", problems, "without a connection nobody can sign in", "write 1 or more");
        }
        if self.timeout.is_zero() {
            at.problem_at("timeout", problems, "no call can be answered in no time", "write a duration such as \"5s\"");
        }
        check_certificate(at, problems, &self.cert_file, &self.key_file);
        check_login(at, problems, &self.username, &self.password, &self.password_file);
    }
}

/// What is wrong with the address and what to do; never quotes it, for it may hold a password.
fn wrong_address(url: &str) -> Option<(&'static str, &'static str)> {
    let parsed = match url::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "postgres" | "postgresql") => parsed,
        _ => return Some(("it is not a PostgreSQL address", "write postgres://host:5432/database")),
    };
    if parsed.password().is_some() {
        return Some(("there is a password in the address", "give it as password_file, and take it out of url"));
    }
    if parsed.path().trim_matches('/').is_empty() {
        return Some(("it names no database", "write postgres://host:5432/database"));
    }
    let foreign = parsed.query_pairs().any(|(key, value)| key == "sslmode" && !MODES.contains(&&*value));
    foreign.then_some((
        "its sslmode is not known",
        "write one of disable, prefer, require, verify-ca, verify-full, or leave it out",
    ))
}
