//! Readiness: which dependency is down, and whether requests can be answered without it.

use std::time::Duration;

use super::Foundation;
use crate::{gateway::Gate, provider::Health, telemetry::admin::Dependency};

/// The longest readiness waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every dependency and how it is. Providers are told but not required: sessions live on without them (threats 11).
pub(super) async fn dependencies(foundation: &Foundation, gate: &Gate) -> Vec<Dependency> {
    let (store, directory) = tokio::join!(
        asked("session store", foundation.sessions.store().ping()),
        asked("directory", foundation.directory.ping())
    );
    let providers = gate.site.login().providers.values().map(|provider| Dependency {
        name: format!("provider {}", provider.name()),
        required: false,
        problem: match provider.health() {
            Health::Ready => None,
            Health::Unready(why) => Some(why),
        },
    });
    [store, directory].into_iter().chain(providers).collect()
}

async fn asked<E: std::fmt::Display>(name: &str, answer: impl Future<Output = Result<(), E>>) -> Dependency {
    let problem = match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {PATIENCE:?}")),
    };
    Dependency { name: name.to_owned(), required: true, problem }
}
