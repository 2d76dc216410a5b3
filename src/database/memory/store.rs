//! The records of a memory database, and what a batch does to them: what a transaction does to the tables of a real one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Expiry;
use crate::database::{Batch, BatchWork, Change, Committed, DatabaseError, Home, RecordId, StoredRecord};

/// What every handle on one memory database shares.
#[derive(Default)]
pub(super) struct Store {
    pub records: BTreeMap<RecordId, StoredRecord>,
    pub epoch: i64,
    pub last_batch: i64,
    /// Who owns it: the handle's number and name.
    pub owner: Option<(u64, String)>,
    pub handles: u64,
}

/// One transaction of the owner since `epoch`.
pub(super) fn commit(store: &mut Store, epoch: i64, batch: &Batch) -> Result<Committed, DatabaseError> {
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
                let record = StoredRecord { kind: *kind, value: Arc::clone(value), expiry: *expiry };
                store.records.insert(id.clone(), record);
            }
            Change::Expire { expiry } => match store.records.get_mut(id) {
                Some(record) => record.expiry = *expiry,
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
    store.records.retain(|id, record| {
        if record.expiry >= Expiry::at_ms(before_ms) {
            return true;
        }
        let pruned = of_table.entry(id.home).or_default();
        *pruned += 1;
        *pruned > limit
    });
    (before - store.records.len()) as u64
}
