//! `[admin]`: health, readiness and metrics.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use super::{
    problem::Problems,
    value::{At, Check, section},
};
use crate::secret::Secret;

section! {
    /// Health (/ping), readiness (/ready) and metrics (/metrics), on a listener of their own that no route reaches.
    pub struct Admin {
        /// Address to listen on. Anything but loopback needs a token.
        address: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 4179)),
        /// Host names it may be called by, besides localhost and any IP address; other names are refused against DNS rebinding.
        allowed_hosts: Vec<String> = vec![],
        /// Bearer token for everything but /ping and the bare answer of /ready; better given as token_file or "${NAME}".
        token: Option<Secret> = None,
        /// File that holds the token; a trailing newline is ignored.
        token_file: Option<PathBuf> = None,
    }
}

impl Check for Admin {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        let token = self.token.is_some() || self.token_file.is_some();
        if !self.address.ip().is_loopback() && !token {
            at.problem_at(
                "token_file",
                problems,
                format!("{} can be reached from other hosts, so a token is needed", self.address),
                "add token_file = \"…\", or listen on 127.0.0.1",
            );
        }
        if self.token.is_some() && self.token_file.is_some() {
            at.problem_at("token", problems, "the token is given twice", "keep token_file and drop token");
        }
    }
}
