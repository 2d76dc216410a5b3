//! From units to a batch and back: what one commit does, which units a failed one takes with it, and which records
//! turned out to be missing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::unit::{Unit, Work};
use super::{BatchWork, Change, Committed, RecordId};

/// The most value bytes of one commit, unless it is one larger unit: what PostgreSQL parses in a few hundred milliseconds.
pub(super) const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Some units: every later one that shares a key with them, or has seen one of them, is built on them, and so are those
/// built on it.
#[derive(Debug, Default)]
pub(super) struct Reach {
    keys: HashSet<(u8, Arc<[u8]>), ahash::RandomState>,
    tickets: HashSet<usize, ahash::RandomState>,
    cleared: bool,
    /// The number of the oldest that changes anything.
    oldest: Option<u64>,
}

impl Reach {
    /// Whether the unit is built on those; if so, its keys count from now on.
    pub(super) fn takes(&mut self, unit: &Unit) -> bool {
        let shares = match &unit.work {
            Work::Changes(changes) => {
                self.cleared || changes.iter().any(|(id, _)| self.keys.contains(&(id.database, Arc::clone(&id.key))))
            }
            Work::Clear { database } => self.cleared || self.has_key_of(*database),
            // A barrier changes nothing.
            Work::Barrier => self.cleared,
            Work::Sight => self.oldest.is_some_and(|oldest| oldest < unit.number),
        };
        let is_built_on = shares || unit.seen.iter().any(|seen| self.tickets.contains(&seen.identity()));
        if is_built_on {
            self.add(unit);
        }
        is_built_on
    }

    fn has_key_of(&self, database: Option<u8>) -> bool {
        self.keys.iter().any(|(number, _)| database.is_none_or(|database| database == *number))
    }

    /// Counts the keys of a unit.
    pub(super) fn add(&mut self, unit: &Unit) {
        self.tickets.insert(unit.ticket.identity());
        if matches!(unit.work, Work::Changes(_) | Work::Clear { .. }) {
            self.oldest = Some(self.oldest.map_or(unit.number, |oldest| oldest.min(unit.number)));
        }
        match &unit.work {
            Work::Changes(changes) => {
                self.keys.extend(changes.iter().map(|(id, _)| (id.database, Arc::clone(&id.key))));
            }
            Work::Clear { .. } => self.cleared = true,
            Work::Barrier | Work::Sight => {}
        }
    }
}

/// All changes of some units, each record once: a later change of a record replaces an earlier one, since they commit together.
pub(super) fn batch_work(units: &[Unit]) -> BatchWork {
    if let [Unit { work: Work::Clear { database }, .. }] = units {
        return BatchWork::Clear { database: *database };
    }
    debug_assert!(units.len() == 1 || !units.iter().any(Unit::stands_alone), "a clear or a barrier stands alone");
    let mut changes: Vec<(RecordId, Change)> = Vec::with_capacity(units.len());
    let mut positions: HashMap<&RecordId, usize, ahash::RandomState> = HashMap::default();
    for (id, change) in units.iter().flat_map(|unit| match &unit.work {
        Work::Changes(changes) => changes.as_slice(),
        Work::Clear { .. } | Work::Barrier | Work::Sight => &[],
    }) {
        match positions.get(id) {
            Some(&position) => replace(&mut changes[position].1, change),
            None => {
                positions.insert(id, changes.len());
                changes.push((id.clone(), change.clone()));
            }
        }
    }
    BatchWork::Changes(changes)
}

/// The later change wins; a new end of a record that is put in the same commit is the end of that put.
fn replace(earlier: &mut Change, later: &Change) {
    match (earlier, later) {
        (Change::Put { expiry, .. }, Change::Expire { expiry: end }) => *expiry = *end,
        (earlier, later) => *earlier = later.clone(),
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(super) struct Done {
    /// How many records it changed.
    pub changes: usize,
    /// The records that an expiry was to be set on and that somebody deleted by SQL.
    pub missing: Vec<RecordId>,
    /// Expired records that were deleted.
    pub pruned: u64,
}

impl Done {
    /// What the database said of this work.
    pub(super) fn of(work: &BatchWork, committed: &Committed) -> Self {
        let changes = match work {
            BatchWork::Changes(changes) => changes.as_slice(),
            BatchWork::Clear { .. } | BatchWork::Prune { .. } => &[],
        };
        let missing = committed.missing.iter().filter_map(|&position| changes.get(position));
        Self { changes: changes.len(), missing: missing.map(|(id, _)| id.clone()).collect(), pruned: committed.pruned }
    }
}
