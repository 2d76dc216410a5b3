//! What fits into the table of all keys without a word of memory in a slot and without `unsafe`: a hand goes from shard
//! to shard, and what it must know of a key stands in a table of small atomics, found by the key's hash. Keys that fall on
//! the same place share it.

use super::{Hots, Policy, hash};

/// Shards of the simulated table; a hundredth of the real one's, since it holds about a hundredth of the keys.
const SHARDS: usize = 256;

/// The clock. A place counts the reads since the hand came by; the hand takes one off and spares the value, or evicts it.
#[derive(Debug)]
pub struct Clock {
    hots: Hots,
    reads: Vec<u8>,
    most: u8,
    start: u8,
    hand: (usize, usize),
    capacity: usize,
}

impl Clock {
    /// An empty one that counts to `most` in so many places; a value that comes begins with `start`.
    pub fn new(most: u8, start: u8, places: usize, keys: usize, capacity: usize) -> Self {
        let hots = Hots::new(keys, SHARDS);
        Self { hots, reads: vec![0; places.max(1)], most, start, hand: (0, 0), capacity }
    }

    fn place(&self, key: u32) -> usize {
        // Other bits of the hash than those that choose the shard.
        (((hash(key) & u64::from(u32::MAX)) * self.reads.len() as u64) >> 32) as usize
    }

    fn evict(&mut self) {
        loop {
            let (shard, place) = self.hand;
            let Some(&key) = self.hots.shard(shard).get(place) else {
                self.hand = ((shard + 1) % SHARDS, 0);
                continue;
            };
            let at = self.place(key);
            if self.reads[at] == 0 {
                self.hots.remove(key);
                return;
            }
            self.reads[at] -= 1;
            self.hand.1 += 1;
        }
    }
}

impl Policy for Clock {
    fn access(&mut self, key: u32, _now_s: u32) -> bool {
        let at = self.place(key);
        let is_hot = self.hots.holds(key);
        if is_hot {
            self.reads[at] = (self.reads[at] + 1).min(self.most);
        } else {
            if self.hots.len() == self.capacity {
                self.evict();
            }
            self.reads[at] = self.reads[at].max(self.start);
            self.hots.insert(key);
        }
        is_hot
    }

    fn forget(&mut self, key: u32) {
        if self.hots.holds(key) {
            self.hots.remove(key);
        }
    }
}
