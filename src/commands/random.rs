//! Numbers that nobody can foresee well enough to aim at a key or a member. Not for secrets.

use crate::keyspace::keys::fresh_chance;

/// A sequence of numbers, another one each time.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A new sequence.
    #[must_use]
    pub fn new() -> Self {
        Self::from_chance(fresh_chance())
    }

    /// The sequence that belongs to this number.
    #[must_use]
    pub fn from_chance(chance: u64) -> Self {
        Self(chance)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        usize::try_from(self.next().checked_rem(limit).unwrap_or(0)).unwrap_or(0)
    }

    /// Splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

/// A draw of some of many, each choice of them as likely as any other: asked once for each of the many.
#[derive(Debug)]
pub struct Draw {
    random: Random,
    wanted: usize,
    left: usize,
}

impl Draw {
    /// Of `wanted` out of `many`; of all, if there are not so many.
    #[must_use]
    pub fn new(random: Random, wanted: usize, many: usize) -> Self {
        Self { random, wanted, left: many }
    }

    /// Whether the next one is drawn.
    pub fn takes(&mut self) -> bool {
        let takes = self.random.below(self.left) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= usize::from(takes);
        takes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_below_their_limit_and_reach_all_of_it() {
        let mut random = Random::new();
        let mut seen = [0_u32; 5];
        (0..500).for_each(|_| seen[random.below(5)] += 1);
        // Each is left out with a chance of 10^-48.
        assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
        assert_eq!((random.below(1), random.below(0)), (0, 0));
    }

    #[test]
    fn a_draw_takes_as_many_as_wanted_and_any_of_them() {
        for (wanted, many) in [(0, 5), (1, 5), (4, 5), (5, 5), (9, 5), (1, 0)] {
            let mut draw = Draw::new(Random::new(), wanted, many);
            assert_eq!((0..many).filter(|_| draw.takes()).count(), wanted.min(many), "{wanted} of {many}");
        }
        let mut drawn = [0_u32; 4];
        for _ in 0..4_000 {
            let mut draw = Draw::new(Random::new(), 2, 4);
            drawn.iter_mut().for_each(|times| *times += u32::from(draw.takes()));
        }
        // 2 000 each, with a standard deviation of 32.
        assert!(drawn.iter().all(|times| (1_700..2_300).contains(times)), "{drawn:?}");
    }
}
