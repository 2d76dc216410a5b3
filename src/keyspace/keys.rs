//! What a handler sees of the keyspace: its keys, locked and loaded, at one moment. Here a command decides and its
//! changes are queued under the same lock, so that the database gets them in the order in which they took effect.

mod draft;
mod error;
mod tell;
mod typed;
mod whole;

use std::sync::Arc;

use ahash::AHashMap;
use smallvec::SmallVec;

use super::Keyspace;
use super::copies::Copies;
use super::entry::{Ends, Entry, Life, Name};
use super::events::Notices;
use super::hot::{Locked, Spot};
use super::packed::Kept;
use super::slot::{Lived, Slot};
use crate::clock::Expiry;
use crate::config::{EventClass, EventClasses};
use crate::database::unit::{Outcome, Ticket, Unit, Work};
use crate::database::{Change, Home, Kind, RecordId, Value};

pub use draft::{Stamp, fresh_chance};
pub use error::KeysError;

/// The tickets that a reply waits for.
pub type Tickets = SmallVec<[Ticket; 1]>;

/// The keys of one command, or of one EXEC. What it changes is queued as one unit when it is finished.
#[derive(Debug)]
pub struct Keys<'a> {
    keyspace: &'a Keyspace,
    locked: Locked<'a>,
    now_ms: i64,
    database: u8,
    /// Asked once, under the locks: a command or an EXEC is refused as a whole, never from its middle on.
    refused: bool,
    changes: SmallVec<[(RecordId, Change); 1]>,
    /// Where the last put of each record stands among the changes of an EXEC; `None` outside.
    puts: Option<AHashMap<RecordId, usize>>,
    cleared: Option<Option<u8>>,
    ticket: Option<Ticket>,
    /// How many keys came and went, for the metrics: they are told of what is finished, which no draft ever is.
    created: u64,
    deleted: u64,
    seen: Tickets,
    chance: Option<u64>,
    /// How many keys a walk may yet visit.
    visits_left: usize,
    copies: Copies,
    /// Whether all that is done has been done on a draft, and its look-ups were counted there.
    repeats: bool,
    /// Asked once, as long as it may take: all events of an EXEC are told, or none of a class.
    event_classes: EventClasses,
    notices: Notices,
}

impl<'a> Keys<'a> {
    pub(super) fn new(keyspace: &'a Keyspace, locked: Locked<'a>, database: u8, now_ms: i64) -> Self {
        Self {
            keyspace,
            locked,
            now_ms,
            database,
            refused: keyspace.write_through.refuses_writes(),
            changes: SmallVec::new(),
            puts: None,
            cleared: None,
            ticket: None,
            created: 0,
            deleted: 0,
            seen: Tickets::new(),
            chance: None,
            visits_left: usize::MAX,
            copies: Copies::default(),
            repeats: false,
            event_classes: keyspace.events.classes(),
            notices: Notices::new(),
        }
    }

    /// The one clock reading of this command, Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The selected Redis database.
    #[must_use]
    pub fn database(&self) -> u8 {
        self.database
    }

    /// Selects another Redis database, for a SELECT inside of an EXEC.
    pub fn select(&mut self, database: u8) {
        self.database = database;
    }

    /// Whether the value of a live key must be loaded before it can be read.
    #[must_use]
    pub fn is_cold(&self, database: u8, key: &[u8]) -> bool {
        let spot = self.keyspace.hot.spot(database, key);
        let slot = self.locked.slot(spot, database, key);
        slot.and_then(|slot| slot.live(self.now_ms)).is_some_and(|life| life.value.is_none())
    }

