//! What commands open of a configuration: the accounts, the sessions. Each without what it does not need.

use std::{path::PathBuf, sync::Arc};

use super::check::DEFAULT_FILE;
use crate::{
    clock::{Clock as _, SystemClock},
    config::{Config, LoadError},
    directory::{self, Directory, OpenError, sql::sqlite::LazyFile},
    event::{self, Event, What, sink::Letter},
    identity::{AccountId, IdentityKey},
    session::{self, SessionKey, Whose},
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

/// What a command has done to an account.
pub(super) struct Deed {
    pub(super) what: What,
    pub(super) account: AccountId,
    pub(super) identity: Option<IdentityKey>,
}

/// Tells of a deed, and ends sessions because of it (`reason` is a short stable word); gives their number. Gateways that
/// share a Redis hear of it at once. One that keeps its sessions in the embedded file hears when it next notes the use of
/// such a session, once a minute.
pub(super) async fn tell_and_end(
    config: &Config,
    deed: Deed,
    sessions: Option<(&Whose, &'static str)>,
) -> anyhow::Result<usize> {
    let store = session::open(&config.session, &LazyFile::at(&config.directory.file)).await?;
    let scribe = event::open::scribe(&config.event, &config.portal.public_url)?;
    let letters = |event: &Event| scribe.iter().filter_map(|scribe| scribe.letter(event)).collect::<Vec<Letter>>();
    let now = SystemClock.now();
    let told = Event { account: Some(deed.account), identity: deed.identity, ..Event::new(now, deed.what) };
    store.append(&letters(&told)).await?;
    let Some((whose, reason)) = sessions else { return Ok(0) };
    let telling = |key: &SessionKey, account: &AccountId| {
        letters(&Event { account: Some(*account), ..Event::new(now, What::Revoked { reason }).of_session(&key.hex()) })
    };
    Ok(store.end_all(whose, None, &telling).await?.len())
}
