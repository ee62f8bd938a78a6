//! Opening: what is refused and in which words, and many who open at once.

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use super::{Config, fresh_keyspace, opened, person, shared};
use crate::{
    directory::{
        Directory as _, DirectoryError,
        cassandra::{CassandraDirectory, OpenError, examine},
        conformance::NOW,
    },
    secret::Secret,
};

/// Why this cannot be opened.
async fn refused(config: &Config, migrate: bool) -> String {
    match CassandraDirectory::open(config, migrate) {
        Ok(directory) => directory.connect().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains("s3cret") && !text.contains("hunter2"), "a secret is shown: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_logins_are_told() {
    let right = shared().await.config(&fresh_keyspace());
    let wrong = Config { password: Some(Secret::new("hunter2")), ..right.clone() };
    assert_says(&refused(&wrong, true).await, &["refuses the login", "brama", "password_file"]);
    let nobody = Config { username: None, password: None, ..right.clone() };
    assert_says(&refused(&nobody, true).await, &["asks for a login", "username"]);
    let directory = CassandraDirectory::open(&wrong, true).unwrap();
    let error = directory.sign_in(&person(1), NOW).await.unwrap_err();
    assert!(matches!(&error, DirectoryError::Unavailable(why) if why.contains("refuses the login")), "{error}");

    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "s3cret\n").unwrap();
    opened(&Config { password: None, password_file: Some(file.path().to_owned()), ..right.clone() }).await;
    let missing = Config { password: None, password_file: Some(PathBuf::from("/nowhere/password")), ..right };
    assert_says(&refused(&missing, true).await, &["password_file", "/nowhere/password"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trust_is_asked_for_in_both_directions() {
    let server = shared().await;
    let right = server.config(&fresh_keyspace());
    let other = Config { ca_file: Some(server.path("other.crt")), ..right.clone() };
    assert_says(&refused(&other, true).await, &["no TLS", "ca_file"]);
    let named = Config { server_name: Some("elsewhere.test".into()), ..right.clone() };
    assert_says(&refused(&named, true).await, &["no TLS", "server_name"]);
    let unnamed = Config { cert_file: None, key_file: None, ..right.clone() };
    // TLS 1.3 refuses only after the handshake: what comes first, its words or the end of the connection, is not settled.
    assert_says(&refused(&unnamed, true).await, &["client certificate", "cert_file"]);
    let clear = Config { ca_file: None, ..unnamed.clone() };
    assert_says(&refused(&clear, true).await, &["can be reached"]);
    let no_pem = Config { ca_file: Some(server.path("cassandra.yaml")), ..right.clone() };
    assert_says(&refused(&no_pem, true).await, &["ca_file", "no certificate is in it"]);
    opened(&Config { server_name: Some("cassandra.test".into()), ..right }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_out_of_reach_keeps_nobody_from_starting() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nodes = vec![format!("127.0.0.1:{port}")];
    let config = Config { nodes, timeout: Duration::from_secs(2), ..shared().await.config(&fresh_keyspace()) };
    let directory = CassandraDirectory::open(&config, true).unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(10), directory.ping()).await.expect("an answer in time");
    assert_says(&asked.unwrap_err().to_string(), &["unavailable", "can be reached", "check the addresses"]);

    // One that takes the connection and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nodes = vec![silent.local_addr().unwrap().to_string()];
    let directory = CassandraDirectory::open(&Config { nodes, ..config }, true).unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(30), directory.ping()).await.expect("an answer in time");
    assert!(matches!(asked, Err(DirectoryError::Unavailable(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_centre_that_is_not_there_is_told() {
    let right = shared().await.config(&fresh_keyspace());
    let wrong = Config { datacenter: Some("moon".into()), ..right.clone() };
    assert_says(&refused(&wrong, true).await, &["datacenter", "moon", "datacenter1"]);
    opened(&Config { datacenter: Some("datacenter1".into()), ..right }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rights_are_told_with_the_grant_that_gives_them() {
    let server = shared().await;
    let admin = server.meddle().await;
    let run = async |statement: String| admin.query_unpaged(statement, ()).await.map(drop).unwrap();
    run("CREATE ROLE weak WITH PASSWORD = 'hunter2' AND LOGIN = true".into()).await;
    let keyspace = fresh_keyspace();
    let weak =
        Config { username: Some("weak".into()), password: Some(Secret::new("hunter2")), ..server.config(&keyspace) };
    let told = refused(&weak, true).await;
    assert_says(&told, &["weak", "create the keyspace", &keyspace, "GRANT CREATE ON ALL KEYSPACES TO weak"]);

    let replication = weak.replication.clone().unwrap();
    run(format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}")).await;
    assert_says(&refused(&weak, true).await, &["weak", "create tables", "GRANT CREATE", "directory migrate"]);
    assert_says(&refused(&weak, false).await, &["schema 0", "needs 1", "directory migrate"]);

    // Somebody with the right makes the tables; to read them, weak needs another.
    opened(&Config { username: Some("cassandra".into()), password: Some(Secret::new("cassandra")), ..weak.clone() })
        .await;
    let told = refused(&weak, false).await;
    assert_says(&told, &["weak", "read and write", "GRANT SELECT and GRANT MODIFY ON KEYSPACE", &keyspace]);
    run(format!("GRANT SELECT ON KEYSPACE {keyspace} TO weak")).await;
    assert_says(&refused(&weak, false).await, &["weak", "read and write", "GRANT MODIFY"]);
    run(format!("GRANT MODIFY ON KEYSPACE {keyspace} TO weak")).await;
    let directory = CassandraDirectory::open(&weak, false).unwrap();
    assert!(directory.sign_in(&person(1), NOW).await.unwrap().created);
    run(format!("REVOKE MODIFY ON KEYSPACE {keyspace} FROM weak")).await;
    let error = directory.sign_in(&person(2), NOW).await.unwrap_err();
    assert_says(&error.to_string(), &["MODIFY"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_keyspace_is_made_only_where_the_settings_say_how() {
    let config = shared().await.config(&fresh_keyspace());
    let unsaid = Config { replication: None, ..config.clone() };
    assert_says(&refused(&unsaid, true).await, &["is not there", "CREATE KEYSPACE", "directory.cassandra.replication"]);
    assert_says(&refused(&config, false).await, &["is not there", "directory.migrate = true"]);
    opened(&config).await;
    let directory = CassandraDirectory::open(&unsaid, false).unwrap();
    directory.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_and_noticed() {
    let server = shared().await;
    let keyspace = fresh_keyspace();
    let directory = opened(&server.config(&keyspace)).await;
    let newer = format!("UPDATE {keyspace}.schema_step SET step = 99 WHERE owner = 'account' IF step = 1");
    server.meddle().await.query_unpaged(newer, ()).await.unwrap();
    let error = CassandraDirectory::open(&server.config(&keyspace), true).unwrap().connect().await.unwrap_err();
    assert!(matches!(&*error, OpenError::Newer { found: 99, known: 1, .. }), "{error}");
    assert_says(&error.to_string(), &["schema 99", "run the newer version"]);
    assert_says(&directory.ping().await.unwrap_err().to_string(), &["schema 99"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_open_at_once_make_the_tables_once() {
    let config = shared().await.config(&fresh_keyspace());
    let opening: Vec<_> = (0..4)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { opened(&config).await })
        })
        .collect();
    let mut made = Vec::new();
    for opened in opening {
        made.push(opened.await.unwrap().sign_in(&person(1), NOW).await.unwrap().account.id);
    }
    assert!(made.iter().all(|id| *id == made[0]), "{made:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_died_is_taken_over() {
    let server = shared().await;
    let keyspace = fresh_keyspace();
    opened(&server.config(&keyspace)).await;
    let admin = server.meddle().await;
    // As a process leaves it that died at its first step: nothing counts as done, and somebody holds the others off.
    for statement in [
        format!("DROP TABLE {keyspace}.unannounced"),
        format!("UPDATE {keyspace}.schema_step SET step = 0 WHERE owner = 'account' IF step = 1"),
        format!(
            "UPDATE {keyspace}.schema_step USING TTL 2 SET holder = 00000000-0000-4000-8000-000000000000 \
             WHERE owner = 'account' IF holder = null"
        ),
    ] {
        admin.query_unpaged(statement, ()).await.unwrap();
    }
    let directory = opened(&server.config(&keyspace)).await;
    assert!(directory.sign_in(&person(1), NOW).await.unwrap().created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_examination_makes_nothing_and_tells_what_a_start_would_meet() {
    let server = shared().await;
    let config = server.config(&fresh_keyspace());
    for _ in 0..2 {
        let sound = examine(&config, true).await.unwrap();
        assert_says(&sound.detail, &["Cassandra ", "as brama", "no tables yet"]);
    }
    let told = examine(&Config { replication: None, ..config.clone() }, true).await.unwrap_err();
    assert_says(&told.what, &["is not there"]);
    assert_says(&told.remedy, &["CREATE KEYSPACE"]);
    let wrong = Config { password: Some(Secret::new("wr0ng")), ..config.clone() };
    let told = examine(&wrong, true).await.unwrap_err();
    assert_says(&told.remedy, &["directory.cassandra.username and password_file"]);
    let nobody = Config { nodes: vec!["127.0.0.1:1".into()], timeout: Duration::from_secs(1), ..config.clone() };
    assert_says(&examine(&nobody, true).await.unwrap_err().remedy, &["check the addresses"]);
    opened(&config).await;
    assert_says(&examine(&config, false).await.unwrap().detail, &["schema 1"]);
}