    /// Whether changes that need the database are refused.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        self.refused
    }

    /// The expiry of a live key (`Expiry::NEVER` without TTL); `None` when there is no such key. Counts nothing.
    pub fn expiry(&mut self, key: &[u8]) -> Option<Expiry> {
        self.look(key).map(|life| life.ends.expiry)
    }

    /// Writes a key whole, as a string. A put of the same bytes that only lengthens the life is a touch.
    ///
    /// # Errors
    /// [`KeysError::DatabaseDown`]; nothing has changed then.
    pub fn put(&mut self, key: &[u8], value: &[u8], expiry: Expiry) -> Result<(), KeysError> {
        self.put_as(key, Kind::String, value, expiry)
    }

    /// The same with a value of any kind that can be read.
    ///
    /// # Errors
    /// As [`Keys::put`].
    pub fn put_as(&mut self, key: &[u8], kind: Kind, value: &[u8], expiry: Expiry) -> Result<(), KeysError> {
        let spot = self.keyspace.hot.spot(self.database, key);
        let now_ms = self.now_ms;
        let found = self.locked.slot(spot, self.database, key);
        let is_settled = found.is_some_and(|slot| slot.pending().is_none());
        let former = found.and_then(|slot| slot.live(now_ms));
        let is_touch = former.filter(|_| is_settled).is_some_and(|life| {
            expiry != Expiry::NEVER
                && life.ends.expiry <= expiry
                && life.kind == kind
                && life.value.is_some_and(|held| held.is(value, &self.keyspace.packing))
        });
        if is_touch {
            self.lengthen(spot, key, expiry)?;
        } else if expiry.is_past(now_ms) {
            if !self.delete(key)? {
                self.notify(EventClass::New, "new", key);
            }
        } else {
            let former = former.map(|life| (life.home, life.ends.recorded));
            self.check_writable()?;
            self.replace(spot, key, (kind, value), expiry, former);
        }
        self.keyspace.watches.changed(self.database, key);
        Ok(())
    }

    /// Changes the end of a live key; `false` when there is none. A time that is past deletes it.
    ///
    /// # Errors
    /// [`KeysError::DatabaseDown`]; nothing has changed then.
    pub fn set_expiry(&mut self, key: &[u8], expiry: Expiry) -> Result<bool, KeysError> {
        let Some(current) = self.expiry(key) else { return Ok(false) };
        if expiry.is_past(self.now_ms) {
            return self.delete(key);
        }
        let spot = self.keyspace.hot.spot(self.database, key);
        if expiry != Expiry::NEVER && current <= expiry {
            self.lengthen(spot, key, expiry)?;
        } else {
            self.check_writable()?;
            self.record_expiry(spot, key, expiry);
        }
        self.keyspace.watches.changed(self.database, key);
        Ok(true)
    }

    /// Deletes a live key; `false` when there is none.
    ///
    /// # Errors
    /// [`KeysError::DatabaseDown`]; nothing has changed then.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, KeysError> {
        if self.look(key).is_none() {
            return Ok(false);
        }
        self.check_writable()?;
        let spot = self.keyspace.hot.spot(self.database, key);
        let ticket = self.own_ticket();
        let database = self.database;
        let deleted = self.locked.change(spot, database, key, |name, entry| {
            entry.mark(&ticket);
            entry.life.take().map(|life| (record(name, life.home), life.ends.expiry))
        });
        if let Some((id, expiry)) = deleted.flatten() {
            self.keyspace.counts.shift(spot.shard, database, Some(expiry), None);
            self.deleted += 1;
            self.change(id, Change::Delete);
        }
        self.keyspace.watches.changed(database, key);
        Ok(true)
    }

    /// From now on all changes are those of one EXEC.
    pub fn begin_exec(&mut self) {
        self.puts = Some(AHashMap::new());
    }

    /// The reply waits for everything that is queued so far.
    pub fn see_all(&mut self) {
        if let Some(ticket) = self.keyspace.write_through.see_all() {
            note(&mut self.seen, &ticket);
        }
    }

    /// Queues what was changed as one unit and gives the locks back. Returns what the reply waits for.
    #[must_use]
    pub fn finish(mut self) -> Tickets {
        self.queue();
        self.hold_notices();
        std::mem::take(&mut self.seen)
    }

    fn queue(&mut self) {
        let Some(ticket) = self.ticket.take() else { return };
        let metrics = &self.keyspace.metrics;
        for (counter, keys) in [(&metrics.created_keys, self.created), (&metrics.deleted_keys, self.deleted)] {
            // Cores share the counters, and most writes replace what is there.
            if keys > 0 {
                counter.add(keys);
            }
        }
        let work = match self.cleared.take() {
            Some(database) => Work::Clear { database },
            None => Work::Changes(std::mem::take(&mut self.changes)),
        };
        let unit = Unit::new(ticket.clone(), work).having_seen(self.seen.clone());
        note(&mut self.seen, &ticket);
        self.keyspace.write_through.enqueue(unit);
    }

    /// The live life of a key; what is pending on it is seen.
    fn look(&mut self, key: &[u8]) -> Option<Lived<'_>> {
        let spot = self.keyspace.hot.spot(self.database, key);
        let slot = self.locked.slot(spot, self.database, key)?;
        see(slot, &mut self.seen);
        slot.live(self.now_ms)
    }

    fn check_writable(&self) -> Result<(), KeysError> {
        if self.refused { Err(KeysError::DatabaseDown) } else { Ok(()) }
    }

    /// Adds a change to the unit. An EXEC may change one record again and again, and each time all of a large value is new:
    /// of those that another one replaces no bytes are kept, since the unit commits whole.
    fn change(&mut self, id: RecordId, change: Change) {
        if let Some(puts) = &mut self.puts {
            let replaced = match &change {
                Change::Put { .. } => puts.insert(id.clone(), self.changes.len()),
                Change::Delete => puts.remove(&id),
                Change::Expire { .. } => None,
            };
            if let Some((_, Change::Put { value, .. })) = replaced.and_then(|at| self.changes.get_mut(at)) {
                *value = Value::default();
            }
        }
        self.changes.push((id, change));
    }

    fn own_ticket(&mut self) -> Ticket {
        self.ticket.get_or_insert_default().clone()
    }

    /// Puts a new incarnation in the place of whatever the key was: `former` is the table and the recorded end of its life.
    fn replace(
        &mut self,
        spot: Spot,
        key: &[u8],
        (kind, value): (Kind, &[u8]),
        expiry: Expiry,
        former: Option<(Home, Expiry)>,
    ) {
        let database = self.database;
        let ticket = self.own_ticket();
        let home = match kind {
            Kind::String => self.keyspace.session_tables.home(database, key, value),
            Kind::Hash | Kind::Set | Kind::Unreadable => Home::Keys,
        };
        let value: Value = Arc::from(value);
        let recorded = former.filter(|(table, _)| *table == home).map(|(_, recorded)| recorded);
        let recorded = recorded.filter(|recorded| self.may_stay(*recorded, expiry)).unwrap_or(expiry);
        if former.is_none() {
            self.notify_new(spot, key);
        }
        let incarnation = self.keyspace.next_incarnation();
        let ends = Ends { expiry, recorded, touch: None };
        let life = Life { kind, value: Some(Kept::Plain(Arc::clone(&value))), ends, home, incarnation };
        let change = Change::Put { kind, value, expiry: recorded, until: expiry };
        let (keyspace, now_ms) = (self.keyspace, self.now_ms);
        if self.locked.slot(spot, database, key).is_none() {
            let name = Name { database, key: Arc::from(key) };
            let mut entry = Entry { life: None, pending: None };
            entry.mark(&ticket);
            entry.life = Some(life);
            self.locked.insert(spot, name.clone(), entry);
            self.count_put(spot, None, expiry);
            return self.change(record(&name, home), change);
        }
        let replaced = self.locked.change(spot, database, key, |name, entry| {
            entry.mark(&ticket);
            let ended = entry.life.replace(life);
            if let (Some(life), true) = (&mut entry.life, recorded != expiry) {
                let touch = ended.as_ref().and_then(|ended| ended.ends.touch);
                life.ends = keyspace.put_off(|| name.clone(), incarnation, Ends { touch, ..ends }, now_ms);
            }
            (name.clone(), ended.map(|ended| (ended.home, ended.ends.expiry)))
        });
        let Some((name, ended)) = replaced else { return };
        self.count_put(spot, ended.map(|(_, end)| end), expiry);
        if let Some((former_home, _)) = ended.filter(|(former_home, _)| *former_home != home) {
            self.change(record(&name, former_home), Change::Delete);
        }
        self.change(record(&name, home), change);
    }

    /// A value was put under a key: it ends at `after`, and what was there, if anything, at `before`.
    fn count_put(&mut self, spot: Spot, before: Option<Expiry>, after: Expiry) {
        self.created += u64::from(before.is_none_or(|end| end.is_past(self.now_ms)));
        self.keyspace.counts.shift(spot.shard, self.database, before, Some(after));
    }

    /// Whether the record of a new value keeps its end, and the new one follows as a touch. The end is an indexed column;
    /// PostgreSQL writes a row much cheaper when no index changes (heap-only tuples: a quarter less of its time in batches
    /// of 64).
    fn may_stay(&self, recorded: Expiry, expiry: Expiry) -> bool {
        recorded <= expiry && self.keyspace.touches.may_lag(recorded, expiry, self.now_ms)
    }

    /// A touch: takes effect at once, and lags in the database only within its bound.
    fn lengthen(&mut self, spot: Spot, key: &[u8], expiry: Expiry) -> Result<(), KeysError> {
        let (keyspace, now_ms) = (self.keyspace, self.now_ms);
        let lags = self.locked.with_slot(spot, self.database, key, |slot| {
            let Some(Lived { ends, incarnation, .. }) = slot.life() else { return true };
            let lags = keyspace.touches.may_lag(ends.recorded, expiry, now_ms);
            if lags {
                slot.set_ends(keyspace.put_off(|| slot.name(), incarnation, Ends { expiry, ..ends }, now_ms));
            }
            lags
        });
        if lags == Some(false) {
            self.check_writable()?;
            self.record_expiry(spot, key, expiry);
        }
        Ok(())
    }

    /// A new end that commits before its reply.
    fn record_expiry(&mut self, spot: Spot, key: &[u8], expiry: Expiry) {
        let database = self.database;
        let ticket = self.own_ticket();
        let changed = self.locked.change(spot, database, key, |name, entry| {
            entry.mark(&ticket);
            let life = entry.life.as_mut()?;
            let before = life.ends.expiry;
            life.ends = Ends { expiry, recorded: expiry, ..life.ends };
            Some((record(name, life.home), before))
        });
        if let Some((id, before)) = changed.flatten() {
            self.keyspace.counts.shift(spot.shard, database, Some(before), Some(expiry));
            self.change(id, Change::Expire { expiry });
        }
    }
}

/// Notes what is pending on a key.
fn see(slot: &Slot, seen: &mut Tickets) {
    if let Some(pending) = slot.pending() {
        note(seen, &pending.ticket);
    }
}

/// Notes a ticket that is not committed yet, once.
fn note(seen: &mut Tickets, ticket: &Ticket) {
    if ticket.outcome() != Outcome::Committed && !seen.iter().any(|other| other.is(ticket)) {
        seen.push(ticket.clone());
    }
}

/// The record of a key that is known to live in a table.
#[must_use]
pub(super) fn record(name: &Name, home: Home) -> RecordId {
    RecordId { home, database: name.database, key: Arc::clone(&name.key) }
}
