//! Which store the configuration means. Only here is it known which backends were built in.

use std::sync::Arc;

use super::{SessionStore, embedded::EmbeddedSessions};
use crate::{
    config::session::{Session as Config, Store},
    directory::sql::sqlite::{self, LazyFile},
};

/// Why the session store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded one.
    #[error(transparent)]
    Embedded(#[from] sqlite::OpenError),
    /// Redis.
    #[cfg(feature = "session-redis")]
    #[error(transparent)]
    Redis(#[from] super::redis::OpenError),
    /// The table [session.redis] is missing.
    #[error("session.store = \"redis\" needs the table [session.redis]: add it with url = \"redis://…\"")]
    NoRedis,
    /// It was not built in.
    #[error(
        "this binary was built without Redis: use one built with the feature session-redis, or set session.store = \"embedded\""
    )]
    NotBuilt,
}

/// Opens the store that `config` names. `file` is the database the embedded one shares with the directory; others
/// leave it alone. Redis need
/// not answer yet. Must be called on the runtime of the control plane.
///
/// # Errors
/// [`OpenError`] says what to change.
pub async fn open(config: &Config, file: &LazyFile) -> Result<Arc<dyn SessionStore>, OpenError> {
    match config.store {
        Store::Embedded => Ok(Arc::new(EmbeddedSessions::open(file.file().await?).await?)),
        #[cfg(feature = "session-redis")]
        Store::Redis => {
            let redis = config.redis.as_ref().ok_or(OpenError::NoRedis)?;
            Ok(Arc::new(super::redis::RedisSessions::open(redis)?))
        }
        #[cfg(not(feature = "session-redis"))]
        Store::Redis => Err(OpenError::NotBuilt),
    }
}
