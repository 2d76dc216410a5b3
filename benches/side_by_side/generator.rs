//! The web requests and the mixed load, by a generator of its own: a few connections, on which many requests are under
//! way at a time, as node-redis has them. A latency counts from the moment at which its request was to be sent, not from
//! when it could be: a server that stalls does not get fewer samples for it.

mod lane;
mod pacing;
mod redis;
mod sql;
mod visits;

use std::time::Duration;

use hdrhistogram::Histogram;

pub use self::redis::{mixed, web as web_by_redis};
pub use self::sql::{commands as commands_by_sql, web as web_by_sql};
pub use self::visits::Visits;

/// Connections, as four Node processes have.
pub const LANES: usize = 4;

/// Requests under way on each connection when they come as fast as they are answered. What is looked for is how much a
/// server can do, so nobody may be short of requests while it waits for its disk; latencies are asked at a fixed rate.
pub const UNDER_WAY: usize = 256;

/// No reply may take longer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest latency that is told from longer ones.
const LATENCY_MAX_US: u64 = 60_000_000;

/// What a generator saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Operations that were answered: commands, or web requests.
    pub operations: u64,
    /// From the first to the last.
    pub seconds: f64,
    /// Their latencies in microseconds; in the mixed load those of the reads.
    pub latencies: Latencies,
    /// SETs that were acknowledged.
    pub sets: u64,
}

/// Latencies at which these shares of the operations were done, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latencies {
    /// Half of them.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
}

/// What one connection or task counted.
#[derive(Clone, Debug)]
struct Tally {
    histogram: Histogram<u64>,
    operations: u64,
    sets: u64,
}

impl Tally {
    fn new() -> Self {
        let histogram = Histogram::new_with_max(LATENCY_MAX_US, 3).expect("bounds that hdrhistogram can hold");
        Self { histogram, operations: 0, sets: 0 }
    }

    fn record(&mut self, latency: Duration) {
        self.operations += 1;
        self.histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US));
    }

    fn add(&mut self, other: &Self) {
        self.histogram += &other.histogram;
        self.operations += other.operations;
        self.sets += other.sets;
    }

    fn seen(&self, took: Duration) -> Seen {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64;
        Seen {
            operations: self.operations,
            seconds: took.as_secs_f64(),
            latencies: Latencies { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999) },
            sets: self.sets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_all_tallies_together() {
        let mut all = Tally::new();
        for latency_ms in 1..=10 {
            let mut one = Tally::new();
            for _ in 0..100 {
                one.record(Duration::from_millis(latency_ms));
            }
            all.add(&one);
        }
        let seen = all.seen(Duration::from_secs(2));
        assert_eq!((seen.operations, seen.seconds), (1_000, 2.0));
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.001;
        assert!(near(seen.latencies.p50_us, 5_000.0) && near(seen.latencies.p99_us, 10_000.0), "{seen:?}");
    }
}
