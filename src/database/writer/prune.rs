//! Expired records are deleted in sweeps: each goes on until nothing is left of what had ended when it began, in commits
//! that are as large as they are quick, with room for the units between two of them.

use std::time::{Duration, Instant};

use ahash::RandomState;
use tracing::info;

use super::{Ended, Writer};
use crate::database::BatchWork;

/// A commit that takes longer holds up the units behind it for too long: the next one deletes less.
const COMMIT_TIME_MAX: Duration = Duration::from_millis(10);

/// The pause after a commit, in times of what it took: the units have the writer in between, and who serves the processors. A million
/// records go in 22 to 39 s. With a pause as long as the commit it was 12 s, and p99 of GET beside it 1.3 ms; with this one 0.3 to
/// 0.9 ms (`cargo bench --bench scale -- --sections storm`).
const PAUSE_PER_COMMIT: u32 = 3;

/// How many records of a table the first commit deletes, and how few one may: where even these take too long, the commit
/// itself does.
const RECORDS_FIRST: u32 = 64;
const RECORDS_MIN: u32 = 16;

/// No touch lags further, whatever `touch-interval` was set to meanwhile.
const TOUCH_LAG_MAX_MS: i64 = 3_600_000;

/// How far a pause may differ from `prune-interval`, in parts of it: several servers on one database server, started by one
/// hand at one time, are not to delete in step.
const SPREAD: f64 = 0.25;

/// What is deleted next, and when.
#[derive(Debug)]
pub(super) struct Sweeps {
    under_way: Option<Sweep>,
    /// When the last one ended, and by what the pause after it is varied.
    ended: Instant,
    chance: u64,
    /// How many records of a table the next commit deletes.
    records: u32,
}

/// A sweep under way.
#[derive(Debug)]
struct Sweep {
    /// What had ended by then goes.
    before_ms: i64,
    begun: Instant,
    deleted: u64,
    /// When its next commit is due.
    due: Instant,
}

impl Default for Sweeps {
    fn default() -> Self {
        Self { under_way: None, ended: Instant::now(), chance: chance(), records: RECORDS_FIRST }
    }
}

impl Sweeps {
    /// The next commit deletes so many more or fewer that it takes about as long as it may.
    fn adapt(&mut self, took: Duration) {
        if took > COMMIT_TIME_MAX {
            self.records = (self.records / 2).max(RECORDS_MIN);
        } else if took < COMMIT_TIME_MAX / 2 {
            self.records = self.records.saturating_mul(2);
        }
    }
}

impl Writer {
    /// How long it is until something is to be deleted.
    pub(super) fn until_prune(&self) -> Duration {
        let due = match &self.sweeps.under_way {
            Some(sweep) => sweep.due,
            None if self.through.is_prune_asked() => return Duration::ZERO,
            None => self.sweeps.ended + varied(self.settings.prune.borrow().interval, self.sweeps.chance),
        };
        due.saturating_duration_since(Instant::now())
    }

    /// Deletes a bounded number of expired records, if it is time to.
    pub(super) async fn prune(&mut self) -> Result<(), Ended> {
        if !self.until_prune().is_zero() {
            return Ok(());
        }
        let mut sweep = match self.sweeps.under_way.take() {
            Some(sweep) => sweep,
            None => self.begin_sweep().await?,
        };
        let limit = self.sweeps.records.min(self.settings.prune.borrow().batch);
        self.sweeps.records = limit;
        let sent = Instant::now();
        let work = BatchWork::Prune { before_ms: sweep.before_ms, limit };
        let pruned = self.commit_whole(work, &mut Vec::new()).await?.ok().map(|done| done.pruned);
        let took = sent.elapsed();
        self.sweeps.adapt(took);
        self.count_prune(pruned);
        sweep.deleted += pruned.unwrap_or(0);
        if pruned.is_some_and(|pruned| pruned >= u64::from(limit)) {
            // One table at least may hold more.
            sweep.due = Instant::now() + PAUSE_PER_COMMIT * took;
            self.sweeps.under_way = Some(sweep);
        } else {
            self.end_sweep(&sweep, pruned.map(|_| sweep.deleted));
        }
        Ok(())
    }

    /// A record whose longer life waits may look expired and is not: so the touches are flushed first, and if one cannot be,
    /// or a unit sets an end, only what had ended before any of them came is deleted. The time is read before that, so that a
    /// record whose longer life comes later, while the sweep goes on, has not ended at that time.
    async fn begin_sweep(&mut self) -> Result<Sweep, Ended> {
        let begun = Instant::now();
        self.through.note_prune_begun();
        let now_ms = self.clock.now_ms();
        let all_written = self.flush_touches(i64::MAX).await?;
        let lag_ms = if all_written && self.parked.is_empty() && !self.through.sets_ends() { 0 } else { self.lag_ms() };
        Ok(Sweep { before_ms: now_ms.saturating_sub(lag_ms), begun, deleted: 0, due: begun })
    }

    /// Counts a commit that deleted so many; `None` is one that the database refused.
    fn count_prune(&self, pruned: Option<u64>) {
        let metrics = &self.through.metrics;
        match pruned {
            None => metrics.prunes_failed.increment(),
            Some(records) => {
                metrics.prunes.increment();
                metrics.pruned_records.add(records);
                metrics.last_prune_s.set(u64::try_from(self.clock.now_ms() / 1000).unwrap_or(0));
            }
        }
    }

    fn end_sweep(&mut self, sweep: &Sweep, deleted: Option<u64>) {
        (self.sweeps.ended, self.sweeps.chance) = (Instant::now(), chance());
        self.through.note_prune_ended(deleted);
        if sweep.deleted > 0 {
            let milliseconds = u64::try_from(sweep.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            info!(records = sweep.deleted, milliseconds, "expired records were deleted");
        }
    }

    /// How far the end of a record may lie behind the one that a touch or a unit will give it: a unit is queued while the key
    /// lives, and a touch of it may lag then.
    fn lag_ms(&self) -> i64 {
        let waited_ms = i64::try_from(self.through.behind().as_millis()).unwrap_or(i64::MAX);
        TOUCH_LAG_MAX_MS.saturating_add(waited_ms)
    }
}

fn chance() -> u64 {
    RandomState::new().hash_one(0_u8)
}

fn varied(interval: Duration, chance: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a random share needs no more than 52 bits")]
    let share = chance as f64 / u64::MAX as f64;
    interval.mul_f64(1.0 - SPREAD + 2.0 * SPREAD * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_deletes_as_much_as_it_has_time_for() {
        let mut sweeps = Sweeps::default();
        let mut after = |ms| {
            sweeps.adapt(Duration::from_millis(ms));
            sweeps.records
        };
        assert_eq!(
            [after(1), after(1), after(7), after(11), after(900), after(900), after(900)],
            [128, 256, 256, 128, 64, 32, 16]
        );
        assert_eq!([after(900), after(0)], [16, 32]);
    }

    #[test]
    fn a_pause_differs_by_chance_and_is_the_interval_on_the_average() {
        let pauses = [0, u64::MAX / 2, u64::MAX].map(|chance| varied(Duration::from_secs(60), chance).as_millis());
        assert_eq!(pauses, [45_000, 60_000, 75_000]);
    }
}
