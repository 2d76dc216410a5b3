//! What a handler sees of the keyspace: its keys, locked and loaded, at one moment. Here a command decides and its
//! changes are queued under the same lock, so that the database gets them in the order in which they took effect.

mod draft;
mod tell;
mod typed;
mod whole;

use std::sync::Arc;

use ahash::AHashMap;
use smallvec::SmallVec;

use super::Keyspace;
use super::entry::{Entry, Life, Name};
use super::events::Notices;
use super::hot::{Locked, Spot};
use crate::clock::Expiry;
use crate::config::{EventClass, EventClasses};
use crate::database::unit::{Outcome, Ticket, Unit, Work};
use crate::database::{Change, Home, Kind, RecordId, Value};

pub use draft::{Stamp, fresh_chance};

/// The tickets that a reply waits for.
pub type Tickets = SmallVec<[Ticket; 1]>;

/// Why the keyspace did not do what a handler asked; no handler mends these, it passes them on with `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The value is only in the database; the executor loads it and runs the command again.
    #[error("ERR the value is not loaded")]
    Cold,
    /// The database is away and the change needs it: nothing was applied.
    #[error(
        "MISCONF the database is not available: the write was not applied, and writes are refused until it is back"
    )]
    DatabaseDown,
    /// The key holds a value of another kind.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongKind,
    /// The record was damaged by hand, or a later version wrote it.
    #[error(
        "ERR the stored value is damaged or of a type that this version does not know; restore its row and restart, or DEL the key"
    )]
    Unreadable,
    /// A collection would outgrow what one request could set.
    #[error("ERR collection exceeds maximum allowed size (proto-max-bulk-len)")]
    TooLarge,
}

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
    seen: Tickets,
    chance: Option<u64>,
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
            seen: Tickets::new(),
            chance: None,
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
        let entry = self.locked.entry(spot, database, key);
        entry.and_then(|entry| entry.live(self.now_ms)).is_some_and(|life| life.value.is_none())
    }

    /// Whether changes that need the database are refused.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        self.refused
    }

    /// The expiry of a live key (`Expiry::NEVER` without TTL); `None` when there is no such key. Counts nothing.
    pub fn expiry(&mut self, key: &[u8]) -> Option<Expiry> {
        self.look(key).map(|life| life.expiry)
    }

    /// The memory that a live key takes, in bytes. Counts nothing.
    pub fn bytes_of(&mut self, key: &[u8]) -> Option<usize> {
        self.look(key)?;
        let entry = self.locked.entry(self.keyspace.hot.spot(self.database, key), self.database, key)?;
        Some(entry.bytes(key.len()))
    }

    /// Whether the key is live; counts a hit or a miss.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        let exists = self.expiry(key).is_some();
        self.keyspace.count_lookup(exists);
        exists
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
        let found = self.locked.entry(spot, self.database, key);
        let is_settled = found.is_some_and(|entry| entry.pending.is_none());
        let former = found.and_then(|entry| entry.live(now_ms));
        let is_touch = former.filter(|_| is_settled).is_some_and(|life| {
            expiry != Expiry::NEVER
                && life.expiry <= expiry
                && life.kind == kind
                && life.value.as_deref().is_some_and(|stored| stored == value)
        });
        if is_touch {
            self.lengthen(spot, key, expiry)?;
        } else if expiry.is_past(now_ms) {
            if !self.delete(key)? {
                self.notify(EventClass::New, "new", key);
            }
        } else {
            let former = former.map(|life| (life.home, life.recorded));
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
        if let Some((name, entry)) = self.locked.entry_mut(spot, database, key) {
            entry.mark(&ticket);
            if let Some(life) = entry.life.take() {
                let id = RecordId { home: life.home, database, key: Arc::clone(&name.key) };
                self.keyspace.counts.shift(spot.shard, database, Some(&life), None);
                self.change(id, Change::Delete);
            }
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
        let work = match self.cleared.take() {
            Some(database) => Work::Clear { database },
            None => Work::Changes(std::mem::take(&mut self.changes)),
        };
        let unit = Unit::new(ticket.clone(), work).having_seen(self.seen.clone());
        note(&mut self.seen, &ticket);
        self.keyspace.write_through.enqueue(unit);
    }

    /// The live life of a key; what is pending on it is seen.
    fn look(&mut self, key: &[u8]) -> Option<&Life> {
        let spot = self.keyspace.hot.spot(self.database, key);
        let entry = self.locked.entry(spot, self.database, key)?;
        if let Some(pending) = &entry.pending {
            note(&mut self.seen, &pending.ticket);
        }
        entry.live(self.now_ms)
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
        let life = Life { kind, value: Some(Arc::clone(&value)), expiry, recorded, home, incarnation, touch: None };
        let change = Change::Put { kind, value, expiry: recorded, until: expiry };
        if let Some((name, entry)) = self.locked.entry_mut(spot, database, key) {
            let shared_key = Arc::clone(&name.key);
            entry.mark(&ticket);
            self.keyspace.counts.shift(spot.shard, database, entry.life.as_ref(), Some(&life));
            let ended = entry.life.replace(life);
            if let (Some(life), true) = (&mut entry.life, recorded != expiry) {
                life.touch = ended.as_ref().and_then(|ended| ended.touch);
                self.keyspace.put_off(name, life, self.now_ms);
            }
            if let Some(ended) = ended.filter(|ended| ended.home != home) {
                let id = RecordId { home: ended.home, database, key: Arc::clone(&shared_key) };
                self.change(id, Change::Delete);
            }
            self.change(RecordId { home, database, key: shared_key }, change);
        } else {
            let shared_key: Arc<[u8]> = Arc::from(key);
            let mut entry = Entry { life: None, pending: None };
            entry.mark(&ticket);
            self.keyspace.counts.shift(spot.shard, database, None, Some(&life));
            entry.life = Some(life);
            let name = Name { database, key: Arc::clone(&shared_key) };
            self.locked.insert(spot, name, entry);
            self.change(RecordId { home, database, key: shared_key }, change);
        }
    }

    /// Whether the record of a new value keeps its end, and the new one follows as a touch. The end is an indexed column;
    /// PostgreSQL writes a row much cheaper when no index changes (heap-only tuples: a quarter less of its time in batches
    /// of 64).
    fn may_stay(&self, recorded: Expiry, expiry: Expiry) -> bool {
        recorded <= expiry && self.keyspace.touches.may_lag(recorded, expiry, self.now_ms)
    }

    /// A touch: takes effect at once, and lags in the database only within its bound.
    fn lengthen(&mut self, spot: Spot, key: &[u8], expiry: Expiry) -> Result<(), KeysError> {
        let (database, now_ms) = (self.database, self.now_ms);
        let Some((name, entry)) = self.locked.entry_mut(spot, database, key) else { return Ok(()) };
        let Some(life) = &mut entry.life else { return Ok(()) };
        if self.keyspace.touches.may_lag(life.recorded, expiry, now_ms) {
            life.expiry = expiry;
            self.keyspace.put_off(name, life, now_ms);
            return Ok(());
        }
        self.check_writable()?;
        self.record_expiry(spot, key, expiry);
        Ok(())
    }

    /// A new end that commits before its reply.
    fn record_expiry(&mut self, spot: Spot, key: &[u8], expiry: Expiry) {
        let database = self.database;
        let ticket = self.own_ticket();
        let Some((name, entry)) = self.locked.entry_mut(spot, database, key) else { return };
        entry.mark(&ticket);
        let Some(life) = &mut entry.life else { return };
        let before = life.clone();
        life.expiry = expiry;
        life.recorded = expiry;
        self.keyspace.counts.shift(spot.shard, database, Some(&before), Some(life));
        let id = RecordId { home: life.home, database, key: Arc::clone(&name.key) };
        self.change(id, Change::Expire { expiry });
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
