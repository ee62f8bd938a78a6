//! Events: what happened, told to whoever needs to know.
//!
//! Every account, session and security event is one [`Event`]. The [`journal`] counts it and writes it into the audit
//! log; an [`EventSink`] takes it elsewhere.

use serde::Serialize;

use crate::{
    clock::Timestamp,
    identity::{AccountId, ProviderName},
};

#[cfg(any(feature = "event-rabbitmq", feature = "event-kafka"))]
mod fate;
pub mod journal;
#[cfg(feature = "event-kafka")]
pub mod kafka;
pub mod log;
#[cfg(any(feature = "event-rabbitmq", feature = "event-kafka"))]
pub mod misfit;
pub mod open;
#[cfg(feature = "event-rabbitmq")]
pub mod rabbitmq;
pub mod sink;
#[cfg(all(test, any(feature = "event-rabbitmq", feature = "event-kafka")))]
mod support;
#[cfg(any(feature = "event-rabbitmq", feature = "event-kafka"))]
mod tls;

pub use self::{journal::Journal, sink::EventSink};

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
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
        }
    }
}

/// One event. Holds nothing secret: no token, cookie, code or full session key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Whose account, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// By which provider, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderName>,
    /// From which address, when a request caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// The request's reference, when a request caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}
