//! The relay over real outboxes, with sinks that fail as told.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;
use crate::{
    clock::SystemClock,
    config::event::WhenFull,
    directory::sql::sqlite::SqliteFile,
    event::{
        file::FileSink,
        outbox::Position,
        sink::{Letter, Undelivered, Why},
    },
    session::embedded::EmbeddedSessions,
    telemetry::metrics::Metrics,
    told::{Examined, Sound},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A sink that keeps what it takes, is down when told, and calls some letters poison.
#[derive(Debug, Default)]
struct Probe {
    name: String,
    down: AtomicBool,
    asked: AtomicBool,
    taken: Arc<Mutex<Vec<Letter>>>,
}

impl Probe {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.into(), ..Self::default() })
    }

    fn ids(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|letter| letter.id.clone()).collect()
    }

    fn down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventSink for Probe {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, letters: &[Letter]) -> Result<(), Undelivered> {
        self.asked.store(true, Ordering::SeqCst);
        for (delivered, letter) in letters.iter().enumerate() {
            // Lets others run, as a network would.
            tokio::task::yield_now().await;
            if self.down.load(Ordering::SeqCst) {
                return Err(Undelivered { delivered, why: Why::Unavailable("down".into()) });
            }
            if letter.id.starts_with("poison") {
                return Err(Undelivered { delivered, why: Why::Poison("too large".into()) });
            }
            self.taken.lock().unwrap().push(letter.clone());
        }
        Ok(())
    }

    async fn ping(&self) -> Result<(), String> {
        Ok(())
    }

    async fn examine(&self) -> Examined {
        Ok(Sound::default())
    }
}

fn letter(id: impl Into<String>, key: &str) -> Letter {
    let id = id.into();
    let at = SystemClock.now();
    Letter {
        body: format!("{{\"id\":\"{id}\"}}").into(),
        id,
        kind: "io.brama.session.begun".into(),
        key: key.into(),
        at,
    }
}

async fn embedded(folder: &Path) -> Arc<dyn Outbox> {
    let file = SqliteFile::open(&folder.join("brama.db")).await.unwrap();
    Arc::new(EmbeddedSessions::open(file).await.unwrap())
}

fn parts(outbox: &Arc<dyn Outbox>, sinks: &[Arc<Probe>]) -> Parts {
    let addressee = |sink: &Arc<Probe>| Addressee { sink: sink.clone(), types: Types::parse(&["*".into()]).unwrap() };
    with_addressees(outbox, sinks.iter().map(addressee).collect())
}

fn with_addressees(outbox: &Arc<dyn Outbox>, addressees: Vec<Addressee>) -> Parts {
    let metrics = Metrics::new();
    Parts {
        outbox: outbox.clone(),
        addressees,
        journal: Arc::new(Journal::new(None, metrics.clone(), None, outbox.clone())),
        clock: Arc::new(SystemClock),
        metrics: metrics.outbox().clone(),
    }
}

fn config() -> Config {
    crate::config::value::all_defaults().unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"));
}

