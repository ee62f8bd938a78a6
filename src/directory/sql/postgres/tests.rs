//! What the conformance suite cannot ask: outages, refusals in words, the schema, indexes.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Row as _};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::{schema::SCHEMA, server::PostgresServer};
use crate::{
    config::directory::Postgres as Config,
    directory::{
        Account, Directory, DirectoryError,
        conformance::{NOW, Replicas, person, someone},
        sql::{SqlDirectory, statement},
    },
    secret::Secret,
};

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(60);

/// For the conformance suite: a fresh database of the shared server.
pub(crate) async fn replicas() -> Replicas {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    Replicas::of(move || {
        let config = server.config(&database);
        Box::pin(async move { Arc::new(SqlDirectory::postgres(&config, true).unwrap()) as Arc<dyn Directory> })
    })
    .await
}

fn open(config: &Config) -> SqlDirectory {
    SqlDirectory::postgres(config, true).unwrap()
}

/// What a call is told when the directory does not answer.
async fn told(directory: &SqlDirectory) -> String {
    match timeout(LONG, directory.sign_in(&someone(), NOW)).await.expect("an answer in time") {
        Err(DirectoryError::Unavailable(why)) => why,
        other => panic!("expected it to be unavailable: {other:?}"),
    }
}

/// Asks until it answers.
async fn recovered(directory: &SqlDirectory) {
    let mut last = String::new();
    let asking = async {
        while let Err(error) = directory.ping().await {
            last = error.to_string();
        }
    };
    let in_time = timeout(LONG, asking).await.is_ok();
    assert!(in_time, "it does not recover: {last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_minus_nine_loses_no_acknowledged_account_and_an_outage_ends_by_itself() {
    let mut server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let database = server.database().await;
    let directory = open(&Config { timeout: Duration::from_secs(5), ..server.config(&database) });
    directory.ping().await.unwrap();
    let acknowledged = {
        let directory = directory.clone();
        tokio::spawn(async move {
            let mut made: Vec<Account> = Vec::new();
            for number in 0.. {
                match directory.sign_in(&person(number), NOW).await {
                    Ok(signed_in) => made.push(signed_in.account),
                    Err(DirectoryError::Unavailable(_)) if made.len() > 10 => break,
                    Err(error) => panic!("{error}"),
                }
            }
            made
        })
    };
    let enough = async { while directory.count().await.unwrap() < 20 {} };
    timeout(LONG, enough).await.expect("sign-ins go on");
    server.kill();
    let made = timeout(LONG, acknowledged).await.expect("they end").unwrap();
    let why = told(&directory).await;
    assert!(why.contains("localhost"), "{why}");
    server.restart();
    recovered(&directory).await;
    for account in &made {
        assert_eq!(directory.find(&account.id).await.unwrap().as_ref(), Some(account));
    }
    // Of the last, nobody knows whether it was made; but there is no half of one.
    let count = directory.count().await.unwrap();
    assert!(count == made.len() as u64 || count == made.len() as u64 + 1, "{count} of {}", made.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_opens_before_the_server_does() {
    let mut server = tokio::task::spawn_blocking(PostgresServer::start).await.unwrap();
    let database = server.database().await;
    server.kill();
    let directory = open(&server.config(&database));
    let why = told(&directory).await;
    assert!(why.contains("cannot be reached at localhost:") && why.contains("directory.postgres.url"), "{why}");
    server.restart();
    recovered(&directory).await;
    assert!(directory.sign_in(&someone(), NOW).await.unwrap().created);
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    let sound = server.config(&database);
    let url = |url: String| Config { url, ..server.config("") };
    let wrong = [
        (
            Config { password: Some(Secret::new("another")), ..sound.clone() },
            ["refuses the role brama", "directory.postgres.username and password_file"],
        ),
        (Config { username: Some("nobody".into()), ..sound.clone() }, ["refuses the role nobody", "pg_hba.conf"]),
        (url(format!("{}_not_there", sound.url)), ["there is no database", "CREATE DATABASE"]),
        (
            Config { ca_file: Some(server.path("stranger.crt")), ..sound.clone() },
            ["no secure connection to PostgreSQL at localhost:", "directory.postgres.ca_file"],
        ),
        (
            Config { cert_file: None, key_file: None, ..sound.clone() },
            ["refuses the role brama (connection requires a valid client certificate)", "pg_hba.conf"],
        ),
        (
            Config { ca_file: None, url: format!("{}?sslmode=disable", sound.url), ..sound.clone() },
            ["no encryption", "pg_hba.conf"],
        ),
        (url("postgres://127.0.0.1:1/brama".into()), ["cannot be reached at 127.0.0.1:1", "no firewall"]),
    ];
    for (config, parts) in wrong {
        let why = told(&open(&config)).await;
        for part in parts {
            assert!(why.contains(part), "{why}\nlacks: {part}");
        }
        assert!(!why.contains("s3cret") && !why.contains("another"), "a secret is told: {why}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_are_told_before_anything_is_dialled() {
    let server = PostgresServer::shared().await;
    let sound = server.config("d");
    let missing = Config { cert_file: Some(server.path("none")), ..sound.clone() };
    let error = SqlDirectory::postgres(&missing, true).unwrap_err().to_string();
    assert!(error.contains("cannot read directory.postgres.cert_file") && error.contains("none"), "{error}");
    let blind = Config { url: format!("{}?sslmode=require", sound.url), ..sound.clone() };
    let error = SqlDirectory::postgres(&blind, true).unwrap_err().to_string();
    assert!(error.contains("directory.postgres.ca_file") && error.contains("sslmode=verify-full"), "{error}");
    let shown = format!("{:?}", SqlDirectory::postgres(&sound, true).unwrap());
    assert!(shown.contains("localhost") && !shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_role_without_rights_is_told_which() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    server.run("postgres", &format!("ALTER DATABASE {database} OWNER TO super")).await;
    // PostgreSQL before 15 let everyone make tables in public.
    server.run(&database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let why = told(&open(&server.config(&database))).await;
    assert!(why.contains("the role brama lacks a right") && why.contains("permission denied"), "{why}");
    assert!(why.contains("brama directory migrate"), "{why}");
}

#[tokio::test]
async fn a_role_that_may_not_change_tables_serves_what_another_has_made() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    let config = server.config(&database);
    let careful = SqlDirectory::postgres(&config, false).unwrap();
    let why = told(&careful).await;
    assert!(why.contains("of schema 0, this program needs 1") && why.contains("brama directory migrate"), "{why}");
    open(&config).ping().await.unwrap();
    let rights = "ALTER TABLE account OWNER TO super; ALTER TABLE identity OWNER TO super;
        ALTER TABLE brama_schema OWNER TO super; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        GRANT SELECT, INSERT, UPDATE, DELETE ON account, identity TO brama; GRANT SELECT ON brama_schema TO brama";
    server.run("postgres", &format!("ALTER DATABASE {database} OWNER TO super")).await;
    server.run(&database, rights).await;
    assert!(careful.sign_in(&someone(), NOW).await.unwrap().created, "the same handle, once the tables are there");
    assert!(careful.sign_in(&person(2), NOW).await.unwrap().created);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_as_it_is() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    let config = server.config(&database);
    open(&config).ping().await.unwrap();
    server.run(&database, "UPDATE brama_schema SET step = 7").await;
    let why = told(&open(&config)).await;
    assert!(why.contains("of schema 7, this program knows up to 1") && why.contains("newer version"), "{why}");
    server.run(&database, "UPDATE brama_schema SET step = 1").await;
    open(&config).ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_make_the_schema_at_once_and_none_fails() {
    let server = PostgresServer::shared().await;
    // Whether they meet is chance, so they get several.
    for _ in 0..5 {
        let database = server.database().await;
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let directory = open(&server.config(&database));
                tokio::spawn(async move { directory.sign_in(&someone(), NOW).await.unwrap().account.id })
            })
            .collect();
        let mut ids = Vec::new();
        for task in tasks {
            ids.push(task.await.unwrap());
        }
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
    assert_eq!(SCHEMA.len(), 1, "a further step needs a test that climbs from the one before");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_not_ready() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    let config = server.config(&database);
    open(&config).ping().await.unwrap();
    server.run("postgres", &format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await;
    let directory = open(&config);
    let why = told(&directory).await;
    assert!(why.contains("takes no writes") && why.contains("lead to the primary"), "{why}");
    assert!(directory.ping().await.is_err());
    assert_eq!(directory.find_by_identity(&someone().origin().key).await.unwrap(), None, "reading goes on");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up_and_holds_nothing() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    let config = Config { timeout: Duration::from_secs(4), max_connections: 1, ..server.config(&database) };
    let directory = open(&config);
    directory.ping().await.unwrap();
    let mut rival = server.superuser(&database).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE identity").execute(&mut rival).await.unwrap();
    for _ in 0..2 {
        let why = told(&directory).await;
        assert!(why.contains("4s"), "{why}");
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut rival).await.unwrap();
    recovered(&directory).await;
    assert!(directory.sign_in(&someone(), NOW).await.unwrap().created);
}

/// Stands between gateway and server, and swallows everything when told to, as a network does whose other end is gone.
async fn relay(to: u16) -> (u16, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (swallow, swallowing) = watch::channel(false);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut swallowing = swallowing.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let told = async { swallowing.wait_for(|told| *told).await.is_ok() };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    // Both sides stay connected and hear nothing, for good.
                    true = told => std::future::pending::<()>().await,
                }
            });
        }
    });
    (port, swallow)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_lost_in_the_network_cost_no_place_in_the_pool() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    let direct = server.config(&database);
    let port = url::Url::parse(&direct.url).unwrap().port().unwrap();
    let (relayed, swallow) = relay(port).await;
    let url = direct.url.replace(&format!(":{port}/"), &format!(":{relayed}/"));
    let config = Config { url, timeout: Duration::from_secs(6), max_connections: 2, ..direct };
    let directory = open(&config);
    directory.ping().await.unwrap();
    // Both connections are in the middle of something when the network goes.
    let mut rival = server.superuser(&database).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE identity").execute(&mut rival).await.unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let directory = directory.clone();
            tokio::spawn(async move { told(&directory).await })
        })
        .collect();
    // A connection of its own: within a transaction the answer would always be the first one.
    let mut onlooker = server.superuser(&database).await;
    let blocked = async {
        let asked = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'brama' AND wait_event_type = 'Lock'
             AND datname = current_database()";
        while sqlx::query_scalar::<_, i64>(asked).fetch_one(&mut onlooker).await.unwrap() < 2 {}
    };
    timeout(LONG, blocked).await.expect("both wait for the lock");
    swallow.send_replace(true);
    for told in waiting {
        assert!(told.await.unwrap().contains("6s"));
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut rival).await.unwrap();
    // The network is back for whoever connects anew.
    swallow.send_replace(false);
    recovered(&directory).await;
    let (first, second) = (person(1), person(2));
    let both = tokio::join!(directory.sign_in(&first, NOW), directory.sign_in(&second, NOW));
    assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
}

#[tokio::test]
async fn every_question_has_an_index() {
    let server = PostgresServer::shared().await;
    let database = server.database().await;
    let directory = open(&server.config(&database));
    directory.ping().await.unwrap();
    let mut connection = server.superuser(&database).await;
    // Where there is an index it is now taken, however small the table.
    sqlx::raw_sql("SET enable_seqscan = off").execute(&mut connection).await.unwrap();
    for (sql, values) in [
        (statement::BY_ID, "'a'"),
        (statement::BY_IDENTITY, "'i', 's'"),
        (statement::EVERYONE, "'', 10"),
        (statement::BY_EMAIL, "'a@b', '', 10"),
        (statement::UNANNOUNCED, "0, 10"),
    ] {
        let prepare = format!("DEALLOCATE ALL; PREPARE question AS {sql}");
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
        let explain = format!("EXPLAIN EXECUTE question ({values})");
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{sql}\n{}", plan.join("\n"));
    }
}
