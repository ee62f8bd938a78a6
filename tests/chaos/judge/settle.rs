//! Waiting until all is calm.

use std::time::{Duration, Instant};

use crate::{constellation::Constellation, killer};

/// Longest it may take until nothing waits any more. A replica that took over waits for the lease of the one before.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);
/// How many of the events that were given up are shown.
const DEAD_SHOWN: usize = 3;

/// Waits until no event waits anywhere.
pub(super) async fn settle(constellation: &Constellation) -> Result<(), String> {
    killer::all_well(&constellation.gateways).await?;
    let deadline = Instant::now() + SETTLES_WITHIN;
    loop {
        let pending = constellation.gateways[0].command(&["events", "pending"]).await;
        // In this order: what waits no more has been sent, and is before the mark that is looked for.
        if pending.as_ref().is_ok_and(|told| is_nothing(told)) && constellation.events.are_read().await {
            return Ok(());
        }
        if Instant::now() > deadline {
            let dead = constellation.gateways[0].command(&["events", "pending", "--dead"]).await.unwrap_or_default();
            let dead: Vec<_> = dead.lines().take(DEAD_SHOWN).collect();
            return Err(format!(
                "events wait after {SETTLES_WITHIN:?}: {pending:?}, or are not received; dead: {dead:#?}"
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// True when `brama events pending` tells that nothing waits and nothing was given up.
fn is_nothing(told: &str) -> bool {
    told.starts_with("waiting: 0\n")
        && told.contains("dead letters: 0")
        && told.lines().all(|line| !line.ends_with(" behind") || line.ends_with(": 0 behind"))
}
