//! What the writer does besides the units: it writes the touches that are due and deletes expired records.

use std::time::{Duration, Instant};

use tracing::{error, info};

use super::{BATCH_CHANGES_MAX, Ended, Writer};
use crate::database::batch::missing_records;
use crate::database::write_through::TouchWrite;
use crate::database::{BatchWork, Change, DatabaseError};

/// How much later touches are tried again that the database did not take: whatever holds them up is not over at once.
const TOUCH_PAUSE: Duration = Duration::from_secs(1);

impl Writer {
    /// Writes the touches that are due at `now_ms`, batch by batch. Answers whether none of them went back to the queue.
    pub(super) async fn flush_touches(&mut self, now_ms: i64) -> Result<bool, Ended> {
        // Counted once: touches that come meanwhile, or that go back to the queue, wait for the next flush.
        let mut waiting = self.memory.touches_waiting();
        let mut all_written = true;
        while waiting > 0 {
            let due = self.memory.due_touches(now_ms, BATCH_CHANGES_MAX.min(waiting));
            if due.taken == 0 {
                break;
            }
            waiting = waiting.saturating_sub(due.taken);
            all_written &= due.postponed == 0;
            all_written &= self.commit_touches(due.writes).await?;
        }
        Ok(all_written)
    }

    /// Writes touches in one commit; in smaller ones when a record of them is locked or refused. Answers whether none of
    /// them went back to the queue.
    async fn commit_touches(&mut self, touches: Vec<TouchWrite>) -> Result<bool, Ended> {
        let mut parts = vec![touches];
        let mut all_written = true;
        while let Some(mut touches) = parts.pop() {
            if touches.is_empty() {
                continue;
            }
            match self.try_touches(&touches).await? {
                Ok(()) => {}
                Err(DatabaseError::Refused(_) | DatabaseError::Locked(_)) if touches.len() > 1 => {
                    let rest = touches.split_off(touches.len() / 2);
                    parts.extend([rest, touches]);
                }
                Err(DatabaseError::Refused(message)) => {
                    error!(error = message, "the database refused a touch, which is dropped");
                }
                Err(_) => {
                    all_written = false;
                    self.memory.touches_failed(&touches, TOUCH_PAUSE);
                }
            }
        }
        Ok(all_written)
    }

    async fn try_touches(&mut self, touches: &[TouchWrite]) -> Result<Result<(), DatabaseError>, Ended> {
        let changes = touches.iter().map(|touch| (touch.id.clone(), Change::Expire { expiry: touch.expiry })).collect();
        let work = BatchWork::Changes(changes);
        Ok(self.commit_whole(work.clone(), &mut Vec::new()).await?.map(|done| {
            self.through.metrics.touch_rows_written.add(touches.len() as u64);
            self.memory.touches_committed(touches, &missing_records(&work, &done));
        }))
    }

    /// Deletes expired records, unless a touch waits: its record may look expired and is not. The time is read before the
    /// touches are flushed, so that a record whose touch comes later has not ended at that time.
    pub(super) async fn prune(&mut self) -> Result<(), Ended> {
        self.last_prune = Instant::now();
        let before_ms = self.clock.now_ms();
        if !self.flush_touches(i64::MAX).await? {
            return Ok(());
        }
        let work = BatchWork::Prune { before_ms, limit: self.settings.prune_batch };
        if let Ok(done) = self.commit_whole(work, &mut Vec::new()).await?
            && done.pruned > 0
        {
            self.through.metrics.pruned_records.add(done.pruned);
            info!(records = done.pruned, "expired records were deleted");
            // More may be waiting: go on after the units that came meanwhile.
            self.last_prune = Instant::now().checked_sub(self.settings.prune_interval).unwrap_or(self.last_prune);
        }
        Ok(())
    }
}
