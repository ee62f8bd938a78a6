//! What a run comes to, in words and figures.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{constellation::Constellation, judge::Verdict, killer::Toll};

/// How many of the things that are wrong are shown.
const SHOWN: usize = 40;

/// A run.
pub(crate) struct Report<'a> {
    pub(crate) name: &'a str,
    pub(crate) seed: u64,
    pub(crate) storm: Duration,
    pub(crate) toll: Toll,
    pub(crate) logins: usize,
    pub(crate) uses: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) ended_by_themselves: BTreeMap<&'static str, u64>,
    pub(crate) verdict: Verdict,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, storm, toll, logins, uses, refused, ended_by_themselves, verdict } = self;
        let kills: usize = toll.values().map(|deaths| deaths.kills).sum();
        writeln!(f, "\n== {name}: {kills} kills in {} s, seed {seed}", storm.as_secs())?;
        for (kind, deaths) in toll {
            let (median, most) = figures(&deaths.well_after);
            writeln!(f, "killed {kind}: {}; all well again after (p50, max) {median} ms, {most} ms", deaths.kills)?;
        }
        for (kind, times) in ended_by_themselves.iter().filter(|(_, times)| **times > 0) {
            writeln!(f, "{kind} ended by itself while starting: {times}")?;
        }
        writeln!(f, "logins acknowledged: {logins}; uses acknowledged: {uses}; accounts: {}", verdict.accounts)?;
        let Verdict { live, signed_out, in_doubt, linked, link_in_doubt, .. } = verdict;
        writeln!(f, "sessions there: {live}; signed out and gone: {signed_out}; sign-outs in doubt: {in_doubt}")?;
        writeln!(f, "further identities linked: {linked}; linkings in doubt: {link_in_doubt}")?;
        for (what, times) in refused {
            writeln!(f, "refused, {what}: {times}")?;
        }
        for (kind, count) in &verdict.events {
            writeln!(f, "event {kind}: {count}")?;
        }
        writeln!(f, "events that came again: {}", verdict.repeated)?;
        writeln!(f, "nothing waited any more after {} ms", verdict.settled_after.as_millis())?;
        writeln!(f, "wrong: {}", verdict.wrongs.len())?;
        verdict.wrongs.iter().take(SHOWN).try_for_each(|wrong| writeln!(f, "  {wrong}"))
    }
}

/// Median and maximum, in milliseconds.
fn figures(times: &[Duration]) -> (u128, u128) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = |place: usize| sorted.get(place).map_or(0, Duration::as_millis);
    (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)))
}

/// How often whom, in a line.
pub(crate) fn short(toll: &Toll) -> String {
    toll.iter().map(|(kind, deaths)| format!("{kind} {}", deaths.kills)).collect::<Vec<_>>().join(", ")
}

/// How often servers of a kind ended without being killed.
pub(crate) fn ended_by_themselves(constellation: &Constellation) -> BTreeMap<&'static str, u64> {
    let mut ended = BTreeMap::new();
    for victim in &constellation.victims {
        *ended.entry(victim.server.kind).or_default() += victim.server.ended_by_itself();
    }
    ended
}

/// The ends of all logs, for whoever looks for the reason.
pub(crate) fn last_words(constellation: &Constellation) -> String {
    let said = constellation.victims.iter().map(|victim| {
        let server = &victim.server;
        format!("-- the last words of {}:\n{}", server.kind, server.last_words())
    });
    said.collect::<Vec<_>>().join("\n")
}
