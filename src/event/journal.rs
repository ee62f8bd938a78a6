//! The journal: every event is counted and written into the audit log.

use super::{Event, log::AuditLog};
use crate::telemetry::metrics::Metrics;

/// Tells every event to whoever runs the gateway. Never waits and never fails.
#[derive(Debug)]
pub struct Journal {
    audit: Option<AuditLog>,
    metrics: Metrics,
}

impl Journal {
    /// A journal that counts in `metrics` and writes to `audit`.
    pub fn new(audit: Option<AuditLog>, metrics: Metrics) -> Self {
        Self { audit, metrics }
    }

    /// Counts one event and writes it down.
    pub fn tell(&self, event: &Event) {
        self.metrics.event(event.what.name());
        if let Some(audit) = &self.audit {
            audit.tell(event);
        }
    }
}
