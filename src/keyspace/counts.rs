//! How many keys there are per Redis database, and when the first key of a shard may end: kept beside the table, so that
//! neither DBSIZE nor the expiry has to walk over keys that live.

use std::sync::atomic::{AtomicI64, Ordering};

use super::hot::SHARDS;
use crate::clock::Expiry;
use crate::telemetry::metrics::DATABASES_MAX;

/// The numbers of keys.
#[derive(Debug)]
pub struct Counts {
    keys: Box<[AtomicI64]>,
    expiring: Box<[AtomicI64]>,
    /// No key of the shard ends before this, Unix milliseconds; a touch may leave it too early, never too late.
    earliest_ms: Box<[AtomicI64]>,
}

impl Default for Counts {
    fn default() -> Self {
        let zeros = || (0..DATABASES_MAX).map(|_| AtomicI64::new(0)).collect();
        let never = (0..SHARDS).map(|_| AtomicI64::new(i64::MAX)).collect();
        Self { keys: zeros(), expiring: zeros(), earliest_ms: never }
    }
}

impl Counts {
    /// The end of a key's life went from `before` to `after`, each `None` without a life; called under the lock of its shard.
    pub fn shift(&self, shard: usize, database: u8, before: Option<Expiry>, after: Option<Expiry>) {
        let expires = |end: Expiry| end != Expiry::NEVER;
        add(&self.keys[usize::from(database)], before.is_some(), after.is_some());
        add(&self.expiring[usize::from(database)], before.is_some_and(expires), after.is_some_and(expires));
        if let Some(end_ms) = after.and_then(Expiry::as_ms) {
            self.note_end(shard, end_ms);
        }
    }

    /// A key of this shard ends at `end_ms`.
    pub fn note_end(&self, shard: usize, end_ms: i64) {
        if self.earliest_ms[shard].load(Ordering::Relaxed) > end_ms {
            self.earliest_ms[shard].fetch_min(end_ms, Ordering::Relaxed);
        }
    }

    /// Whether a key of this shard may have ended.
    #[must_use]
    pub fn may_have_ended(&self, shard: usize, now_ms: i64) -> bool {
        self.earliest_ms[shard].load(Ordering::Relaxed) <= now_ms
    }

    /// Forgets when the first key of a shard ends, before all its keys are noted anew under its lock.
    pub fn forget_ends(&self, shard: usize) {
        self.earliest_ms[shard].store(i64::MAX, Ordering::Relaxed);
    }

    /// Keys of a database.
    #[must_use]
    pub fn keys(&self, database: u8) -> usize {
        read(&self.keys[usize::from(database)])
    }

    /// Keys of all databases.
    #[must_use]
    pub fn all_keys(&self) -> usize {
        self.keys.iter().map(read).sum()
    }

    /// Keys of a database that have an end.
    #[must_use]
    pub fn expiring(&self, database: u8) -> usize {
        read(&self.expiring[usize::from(database)])
    }
}

fn add(count: &AtomicI64, before: bool, after: bool) {
    match (before, after) {
        (false, true) => count.fetch_add(1, Ordering::Relaxed),
        (true, false) => count.fetch_sub(1, Ordering::Relaxed),
        (true, true) | (false, false) => return,
    };
}

fn read(count: &AtomicI64) -> usize {
    usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(0)
}
