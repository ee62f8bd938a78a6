//! What only MongoDB can do to us: go away, come back, refuse, be of another schema, be reached by TLS alone.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use mongodb::{
    Collection,
    bson::{Document, doc},
};
use tokio::time::timeout;

use super::{
    ACCOUNT, MongoDirectory, OpenError,
    fake::{FakeServer, refusal},
    schema,
    server::{MongoServer, config_at, meddle, opened},
};
use crate::{
    clock::Timestamp,
    config::directory::MongoDb as Config,
    directory::{Directory, DirectoryError, Linked},
    identity::{IdentityKey, Issuer, Origin, Profile, ProviderName, Subject, VerifiedIdentity},
    secret::Secret,
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const PATIENCE: Duration = Duration::from_secs(30);

fn vouched(subject: &str) -> VerifiedIdentity {
    let origin = Origin {
        provider: ProviderName::new("google"),
        key: IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new(subject) },
        at: NOW,
        acr: None,
        amr: vec![],
        connection: None,
        sid: None,
    };
    VerifiedIdentity::vouched(origin, Profile { email: Some("a@example.test".into()), ..Profile::default() }).unwrap()
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, DirectoryError>) -> String {
    match result.unwrap_err() {
        DirectoryError::Unavailable(why) => why,
        DirectoryError::Corrupt(why) => panic!("corrupt: {why}"),
    }
}

/// Asks until it answers.
async fn answers(directory: &MongoDirectory) {
    let asking = async { while directory.ping().await.is_err() {} };
    timeout(PATIENCE, asking).await.expect("the directory answers again");
}

