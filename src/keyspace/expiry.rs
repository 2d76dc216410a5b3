//! Expired entries leave memory: a walk over the shards, a slice of them at a time. Nobody waits for it, since every
//! look at an entry compares its end with the time; the records leave the database by the writer's prune.

use super::Keyspace;
use super::hot::SHARDS;

/// The walk visits every shard in this many slices; ten slices a second make a round of a second.
pub const SLICES: usize = 10;

impl Keyspace {
    /// Removes the entries of one slice that are past. Returns how many.
    pub fn expire_slice(&self, slice: usize) -> usize {
        let now_ms = self.clock.now_ms();
        let mut expired = 0;
        for number in (slice % SLICES..SHARDS).step_by(SLICES) {
            let mut locked = self.hot.lock_shard(number);
            let Some(shard) = locked.shard_mut(number) else { continue };
            if shard.is_empty() {
                continue;
            }
            shard.retain(|(name, entry)| {
                // What waits for a commit stays: if it fails, an older life comes back.
                let past = entry.pending.is_none() && entry.live(now_ms).is_none();
                if past {
                    expired += 1;
                    self.counts.shift(name.database, entry.life.as_ref(), None);
                    self.watches.changed(name.database, &name.key);
                }
                !past
            });
        }
        self.metrics.expired_keys.add(expired as u64);
        expired
    }
}
