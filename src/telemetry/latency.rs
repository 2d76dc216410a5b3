//! What took long: for each kind of event its latest moments, for LATENCY. Nothing is kept of what was done, only when and how
//! long.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;

/// How many moments of an event are kept, as in Redis.
const SAMPLES_MAX: usize = 160;

/// What can take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A command that may take more the more there is.
    Command,
    /// A command that takes a constant time.
    FastCommand,
    /// A commit of the database.
    Commit,
    /// A look at which keys have ended.
    ExpireCycle,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Command, Self::FastCommand, Self::Commit, Self::ExpireCycle];

    /// Its name: Redis's own where Redis has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
            Self::Commit => "commit",
            Self::ExpireCycle => "expire-cycle",
        }
    }

    /// The event of this name, if there is one.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name().as_bytes() == name)
    }
}

/// One moment: the longest of its second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, in Unix seconds.
    pub at_s: i64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The latest moments of an event, oldest first, and its longest ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The latest moments.
    pub samples: VecDeque<Sample>,
    /// The longest since it was forgotten last.
    pub worst_ms: u64,
}

/// The histories of all events. Every command looks at the first two numbers, which nobody writes beside it: no cache line is shared
/// with what commands count.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Latency {
    /// From so many milliseconds on something counts; 0 for never.
    threshold_ms: AtomicU64,
    counts_calls: AtomicBool,
    histories: Mutex<[History; Event::ALL.len()]>,
}

impl Latency {
    /// From so many milliseconds on something counts; 0 for never.
    pub fn set_threshold_ms(&self, threshold_ms: u64) {
        self.threshold_ms.store(threshold_ms, Ordering::Relaxed);
    }

    /// Counts how long each call takes, or does not (`latency-tracking`).
    pub fn set_counts_calls(&self, counts_calls: bool) {
        self.counts_calls.store(counts_calls, Ordering::Relaxed);
    }

    /// Whether it is counted how long each call takes.
    #[must_use]
    pub fn counts_calls(&self) -> bool {
        self.counts_calls.load(Ordering::Relaxed)
    }

    /// Whether something that took so long counts.
    #[must_use]
    pub fn wants(&self, took: Duration) -> bool {
        let threshold_ms = self.threshold_ms.load(Ordering::Relaxed);
        threshold_ms > 0 && took.as_millis() >= threshold_ms.into()
    }

    /// Keeps the moment that `clock` shows if it was long enough.
    pub fn note(&self, event: Event, took: Duration, clock: &Clock) {
        if self.wants(took) {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            let sample = Sample { at_s: clock.now_ms().div_euclid(1000), took_ms };
            self.histories.lock()[event as usize].add(sample);
        }
    }

    /// What is known of an event; `None` if it has not happened.
    #[must_use]
    pub fn history(&self, event: Event) -> Option<History> {
        Some(self.histories.lock()[event as usize].clone()).filter(|history| !history.samples.is_empty())
    }

    /// Forgets an event: whether there was anything to forget.
    pub fn forget(&self, event: Event) -> bool {
        !std::mem::take(&mut self.histories.lock()[event as usize]).samples.is_empty()
    }
}

impl History {
    fn add(&mut self, sample: Sample) {
        self.worst_ms = self.worst_ms.max(sample.took_ms);
        if let Some(last) = self.samples.back_mut().filter(|last| last.at_s == sample.at_s) {
            last.took_ms = last.took_ms.max(sample.took_ms);
            return;
        }
        if self.samples.len() >= SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_the_threshold_is_kept() {
        let (latency, clock) = (Latency::default(), Clock::manual(7_900));
        latency.note(Event::Commit, Duration::from_secs(9), &clock);
        latency.set_threshold_ms(10);
        latency.note(Event::Commit, Duration::from_micros(9_999), &clock);
        assert_eq!(latency.history(Event::Commit), None);
        latency.note(Event::Commit, Duration::from_millis(10), &clock);
        let kept = History { samples: [Sample { at_s: 7, took_ms: 10 }].into(), worst_ms: 10 };
        assert_eq!(latency.history(Event::Commit), Some(kept));
        assert!(latency.history(Event::Command).is_none());
        assert!(latency.forget(Event::Commit) && !latency.forget(Event::Commit));
    }

    #[test]
    fn a_history_is_bounded_and_keeps_the_longest_of_each_second() {
        let mut history = History::default();
        for at_s in 0..1_000 {
            history.add(Sample { at_s, took_ms: 5 });
            history.add(Sample { at_s, took_ms: if at_s == 3 { 70 } else { 4 } });
        }
        assert_eq!((history.samples.len(), history.worst_ms), (SAMPLES_MAX, 70));
        assert_eq!(history.samples.back(), Some(&Sample { at_s: 999, took_ms: 5 }));
    }
}
