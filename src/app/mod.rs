//! Assembly: configuration in, running gateway out.
//!
//! [`Foundation`] is what lives as long as the process: stores, keys, sessions, metrics. A [`Gate`](crate::gateway::Gate)
//! is one generation of everything else, built from a configuration by [`gate`] and replaced whole on reload, so that a
//! configuration that does not stand never replaces one that does. [`Running`] is both, with listeners.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Config, LoadError, listen::Address, problem::Severity},
    event::relay::Relay,
    gateway::{Gates, Worker, control::Control},
    server::Server,
    telemetry::{self, access_log::AccessLog, admin::AdminServer},
};

mod announce;
mod chores;
#[cfg(test)]
mod event_tests;
mod foundation;
mod gate;
mod ready;
#[cfg(test)]
mod reload_tests;
mod signing;
#[cfg(test)]
pub(crate) mod test_gateway;

pub use foundation::Foundation;
use gate::Builder;

/// How long events are offered to their sinks at the end. What is not taken waits for the next start.
const LAST_DELIVERY: Duration = Duration::from_secs(5);

/// A running gateway.
#[derive(Debug)]
pub struct Running {
    foundation: Arc<Foundation>,
    gates: Gates,
    builder: Builder,
    server: Server,
    admin: std::net::SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    relay: Relay,
    shutdown_timeout: Duration,
    started_with: Config,
}

impl Running {
    /// Starts a gateway on the current runtime, which becomes its control plane. When it returns, everything is bound.
    ///
    /// # Errors
    /// Whatever keeps it from starting, with what to do about it.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let foundation = Arc::new(Foundation::open(&config).await?);
        let mut builder = Builder::default();
        let gates = Gates::new(builder.build(&config, &foundation)?);
        let stop = CancellationToken::new();
        let admin = AdminServer::bind(&config.admin, foundation.metrics.clone()).await?;
        let admin_address = admin.address();
        let access_log = AccessLog::open(&config.telemetry, foundation.metrics.dropped_lines("access"))
            .context("cannot open the access log")?;
        let server = serve_requests(&config, &gates, &foundation, access_log)?;
        let mut tasks = chores::start(&foundation, &stop);
        tasks.push(tokio::spawn({
            let (foundation, gates, stop) = (foundation.clone(), gates.clone(), stop.clone());
            let ready = move || {
                let (foundation, gates) = (foundation.clone(), gates.clone());
                async move { ready::dependencies(&foundation, &gates.current()).await }
            };
            async move { admin.run(ready, stop.cancelled_owned()).await }
        }));
        Ok(Self {
            relay: foundation.start_relay(&config),
            shutdown_timeout: config.limits.shutdown_timeout,
            started_with: config,
            foundation,
            gates,
            builder,
            server,
            admin: admin_address,
            stop,
            tasks,
        })
    }

    /// Where clients connect, with the ports the system chose.
    pub fn addresses(&self) -> &[Address] {
        self.server.addresses()
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> std::net::SocketAddr {
        self.admin
    }

    /// What lives as long as the process.
    pub fn foundation(&self) -> &Arc<Foundation> {
        &self.foundation
    }

    /// Takes a new configuration. On an error the old one stays.
    ///
    /// # Errors
    /// Why the new one does not stand.
    pub fn reload(&mut self, config: &Config) -> anyhow::Result<()> {
        let gate = self.builder.build(config, &self.foundation)?;
        self.gates.replace(gate);
        // What was made for sessions by the old configuration is made anew.
        self.foundation.sessions.drop_cache();
        for section in self.needs_restart(config) {
            tracing::warn!(config.key = section, "this section has changed; the change takes effect at the next start");
        }
        Ok(())
    }

    /// Stops: no new connections, running requests end, events and logs are written.
    pub async fn drain(self) {
        let drained = self.server.drain(self.shutdown_timeout).await;
        if drained.cut > 0 {
            tracing::warn!(connections = drained.cut, "some connections were cut at the end of the shutdown time");
        }
        self.foundation.sessions.tell_sightings().await;
        self.relay.drain(LAST_DELIVERY.min(self.shutdown_timeout)).await;
        self.stop.cancel();
        for task in self.tasks {
            let _ = tokio::time::timeout(Duration::from_secs(2), task).await;
        }
    }

    /// Sections of which a change is not taken while running. Secrets do not show in this comparison.
    fn needs_restart(&self, new: &Config) -> Vec<&'static str> {
        let old = &self.started_with;
        let differ = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| format!("{a:?}") != format!("{b:?}");
        let pairs: [(&str, &dyn std::fmt::Debug, &dyn std::fmt::Debug); 7] = [
            ("listen", &old.listen, &new.listen),
            ("limits", &old.limits, &new.limits),
            ("session", &old.session, &new.session),
            ("directory", &old.directory, &new.directory),
            ("event", &old.event, &new.event),
            ("keys", &old.keys, &new.keys),
            ("admin", &old.admin, &new.admin),
        ];
        pairs.into_iter().filter(|(_, old, new)| differ(*old, *new)).map(|(name, ..)| name).collect()
    }
}

