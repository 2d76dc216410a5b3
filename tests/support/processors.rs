//! How busy the processors are: what is measured beside the work of others says nothing.

use std::fs;
use std::io;
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

/// So many processors may be busy with something else while nobody is measured.
pub const OTHER_WORK_MAX: f64 = 0.25;

/// How long the processors are watched for the work of others.
const WATCHED: Duration = Duration::from_millis(500);

/// How many processors are busy, such as 1.05; to be asked while nobody is measured, so that it is the work of others.
///
/// # Errors
/// When the kernel does not tell.
pub fn busy_cores() -> io::Result<f64> {
    let ticks = || Ticks::of(&fs::read_to_string("/proc/stat")?).ok_or_else(|| io::Error::other("/proc/stat"));
    let before = ticks()?;
    sleep(WATCHED);
    let after = ticks()?;
    let (busy, all) = (after.busy.saturating_sub(before.busy), after.all.saturating_sub(before.all));
    Ok(busy as f64 / all.max(1) as f64 * available_parallelism()?.get() as f64)
}

/// What all processors together have done since the machine was started (`/proc/stat`, man 5 proc).
#[derive(Debug, PartialEq, Eq)]
pub struct Ticks {
    pub busy: u64,
    pub all: u64,
}

impl Ticks {
    /// From the text of `/proc/stat`.
    pub fn of(stat: &str) -> Option<Self> {
        let words = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = words.split_whitespace().map_while(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; those of guests are counted in user and nice.
        let (idle, all) = (ticks.get(3)? + ticks.get(4)?, ticks.iter().take(8).sum::<u64>());
        Some(Self { busy: all - idle, all })
    }
}
