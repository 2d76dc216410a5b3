//! When the writer is woken. A commit costs the database as much as some forty rows in it; so the writer is not woken by
//! each unit but when a worker has nothing else to do, and finds all that came together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long a unit waits for a worker that is always busy: as long as the commit of a single row takes.
const LATE: Duration = Duration::from_micros(300);

/// Wakes the writer.
#[derive(Debug)]
pub(super) struct Wake {
    work: Notify,
    created: Instant,
    /// When the first unit was queued that the writer was not woken for, in microseconds after `created`; 0 for none. Set
    /// under the lock of the queue, or else a unit could be queued and its mark be taken for an older one's.
    waiting_us: AtomicU64,
}

impl Wake {
    pub fn new() -> Self {
        Self { work: Notify::new(), created: Instant::now(), waiting_us: AtomicU64::new(0) }
    }

    /// A unit was queued at `now`. To be called under the lock of the queue.
    pub fn note(&self, now: Instant) {
        if self.waiting_us.load(Ordering::Relaxed) == 0 {
            let waiting_us = now.saturating_duration_since(self.created).as_micros();
            self.waiting_us.store(u64::try_from(waiting_us).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
        }
    }

    /// Nothing waits any more. To be called under the lock of the queue.
    pub fn forget(&self) {
        self.waiting_us.store(0, Ordering::Relaxed);
    }

    /// Wakes the writer if something waits.
    pub fn wake(&self) {
        if self.waiting_us.load(Ordering::Relaxed) != 0 && self.waiting_us.swap(0, Ordering::AcqRel) != 0 {
            self.work.notify_one();
        }
    }

    /// The same, if it has waited for long enough.
    pub fn wake_if_late(&self) {
        let waiting_us = self.waiting_us.load(Ordering::Relaxed);
        if waiting_us != 0 && self.created.elapsed() >= Duration::from_micros(waiting_us) + LATE {
            self.wake();
        }
    }

    /// Wakes the writer in any case.
    pub fn wake_now(&self) {
        self.work.notify_one();
    }

    /// The writer's wait, for `at_most` so long.
    pub async fn wait(&self, at_most: Duration) {
        // A time-out is as good as a call: the writer looks at the touches then.
        let _ = tokio::time::timeout(at_most, self.work.notified()).await;
    }
}
