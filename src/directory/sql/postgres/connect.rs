//! How PostgreSQL is reached, and every way in which it may not be, put into words.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr as _,
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode},
};

use crate::{
    config::{directory::Postgres as Config, read_secret, secrets::SecretError},
    directory::{DirectoryError, sql::engine::Failure},
};

/// Why PostgreSQL does not serve us.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file it names cannot be read.
    #[error("cannot read directory.postgres.{key} {} ({why}); let the user who runs brama read it", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The password cannot be used.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Password(#[from] SecretError),
    /// A setting does not fit.
    #[error("directory.postgres.{key}: {what}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
    /// Nobody answers there.
    #[error(
        "PostgreSQL cannot be reached at {address} ({why}); see that it runs, that directory.postgres.url is right and no firewall stands between"
    )]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        why: String,
    },
    /// No secure connection.
    #[error(
        "no secure connection to PostgreSQL at {address} ({why}); see directory.postgres.ca_file, cert_file and key_file, that the certificate names the host of the url, and that the server has ssl = on"
    )]
    Insecure {
        /// Host and port.
        address: String,
        /// What went wrong.
        why: String,
    },
    /// It does not let us in.
    #[error(
        "PostgreSQL refuses the role {role} ({why}); see directory.postgres.username and password_file, and pg_hba.conf for this host"
    )]
    Refused {
        /// The role.
        role: String,
        /// What PostgreSQL said.
        why: String,
    },
    /// The database is not there.
    #[error(
        "there is no database {database}; CREATE DATABASE {database} OWNER {role} makes it, or directory.postgres.url names the wrong one"
    )]
    NoDatabase {
        /// Its name.
        database: String,
        /// Who should own it.
        role: String,
    },
    /// The role may not do what we need.
    #[error(
        "the role {role} lacks a right in the database {database} ({why}); grant CREATE and USAGE on its schema to upgrade tables, SELECT, INSERT, UPDATE and DELETE on the tables, or run `brama directory migrate` as their owner and set directory.migrate = false"
    )]
    Forbidden {
        /// The role.
        role: String,
        /// The database.
        database: String,
        /// What PostgreSQL said.
        why: String,
    },
    /// Only reading is possible there.
    #[error(
        "PostgreSQL at {address} takes no writes (it is a standby or was set read-only); let directory.postgres.url lead to the primary"
    )]
    ReadOnly {
        /// Host and port.
        address: String,
    },
    /// It has no connection left for us.
    #[error(
        "PostgreSQL at {address} has no connection left ({why}); raise its max_connections, or lower directory.postgres.max_connections of every replica"
    )]
    Full {
        /// Host and port.
        address: String,
        /// What PostgreSQL said.
        why: String,
    },
    /// Every connection we may have is in use, or none can be made.
    #[error(
        "no connection to PostgreSQL at {address} within {patience}; either it is down, or the {connections} of directory.postgres.max_connections are too few"
    )]
    Crowded {
        /// Host and port.
        address: String,
        /// How long was waited.
        patience: humantime::FormattedDuration,
        /// How many there may be.
        connections: u32,
    },
    /// It took too long.
    #[error(
        "PostgreSQL gave up a statement after directory.postgres.timeout = {0}; is something holding the tables, or is the server overloaded?"
    )]
    Late(humantime::FormattedDuration),
    /// It starts or stops.
    #[error("PostgreSQL at {address} is starting or stopping ({why}); wait a moment, or see its log")]
    Passing {
        /// Host and port.
        address: String,
        /// What PostgreSQL said.
        why: String,
    },
    /// The tables are of an older version, or not there, and we may not change that.
    #[error(
        "the accounts in the database {database} are of schema {found}, this program needs {known}; run `brama directory migrate`, or set directory.migrate = true"
    )]
    Older {
        /// The database.
        database: String,
        /// The schema there; 0 when there are no tables.
        found: i64,
        /// The schema we need.
        known: i64,
    },
    /// A newer version of this program wrote them.
    #[error(
        "the accounts in the database {database} are of schema {found}, this program knows up to {known}; run the newer version, or restore the backup made before the upgrade"
    )]
    Newer {
        /// The database.
        database: String,
        /// The schema there.
        found: i64,
        /// The newest schema we know.
        known: i64,
    },
    /// Something else.
    #[error("PostgreSQL failed ({why}); see its log")]
    Failed {
        /// What it or the driver said.
        why: String,
    },
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        Self::Directory(DirectoryError::Unavailable(error.to_string()))
    }
}

/// Where the database is and as whom we come, for messages; and how long we wait.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: String,
    pub(super) database: String,
    pub(super) role: String,
    pub(super) timeout: Duration,
    connections: u32,
}

