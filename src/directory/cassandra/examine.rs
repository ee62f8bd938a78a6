//! Asking Cassandra everything that a start and a sign-in need of it, and changing nothing.

use scylla::client::session::Session;

use super::{connect::Settings, refusal::OpenError, rows::first, schema};
use crate::{
    config::directory::cassandra::Cassandra as Config,
    directory::examine::with_schema,
    told::{Examined, Sound, Told},
};

/// Connects and looks at version, schema and rights.
pub(in crate::directory) async fn examine(config: &Config, migrate: bool) -> Examined {
    asked(config, migrate).await.map_err(Told::parse)
}

async fn asked(config: &Config, migrate: bool) -> Result<Sound, OpenError> {
    let settings = Settings::read(config)?;
    let session = settings.connect().await?;
    let found = schema::look(&session, &settings, migrate).await?;
    let version = version(&session).await;
    let state = format!("Cassandra{version}, the accounts in the keyspace {} as {}", config.keyspace, settings.role());
    Ok(with_schema(&state, found.into(), schema::known().into()))
}

/// The version of the node that was asked, for people.
async fn version(session: &Session) -> String {
    let asked = session.query_unpaged("SELECT release_version FROM system.local", ()).await;
    let told = asked.ok().and_then(|answer| first::<(String,)>(answer).ok().flatten());
    told.map(|(version,)| format!(" {version}")).unwrap_or_default()
}
