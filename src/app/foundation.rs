//! What lives as long as the process.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;

use crate::{
    clock::{Clock, SystemClock},
    config::{self, Config, session::Store},
    directory::{self, Directory, sql::sqlite::LazyFile},
    event::{Event, EventSink, log::AuditLog},
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
    /// Where events go.
    pub events: Arc<dyn EventSink>,
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
        let keys = config::keys::load_or_create(&config.keys, data_folder(config))?;
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
            events: Arc::new(Told { audit, metrics: metrics.clone() }),
            asserter: Arc::new(Asserter::new(signing, issuer, config.headers.assertion_life)),
            streams: Arc::default(),
            directory,
            clock,
            metrics,
            keys,
        })
    }
}

/// The folder of the database: where a key is made when none is configured.
fn data_folder(config: &Config) -> &Path {
    match config.directory.file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Counts events and writes them down.
#[derive(Debug)]
struct Told {
    audit: Option<AuditLog>,
    metrics: Metrics,
}

impl EventSink for Told {
    fn tell(&self, event: &Event) {
        self.metrics.event(event.what.name());
        if let Some(audit) = &self.audit {
            audit.tell(event);
        }
    }
}
