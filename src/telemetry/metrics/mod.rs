//! Metrics, as OpenMetrics text.
//!
//! Two kinds, for the two planes. What every request counts is in a [`WorkerMetrics`], one a worker, which only that
//! worker writes: no lock, no shared cache line; they are summed when somebody asks. Everything else (logins, renewals,
//! store calls …) happens seldom and is counted in the [`Metrics`] themselves, which are cheap to clone.
//!
//! Labels have few values: names from the configuration and short stable words, never what a stranger sent.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

mod outbox;
mod worker;

use self::worker::Workers;
pub use self::{outbox::OutboxMetrics, worker::WorkerMetrics};
use crate::{clock::Timestamp, identity::ProviderName};

/// A step of the login funnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoginStep {
    /// A browser was sent to a provider.
    Begun,
    /// A provider's answer came back.
    Callback,
    /// Somebody is signed in.
    Completed,
}

impl LoginStep {
    fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Callback => "callback",
            Self::Completed => "completed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    provider: String,
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    provider: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    provider: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    target: String,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallTime {
    target: String,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Provider {
    provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificate {
    certificate: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LogName {
    log: &'static str,
}

/// Upper bounds for calls to stores and providers, in seconds.
const CALL_BOUNDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// Everything that is counted. Clones count into the same place.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    workers: Workers,
    families: Arc<Families>,
}

/// What the control plane counts.
#[derive(Debug)]
struct Families {
    login_steps: Family<Step, Counter>,
    login_failures: Family<Failure, Counter>,
    renewals: Family<Outcome, Counter>,
    calls: Family<Call, Counter>,
    call_times: Family<CallTime, Histogram>,
    sessions_begun: Family<Provider, Counter>,
    sessions_ended: Family<Reason, Counter>,
    events: Family<Kind, Counter>,
    certificates: Family<Certificate, Gauge>,
    reloads: Family<Reload, Counter>,
    reloaded_at: Gauge,
    dropped_lines: Family<LogName, Counter>,
    outbox: OutboxMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// With nothing counted yet.
    pub fn new() -> Self {
        let families = Families {
            login_steps: Family::default(),
            login_failures: Family::default(),
            renewals: Family::default(),
            calls: Family::default(),
            call_times: Family::new_with_constructor(|| Histogram::new(CALL_BOUNDS)),
            sessions_begun: Family::default(),
            sessions_ended: Family::default(),
            events: Family::default(),
            certificates: Family::default(),
            reloads: Family::default(),
            reloaded_at: Gauge::default(),
            dropped_lines: Family::default(),
            outbox: OutboxMetrics::default(),
        };
        let workers = Workers::default();
        let registry = Arc::new(families.registry(&workers));
        Self { registry, workers, families: Arc::new(families) }
    }

    /// A worker's own counters, for the routes of its configuration in their order. After a reload the worker takes
    /// new ones; what the old ones counted stays counted.
    pub fn worker<I>(&self, routes: I) -> WorkerMetrics
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.workers.begin(routes.into_iter().map(Into::into).collect())
    }

    /// A login has come as far as `step`.
    pub fn login(&self, step: LoginStep, provider: &ProviderName) {
        let labels = Step { provider: provider.to_string(), step: step.word() };
        self.families.login_steps.get_or_create(&labels).inc();
    }

    /// A login has failed; `reason` is a short stable word.
    pub fn login_failed(&self, provider: &ProviderName, reason: &'static str) {
        let labels = Failure { provider: provider.to_string(), reason };
        self.families.login_failures.get_or_create(&labels).inc();
    }

    /// A renewal has ended: `ok`, or a short stable word.
    pub fn renewal(&self, provider: &ProviderName, outcome: &'static str) {
        let labels = Outcome { provider: provider.to_string(), outcome };
        self.families.renewals.get_or_create(&labels).inc();
    }

    /// A call to the session store, the directory or a provider has ended: `ok`, or a short stable word.
    /// `target` is `session`, `directory` or the provider's name.
    pub fn call(&self, target: &str, operation: &'static str, outcome: &'static str, took: Duration) {
        let labels = Call { target: target.to_owned(), operation, outcome };
        self.families.calls.get_or_create(&labels).inc();
        let labels = CallTime { target: target.to_owned(), operation };
        self.families.call_times.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A session has begun.
    pub fn session_begun(&self, provider: &ProviderName) {
        self.families.sessions_begun.get_or_create(&Provider { provider: provider.to_string() }).inc();
    }

    /// `count` sessions have ended; `reason` is a short stable word.
    pub fn sessions_ended(&self, reason: &'static str, count: u64) {
        self.families.sessions_ended.get_or_create(&Reason { reason }).inc_by(count);
    }

    /// An event was told ([`What::name`](crate::event::What::name)).
    pub fn event(&self, event: &'static str) {
        self.families.events.get_or_create(&Kind { event }).inc();
    }

    /// When a certificate of ours ends.
    pub fn certificate_expires(&self, name: &str, at: Timestamp) {
        self.families.certificates.get_or_create(&Certificate { certificate: name.to_owned() }).set(at.as_secs());
    }

    /// The configuration was read again; when it was not sound, the old one stays.
    pub fn config_reloaded(&self, ok: bool, now: Timestamp) {
        let outcome = if ok { "ok" } else { "failed" };
        self.families.reloads.get_or_create(&Reload { outcome }).inc();
        if ok {
            self.families.reloaded_at.set(now.as_secs());
        }
    }

    /// The counter of lines a log (`access`, `audit`) had to drop.
    pub fn dropped_lines(&self, log: &'static str) -> Counter {
        self.families.dropped_lines.get_or_create(&LogName { log }).clone()
    }

    /// Events on their way to sinks.
    pub fn outbox(&self) -> &OutboxMetrics {
        &self.families.outbox
    }

    /// All of it, as OpenMetrics text.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

impl Families {
    fn registry(&self, workers: &Workers) -> Registry {
        let mut registry = Registry::with_prefix("brama");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", build);
        registry.register_collector(Box::new(workers.clone()));
        registry.register("login_steps", "Logins that came as far as this step", self.login_steps.clone());
        registry.register("login_failures", "Logins that failed", self.login_failures.clone());
        registry.register("renewals", "Renewals of sessions at their provider", self.renewals.clone());
        registry.register("calls", "Calls to stores and providers", self.calls.clone());
        registry.register_with_unit(
            "call",
            "Time of calls to stores and providers",
            Unit::Seconds,
            self.call_times.clone(),
        );
        registry.register("sessions_begun", "Sessions that began", self.sessions_begun.clone());
        registry.register("sessions_ended", "Sessions that were ended", self.sessions_ended.clone());
        registry.register("events", "Events told", self.events.clone());
        registry.register_with_unit(
            "certificate_expiry",
            "When a certificate ends, seconds since 1970",
            Unit::Seconds,
            self.certificates.clone(),
        );
        registry.register("config_reloads", "Times the configuration was read again", self.reloads.clone());
        registry.register_with_unit(
            "config_reloaded",
            "When a sound configuration was last read again, seconds since 1970",
            Unit::Seconds,
            self.reloaded_at.clone(),
        );
        registry.register("log_lines_dropped", "Lines a log had to drop", self.dropped_lines.clone());
        self.outbox.register(&mut registry);
        registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::new();
        let google = ProviderName::new("google");
        metrics.login(LoginStep::Begun, &google);
        metrics.login(LoginStep::Begun, &google);
        metrics.login_failed(&google, "untrusted");
        metrics.renewal(&google, "ok");
        metrics.call("session", "find", "ok", Duration::from_millis(2));
        metrics.session_begun(&google);
        metrics.sessions_ended("signed_out", 3);
        metrics.certificate_expires("app.example.com", Timestamp::from_secs(42));
        metrics.config_reloaded(false, Timestamp::from_secs(7));
        metrics.dropped_lines("access").inc();
        let text = metrics.render();
        for line in [
            r#"brama_login_steps_total{provider="google",step="begun"} 2"#,
            r#"brama_login_failures_total{provider="google",reason="untrusted"} 1"#,
            r#"brama_renewals_total{provider="google",outcome="ok"} 1"#,
            r#"brama_calls_total{target="session",operation="find",outcome="ok"} 1"#,
            r#"brama_call_seconds_count{target="session",operation="find"} 1"#,
            r#"brama_sessions_ended_total{reason="signed_out"} 3"#,
            r#"brama_certificate_expiry_seconds{certificate="app.example.com"} 42"#,
            r#"brama_config_reloads_total{outcome="failed"} 1"#,
            r#"brama_config_reloaded_seconds 0"#,
            r#"brama_log_lines_dropped_total{log="access"} 1"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} is not in:\n{text}");
        }
        assert!(text.contains(r#"brama_build_info{version=""#));
    }
}
