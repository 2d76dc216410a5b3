//! How long the calls of one command took: how many fell into each of many narrow spans, as fine as Redis's own (two digits),
//! so that percentiles and LATENCY HISTOGRAM come from the same counts. Recording takes no lock and reads no clock.

use super::catalogue::Distribution;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Spans for each doubling of the duration, as a power of two.
const SPANS_BITS: u32 = 7;
const SPANS: u64 = 1 << SPANS_BITS;

/// Longer calls count as this long, as in Redis: a second, in nanoseconds.
const LONGEST_NS: u64 = 1_000_000_000;

/// How many spans there are: 24 KiB for each command that was ever called.
const SPANS_ALL: usize = span_of(LONGEST_NS) + 1;

/// The first line of LATENCY HISTOGRAM, in nanoseconds; each further one stands for twice as much.
const FIRST_LINE_NS: u64 = 1024;

/// How long calls took.
#[derive(Debug, Default)]
pub struct Durations(OnceLock<Box<[AtomicU64]>>);

/// The span of a duration. Up to 255 ns each has its own.
#[expect(clippy::cast_possible_truncation, reason = "at most a few thousand")]
const fn span_of(ns: u64) -> usize {
    let doublings = (u64::BITS - 1 - (ns | SPANS).leading_zeros()) - SPANS_BITS;
    (SPANS * doublings as u64 + (ns >> doublings)) as usize
}

/// The longest duration of a span.
const fn end_of(span: usize) -> u64 {
    let span = span as u64;
    let doublings = (span / SPANS).saturating_sub(1);
    (((span - SPANS * doublings) + 1) << doublings) - 1
}

impl Durations {
    /// Counts one call.
    pub fn record(&self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min(LONGEST_NS);
        let spans = self.0.get_or_init(|| (0..SPANS_ALL).map(|_| AtomicU64::new(0)).collect());
        if let Some(count) = spans.get(span_of(ns)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many calls were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.spans().map(|(_, count)| count).sum()
    }

    /// What this share of the calls, in percent, took at most, in nanoseconds; 0 without calls.
    #[must_use]
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "an estimate"
        )]
        let wanted = ((self.count() as f64 * percent / 100.0).round() as u64).max(1);
        let mut seen = 0;
        let mut reached = self.spans().skip_while(|(_, count)| {
            seen += count;
            seen < wanted
        });
        reached.next().map_or(0, |(end_ns, _)| end_ns)
    }

    /// How many calls took at most so many microseconds, doubling from line to line; lines that add nothing are left out.
    #[must_use]
    pub fn doublings(&self) -> Vec<(u64, u64)> {
        let mut lines: Vec<(u64, u64)> = Vec::new();
        let (mut line_ns, mut seen) = (FIRST_LINE_NS, 0);
        for (end_ns, count) in self.spans().filter(|(_, count)| *count > 0) {
            // As in Redis, a line ends with the span that its number is in.
            while end_ns > end_of(span_of(line_ns)) {
                line_ns *= 2;
            }
            seen += count;
            let line_us = end_of(span_of(line_ns)) / 1000;
            match lines.last_mut().filter(|(us, _)| *us == line_us) {
                Some((_, calls)) => *calls = seen,
                None => lines.push((line_us, seen)),
            }
        }
        lines
    }

    /// How many calls took at most as long as each of these bounds, in nanoseconds like their sum. A call counts by the end of its span,
    /// so that the sum is a hundredth too large at most, and a call that took longer than a second is none of those that took at
    /// most one.
    #[must_use]
    pub fn distribution(&self, bounds_ns: &[u64]) -> Distribution {
        let mut distribution = Distribution::default();
        let mut bounds = bounds_ns.iter().peekable();
        for (end_ns, count) in self.spans() {
            while let Some(bound_ns) = bounds.next_if(|bound_ns| **bound_ns < end_ns) {
                distribution.up_to.push((*bound_ns, distribution.count));
            }
            distribution.count += count;
            distribution.sum = distribution.sum.saturating_add(end_ns.saturating_mul(count));
        }
        distribution.up_to.extend(bounds.map(|bound_ns| (*bound_ns, distribution.count)));
        distribution
    }

    /// Starts anew (CONFIG RESETSTAT).
    pub(super) fn reset_count(&self) {
        self.0.get().into_iter().flatten().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// The end of each span with its count.
    fn spans(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.0.get().into_iter().flatten().enumerate();
        counts.map(|(span, count)| (end_of(span), count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(calls: &[(u64, u64)]) -> Durations {
        let durations = Durations::default();
        for (count, ns) in calls {
            (0..*count).for_each(|_| durations.record(Duration::from_nanos(*ns)));
        }
        durations
    }

    #[test]
    fn spans_follow_each_other_without_a_gap_and_are_a_hundredth_wide() {
        let mut begin = 0;
        for span in 0..SPANS_ALL {
            let end = end_of(span);
            assert_eq!((span_of(begin), span_of(end)), (span, span));
            assert!((end - begin) * 100 <= begin.max(100), "{begin} to {end}");
            begin = end + 1;
        }
        assert!(end_of(SPANS_ALL - 1) >= LONGEST_NS);
    }

    /// The numbers are those of redis-server 7.0.15 for the same calls.
    #[test]
    fn lines_double_under_redis_s_numbers_and_count_all_below() {
        let durations =
            of(&[(1, 0), (1996, 1_000), (1, 2_000), (1, 4_000), (1, 8_000), (1, 33_816_000), (1, 28_529_000)]);
        assert_eq!(durations.doublings(), [(1, 1997), (2, 1998), (4, 1999), (8, 2000), (33_816, 2002)]);
        assert_eq!(durations.count(), 2002);
        assert_eq!(of(&[]).doublings(), []);
        assert_eq!(of(&[(1, u64::MAX)]).doublings(), [(1_082_130, 1)]);
        let durations = of(&[(1, 16_000), (1, 33_000), (1, 66_000), (1, 132_000), (1, 262_000), (1, 528_000)]);
        let lines: Vec<_> = durations.doublings().into_iter().map(|(us, _)| us).collect();
        assert_eq!(lines, [16, 33, 66, 132, 264, 528]);
    }

    #[test]
    fn percentiles_are_the_ends_of_spans_as_in_redis() {
        let durations = of(&[(98, 10_000), (1, 307_000), (1, 28_529_000)]);
        let shown = [0.0, 50.0, 99.0, 100.0].map(|percent| durations.percentile_ns(percent));
        assert_eq!(shown, [10_047, 10_047, 307_199, 28_573_695]);
        assert_eq!(of(&[]).percentile_ns(50.0), 0);
        durations.reset_count();
        assert_eq!((durations.count(), durations.percentile_ns(99.0)), (0, 0));
    }

    #[test]
    fn a_distribution_counts_all_below_each_bound() {
        let durations = of(&[(3, 900), (2, 4_000), (1, 40_000), (1, 3_000_000_000)]);
        let distribution = durations.distribution(&[1_000, 5_000, 1_000_000, 1_000_000_000]);
        assert_eq!(distribution.up_to, [(1_000, 3), (5_000, 5), (1_000_000, 6), (1_000_000_000, 6)]);
        assert_eq!(distribution.count, 7);
        assert!((1_000_000_000..1_010_000_000).contains(&distribution.sum), "{}", distribution.sum);
        assert_eq!(of(&[]).distribution(&[1_000]), Distribution { up_to: vec![(1_000, 0)], count: 0, sum: 0 });
    }
}
