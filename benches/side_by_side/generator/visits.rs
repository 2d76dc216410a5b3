//! Web requests by chance, the same for every contestant: from a seed.

use fastrand::Rng;

/// One in how many requests logs somebody in, and one in how many logs somebody out.
const LOGIN_ONE_IN: u32 = 100;

/// What one web request does after it has read its session and lengthened its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The session.
    pub key: u32,
    /// Whether it writes the session.
    pub writes: bool,
    /// Whether it makes a new session.
    pub logs_in: bool,
    /// Whether it deletes one of those that were made.
    pub logs_out: bool,
    /// Makes the values different, and names the new session.
    pub nonce: u64,
}

/// An endless row of visits.
#[derive(Clone, Debug)]
pub struct Visits {
    random: Rng,
    keys: u32,
    write_one_in: u32,
}

impl Visits {
    /// The visits of one connection over so many sessions.
    pub fn new(seed: u64, keys: u32, write_one_in: u32) -> Self {
        Self { random: Rng::with_seed(seed), keys, write_one_in }
    }
}

impl Iterator for Visits {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        let mut one_in = |many: u32| self.random.u32(0..many) == 0;
        let (writes, logs_in, logs_out) = (one_in(self.write_one_in), one_in(LOGIN_ONE_IN), one_in(LOGIN_ONE_IN));
        let (key, nonce) = (self.random.u32(0..self.keys), self.random.u64(..));
        Some(Visit { key, writes, logs_in, logs_out, nonce })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_are_the_same_for_every_contestant_and_have_their_shares() {
        let visits: Vec<_> = Visits::new(7, 1_000, 10).take(100_000).collect();
        assert!(visits.iter().copied().eq(Visits::new(7, 1_000, 10).take(100_000)));
        let share = |is: fn(&Visit) -> bool| visits.iter().filter(|visit| is(visit)).count();
        assert!((9_500..10_500).contains(&share(|visit| visit.writes)));
        assert!((900..1_100).contains(&share(|visit| visit.logs_in)));
        assert!((900..1_100).contains(&share(|visit| visit.logs_out)));
        assert!(Visits::new(7, 1_000, 1).take(1_000).all(|visit| visit.writes && visit.key < 1_000));
    }
}
