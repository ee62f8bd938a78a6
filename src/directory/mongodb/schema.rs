//! The collections and indexes, step by step.
//!
//! The collection `schema` holds one document, `{_id: "account", step: N}`. A step may be taken by two processes at
//! once or break off anywhere, so each is written to be repeated: making an index that is there already does nothing.
//! Only when a step is whole is its number written, and only ever upwards.

use std::{future::IntoFuture, time::Duration};

use mongodb::{
    Database, IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};

use super::{ACCOUNT, OpenError, fault::Fault};

/// The collection of the schema's number.
const SCHEMA: &str = "schema";
/// Its document.
const OURS: &str = "account";
/// The newest schema we know.
pub(super) const KNOWN: i64 = 1;

/// Brings the schema to the newest step, or says why not. `migrate` false changes nothing.
pub(super) async fn bring_up(database: &Database, migrate: bool, time: Duration) -> Result<(), OpenError> {
    let found = within(time, step_of(database)).await?;
    if found > KNOWN {
        return Err(OpenError::Newer { found, known: KNOWN });
    }
    if found == KNOWN {
        return Ok(());
    }
    if !migrate {
        return Err(OpenError::Older { found, known: KNOWN });
    }
    for step in found..KNOWN {
        // Without a limit: over many accounts an index takes as long as it takes, and MongoDB drops one that nobody
        // waits for. That the server is gone is noticed by the driver's TCP keepalive.
        take(database, step).await.map_err(Fault::from)?;
    }
    within(time, write_down(database)).await?;
    Ok(())
}

/// The schema that is there; 0 when there is none.
pub(super) async fn step_of(database: &Database) -> mongodb::error::Result<i64> {
    let found = database.collection::<Document>(SCHEMA).find_one(doc! { "_id": OURS }).await?;
    Ok(found.map_or(0, |schema| number(&schema)))
}

/// Whatever kind of number stands there: someone may have put it back by hand.
fn number(schema: &Document) -> i64 {
    schema.get_i64("step").or_else(|_| schema.get_i32("step").map(i64::from)).unwrap_or(0)
}

async fn write_down(database: &Database) -> mongodb::error::Result<()> {
    database
        .collection::<Document>(SCHEMA)
        .update_one(doc! { "_id": OURS }, doc! { "$max": { "step": KNOWN } })
        .upsert(true)
        .await?;
    Ok(())
}

/// The step after `from`. Append; never edit a step that was released.
async fn take(database: &Database, from: i64) -> mongodb::error::Result<()> {
    if from == 0 {
        database.collection::<Document>(ACCOUNT).create_indexes(first_indexes()).await?;
    }
    Ok(())
}

fn first_indexes() -> [IndexModel; 3] {
    let named = |name: &str| IndexOptions::builder().name(name.to_owned());
    [
        // One account for an issuer and subject, whoever comes first. An entry for each identity of an account.
        IndexModel::builder()
            .keys(doc! { "identities.key": 1 })
            .options(named("identity").unique(true).build())
            .build(),
        // Listing by address, page by page.
        IndexModel::builder().keys(doc! { "email": 1, "_id": 1 }).options(named("email").build()).build(),
        // Sparse: only accounts whose making is still to be announced are in it.
        IndexModel::builder()
            .keys(doc! { "unannounced": 1 })
            .options(named("unannounced").sparse(true).build())
            .build(),
    ]
}

/// Runs a command for at most this long.
pub(super) async fn within<T>(
    time: Duration,
    command: impl IntoFuture<Output = mongodb::error::Result<T>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(time, command).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Fault::Late(time)),
    }
}
