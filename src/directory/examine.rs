//! Asking the directory's engine for `brama doctor`: whether it answers, lets us in, and holds what we need. Changes
//! nothing, whatever `directory.migrate` says.

use super::{OpenError, sql::sqlite};
use crate::{
    config::directory::{Directory as Config, Engine},
    told::{Examined, Sound, Told},
};

/// Examines the engine that `config` names. Must be called on the runtime of the control plane.
///
/// # Errors
/// What is wrong and what to do.
pub async fn examine(config: &Config) -> Examined {
    match config.engine {
        Engine::Sqlite => sqlite::examine::examine_accounts(&config.file, config.migrate).await,
        #[cfg(feature = "directory-postgres")]
        Engine::Postgres => match &config.postgres {
            Some(postgres) => super::sql::postgres::examine(postgres, config.migrate).await,
            None => Err(Told::parse(OpenError::NoTable("postgres"))),
        },
        #[cfg(not(feature = "directory-postgres"))]
        Engine::Postgres => not_built("PostgreSQL", "directory-postgres"),
        #[cfg(feature = "directory-mongodb")]
        Engine::MongoDb => match &config.mongodb {
            Some(mongodb) => super::mongodb::examine(mongodb, config.migrate).await,
            None => Err(Told::parse(OpenError::NoTable("mongodb"))),
        },
        #[cfg(not(feature = "directory-mongodb"))]
        Engine::MongoDb => not_built("MongoDB", "directory-mongodb"),
        #[cfg(feature = "directory-cassandra")]
        Engine::Cassandra => match &config.cassandra {
            Some(cassandra) => super::cassandra::examine(cassandra, config.migrate).await,
            None => Err(Told::parse(OpenError::NoTable("cassandra"))),
        },
        #[cfg(not(feature = "directory-cassandra"))]
        Engine::Cassandra => not_built("Cassandra", "directory-cassandra"),
    }
}

#[cfg(not(all(feature = "directory-postgres", feature = "directory-mongodb", feature = "directory-cassandra")))]
fn not_built(name: &'static str, feature: &'static str) -> Examined {
    Err(Told::parse(OpenError::NotBuilt { name, feature }))
}

/// Adds to `state` how far the tables are, where a start would make or upgrade them.
pub(crate) fn with_schema(state: &str, found: i64, known: i64) -> Sound {
    if found == known {
        return Sound::new(format!("{state}: schema {found}"));
    }
    if found == 0 {
        return Sound::new(format!("{state}: no tables yet, the first start makes them"));
    }
    let old = Told::new(
        format!("the tables are of schema {found}, this program needs {known}"),
        "make a backup; the next start upgrades them, or run `brama directory migrate` first",
    );
    Sound { detail: state.to_owned(), warnings: vec![old] }
}
