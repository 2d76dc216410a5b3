//! The database that is none: records in a map, for trying Sojourn out and as the double of the tests, which can make it
//! fail or stand still. It must never be taken for a real one, so its warning is loud.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Batch, BatchWork, Change, Committed, Database, DatabaseError, DatabaseSettings, Description, EXPIRED_ROWS_MAX,
    Home, Ownership, RecordId, SessionTables, StoredKey, StoredValue, Value,
};
use crate::clock::Expiry;
use crate::telemetry::storage::{CountedUpTo, StorageFigures, TableFigures};

/// What every handle on one memory database shares.
#[derive(Default)]
struct Store {
    records: BTreeMap<RecordId, (StoredValue, Expiry)>,
    epoch: i64,
    last_batch: i64,
    /// Who owns it: the handle's number and name.
    owner: Option<(u64, String)>,
    handles: u64,
}

/// Records in this process's memory.
pub struct Memory {
    store: Arc<Mutex<Store>>,
    handle: u64,
    session_tables: SessionTables,
    identity: String,
    /// The epoch of this handle's ownership, 0 for none.
    epoch: Mutex<i64>,
    failures: Mutex<VecDeque<DatabaseError>>,
    held: watch::Sender<bool>,
    commits: AtomicU64,
    away: AtomicBool,
    /// The key that no put is taken for, and how many more scans succeed before an outage.
    refused: Mutex<Option<Vec<u8>>>,
    locked: Mutex<HashSet<Vec<u8>>>,
    table_locked: AtomicBool,
    scans_left: AtomicU64,
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
            held: watch::Sender::new(false),
            commits: AtomicU64::new(0),
            away: AtomicBool::new(false),
            refused: Mutex::default(),
            locked: Mutex::default(),
            table_locked: AtomicBool::new(false),
            scans_left: AtomicU64::new(u64::MAX),
            leaves: AtomicBool::new(false),
        }
    }

    /// The next commit fails with this error. An outage that is in doubt commits all the same, since that is the case
    /// which is hard to get right; after an outage every commit fails until the next `acquire`. Repeatable: a queue.
    pub fn fail_next(&self, error: DatabaseError) {
        self.failures.lock().push_back(error);
    }

    /// The next commit fails with this error, and then the database is away: nobody can be asked what came of it.
    pub fn fail_and_go_away(&self, error: DatabaseError) {
        self.leaves.store(true, Ordering::SeqCst);
        self.fail_next(error);
    }

    /// While held, a commit waits before it does anything; so a test can look at what is in flight, or drop it.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
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

    /// After so many more scans the database is away.
    pub fn go_away_after_scans(&self, count: u64) {
        self.scans_left.store(count, Ordering::SeqCst);
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
        found.next().map(|(_, ((_, value), expiry))| (Arc::clone(value), *expiry))
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
        let failure = self.failures.lock().pop_front();
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
        let mut held = self.held.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = held.wait_for(|held| !held).await;
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

    async fn scan(
        &self,
        home: Home,
        after: Option<&StoredKey>,
        limit: u32,
        now_ms: i64,
    ) -> Result<Vec<StoredKey>, DatabaseError> {
        self.check_reachable()?;
        if self.scans_left.fetch_sub(1, Ordering::SeqCst) == 0 {
            self.scans_left.store(u64::MAX, Ordering::SeqCst);
            return Err(outage("away after so many scans", false));
        }
        let store = self.store.lock();
        let is_after = |id: &RecordId| after.is_none_or(|after| (id.database, &id.key) > (after.database, &after.key));
        let found = store
            .records
            .iter()
            .filter(|(id, (_, expiry))| id.home == home && is_after(id) && !expiry.is_past(now_ms))
            .take(limit as usize)
            .map(|(id, ((kind, _), expiry))| StoredKey {
                database: id.database,
                key: Arc::clone(&id.key),
                kind: *kind,
                expiry: *expiry,
            });
        Ok(found.collect())
    }

    async fn load(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredValue>>, DatabaseError> {
        self.check_reachable()?;
        let store = self.store.lock();
        Ok(ids.iter().map(|id| store.records.get(id).map(|(stored, _)| stored.clone())).collect())
    }

    async fn survey(&self, now_ms: i64) -> Result<StorageFigures, DatabaseError> {
        self.check_reachable()?;
        let store = self.store.lock();
        let homes = self.session_tables.homes().map(|(home, table)| (home, table.table.as_str()));
        let figures = |(wanted, table): (Home, &str)| {
            let ended = |(id, (_, end)): &(&RecordId, &(_, Expiry))| id.home == wanted && *end < Expiry::at_ms(now_ms);
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

fn commit(store: &mut Store, epoch: i64, batch: &Batch) -> Result<Committed, DatabaseError> {
    if store.epoch != epoch {
        let owner = store.owner.as_ref().map_or_else(String::new, |(_, name)| name.clone());
        return Err(DatabaseError::Fenced { owner });
    }
    let mut committed = Committed::default();
    match &batch.work {
        BatchWork::Changes(changes) => committed.missing = change(store, changes),
        BatchWork::Clear { database } => {
            store.records.retain(|id, _| database.is_some_and(|number| number != id.database))
        }
        BatchWork::Prune { before_ms, limit } => committed.pruned = prune(store, *before_ms, *limit),
    }
    store.last_batch = batch.number;
    Ok(committed)
}

/// Answers the positions of the expiries whose record is not there.
fn change(store: &mut Store, changes: &[(RecordId, Change)]) -> Vec<usize> {
    let mut missing = Vec::new();
    for (position, (id, change)) in changes.iter().enumerate() {
        match change {
            Change::Put { kind, value, expiry, .. } => {
                store.records.insert(id.clone(), ((*kind, Arc::clone(value)), *expiry));
            }
            Change::Expire { expiry } => match store.records.get_mut(id) {
                Some((_, end)) => *end = *expiry,
                None => missing.push(position),
            },
            Change::Delete => {
                store.records.remove(id);
            }
        }
    }
    missing
}

/// At most `limit` of each table, as the real databases do it.
fn prune(store: &mut Store, before_ms: i64, limit: u32) -> u64 {
    let mut of_table: BTreeMap<Home, u32> = BTreeMap::new();
    let before = store.records.len();
    store.records.retain(|id, (_, expiry)| {
        if *expiry >= Expiry::at_ms(before_ms) {
            return true;
        }
        let pruned = of_table.entry(id.home).or_default();
        *pruned += 1;
        *pruned > limit
    });
    (before - store.records.len()) as u64
}

fn outage(message: &str, in_doubt: bool) -> DatabaseError {
    DatabaseError::Outage { message: message.to_owned(), in_doubt }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::database::Kind;
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
        assert_eq!(memory.load(&[keys(0, b"a")]).await.unwrap(), [Some((Kind::String, Value::from(&b"2"[..])))]);
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
