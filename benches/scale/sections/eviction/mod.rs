//! Which values should go cold: policies compared on session-like traces, by how many reads find their value hot. What
//! Sojourn itself does is measured by the other sections; this is the choice before it.

mod clock;
mod lists;
mod sampled;
mod trace;

use fastrand::Rng;

use self::clock::Clock;
use self::lists::{Lru, S3Fifo, Sieve};
use self::sampled::{By, Sampled};
use self::trace::{COUNTED_FROM_S, Company, Kind, Trace};
use super::Section;
use crate::scale::report::Part;
use crate::scale::servers::Stage;
use crate::stage::Result;
use crate::stage::median::median;
use crate::stage::wanted::Wanted;

/// The section.
pub const SECTION: Section = Section { name: "eviction", about: "which values should go cold: a simulation", measure };

/// A policy over keys that are numbered from 0, with room for a fixed number of values.
trait Policy {
    /// A value is read or written at `now_s`. Answers whether it was hot; now it is.
    fn access(&mut self, key: u32, now_s: u32) -> bool;
    /// The session is gone.
    fn forget(&mut self, key: u32);
}

/// The same as a table's: without it, keys numbered one after the other would lie side by side.
fn hash(key: u32) -> u64 {
    let mut mixed = u64::from(key).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The keys whose value is hot, in shards by their hash.
#[derive(Debug)]
struct Hots {
    shards: Vec<Vec<u32>>,
    position: Vec<u32>,
    length: usize,
}

impl Hots {
    const COLD: u32 = u32::MAX;

    fn new(keys: usize, shards: usize) -> Self {
        Self { shards: vec![Vec::new(); shards], position: vec![Self::COLD; keys], length: 0 }
    }

    fn len(&self) -> usize {
        self.length
    }

    fn holds(&self, key: u32) -> bool {
        self.position[key as usize] != Self::COLD
    }

    fn shard(&self, number: usize) -> &[u32] {
        &self.shards[number]
    }

    fn shard_of(&self, key: u32) -> usize {
        (((hash(key) >> 32) * self.shards.len() as u64) >> 32) as usize
    }

    fn insert(&mut self, key: u32) {
        let number = self.shard_of(key);
        self.position[key as usize] = self.shards[number].len() as u32;
        self.shards[number].push(key);
        self.length += 1;
    }

    fn remove(&mut self, key: u32) {
        let number = self.shard_of(key);
        let place = std::mem::replace(&mut self.position[key as usize], Self::COLD);
        self.shards[number].swap_remove(place as usize);
        if let Some(&moved) = self.shards[number].get(place as usize) {
            self.position[moved as usize] = place;
        }
        self.length -= 1;
    }

    /// One at random, of those of the first shard.
    fn pick(&self, random: &mut Rng) -> u32 {
        self.shards[0][random.usize(..self.shards[0].len())]
    }
}

/// Shares of reads that found their value hot.
#[derive(Clone, Copy, Debug)]
struct Hit {
    all: f64,
    first: f64,
}

fn play(policy: &mut dyn Policy, trace: &Trace) -> Hit {
    let [mut reads, mut hits, mut firsts, mut first_hits] = [0_u64; 4];
    for event in &trace.events {
        if event.kind == Kind::End {
            policy.forget(event.key);
            continue;
        }
        let was_hot = u64::from(policy.access(event.key, event.at_s));
        if event.at_s >= COUNTED_FROM_S && matches!(event.kind, Kind::First | Kind::Read) {
            (reads, hits) = (reads + 1, hits + was_hot);
            if event.kind == Kind::First {
                (firsts, first_hits) = (firsts + 1, first_hits + was_hot);
            }
        }
    }
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    Hit { all: share(hits, reads), first: share(first_hits, firsts) }
}

/// A policy of the table: its name, and one for so many keys, values and living keys.
type Row = (&'static str, fn(usize, usize, usize) -> Box<dyn Policy>);

const POLICIES: &[Row] = &[
    ("exact LRU", |keys, capacity, _| Box::new(Lru::exact(keys, capacity))),
    ("Redis's LRU: 5 samples, a pool of 16", |keys, capacity, _| Box::new(Sampled::new(By::Recency, keys, capacity))),
    ("Redis's LFU", |keys, capacity, _| Box::new(Sampled::new(By::Frequency, keys, capacity))),
    ("FIFO", |keys, capacity, _| Box::new(Lru::fifo(keys, capacity))),
    ("SIEVE", |keys, capacity, _| Box::new(Sieve::new(keys, capacity))),
    ("S3-FIFO", |keys, capacity, _| Box::new(S3Fifo::new(keys, capacity))),
    ("hash clock, 1 bit, 1 place a key", |keys, capacity, live| Box::new(Clock::new(1, 0, live, keys, capacity))),
    ("hash clock, 1 bit, 2 places", |keys, capacity, live| Box::new(Clock::new(1, 0, 2 * live, keys, capacity))),
    ("hash clock, 1 bit, 4 places", |keys, capacity, live| Box::new(Clock::new(1, 0, 4 * live, keys, capacity))),
    (CHOSEN, |keys, capacity, live| Box::new(Clock::new(1, 0, 8 * live, keys, capacity))),
    ("hash clock, 1 bit, 8 places, a value comes visited", |keys, capacity, live| {
        Box::new(Clock::new(1, 1, 8 * live, keys, capacity))
    }),
    ("hash clock, 2 bits, 1 place", |keys, capacity, live| Box::new(Clock::new(3, 0, live, keys, capacity))),
    ("hash clock, 2 bits, 4 places", |keys, capacity, live| Box::new(Clock::new(3, 0, 4 * live, keys, capacity))),
    ("hash clock, 2 bits, 8 places", |keys, capacity, live| Box::new(Clock::new(3, 0, 8 * live, keys, capacity))),
    ("hash clock, 3 bits, 8 places", |keys, capacity, live| Box::new(Clock::new(7, 0, 8 * live, keys, capacity))),
];

/// The one that the server has.
const CHOSEN: &str = "hash clock, 1 bit, 8 places";
const REDIS: &str = POLICIES[1].0;
/// How many values fit, over the most sessions that ever live at one time.
const SIZES: [f64; 3] = [0.1, 0.25, 0.5];
const SEEDS: u64 = 5;

fn measure(stage: &Stage<'_>) -> Result<Part> {
    let mut part = Part::new(
        "A simulation: two weeks of 60 000 users, the second of which counts. Each cell: the share of all GETs, and of the first GET of \
         a visit, that find their value hot, in per cent, where memory holds 10, 25 or 50 per cent of the values; the medians of the seeds.",
    );
    let seeds = 0..if stage.options.scope.is_short() { 1 } else { SEEDS };
    for (company, title) in [(Company::Machines, "People, robots and a crawler"), (Company::None, "People only")] {
        let hits = hits(company, seeds.clone());
        let row = |policy: usize| {
            let cell = |size: usize| {
                let hit = typical(&hits, policy, size);
                format!("{:.2} / {:.2}", hit.all, hit.first)
            };
            [vec![POLICIES[policy].0.to_owned()], (0..SIZES.len()).map(cell).collect()].concat()
        };
        part.table(title, &["", "10 %", "25 %", "50 %"], (0..POLICIES.len()).map(row).collect());
        let place = |name: &str| POLICIES.iter().position(|(known, _)| *known == name).unwrap_or_default();
        if company == Company::Machines {
            let (ours, theirs) = (typical(&hits, place(CHOSEN), 1), typical(&hits, place(REDIS), 1));
            part.want(
                "hit ratio of the chosen policy with 25 % of the values, over Redis's LRU",
                ours.all / theirs.all,
                Wanted::AtLeast(1.0),
            );
        }
    }
    Ok(part)
}

/// By seed, policy and size.
fn hits(company: Company, seeds: std::ops::Range<u64>) -> Vec<Vec<[Hit; SIZES.len()]>> {
    let of_seed = |seed| {
        let trace = trace::make(seed, company);
        let of_policy = |(_, make): &Row| {
            SIZES.map(|share| {
                let capacity = (trace.live_max as f64 * share) as usize;
                play(&mut *make(trace.keys, capacity, trace.live_max), &trace)
            })
        };
        POLICIES.iter().map(of_policy).collect()
    };
    let half = |part: u64| seeds.clone().filter(|seed| seed % 2 == part).map(of_seed).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut all = half(0);
        all.extend(other.join().unwrap_or_default());
        all
    })
}

