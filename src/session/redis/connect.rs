//! The connection to Redis: made when it is needed, thrown away when it fails, bounded in time.
//!
//! One multiplexed connection carries all commands. redis-rs has a manager that reconnects, but it keeps the outcome of
//! a reconnection that failed for any reason but I/O (too many clients, a user not yet made), and its pauses grow past
//! a second; here a failed connection leaves nothing behind, so the next command simply tries again.

use std::{
    fmt, fs,
    future::Future,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo as _,
    Pipeline, ProtocolVersion, RedisError, RedisResult, ScriptInvocation, ServerErrorKind, TlsCertificates,
    aio::MultiplexedConnection,
};
use tokio::time::{Instant, error::Elapsed, timeout_at};

use crate::{config::session::Redis as Config, secret::Secret, session::StoreError, told};

/// Why the settings of Redis cannot be used. Whether Redis answers is not asked here.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file it names cannot be read.
    #[error("cannot read session.redis.{key} {} ({why}); let the user who runs brama read it", path.display())]
    File {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// A setting does not fit.
    #[error("session.redis.{key}: {what}")]
    Setting {
        /// The key.
        key: &'static str,
        /// What is wrong and what to do.
        what: String,
    },
}

/// The client for `config`. Reads the files it names.
pub(super) fn client(config: &Config) -> Result<Client, OpenError> {
    let info = connection_info(config)?;
    let tls = config.url.starts_with("rediss://");
    let wants_tls = config.ca_file.is_some() || config.cert_file.is_some();
    if !tls && wants_tls {
        return Err(setting("url", "certificates are given, but the address is without TLS: write rediss://…"));
    }
    if !wants_tls {
        return Client::open(info).map_err(|error| setting("url", error));
    }
    let client_tls = match (&config.cert_file, &config.key_file) {
        (Some(cert), Some(key)) => {
            Some(ClientTlsConfig { client_cert: read("cert_file", cert)?, client_key: read("key_file", key)? })
        }
        _ => None,
    };
    let root_cert = config.ca_file.as_deref().map(|path| read("ca_file", path)).transpose()?;
    Client::build_with_tls(info, TlsCertificates { client_tls, root_cert })
        .map_err(|error| setting("ca_file", format!("the certificates or the key cannot be used ({error}): give PEM")))
}

fn connection_info(config: &Config) -> Result<ConnectionInfo, OpenError> {
    // The error of a bad address does not quote it: it may hold a password.
    let info = config.url.as_str().into_connection_info().map_err(|error| setting("url", error))?;
    let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = &config.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password(config)? {
        settings = settings.set_password(password.expose());
    }
    Ok(info.set_redis_settings(settings))
}