/// How to connect, from what was configured. Reads the files it names.
pub(super) fn options(config: &Config) -> Result<(PgConnectOptions, Place), OpenError> {
    // The error of the parser is not shown: it may quote the address, which may hold a password.
    let options = PgConnectOptions::from_str(&config.url)
        .map_err(|_| setting("url", "it cannot be read; write postgres://host:5432/database"))?;
    let mode = ssl_mode(config, &options)?;
    let mut options = options
        .ssl_mode(mode)
        .application_name("brama")
        // Not asked for: connection poolers refuse what they do not know, and we read no float.
        .extra_float_digits(None)
        .options([
            ("statement_timeout", millis(config.timeout)),
            // A gateway that vanished within a transaction keeps nobody waiting for its locks.
            ("idle_in_transaction_session_timeout", millis(config.timeout * 2)),
        ]);
    if let Some(username) = &config.username {
        options = options.username(username);
    }
    if let Some(password) = read_secret(&config.password, &config.password_file, "directory.postgres.password")? {
        options = options.password(password.expose());
    }
    if let Some(path) = &config.ca_file {
        options = options.ssl_root_cert_from_pem(read("ca_file", path)?);
    }
    if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
        options =
            options.ssl_client_cert_from_pem(read("cert_file", cert)?).ssl_client_key_from_pem(read("key_file", key)?);
    }
    let place = Place::of(&options, config);
    // Every statement in the debug log would be one line a row of a copy.
    Ok((options.disable_statement_logging(), place))
}

/// What the address says, or what is safe: certificates are checked unless the server is this host.
fn ssl_mode(config: &Config, options: &PgConnectOptions) -> Result<PgSslMode, OpenError> {
    let asked = url::Url::parse(&config.url)
        .ok()
        .and_then(|url| url.query_pairs().find(|(key, _)| key == "sslmode").map(|(_, mode)| mode.into_owned()));
    let mode = match asked {
        Some(word) => {
            PgSslMode::from_str(&word).map_err(|_| setting("url", "its sslmode is not known; try verify-full"))?
        }
        None if config.ca_file.is_none() && is_here(options) => PgSslMode::Prefer,
        None => PgSslMode::VerifyFull,
    };
    if config.ca_file.is_some() && !matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
        return Err(setting(
            "ca_file",
            "the sslmode of the url does not look at certificates; write sslmode=verify-full, or leave it out",
        ));
    }
    Ok(mode)
}

/// True when the server can only be on this host.
fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    options.get_socket().is_some()
        || host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The pool: connects when it is first used.
pub(super) fn pool(options: &PgConnectOptions, config: &Config) -> PgPool {
    PgPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(config.timeout)
        .connect_lazy_with(options.clone())
}

/// One connection beside the pool.
pub(super) async fn connect(options: &PgConnectOptions, place: &Place) -> Result<PgConnection, OpenError> {
    match tokio::time::timeout(place.timeout, PgConnection::connect_with(options)).await {
        Ok(connected) => connected.map_err(|error| place.refusal(error)),
        Err(_) => Err(place.silent()),
    }
}

impl Place {
    fn of(options: &PgConnectOptions, config: &Config) -> Self {
        let role = options.get_username().to_owned();
        Self {
            address: match options.get_socket() {
                Some(socket) => socket.display().to_string(),
                None => format!("{}:{}", options.get_host(), options.get_port()),
            },
            database: options.get_database().unwrap_or(&role).to_owned(),
            role,
            timeout: config.timeout,
            connections: config.max_connections,
        }
    }

    /// What a statement's error means: whether to begin anew, or what to tell.
    pub(super) fn failure(&self, error: sqlx::Error) -> Failure {
        match code(&error).as_deref() {
            // serialization_failure, deadlock_detected, unique_violation, foreign_key_violation
            Some("40001" | "40P01" | "23505" | "23503") => Failure::Collided("others were changing the same accounts"),
            _ => self.refusal(error).into(),
        }
    }

    /// The error in words (PostgreSQL, appendix A: error codes).
    pub(super) fn refusal(&self, error: sqlx::Error) -> OpenError {
        let (address, role, database) = (self.address.clone(), self.role.clone(), self.database.clone());
        let why = said(&error);
        match (code(&error).as_deref(), &error) {
            (Some("3D000"), _) => OpenError::NoDatabase { database, role },
            (Some("42501"), _) => OpenError::Forbidden { role, database, why },
            (Some("25006"), _) => self.read_only(),
            (Some("53300"), _) => OpenError::Full { address, why },
            (Some("57014" | "55P03"), _) => OpenError::Late(humantime::format_duration(self.timeout)),
            (Some("57P01" | "57P02" | "57P03"), _) => OpenError::Passing { address, why },
            (Some(code), _) if code.starts_with("28") => OpenError::Refused { role, why },
            (_, sqlx::Error::PoolTimedOut) => OpenError::Crowded {
                address,
                patience: humantime::format_duration(self.timeout),
                connections: self.connections,
            },
            (_, sqlx::Error::Tls(_) | sqlx::Error::Configuration(_)) => OpenError::Insecure { address, why },
            (_, sqlx::Error::Io(io)) if is_of_tls(io) => OpenError::Insecure { address, why },
            (_, sqlx::Error::Io(_)) => self.unreachable(why),
            _ => OpenError::Failed { why },
        }
    }

    pub(super) fn read_only(&self) -> OpenError {
        OpenError::ReadOnly { address: self.address.clone() }
    }

    /// It took our call and says nothing.
    pub(super) fn silent(&self) -> OpenError {
        self.unreachable(format!("no answer within {}", humantime::format_duration(self.timeout)))
    }

    fn unreachable(&self, why: String) -> OpenError {
        OpenError::Unreachable { address: self.address.clone(), why }
    }
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// What the innermost said, without the driver's own preface.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// The TLS library tells of bad certificates by way of I/O errors.
fn is_of_tls(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, OpenError> {
    fs::read(path).map_err(|why| OpenError::File { key, path: path.to_owned(), why })
}

fn setting(key: &'static str, what: impl Into<String>) -> OpenError {
    OpenError::Setting { key, what: what.into() }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}
