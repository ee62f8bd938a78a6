//! Asking Redis everything that sessions need of it: login, rights, room, and settings that lose nothing.
//!
//! That a key can be written is only known by writing one: that of readiness, which lives a second and is removed here
//! before that.

use redis::{Client, InfoDict, RedisResult, aio::MultiplexedConnection};

use super::{
    Keys,
    connect::{client, connect, in_words, late, unhurried},
};
use crate::{
    config::session::Redis as Config,
    session::StoreError,
    told::{Examined, Sound, Told},
};

/// Connects, writes, and looks at version and settings.
pub(in crate::session) async fn examine(config: &Config) -> Examined {
    let client = client(config).map_err(Told::parse)?;
    let keys = Keys { prefix: config.prefix.as_str().into() };
    match tokio::time::timeout(config.timeout, asked(&client, &keys)).await {
        Ok(Ok(info)) => Ok(judged(&info, &client, &keys)),
        Ok(Err(error)) => Err(told(in_words(&error))),
        Err(_) => Err(told(late(config.timeout))),
    }
}

/// Without the preface that it is the store which fails.
fn told(error: StoreError) -> Told {
    match error {
        StoreError::Unavailable(why) => Told::parse(why),
        corrupt => Told::parse(corrupt),
    }
}

async fn asked(client: &Client, keys: &Keys) -> RedisResult<InfoDict> {
    let mut connection = connect(client, unhurried()).await?;
    let info: InfoDict = redis::cmd("INFO").query_async(&mut connection).await?;
    write(&mut connection, keys).await?;
    // What the watch asks for; it ends with the connection.
    super::watch::tracking(keys).exec_async(&mut connection).await?;
    Ok(info)
}

/// By a script, as sessions are written.
async fn write(connection: &mut MultiplexedConnection, keys: &Keys) -> RedisResult<()> {
    const SCRIPT: &str = "redis.call('SET', KEYS[1], '', 'PX', 1000) return redis.call('DEL', KEYS[1])";
    redis::cmd("EVAL").arg(SCRIPT).arg(1).arg(keys.named("ping", "")).query_async(connection).await
}

fn judged(info: &InfoDict, client: &Client, keys: &Keys) -> Sound {
    let say = |name: &str| info.get::<String>(name).unwrap_or_default();
    let mut sound = Sound::new(format!(
        "Redis {} at {}; a key under {} was written and removed again",
        say("redis_version"),
        client.get_connection_info().addr(),
        keys.prefix
    ));
    let policy = say("maxmemory_policy");
    if !matches!(policy.as_str(), "" | "noeviction") {
        sound.warnings.push(Told::new(
            format!("maxmemory-policy is {policy}: Redis throws sessions and events away when memory runs short"),
            "set maxmemory-policy to noeviction",
        ));
    }
    if say("aof_enabled") == "0" {
        sound.warnings.push(Told::new(
            "appendonly is off: a restart of Redis loses the sessions and events since its last snapshot",
            "set appendonly yes, and appendfsync always where none may be lost",
        ));
    }
    sound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secret::Secret, session::redis::server::RedisServer};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_sound_redis_is_called_so_and_nothing_is_left_in_it() {
        let server = RedisServer::start();
        let sound = examine(&server.config()).await.unwrap();
        assert!(sound.detail.starts_with("Redis ") && sound.warnings.is_empty(), "{sound:?}");
        let left: usize = redis::cmd("DBSIZE").query_async(&mut server.meddle().await).await.unwrap();
        assert_eq!(left, 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn settings_that_lose_sessions_are_warned_of() {
        let settings = "maxmemory 100mb\nmaxmemory-policy allkeys-lru\nappendonly no\n";
        let server = RedisServer::start_with(false, settings);
        let warnings = examine(&server.config()).await.unwrap().warnings;
        let told: Vec<_> = warnings.iter().map(|told| told.remedy.as_str()).collect();
        assert!(told[0].contains("noeviction") && told[1].contains("appendonly yes"), "{told:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_rights_of_the_guide_are_enough_and_a_wrong_password_is_told() {
        // As the program does first of all.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let server = RedisServer::start_with_tls_and_acl();
        let config = server.config();
        examine(&config).await.unwrap();
        for (config, remedy) in [
            (Config { password: Some(Secret::new("wr0ng")), ..config.clone() }, "username and password_file"),
            (Config { username: None, password: None, ..config.clone() }, "username and password_file"),
            (Config { prefix: "other:".into(), ..config.clone() }, "give it ~PREFIX*"),
            (Config { cert_file: None, key_file: None, ..config.clone() }, "do ca_file and cert_file fit?"),
            (Config { url: "rediss://localhost:1".into(), ..config }, "is it running"),
        ] {
            let told = examine(&config).await.unwrap_err();
            assert!(told.remedy.contains(remedy), "{told:?}");
            assert!(!told.to_string().contains("s3cret") && !told.to_string().contains("wr0ng"), "{told}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_replica_and_a_full_one_fail() {
        for (settings, remedy) in [
            ("replicaof 127.0.0.1 1\n", "at the master"),
            ("maxmemory 100kb\nmaxmemory-policy noeviction\n", "raise its maxmemory"),
        ] {
            let server = RedisServer::start_with(false, settings);
            let told = examine(&server.config()).await.unwrap_err();
            assert!(told.remedy.contains(remedy), "{told:?}");
        }
    }
}
