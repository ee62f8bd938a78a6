//! Choices that follow from a seed, so that a run that failed can be tried again with the same ones.

/// A splitmix64 generator: as good as is needed here, and no dependency.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The choices of `seed` for whoever is called `who`: each of many has a sequence of its own.
    pub(crate) fn of(seed: u64, who: &str) -> Self {
        let mixed = who.bytes().fold(seed, |state, byte| {
            let mut next = Self(state ^ u64::from(byte));
            next.next()
        });
        Self(mixed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("smaller than a usize")
    }

    /// True in so many cases of a hundred.
    pub(crate) fn percent(&mut self, cases: usize) -> bool {
        self.below(100) < cases
    }

    /// A time up to `most` milliseconds, to the microsecond.
    pub(crate) fn up_to_ms(&mut self, most: usize) -> std::time::Duration {
        std::time::Duration::from_micros(self.below(most * 1000 + 1) as u64)
    }
}
