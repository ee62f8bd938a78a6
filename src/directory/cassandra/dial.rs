//! The session, made when it is first needed: a cluster that is down must not keep the gateway from starting.
//!
//! An attempt runs in a task of its own, so that a caller who gives up does not cut short an upgrade of the tables, and
//! all who wait share its outcome. A failed one leaves nothing behind; the next call, a moment later, tries again. Once
//! there is a session the driver keeps it up by itself.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::time::{Instant, timeout};

use super::{connect::Settings, refusal::OpenError, rows::Rows, schema, statement::Statements};
use crate::directory::DirectoryError;

/// How soon after a failure the next attempt may begin.
const PAUSE: Duration = Duration::from_millis(500);

type Outcome = Result<Arc<Rows>, Arc<OpenError>>;

/// The way to the session.
#[derive(Debug)]
pub(super) struct Dial {
    settings: Arc<Settings>,
    migrate: bool,
    attempt: Mutex<Option<Attempt>>,
}

#[derive(Debug, Clone)]
struct Attempt {
    outcome: Shared<BoxFuture<'static, Outcome>>,
    began: Instant,
}

impl Attempt {
    /// Still under way, or done, or failed just now.
    fn counts(&self) -> bool {
        !matches!(self.outcome.peek(), Some(Err(_))) || self.began.elapsed() < PAUSE
    }
}

impl Dial {
    pub(super) fn new(settings: Settings, migrate: bool) -> Self {
        Self { settings: Arc::new(settings), migrate, attempt: Mutex::default() }
    }

    /// The tables, connecting first if need be; waits no longer than a call may take.
    pub(super) async fn rows(&self) -> Result<Arc<Rows>, DirectoryError> {
        match timeout(self.settings.config.timeout, self.attempt()).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(DirectoryError::Unavailable(error.to_string())),
            Err(_) => Err(DirectoryError::Unavailable("the connection to Cassandra is still being made".to_owned())),
        }
    }

    /// Connects if need be and gives the outcome, however long it takes.
    pub(super) fn attempt(&self) -> Shared<BoxFuture<'static, Outcome>> {
        let mut current = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(attempt) if attempt.counts() => attempt.outcome.clone(),
            _ => current.insert(self.begin()).outcome.clone(),
        }
    }

    fn begin(&self) -> Attempt {
        let task = tokio::spawn(open(Arc::clone(&self.settings), self.migrate));
        let outcome = async {
            let ended =
                task.await.unwrap_or_else(|error| Err(OpenError::Failed { doing: "come up", why: error.to_string() }));
            ended.map(Arc::new).map_err(Arc::new)
        };
        Attempt { outcome: outcome.boxed().shared(), began: Instant::now() }
    }
}

/// Connects, sees to the schema and prepares the statements.
async fn open(settings: Arc<Settings>, migrate: bool) -> Result<Rows, OpenError> {
    let session = settings.connect().await?;
    schema::bring_up(&session, &settings, migrate).await?;
    let statements = Statements::prepare(&session, &settings)
        .await
        .map_err(|error| OpenError::Failed { doing: "prepare our statements", why: error.to_string() })?;
    tracing::info!(keyspace = settings.config.keyspace, "accounts are in Cassandra");
    Ok(Rows { session, statements })
}
