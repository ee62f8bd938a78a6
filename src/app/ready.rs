//! Readiness: which dependency is down, and whether requests can be answered without it.

use std::time::Duration;

use super::Foundation;
use crate::{event::EventSink, gateway::Gate, provider::Health, telemetry::admin::Dependency};

/// The longest readiness waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Every dependency and how it is. Only the session store is required: sessions live on without directory and providers,
/// events wait for their sinks (threats 11), and a gateway taken out of service for their sake would serve nobody.
pub(super) async fn dependencies(foundation: &Foundation, gate: &Gate) -> Vec<Dependency> {
    let sinks = foundation.sinks.iter().map(|addressee| sink(&*addressee.sink));
    let (store, directory, sinks) = tokio::join!(
        asked("session store", true, foundation.sessions.store().ping()),
        asked("directory", false, foundation.directory.ping()),
        futures_util::future::join_all(sinks)
    );
    let providers = gate.site.login().providers.values().map(|provider| Dependency {
        name: format!("provider {}", provider.name()),
        required: false,
        problem: match provider.health() {
            Health::Ready => None,
            Health::Unready(why) => Some(why),
        },
    });
    [store, directory].into_iter().chain(sinks).chain(providers).collect()
}

async fn asked<E: std::fmt::Display>(
    name: &str,
    required: bool,
    answer: impl Future<Output = Result<(), E>>,
) -> Dependency {
    let problem = match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer within {PATIENCE:?}")),
    };
    Dependency { name: name.to_owned(), required, problem }
}

/// A sink gets less time: it must never be why readiness as a whole comes too late.
async fn sink(sink: &dyn EventSink) -> Dependency {
    let problem = match tokio::time::timeout(PATIENCE / 2, sink.ping()).await {
        Ok(answer) => answer.err(),
        Err(_) => Some(format!("no answer within {:?}", PATIENCE / 2)),
    };
    Dependency { name: format!("event sink {}", sink.name()), required: false, problem }
}