async fn until_empty(outbox: &Arc<dyn Outbox>) {
    let waiting = async {
        while outbox.newest().await.unwrap().iter().any(Option::is_some) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the outbox is emptied");
}

/// The ids of each key in the order in which they first came.
fn first_by_key(taken: &[Letter]) -> BTreeMap<String, Vec<String>> {
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for letter in taken {
        let ids = by_key.entry(letter.key.clone()).or_default();
        if !ids.contains(&letter.id) {
            ids.push(letter.id.clone());
        }
    }
    by_key
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_was_down_gets_everything_in_order_when_it_is_back_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = embedded(folder.path()).await;
    let (bus, log) = (Probe::new("bus"), Probe::new("log"));
    bus.down(true);
    let relay = Relay::start(&parts(&outbox, &[bus.clone(), log.clone()]), &config());
    let all: Vec<Letter> = (0..500).map(|n| letter(n.to_string(), &format!("account {}", n % 25))).collect();
    for some in all.chunks(20) {
        outbox.append(some).await.unwrap();
    }
    until("the healthy sink has everything", || log.ids().len() == 500).await;
    assert!(bus.ids().is_empty());
    bus.down(false);
    until_empty(&outbox).await;
    for sink in [&bus, &log] {
        let taken = sink.taken.lock().unwrap().clone();
        assert_eq!(taken.len(), 500, "{}: nothing was offered twice without need", sink.name);
        assert_eq!(first_by_key(&taken), first_by_key(&all));
    }
    relay.drain(PATIENCE).await;
}

/// Two relays, as two replicas have, on two handles of one outbox: everything arrives, in order per key.
async fn shared(one: Arc<dyn Outbox>, other: Arc<dyn Outbox>) {
    // Both replicas' sinks lead to one broker.
    let broker: Arc<Mutex<Vec<Letter>>> = Arc::default();
    let sink = || Arc::new(Probe { name: "bus".into(), taken: broker.clone(), ..Probe::default() });
    let (at_one, at_other) = (sink(), sink());
    let relays = [
        Relay::start(&parts(&one, std::slice::from_ref(&at_one)), &config()),
        Relay::start(&parts(&other, std::slice::from_ref(&at_other)), &config()),
    ];
    let all: Vec<Letter> = (0..400).map(|n| letter(n.to_string(), &format!("account {}", n % 20))).collect();
    for (index, some) in all.chunks(10).enumerate() {
        // Now and then one of them fails for a moment.
        at_one.down(index % 5 == 0);
        at_other.down(index % 7 == 0);
        let outbox = if index % 2 == 0 { &one } else { &other };
        outbox.append(some).await.unwrap();
    }
    at_one.down(false);
    at_other.down(false);
    until_empty(&one).await;
    let taken = broker.lock().unwrap().clone();
    assert_eq!(first_by_key(&taken), first_by_key(&all));
    for relay in relays {
        relay.drain(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_share_the_lanes_of_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = SqliteFile::open(&folder.path().join("brama.db")).await.unwrap();
    let one = Arc::new(EmbeddedSessions::open(file.clone()).await.unwrap());
    let other = Arc::new(EmbeddedSessions::open(file).await.unwrap());
    shared(one, other).await;
}

#[cfg(feature = "session-redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_share_the_lanes_of_one_redis() {
    use crate::session::redis::{RedisSessions, server::RedisServer};
    let server = RedisServer::start();
    let open = || Arc::new(RedisSessions::open(&server.config()).unwrap());
    shared(open(), open()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sink_can_never_take_is_put_aside_and_the_rest_goes_on_until_it_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = embedded(folder.path()).await;
    let (bus, log) = (Probe::new("bus"), Probe::new("log"));
    let relay = Relay::start(&parts(&outbox, &[bus.clone(), log.clone()]), &config());
    outbox.append(&["1", "poison", "2"].map(|id| letter(id, "key"))).await.unwrap();
    until_empty(&outbox).await;
    assert_eq!(bus.ids(), ["1", "2"]);
    let dead = outbox.dead(Position::default(), 10).await.unwrap();
    let mut sinks: Vec<&str> = dead.iter().map(|(_, dead)| dead.sink.as_str()).collect();
    sinks.sort_unstable();
    assert_eq!(sinks, ["bus", "log"]);
    // What was wrong is mended for one of them: only that one gets it again.
    let (position, of_bus) = dead.iter().find(|(_, dead)| dead.sink == "bus").unwrap();
    let mut mended = of_bus.clone();
    assert_eq!(mended.why, "too large");
    mended.letter.id = "mended".into();
    assert!(outbox.revive(*position, &mended, SystemClock.now()).await.unwrap());
    until("the sink has it", || bus.ids() == ["1", "2", "mended"]).await;
    until_empty(&outbox).await;
    assert_eq!(log.ids(), ["1", "2"]);
    relay.drain(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_gets_the_types_it_wants() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = embedded(folder.path()).await;
    let probe = Probe::new("accounts");
    let types = Types::parse(&["io.brama.account.*".into()]).unwrap();
    let relay = Relay::start(&with_addressees(&outbox, vec![Addressee { sink: probe.clone(), types }]), &config());
    let of = |id: &str, kind: &str| Letter { kind: kind.into(), ..letter(id, "key") };
    let mixed =
        [of("1", "io.brama.session.begun"), of("2", "io.brama.account.created"), of("3", "io.brama.login.refused")];
    outbox.append(&mixed).await.unwrap();
    until_empty(&outbox).await;
    assert_eq!(probe.ids(), ["2"]);
    relay.drain(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_at_the_end_is_offered_a_last_time_and_the_lanes_are_free_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = embedded(folder.path()).await;
    let probe = Probe::new("bus");
    probe.down(true);
    let relay = Relay::start(&parts(&outbox, std::slice::from_ref(&probe)), &config());
    outbox.append(&(0..30).map(|n| letter(n.to_string(), &n.to_string())).collect::<Vec<_>>()).await.unwrap();
    until("it was tried", || probe.asked.load(Ordering::SeqCst)).await;
    probe.down(false);
    relay.drain(PATIENCE).await;
    assert_eq!(probe.ids().len(), 30);
    for partition in Partition::all() {
        let lane = format!("{partition}:bus");
        assert!(outbox.claim(&lane, "another", Duration::from_secs(1), SystemClock.now()).await.unwrap(), "{lane}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_bounds_the_oldest_are_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = embedded(folder.path()).await;
    let metrics = Metrics::new();
    let probe = Probe::new("bus");
    let parts = Parts { metrics: metrics.outbox().clone(), ..parts(&outbox, &[probe]) };
    let config = Config { max_count: 10, max_age: Duration::from_secs(3600), ..config() };
    let mut bounds = Bounds::new(&parts, &config, &"holder".into());
    let old = Letter { at: SystemClock.now().minus(Duration::from_secs(7200)), ..letter("old", "key") };
    outbox.append(&[old]).await.unwrap();
    outbox.append(&(0..13).map(|n| letter(n.to_string(), "key")).collect::<Vec<_>>()).await.unwrap();
    bounds.look().await.unwrap();
    let left = outbox.peek(Partition::of("key"), Position::default(), 100).await.unwrap();
    let left: Vec<&str> = left.iter().map(|waiting| waiting.letter.id.as_str()).collect();
    assert_eq!(left, ["3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]);
    bounds.look().await.unwrap();
    let text = metrics.render();
    for line in ["brama_outbox_dropped_total 4", "brama_outbox_events 10", "brama_outbox_alarm 1"] {
        assert!(text.lines().any(|got| got == line), "{line} is not in:\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_must_prove_every_login_refuses_new_ones_at_the_bounds_and_drops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = embedded(folder.path()).await;
    let parts = parts(&outbox, &[Probe::new("bus")]);
    let config = Config { max_count: 10, when_full: WhenFull::RefuseLogins, ..config() };
    let mut bounds = Bounds::new(&parts, &config, &"holder".into());
    outbox.append(&(0..9).map(|n| letter(n.to_string(), "key")).collect::<Vec<_>>()).await.unwrap();
    bounds.look().await.unwrap();
    assert!(!parts.journal.refuses_logins());
    outbox.append(&(9..20).map(|n| letter(n.to_string(), "key")).collect::<Vec<_>>()).await.unwrap();
    bounds.look().await.unwrap();
    assert!(parts.journal.refuses_logins());
    assert_eq!(outbox.measure(Partition::of("key")).await.unwrap().count, 20);
    outbox.drop_oldest(15).await.unwrap();
    bounds.look().await.unwrap();
    assert!(!parts.journal.refuses_logins());
}

/// Where the gateway to be killed works; set by the test that kills it.
const FOLDER: &str = "BRAMA_TEST_KILLED_RELAY_FOLDER";

fn to_a_file(folder: &Path, outbox: &Arc<dyn Outbox>) -> Parts {
    let file = crate::config::event::file::File { path: folder.join("events.jsonl") };
    let sink: Arc<dyn EventSink> = Arc::new(FileSink::open("lines", &file));
    with_addressees(outbox, vec![Addressee { sink, types: Types::parse(&["*".into()]).unwrap() }])
}

/// Not a test of its own: what the test below runs as another process. Without its variable it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_to_be_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let outbox = embedded(folder).await;
    let _relay = Relay::start(&to_a_file(folder, &outbox), &config());
    for number in 0_u64.. {
        let letter = letter(format!("{}-{number}", std::process::id()), &format!("account {}", number % 5));
        outbox.append(std::slice::from_ref(&letter)).await.unwrap();
        println!("acknowledged {}", letter.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_between_the_outbox_and_the_sink_loses_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for killed_after in [1, 30, 120] {
        let mut gateway = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["event::relay::tests::gateway_to_be_killed", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(gateway.stdout.take().unwrap()).lines();
        let mut count = 0;
        while let Some(line) = lines.next_line().await.unwrap() {
            // The test harness says its own things on the same line as the first of ours.
            if let Some((_, id)) = line.split_once("acknowledged ") {
                acknowledged.push(id.to_owned());
                count += 1;
                if count == killed_after {
                    gateway.start_kill().unwrap();
                }
            }
        }
        assert!(!gateway.wait().await.unwrap().success());
    }
    // The leases of the killed run out by themselves; nobody need wait for that here.
    let outbox = embedded(folder.path()).await;
    let later = Arc::new(crate::clock::ManualClock::new(SystemClock.now().plus(Duration::from_secs(60))));
    let relay = Relay::start(&Parts { clock: later, ..to_a_file(folder.path(), &outbox) }, &config());
    until_empty(&outbox).await;
    relay.drain(PATIENCE).await;
    let text = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let written: Vec<String> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    for id in &acknowledged {
        assert!(written.contains(id), "{id} was acknowledged and is lost");
    }
    let order = |ids: &[String], process: &str, account: u64| -> Vec<u64> {
        let numbers = ids.iter().filter_map(|id| id.strip_prefix(process)?.strip_prefix('-')?.parse::<u64>().ok());
        let mut seen = Vec::new();
        numbers.filter(|number| number % 5 == account).for_each(|number| {
            if !seen.contains(&number) {
                seen.push(number);
            }
        });
        seen
    };
    let processes: BTreeSet<&str> = acknowledged.iter().filter_map(|id| id.split('-').next()).collect();
    for process in processes {
        for account in 0..5 {
            assert!(order(&written, process, account).is_sorted(), "in order of account {account}");
        }
    }
}