/// The median of the seeds, in per cent.
fn typical(hits: &[Vec<[Hit; SIZES.len()]>], policy: usize, size: usize) -> Hit {
    let of = |number: fn(&Hit) -> f64| {
        median(hits.iter().map(|of_seed| number(&of_seed[policy][size])).collect()).unwrap_or_default() * 100.0
    };
    Hit { all: of(|hit| hit.all), first: of(|hit| hit.first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys 1, 2, 3 into two places; 1 is read before 3 comes.
    fn left(policy: &mut dyn Policy) -> Vec<u32> {
        for (now_s, key) in [1, 2, 1, 3].into_iter().enumerate() {
            policy.access(key, now_s as u32);
        }
        // Asked from the newest on, so that no question evicts what is asked for next.
        [3, 2, 1].into_iter().filter(|&key| policy.access(key, 9)).collect()
    }

    #[test]
    fn what_was_read_again_stays_but_in_a_fifo() {
        let policies: [(&mut dyn Policy, &[u32]); 5] = [
            (&mut Lru::exact(9, 2), &[3]),
            (&mut Lru::fifo(9, 2), &[3, 2]),
            (&mut Sieve::new(9, 2), &[3]),
            (&mut Sampled::new(By::Recency, 9, 2), &[3]),
            (&mut Clock::new(1, 0, 64, 9, 2), &[3]),
        ];
        for (number, (policy, expected)) in policies.into_iter().enumerate() {
            assert_eq!(left(policy)[..expected.len()], *expected, "policy {number}");
        }
    }

    #[test]
    fn no_policy_holds_more_than_fits_and_one_that_fits_all_misses_nothing_twice() {
        for (name, make) in POLICIES {
            let mut policy = make(100, 10, 100);
            let mut reread = 0;
            for now_s in 0..200 {
                reread += u32::from(policy.access(now_s % 100, now_s));
            }
            assert!(reread <= 10, "{name}: {reread} of 100 values that do not fit");
            let mut roomy = make(100, 100, 100);
            let hits = (0..200).filter(|&now_s| roomy.access(now_s % 100, now_s)).count();
            assert_eq!(hits, 100, "{name}");
            roomy.forget(7);
            assert!(!roomy.access(7, 200), "{name}: what is forgotten is gone");
        }
    }
}
