//! The configuration file, read whole: every mistake at once, each with its place and remedy.
//!
//! One section, one file, one struct. What was written becomes what it means here, once, at start; components receive
//! their section, never the whole. `section!` ([`value`]) derives reading, reference and schema from one definition.
//!
//! * [`Config::load`] reads a file; [`load::inspect`] reads it and keeps the warnings too. What no section can see
//!   alone is checked in `across`.
//! * [`mod@reference`] and [`schema`] write what the sections say of themselves; `config/brama.toml` is the former.
//! * [`secrets`] reads what stands in a `*_file`, and refuses what is no secret at all.
//! * [`watch`] tells when the file may have changed. Keeping the last good configuration is the caller's part.
//!
//! To add a section: a file beside these with a `section!`, a line in [`Config`], then `brama config default >
//! config/brama.toml`. A section that is left out reads as an empty one, so its defaults hold and what it requires is
//! asked for by name.

use std::collections::BTreeMap;

use value::section;

mod across;
pub mod admin;
pub mod directory;
pub mod event;
#[cfg(test)]
mod examples;
pub mod folder;
pub mod forward_auth;
pub mod forwarded;
pub mod headers;
pub mod host;
pub mod keys;
pub mod listen;
pub mod load;
pub mod path;
pub mod portal;
pub mod problem;
pub mod provider;
pub mod reference;
pub mod route;
pub mod schema;
pub mod secrets;
pub mod session;
pub mod telemetry;
pub mod upstream;
pub mod value;
pub mod watch;

pub use load::LoadError;
pub use secrets::read_secret;

section! {
    /// The whole file.
    pub struct Config {
        /// Where clients connect.
        listen: Vec<listen::Listen> = vec![listen::Listen::default()],
        /// How much, how long, how many at the edge.
        limits: listen::Limits,
        /// Proxies before us, and what is believed of them.
        forwarded: forwarded::Forwarded,
        /// Our own pages: sign-in, account, errors, signed out.
        portal: portal::Portal,
        /// Deciding for another proxy.
        forward_auth: forward_auth::ForwardAuth,
        /// The apps, by the name the operator chose.
        upstream: BTreeMap<String, upstream::Upstream> = BTreeMap::new(),
        /// What belongs to which app, and who may pass.
        route: Vec<route::Route> = vec![],
        /// How the apps are told who calls.
        headers: headers::Headers,
        /// Who may vouch for people, by the name the operator chose.
        provider: BTreeMap<String, provider::Provider> = BTreeMap::new(),
        /// Sessions: how long they last, where they live, how their cookie looks.
        session: session::Session,
        /// Accounts and the embedded store.
        directory: directory::Directory,
        /// Events: what happened, told to brokers, web addresses and files.
        event: event::Event,
        /// Keys that seal sessions, pending logins and provider tokens.
        keys: keys::Keys,
        /// Health, readiness and metrics, on a listener of their own.
        admin: admin::Admin,
        /// What is seen: log, access log, audit log.
        telemetry: telemetry::Telemetry,
    }
}
