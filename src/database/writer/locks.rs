//! Locks of others: a unit whose record somebody has locked is set aside with all that is built on it, and tried again
//! until it is late. Nobody else waits for it longer than one commit waits for a lock.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::warn;

use super::{BATCH_LIMITS, Ended, TOUCH_TICK, Writer};
use crate::database::batch::Reach;
use crate::database::unit::Unit;
use crate::database::{Change, DatabaseError, RecordId};

/// How often the database is asked whether the locks that units wait for are still held: one round trip, which waits for none.
const ASK_AGAIN: Duration = Duration::from_millis(20);

impl Writer {
    /// How long to wait for work at most.
    pub(super) fn pause(&self) -> Duration {
        let pause = match (self.parked.is_empty(), self.through.is_stopping()) {
            (false, _) => self.next_try.saturating_duration_since(Instant::now()),
            (true, false) => TOUCH_TICK,
            (true, true) => Duration::ZERO,
        };
        pause.min(self.until_prune())
    }

    /// Sets units aside whose batch met a lock. Whose it is will be asked at the end of this turn, and the others sent again.
    pub(super) fn park(&mut self, units: Vec<Unit>) {
        self.through.metrics.lock_waits.increment();
        self.parked.park(units);
        self.next_try = Instant::now();
    }

    /// Sends what is not locked any more, and fails what has waited for too long.
    pub(super) async fn try_parked(&mut self) -> Result<(), Ended> {
        if self.parked.is_empty() || Instant::now() < self.next_try {
            return Ok(());
        }
        self.next_try = Instant::now() + ASK_AGAIN;
        let asked = self.parked.asked(BATCH_LIMITS);
        match self.locked(&asked).await {
            Ok(locked) => self.parked.note_locked(&asked, &locked),
            // A whole table, say: nobody can tell more before that lock is gone.
            Err(DatabaseError::Locked(_)) => {}
            // The database is away, as the next commit will find out.
            Err(_) => self.parked.note_locked(&asked, &[]),
        }
        let released = self.parked.release(BATCH_LIMITS);
        if !released.is_empty() {
            // There may be more, for which this batch had no room.
            self.next_try = Instant::now();
            self.commit_units(released).await?;
        }
        self.fail_overdue();
        self.note_parked();
        Ok(())
    }

    /// Which of these changes a lock of somebody else stands in the way of.
    pub(super) async fn locked(&self, changes: &[(RecordId, Change)]) -> Result<Vec<usize>, DatabaseError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        timeout(self.settings.write_timeout, self.database.locked(changes)).await.unwrap_or_else(|_| {
            Err(DatabaseError::Outage {
                message: "a question took longer than write-timeout".to_owned(),
                in_doubt: false,
            })
        })
    }

    /// Who has waited for `write-timeout` is answered; under `everysec` everybody has been answered already.
    fn fail_overdue(&mut self) {
        if self.through.is_everysec() {
            return;
        }
        let overdue = self.parked.overdue(self.settings.write_timeout);
        if overdue.is_empty() {
            return;
        }
        if !std::mem::replace(&mut self.told_of_locks, true) {
            warn!(
                units = overdue.len(),
                "writes whose records somebody else has locked are taken back with all that was built on them, from now on each after write-timeout"
            );
        }
        let mut reach = Reach::default();
        self.fail(&[], Vec::new(), &mut |unit| {
            if overdue.contains(&unit.number) {
                reach.add(unit);
            }
            overdue.contains(&unit.number) || reach.takes(unit)
        });
    }

    pub(super) fn note_parked(&mut self) {
        self.told_of_locks &= !self.parked.is_empty();
        self.through.note_parked(self.parked.count(), self.parked.oldest());
    }
}
