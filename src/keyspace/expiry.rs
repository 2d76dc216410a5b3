//! Expired entries leave memory: a shard is looked through when its first key may have ended, ten times a second and
//! before DBSIZE counts. No command waits for it, since every look at an entry compares its end with the time; the
//! records leave the database by the writer's prune.

use std::time::{Duration, Instant};

use super::Keyspace;
use super::events::{Notice, Notices};
use super::hot::{Locked, SHARDS};
use super::keys::Tickets;
use crate::clock::Expiry;
use crate::config::EventClass;

impl Keyspace {
    /// Removes all entries that have ended, shard by shard.
    pub fn expire(&self) {
        self.expire_slice(0, Duration::MAX);
    }

    /// Removes entries that have ended, from shard `from` on, until none is left or it has taken `limit`. Returns the shard
    /// to go on from. However many end in one second, whoever serves waits for one shard of them.
    pub fn expire_slice(&self, from: usize, limit: Duration) -> Option<usize> {
        let (begun, now_ms) = (Instant::now(), self.clock.now_ms());
        for number in self.shards_due(now_ms, from) {
            let mut locked = self.hot.lock_shard(number);
            self.expire_shard(number, &mut locked, now_ms);
            drop(locked);
            if begun.elapsed() >= limit {
                return Some(number + 1);
            }
        }
        None
    }

    /// The shards from `from` on of which a key may have ended.
    pub(super) fn shards_due(&self, now_ms: i64, from: usize) -> impl Iterator<Item = usize> {
        (from..SHARDS).filter(move |&number| self.counts.may_have_ended(number, now_ms))
    }

    /// Removes the entries of a locked shard that have ended.
    pub(super) fn expire_shard(&self, number: usize, locked: &mut Locked<'_>, now_ms: i64) {
        let wants_events = self.events.classes().wants(EventClass::Expired);
        let mut notices = Notices::new();
        self.counts.forget_ends(number);
        let expired = locked.retain(number, |slot| {
            // What waits for a commit stays: if it fails, an older life comes back.
            let ended = slot.pending().is_none() && slot.live(now_ms).is_none();
            let end = slot.life().map(|life| life.ends.expiry);
            if ended {
                self.counts.shift(number, slot.database(), end, None);
                self.watches.changed(slot.database(), slot.key());
                if wants_events {
                    notices.push(Notice::Event { event: "expired", name: slot.name() });
                }
            } else if let Some(end_ms) = end.and_then(Expiry::as_ms) {
                self.counts.note_end(number, end_ms);
            }
            !ended
        });
        if !notices.is_empty() {
            // Nothing of these keys is pending, so there is nothing to wait for.
            self.events.hold(notices, Tickets::new());
        }
        self.metrics.expired_keys.add(expired as u64);
    }
}
