//! Hearing of changes by any replica, over a connection of its own.
//!
//! `CLIENT TRACKING ON BCAST PREFIX <prefix>session:` makes Redis push a message whenever a record is written, deleted,
//! expires or is evicted, by whomever: us, another replica, an operator at a prompt. Pushes are handled where they are
//! read, so a revocation is passed on as soon as it arrives. When the connection is lost, or a ping on it goes
//! unanswered, news may have been missed: receivers are told so at once, and again when news flow.

use std::{sync::Arc, time::Duration};

use redis::{Client, PushInfo, PushKind, RedisError, Value};
use tokio::sync::Notify;

use super::{Keys, connect};
use crate::session::news::News;

/// How often the watch connection is asked whether it still lives. A network that swallows packets is noticed after
/// this and the command timeout.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The pauses between attempts to reconnect: short enough to be back within a second of Redis.
const PAUSES: [Duration; 3] = [Duration::from_millis(10), Duration::from_millis(50), Duration::from_millis(200)];
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Watches for as long as it is run.
pub(super) async fn watch(client: Client, keys: Keys, timeout: Duration, news: Arc<News>) {
    let mut pauses = PAUSES.into_iter();
    loop {
        match watch_one(&client, &keys, timeout, &news).await {
            Watched::Lost => {
                news.flow(false);
                tracing::warn!(
                    "the watch connection to Redis was lost; cached sessions are not trusted until it is back"
                );
                pauses = PAUSES.into_iter();
            }
            Watched::Never(why) => tracing::debug!(why, "the watch connection to Redis cannot be made"),
        }
        tokio::time::sleep(pauses.next().unwrap_or(LONGEST_PAUSE)).await;
    }
}

/// How a watch ended.
enum Watched {
    /// It flowed, then the connection was lost.
    Lost,
    /// It never began.
    Never(String),
}

async fn watch_one(client: &Client, keys: &Keys, timeout: Duration, news: &Arc<News>) -> Watched {
    let lost = Arc::new(Notify::new());
    let begun = tokio::time::timeout(timeout, begin(client, keys, news, &lost)).await;
    let mut connection = match begun {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Watched::Never(connect::in_words(&error).to_string()),
        Err(_) => return Watched::Never("no answer in time".into()),
    };
    news.flow(true);
    loop {
        tokio::select! {
            () = lost.notified() => return Watched::Lost,
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        let ping = redis::cmd("PING");
        let alive = tokio::time::timeout(timeout, ping.query_async::<Value>(&mut connection)).await;
        if !matches!(alive, Ok(Ok(_))) {
            return Watched::Lost;
        }
    }
}

async fn begin(
    client: &Client,
    keys: &Keys,
    news: &Arc<News>,
    lost: &Arc<Notify>,
) -> Result<redis::aio::MultiplexedConnection, RedisError> {
    let (news, lost, names) = (Arc::clone(news), Arc::clone(lost), keys.clone());
    let config = connect::unhurried().set_push_sender(move |push: PushInfo| {
        pass_on(&push, &names, &news, &lost);
        Ok::<(), ()>(())
    });
    let mut connection = connect::connect(client, config).await?;
    tracking(keys).exec_async(&mut connection).await?;
    Ok(connection)
}

/// The command that begins it.
pub(super) fn tracking(keys: &Keys) -> redis::Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg(&["TRACKING", "ON", "BCAST", "PREFIX"]).arg(keys.tracked());
    command
}

/// Turns one push into news. An invalidation without keys says that the whole database was emptied: then the watch
/// begins anew, which makes everyone drop everything.
///
/// Whether news flow is for the watcher alone to say: a push of a connection given up may come late.
fn pass_on(push: &PushInfo, keys: &Keys, news: &News, lost: &Notify) {
    match (&push.kind, push.data.first()) {
        (PushKind::Invalidate, Some(Value::Array(changed))) => {
            let names = changed.iter().filter_map(|name| match name {
                Value::BulkString(name) => Some(name.as_slice()),
                _ => None,
            });
            names.filter_map(|name| keys.session_named(name)).for_each(|key| news.changed(key));
        }
        (PushKind::Invalidate | PushKind::Disconnection, _) => lost.notify_one(),
        _ => {}
    }
}
