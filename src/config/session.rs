//! `[session]`: how long sessions last, where they live, how their cookie looks.

use std::{path::PathBuf, time::Duration};

use super::problem::Problems;
use super::value::{At, Check, choice, section};
use crate::secret::Secret;

choice! {
    /// Where sessions live.
    pub enum Store {
        /// One SQLite file that also holds accounts.
        Embedded = "embedded",
        /// Redis, shared by all replicas.
        Redis = "redis",
    }
}

section! {
    /// Sessions: how long they last, where they live, how their cookie looks.
    pub struct Session {
        /// Where sessions live: in the embedded file, or in Redis ([session.redis]) shared by all replicas.
        store: Store = Store::Embedded,
        /// A session unused for this long ends.
        idle_timeout: Duration = Duration::from_secs(8 * 3600),
        /// A session ends this long after sign-in, however busy it is.
        absolute_timeout: Duration = Duration::from_secs(7 * 24 * 3600),
        /// Cookie name without its prefix; the prefix __Host- or __Secure- is added where the browser allows it.
        cookie_name: String = "brama".into(),
        /// Domain of the cookie, to share sessions between subdomains. Any of those subdomains can then set (toss) the cookie: leave it out where one host will do.
        cookie_domain: Option<String> = None,
        /// Renew the provider's tokens when less than this is left of the access token's life.
        renew_before: Duration = Duration::from_secs(60),
        /// How long known sessions are served while the store cannot be reached. 0 answers 503 at once.
        outage_grace: Duration = Duration::from_secs(0),
        /// How many sessions each process keeps in memory.
        cache_capacity: usize = 200_000,
        /// How long the remembered provider outlives a session.
        remember_origin: Duration = Duration::from_secs(180 * 24 * 3600),
        /// How long a login may take from the first redirect to the callback.
        login_timeout: Duration = Duration::from_secs(600),
        /// Redis, for store = "redis".
        redis: Option<Redis> = None,
    }
}

section! {
    /// The Redis that holds the sessions.
    pub struct Redis {
        /// Address: redis://host:port/db or rediss://host:port/db for TLS.
        url: String,
        /// ACL user name.
        username: Option<String> = None,
        /// Password; better given as password_file or "${NAME}".
        password: Option<Secret> = None,
        /// File that holds the password; a trailing newline is ignored.
        password_file: Option<PathBuf> = None,
        /// File with the certificate authorities of the server (PEM); by default the system's.
        ca_file: Option<PathBuf> = None,
        /// File with our client certificate chain (PEM), for mutual TLS.
        cert_file: Option<PathBuf> = None,
        /// File with the key of our client certificate (PEM).
        key_file: Option<PathBuf> = None,
        /// Prefix of every key and channel.
        prefix: String = "brama:".into(),
        /// Longest a command may take; one retry follows for commands that can be repeated.
        timeout: Duration = Duration::from_secs(1),
    }
}

impl Check for Redis {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if !self.url.starts_with("redis://") && !self.url.starts_with("rediss://") {
            at.problem_at(
                "url",
                problems,
                "it is not a Redis address",
                "write redis://host:6379/0, or rediss://host:6379/0 for TLS",
            );
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            at.problem_at(
                "cert_file",
                problems,
                "a client certificate needs both cert_file and key_file",
                "give both or neither",
            );
        }
        if self.password.is_some() && self.password_file.is_some() {
            at.problem_at("password", problems, "the password is given twice", "keep password_file and drop password");
        }
    }
}

impl Check for Session {
    fn check(&self, at: &At<'_>, problems: &mut Problems) {
        if self.store == Store::Redis && self.redis.is_none() {
            at.problem_at(
                "store",
                problems,
                "store = \"redis\" needs the table [session.redis]",
                "add [session.redis] with url = \"redis://…\"",
            );
        }
        if self.idle_timeout > self.absolute_timeout {
            at.problem_at(
                "idle_timeout",
                problems,
                "it is longer than absolute_timeout, so it would never count",
                "make it shorter",
            );
        }
    }
}
