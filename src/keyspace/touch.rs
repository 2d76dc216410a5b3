//! The touch queue: keys whose life was lengthened in memory and not yet in the database. It holds keys, never
//! expiries: the flush asks the entry for its end of that moment. A crash costs a session at most the lag allowed here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::account::{allocated, shared};
use super::entry::Name;
use crate::clock::Expiry;

/// A touch lags at most a tenth of the new TTL, so that a crash never costs a short session much of its life.
const TTL_SHARE: i64 = 10;

/// Touches are gathered in spans of this length: one flush takes all that are due.
const SPAN_MS: i64 = 250;

/// A key in the queue, and the incarnation under which it was queued.
pub type Touched = (Name, u64);

/// The queue, by the time at which its keys are due.
#[derive(Debug)]
pub struct Touches {
    interval: RwLock<Duration>,
    due: Mutex<BTreeMap<i64, Vec<Touched>>>,
    bytes: AtomicUsize,
}

impl Touches {
    /// A queue whose touches lag at most `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval: RwLock::new(interval), due: Mutex::default(), bytes: AtomicUsize::new(0) }
    }

    /// Changes the longest lag.
    pub fn set_interval(&self, interval: Duration) {
        *self.interval.write() = interval;
    }

    /// Whether a record that ends at `recorded` may stay as it is while memory says `expiry`.
    #[must_use]
    pub fn may_lag(&self, recorded: Expiry, expiry: Expiry, now_ms: i64) -> bool {
        match (recorded.as_ms(), expiry.as_ms()) {
            (Some(recorded_ms), Some(expiry_ms)) => {
                expiry_ms.saturating_sub(recorded_ms) <= self.bound_ms(expiry_ms, now_ms)
            }
            (None, _) | (_, None) => recorded == expiry,
        }
    }

    /// When the touch should be written: in the middle of what the bound leaves, so that the touches in between
    /// are gathered and the next one does not have to wait for a commit.
    #[must_use]
    pub fn due_ms(&self, recorded: Expiry, expiry: Expiry, now_ms: i64) -> i64 {
        let (Some(recorded_ms), Some(expiry_ms)) = (recorded.as_ms(), expiry.as_ms()) else { return now_ms };
        let left_ms = self.bound_ms(expiry_ms, now_ms) - expiry_ms.saturating_sub(recorded_ms);
        now_ms + left_ms.max(0) / 2
    }

    /// Adds a key, due at `due_ms`.
    pub fn add(&self, name: Name, incarnation: u64, due_ms: i64) {
        let key_bytes = shared(name.key.len());
        let mut due = self.due.lock();
        let span = due.entry(due_ms.div_euclid(SPAN_MS)).or_default();
        let before = room_bytes(span);
        span.push((name, incarnation));
        self.bytes.fetch_add(key_bytes + room_bytes(span) - before, Ordering::Relaxed);
    }

    /// Takes up to `limit` keys that are due at `now_ms`.
    #[must_use]
    pub fn take(&self, now_ms: i64, limit: usize) -> Vec<Touched> {
        let mut due = self.due.lock();
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some(mut span) = due.first_entry()
            && *span.key() <= now_ms.div_euclid(SPAN_MS)
        {
            let keys = span.get_mut();
            let keep = keys.len().saturating_sub(limit - taken.len());
            let mut bytes: usize = keys[keep..].iter().map(|(name, _)| shared(name.key.len())).sum();
            taken.extend(keys.drain(keep..));
            if keys.is_empty() {
                bytes += room_bytes(&span.remove());
            }
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// The memory that the queue takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many keys wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.due.lock().values().map(Vec::len).sum()
    }

    fn bound_ms(&self, expiry_ms: i64, now_ms: i64) -> i64 {
        let interval_ms = i64::try_from(self.interval.read().as_millis()).unwrap_or(i64::MAX);
        interval_ms.min(expiry_ms.saturating_sub(now_ms) / TTL_SHARE)
    }
}

fn room_bytes(span: &Vec<Touched>) -> usize {
    allocated(span.capacity() * size_of::<Touched>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_queue_knows_what_it_takes() {
        let touches = Touches::new(Duration::from_secs(60));
        for number in 0..1_000_i64 {
            let key = Arc::from(format!("sess:{number}").as_bytes());
            touches.add(Name { database: 0, key }, 1, number % 3 * SPAN_MS);
        }
        let most = touches.bytes();
        assert!((1_000 * 64..1_000 * 120).contains(&most), "{most}");
        assert_eq!(touches.take(0, 100).len(), 100);
        assert!(touches.bytes() < most);
        assert_eq!(touches.take(10 * SPAN_MS, 1_000).len(), 900);
        assert_eq!(touches.bytes(), 0);
    }
}
