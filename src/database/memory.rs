//! The database that is none: records in a map, for trying Sojourn out and as the double of the tests, which can make it
//! fail or stand still. It must never be taken for a real one, so its warning is loud.

mod store;

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use self::store::{Store, commit};
use super::{
    Batch, BatchWork, Change, Committed, Database, DatabaseError, DatabaseSettings, Description, EXPIRED_ROWS_MAX,
    Home, Kind, Ownership, RecordId, SessionTables, StoredKey, StoredRecord, Value, Visit,
};
use crate::clock::Expiry;
use crate::telemetry::storage::{CountedUpTo, StorageFigures, TableFigures};

/// Records in this process's memory.
pub struct Memory {
    store: Arc<Mutex<Store>>,
    handle: u64,
    session_tables: SessionTables,
    identity: String,
    /// The epoch of this handle's ownership, 0 for none.
    epoch: Mutex<i64>,
    failures: Mutex<VecDeque<Option<DatabaseError>>>,
    /// How many commits may go on before the next one waits.
    passes: watch::Sender<u64>,
    commits: AtomicU64,
    away: AtomicBool,
    /// The key that no put is taken for.
    refused: Mutex<Option<Vec<u8>>>,
    locked: Mutex<HashSet<Vec<u8>>>,
    table_locked: AtomicBool,
    /// How many keys scans may visit in all before they wait, and before the database is away.
    visits: watch::Sender<u64>,
    visits_left: AtomicU64,
    visited: AtomicU64,
    loads_held: watch::Sender<bool>,
    loads: AtomicU64,
    /// Whether the next failure that a test asked for leaves it away.
    leaves: AtomicBool,
}

impl Memory {
    /// A new, empty database.
    #[must_use]
    pub fn open(settings: &DatabaseSettings) -> Self {
        Self::on(Arc::default(), settings.session_tables.clone(), settings.identity.clone())
    }

    /// A second handle on the same records, as another process would have it.
    #[must_use]
    pub fn twin(&self, identity: &str) -> Self {
        Self::on(Arc::clone(&self.store), self.session_tables.clone(), identity.to_owned())
    }

    fn on(store: Arc<Mutex<Store>>, session_tables: SessionTables, identity: String) -> Self {
        let handle = {
            let mut locked = store.lock();
            locked.handles += 1;
            locked.handles
        };
        Self {
            store,
            handle,
            session_tables,
            identity,
            epoch: Mutex::new(0),
            failures: Mutex::default(),
            passes: watch::Sender::new(u64::MAX),
            commits: AtomicU64::new(0),
            away: AtomicBool::new(false),
            refused: Mutex::default(),
            locked: Mutex::default(),
            table_locked: AtomicBool::new(false),
            visits: watch::Sender::new(u64::MAX),
            visits_left: AtomicU64::new(u64::MAX),
            visited: AtomicU64::new(0),
            loads_held: watch::Sender::new(false),
            loads: AtomicU64::new(0),
            leaves: AtomicBool::new(false),
        }
    }

    /// The next commit fails with this error. An outage that is in doubt commits all the same, since that is the case
    /// which is hard to get right; after an outage every commit fails until the next `acquire`. Repeatable: a queue.
    pub fn fail_next(&self, error: DatabaseError) {
        self.failures.lock().push_back(Some(error));
    }

    /// The next commit does not fail, so that the one after it can.
    pub fn spare_next(&self) {
        self.failures.lock().push_back(None);
    }

    /// The next commit fails with this error, and then the database is away: nobody can be asked what came of it.
    pub fn fail_and_go_away(&self, error: DatabaseError) {
        self.leaves.store(true, Ordering::SeqCst);
        self.fail_next(error);
    }

    /// While held, a commit waits before it does anything; so a test can look at what is in flight, or drop it.
    pub fn hold(&self, held: bool) {
        self.passes.send_replace(if held { 0 } else { u64::MAX });
    }

    /// While held, one commit goes on.
    pub fn let_one_pass(&self) {
        self.passes.send_replace(1);
    }

    /// While away, `acquire`, `scan` and `load` fail with an outage, and so do commits.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Every batch that puts this key or changes its end is refused, as a database refuses data that it cannot hold.
    pub fn refuse(&self, key: Option<&[u8]>) {
        *self.refused.lock() = key.map(<[u8]>::to_vec);
    }

