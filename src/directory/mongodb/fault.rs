//! What MongoDB's failures mean, in words that say what to do.
//!
//! The server's own text is passed on only where it cannot hold a person's data: refused commands are quoted in it,
//! subjects and addresses included, so of those only code and name are told.

use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::{directory::DirectoryError, told};

/// A unique index has this value already (MongoDB error codes: DuplicateKey).
const DUPLICATE: i32 = 11000;

/// How a command failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// No answer within the time.
    Late(Duration),
    /// The driver's or the server's refusal.
    Refused(Error),
}

/// What kind of trouble it is; the openers' errors are told apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody answers, or not in time.
    Unreachable,
    /// User or password.
    Credentials,
    /// A right is missing.
    Rights,
    /// No primary, no majority: it passes.
    Passing,
    /// An answer we cannot read.
    Unreadable,
    /// Something else.
    Other,
}

/// What the operator should do, by MongoDB's error codes.
const BY_CODE: &[(&[i32], Trouble, &str)] = &[
    (
        &[18, 8000],
        Trouble::Credentials,
        "MongoDB refuses user or password; check directory.mongodb.username and password_file; \
         the user is looked for in the database admin unless the address says ?authSource=NAME",
    ),
    (
        &[13],
        Trouble::Rights,
        "the MongoDB user may not do this; grant it the role readWrite on the database of directory.mongodb.database",
    ),
    (
        &[91, 189, 10107, 11600, 11602, 13435, 13436],
        Trouble::Passing,
        "the replica set has no primary now; it elects one by itself while a majority of its members is up",
    ),
    (
        &[64, 100],
        Trouble::Passing,
        "a majority of the replica set does not confirm the write in time; bring its members up, or look at their lag",
    ),
    (&[14031], Trouble::Passing, "MongoDB's disk is full; make room"),
    (&[50, 202, 262], Trouble::Passing, "MongoDB is too busy; look at its load, or raise directory.mongodb.timeout"),
];

impl Fault {
    /// Whether another document has an identity that was to be written.
    pub(super) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Refused(error) if code(error) == Some(DUPLICATE))
    }

    /// What kind it is, and what to say of it.
    pub(super) fn explained(&self) -> (Trouble, String) {
        match self {
            Self::Late(time) => (
                Trouble::Unreachable,
                format!(
                    "MongoDB did not answer within {} ms; look at its load and the network, or raise directory.mongodb.timeout",
                    time.as_millis()
                ),
            ),
            Self::Refused(error) => explained(error),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Fault> for DirectoryError {
    fn from(fault: Fault) -> Self {
        match fault.explained() {
            (Trouble::Unreadable, why) => Self::Corrupt(why),
            (_, why) => Self::Unavailable(why),
        }
    }
}

fn explained(error: &Error) -> (Trouble, String) {
    if let Some((code, name)) = code_and_name(error) {
        let known = BY_CODE.iter().find(|(codes, ..)| codes.contains(&code));
        let (trouble, advice) =
            known.map_or((Trouble::Other, "MongoDB refuses"), |(_, trouble, advice)| (*trouble, *advice));
        return (trouble, told::quoting(advice, format_args!("MongoDB error {code} {name}")));
    }
    match error.kind.as_ref() {
        ErrorKind::Authentication { message, .. } => (Trouble::Credentials, with(CREDENTIALS, message)),
        ErrorKind::ServerSelection { message, .. } => (Trouble::Unreachable, with(UNREACHABLE, message)),
        ErrorKind::ConnectionPoolCleared { message, .. } => (Trouble::Unreachable, with(UNREACHABLE, message)),
        ErrorKind::Io(why) => (Trouble::Unreachable, with(UNREACHABLE, why)),
        ErrorKind::DnsResolve { message, .. } => (Trouble::Unreachable, with(UNREACHABLE, message)),
        ErrorKind::InvalidTlsConfig { message, .. } => (
            Trouble::Other,
            with("the files of directory.mongodb.ca_file or cert_file cannot be used; give PEM", message),
        ),
        // These could quote the document.
        ErrorKind::Bson(_) | ErrorKind::BsonDeserialization(_) | ErrorKind::InvalidResponse { .. } => {
            (Trouble::Unreadable, "a document in MongoDB does not hold what we write".into())
        }
        ErrorKind::IncompatibleServer { message, .. } => {
            (Trouble::Other, with("this MongoDB is too old; use 4.4 or later", message))
        }
        _ => (Trouble::Other, "the MongoDB driver failed".into()),
    }
}

const CREDENTIALS: &str = "MongoDB refuses user or password; check directory.mongodb.username and password_file; \
     the user is looked for in the database admin unless the address says ?authSource=NAME";
const UNREACHABLE: &str = "MongoDB cannot be reached; is it running at directory.mongodb.url, is replicaSet right, is TLS \
     meant, do ca_file and cert_file fit?";

fn with(advice: &str, said: &impl ToString) -> String {
    told::quoting(advice, said.to_string())
}

fn code(error: &Error) -> Option<i32> {
    code_and_name(error).map(|(code, _)| code)
}

/// The server's code for the refusal and the code's name.
fn code_and_name(error: &Error) -> Option<(i32, &str)> {
    match error.kind.as_ref() {
        ErrorKind::Command(error) => Some((error.code, &error.code_name)),
        ErrorKind::Write(WriteFailure::WriteError(error)) => {
            Some((error.code, error.code_name.as_deref().unwrap_or_default()))
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some((error.code, &error.code_name)),
        _ => None,
    }
}
