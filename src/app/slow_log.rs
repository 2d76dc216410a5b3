//! The commands that took long, for SLOWLOG: the newest first, bounded in number and in what is kept of each. What is secret in
//! a command is taken out before it comes here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::config::Settings;

/// The least time between two lines of the log about slow commands: a threshold of 0 must not fill the disk.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// The threshold that nothing reaches.
const NEVER_US: u64 = u64::MAX;

/// A command that took long.
#[derive(Clone, Debug)]
pub struct SlowCommand {
    /// Counts up from 0, and goes on when the log is emptied.
    pub id: u64,
    /// When it ended, in Unix seconds.
    pub at_s: i64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// What was asked, cut short.
    pub words: Vec<Bytes>,
    /// Whose it was.
    pub address: String,
    /// The name of that connection.
    pub client_name: String,
}

/// All that are remembered. Every command looks at the threshold, which nobody writes beside it.
#[derive(Debug)]
#[repr(align(64))]
pub struct SlowLog {
    slower_than_us: AtomicU64,
    kept: Mutex<Kept>,
    lines: Mutex<Lines>,
}

/// What the log of the process was told of.
#[derive(Debug, Default)]
struct Lines {
    last: Option<Instant>,
    /// How many commands were slow since, without a line.
    unsaid: u64,
}

#[derive(Debug, Default)]
struct Kept {
    commands: VecDeque<SlowCommand>,
    next_id: u64,
    length_max: usize,
}

impl SlowLog {
    /// An empty one.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let log = Self { slower_than_us: AtomicU64::new(NEVER_US), kept: Mutex::default(), lines: Mutex::default() };
        log.follow(settings);
        log
    }

    /// Follows a change of the settings.
    pub(super) fn follow(&self, settings: &Settings) {
        // Below zero is never.
        let slower_than_us = u64::try_from(settings.slowlog_log_slower_than_us).unwrap_or(NEVER_US);
        self.slower_than_us.store(slower_than_us, Ordering::Relaxed);
        let mut kept = self.kept.lock();
        kept.length_max = settings.slowlog_max_len;
        kept.commands.truncate(settings.slowlog_max_len);
    }

    /// Whether a command that took so long is to be kept.
    #[must_use]
    pub fn wants(&self, took: Duration) -> bool {
        let slower_than_us = self.slower_than_us.load(Ordering::Relaxed);
        slower_than_us != NEVER_US && took.as_micros() >= slower_than_us.into()
    }

    /// Keeps a command, whose number is chosen here.
    pub fn add(&self, command: SlowCommand) {
        let mut kept = self.kept.lock();
        let (id, length_max) = (kept.next_id, kept.length_max);
        kept.next_id += 1;
        kept.commands.push_front(SlowCommand { id, ..command });
        kept.commands.truncate(length_max);
    }

    /// Whether the log of the process has room for a line about a slow command; answers how many had none since the last one.
    pub fn line_is_due(&self, now: Instant) -> Option<u64> {
        let mut lines = self.lines.lock();
        if lines.last.is_some_and(|last| now.duration_since(last) < LINE_EVERY) {
            lines.unsaid += 1;
            return None;
        }
        lines.last = Some(now);
        Some(std::mem::take(&mut lines.unsaid))
    }

    /// The newest, at most so many, newest first.
    #[must_use]
    pub fn newest(&self, most: usize) -> Vec<SlowCommand> {
        self.kept.lock().commands.iter().take(most).cloned().collect()
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.lock().commands.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets them all.
    pub fn clear(&self) {
        self.kept.lock().commands.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(slower_than_us: i64, length_max: usize) -> SlowLog {
        let (slowlog_log_slower_than_us, slowlog_max_len) = (slower_than_us, length_max);
        SlowLog::new(&Settings { slowlog_log_slower_than_us, slowlog_max_len, ..Settings::default() })
    }

    fn command() -> SlowCommand {
        let (address, client_name) = (String::new(), String::new());
        SlowCommand { id: 0, at_s: 1, took_us: 2, words: Vec::new(), address, client_name }
    }

    #[test]
    fn the_threshold_is_met_or_off() {
        let wants = |slower_than_us, us| log(slower_than_us, 1).wants(Duration::from_micros(us));
        assert!(wants(0, 0) && wants(5, 5) && wants(5, 6));
        assert!(!wants(5, 4) && !wants(-1, 0) && !wants(-1, u64::MAX));
    }

    #[test]
    fn lines_come_once_a_second_and_say_how_many_did_not() {
        let (log, now) = (log(0, 1), Instant::now());
        let due = |after_ms| log.line_is_due(now + Duration::from_millis(after_ms));
        assert_eq!([0, 1, 999, 1_000, 1_001, 3_000].map(due), [Some(0), None, None, Some(2), None, Some(1)]);
    }

    #[test]
    fn the_newest_are_kept_and_numbers_go_on() {
        let log = log(0, 3);
        (0..10_000).for_each(|_| log.add(command()));
        let ids = |most| log.newest(most).iter().map(|command| command.id).collect::<Vec<_>>();
        assert_eq!((log.len(), ids(usize::MAX), ids(1)), (3, vec![9_999, 9_998, 9_997], vec![9_999]));
        log.clear();
        log.add(command());
        assert_eq!(ids(9), [10_000]);
        log.follow(&Settings { slowlog_max_len: 0, ..Settings::default() });
        assert!(log.is_empty());
        log.add(command());
        assert!(log.is_empty());
    }
}
