//! What becomes of a batch when its letters travel side by side.
//!
//! The relay is told a prefix: the first `delivered` letters were acknowledged. A broker acknowledges in its own order,
//! so some letters after that prefix may be in already. [`Ahead`] remembers them until they are offered again, and they
//! are not sent a second time.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::sink::{Letter, Undelivered, Why};

/// What became of one letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was held back: one before it of the same key did not go through.
    Held,
    /// The broker has it for good.
    Taken,
    /// It was not acknowledged; it will be offered again.
    Later(String),
    /// It can never be taken.
    Never(String),
}

/// Letters that were acknowledged after one that was not.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<HashSet<String>>);

impl Ahead {
    /// More are not remembered. A letter forgotten here is only sent twice; its `id` tells consumers.
    const MOST: usize = 10_000;

    /// The fates of `letters` before anything is sent: taken already, or held.
    pub(super) fn fates(&self, letters: &[Letter]) -> Vec<Fate> {
        let ahead = self.ids();
        letters.iter().map(|letter| if ahead.contains(&letter.id) { Fate::Taken } else { Fate::Held }).collect()
    }

    /// What the relay is told of `letters`, one fate each.
    pub(super) fn settle(&self, letters: &[Letter], fates: &[Fate]) -> Result<(), Undelivered> {
        let delivered = fates.iter().take_while(|fate| **fate == Fate::Taken).count();
        self.remember(letters, fates, delivered);
        let why = match fates.get(delivered) {
            None => return Ok(()),
            Some(Fate::Never(why)) => Why::Poison(why.clone()),
            Some(Fate::Later(why)) => Why::Unavailable(why.clone()),
            Some(Fate::Held | Fate::Taken) => Why::Unavailable(reason(fates).to_owned()),
        };
        Err(Undelivered { delivered, why })
    }

    fn remember(&self, letters: &[Letter], fates: &[Fate], delivered: usize) {
        let mut ahead = self.ids();
        for (index, (letter, fate)) in letters.iter().zip(fates).enumerate() {
            if index < delivered {
                ahead.remove(&letter.id);
            } else if *fate == Fate::Taken {
                ahead.insert(letter.id.clone());
            }
        }
        if ahead.len() > Self::MOST {
            ahead.clear();
        }
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reason(fates: &[Fate]) -> &str {
    let mut reasons = fates.iter().filter_map(|fate| match fate {
        Fate::Later(why) | Fate::Never(why) => Some(why.as_str()),
        Fate::Held | Fate::Taken => None,
    });
    reasons.next_back().unwrap_or("it was not sent")
}

/// The letters that are still to be sent, as lanes: the indices of those that share a lane, in order.
pub(super) fn lanes<'a, L: Eq + Hash>(
    letters: &'a [Letter],
    fates: &[Fate],
    lane: impl Fn(&'a Letter) -> L,
) -> HashMap<L, Vec<usize>> {
    let mut lanes: HashMap<L, Vec<usize>> = HashMap::new();
    for (index, (letter, fate)) in letters.iter().zip(fates).enumerate() {
        if *fate == Fate::Held {
            lanes.entry(lane(letter)).or_default().push(index);
        }
    }
    lanes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::support::letters;

    fn later() -> Fate {
        Fate::Later("busy".to_owned())
    }

    fn told(result: Result<(), Undelivered>) -> Option<(usize, bool)> {
        result.err().map(|told| (told.delivered, matches!(told.why, Why::Poison(_))))
    }

    #[test]
    fn the_relay_is_told_how_many_from_the_front_are_in_and_why_the_next_is_not() {
        let never = || Fate::Never("too large".to_owned());
        for (fates, expected) in [
            (vec![Fate::Taken, Fate::Taken], None),
            (vec![later(), Fate::Taken], Some((0, false))),
            (vec![Fate::Taken, never()], Some((1, true))),
            (vec![never(), later()], Some((0, true))),
            (vec![later(), never()], Some((0, false))),
            (vec![Fate::Held, later()], Some((0, false))),
            (vec![], None),
        ] {
            let letters = letters("a", fates.len(), 1);
            assert_eq!(told(Ahead::default().settle(&letters, &fates)), expected, "{fates:?}");
        }
    }

    #[test]
    fn what_is_in_ahead_of_its_turn_is_not_sent_again_and_then_forgotten() {
        let ahead = Ahead::default();
        let letters = letters("a", 4, 4);
        let fates = [Fate::Taken, later(), Fate::Taken, Fate::Held];
        assert_eq!(told(ahead.settle(&letters, &fates)), Some((1, false)));

        let again = &letters[1..];
        assert_eq!(ahead.fates(again), [Fate::Held, Fate::Taken, Fate::Held]);
        assert_eq!(told(ahead.settle(again, &[Fate::Taken, Fate::Taken, Fate::Taken])), None);
        assert_eq!(ahead.fates(again), [Fate::Held, Fate::Held, Fate::Held], "nothing is kept for ever");
    }

    #[test]
    fn a_lane_holds_in_order_what_shares_it_and_is_still_to_be_sent() {
        let letters = letters("a", 5, 2);
        let fates = [Fate::Held, Fate::Held, Fate::Taken, Fate::Held, Fate::Held];
        let lanes = lanes(&letters, &fates, |letter| letter.key.as_str());
        assert_eq!(lanes[letters[0].key.as_str()], [0, 4]);
        assert_eq!(lanes[letters[1].key.as_str()], [1, 3]);
    }
}
