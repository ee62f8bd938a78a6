//! What every sink must do: the contract between the relay and a broker, an address or a file.
//!
//! A sink moves [`Letter`]s and answers only when they are safe where they went. It knows nothing of outboxes, retries
//! and back-off: those are the relay's. To add one: a file beside this with what is odd about it, its settings in
//! `config/event/`, an arm in [`open`](super::open).

use std::fmt;

use async_trait::async_trait;

use crate::{clock::Timestamp, told::Examined};

/// One event on its way to a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// CloudEvents `id`: the same at every repetition, for consumers to drop duplicates by.
    pub id: String,
    /// CloudEvents `type`, such as `io.brama.session.begun`.
    pub kind: String,
    /// What order is kept by: the account id, else the provider name or "gateway".
    pub key: String,
    /// When, for sinks that have a place for it.
    pub at: Timestamp,
    /// CloudEvents 1.0 JSON (structured mode), UTF-8.
    pub body: bytes::Bytes,
}

/// Why letters were not (all) taken. The first `delivered` of the slice were acknowledged and must not be offered again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} (after {delivered} were taken)")]
pub struct Undelivered {
    /// How many of the slice were taken.
    pub delivered: usize,
    /// Why the next one was not.
    pub why: Why,
}

/// Why a letter was not taken. The texts say what to do, and hold nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The sink cannot be reached, is busy or refuses us: the same letters are offered again later, in order.
    #[error("the sink does not take events now: {0}")]
    Unavailable(String),
    /// Letter number `delivered` can never be taken (too large, wanted by nobody, rejected as such): it goes to the dead
    /// letters, the rest goes on.
    #[error("the sink can never take this event: {0}")]
    Poison(String),
}

/// Where events go in the end. Called by the relay alone, one call at a time per partition, never on a login's way.
#[async_trait]
pub trait EventSink: Send + Sync + fmt::Debug {
    /// For metrics, logs, dead letters: the name the operator gave it.
    fn name(&self) -> &str;

    /// Offers letters in order; returns when the sink has durably acknowledged every one (publisher confirm, acks=all,
    /// fsync, 2xx).
    ///
    /// # Errors
    /// [`Undelivered`] says how many were taken, and what is to become of the next one.
    async fn deliver(&self, letters: &[Letter]) -> Result<(), Undelivered>;

    /// Asks whether it answers, for readiness.
    ///
    /// # Errors
    /// In words, with what to do.
    async fn ping(&self) -> Result<(), String>;

    /// Asks everything that a delivery will need, for `brama doctor`: makes nothing there and sends no event.
    ///
    /// # Errors
    /// What is wrong and what to do.
    async fn examine(&self) -> Examined;
}
