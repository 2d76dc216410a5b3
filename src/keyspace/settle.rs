//! What the writer tells the keyspace: a unit is committed, or taken back. An entry is settled only by the unit that it
//! waits for; a later one goes on waiting.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Keyspace;
use super::entry::{Ends, Entry, Name, apply};
use super::hot::{Locked, SHARDS};
use super::keys::record;
use super::slot::{Lived, Slot};
use crate::database::unit::{Ticket, Unit, Work};
use crate::database::write_through::{DueTouches, Memory, TakenBack, TouchWrite};
use crate::database::{Change, RecordId};

impl Memory for Keyspace {
    fn committed(&self, unit: &Unit, missing: &[RecordId]) {
        match &unit.work {
            Work::Changes(changes) => {
                for (id, change) in changes {
                    self.settle_change(&unit.ticket, id, change, missing);
                }
            }
            Work::Clear { database } => self.settle_clear(&unit.ticket, *database),
            Work::Barrier | Work::Sight => {}
        }
    }

    fn take_back(&self, pick: &mut dyn FnMut() -> TakenBack) {
        let mut locked = self.hot.lock_all();
        let TakenBack { failed, standing } = pick();
        let mut reverted = HashSet::new();
        for unit in &failed {
            match &unit.work {
                Work::Changes(changes) => {
                    for (id, _) in changes {
                        self.revert(&mut locked, id, &mut reverted);
                    }
                }
                Work::Clear { database } => self.revert_clear(&mut locked, *database, &mut reverted),
                Work::Barrier | Work::Sight => {}
            }
        }
        for unit in &standing {
            self.restore(&mut locked, unit, &reverted);
        }
    }

    fn touches_waiting(&self) -> usize {
        self.touches.count()
    }

    fn due_touches(&self, now_ms: i64, limit: usize) -> DueTouches {
        let taken = self.touches.take(now_ms, limit);
        let mut due = DueTouches { taken: taken.len(), ..DueTouches::default() };
        // A key whose unit was taken back may stand in the queue twice.
        let mut known = HashSet::new();
        for (name, queued) in taken {
            if !known.contains(&name) && self.due_touch(&name, queued, &mut due) {
                known.insert(name);
            }
        }
        due
    }

    fn touches_committed(&self, touches: &[TouchWrite], missing: &[RecordId]) {
        for touch in touches {
            let id = &touch.id;
            if missing.contains(id) {
                self.forget(id, touch.incarnation);
                continue;
            }
            self.with_slot(id, |slot| {
                if slot.pending().is_some() {
                    slot.change(|_, entry| {
                        let committed = entry.committed_mut().filter(|life| life.incarnation == touch.incarnation);
                        committed.into_iter().for_each(|life| life.ends.recorded = touch.expiry);
                    });
                } else if let Some(life) = slot.life().filter(|life| life.incarnation == touch.incarnation) {
                    slot.set_ends(Ends { recorded: touch.expiry, ..life.ends });
                }
            });
        }
    }

    fn touches_failed(&self, touches: &[TouchWrite], pause: Duration) {
        let due_ms = self.clock.now_ms().saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        for touch in touches {
            self.with_slot(&touch.id, |slot| {
                let life = slot.life().filter(|life| life.incarnation == touch.incarnation);
                if let Some(ends) = life.map(|life| life.ends).filter(|ends| ends.touch.is_none()) {
                    slot.set_ends(Ends { touch: Some(touch.incarnation), ..ends });
                    let name = Name { database: touch.id.database, key: Arc::clone(&touch.id.key) };
                    self.touches.add(name, touch.incarnation, due_ms);
                }
            });
        }
    }
}

impl Keyspace {
    /// One committed change: the entry is done if it waits for nothing newer.
    fn settle_change(&self, ticket: &Ticket, id: &RecordId, change: &Change, missing: &[RecordId]) {
        let gone = matches!(change, Change::Expire { .. }) && missing.contains(id);
        let incarnation = self.next_incarnation();
        let spot = self.hot.spot(id.database, &id.key);
        let mut locked = self.hot.lock_shard(spot.shard);
        let settle = |entry: &mut Entry| match &mut entry.pending {
            Some(pending) if !pending.ticket.is(ticket) => {
                apply(&mut pending.committed, id, change, incarnation);
                if gone {
                    pending.committed = None;
                }
            }
            None => {}
            Some(_) => {
                entry.pending = None;
                if gone {
                    self.counts.shift(spot.shard, id.database, entry.end(), None);
                    self.watches.changed(id.database, &id.key);
                    entry.life = None;
                }
            }
        };
        locked.with_slot(spot, id.database, &id.key, |slot| {
            // One that is settled already stays as small as it is.
            if slot.pending().is_some() {
                slot.change(|_, entry| settle(entry));
            }
        });
    }

    fn settle_clear(&self, ticket: &Ticket, database: Option<u8>) {
        for number in 0..SHARDS {
            let mut locked = self.hot.lock_shard(number);
            locked.retain(number, |slot| {
                if is_among(slot, database) && slot.pending().is_some() {
                    slot.change(|_, entry| match &mut entry.pending {
                        Some(pending) if !pending.ticket.is(ticket) => pending.committed = None,
                        Some(_) | None => entry.pending = None,
                    });
                }
                !slot.is_empty()
            });
        }
    }

