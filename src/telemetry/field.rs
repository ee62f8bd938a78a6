//! The names of fields in logs and lines: one spelling each, dotted, with the unit in the name.
//!
//! In a log record: `tracing::info!({ field::ACCOUNT } = %account, "signed in")`.

/// When, RFC 3339 in UTC.
pub const TIME: &str = "time";
/// The request's reference, as shown on error pages.
pub const REQUEST: &str = "request.id";
/// Who really calls.
pub const PEER: &str = "peer.address";
/// Method.
pub const METHOD: &str = "http.method";
/// Host as asked for.
pub const HOST: &str = "http.host";
/// Path without query values.
pub const PATH: &str = "http.path";
/// Status of the answer.
pub const STATUS: &str = "http.status";
/// Bytes of the answer's body.
pub const BYTES: &str = "http.bytes";
/// How long it took, in milliseconds.
pub const DURATION: &str = "duration_ms";
/// Upstream that answered.
pub const UPSTREAM: &str = "upstream.address";
/// Account id.
pub const ACCOUNT: &str = "account.id";
/// Provider, by the operator's name.
pub const PROVIDER: &str = "provider";
/// Route, by its name or path.
pub const ROUTE: &str = "route";
/// Why it was refused, a short stable word.
pub const DENIAL: &str = "denial";
/// What happened, in the audit log.
pub const EVENT: &str = "event";
/// Why, a short stable word.
pub const REASON: &str = "reason";
/// How many sessions.
pub const SESSIONS: &str = "sessions";
/// A file.
pub const FILE: &str = "file.path";
/// A key of the configuration.
pub const CONFIG_KEY: &str = "config.key";
