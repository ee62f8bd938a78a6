//! What can go wrong, in words: what, where, why, what to do. Never a password, an address or a claim.

use std::{fmt, path::PathBuf, time::Duration};

use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError, MetadataError,
    NewSessionError, NextPageError, NextRowError, PagerExecutionError, PrepareError, RequestAttemptError, RequestError,
};

use crate::directory::DirectoryError;

/// Why the accounts in Cassandra cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file the settings name cannot be used.
    #[error("cannot use directory.cassandra.{key} {} ({why}); give a PEM or text file that the user who runs brama can read", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A setting does not fit.
    #[error("directory.cassandra.{key}: {what}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
    /// No node answers.
    #[error(
        "no Cassandra node of directory.cassandra.nodes ({nodes}) can be reached ({why}); check the addresses, the firewall, that the nodes run, and cert_file with key_file where they ask for a client certificate"
    )]
    Unreachable {
        /// As configured.
        nodes: String,
        /// What the last of them said.
        why: String,
    },
    /// No trust, in one direction or the other.
    #[error(
        "no TLS with Cassandra ({0}); check directory.cassandra.ca_file, server_name, and cert_file with key_file where the nodes ask for a client certificate"
    )]
    Untrusted(String),
    /// Wrong user name or password.
    #[error(
        "Cassandra refuses the login of the role {0}; check directory.cassandra.username and password_file, and that the role has LOGIN"
    )]
    Credentials(String),
    /// No user name, but one is wanted.
    #[error("Cassandra asks for a login; set directory.cassandra.username and password_file")]
    NoLogin,
    /// A right is missing.
    #[error("the role {role} may not {what}; {remedy}")]
    NotAllowed {
        /// Who.
        role: String,
        /// What was tried.
        what: String,
        /// What to run.
        remedy: String,
    },
    /// The data centre has to be named, or is not there.
    #[error("directory.cassandra.datacenter {what} (the cluster has: {known}); name one of them")]
    Datacenter {
        /// What is wrong.
        what: String,
        /// The data centres there are.
        known: String,
    },
    /// The keyspace is not there and may not be made.
    #[error(
        "the keyspace {keyspace} is not there; create it (CREATE KEYSPACE {keyspace} WITH replication = …), or set directory.cassandra.replication and directory.migrate = true to have it made"
    )]
    NoKeyspace {
        /// Its name.
        keyspace: String,
    },
    /// The schema is old and may not be upgraded here.
    #[error(
        "the tables in the keyspace {keyspace} are of schema {found}, this program needs {known}; run `brama directory migrate`, or set directory.migrate = true"
    )]
    Old {
        /// Where.
        keyspace: String,
        /// The schema found; 0 for none.
        found: i32,
        /// The one needed.
        known: i32,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the tables in the keyspace {keyspace} are of schema {found}, this program knows up to {known}; run the newer version, or restore the backup made before the upgrade"
    )]
    Newer {
        /// Where.
        keyspace: String,
        /// The schema found.
        found: i32,
        /// The newest we know.
        known: i32,
    },
    /// Another process upgrades and does not come to an end.
    #[error(
        "another process has been upgrading the tables in the keyspace {0} for too long; see what its log says, then start again"
    )]
    Upgrading(String),
    /// Cassandra answered with an error.
    #[error("Cassandra did not {doing} ({why}); see its log")]
    Failed {
        /// What was asked.
        doing: &'static str,
        /// Its answer.
        why: String,
    },
}

pub(super) fn setting(key: &'static str, what: impl fmt::Display) -> OpenError {
    OpenError::Setting { key, what: what.to_string() }
}

/// Why there is no session. `nodes` and `role` are as configured.
pub(super) fn no_session(error: &NewSessionError, nodes: String, role: &str) -> OpenError {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error: why,
        ..
    })) = error
    else {
        return OpenError::Unreachable { nodes, why: error.to_string() };
    };
    match why {
        ConnectionError::ConnectionSetupRequestError(setup) => match setup.get_error() {
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, _) => {
                OpenError::Credentials(role.to_owned())
            }
            ConnectionSetupRequestErrorKind::MissingAuthentication => OpenError::NoLogin,
            // TLS 1.3 tells of a certificate it wanted only after the handshake.
            _ if tells_of_tls(why) => OpenError::Untrusted(why.to_string()),
            _ => OpenError::Unreachable { nodes, why: why.to_string() },
        },
        _ if tells_of_tls(why) => OpenError::Untrusted(why.to_string()),
        _ => OpenError::Unreachable { nodes, why: why.to_string() },
    }
}

