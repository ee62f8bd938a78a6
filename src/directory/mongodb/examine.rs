//! Asking MongoDB everything that a start and a sign-in need of it, and changing nothing.

use mongodb::{
    Database,
    bson::{Document, doc},
};

use super::{ACCOUNT, OpenError, connect, fault::Fault, schema};
use crate::{
    config::directory::MongoDb as Config,
    directory::examine::with_schema,
    told::{Examined, Sound, Told},
};

/// Connects and looks at version, schema and rights.
pub(in crate::directory) async fn examine(config: &Config, migrate: bool) -> Examined {
    asked(config, migrate).await.map_err(Told::parse)
}

async fn asked(config: &Config, migrate: bool) -> Result<Sound, OpenError> {
    let address = connect::address(config)?;
    let database = schema::within(config.timeout, connect::database(address, &config.database)).await?;
    let found = schema::within(config.timeout, schema::step_of(&database)).await?;
    let known = schema::KNOWN;
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    if found < known && !migrate {
        return Err(OpenError::Older { found, known });
    }
    if found > 0 {
        schema::within(config.timeout, may_write(&database)).await?;
    }
    let version = version(&database, config).await;
    Ok(with_schema(&format!("MongoDB{version}, the accounts in the database {}", config.database), found, known))
}

/// Changes and deletes an account that cannot be there: nothing happens, but it takes the rights that all our writes
/// take, a primary, and a majority to confirm it. Only where there are accounts: not every server that speaks MongoDB's
/// protocol leaves a collection unmade that is changed before it is there.
async fn may_write(database: &Database) -> mongodb::error::Result<()> {
    let accounts = database.collection::<Document>(ACCOUNT);
    let nobody = || doc! { "_id": "" };
    accounts.update_one(nobody(), doc! { "$unset": { "unannounced": "" } }).await?;
    accounts.delete_one(nobody()).await?;
    Ok(())
}

/// The version, for people; who may not ask for it need not know.
async fn version(database: &Database, config: &Config) -> String {
    let asked: Result<Document, Fault> =
        schema::within(config.timeout, database.run_command(doc! { "buildInfo": 1 })).await;
    let told = asked.ok().and_then(|about| about.get_str("version").ok().map(|version| format!(" {version}")));
    told.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        directory::mongodb::{
            fake::{FakeServer, refusal},
            server::{MongoServer, config_at, meddle, opened},
        },
        secret::Secret,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_start_would_meet_is_told_and_nothing_is_made() {
        let config = tokio::task::spawn_blocking(|| MongoServer::shared().fresh()).await.unwrap();
        for _ in 0..2 {
            let sound = examine(&config, true).await.unwrap();
            assert!(sound.detail.contains("no tables yet"), "{sound:?}");
        }
        assert_eq!(meddle(&config).await.list_collection_names().await.unwrap(), [""; 0]);
        let told = examine(&config, false).await.unwrap_err();
        assert!(told.remedy.contains("brama directory migrate"), "{told:?}");
        opened(&config).await;
        let sound = examine(&config, false).await.unwrap();
        assert!(sound.detail.ends_with(": schema 1"), "{sound:?}");
        let schemas = meddle(&config).await.collection::<Document>("schema");
        schemas.update_one(doc! {}, doc! { "$set": { "step": 7 } }).await.unwrap();
        assert!(examine(&config, true).await.unwrap_err().remedy.contains("run the newer version"));
    }

    #[tokio::test]
    async fn a_refused_login_a_missing_right_and_nobody_there_are_told_with_what_to_do() {
        let login = |port| Config {
            username: Some("brama".into()),
            password: Some(Secret::new("x8Kq-2mmZ-hunter2")),
            ..config_at(port, "brama", None)
        };
        let refuses = |asked: &str| (asked == "saslStart").then(|| refusal(18, "AuthenticationFailed", "no"));
        let server = FakeServer::start(refuses).await;
        let told = examine(&login(server.port), true).await.unwrap_err();
        assert!(told.remedy.contains("directory.mongodb.username"), "{told:?}");
        assert!(!told.to_string().contains("hunter2"), "{told}");
        let forbids = |asked: &str| match asked {
            "find" => {
                let step = doc! { "_id": "account", "step": 1_i64 };
                Some(doc! { "ok": 1, "cursor": { "id": 0_i64, "ns": "brama.schema", "firstBatch": [step] } })
            }
            "update" => Some(refusal(13, "Unauthorized", "no")),
            _ => None,
        };
        let server = FakeServer::start(forbids).await;
        let told = examine(&config_at(server.port, "brama", None), true).await.unwrap_err();
        assert!(told.remedy.contains("readWrite"), "{told:?}");
        let nobody = Config { timeout: std::time::Duration::from_secs(1), ..config_at(1, "brama", None) };
        let told = examine(&nobody, true).await.unwrap_err();
        assert!(told.remedy.contains("directory.mongodb.url"), "{told:?}");
    }
}
