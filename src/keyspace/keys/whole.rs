//! What a handler sees of the whole keyspace: how many keys there are, its steps one by one, and their end.

use super::super::hot::{SHARDS, Shard};
use super::super::slot::Slot;
use super::{Keys, KeysError, Tickets, record, see};
use crate::database::unit::Ticket;
use crate::database::{Change, Kind};

impl Keys<'_> {
    /// Deletes all keys of one Redis database, or of all. Needs the whole keyspace locked.
    ///
    /// # Errors
    /// [`KeysError::DatabaseDown`]; nothing has changed then.
    pub fn clear(&mut self, database: Option<u8>) -> Result<(), KeysError> {
        self.check_writable()?;
        let ticket = self.own_ticket();
        for number in 0..SHARDS {
            self.locked.retain(number, |slot| {
                if database.is_some_and(|database| database != slot.database()) {
                    return true;
                }
                if slot.life().is_none() {
                    // Deleted, but not yet in the database: nothing is left to change, and all hangs on that delete.
                    self.seen.extend(slot.pending().map(|pending| pending.ticket.clone()));
                    return true;
                }
                slot.change(|name, entry| {
                    entry.mark(&ticket);
                    let Some(life) = entry.life.take() else { return };
                    self.keyspace.counts.shift(number, name.database, Some(life.ends.expiry), None);
                    self.deleted += 1;
                    self.keyspace.watches.changed(name.database, &name.key);
                    if self.puts.is_some() {
                        self.changes.push((record(name, life.home), Change::Delete));
                    }
                });
                true
            });
        }
        self.seen.sort_unstable_by_key(Ticket::identity);
        self.seen.dedup_by(|one, other| one.is(other));
        if self.puts.is_none() {
            // Alone it is a barrier, which deletes without naming the keys; in an EXEC it is one change among the others.
            self.cleared = Some(database);
        }
        Ok(())
    }

    /// How many keys the selected database has; the reply waits for all that is queued. Needs the whole keyspace locked: what
    /// changes between the two would be counted and not waited for.
    pub fn count(&mut self) -> usize {
        self.see_all();
        for number in self.keyspace.shards_due(self.now_ms, 0) {
            self.keyspace.expire_shard(number, &mut self.locked, self.now_ms);
        }
        self.keyspace.counts.keys(self.database).saturating_sub(self.ended_but_pending())
    }

    /// Keys that have ended and stay in memory, since a unit of theirs is under way.
    fn ended_but_pending(&self) -> usize {
        let (database, now_ms) = (self.database, self.now_ms);
        let ended = |(slot, ()): &&(Slot, ())| {
            slot.database() == database && slot.life().is_some() && slot.live(now_ms).is_none()
        };
        let count = |number| self.locked.shard(number).map_or(0, |shard| shard.iter().filter(ended).count());
        self.keyspace.shards_due(now_ms, 0).map(count).sum()
    }

    /// The number of scan steps; a SCAN cursor is a step, below 2^31.
    #[must_use]
    pub fn scan_steps(&self) -> usize {
        SHARDS
    }

    /// From now on a walk over more keys than this, of whatever database, is given up.
    pub fn limit_visits(&mut self, keys: usize) {
        self.visits_left = keys;
    }

    /// Calls `visit(key, kind)` with each live key of the selected database in one step. Returns how many there were.
    ///
    /// # Errors
    /// [`KeysError::TakesLong`] if the walk has visited more keys than it may.
    pub fn scan_step(&mut self, step: usize, visit: &mut dyn FnMut(&[u8], Kind)) -> Result<usize, KeysError> {
        let (mut visited, mut passed) = (0, 0);
        let (database, now_ms) = (self.database, self.now_ms);
        let mut scan = |shard: &Shard, seen: &mut Tickets| {
            passed = shard.len();
            for (slot, ()) in shard.iter().filter(|(slot, ())| slot.database() == database) {
                see(slot, seen);
                if let Some(life) = slot.live(now_ms) {
                    visited += 1;
                    visit(slot.key(), life.kind);
                }
            }
        };
        if let Some(shard) = self.locked.shard(step) {
            scan(shard, &mut self.seen);
        } else if step < SHARDS {
            let locked = self.keyspace.hot.lock_shard(step);
            if let Some(shard) = locked.shard(step) {
                scan(shard, &mut self.seen);
            }
        }
        self.visits_left = self.visits_left.checked_sub(passed).ok_or(KeysError::TakesLong)?;
        Ok(visited)
    }
}
