//! What only Redis can do to us: go away, come back, refuse, be meddled with.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use super::{RedisSessions, server::RedisServer, server::watching};
use crate::{
    clock::Timestamp,
    identity::{AccountId, IdentityKey, Issuer, Subject},
    secret::{KeyRing, Purpose},
    session::{
        Change, NewStored, Replaced, SessionId, SessionKey, SessionStore, Sessions, Sighting, StoreError, Untold,
        Whose, conformance::touch, lifetime::Lifetime,
    },
};

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(10);

fn new() -> NewStored {
    NewStored {
        key: SessionId::fresh().key(),
        account: AccountId::fresh(NOW),
        identity: IdentityKey { issuer: Issuer::new("https://issuer.test"), subject: Subject::new("someone") },
        sid: Some("sid".into()),
        sealed: vec![7; 300],
        last_seen: NOW,
        expires_at: NOW.plus(HOUR),
    }
}

async fn begun(store: &dyn SessionStore) -> SessionKey {
    let new = new();
    store.begin(new.clone(), None, &[]).await.unwrap();
    new.key
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result.unwrap_err() {
        StoreError::Unavailable(why) => why,
        StoreError::Corrupt(why) => panic!("corrupt: {why}"),
    }
}

async fn hears(news: &mut tokio::sync::broadcast::Receiver<Change>, wanted: Change) {
    let hearing = async { while news.recv().await.unwrap() != wanted {} };
    timeout(PATIENCE, hearing).await.unwrap_or_else(|_| panic!("{wanted:?} is told"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_loses_no_acknowledged_session_and_is_used_again_when_it_is_back() {
    let mut server = RedisServer::start();
    let store = Arc::new(RedisSessions::open(&server.config()).unwrap());
    watching(&*store).await;
    let mut news = store.changes();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let new = new();
                    match store.begin(new.clone(), None, &[]).await {
                        Ok(()) => acknowledged.push(new.key),
                        Err(_) => return acknowledged,
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.kill();
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(timeout(PATIENCE, writer).await.expect("writers notice").unwrap());
    }
    assert!(acknowledged.len() > 8, "{}", acknowledged.len());
    hears(&mut news, Change::Missed).await;
    let why = unavailable(store.load(&acknowledged[0], NOW).await);
    assert!(why.contains("session.redis.url"), "{why}");
    unavailable(store.ping().await);

    server.restart();
    let back = Instant::now();
    hears(&mut news, Change::Watching).await;
    assert!(back.elapsed() < Duration::from_secs(1), "back after {:?}", back.elapsed());
    for key in &acknowledged {
        assert!(store.load(key, NOW).await.unwrap().is_some(), "{key:?} was acknowledged");
    }
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_command_after_a_restart_works() {
    let mut server = RedisServer::start();
    let store = RedisSessions::open(&server.config()).unwrap();
    let key = begun(&store).await;
    server.kill();
    server.restart();
    assert!(store.load(&key, NOW).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_is_given_up_in_time_and_its_silence_noticed() {
    let server = RedisServer::start();
    let config = crate::config::session::Redis { timeout: Duration::from_millis(200), ..server.config() };
    let store = RedisSessions::open(&config).unwrap();
    watching(&store).await;
    let key = begun(&store).await;
    let mut news = store.changes();
    signal(&server, "STOP");
    let asked = Instant::now();
    let why = unavailable(store.load(&key, NOW).await);
    assert!(asked.elapsed() < Duration::from_millis(900), "twice the timeout at most: {:?}", asked.elapsed());
    assert!(why.contains("200 ms"), "{why}");
    hears(&mut news, Change::Missed).await;
    signal(&server, "CONT");
    hears(&mut news, Change::Watching).await;
    assert!(store.load(&key, NOW).await.unwrap().is_some());
}

fn signal(server: &RedisServer, name: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{name}"), &server.pid().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renaming_whose_answer_was_lost_says_what_it_said_first() {
    let server = RedisServer::start();
    let store = RedisSessions::open(&server.config()).unwrap();
    watching(&store).await;
    let (old, name) = (begun(&store).await, new());
    for _ in 0..2 {
        assert!(store.rename(name.clone(), &old, &[]).await.unwrap());
    }
    assert!(store.load(&name.key, NOW).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_start_after_us() {
    let mut server = RedisServer::start();
    server.kill();
    let store = RedisSessions::open(&server.config()).unwrap();
    unavailable(store.ping().await);
    server.restart();
    watching(&store).await;
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_with_our_own_authority_a_client_certificate_and_an_acl_user_are_enough_for_everything() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = RedisServer::start_with_tls_and_acl();
    let store = RedisSessions::open(&server.config()).unwrap();
    store.ping().await.unwrap();
    watching(&store).await;
    store.ping().await.unwrap();
    let new = new();
    store.begin(new.clone(), None, &[]).await.unwrap();
    let mut news = store.changes();
    assert!(touch(&store, &new.key, NOW, NOW.plus(24 * 30 * HOUR)).await);
    assert_eq!(store.replace(&new.key, 1, vec![1], NOW.plus(HOUR), NOW, &[]).await.unwrap(), Replaced::Done);
    assert_eq!(store.list(&new.account, NOW).await.unwrap().len(), 1);
    assert!(store.lease("l", "h", HOUR, NOW).await.unwrap());
    store.release("l", "h").await.unwrap();
    assert!(store.use_once("m", NOW.plus(HOUR), NOW).await.unwrap());
    assert!(store.put_document("d", None, b"x").await.unwrap());
    assert_eq!(store.end_all(&Whose::Account(new.account), None, &Untold).await.unwrap(), [new.key]);
    hears(&mut news, Change::One(new.key)).await;

    // The same user may not leave its prefix; a wrong password, and no certificate, are told apart.
    let config = server.config();
    let elsewhere = crate::config::session::Redis { prefix: "other:".into(), ..config.clone() };
    let why = unavailable(RedisSessions::open(&elsewhere).unwrap().ping().await);
    assert!(why.contains("the Redis user may not do this"), "{why}");
    let wrong = crate::config::session::Redis { password: Some(crate::secret::Secret::new("wrong")), ..config.clone() };
    let why = unavailable(RedisSessions::open(&wrong).unwrap().ping().await);
    assert!(why.contains("password_file") && !why.contains("s3cret"), "{why}");
    let bare = crate::config::session::Redis { cert_file: None, key_file: None, ..config };
    unavailable(RedisSessions::open(&bare).unwrap().ping().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_refuses_comes_with_what_to_do() {
    for (settings, advice) in [
        ("maxmemory 100kb\nmaxmemory-policy noeviction\n", "raise its maxmemory"),
        ("requirepass secret\n", "set session.redis.username and password_file"),
        ("replicaof 127.0.0.1 1\n", "point session.redis.url at the master"),
        ("min-replicas-to-write 1\n", "Redis refuses"),
    ] {
        let server = RedisServer::start_with(false, settings);
        let why = unavailable(RedisSessions::open(&server.config()).unwrap().ping().await);
        assert!(why.contains(advice), "{settings}: {why}");
        let why = unavailable(RedisSessions::open(&server.config()).unwrap().begin(new(), None, &[]).await);
        assert!(why.contains(advice), "{settings}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_wrong_type_is_unavailable_and_nonsense_in_a_record_is_corrupt() {
    let server = RedisServer::start();
    let store = RedisSessions::open(&server.config()).unwrap();
    let (typed, nonsense) = (begun(&store).await, begun(&store).await);
    let mut meddling = server.meddle().await;
    let record = store.keys.record(&typed);
    redis::pipe().del(&record).set(&record, "x").exec_async(&mut meddling).await.unwrap();
    let why = unavailable(store.load(&typed, NOW).await);
    assert!(why.contains("does another program use session.redis.prefix"), "{why}");
    let record = store.keys.record(&nonsense);
    redis::pipe().hset(&record, "v", "x").exec_async(&mut meddling).await.unwrap();
    assert!(matches!(store.load(&nonsense, NOW).await, Err(StoreError::Corrupt(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_deletes_is_heard_of_within_50_ms() {
    let server = RedisServer::start();
    let store = RedisSessions::open(&server.config()).unwrap();
    watching(&store).await;
    let mut meddling = server.meddle().await;
    let mut news = store.changes();
    let mut delays = Vec::new();
    for _ in 0..9 {
        let key = begun(&store).await;
        hears(&mut news, Change::One(key)).await;
        let deleted = Instant::now();
        redis::pipe().del(store.keys.record(&key)).exec_async(&mut meddling).await.unwrap();
        hears(&mut news, Change::One(key)).await;
        delays.push(deleted.elapsed());
    }
    // The median: a busy machine may hold up any one of them.
    delays.sort_unstable();
    assert!(delays[4] < Duration::from_millis(50), "{delays:?}");
    redis::cmd("FLUSHALL").exec_async(&mut meddling).await.unwrap();
    hears(&mut news, Change::Missed).await;
    hears(&mut news, Change::Watching).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_but_documents_goes_away_by_itself() {
    let server = RedisServer::start();
    let store = RedisSessions::open(&server.config()).unwrap();
    begun(&store).await;
    let touched = begun(&store).await;
    assert!(touch(&store, &touched, NOW, NOW.plus(24 * 30 * HOUR)).await);
    store.lease("lease", "holder", HOUR, NOW).await.unwrap();
    store.use_once("marker", NOW.plus(HOUR), NOW).await.unwrap();
    let mut meddling = server.meddle().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut meddling).await.unwrap();
    assert!(keys.len() >= 8, "{keys:?}");
    for key in keys {
        let life: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut meddling).await.unwrap();
        assert!(life > 0, "{key} lives {life}");
    }
    // The indexes of the touched session live as long as its record.
    let life = |key: String| {
        let mut meddling = meddling.clone();
        async move { redis::cmd("PTTL").arg(key).query_async::<i64>(&mut meddling).await.unwrap() }
    };
    let identity = store.keys.identity(&new().identity);
    let difference = life(identity).await - life(store.keys.record(&touched)).await;
    assert!(difference.abs() < 1000, "{difference}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_session_leaves_nothing_behind() {
    let server = RedisServer::start();
    let store = RedisSessions::open(&server.config()).unwrap();
    let key = begun(&store).await;
    store.end(&key, &[]).await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut server.meddle().await).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_told_by_their_key() {
    let server = RedisServer::start();
    let config = server.config();
    let refused = |config: crate::config::session::Redis| RedisSessions::open(&config).unwrap_err().to_string();
    let missing = server.path("missing.crt");
    let plain = crate::config::session::Redis { ca_file: Some(missing.clone()), ..config.clone() };
    assert!(refused(plain).contains("rediss://"));
    let tls = crate::config::session::Redis {
        url: "rediss://localhost:1/0".into(),
        ca_file: Some(missing),
        ..config.clone()
    };
    let why = refused(tls);
    assert!(why.contains("ca_file") && why.contains("missing.crt"), "{why}");
    let braces = crate::config::session::Redis { prefix: "a{b}".into(), ..config.clone() };
    assert!(refused(braces).contains("prefix"));
    let address = crate::config::session::Redis { url: "redis://user:hunter2@[bad".into(), ..config };
    let why = refused(address);
    assert!(why.contains("session.redis.url") && !why.contains("hunter2"), "{why}");
}

/// Counts how often the client has spoken and the server then answered: round trips, whatever is in them.
struct Turns {
    port: u16,
    count: Arc<AtomicUsize>,
}

impl Turns {
    /// A way to `server` that counts.
    async fn to(server: &RedisServer) -> Self {
        let address = url::Url::parse(&server.config().url).unwrap();
        let server = format!("127.0.0.1:{}", address.port().unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, count) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = tokio::net::TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&counted)));
            }
        });
        Self { port, count }
    }

    fn config(&self, server: &RedisServer) -> crate::config::session::Redis {
        crate::config::session::Redis { url: format!("redis://127.0.0.1:{}/0", self.port), ..server.config() }
    }

    /// How many there were since the last call.
    fn since(&self) -> usize {
        self.count.swap(0, Ordering::SeqCst)
    }
}

/// Passes bytes both ways until one side ends. What the client says is one turn until the server answers.
async fn pass(mut client: tokio::net::TcpStream, mut server: tokio::net::TcpStream, turns: Arc<AtomicUsize>) {
    let (mut said, mut answered) = ([0; 65536], [0; 65536]);
    let mut speaking = false;
    loop {
        tokio::select! {
            read = client.read(&mut said) => {
                let Ok(1..) = read else { return };
                turns.fetch_add(usize::from(!speaking), Ordering::SeqCst);
                speaking = true;
                server.write_all(&said[..read.unwrap()]).await.unwrap();
            }
            read = server.read(&mut answered) => {
                let Ok(1..) = read else { return };
                speaking = false;
                client.write_all(&answered[..read.unwrap()]).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_one_round_trip_and_so_are_hundreds_of_sightings() {
    let server = RedisServer::start();
    let turns = Turns::to(&server).await;
    let store = RedisSessions::open(&turns.config(&server)).unwrap();
    watching(&store).await;
    // The watch says something every second, and is not what is counted.
    store.watching.abort();
    let mut keys = Vec::new();
    for _ in 0..400 {
        keys.push(begun(&store).await);
    }
    turns.since();
    assert!(store.load(&keys[0], NOW).await.unwrap().is_some());
    assert_eq!(turns.since(), 1);
    let sightings: Vec<Sighting> =
        keys.iter().map(|key| Sighting { key: *key, seen: NOW.plus(HOUR / 2), expires_at: NOW.plus(HOUR) }).collect();
    assert!(store.touch(&sightings).await.unwrap().iter().all(|goes_on| *goes_on));
    // More than one, when they fill more than one packet.
    assert!(turns.since() < 40);

    // All the way from a request that finds nothing in the cache.
    let sessions = sessions(Arc::new(store));
    let id = SessionId::fresh();
    sessions.store().begin(record(&sessions, &id), None, &[]).await.unwrap();
    turns.since();
    assert!(sessions.load(&id.key()).await.unwrap().is_some());
    assert_eq!(turns.since(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sightings_are_noted_by_a_redis_that_has_forgotten_the_script() {
    let server = RedisServer::start();
    let store = RedisSessions::open(&server.config()).unwrap();
    let key = begun(&store).await;
    for _ in 0..2 {
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut server.meddle().await).await.unwrap();
        assert!(touch(&store, &key, NOW.plus(HOUR / 2), NOW.plus(HOUR)).await);
    }
}

fn sessions(store: Arc<dyn SessionStore>) -> Arc<Sessions> {
    let lifetime = Lifetime { idle: HOUR, absolute: HOUR };
    let clock = Arc::new(crate::clock::ManualClock::new(NOW));
    Arc::new(Sessions::new(store, KeyRing::new([7; 32], []), lifetime, Duration::ZERO, 10, clock))
}

fn record(sessions: &Sessions, id: &SessionId) -> NewStored {
    let facts = serde_json::json!({
        "account": AccountId::fresh(NOW),
        "origin": {"provider": "google", "issuer": "i", "subject": "s", "at": NOW},
        "profile": {}, "created_at": NOW, "ends_at": NOW.plus(HOUR),
    });
    let (key, json) = (id.key(), facts.to_string());
    NewStored { key, sealed: sessions.keys().seal(Purpose::SessionRecord, b"", key.bytes(), json.as_bytes()), ..new() }
}
