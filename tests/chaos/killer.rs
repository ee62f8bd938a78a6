//! The killer: picks a victim and an instant, sends SIGKILL, and starts the victim again.
//!
//! Which victim, how long it stays down and how long the next is left in peace follow from the seed; what everybody is
//! doing at that instant does not. Often the next one is killed before all is well again, now and then the same one
//! while it starts.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{chance::Chance, servers::Server, servers::gateway::Gateway};

/// Whom to kill, and how often compared to the others.
#[derive(Debug, Clone)]
pub(crate) struct Victim {
    pub(crate) server: Arc<Server>,
    pub(crate) weight: usize,
}

/// What became of the victims of one kind.
#[derive(Debug, Default, Clone)]
pub(crate) struct Deaths {
    pub(crate) kills: usize,
    /// From SIGKILL until every gateway called everything well, where nobody else was killed meanwhile.
    pub(crate) well_after: Vec<Duration>,
}

/// By kind of victim.
pub(crate) type Toll = BTreeMap<&'static str, Deaths>;

/// Longest the world may take to be well again after a kill.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often in a hundred the next kill waits until all is well.
const WAITS: usize = 70;

/// Kills `kills` times.
///
/// # Errors
/// What is wrong when something never gets well again.
pub(crate) async fn kill(
    victims: &[Victim],
    gateways: &[Gateway],
    kills: usize,
    seed: u64,
    tell: impl Fn(usize, &Toll),
) -> Result<Toll, String> {
    let mut chance = Chance::of(seed, "killer");
    let mut toll = Toll::new();
    let mut deck = Deck { victims, left: Vec::new() };
    for number in 1..=kills {
        tokio::time::sleep(chance.up_to_ms(700)).await;
        let victim = deck.draw(&mut chance);
        let at = Instant::now();
        tokio::task::block_in_place(|| victim.kill());
        // Most service managers are quick; some take their time.
        let down = if chance.percent(30) { chance.up_to_ms(800) } else { chance.up_to_ms(50) };
        tokio::time::sleep(down).await;
        tokio::task::block_in_place(|| victim.start());
        let deaths = toll.entry(victim.kind).or_default();
        deaths.kills += 1;
        if chance.percent(WAITS) {
            all_well(gateways).await?;
            deaths.well_after.push(at.elapsed());
        }
        tell(number, &toll);
    }
    Ok(toll)
}

/// Each victim as often as it weighs, in an order of chance, and then anew: none is left out, however few are killed.
struct Deck<'a> {
    victims: &'a [Victim],
    left: Vec<&'a Server>,
}

impl<'a> Deck<'a> {
    fn draw(&mut self, chance: &mut Chance) -> &'a Server {
        if self.left.is_empty() {
            let each = |victim: &'a Victim| std::iter::repeat_n(&*victim.server, victim.weight);
            self.left = self.victims.iter().flat_map(each).collect();
        }
        self.left.swap_remove(chance.below(self.left.len()))
    }
}

/// Waits until no gateway complains of anything.
///
/// # Errors
/// The complaint that stays.
pub(crate) async fn all_well(gateways: &[Gateway]) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    'again: loop {
        for gateway in gateways {
            let Some(complaint) = gateway.complaint().await else { continue };
            if Instant::now() > deadline {
                return Err(format!("not well after {PATIENCE:?}: {complaint}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue 'again;
        }
        return Ok(());
    }
}