    /// Locks these keys, as somebody does who has changed their records, or inserted them, in a transaction of his own; none
    /// frees all.
    pub fn lock(&self, keys: &[&[u8]]) {
        *self.locked.lock() = keys.iter().map(|key| key.to_vec()).collect();
    }

    /// Locks all records at once, as LOCK TABLE does.
    pub fn lock_table(&self, locked: bool) {
        self.table_locked.store(locked, Ordering::SeqCst);
    }

    /// Scans wait once they have visited so many keys in all; what they have not visited yet is as it was when they began.
    pub fn hold_scans_after(&self, visits: u64) {
        self.visits.send_replace(visits);
    }

    /// After so many more visits of a scan the database is away.
    pub fn go_away_after_visits(&self, count: u64) {
        self.visits_left.store(count, Ordering::SeqCst);
    }

    /// How many keys scans have visited.
    #[must_use]
    pub fn visited(&self) -> u64 {
        self.visited.load(Ordering::SeqCst)
    }

    /// While held, a load has read its records and does not answer: what it has read grows old.
    pub fn hold_loads(&self, held: bool) {
        self.loads_held.send_replace(held);
    }

    /// How many loads were asked for.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    /// Puts a record that no server knows of, as an operator does by SQL.
    pub fn put_by_hand(&self, id: RecordId, record: StoredRecord) {
        self.store.lock().records.insert(id, record);
    }

    /// Deletes every record of a key, as an operator does by SQL.
    pub fn delete_by_hand(&self, key: &[u8]) {
        self.store.lock().records.retain(|id, _| *id.key != *key);
    }

    /// What is stored of a key of database 0, in whichever table.
    #[must_use]
    pub fn stored(&self, key: &[u8]) -> Option<(Value, Expiry)> {
        let store = self.store.lock();
        let mut found = store.records.iter().filter(|(id, _)| id.database == 0 && *id.key == *key);
        found.next().map(|(_, record)| (Arc::clone(&record.value), record.expiry))
    }

    /// How many commits succeeded.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Ends the ownership of whoever has it, as a server on another machine would that took over.
    pub fn steal(&self, owner: &str) {
        let mut store = self.store.lock();
        store.epoch += 1;
        store.owner = Some((0, owner.to_owned()));
    }

    fn check_reachable(&self) -> Result<(), DatabaseError> {
        if self.away.load(Ordering::SeqCst) { Err(outage("set away by a test", false)) } else { Ok(()) }
    }

    fn refuses(&self, batch: &Batch) -> bool {
        let refused = self.refused.lock();
        let is_refused = |(id, change): &(RecordId, Change)| {
            !matches!(change, Change::Delete) && refused.as_ref().is_some_and(|refused| **refused == *id.key)
        };
        matches!(&batch.work, BatchWork::Changes(changes) if changes.iter().any(is_refused))
    }

    /// Whether a change of this batch would wait for a lock. An expiry or a delete of a record that is not there waits for nobody.
    fn meets_lock(&self, batch: &Batch) -> bool {
        let (store, locked) = (self.store.lock(), self.locked.lock());
        let all = self.table_locked.load(Ordering::SeqCst);
        let waits = |(id, change): &(RecordId, Change)| {
            all || (locked.contains(&*id.key)
                && (matches!(change, Change::Put { .. }) || store.records.contains_key(id)))
        };
        match &batch.work {
            BatchWork::Changes(changes) => changes.iter().any(waits),
            BatchWork::Clear { .. } => all || store.records.keys().any(|id| locked.contains(&*id.key)),
            BatchWork::Prune { .. } => all,
        }
    }