fn hasty(config: Config) -> Config {
    Config { timeout: Duration::from_millis(400), ..config }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_no_acknowledged_account_and_is_used_again_when_it_is_back() {
    let mut server = MongoServer::start();
    let config = Config { timeout: Duration::from_secs(5), ..server.config("brama") };
    let directory = Arc::new(opened(&config).await);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (directory, tell) = (Arc::clone(&directory), tell.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let person = vouched(&format!("{writer}-{number}"));
                    let Ok(made) = directory.sign_in(&person, NOW).await else { return };
                    tell.send((person, made.account)).unwrap();
                }
            })
        })
        .collect();
    drop(tell);
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 20 {
        acknowledged.push(timeout(PATIENCE, told.recv()).await.expect("sign-ins go on").unwrap());
    }
    server.kill();
    for writer in writers {
        timeout(PATIENCE, writer).await.expect("writers notice").unwrap();
    }
    while let Some(more) = told.recv().await {
        acknowledged.push(more);
    }
    let why = unavailable(directory.find(&acknowledged[0].1.id).await);
    assert!(why.contains("directory.mongodb.url"), "{why}");

    server.restart();
    answers(&directory).await;
    for (person, account) in &acknowledged {
        assert_eq!(directory.find(&account.id).await.unwrap().as_ref(), Some(account));
        let again = directory.sign_in(person, NOW).await.unwrap();
        assert_eq!(again.account.id, account.id, "one account a person");
        assert!(again.created, "its making was never announced");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_at_start_is_found_when_it_comes() {
    let mut server = MongoServer::start();
    server.kill();
    let directory = MongoDirectory::open(&hasty(server.config("brama")), true).unwrap();
    let why = unavailable(directory.sign_in(&vouched("1"), NOW).await);
    assert!(why.contains("cannot be reached") && why.contains("directory.mongodb.url"), "{why}");
    unavailable(directory.ping().await);
    server.restart();
    answers(&directory).await;
    let signed_in = async { while directory.sign_in(&vouched("1"), NOW).await.is_err() {} };
    timeout(PATIENCE, signed_in).await.expect("signs in");
    assert_eq!(directory.count().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_used_and_believes_our_authority_alone() {
    let server = MongoServer::start_with_tls();
    let config = server.config("brama");
    let directory = opened(&config).await;
    assert!(directory.sign_in(&vouched("1"), NOW).await.unwrap().created);

    let public = Config { url: format!("{}/?tls=true", config.url), ca_file: None, ..hasty(config.clone()) };
    let why = unavailable(MongoDirectory::open(&public, true).unwrap().ping().await);
    assert!(why.contains("ca_file") && why.contains("UnknownIssuer"), "{why}");

    let plain = Config { ca_file: None, ..hasty(config.clone()) };
    let why = unavailable(MongoDirectory::open(&plain, true).unwrap().ping().await);
    assert!(why.contains("is TLS meant"), "{why}");

    let other_name = Config { url: format!("mongodb://127.0.0.1:{}", server.port()), ..hasty(config) };
    let why = unavailable(MongoDirectory::open(&other_name, true).unwrap().ping().await);
    assert!(why.contains("cannot be reached"), "the certificate is for localhost: {why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_is_shown_where_one_is_wanted() {
    let server = MongoServer::shared();
    let port = mutual_tls(server).await;
    let config = config_at(port, &server.fresh().database, Some(server.path("ca.crt")));
    let why = unavailable(MongoDirectory::open(&hasty(config.clone()), true).unwrap().ping().await);
    assert!(why.contains("cert_file"), "{why}");
    let directory = opened(&Config { cert_file: Some(server.path("client.pem")), ..config }).await;
    assert!(directory.sign_in(&vouched("1"), NOW).await.unwrap().created);
}

/// A port before the server that wants clients to show a certificate of our authority.
async fn mutual_tls(server: &MongoServer) -> u16 {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let certificate = |name| CertificateDer::from_pem_file(server.path(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate("ca.crt")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![certificate("server.crt")],
            PrivateKeyDer::from_pem_file(server.path("server.key")).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, behind) = (listener.local_addr().unwrap().port(), server.port());
    tokio::spawn(async move {
        loop {
            let (connection, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outside) = acceptor.accept(connection).await else { return };
                let mut inside = tokio::net::TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
                _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_is_made_once_however_many_start_at_once() {
    let config = MongoServer::shared().fresh();
    let starting: Vec<_> = (0..8)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { MongoDirectory::dial(&config, true).await.unwrap() })
        })
        .collect();
    for start in starting {
        start.await.unwrap();
    }
    let database = meddle(&config).await;
    assert_eq!(schema::step_of(&database).await.unwrap(), schema::KNOWN);
    let accounts: Collection<Document> = database.collection(ACCOUNT);
    let mut made = BTreeMap::new();
    let mut indexes = accounts.list_indexes().await.unwrap();
    while indexes.advance().await.unwrap() {
        let index = indexes.deserialize_current().unwrap();
        let options = index.options.unwrap();
        let keys: Vec<_> = index.keys.keys().cloned().collect();
        made.insert(options.name.unwrap(), (keys.join(" "), options.unique == Some(true)));
    }
    let wanted = [
        ("_id_", "_id", true),
        ("email", "email _id", false),
        ("identity", "identities.key", true),
        ("unannounced", "unannounced", false),
    ];
    let mut wanted: BTreeMap<_, _> =
        wanted.into_iter().map(|(name, keys, unique)| (name.to_owned(), (keys.to_owned(), unique))).collect();
    // MongoDB itself does not call the index of _id unique, though it is.
    for indexes in [&mut made, &mut wanted] {
        indexes.get_mut("_id_").unwrap().1 = true;
    }
    assert_eq!(made, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_with_words_and_taken_once_it_is_ours() {
    let config = MongoServer::shared().fresh();
    let database = meddle(&config).await;
    let steps: Collection<Document> = database.collection("schema");
    steps.insert_one(doc! { "_id": "account", "step": 99_i64 }).await.unwrap();
    let directory = MongoDirectory::open(&config, true).unwrap();
    let why = unavailable(directory.sign_in(&vouched("1"), NOW).await);
    assert!(why.contains("schema 99") && why.contains("run the newer version"), "{why}");
    let error = MongoDirectory::dial(&config, true).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, known: schema::KNOWN }), "{error}");
    steps.delete_one(doc! {}).await.unwrap();
    answers(&directory).await;
    assert!(directory.sign_in(&vouched("1"), NOW).await.unwrap().created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_migrate_nothing_is_made_and_the_command_named_that_does_it() {
    let config = MongoServer::shared().fresh();
    let directory = MongoDirectory::open(&config, false).unwrap();
    let why = unavailable(directory.ping().await);
    assert!(why.contains("schema 0") && why.contains("brama directory migrate"), "{why}");
    assert_eq!(meddle(&config).await.list_collection_names().await.unwrap(), Vec::<String>::new());
    MongoDirectory::dial(&config, true).await.unwrap();
    answers(&directory).await;
    assert!(directory.sign_in(&vouched("1"), NOW).await.unwrap().created);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_dropped_under_us_is_told_by_ping() {
    let config = MongoServer::shared().fresh();
    let directory = opened(&config).await;
    meddle(&config).await.drop().await.unwrap();
    let why = unavailable(directory.ping().await);
    assert!(why.contains("dropped") && why.contains("backup"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_someone_else_wrote_is_told_without_a_persons_data() {
    let config = MongoServer::shared().fresh();
    let directory = opened(&config).await;
    let account = directory.sign_in(&vouched("secret-subject"), NOW).await.unwrap().account;
    let accounts: Collection<Document> = meddle(&config).await.collection(ACCOUNT);
    for spoiled in [doc! { "created_at": "secret-time" }, doc! { "created_at": 1_i64, "profile": "{secret" }] {
        accounts.update_one(doc! { "_id": account.id.to_string() }, doc! { "$set": spoiled }).await.unwrap();
        match directory.find(&account.id).await {
            Err(DirectoryError::Corrupt(why)) => assert!(!why.contains("secret"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_is_held_once_however_it_is_linked() {
    let config = MongoServer::shared().fresh();
    let directory = Arc::new(opened(&config).await);
    let account = directory.sign_in(&vouched("1"), NOW).await.unwrap().account;
    let links: Vec<_> = (0..16)
        .map(|_| {
            let directory = Arc::clone(&directory);
            tokio::spawn(async move { directory.link(&account.id, &vouched("2"), NOW).await.unwrap() })
        })
        .collect();
    for link in links {
        assert!(matches!(link.await.unwrap(), Linked::Done(account) if account.identities.len() == 2));
    }
    let accounts: Collection<Document> = meddle(&config).await.collection(ACCOUNT);
    let document = accounts.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(document.get_array("identities").unwrap().len(), 2);
}

#[tokio::test]
async fn a_refused_login_says_what_to_check_and_keeps_the_password() {
    let server = FakeServer::start(|command| {
        (command == "saslStart").then(|| refusal(18, "AuthenticationFailed", "Authentication failed."))
    })
    .await;
    let config = Config {
        username: Some("brama".into()),
        password: Some(Secret::new("x8Kq-2mmZ-hunter2")),
        ..config_at(server.port, "brama", None)
    };
    let error = MongoDirectory::dial(&config, true).await.unwrap_err();
    assert!(matches!(error, OpenError::Credentials(_)), "{error:?}");
    let directory = MongoDirectory::open(&config, true).unwrap();
    let why = unavailable(directory.ping().await);
    assert!(why.contains("directory.mongodb.username") && why.contains("authSource"), "{why}");
    assert!(!format!("{error:?} {why} {directory:?}").contains("hunter2"), "{why}");
}

#[tokio::test]
async fn a_missing_right_says_which_role_to_grant_and_quotes_no_command() {
    let server = FakeServer::start(|command| {
        (command == "createIndexes").then(|| refusal(13, "Unauthorized", "not authorized to execute { secret: 1 }"))
    })
    .await;
    let error = MongoDirectory::dial(&config_at(server.port, "brama", None), true).await.unwrap_err();
    assert!(matches!(error, OpenError::Rights(_)), "{error:?}");
    let why = error.to_string();
    assert!(why.contains("readWrite") && why.contains("13 Unauthorized") && !why.contains("secret"), "{why}");
}

#[tokio::test]
async fn a_majority_is_asked_for_whatever_the_address_says() {
    let server = FakeServer::start(|_| None).await;
    let mut config = config_at(server.port, "brama", None);
    config.url += "/?w=1&journal=false&readConcernLevel=local&readPreference=secondaryPreferred&wTimeoutMS=0";
    let directory = MongoDirectory::open(&config, true).unwrap();
    let made = directory.sign_in(&vouched("1"), NOW).await.unwrap();
    directory.set_disabled(&made.account.id, true).await.unwrap();
    directory.delete(&made.account.id).await.unwrap();
    directory.put(&made.account).await.unwrap();
    for command in ["createIndexes", "findAndModify", "insert", "update", "delete"] {
        for asked in server.asked(command) {
            let concern = asked.get_document("writeConcern").unwrap();
            assert_eq!(
                (concern.get_str("w").unwrap(), concern.get_bool("j").unwrap()),
                ("majority", true),
                "{command}"
            );
        }
        assert!(!server.asked(command).is_empty(), "{command}");
    }
    for asked in server.asked("find") {
        assert_eq!(asked.get_document("readConcern").unwrap().get_str("level").unwrap(), "majority");
        assert!(!format!("{asked}").contains("secondary"), "{asked}");
    }
    assert!(!server.asked("find").is_empty());
}

#[tokio::test]
async fn a_write_that_no_majority_confirmed_is_no_success() {
    let server = FakeServer::start(|command| {
        let lagging =
            doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out" };
        let done = doc! { "ok": 1, "n": 1, "nModified": 1, "value": null, "writeConcernError": lagging };
        ["findAndModify", "insert", "update", "delete"].contains(&command).then_some(done)
    })
    .await;
    // The schema is never written down, for that is not confirmed either: the answer of every call says why.
    let config = config_at(server.port, "brama", None);
    let why = MongoDirectory::dial(&config, true).await.unwrap_err().to_string();
    assert!(why.contains("majority") && why.contains("64 WriteConcernFailed"), "{why}");
    let accounts: Collection<super::Record> = meddle(&config).await.collection(ACCOUNT);
    let record = super::Record::new(&vouched("1"), NOW).unwrap();
    let update = doc! { "$set": { "disabled": true } };
    for result in [
        accounts.find_one_and_update(doc! {}, update.clone()).await.map(drop),
        accounts.insert_one(&record).await.map(drop),
        accounts.replace_one(doc! {}, &record).await.map(drop),
        accounts.update_one(doc! {}, update).await.map(drop),
        accounts.delete_one(doc! {}).await.map(drop),
    ] {
        let fault = super::fault::Fault::from(result.unwrap_err());
        let why = unavailable(Err::<(), _>(DirectoryError::from(fault)));
        assert!(why.contains("majority"), "{why}");
    }
}

#[tokio::test]
async fn a_change_of_primary_and_a_lost_majority_are_told() {
    for (refused, wanted) in [
        (refusal(10107, "NotWritablePrimary", "not primary"), "elects one"),
        (refusal(13435, "NotPrimaryNoSecondaryOk", "not primary"), "elects one"),
        (refusal(64, "WriteConcernFailed", "waiting for replication timed out"), "majority"),
        (refusal(14031, "OutOfDiskSpace", "disk"), "make room"),
        (refusal(26, "NamespaceNotFound", "{ secret: 1 }"), "26 NamespaceNotFound"),
    ] {
        let fault = super::fault::Fault::from(command_error(&refused));
        let why = unavailable(Err::<(), _>(DirectoryError::from(fault)));
        assert!(why.contains(wanted) && !why.contains("secret"), "{why}");
    }
}

fn command_error(refused: &Document) -> mongodb::error::Error {
    let refused: mongodb::error::CommandError = mongodb::bson::deserialize_from_document(refused.clone()).unwrap();
    mongodb::error::ErrorKind::Command(refused).into()
}

#[tokio::test]
async fn settings_that_do_not_fit_are_refused_before_anything_is_dialled() {
    let server_files = tempfile::tempdir().unwrap();
    let notes = server_files.path().join("notes.txt");
    std::fs::write(&notes, "no certificate").unwrap();
    let fine = config_at(1, "brama", None);
    for (config, wanted) in [
        (Config { url: "mongodb://u:hunter2@@h/?x".into(), ..fine.clone() }, "directory.mongodb.url"),
        (Config { url: format!("{}/?tlsInsecure=true&tls=true", fine.url), ..fine.clone() }, "tlsInsecure"),
        (Config { url: format!("{}/?tls=false", fine.url), ca_file: Some(notes.clone()), ..fine.clone() }, "tls=false"),
        (Config { ca_file: Some(notes.clone()), ..fine.clone() }, "directory.mongodb.ca_file"),
        (Config { cert_file: Some(notes), ..fine.clone() }, "directory.mongodb.cert_file"),
        (Config { ca_file: Some("/nowhere/ca.pem".into()), ..fine.clone() }, "/nowhere/ca.pem"),
        (Config { password_file: Some("/nowhere/password".into()), ..fine }, "directory.mongodb.password_file"),
    ] {
        let error = MongoDirectory::open(&config, true).unwrap_err().to_string();
        assert!(error.contains(wanted) && !error.contains("hunter2"), "{error}");
    }
}
