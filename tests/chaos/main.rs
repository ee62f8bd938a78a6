//! Killed at random instants, nothing that was acknowledged is lost (docs/reliability.md).
//!
//! Real servers and real gateways run; people sign in, come back and sign out by HTTP; a killer sends SIGKILL to one of
//! the processes after the other. In the end the judge compares what was acknowledged to people with what is there, and
//! with the events that arrived.
//!
//! * [`constellation`]: who runs. * [`servers`]: each of them. * [`people`], with a [`browser`] and a [`provider`].
//! * [`ledger`]: what was acknowledged. * [`killer`]. * [`events`]: what arrived. * [`judge`].
//!
//! `cargo test --features full --test chaos` runs a sample; `tests/chaos/run [KILLS] [SEED]` runs as long as you like.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]
#![expect(clippy::print_stderr, reason = "a test tells how it goes")]

mod browser;
mod chance;
mod constellation;
mod events;
mod judge;
mod killer;
mod ledger;
mod people;
mod provider;
mod report;
mod servers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use constellation::Constellation;
use ledger::Ledger;
use people::World;
use report::Report;

/// How many people are under way at a time.
const PEOPLE: usize = 8;
/// How often the sample kills in each constellation.
const SAMPLE: usize = 12;
/// Longest rest of people between two steps in the sample, and in a long run, which would otherwise pile up sessions.
const REST_MS: usize = 60;
const REST_MS_LONG: usize = 120;
/// How long people have at the end to come to an end of what they do.
const LAST_STEPS: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_replicas_their_stores_and_their_broker_killed_lose_nothing_acknowledged() {
    let kills = kills(3, 4);
    run("replicas", Constellation::replicas().await, kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_alone_killed_loses_nothing_acknowledged() {
    let kills = kills(1, 4);
    run("alone", Constellation::alone().await, kills).await;
}

/// How often this constellation's processes are killed: its share of what is asked for, else the sample.
fn kills(share: usize, of: usize) -> usize {
    let asked = std::env::var("BRAMA_CHAOS_KILLS").ok();
    asked.map_or(SAMPLE, |asked| asked.parse::<usize>().expect("BRAMA_CHAOS_KILLS is a number") * share / of)
}

/// The seed that is asked for, else one of chance.
fn seed() -> u64 {
    match std::env::var("BRAMA_CHAOS_SEED") {
        Ok(asked) => asked.parse().expect("BRAMA_CHAOS_SEED is a number"),
        Err(_) => u64::from(u32::from_be_bytes(brama::secret::random())),
    }
}

async fn run(name: &str, constellation: Constellation, kills: usize) {
    let (seed, begun, ledger) = (seed(), Instant::now(), Ledger::default());
    let again = format!("again with: BRAMA_CHAOS_SEED={seed} cargo test --features full --test chaos");
    eprintln!("{name}: {kills} kills, seed {seed}");
    let world = World {
        gateways: Arc::clone(&constellation.gateways),
        providers: constellation.providers.clone(),
        ledger: ledger.clone(),
        rest_ms: if kills > SAMPLE { REST_MS_LONG } else { REST_MS },
    };
    let stop = CancellationToken::new();
    let people: Vec<_> =
        (0..PEOPLE).map(|number| tokio::spawn(people::live(world.clone(), number, seed, stop.clone()))).collect();
    let tell = |number: usize, toll: &killer::Toll| {
        if number.is_multiple_of(25) {
            let pages = ledger.open();
            eprintln!("{name}: {number} of {kills} kills, {} logins, {}", pages.sessions.len(), report::short(toll));
            pages.wrongs.iter().for_each(|wrong| eprintln!("{name}: wrong so far: {wrong}"));
        }
    };
    let killed = killer::kill(&constellation.victims, &constellation.gateways, kills, seed, tell).await;
    stop.cancel();
    for person in people {
        let ended = tokio::time::timeout(LAST_STEPS, person).await;
        ended.expect("people come to an end").expect("people do not panic");
    }
    let (toll, stuck) = match killed {
        Ok(toll) => (toll, None),
        Err(why) => (killer::Toll::new(), Some(why)),
    };
    let storm = begun.elapsed();
    let pages = std::mem::take(&mut *ledger.open());
    let (logins, refused, uses) = (pages.sessions.len(), pages.refused.clone(), pages.uses);
    *ledger.open() = pages;
    let mut verdict = judge::judge(&constellation, &ledger).await;
    constellation.events.close().await;
    verdict.wrongs.extend(stuck);
    let ended_by_themselves = report::ended_by_themselves(&constellation);
    let report = Report { name, seed, storm, toll, logins, uses, refused, ended_by_themselves, verdict };
    eprintln!("{report}");
    assert!(report.verdict.wrongs.is_empty(), "{report}\n{again}\n{}", report::last_words(&constellation));
}
