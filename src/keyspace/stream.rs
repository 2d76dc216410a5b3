//! The keys of the database at the start: they stream into the table while commands run already. A row that was read never
//! overwrites what a command has made of its key since, and never brings back a key that has left the table.

use std::ops::ControlFlow;
use std::sync::Arc;

use tracing::{info, warn};

use super::Keyspace;
use super::entry::{Ends, Entry, Life, Name};
use super::hot::Locked;
use super::known::Round;
use super::packed::Kept;
use crate::clock::Expiry;
use crate::database::unit::{Ticket, Unit, Work};
use crate::database::{Change, Database, DatabaseError, Home, Kind, RecordId, StoredKey, Value};
use crate::telemetry::metrics::DATABASES_MAX;

impl Keyspace {
    /// Whether all keys are known: one that is not in memory does not exist.
    #[inline]
    #[must_use]
    pub fn knows_all(&self) -> bool {
        self.hot.known.has_all()
    }

    /// Waits until all keys are known.
    pub async fn wait_for_all(&self) {
        self.hot.known.wait_for_all().await;
    }

    /// Those of these keys of which it is not known yet whether they exist. What is known stays so until it is in the table: a
    /// command that finds no such key there afterwards may say that there is none.
    #[must_use]
    pub fn unknown(&self, keys: &[(u8, &[u8])]) -> Vec<(u8, Vec<u8>)> {
        if self.knows_all() {
            return Vec::new();
        }
        let is_unknown = |(database, key): &&(u8, &[u8])| {
            let spot = self.hot.spot(*database, key);
            !self.hot.lock(&[spot], super::hot::Access::Read).knows(spot, *database, key)
        };
        keys.iter().filter(is_unknown).map(|(database, key)| (*database, key.to_vec())).collect()
    }

    /// Reads all keys of the database; values stay cold. Commands may run meanwhile. Returns how many sessions (keys of
    /// session tables) there are; `None` if the server stops before all are known.
    ///
    /// # Errors
    /// What the database says; the caller tries again.
    pub async fn read_keys(&self, database: &dyn Database) -> Result<Option<usize>, DatabaseError> {
        loop {
            let round = self.hot.known.begin();
            let mut sessions = 0;
            // If two tables hold a key, the one that is read first wins.
            for home in self.session_tables.homes().map(|(home, _)| home).chain([Home::Keys]) {
                let mut visited = 0;
                let mut visit = |stored: StoredKey<'_>| {
                    visited += 1;
                    self.visit(stored, home, round)
                };
                database.scan(home, self.clock.now_ms(), &mut visit).await?;
                sessions += if home == Home::Keys { 0 } else { visited };
            }
            if self.write_through.is_stopping() {
                return Ok(None);
            }
            if self.hot.known.finish(round) {
                return Ok(Some(sessions));
            }
            info!("more keys were deleted than are remembered while all were read: they are read anew");
        }
    }

    fn visit(&self, stored: StoredKey<'_>, home: Home, round: Round) -> ControlFlow<()> {
        if usize::from(stored.database) >= DATABASES_MAX {
            warn!(database = stored.database, "a record of a database that no client can select is left alone");
            return ControlFlow::Continue(());
        }
        if self.write_through.is_stopping() || self.hot.known.round() != round {
            return ControlFlow::Break(());
        }
        self.add_stored(stored, home, round);
        ControlFlow::Continue(())
    }

    /// Adds a key that a table holds, if nothing is known of it.
    fn add_stored(&self, stored: StoredKey<'_>, home: Home, round: Round) {
        let StoredKey { database, key, kind, expiry } = stored;
        let spot = self.hot.spot(database, key);
        let mut locked = self.hot.lock_shard(spot.shard);
        let found = locked.slot(spot, database, key);
        if found.is_none() && !self.hot.known.is_absent(spot, database, key) {
            // In this order, since whoever forgets marks counts up first. In another round nothing is known of the key: the
            // reading that begins anew finds out whether it exists.
            if self.hot.known.round() == round {
                let name = Name { database, key: Arc::from(key) };
                self.add(&mut locked, name, (kind, None), expiry, home);
            }
            return;
        }
        let is_elsewhere = match found.and_then(super::slot::Slot::life) {
            Some(life) => life.home != home,
            // Where it was deleted is not known; a table that was read before this one may have held it.
            None => self.session_tables.possible_homes(database, key).next() != Some(home),
        };
        if is_elsewhere {
            self.delete_record(RecordId { home, database, key: Arc::from(key) });
        }
    }

    /// Adds a live key of which nothing is known, under the lock of its shard.
    pub(super) fn add(
        &self,
        locked: &mut Locked<'_>,
        name: Name,
        (kind, value): (Kind, Option<Value>),
        expiry: Expiry,
        home: Home,
    ) {
        let spot = self.hot.spot(name.database, &name.key);
        let incarnation = self.next_incarnation();
        let life = Life { kind, value: value.map(Kept::Plain), ends: Ends::at(expiry), home, incarnation };
        self.counts.shift(spot.shard, name.database, None, Some(expiry));
        locked.insert(spot, name, Entry { life: Some(life), pending: None });
    }

    /// Deletes a record of a key that lives in another table, or nowhere; under the lock of its shard, so that whatever is
    /// written to that table later comes after it.
    pub(super) fn delete_record(&self, id: RecordId) {
        let work = Work::Changes([(id, Change::Delete)].into_iter().collect());
        self.write_through.enqueue(Unit::new(Ticket::default(), work));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::database::SessionTables;
    use crate::database::write_through::WriteThrough;
    use crate::telemetry::metrics::Metrics;

    fn keyspace() -> Arc<Keyspace> {
        let metrics = Arc::new(Metrics::new(&[]));
        let through = Arc::new(WriteThrough::new(false, Arc::clone(&metrics)));
        Keyspace::new(SessionTables::default(), Duration::ZERO, Clock::manual(0), through, metrics).0
    }

    /// A row of `sojourn_keys` whose key could live in a session table, and the round in which it was read.
    fn add(keyspace: &Keyspace, round: Round) {
        let stored = StoredKey { database: 0, key: b"sess:a", kind: Kind::String, expiry: Expiry::NEVER };
        keyspace.add_stored(stored, Home::Keys, round);
    }

    #[test]
    fn a_row_that_comes_when_the_reading_must_begin_anew_is_left_alone() {
        let keyspace = keyspace();
        let round = keyspace.hot.known.begin();
        // Another thread has just deleted one key more than are remembered.
        keyspace.hot.known.begin();
        add(&keyspace, round);
        assert_eq!((keyspace.write_through.backlog(), keyspace.counts.keys(0)), (0, 0), "nothing is known of its key");
        add(&keyspace, keyspace.hot.known.round());
        assert_eq!((keyspace.write_through.backlog(), keyspace.counts.keys(0)), (0, 1));
    }

    #[test]
    fn a_row_that_another_table_may_have_held_goes_with_its_key() {
        let keyspace = keyspace();
        let round = keyspace.hot.known.begin();
        keyspace.hot.known.note_gone(keyspace.hot.spot(0, b"sess:a"), 0, b"sess:a");
        add(&keyspace, round);
        assert_eq!((keyspace.write_through.backlog(), keyspace.counts.keys(0)), (1, 0));
    }
}