/// Whether the TLS library is where this comes from. The driver keeps that error deep within its own, in places, as text.
fn tells_of_tls(error: &ConnectionError) -> bool {
    let text = error.to_string();
    match error {
        ConnectionError::IoError(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => text.contains("fatal alert") || text.contains("peer certificate"),
    }
}

/// A failed statement of the schema's making. `what` is what was tried, `remedy` what gives the right to it.
pub(super) fn not_made(
    error: &ExecutionError,
    role: &str,
    doing: &'static str,
    remedy: impl FnOnce() -> String,
) -> OpenError {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _)) => {
            OpenError::NotAllowed { role: role.to_owned(), what: doing.to_owned(), remedy: remedy() }
        }
        _ => OpenError::Failed { doing, why: reason(error) },
    }
}

/// True when a write that ended so may still have happened, or may yet.
pub(super) fn may_have_happened(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::RequestTimeout(_) => true,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => !matches!(
            error,
            DbError::Unavailable { .. }
                | DbError::Unauthorized
                | DbError::Invalid
                | DbError::SyntaxError
                | DbError::ConfigError
                | DbError::IsBootstrapping
        ),
        ExecutionError::LastAttemptError(_) => true,
        _ => false,
    }
}

impl From<ExecutionError> for DirectoryError {
    fn from(error: ExecutionError) -> Self {
        Self::Unavailable(reason(&error))
    }
}

impl From<PagerExecutionError> for DirectoryError {
    fn from(error: PagerExecutionError) -> Self {
        match error {
            PagerExecutionError::NextPageError(error) => page(&error),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<NextRowError> for DirectoryError {
    fn from(error: NextRowError) -> Self {
        match error {
            NextRowError::NextPageError(error) => page(&error),
            other => unreadable(other),
        }
    }
}

fn page(error: &NextPageError) -> DirectoryError {
    match error {
        NextPageError::RequestFailure(error) => DirectoryError::Unavailable(request(error)),
        other => DirectoryError::Unavailable(other.to_string()),
    }
}

/// What is in a table is not what we write.
pub(super) fn unreadable(error: impl fmt::Display) -> DirectoryError {
    DirectoryError::Corrupt(format!("a row is not of the form we write: {error}"))
}

fn reason(error: &ExecutionError) -> String {
    match error {
        ExecutionError::LastAttemptError(error) => attempt(error),
        ExecutionError::RequestTimeout(timeout) => late(*timeout),
        ExecutionError::ConnectionPoolError(error) => pool(error),
        ExecutionError::PrepareError(PrepareError::ConnectionPoolError(error)) => pool(error),
        ExecutionError::EmptyPlan => nobody(),
        other => other.to_string(),
    }
}

fn request(error: &RequestError) -> String {
    match error {
        RequestError::LastAttemptError(error) => attempt(error),
        RequestError::RequestTimeout(timeout) => late(*timeout),
        RequestError::ConnectionPoolError(error) => pool(error),
        RequestError::EmptyPlan => nobody(),
        other => other.to_string(),
    }
}

fn attempt(error: &RequestAttemptError) -> String {
    let RequestAttemptError::DbError(error, told) = error else { return error.to_string() };
    match error {
        DbError::Unavailable { consistency, required, alive } => {
            format!(
                "too few replicas are up: {alive} of the {required} that {consistency} needs; start the missing nodes"
            )
        }
        DbError::Unauthorized => {
            format!("{told}; as an administrator, GRANT SELECT and GRANT MODIFY on the keyspace to our role")
        }
        other => other.to_string(),
    }
}

fn pool(error: &ConnectionPoolError) -> String {
    format!("no connection to Cassandra: {error}")
}

fn late(timeout: Duration) -> String {
    format!("Cassandra did not answer within {}", humantime::format_duration(timeout))
}

fn nobody() -> String {
    "no node of the data centre is known to be up".to_owned()
}
