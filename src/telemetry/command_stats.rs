//! What is counted of each command: how often it was called, how long its calls took, and how often it was refused.

use super::durations::Durations;
use super::instrument::Counter;

/// The figures of one command, as INFO commandstats shows them. Each has its own cache line: commands of different
/// connections count at the same time.
#[derive(Debug)]
#[repr(align(64))]
pub struct CommandStats {
    /// The command, a subcommand as `client|setname`.
    pub name: String,
    /// How often its handler ran.
    pub calls: Counter,
    /// How long it ran, in all.
    pub microseconds: Counter,
    /// How often it answered an error.
    pub failed: Counter,
    /// How often it was refused before it ran.
    pub rejected: Counter,
    /// How long its calls took, each of them.
    pub durations: Durations,
}

impl CommandStats {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            calls: Counter::default(),
            microseconds: Counter::default(),
            failed: Counter::default(),
            rejected: Counter::default(),
            durations: Durations::default(),
        }
    }

    /// Whether anybody ever sent it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.calls.get() + self.rejected.get() > 0
    }

    pub(super) fn reset(&self) {
        [&self.calls, &self.microseconds, &self.failed, &self.rejected].into_iter().for_each(Counter::reset_count);
        self.durations.reset_count();
    }
}