fn password(config: &Config) -> Result<Option<Secret>, OpenError> {
    let Some(path) = &config.password_file else { return Ok(config.password.clone()) };
    let text =
        String::from_utf8(read("password_file", path)?).map_err(|_| setting("password_file", "it is not text"))?;
    Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, OpenError> {
    fs::read(path).map_err(|why| OpenError::File { key, path: path.to_owned(), why })
}

pub(super) fn setting(key: &'static str, what: impl fmt::Display) -> OpenError {
    OpenError::Setting { key, what: what.to_string() }
}

/// The one connection for commands.
pub(super) struct Link {
    client: Client,
    timeout: Duration,
    current: Mutex<Current>,
    /// Held by the one who connects; the others wait for the outcome.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Tells a connection that failed from one made since.
    number: u64,
}

/// How an attempt failed.
enum Failure {
    /// No answer within the time.
    Late,
    /// An error, of the connection or of Redis.
    Error(RedisError),
}

impl Link {
    pub(super) fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout, current: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// Runs a script, and once more when the connection fails.
    pub(super) async fn script<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.run(2, |mut connection| async move { call.invoke_async(&mut connection).await }).await
    }

    /// Runs a script that must not be run twice.
    pub(super) async fn script_once<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.run(1, |mut connection| async move { call.invoke_async(&mut connection).await }).await
    }

    /// Runs commands that may be run twice, and does so when the connection fails.
    pub(super) async fn pipe<T: FromRedisValue>(&self, pipe: &Pipeline) -> Result<T, StoreError> {
        self.run(2, |mut connection| async move { pipe.query_async(&mut connection).await }).await
    }

    async fn run<T, F: Future<Output = RedisResult<T>>>(
        &self,
        attempts: u32,
        ask: impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, StoreError> {
        let mut left = attempts;
        loop {
            left = left.saturating_sub(1);
            match self.attempt(&ask).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if left > 0 && failure.is_of_the_connection() => {}
                Err(failure) => return Err(failure.in_words(self.timeout)),
            }
        }
    }

    async fn attempt<T, F: Future<Output = RedisResult<T>>>(
        &self,
        ask: &impl Fn(MultiplexedConnection) -> F,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.timeout;
        let (connection, number) = timeout_at(deadline, self.connection()).await??;
        let answer = match timeout_at(deadline, ask(connection)).await {
            Ok(answer) => answer.map_err(Failure::Error),
            Err(late) => Err(late.into()),
        };
        if answer.as_ref().is_err_and(Failure::is_of_the_connection) {
            self.discard(number);
        }
        answer
    }

    /// The current connection, made now if there is none. Whoever gives up connecting lets the next one try.
    async fn connection(&self) -> RedisResult<(MultiplexedConnection, u64)> {
        if let Some(current) = self.current().get() {
            return Ok(current);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(made_meanwhile) = self.current().get() {
            return Ok(made_meanwhile);
        }
        let connection = connect(&self.client, unhurried()).await?;
        let mut current = self.current();
        current.number += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.number))
    }

    fn discard(&self, number: u64) {
        let mut current = self.current();
        if current.number == number {
            current.connection = None;
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn get(&self) -> Option<(MultiplexedConnection, u64)> {
        self.connection.clone().map(|connection| (connection, self.number))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: it holds the password.
        write!(f, "Link({})", self.client.get_connection_info().addr())
    }
}

/// A connection without limits of its own: who uses it has a deadline.
pub(super) fn unhurried() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

pub(super) async fn connect(client: &Client, config: AsyncConnectionConfig) -> RedisResult<MultiplexedConnection> {
    client.get_multiplexed_async_connection_with_config(&config).await
}

impl Failure {
    /// Whether a new connection may do better. A read-only answer counts: the address may lead to the new master now.
    fn is_of_the_connection(&self) -> bool {
        match self {
            Self::Late => true,
            Self::Error(error) => {
                error.is_io_error()
                    || error.is_unrecoverable_error()
                    || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
            }
        }
    }

    fn in_words(&self, timeout: Duration) -> StoreError {
        match self {
            Self::Late => late(timeout),
            Self::Error(error) => in_words(error),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Self::Error(error)
    }
}

impl From<Elapsed> for Failure {
    fn from(_: Elapsed) -> Self {
        Self::Late
    }
}

/// No answer within `timeout`.
pub(super) fn late(timeout: Duration) -> StoreError {
    StoreError::Unavailable(format!(
        "Redis did not answer within {} ms; look at its load and the network, or raise session.redis.timeout",
        timeout.as_millis()
    ))
}

/// What the operator should do about an error, by the code Redis begins it with.
const ADVICE: &[(&str, &str)] = &[
    ("OOM", "Redis is out of memory; raise its maxmemory, and keep maxmemory-policy at noeviction"),
    ("NOAUTH", "Redis wants a login; set session.redis.username and password_file"),
    ("WRONGPASS", "Redis refuses user or password; check session.redis.username and password_file"),
    ("NOPERM", "the Redis user may not do this; give it ~PREFIX* &* +@all -@dangerous +client +info"),
    ("READONLY", "this Redis is a replica; point session.redis.url at the master"),
    ("MISCONF", "Redis cannot save to its disk; make room or check its folder"),
    ("WRONGTYPE", "a key of ours holds something else; does another program use session.redis.prefix?"),
    ("LOADING", "Redis is still loading its data; it will answer soon"),
    ("MASTERDOWN", "this Redis has lost its master; point session.redis.url at the master"),
    // Only after NOAUTH, which speaks of it, too.
    ("HELLO", "this Redis is too old; use Redis 6 or newer"),
    ("BUSY", "a script of another program blocks Redis; end it with SCRIPT KILL"),
];

const UNREACHABLE: &str =
    "Redis cannot be reached; is it running at session.redis.url, is TLS meant, do ca_file and cert_file fit?";

pub(super) fn in_words(error: &RedisError) -> StoreError {
    let said = error.to_string();
    if let Some((_, advice)) = ADVICE.iter().find(|(code, _)| error.code() == Some(code) || has_word(&said, code)) {
        return StoreError::Unavailable(told::quoting(advice, &said));
    }
    match error.kind() {
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => StoreError::Corrupt(said),
        ErrorKind::AuthenticationFailed => StoreError::Unavailable(told::quoting(
            "Redis refuses us; check session.redis.username and password_file",
            &said,
        )),
        ErrorKind::Io => StoreError::Unavailable(told::quoting(UNREACHABLE, &said)),
        _ => StoreError::Unavailable(format!("Redis refuses ({said})")),
    }
}

/// Inside a script's error the code can stand anywhere (Redis 6), so it is looked for as a word.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|char: char| !char.is_ascii_alphanumeric()).any(|part| part == word)
}
