//! What lives as long as the process.

use std::sync::Arc;

use anyhow::Context as _;

use crate::{
    clock::{Clock, SystemClock},
    config::{self, Config, session::Store},
    directory::{self, Directory, sql::sqlite::LazyFile},
    event::{
        self, Journal,
        log::AuditLog,
        relay::{self, Addressee, Relay},
    },
    gateway::assertion::{Asserter, SigningKeys},
    secret::KeyRing,
    session::{self, Sessions, lifetime::Lifetime, streams::Streams},
    telemetry::metrics::Metrics,
};

/// Stores, keys, sessions, metrics: opened once, kept over every reload.
#[derive(Debug)]
pub struct Foundation {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// What sealed things are sealed with.
    pub keys: KeyRing,
    /// All sessions.
    pub sessions: Arc<Sessions>,
    /// Open streams by session.
    pub streams: Arc<Streams>,
    /// All accounts.
    pub directory: Arc<dyn Directory>,
    /// Where events are told.
    pub events: Arc<Journal>,
    /// Where they go from there.
    pub sinks: Vec<Addressee>,
    /// Signs assertions.
    pub asserter: Arc<Asserter>,
}

impl Foundation {
    /// Opens everything `config` names. What is on another host need not answer yet.
    ///
    /// # Errors
    /// What cannot be opened, and what to do about it.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metrics = Metrics::new();
        let keys = config::keys::load_or_create(&config.keys, config::folder::of(&config.directory.file))?;
        if config.session.store == Store::Redis && config.keys.is_empty() {
            tracing::warn!(
                "sessions are in Redis, but the sealing key is this host's own: replicas need keys.sealing_file in common"
            );
        }
        let file = LazyFile::at(&config.directory.file);
        let store = session::open(&config.session, &file).await?;
        let directory = directory::open(&config.directory, &file).await?;
        let lifetime = Lifetime { idle: config.session.idle_timeout, absolute: config.session.absolute_timeout };
        let audit =
            AuditLog::open(&config.telemetry, metrics.dropped_lines("audit")).context("cannot open the audit log")?;
        let sinks = event::open::open_all(&config.event)?;
        let scribe = event::open::scribe(&config.event, &config.portal.public_url)?;
        let events = Arc::new(Journal::new(audit, metrics.clone(), scribe, store.clone()));
        let signing = SigningKeys::generate(clock.now())?;
        let issuer = config.portal.public_url.as_str().trim_end_matches('/');
        Ok(Self {
            sessions: Arc::new(Sessions::new(
                store,
                keys.clone(),
                lifetime,
                config.session.outage_grace,
                config.session.cache_capacity,
                clock.clone(),
            )),
            events,
            sinks,
            asserter: Arc::new(Asserter::new(signing, issuer, config.headers.assertion_life)),
            streams: Arc::default(),
            directory,
            clock,
            metrics,
            keys,
        })
    }
}

impl Foundation {
    /// Begins to carry events to their sinks.
    pub(super) fn start_relay(&self, config: &Config) -> Relay {
        let parts = relay::Parts {
            outbox: self.sessions.store().clone(),
            addressees: self.sinks.clone(),
            journal: self.events.clone(),
            clock: self.clock.clone(),
            metrics: self.metrics.outbox().clone(),
        };
        Relay::start(&parts, &config.event)
    }
}
