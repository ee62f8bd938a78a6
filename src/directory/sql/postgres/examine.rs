//! Asking PostgreSQL everything that a start and a sign-in need of it, and changing nothing.

use sqlx::{Connection as _, PgConnection};

use super::{
    connect::{OpenError, Place, connect, options},
    schema,
};
use crate::{
    config::directory::Postgres as Config,
    directory::examine::with_schema,
    told::{Examined, Sound, Told},
};

/// Older ones are not tested with.
const OLDEST: i32 = 12;

/// Connects and looks at version, schema and rights.
pub(in crate::directory) async fn examine(config: &Config, migrate: bool) -> Examined {
    asked(config, migrate).await.map_err(Told::parse)
}

async fn asked(config: &Config, migrate: bool) -> Result<Sound, OpenError> {
    let (options, place) = options(config)?;
    let mut connection = connect(&options, &place).await?;
    let asking = tokio::time::timeout(place.timeout, look(&mut connection, &place, migrate)).await;
    // How the farewell goes does not matter, and nobody waits for it long.
    let _ = tokio::time::timeout(place.timeout, connection.close()).await;
    asking.unwrap_or_else(|_| Err(place.silent()))
}

async fn look(connection: &mut PgConnection, place: &Place, migrate: bool) -> Result<Sound, OpenError> {
    let refused = |error| place.refusal(error);
    let (version, number, readonly) = about(connection).await.map_err(refused)?;
    if readonly {
        return Err(place.read_only());
    }
    let found = schema::found(connection, place).await?;
    let known = schema::known();
    if !schema::is_ours(found, place)? && !migrate {
        return Err(OpenError::Older { database: place.database.clone(), found, known });
    }
    let missing = if found == 0 { may_create(connection).await } else { missing_rights(connection).await };
    if let Some(why) = missing.map_err(refused)? {
        return Err(OpenError::Forbidden { role: place.role.clone(), database: place.database.clone(), why });
    }
    let state =
        format!("PostgreSQL {version} at {}, the accounts in {} as {}", place.address, place.database, place.role);
    let mut sound = with_schema(&state, found, known);
    if schema::loses_commits(connection).await.map_err(refused)? {
        sound.warnings.push(Told::new(
            "synchronous_commit is off: a crash of PostgreSQL can lose accounts",
            format!("ALTER ROLE {} SET synchronous_commit = 'on'", place.role),
        ));
    }
    if number / 10_000 < OLDEST {
        sound
            .warnings
            .push(Told::new(format!("PostgreSQL {version} is old"), format!("use PostgreSQL {OLDEST} or newer")));
    }
    Ok(sound)
}

/// The version in words and as a number, and whether nothing can be written there.
async fn about(connection: &mut PgConnection) -> Result<(String, i32, bool), sqlx::Error> {
    sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int,
                current_setting('transaction_read_only') <> 'off'",
    )
    .fetch_one(connection)
    .await
}

/// Which rights on the tables the role lacks.
async fn missing_rights(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT 'no ' || string_agg(verb || ' on ' || tab, ', ' ORDER BY tab, verb)
         FROM unnest(ARRAY['account', 'identity']) AS tab, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS verb
         WHERE NOT has_table_privilege(tab, verb)",
    )
    .fetch_one(connection)
    .await
}

/// Why the role could not make the tables.
async fn may_create(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT CASE WHEN current_schema() IS NULL THEN 'its search_path names no schema that is there'
                     WHEN NOT has_schema_privilege(current_schema(), 'CREATE')
                     THEN 'no CREATE on the schema ' || current_schema() END",
    )
    .fetch_one(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        directory::{
            Directory as _,
            sql::{SqlDirectory, postgres::server::PostgresServer},
        },
        secret::Secret,
    };

    async fn refused(config: &Config, migrate: bool) -> Told {
        let told = examine(config, migrate).await.unwrap_err();
        assert!(!told.to_string().contains("s3cret") && !told.to_string().contains("wr0ng"), "{told}");
        told
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_start_would_meet_is_told_and_nothing_is_made() {
        let server = PostgresServer::shared().await;
        let database = server.database().await;
        let config = server.config(&database);
        for _ in 0..2 {
            let sound = examine(&config, true).await.unwrap();
            assert!(sound.detail.contains("no tables yet") && sound.warnings.is_empty(), "{sound:?}");
        }
        let told = refused(&config, false).await;
        assert!(told.what.contains("schema 0") && told.remedy.contains("brama directory migrate"), "{told:?}");
        SqlDirectory::postgres(&config, true).unwrap().ping().await.unwrap();
        let sound = examine(&config, false).await.unwrap();
        assert!(sound.detail.contains("as brama: schema 1"), "{sound:?}");
        server.run(&database, "UPDATE brama_schema SET step = 7").await;
        assert!(refused(&config, true).await.remedy.contains("run the newer version"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn rights_that_are_missing_are_named() {
        let server = PostgresServer::shared().await;
        let database = server.database().await;
        let config = server.config(&database);
        server.run("postgres", &format!("ALTER DATABASE {database} OWNER TO super")).await;
        server.run(&database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
        let told = refused(&config, true).await;
        assert!(told.what.contains("no CREATE on the schema public"), "{told:?}");
        server.run(&database, "GRANT CREATE ON SCHEMA public TO brama").await;
        SqlDirectory::postgres(&config, true).unwrap().ping().await.unwrap();
        let taken = "ALTER TABLE account OWNER TO super; ALTER TABLE identity OWNER TO super;
             GRANT SELECT, INSERT, UPDATE, DELETE ON identity TO brama; GRANT SELECT, DELETE ON account TO brama";
        server.run(&database, taken).await;
        let told = refused(&config, false).await;
        assert!(told.what.contains("(no INSERT on account, UPDATE on account)"), "{told:?}");
        assert!(told.remedy.contains("SELECT, INSERT, UPDATE and DELETE"), "{told:?}");
        server.run(&database, "ALTER TABLE brama_schema OWNER TO super").await;
        assert!(refused(&config, false).await.what.contains("permission denied"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_cannot_come_in_is_told_why() {
        let server = PostgresServer::shared().await;
        let config = server.config(&server.database().await);
        for (config, remedy) in [
            (Config { password: Some(Secret::new("wr0ng")), ..config.clone() }, "username and password_file"),
            (Config { url: config.url.clone() + "_gone", ..config.clone() }, "CREATE DATABASE"),
            (Config { ca_file: Some(server.path("stranger.crt")), ..config.clone() }, "directory.postgres.ca_file"),
            (Config { url: "postgres://localhost:1/brama".into(), ..config.clone() }, "see that it runs"),
            (Config { url: "postgres://nowhere.invalid/brama".into(), ..config.clone() }, "see that it runs"),
        ] {
            let told = refused(&config, true).await;
            assert!(told.remedy.contains(remedy), "{told:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_standby_fails_and_commits_that_may_be_lost_are_warned_of() {
        let server = PostgresServer::shared().await;
        let database = server.database().await;
        let config = server.config(&database);
        server.run("postgres", &format!("ALTER DATABASE {database} SET synchronous_commit = off")).await;
        let sound = examine(&config, true).await.unwrap();
        assert!(sound.warnings[0].remedy.contains("ALTER ROLE brama SET synchronous_commit"), "{sound:?}");
        server.run("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await;
        assert!(refused(&config, true).await.remedy.contains("lead to the primary"));
    }
}