/// Starts the workers.
fn serve_requests(
    config: &Config,
    gates: &Gates,
    foundation: &Foundation,
    log: Option<AccessLog>,
) -> anyhow::Result<Server> {
    let control = Control::new(tokio::runtime::Handle::current());
    let routes: Vec<String> = (1..=config.route.len()).map(|number| number.to_string()).collect();
    let (gates, metrics) = (gates.clone(), foundation.metrics.clone());
    let server = Server::start(&config.listen, &config.limits, move |_| {
        let worker_metrics = metrics.worker(routes.iter().map(String::as_str));
        Worker::new(gates.clone(), control.clone(), worker_metrics, log.as_ref().map(AccessLog::worker))
    })?;
    Ok(server)
}

/// `brama serve`: runs until told to stop, reloading when the file changes or on SIGHUP.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn serve(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let log = telemetry::init(&config.telemetry)?;
    control_plane()?.block_on(async {
        let mut running = Running::start(config).await?;
        for address in running.addresses() {
            tracing::info!(%address, "listening");
        }
        tracing::info!(address = %running.admin(), "health, readiness and metrics");
        // Nobody need be listening.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        until_stopped(path, &mut running, &log).await?;
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("stopping: running requests end first");
        running.drain().await;
        Ok(())
    })
}

/// The runtime of the control plane.
///
/// # Errors
/// When the operating system has no threads to give.
pub fn control_plane() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the threads of the control plane")
}

async fn until_stopped(path: &Path, running: &mut Running, log: &telemetry::Log) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut changes = config::watch::changes([path.to_owned()]).context("cannot listen for SIGHUP")?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            Some(()) = changes.recv() => reload(path, running, log),
        }
    }
}

/// Reads the file again; what does not stand is told and changes nothing.
fn reload(path: &Path, running: &mut Running, log: &telemetry::Log) {
    let taken = Config::load(path).map_err(anyhow::Error::from).and_then(|config| {
        running.reload(&config)?;
        Ok(log.reload(&config.telemetry)?)
    });
    let now = running.foundation.clock.now();
    running.foundation.metrics.config_reloaded(taken.is_ok(), now);
    match taken {
        Ok(()) => tracing::info!(file.path = %path.display(), "the new configuration is in use"),
        Err(error) => tell_of_refused(path, &error),
    }
}

/// Says what is wrong, each mistake with its place and remedy: whoever saved the file may see nothing but this log.
fn tell_of_refused(path: &Path, error: &anyhow::Error) {
    tracing::error!(
        file.path = %path.display(),
        error = format!("{error:#}"),
        "the new configuration does not stand; the old one stays"
    );
    if let Some(LoadError::Invalid { problems, .. }) = error.downcast_ref() {
        for problem in problems.iter().filter(|problem| problem.severity == Severity::Error) {
            tracing::error!(
                line = problem.line,
                config.key = problem.key,
                remedy = problem.remedy,
                "in the new configuration: {}",
                problem.what
            );
        }
    }
}
