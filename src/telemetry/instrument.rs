//! The instruments: counters, gauges and histograms that INFO can read back, which those of the `metrics` crate
//! cannot. All are relaxed atomics: a number may be a moment old, and must never cost a command a lock.

use super::catalogue::{Distribution, Kind};
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(super) const KIND: Kind = Kind::Counter;

    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more. Hot paths add once for a whole read batch: cores share the cache line.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Back to nothing, for CONFIG RESETSTAT.
    pub(super) fn reset_count(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A number that goes up and down, never below nothing.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub(super) const KIND: Kind = Kind::Gauge;

    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// So many fewer; one below nothing would show as 2^64.
    pub fn subtract(&self, fewer: u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| Some(value.saturating_sub(fewer)));
    }

    /// Nothing: CONFIG RESETSTAT leaves what is, and only starts counts anew.
    #[expect(clippy::unused_self, reason = "the catalogue calls it on every instrument")]
    pub(super) fn reset_count(&self) {}

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that only grows and is counted elsewhere, such as by the kernel.
#[derive(Debug, Default)]
pub struct Total(AtomicU64);

impl Total {
    pub(super) const KIND: Kind = Kind::Counter;

    /// It has come to this.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Nothing: who counts it goes on counting.
    #[expect(clippy::unused_self, reason = "the catalogue calls it on every instrument")]
    pub(super) fn reset_count(&self) {}

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a number was how large.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is above them all.
    buckets: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, which rise.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Counts one measurement.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// How many measurements there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The sum of all measurements.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// The bound under which this share of the measurements lies (0.99: all but one in a hundred); the largest bound
    /// for those above it, 0 without measurements.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "an estimate"
        )]
        let wanted = (self.count() as f64 * share.clamp(0.0, 1.0)).ceil() as u64;
        let mut seen = 0;
        let reached = self.buckets.iter().position(|bucket| {
            seen += bucket.load(Ordering::Relaxed);
            seen >= wanted
        });
        let bound = reached.and_then(|bucket| self.bounds.get(bucket)).or(self.bounds.last());
        if wanted == 0 { 0 } else { bound.copied().unwrap_or_default() }
    }

    /// All measurements, bounds and sum in the unit of what was observed.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let mut count = 0;
        let mut up_to = Vec::with_capacity(self.bounds.len());
        for (position, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            up_to.extend(self.bounds.get(position).map(|bound| (*bound, count)));
        }
        Distribution { up_to, count, sum: self.sum() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_does_not_fall_below_nothing() {
        let gauge = Gauge::default();
        gauge.add(1);
        gauge.subtract(2);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let histogram = Histogram::new(&[10, 100, 1000]);
        assert_eq!(histogram.quantile(0.5), 0);
        for value in [10, 11, 100, 5000] {
            histogram.observe(value);
        }
        assert_eq!((histogram.count(), histogram.sum()), (4, 5121));
        assert_eq!(histogram.quantile(0.25), 10);
        assert_eq!(histogram.quantile(0.75), 100);
        assert_eq!(histogram.quantile(1.0), 1000);
    }
}
