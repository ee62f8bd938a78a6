//! Which engine the configuration means. Only here is it known which engines were built in.

use std::sync::Arc;

use super::{
    Directory,
    sql::{
        SqlDirectory,
        sqlite::{self, LazyFile},
    },
};
use crate::config::directory::{Directory as Config, Engine};

/// Why the directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded file.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// MongoDB.
    #[cfg(feature = "directory-mongodb")]
    #[error(transparent)]
    MongoDb(#[from] super::mongodb::OpenError),
    /// PostgreSQL.
    #[cfg(feature = "directory-postgres")]
    #[error(transparent)]
    Postgres(#[from] super::sql::postgres::OpenError),
    /// Cassandra.
    #[cfg(feature = "directory-cassandra")]
    #[error(transparent)]
    Cassandra(#[from] super::cassandra::OpenError),
    /// The table of the engine is missing.
    #[error("directory.engine = \"{0}\" needs the table [directory.{0}]: add it, or set directory.engine = \"sqlite\"")]
    NoTable(&'static str),
    /// It was not built in.
    #[error(
        "this binary was built without {name}: use one built with the feature {feature}, or set directory.engine = \"sqlite\""
    )]
    NotBuilt {
        /// The engine, as people call it.
        name: &'static str,
        /// The cargo feature that builds it in.
        feature: &'static str,
    },
}

/// Opens the engine that `config` names. `file` is the database the embedded one shares with the session store; others
/// leave it alone. An engine on another host need not answer yet. Must be called on the runtime of the control plane.
///
/// # Errors
/// [`OpenError`] says what to change.
pub async fn open(config: &Config, file: &LazyFile) -> Result<Arc<dyn Directory>, OpenError> {
    match config.engine {
        Engine::Sqlite => Ok(Arc::new(SqlDirectory::embedded(file.file().await?, config.migrate).await?)),
        #[cfg(feature = "directory-postgres")]
        Engine::Postgres => {
            let postgres = config.postgres.as_ref().ok_or(OpenError::NoTable("postgres"))?;
            Ok(Arc::new(SqlDirectory::postgres(postgres, config.migrate)?))
        }
        #[cfg(not(feature = "directory-postgres"))]
        Engine::Postgres => Err(OpenError::NotBuilt { name: "PostgreSQL", feature: "directory-postgres" }),
        #[cfg(feature = "directory-mongodb")]
        Engine::MongoDb => {
            let mongodb = config.mongodb.as_ref().ok_or(OpenError::NoTable("mongodb"))?;
            Ok(Arc::new(super::mongodb::MongoDirectory::open(mongodb, config.migrate)?))
        }
        #[cfg(not(feature = "directory-mongodb"))]
        Engine::MongoDb => Err(OpenError::NotBuilt { name: "MongoDB", feature: "directory-mongodb" }),
        #[cfg(feature = "directory-cassandra")]
        Engine::Cassandra => {
            let cassandra = config.cassandra.as_ref().ok_or(OpenError::NoTable("cassandra"))?;
            Ok(Arc::new(super::cassandra::CassandraDirectory::open(cassandra, config.migrate)?))
        }
        #[cfg(not(feature = "directory-cassandra"))]
        Engine::Cassandra => Err(OpenError::NotBuilt { name: "Cassandra", feature: "directory-cassandra" }),
    }
}
