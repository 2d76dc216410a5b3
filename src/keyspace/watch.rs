//! WATCH: who must not EXEC because a key changed. A change marks its watchers under the lock of the key, so an EXEC
//! that holds its keys sees every change that came before it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::entry::Name;

/// What a client watches.
#[derive(Debug, Default)]
pub struct Watch {
    dirty: Arc<AtomicBool>,
    /// The watched keys, and whether each was live when it was watched.
    keys: BTreeMap<Name, bool>,
}

/// A watched key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched<'a> {
    /// Redis database number.
    pub database: u8,
    /// The key.
    pub key: &'a [u8],
    /// Whether it was live when WATCH saw it: one that expires meanwhile counts as changed.
    pub was_live: bool,
}

/// The most keys that one client watches: some 10 MiB, and a thousand times what a transaction reads. Redis has no limit, and
/// looks through all of them for each further one.
pub const WATCHED_MAX: usize = 64 * 1024;

/// The flags of those who watch a key; rarely more than one or two.
type Watchers = SmallVec<[Weak<AtomicBool>; 2]>;

/// All watched keys of all clients.
#[derive(Debug, Default)]
pub struct Watches {
    /// How many watches there are; zero lets every write pass without a lock.
    count: AtomicUsize,
    by_key: Mutex<BTreeMap<Name, Watchers>>,
}

impl Watch {
    /// The watched keys.
    pub fn keys(&self) -> impl Iterator<Item = Watched<'_>> {
        self.keys.iter().map(|(Name { database, key }, was_live)| Watched {
            database: *database,
            key,
            was_live: *was_live,
        })
    }

    /// Whether a watched key was changed.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// How many keys are watched.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Watches nothing any more.
    pub fn clear(&mut self) {
        // Marks that are under way go to the old flag, which nobody reads any more.
        *self = Self::default();
    }
}

impl Watches {
    /// Adds a key to what a client watches.
    pub fn add(&self, watch: &mut Watch, database: u8, key: &[u8], was_live: bool) {
        let name = Name { database, key: Arc::from(key) };
        let MapEntry::Vacant(unwatched) = watch.keys.entry(name.clone()) else { return };
        unwatched.insert(was_live);
        let mut by_key = self.by_key.lock();
        let watchers = by_key.entry(name).or_default();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(&watch.dirty));
        self.count.store(by_key.len(), Ordering::Release);
    }

    /// Marks all who watch this key.
    pub fn changed(&self, database: u8, key: &[u8]) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut by_key = self.by_key.lock();
        if let Some(watchers) = by_key.remove(&Name { database, key: Arc::from(key) }) {
            mark(&watchers);
        }
        self.count.store(by_key.len(), Ordering::Release);
    }

    /// Forgets the watches of clients that are done with them.
    pub fn sweep(&self) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut by_key = self.by_key.lock();
        by_key.retain(|_, watchers| {
            watchers.retain(|watcher| watcher.strong_count() > 0);
            !watchers.is_empty()
        });
        self.count.store(by_key.len(), Ordering::Release);
    }
}

fn mark(watchers: &[Weak<AtomicBool>]) {
    for watcher in watchers.iter().filter_map(Weak::upgrade) {
        watcher.store(true, Ordering::Release);
    }
}
