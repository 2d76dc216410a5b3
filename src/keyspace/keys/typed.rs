//! Values by their kind: what a handler of strings, hashes or sets reads, and how a hash or a set is put back. A value of
//! another kind is refused before anything of it is read.

use tracing::warn;

use super::super::Keyspace;
use super::super::collection::{Hash, Set};
use super::super::slot::{Held, Slot};
use super::{Keys, KeysError, see};
use crate::clock::Expiry;
use crate::config::EventClass;
use crate::database::{Kind, StoredValue, Value};

/// A collection is written whole at each change: from this size on the log says so, since a hundred changes a second of one
/// cost the database some 25 MB a second.
const LARGE_BYTES: usize = 256 * 1024;

/// How often the log says so.
const LARGE_WARNING_PAUSE_MS: i64 = 60_000;

impl Keys<'_> {
    /// Whether the key is live; counts a hit or a miss, as Redis does of what is read and not of what a write looks at.
    pub fn exists(&mut self, key: &[u8]) -> bool {
        let exists = self.expiry(key).is_some();
        self.count_lookup(exists);
        exists
    }

    /// The kind of a live key's value, known without the value. For a command that reads: it counts, and tells of a miss.
    pub fn kind_to_read(&mut self, key: &[u8]) -> Option<Kind> {
        let kind = self.look(key).map(|life| life.kind);
        self.note_read(key, Ok(kind.is_some()));
        kind
    }

    /// The string at a live key.
    ///
    /// # Errors
    /// [`KeysError::WrongKind`], [`KeysError::Unreadable`], and [`KeysError::Cold`] if only the database has it.
    pub fn value(&mut self, key: &[u8]) -> Result<Option<Value>, KeysError> {
        self.of_kind(key, Kind::String)
    }

    /// The hash at a key, an empty one if there is none.
    ///
    /// # Errors
    /// As [`Keys::value`].
    pub fn hash(&mut self, key: &[u8]) -> Result<Hash, KeysError> {
        Ok(self.of_kind(key, Kind::Hash)?.map_or_else(Hash::default, Hash::of))
    }

    /// The set at a key, an empty one if there is none.
    ///
    /// # Errors
    /// As [`Keys::value`].
    pub fn set(&mut self, key: &[u8]) -> Result<Set, KeysError> {
        Ok(self.of_kind(key, Kind::Set)?.map_or_else(Set::default, Set::of))
    }

    /// The value of a live key, whatever its kind.
    ///
    /// # Errors
    /// [`KeysError::Unreadable`], and [`KeysError::Cold`] if only the database has it.
    pub fn any_value(&mut self, key: &[u8]) -> Result<Option<StoredValue>, KeysError> {
        match self.kind_and_value(key) {
            None => Ok(None),
            Some((Kind::Unreadable, _)) => Err(KeysError::Unreadable),
            Some((_, None)) => Err(KeysError::Cold),
            Some((kind, Some(value))) => Ok(Some((kind, value))),
        }
    }

    /// [`Keys::value`] for a command that reads: it counts a hit or a miss, and tells of a miss.
    ///
    /// # Errors
    /// As [`Keys::value`].
    pub fn value_to_read(&mut self, key: &[u8]) -> Result<Option<Value>, KeysError> {
        let value = self.value(key);
        self.note_read(key, value.as_ref().map(Option::is_some));
        value
    }

    /// [`Keys::hash`] for a command that reads: it counts a hit or a miss, and tells of a miss.
    ///
    /// # Errors
    /// As [`Keys::value`].
    pub fn hash_to_read(&mut self, key: &[u8]) -> Result<Hash, KeysError> {
        let hash = self.hash(key);
        self.note_read(key, hash.as_ref().map(|hash| !hash.is_empty()));
        hash
    }

    /// [`Keys::set`] for a command that reads: it counts a hit or a miss, and tells of a miss.
    ///
    /// # Errors
    /// As [`Keys::value`].
    pub fn set_to_read(&mut self, key: &[u8]) -> Result<Set, KeysError> {
        let set = self.set(key);
        self.note_read(key, set.as_ref().map(|set| !set.is_empty()));
        set
    }

    /// Puts a hash, with the end that the key has, and tells of `event`; an empty one deletes the key.
    ///
    /// # Errors
    /// [`KeysError::TooLarge`] and [`KeysError::DatabaseDown`]; nothing has changed then.
    pub fn put_hash(&mut self, key: &[u8], hash: &Hash, event: &'static str) -> Result<(), KeysError> {
        self.put_collection(key, Kind::Hash, hash.bytes(), hash.is_empty())?;
        self.notify_of_collection(EventClass::Hash, event, key, hash.is_empty());
        Ok(())
    }

    /// Puts a set, with the end that the key has, and tells of `event`; an empty one deletes the key.
    ///
    /// # Errors
    /// As [`Keys::put_hash`].
    pub fn put_set(&mut self, key: &[u8], set: &Set, event: &'static str) -> Result<(), KeysError> {
        self.put_collection(key, Kind::Set, set.bytes(), set.is_empty())?;
        self.notify_of_collection(EventClass::Set, event, key, set.is_empty());
        Ok(())
    }

    fn notify_of_collection(&mut self, class: EventClass, event: &'static str, key: &[u8], is_empty: bool) {
        self.notify(class, event, key);
        if is_empty {
            self.notify(EventClass::Generic, "del", key);
        }
    }

    /// What a live key holds, without the value if that is cold.
    fn kind_and_value(&mut self, key: &[u8]) -> Option<(Kind, Option<Value>)> {
        let spot = self.keyspace.hot.spot(self.database, key);
        let slot = self.locked.slot(spot, self.database, key);
        slot.inspect(|slot| see(slot, &mut self.seen));
        let life = slot.and_then(|slot| slot.live(self.now_ms))?;
        let Some(held) = life.value else { return Some((life.kind, None)) };
        self.keyspace.note_read(spot);
        let value = self.copies.share(life.incarnation, held, &self.keyspace.packing);
        if value.is_none() {
            self.keyspace.load_damaged(self.database, key);
        }
        Some((life.kind, value))
    }

    /// A command has read a key, unless it will be run again once the value is loaded.
    fn note_read(&mut self, key: &[u8], found: Result<bool, &KeysError>) {
        match found {
            Err(KeysError::Cold) => {}
            Ok(true) | Err(_) => self.count_lookup(true),
            Ok(false) => {
                self.count_lookup(false);
                self.notify_miss(key);
            }
        }
    }

    /// The memory that a live key takes, in bytes. Counts nothing.
    pub fn bytes_of(&mut self, key: &[u8]) -> Option<usize> {
        self.look(key)?;
        self.locked.slot(self.keyspace.hot.spot(self.database, key), self.database, key).map(Slot::bytes)
    }

    /// How often a value was read lately, where `maxmemory-policy` wants to know it; values that left memory start anew.
    #[must_use]
    pub fn reads_of(&self, key: &[u8]) -> Option<u8> {
        self.keyspace.counts_reads().then(|| self.keyspace.reads_of(self.keyspace.hot.spot(self.database, key)))
    }

    fn count_lookup(&self, hit: bool) {
        if self.repeats {
            return;
        }
        let metrics = &self.keyspace.metrics;
        if hit { metrics.keyspace_hits.increment() } else { metrics.keyspace_misses.increment() }
    }

    fn of_kind(&mut self, key: &[u8], kind: Kind) -> Result<Option<Value>, KeysError> {
        match self.kind_and_value(key) {
            None => Ok(None),
            Some((Kind::Unreadable, _)) => Err(KeysError::Unreadable),
            Some((other, _)) if other != kind => Err(KeysError::WrongKind),
            Some((_, value)) => value.map(Some).ok_or(KeysError::Cold),
        }
    }

    fn put_collection(&mut self, key: &[u8], kind: Kind, bytes: &Value, is_empty: bool) -> Result<(), KeysError> {
        if is_empty {
            return self.delete(key).map(|_was_there| ());
        }
        let keyspace = self.keyspace;
        let life = self.look(key);
        let before = life.as_ref().and_then(|life| life.value.filter(|_| life.kind == kind));
        let before_bytes = before.map_or(0, Held::value_bytes);
        let is_same = before.is_some_and(|held| held.is(bytes, &keyspace.packing));
        let expiry = life.map_or(Expiry::NEVER, |life| life.ends.expiry);
        // One that was allowed to grow larger may still shrink.
        if bytes.len() > self.keyspace.value_bytes_max().max(before_bytes) {
            return Err(KeysError::TooLarge);
        }
        if is_same {
            // There is nothing to commit, but for WATCH it is a change, as in Redis.
            self.keyspace.watches.changed(self.database, key);
            return Ok(());
        }
        self.keyspace.note_collection(bytes.len(), self.now_ms);
        self.put_as(key, kind, bytes, expiry)
    }
}

impl Keyspace {
    /// Says now and then that a large collection was changed. The key stays unnamed: it may be a secret.
    fn note_collection(&self, bytes: usize, now_ms: i64) {
        if bytes >= LARGE_BYTES && self.large_warning.is_due(now_ms, LARGE_WARNING_PAUSE_MS) {
            warn!(
                bytes,
                "a hash or set of this size was changed; each change writes all of it to the database, so keep collections small"
            );
        }
    }
}
