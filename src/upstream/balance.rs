//! Which target gets the next request. Pure: health and load in, an index out.

use super::target::Target;
use crate::config::upstream::Balance;

/// What the choice depends on besides the targets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// How requests are shared out.
    pub(super) balance: Balance,
    /// Counts the requests of this worker.
    pub(super) count: usize,
    /// Hash of the account, for sticky upstreams.
    pub(super) affinity: Option<u64>,
    /// A target that just failed this request.
    pub(super) avoid: Option<usize>,
}

/// Chooses a target; `None` when the prober calls all of them down.
///
/// A target that rests, or that just failed this request, is chosen only when there is no other.
pub(super) fn choose(targets: &[Target], turn: Turn) -> Option<usize> {
    if let [only] = targets {
        return only.answers_probes().then_some(0);
    }
    let preferred = |index: usize, target: &Target| target.is_healthy() && turn.avoid != Some(index);
    pick(targets, turn, preferred)
        .or_else(|| pick(targets, turn, |_, target| target.is_healthy()))
        .or_else(|| pick(targets, turn, |_, target| target.answers_probes()))
}

fn pick(targets: &[Target], turn: Turn, usable: impl Fn(usize, &Target) -> bool) -> Option<usize> {
    let len = targets.len().max(1);
    // Everyone in turn, from a start that moves with each request.
    let mut candidates = (0..targets.len())
        .map(|offset| turn.count.wrapping_add(offset) % len)
        .filter_map(|index| targets.get(index).map(|target| (index, target)))
        .filter(|(index, target)| usable(*index, target));
    match (turn.balance, turn.affinity) {
        (Balance::LeastConnections, _) => candidates.min_by_key(|(_, target)| target.in_flight()),
        // Rendezvous hashing: when a target leaves, only its own accounts move.
        (Balance::Sticky, Some(account)) => candidates.max_by_key(|(index, _)| mix(account ^ mix(*index as u64))),
        _ => candidates.next(),
    }
    .map(|(index, _)| index)
}

/// Spreads the bits (the finaliser of splitmix64).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::upstream as config;

    fn targets(count: usize) -> Vec<Target> {
        (1..=count)
            .map(|port| Target::build(&config::Target::parse(&format!("http://h:{port}")).unwrap(), None).unwrap())
            .collect()
    }

    fn turn(balance: Balance, count: usize, affinity: Option<u64>) -> Turn {
        Turn { balance, count, affinity, avoid: None }
    }

    fn rest(target: &Target) {
        target.failed(1, Duration::from_secs(60));
    }

    #[test]
    fn round_robin_takes_turns_and_steps_over_the_resting() {
        let targets = targets(3);
        let chosen = |count| choose(&targets, turn(Balance::RoundRobin, count, None)).unwrap();
        assert_eq!((0..6).map(chosen).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        rest(&targets[1]);
        assert_eq!((0..3).map(chosen).collect::<Vec<_>>(), [0, 2, 2]);
    }

    #[test]
    fn least_connections_takes_the_least_busy() {
        let targets = targets(3);
        targets[0].count_in();
        targets[2].count_in();
        assert_eq!(choose(&targets, turn(Balance::LeastConnections, 0, None)), Some(1));
        targets[1].count_in();
        targets[1].count_in();
        targets[2].count_out();
        assert_eq!(choose(&targets, turn(Balance::LeastConnections, 0, None)), Some(2));
    }

    #[test]
    fn sticky_keeps_an_account_at_its_target_and_moves_only_those_who_must() {
        let targets = targets(4);
        let at = |account| choose(&targets, turn(Balance::Sticky, account as usize, Some(account))).unwrap();
        let before: Vec<usize> = (0..400).map(at).collect();
        for index in 0..4 {
            let share = before.iter().filter(|chosen| **chosen == index).count();
            assert!((50..150).contains(&share), "target {index} got {share} of 400");
        }
        rest(&targets[2]);
        for (account, before) in before.into_iter().enumerate() {
            let now = at(account as u64);
            assert!(if before == 2 { now != 2 } else { now == before }, "account {account}");
        }
    }

    #[test]
    fn the_one_that_failed_is_avoided_while_there_is_another() {
        let targets = targets(2);
        let avoiding = Turn { avoid: Some(0), ..turn(Balance::RoundRobin, 0, None) };
        assert_eq!(choose(&targets, avoiding), Some(1));
        rest(&targets[1]);
        assert_eq!(choose(&targets, avoiding), Some(0), "better the one that failed once than the resting one");
    }

    #[test]
    fn resting_is_a_hint_but_the_prober_is_believed() {
        let targets = targets(2);
        targets.iter().for_each(rest);
        assert_eq!(choose(&targets, turn(Balance::RoundRobin, 0, None)), Some(0));
        targets[0].set_answers_probes(false);
        assert_eq!(choose(&targets, turn(Balance::RoundRobin, 0, None)), Some(1));
        targets[1].set_answers_probes(false);
        assert_eq!(choose(&targets, turn(Balance::RoundRobin, 0, None)), None);
    }
}
