//! Values that become fewer of one size (they leave memory, are compressed, end) leave holes all over the pages of that size, and
//! a page goes back to the system only when all of it is free. A pass copies everything that keys hold, shard by shard. The
//! allocator puts each copy into the lowest page that has a hole (jemalloc(3), "implementation notes"), so that the holes
//! below are filled with what stood above, and the pages above become free: what Redis does with `activedefrag`.

use std::time::{Duration, Instant};

use super::Keyspace;
use super::hot::SHARDS;
use super::slot::Slot;

/// What was copied is freed so many keys at a time, or so many bytes. Freed one by one, each place would go to the very next
/// copy by the thread's cache, which hands out first what it got last; it holds far less than this many.
const FREED_TOGETHER: usize = 1_000;
const FREED_TOGETHER_BYTES: usize = 1024 * 1024;

/// A pass over all keys, a little at a time.
#[derive(Debug, Default)]
pub struct Pass {
    shard: usize,
    /// What was copied, where it stood before.
    left_behind: Vec<Slot>,
    left_behind_bytes: usize,
}

impl Pass {
    /// Goes on by one shard at least, and for `limit` or little longer: the copies of a shard are made under one lock. Answers
    /// whether there is more to do.
    pub fn step(&mut self, keyspace: &Keyspace, limit: Duration) -> bool {
        let begun = Instant::now();
        while self.shard < SHARDS {
            self.copy(keyspace);
            self.shard += 1;
            if begun.elapsed() >= limit {
                break;
            }
        }
        self.shard < SHARDS
    }

    fn copy(&mut self, keyspace: &Keyspace) {
        let before = self.left_behind.len();
        keyspace.hot.lock_shard(self.shard).retain(self.shard, |slot| {
            self.left_behind.extend(slot.copied().map(|copy| std::mem::replace(slot, copy)));
            true
        });
        // Nobody waits for the rest.
        let moved = &self.left_behind[before..];
        keyspace.metrics.defragmented_keys.add(moved.len() as u64);
        self.left_behind_bytes += moved.iter().map(|slot| slot.holding().bytes()).sum::<usize>();
        if self.left_behind.len() >= FREED_TOGETHER || self.left_behind_bytes >= FREED_TOGETHER_BYTES {
            self.left_behind.clear();
            self.left_behind_bytes = 0;
        }
    }
}