    fn revert(&self, locked: &mut Locked<'_>, id: &RecordId, reverted: &mut HashSet<Name>) {
        let spot = self.hot.spot(id.database, &id.key);
        let name = locked.change(spot, id.database, &id.key, |name, entry| {
            self.revert_entry(spot.shard, name, entry);
            name.clone()
        });
        let Some(name) = name else { return };
        self.watches.changed(name.database, &name.key);
        reverted.insert(name);
    }

    fn revert_clear(&self, locked: &mut Locked<'_>, database: Option<u8>, reverted: &mut HashSet<Name>) {
        for number in 0..SHARDS {
            locked.retain(number, |slot| {
                if is_among(slot, database) && slot.pending().is_some() {
                    slot.change(|name, entry| self.revert_entry(number, name, entry));
                    self.watches.changed(slot.database(), slot.key());
                    reverted.insert(slot.name());
                }
                !slot.is_empty()
            });
        }
    }

    /// Back to the last committed life; a touch that it had waiting is queued again.
    fn revert_entry(&self, shard: usize, name: &Name, entry: &mut Entry) {
        let before = entry.end();
        entry.revert();
        self.counts.shift(shard, name.database, before, entry.end());
        self.queue_touch(name.clone(), entry);
    }

    /// A touch that a life has which is the newest one again.
    fn queue_touch(&self, name: Name, entry: &Entry) {
        if let Some(queued) = entry.life.as_ref().and_then(|life| life.ends.touch) {
            self.touches.add(name, queued, self.clock.now_ms());
        }
    }

    /// A reverted entry keeps what an older unit made of it that is not committed, but has not failed either.
    fn restore(&self, locked: &mut Locked<'_>, unit: &Unit, reverted: &HashSet<Name>) {
        match &unit.work {
            Work::Changes(changes) => {
                for (id, change) in changes {
                    let name = Name { database: id.database, key: id.key.clone() };
                    if reverted.contains(&name) {
                        self.restore_change(locked, &unit.ticket, name, id, change);
                    }
                }
            }
            Work::Clear { database } => {
                for name in reverted.iter().filter(|name| database.is_none_or(|database| database == name.database)) {
                    self.restore_clear(locked, &unit.ticket, name);
                }
            }
            Work::Barrier | Work::Sight => {}
        }
    }

    fn restore_change(&self, locked: &mut Locked<'_>, ticket: &Ticket, name: Name, id: &RecordId, change: &Change) {
        let spot = self.hot.spot(id.database, &id.key);
        if locked.slot(spot, id.database, &id.key).is_none() {
            locked.insert(spot, name, Entry { life: None, pending: None });
        }
        let incarnation = self.next_incarnation();
        locked.change(spot, id.database, &id.key, |name, entry| {
            entry.mark(ticket);
            let before = entry.end();
            apply(&mut entry.life, id, change, incarnation);
            self.counts.shift(spot.shard, id.database, before, entry.end());
            self.queue_touch(name.clone(), entry);
        });
    }

    fn restore_clear(&self, locked: &mut Locked<'_>, ticket: &Ticket, name: &Name) {
        let spot = self.hot.spot(name.database, &name.key);
        locked.change(spot, name.database, &name.key, |_, entry| {
            entry.mark(ticket);
            self.counts.shift(spot.shard, name.database, entry.end(), None);
            entry.life = None;
        });
    }

    /// Adds what is to be written for a key of the touch queue, if anything. Answers whether there is.
    fn due_touch(&self, name: &Name, queued: u64, due: &mut DueTouches) -> bool {
        let now_ms = self.clock.now_ms();
        let spot = self.hot.spot(name.database, &name.key);
        let mut locked = self.hot.lock_shard(spot.shard);
        let is_due = locked.with_slot(spot, name.database, &name.key, |slot| {
            let Some(Lived { ends, home, incarnation, .. }) = slot.life() else { return false };
            if ends.touch != Some(queued) {
                return false;
            }
            let is_needless = ends.recorded == ends.expiry || ends.expiry.is_past(now_ms);
            if !is_needless && slot.pending().is_some() {
                // Its unit goes first; the touch follows with the end of that moment.
                self.touches.add(name.clone(), queued, now_ms);
                due.postponed += 1;
                return false;
            }
            slot.set_ends(Ends { touch: None, ..ends });
            if !is_needless {
                due.writes.push(TouchWrite { id: record(name, home), incarnation, expiry: ends.expiry });
            }
            !is_needless
        });
        is_due.unwrap_or(false)
    }

    /// Somebody deleted the record by SQL: the key is gone, unless it has been written anew since.
    pub(super) fn forget(&self, id: &RecordId, incarnation: u64) {
        let spot = self.hot.spot(id.database, &id.key);
        let mut locked = self.hot.lock_shard(spot.shard);
        locked.change(spot, id.database, &id.key, |_, entry| {
            let life = match &mut entry.pending {
                Some(pending) => &mut pending.committed,
                None => &mut entry.life,
            };
            let Some(gone) = life.take_if(|life| life.incarnation == incarnation) else { return };
            if entry.pending.is_none() {
                self.counts.shift(spot.shard, id.database, Some(gone.ends.expiry), None);
                self.watches.changed(id.database, &id.key);
            }
        });
    }

    fn with_slot(&self, id: &RecordId, change: impl FnOnce(&mut Slot)) {
        let spot = self.hot.spot(id.database, &id.key);
        let mut locked = self.hot.lock_shard(spot.shard);
        locked.with_slot(spot, id.database, &id.key, change);
    }
}

fn is_among(slot: &Slot, database: Option<u8>) -> bool {
    database.is_none_or(|database| database == slot.database())
}
