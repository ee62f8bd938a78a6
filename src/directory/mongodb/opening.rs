//! Reaching the database: in the background, again and again until it is there and its schema is ours.
//!
//! The gateway starts without the directory, to serve the sessions there are. So nothing here is final: a server that
//! comes up, a right that is granted, a schema that `brama directory migrate` brings up are found at the next try.

use std::{sync::Arc, time::Duration};

use mongodb::{Database, options::ConnectionString};
use tokio::{sync::watch, task::JoinHandle};

use super::{OpenError, connect, schema};
use crate::directory::DirectoryError;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The database on its way.
pub(super) struct Opening {
    progress: watch::Receiver<Progress>,
    trying: JoinHandle<()>,
}

/// How far it is.
#[derive(Clone)]
enum Progress {
    /// The first try is under way.
    Begun,
    /// The last try failed so.
    Failed(Arc<OpenError>),
    /// There, and of our schema.
    Open(Database),
}

/// What is tried.
pub(super) struct Goal {
    pub(super) address: ConnectionString,
    pub(super) database: String,
    pub(super) migrate: bool,
    /// Longest a command may take.
    pub(super) timeout: Duration,
}

impl Opening {
    /// Begins to try.
    pub(super) fn begin(goal: Goal) -> Self {
        let (tell, progress) = watch::channel(Progress::Begun);
        Self { progress, trying: tokio::spawn(keep_trying(goal, tell)) }
    }

    /// The database, waiting for the try under way at most this long.
    pub(super) async fn database(&self, time: Duration) -> Result<Database, DirectoryError> {
        let mut progress = self.progress.clone();
        let known = progress.wait_for(|progress| !matches!(progress, Progress::Begun));
        // Left out of time or by a runtime that ends, it is as it was: begun.
        _ = tokio::time::timeout(time, known).await;
        match &*self.progress.borrow() {
            Progress::Open(database) => Ok(database.clone()),
            Progress::Failed(why) => Err(DirectoryError::Unavailable(why.to_string())),
            Progress::Begun => Err(still_opening()),
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.trying.abort();
    }
}

fn still_opening() -> DirectoryError {
    DirectoryError::Unavailable("MongoDB is still being opened; its indexes may be being made".into())
}

async fn keep_trying(goal: Goal, tell: watch::Sender<Progress>) {
    let mut told = String::new();
    loop {
        match goal.attempt().await {
            Ok(database) => {
                if !told.is_empty() {
                    tracing::info!("the accounts in MongoDB can be reached now");
                }
                tell.send_replace(Progress::Open(database));
                return;
            }
            Err(error) => {
                let why = error.to_string();
                // Once for each reason: it may stay the same for hours.
                if why != told {
                    tracing::error!(error = why, "the accounts in MongoDB cannot be opened; trying on");
                    told = why;
                }
                tell.send_replace(Progress::Failed(Arc::new(error)));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Goal {
    /// One try.
    pub(super) async fn attempt(&self) -> Result<Database, OpenError> {
        let database = schema::within(self.timeout, connect::database(self.address.clone(), &self.database)).await?;
        schema::bring_up(&database, self.migrate, self.timeout).await?;
        Ok(database)
    }
}