    /// The commit itself, and `failure` where the test wants it.
    fn apply(&self, epoch: i64, batch: &Batch) -> Result<Committed, DatabaseError> {
        self.check_reachable()?;
        if self.refuses(batch) {
            return Err(DatabaseError::Refused("a key that a test refuses".to_owned()));
        }
        if self.meets_lock(batch) {
            return Err(DatabaseError::Locked("a key that a test has locked".to_owned()));
        }
        let failure = self.failures.lock().pop_front().flatten();
        if failure.is_some() && self.leaves.swap(false, Ordering::SeqCst) {
            self.set_away(true);
        }
        match failure {
            Some(DatabaseError::Outage { message, in_doubt: true }) => {
                commit(&mut self.store.lock(), epoch, batch)?;
                Err(outage(&message, true))
            }
            Some(error) => Err(error),
            None => {
                let committed = commit(&mut self.store.lock(), epoch, batch)?;
                self.commits.fetch_add(1, Ordering::SeqCst);
                Ok(committed)
            }
        }
    }
}

#[async_trait]
impl Database for Memory {
    async fn acquire(&self, held: Option<i64>) -> Result<Ownership, DatabaseError> {
        self.check_reachable()?;
        let mut store = self.store.lock();
        match (held, &store.owner) {
            (Some(held), owner) if held != store.epoch => {
                let owner = owner.as_ref().map_or_else(String::new, |(_, name)| name.clone());
                return Err(DatabaseError::Fenced { owner });
            }
            (None, Some((handle, name))) if *handle != self.handle => {
                return Ok(Ownership::HeldBy { owner: name.clone() });
            }
            (Some(_) | None, Some(_) | None) => {}
        }
        store.epoch += 1;
        store.owner = Some((self.handle, self.identity.clone()));
        *self.epoch.lock() = store.epoch;
        Ok(Ownership::Owned { epoch: store.epoch, last_batch: store.last_batch })
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, DatabaseError> {
        // Taken, and put back only at a clean end, as the real ones do with their connection.
        let epoch = std::mem::take(&mut *self.epoch.lock());
        if epoch == 0 {
            return Err(outage("the connection was lost", false));
        }
        let mut passes = self.passes.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = passes.wait_for(|left| *left > 0).await;
        self.passes.send_if_modified(|left| {
            *left -= u64::from(*left != u64::MAX);
            false
        });
        let committed = self.apply(epoch, batch);
        if !matches!(committed, Err(DatabaseError::Outage { .. } | DatabaseError::Fenced { .. })) {
            *self.epoch.lock() = epoch;
        }
        committed
    }

    async fn locked(&self, changes: &[(RecordId, Change)]) -> Result<Vec<usize>, DatabaseError> {
        self.check_reachable()?;
        if self.table_locked.load(Ordering::SeqCst) {
            return Err(DatabaseError::Locked("a table that a test has locked".to_owned()));
        }
        let (store, locked) = (self.store.lock(), self.locked.lock());
        let is_locked = |id: &RecordId| store.records.contains_key(id) && locked.contains(&*id.key);
        let positions = changes.iter().enumerate().filter(|(_, (id, _))| is_locked(id)).map(|(position, _)| position);
        Ok(positions.collect())
    }

    async fn scan(&self, home: Home, now_ms: i64, visit: &mut Visit<'_>) -> Result<(), DatabaseError> {
        self.check_reachable()?;
        let is_live = |(id, record): &(&RecordId, &StoredRecord)| id.home == home && !record.expiry.is_past(now_ms);
        let key = |(id, record): (&RecordId, &StoredRecord)| (id.clone(), record.kind, record.expiry);
        let found: Vec<(RecordId, Kind, Expiry)> = self.store.lock().records.iter().filter(is_live).map(key).collect();
        let mut allowed = self.visits.subscribe();
        for (id, kind, expiry) in found {
            if self.visits_left.fetch_sub(1, Ordering::SeqCst) == 0 {
                self.visits_left.store(u64::MAX, Ordering::SeqCst);
                return Err(outage("away after so many visits", false));
            }
            // The sender lives as long as `self`, so the wait cannot fail.
            let _ = allowed.wait_for(|allowed| self.visited() < *allowed).await;
            self.check_reachable()?;
            self.visited.fetch_add(1, Ordering::SeqCst);
            if let ControlFlow::Break(()) = visit(StoredKey { database: id.database, key: &id.key, kind, expiry }) {
                break;
            }
        }
        Ok(())
    }

    async fn load(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredRecord>>, DatabaseError> {
        self.check_reachable()?;
        self.loads.fetch_add(1, Ordering::SeqCst);
        let found = {
            let store = self.store.lock();
            ids.iter().map(|id| store.records.get(id).cloned()).collect()
        };
        let mut held = self.loads_held.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = held.wait_for(|held| !held).await;
        self.check_reachable()?;
        Ok(found)
    }

    async fn survey(&self, now_ms: i64) -> Result<StorageFigures, DatabaseError> {
        self.check_reachable()?;
        let store = self.store.lock();
        let homes = self.session_tables.homes().map(|(home, table)| (home, table.table.as_str()));
        let figures = |(wanted, table): (Home, &str)| {
            let ended =
                |(id, record): &(&RecordId, &StoredRecord)| id.home == wanted && record.expiry < Expiry::at_ms(now_ms);
            let count = store.records.iter().filter(ended).count() as u64;
            TableFigures {
                table: table.to_owned(),
                expired: CountedUpTo::of(count, EXPIRED_ROWS_MAX),
                statistics: None,
            }
        };
        Ok(StorageFigures { tables: homes.chain([(Home::Keys, "sojourn_keys")]).map(figures).collect(), file: None })
    }

    async fn release(&self) {
        let mut store = self.store.lock();
        if store.owner.as_ref().is_some_and(|(handle, _)| *handle == self.handle) {
            store.owner = None;
        }
        *self.epoch.lock() = 0;
    }

    fn description(&self) -> Description {
        Description {
            kind: "memory",
            place: "memory://".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            is_encrypted: None,
            warnings: vec![
                "NOTHING SURVIVES: every session is lost when this process ends; set database-url to postgres://… or sqlite://…"
                    .to_owned(),
            ],
        }
    }
}

fn outage(message: &str, in_doubt: bool) -> DatabaseError {
    DatabaseError::Outage { message: message.to_owned(), in_doubt }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::database::contract::{keys, put, settings};

    fn batch(number: i64) -> Batch {
        Batch {
            number,
            work: BatchWork::Changes(vec![put(keys(0, b"a"), number.to_string().as_bytes(), Expiry::NEVER)]),
        }
    }

    async fn owned() -> Memory {
        let memory = Memory::open(&settings("memory://", "test:1"));
        memory.acquire(None).await.unwrap();
        memory
    }

    #[tokio::test]
    async fn the_next_commit_fails_as_it_was_told() {
        let memory = owned().await;
        memory.fail_next(DatabaseError::Refused("no".to_owned()));
        memory.fail_next(outage("doubt", true));
        assert!(matches!(memory.commit(&batch(1)).await, Err(DatabaseError::Refused(_))));
        assert!(matches!(memory.commit(&batch(2)).await, Err(DatabaseError::Outage { in_doubt: true, .. })));
        assert!(matches!(memory.commit(&batch(3)).await, Err(DatabaseError::Outage { in_doubt: false, .. })));
        // The one in doubt was committed, and only the reconnect says so.
        assert_eq!(memory.acquire(Some(1)).await.unwrap(), Ownership::Owned { epoch: 2, last_batch: 2 });
        let expected = StoredRecord { kind: Kind::String, value: Value::from(&b"2"[..]), expiry: Expiry::NEVER };
        assert_eq!(memory.load(&[keys(0, b"a")]).await.unwrap(), [Some(expected)]);
        assert_eq!(memory.commits(), 0);
    }

    #[tokio::test]
    async fn a_held_commit_waits_and_a_dropped_one_loses_the_connection() {
        let memory = owned().await;
        memory.hold(true);
        let first = batch(1);
        let (committed, ()) = tokio::join!(memory.commit(&first), async {
            tokio::task::yield_now().await;
            assert_eq!(memory.commits(), 0);
            memory.hold(false);
        });
        committed.unwrap();
        memory.hold(true);
        assert!(tokio::time::timeout(Duration::from_millis(1), memory.commit(&batch(2))).await.is_err());
        memory.hold(false);
        assert!(matches!(memory.commit(&batch(3)).await, Err(DatabaseError::Outage { in_doubt: false, .. })));
        assert_eq!(memory.acquire(Some(1)).await.unwrap(), Ownership::Owned { epoch: 2, last_batch: 1 });
    }
}
