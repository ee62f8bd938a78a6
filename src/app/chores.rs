//! What goes on beside the requests: telling the store which sessions are in use, following its news, cutting streams
//! whose session has ended, dropping what has expired, keeping the signing keys, telling
//! of accounts whose making a crash left untold.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{Foundation, announce, signing};
use crate::session::Change;

/// How often the store is told which sessions were used.
const SIGHTINGS: Duration = Duration::from_secs(2);
/// How often every session with an open stream is looked at, for those that expired.
const STREAMS: Duration = Duration::from_secs(10);
/// How often expired records are dropped.
const SWEEP: Duration = Duration::from_secs(300);

/// Starts them all; they end when `stop` fires.
pub(super) fn start(foundation: &Arc<Foundation>, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let spawn = |chore: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = stop.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(chore).await;
        })
    };
    let f = || foundation.clone();
    let (tell, told) = mpsc::unbounded_channel();
    vec![
        spawn(Box::pin(f().sessions.clone().follow_changes(move |change| {
            // Nobody listens any more only when everything stops.
            let _ = tell.send(change);
        }))),
        spawn(Box::pin(cut_streams(f(), told))),
        spawn(Box::pin(tell_sightings(f()))),
        spawn(Box::pin(sweep(f()))),
        spawn(Box::pin(signing::keep(f()))),
        spawn(Box::pin(announce::keep(f()))),
    ]
}

async fn tell_sightings(foundation: Arc<Foundation>) {
    loop {
        tokio::time::sleep(SIGHTINGS).await;
        foundation.sessions.tell_sightings().await;
    }
}

/// Looks at the sessions of open streams: at once when the store tells of a change, at all of them now and then.
async fn cut_streams(foundation: Arc<Foundation>, mut told: mpsc::UnboundedReceiver<Change>) {
    let (streams, sessions) = (&foundation.streams, &foundation.sessions);
    loop {
        match tokio::time::timeout(STREAMS, told.recv()).await {
            Ok(Some(Change::One(key))) => streams.check(&key, sessions).await,
            Ok(Some(Change::Missed)) => {}
            Ok(Some(Change::Watching)) | Err(_) => streams.check_all(sessions).await,
            Ok(None) => return,
        }
    }
}

async fn sweep(foundation: Arc<Foundation>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        match foundation.sessions.store().sweep(foundation.clock.now()).await {
            Ok(0) => {}
            Ok(dropped) => tracing::debug!(dropped, "dropped expired records"),
            Err(error) => tracing::debug!(%error, "expired records were not dropped this time"),
        }
    }
}
