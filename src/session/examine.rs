//! Asking the session store for `brama doctor`. Changes nothing that lasts.

use std::path::Path;

use super::{OpenError, embedded};
use crate::{
    config::session::{Session as Config, Store},
    told::{Examined, Told},
};

/// Examines the store that `config` names; `file` is the database the embedded one would use.
///
/// # Errors
/// What is wrong and what to do.
pub async fn examine(config: &Config, file: &Path) -> Examined {
    match config.store {
        Store::Embedded => embedded::examine(file).await,
        #[cfg(feature = "session-redis")]
        Store::Redis => match &config.redis {
            Some(redis) => super::redis::examine(redis).await,
            None => Err(Told::parse(OpenError::NoRedis)),
        },
        #[cfg(not(feature = "session-redis"))]
        Store::Redis => Err(Told::parse(OpenError::NotBuilt)),
    }
}
