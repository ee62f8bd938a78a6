//! What commands open of a configuration: the accounts, the sessions. Each without what it does not need.

use std::{path::PathBuf, sync::Arc};

use super::check::DEFAULT_FILE;
use crate::{
    config::{Config, LoadError},
    directory::{self, Directory, OpenError, sql::sqlite::LazyFile},
    session::{self, Whose},
};

/// The configuration a command works by.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigFile {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "BRAMA_CONFIG", hide_env_values = true, default_value = DEFAULT_FILE)]
    pub(super) config: PathBuf,
}

impl ConfigFile {
    pub(super) fn load(&self) -> Result<Config, LoadError> {
        Config::load(&self.config)
    }
}

/// Runs what a command awaits.
pub(super) fn awaited<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The accounts.
pub(super) async fn accounts(config: &Config) -> Result<Arc<dyn Directory>, OpenError> {
    directory::open(&config.directory, &LazyFile::at(&config.directory.file)).await
}

/// Ends sessions; gives their number. Gateways that share a Redis hear of it at once. One that keeps its sessions in the
/// embedded file hears when it next notes the use of such a session, once a minute.
pub(super) async fn end_sessions(config: &Config, whose: &Whose) -> anyhow::Result<usize> {
    let store = session::open(&config.session, &LazyFile::at(&config.directory.file)).await?;
    Ok(store.end_all(whose, None).await?.len())
}
