//! What the writer does besides the units: it writes the touches that are due.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tracing::error;

use super::{BATCH_CHANGES_MAX, Ended, Writer};
use crate::database::write_through::TouchWrite;
use crate::database::{BatchWork, Change, DatabaseError, RecordId};

/// How much later touches are tried again that the database did not take: whatever holds them up is not over at once.
const TOUCH_PAUSE: Duration = Duration::from_secs(1);

/// The same for a touch that the database refused, as a trigger of the user's own does.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// What became of touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    All,
    /// But for some that went back to the queue.
    Some,
    /// They met a lock that no commit gets past, as of a whole table.
    None,
}

impl Writer {
    /// Writes the touches that are due at `now_ms`, batch by batch. Answers whether none of them stays in the queue.
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
            let flushed = self.commit_touches(due.writes).await?;
            all_written &= flushed == Flushed::All;
            if flushed == Flushed::None {
                // The others would meet the same lock, each batch for as long as a commit waits.
                self.last_touches = Instant::now() + TOUCH_PAUSE;
                break;
            }
        }
        Ok(all_written)
    }

    /// Writes touches in one commit; without those whose record somebody has locked, and in smaller ones when one is refused.
    async fn commit_touches(&mut self, touches: Vec<TouchWrite>) -> Result<Flushed, Ended> {
        let mut parts = vec![touches];
        let mut flushed = Flushed::All;
        while let Some(mut touches) = parts.pop() {
            if touches.is_empty() {
                continue;
            }
            match self.try_touches(&touches).await? {
                Ok(()) => {}
                Err(DatabaseError::Locked(_)) => {
                    flushed = Flushed::Some;
                    match self.locked(&changes_of(&touches)).await {
                        Err(DatabaseError::Locked(_)) => {
                            parts.push(touches);
                            parts.iter().for_each(|touches| self.memory.touches_failed(touches, TOUCH_PAUSE));
                            return Ok(Flushed::None);
                        }
                        Ok(locked) => parts.extend(self.postpone(touches, locked)),
                        Err(_) => self.memory.touches_failed(&touches, TOUCH_PAUSE),
                    }
                }
                Err(DatabaseError::Refused(_)) if touches.len() > 1 => {
                    let rest = touches.split_off(touches.len() / 2);
                    parts.extend([rest, touches]);
                }
                Err(DatabaseError::Refused(message)) => {
                    error!(error = message, "the database refused a touch, which is tried again");
                    flushed = Flushed::Some;
                    self.memory.touches_failed(&touches, REFUSED_PAUSE);
                }
                Err(_) => {
                    flushed = Flushed::Some;
                    self.memory.touches_failed(&touches, TOUCH_PAUSE);
                }
            }
        }
        Ok(flushed)
    }

    /// Puts off the touches whose record is locked, or all when none is seen to be; answers the others.
    fn postpone(&self, touches: Vec<TouchWrite>, locked: Vec<usize>) -> Option<Vec<TouchWrite>> {
        let locked: HashSet<usize> =
            if locked.is_empty() { (0..touches.len()).collect() } else { locked.into_iter().collect() };
        let (postponed, others): (Vec<_>, Vec<_>) =
            touches.into_iter().enumerate().partition(|(position, _)| locked.contains(position));
        let touches =
            |numbered: Vec<(usize, TouchWrite)>| numbered.into_iter().map(|(_, touch)| touch).collect::<Vec<_>>();
        self.memory.touches_failed(&touches(postponed), TOUCH_PAUSE);
        Some(touches(others)).filter(|others| !others.is_empty())
    }

    async fn try_touches(&mut self, touches: &[TouchWrite]) -> Result<Result<(), DatabaseError>, Ended> {
        let work = BatchWork::Changes(changes_of(touches));
        Ok(self.commit_whole(work, &mut Vec::new()).await?.map(|done| {
            self.through.metrics.touch_rows_written.add(touches.len() as u64);
            self.memory.touches_committed(touches, &done.missing);
        }))
    }
}

fn changes_of(touches: &[TouchWrite]) -> Vec<(RecordId, Change)> {
    touches.iter().map(|touch| (touch.id.clone(), Change::Expire { expiry: touch.expiry })).collect()
}
