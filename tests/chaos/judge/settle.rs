//! Waiting until all is calm.

use std::time::{Duration, Instant};

use crate::{constellation::Constellation, killer};

/// Longest it may take until nothing waits any more. A replica that took over waits for the lease of the one before.
const SETTLES_WITHIN: Duration = Duration::from_secs(120);

/// Waits until no event waits anywhere.
pub(super) async fn settle(constellation: &Constellation) -> Result<(), String> {
    killer::all_well(&constellation.gateways).await?;
    let deadline = Instant::now() + SETTLES_WITHIN;
    let mut received = 0;
    loop {
        let pending = constellation.gateways[0].command(&["events", "pending"]).await;
        let left = constellation.events.left().await;
        let before = std::mem::replace(&mut received, constellation.events.read().len());
        if pending.as_ref().is_ok_and(|told| is_nothing(told)) && left == Some(0) && before == received {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("events wait after {SETTLES_WITHIN:?}: {pending:?}, in the queue {left:?}"));
        }
        // Longer than a message is on its way to who receives it.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// True when `brama events pending` tells that nothing waits and nothing was given up.
fn is_nothing(told: &str) -> bool {
    told.starts_with("waiting: 0\n")
        && told.contains("dead letters: 0")
        && told.lines().all(|line| !line.ends_with(" behind") || line.ends_with(": 0 behind"))
}
