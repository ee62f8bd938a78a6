//! Events: what happened, told to whoever needs to know.
//!
//! Every account, session and security event is one [`Event`]. The [`journal`] counts it and writes it into the audit
//! log. Where sinks are configured it also becomes a [`Letter`](sink::Letter), a CloudEvents 1.0 message ([`schema`],
//! documented in [`catalogue`]), which is written into the [`outbox`] in the same step as the change it tells of. From
//! there the [`relay`] carries it to every [`EventSink`], in order per account, at least once, and never on a login's
//! way.
//!
//! To add an event: a variant of [`What`], its type in [`schema`], its fields and example in [`catalogue`], then
//! `brama events schema > config/events.schema.json` and the page `docs/events.md`, which a test keeps in step.

use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Profile, ProviderName},
};

pub mod catalogue;
#[cfg(any(feature = "event-rabbitmq", feature = "event-kafka"))]
mod fate;
pub mod file;
pub mod filter;
pub mod journal;
#[cfg(feature = "event-kafka")]
pub mod kafka;
pub mod log;
#[cfg(any(feature = "event-rabbitmq", feature = "event-kafka"))]
pub mod misfit;
pub mod open;
pub mod outbox;
#[cfg(feature = "event-rabbitmq")]
pub mod rabbitmq;
pub mod relay;
pub mod schema;
pub mod sink;
#[cfg(test)]
#[cfg(any(feature = "event-rabbitmq", feature = "event-kafka"))]
mod support;
#[cfg(any(feature = "event-rabbitmq", feature = "event-kafka"))]
mod tls;
pub mod webhook;

pub use self::{journal::Journal, outbox::Outbox, sink::EventSink};

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A first sign-in made an account.
    AccountCreated,
    /// Somebody signed in.
    SignedIn,
    /// Somebody was refused, at sign-in or by a rule.
    Refused {
        /// A short, stable word.
        reason: &'static str,
    },
    /// A session was renewed at its provider.
    Renewed,
    /// A renewal failed for now; the session goes on.
    RenewalFailed {
        /// A short, stable word.
        reason: &'static str,
    },
    /// Somebody signed out.
    SignedOut {
        /// How many sessions ended.
        sessions: usize,
    },
    /// A session was ended by someone or something else.
    Revoked {
        /// A short, stable word.
        reason: &'static str,
    },
    /// An account was tied to one more identity.
    IdentityLinked,
    /// An account is no longer tied to an identity.
    IdentityUnlinked,
    /// An account was shut.
    AccountDisabled,
    /// An account was opened again.
    AccountEnabled,
    /// An account is no more.
    AccountDeleted,
}

impl What {
    /// The event's name, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AccountCreated => "account_created",
            Self::SignedIn => "signed_in",
            Self::Refused { .. } => "refused",
            Self::Renewed => "renewed",
            Self::RenewalFailed { .. } => "renewal_failed",
            Self::SignedOut { .. } => "signed_out",
            Self::Revoked { .. } => "revoked",
            Self::IdentityLinked => "identity_linked",
            Self::IdentityUnlinked => "identity_unlinked",
            Self::AccountDisabled => "account_disabled",
            Self::AccountEnabled => "account_enabled",
            Self::AccountDeleted => "account_deleted",
        }
    }

    /// Why, for events that have a reason.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Refused { reason } | Self::RenewalFailed { reason } | Self::Revoked { reason } => Some(reason),
            _ => None,
        }
    }
}

/// One event. Holds nothing secret: no token, cookie, code or full session key.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// Whose account, when known.
    pub account: Option<AccountId>,
    /// By which provider, when known.
    pub provider: Option<ProviderName>,
    /// By which identity, where it matters which of an account's.
    pub identity: Option<IdentityKey>,
    /// What the provider told of the person, where consumers need it.
    pub profile: Option<Profile>,
    /// Which session: the beginning of its key ([`SESSION_DIGITS`] hexadecimal digits), enough to know it again.
    pub session: Option<String>,
    /// From which address, when a request caused it.
    pub address: Option<std::net::IpAddr>,
    /// The request's reference, when a request caused it.
    pub request: Option<String>,
}

/// How much of a session's key an event shows. The key is a hash and opens nothing; cut, it does not even name a record.
pub const SESSION_DIGITS: usize = 16;

impl Event {
    /// An event of which nothing more is known. Name the rest: `Event { account, ..Event::new(now, what) }`.
    pub fn new(at: Timestamp, what: What) -> Self {
        Self {
            at,
            what,
            account: None,
            provider: None,
            identity: None,
            profile: None,
            session: None,
            address: None,
            request: None,
        }
    }

    /// The same, of the session with this key in hexadecimal.
    #[must_use]
    pub fn of_session(self, key_hex: &str) -> Self {
        Self { session: key_hex.get(..SESSION_DIGITS).map(str::to_owned), ..self }
    }
}
