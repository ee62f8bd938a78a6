//! The way to the app.
//!
//! An [`Upstream`] is one app with its targets; all workers share it, and with it what is known of each target's health.
//! A [`Pool`] holds one worker's connections. [`send()`] takes a finished request, chooses a target, finds a connection and
//! returns the response once its head is there.
//!
//! # What others may rely on
//!
//! * A request is sent a second time only when the app cannot have seen it, or when it has no body, its method is
//!   idempotent and a kept connection closed before the first byte of an answer. A POST that may have been seen is never
//!   repeated.
//! * A connection is used again only after both messages on it ended cleanly. Dropping the future of [`send()`], or a
//!   [`ResponseBody`] before its end, closes the connection at once: the app stops working for a client that has gone.
//! * A body that was cut, or that paused for longer than allowed, ends in an error and never looks whole.
//! * A response whose length could be read in two ways is refused, and so is a 101 nobody asked for.
//! * What is read ahead is bounded, on HTTP/1 by `buffer_bytes`.
//!
//! # What is deliberately absent
//!
//! No header is judged or changed here but `Host`: hygiene is the forwarder's work. No status code is chosen. Nothing
//! follows redirects. Answers to `Expect: 100-continue` are not waited for: that field ends at the gateway.
//!
//! To speak another protocol to targets: a scheme in `config::upstream`, an arm in `pool`'s `Lane::way`, a file beside
//! `multiplexed`.

use std::{path::PathBuf, sync::Arc};

use http::StatusCode;

use crate::config::upstream::{self as config, Protocol};

mod balance;
mod body;
mod connect;
mod error;
mod examine;
mod health;
mod http1;
mod multiplexed;
mod pool;
mod progress;
mod send;
mod stall;
mod stream;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub(crate) use self::{body::ReadyBody, stall::Stall, stream::Stream};
pub use self::{
    body::ResponseBody,
    error::{Side, UpstreamError},
    health::watch,
    pool::Pool,
    progress::Progress,
    send::{SendOptions, send},
    target::Target,
};

/// One app and its targets, shared by all workers.
#[derive(Debug)]
pub struct Upstream {
    name: String,
    config: config::Upstream,
    targets: Vec<Target>,
    tls: Option<tls::Tls>,
}

/// Why an upstream cannot be built from its configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file it names is of no use.
    #[error("cannot use {}: {why}; check that it is a PEM file this process may read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system has no certificate authorities.
    #[error("no certificate authority is known on this system; install them or set ca_file")]
    NoRoots,
    /// A target cannot be called.
    #[error("target {target}: {why}")]
    Target {
        /// The target.
        target: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The TLS settings contradict each other.
    #[error("the TLS settings cannot be used")]
    Tls(#[from] rustls::Error),
}

impl Upstream {
    /// Builds the upstream `name`; reads the certificates its configuration names.
    ///
    /// # Errors
    /// When a file or target is of no use.
    pub fn build(name: &str, config: config::Upstream) -> Result<Arc<Self>, BuildError> {
        let server_name = config.server_name.as_deref();
        let targets: Result<Vec<Target>, _> =
            config.targets.iter().map(|target| Target::build(target, server_name)).collect();
        let needs_tls = config.targets.iter().any(|target| target.protocol == Protocol::Tls);
        let tls = if needs_tls { Some(tls::Tls::open(&config)?) } else { None };
        Ok(Arc::new(Self { name: name.to_owned(), targets: targets?, tls, config }))
    }

    /// Its name in the configuration; for logs and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its targets, in the order of the configuration.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// True when an account's requests go to one target, so that senders tell whose they are.
    pub fn is_sticky(&self) -> bool {
        self.config.balance == config::Balance::Sticky
    }

    /// True when a prober should [`watch`] it.
    pub fn wants_probes(&self) -> bool {
        self.config.health_path.is_some()
    }

    fn is_healthy_status(&self, status: StatusCode) -> bool {
        match self.config.health_status.as_slice() {
            [] => status.is_success() || status.is_redirection(),
            listed => listed.contains(&status.as_u16()),
        }
    }
}
