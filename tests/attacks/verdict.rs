//! What the rounds of a row come to, and whether Sojourn does worse in it. One figure of one round says little on a machine
//! whose processors are shared, so nothing is judged by it.

use std::fmt;
use std::time::Duration;

use crate::neighbour::Latencies;
use crate::rig::{Aftermath, mebibytes};

/// Fewer rounds tell nothing: that all of three are above all of three others by chance happens once in twenty times.
const ROUNDS_MIN: usize = 3;

/// The least memory that counts: each thread keeps some of what it has freed in a cache of its own (jemalloc's `tcache`, which
/// both have), and Sojourn has four at work, two workers, the writer and one for what takes long, where redis-server has one.
const MEMORY_LEAST_MIB: f64 = 0.5;

/// The least time that counts: a tick of the kernel's scheduler (250 a second). Servers, attacker and neighbour are more
/// threads than there are processors, and whoever has to wait for one waits for a tick.
const TIME_LEAST_MS: f64 = 4.0;

/// What an attack did to one server in one round.
pub struct Figures {
    pub grown_bytes: u64,
    pub aftermath: Aftermath,
    pub neighbour: Latencies,
}

impl Figures {
    /// The memory that the server took, in MiB.
    pub fn grown_mib(&self) -> f64 {
        mebibytes(self.grown_bytes)
    }
}

/// Something that is measured of each round.
struct Measure {
    name: &'static str,
    unit: &'static str,
    least: f64,
    of: fn(&Figures) -> f64,
}

const fn latency(name: &'static str, of: fn(&Figures) -> f64) -> Measure {
    Measure { name, unit: "ms", least: TIME_LEAST_MS, of }
}

const MEASURES: [Measure; 4] = [
    Measure { name: "memory", unit: "MiB", least: MEMORY_LEAST_MIB, of: Figures::grown_mib },
    latency("p50", |figures| milliseconds(figures.neighbour.p50)),
    latency("p99", |figures| milliseconds(figures.neighbour.p99)),
    latency("max", |figures| milliseconds(figures.neighbour.max)),
];

/// One figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = figures.collect();
        all.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (all.first(), all.last()) else { panic!("there is a round") };
        Self { least: *least, median: all[all.len() / 2], most: *most }
    }

    /// How much more this is than the other, if it counts: the median by `least`, and no round as low as one of the other's.
    fn beyond(&self, other: &Self, least: f64) -> Option<f64> {
        let more = self.median - other.median;
        (more >= least && self.least > other.most).then_some(more)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { least, median, most } = self;
        write!(formatter, "{median:.1}")?;
        if least < most { write!(formatter, " ({least:.1}–{most:.1})") } else { Ok(()) }
    }
}

/// All rounds of one server, at least one.
pub struct Rounds(pub Vec<Figures>);

impl Rounds {
    /// Each measure over the rounds, as the table shows them.
    pub fn cells(&self) -> [String; 4] {
        MEASURES.map(|measure| self.spread(measure.of).to_string())
    }

    /// What the attacker says in the round in the middle by the neighbour's p99.
    pub fn aftermath(&self) -> &Aftermath {
        let mut rounds: Vec<&Figures> = self.0.iter().collect();
        rounds.sort_by_key(|round| round.neighbour.p99);
        &rounds[rounds.len() / 2].aftermath
    }

    /// The round with the median of memory.
    pub fn into_median(mut self) -> Figures {
        self.0.sort_by_key(|round| round.grown_bytes);
        let middle = self.0.len() / 2;
        self.0.swap_remove(middle)
    }

    /// In what this server does worse than the other: "no", or what and by how much.
    pub fn worse_than(&self, other: &Self) -> String {
        if self.0.len().min(other.0.len()) < ROUNDS_MIN {
            return "too few rounds".to_owned();
        }
        let worse: Vec<String> = MEASURES
            .iter()
            .filter_map(|measure| {
                let more = self.spread(measure.of).beyond(&other.spread(measure.of), measure.least)?;
                Some(format!("{} by {more:.1} {}", measure.name, measure.unit))
            })
            .collect();
        if worse.is_empty() { "no".to_owned() } else { format!("**{}**", worse.join(", ")) }
    }

    fn spread(&self, of: fn(&Figures) -> f64) -> Spread {
        Spread::of(self.0.iter().map(of))
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(all: &[(u64, u64)]) -> Rounds {
        let figures = |&(mib, p99_ms): &(u64, u64)| {
            let (short, p99) = (Duration::from_micros(100), Duration::from_millis(p99_ms));
            let neighbour = Latencies { p50: short, p99, max: Duration::from_millis(500) };
            Figures {
                grown_bytes: mib << 20,
                aftermath: Aftermath { attacker: p99_ms.to_string(), held: 0 },
                neighbour,
            }
        };
        Rounds(all.iter().map(figures).collect())
    }

    #[test]
    fn worse_is_what_is_worse_in_every_round_and_by_enough() {
        let other = rounds(&[(10, 10), (12, 14), (11, 12)]);
        for (own, verdict) in [
            ([(10, 10), (12, 14), (11, 12)], "no"),
            ([(13, 10), (13, 10), (14, 10)], "**memory by 2.0 MiB**"),
            ([(12, 10), (13, 10), (14, 10)], "no"),
            ([(1, 15), (1, 15), (1, 90)], "no"),
            ([(1, 16), (1, 16), (1, 15)], "**p99 by 4.0 ms**"),
            ([(1, 16), (1, 16), (1, 14)], "no"),
            ([(20, 20), (20, 20), (20, 20)], "**memory by 9.0 MiB, p99 by 8.0 ms**"),
        ] {
            assert_eq!(rounds(&own).worse_than(&other), verdict, "{own:?}");
        }
        assert_eq!(rounds(&[(20, 20), (20, 20)]).worse_than(&other), "too few rounds");
    }

    #[test]
    fn rounds_are_shown_with_their_range_and_told_by_the_one_in_the_middle() {
        let shown = rounds(&[(1, 30), (3, 10), (2, 20)]);
        assert_eq!(shown.cells(), ["2.0 (1.0–3.0)", "0.1", "20.0 (10.0–30.0)", "500.0"]);
        assert_eq!(shown.aftermath().attacker, "20");
        assert_eq!(shown.into_median().grown_bytes, 2 << 20);
    }
}
