//! The table of all keys: a DashMap with a fixed, large number of shards. A shard is what a command locks, what a SCAN
//! step visits and what a resize moves, so all three stay short. Locks are always taken in the order of the shards.

use std::sync::atomic::{AtomicBool, Ordering};

use ahash::RandomState;
use dashmap::DashMap;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::account::{Account, Holding};
use super::entry::{Entry, Name};
use super::known::Known;
use super::slot::Slot;

/// How many shards: 5 000 000 keys give 1 200 a shard, whose resize takes a tenth of a millisecond; a SCAN cursor counts them, far
/// below the 2^31 that clients can parse; an empty table costs half a MiB. With more of them each table is so small that the
/// allocator cannot use elsewhere what it leaves when it grows: 16 384 shards take 10 bytes more of each of 1 000 000 keys.
pub const SHARDS: usize = 4_096;

/// A table that is filled to less than one in so many places is made smaller when it is gone through.
const SPARE_SHARE: usize = 8;

/// A shard's content.
pub type Shard = HashTable<(Slot, ())>;
type ReadGuard<'a> = lock_api::RwLockReadGuard<'a, dashmap::RawRwLock, Shard>;
type WriteGuard<'a> = lock_api::RwLockWriteGuard<'a, dashmap::RawRwLock, Shard>;

/// All keys.
#[derive(Debug)]
pub struct Hot {
    map: DashMap<Slot, (), RandomState>,
    account: Account,
    /// Whether a key that is not in the table may exist all the same.
    pub(super) known: Known,
    /// Which shards may have values that the sweep has not looked at.
    changed: Box<[AtomicBool]>,
}

/// Where a key is: its hash and its shard.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    hash: u64,
    /// The shard's number.
    pub shard: usize,
}

impl Spot {
    /// The hash of the key.
    #[must_use]
    pub fn hash(self) -> u64 {
        self.hash
    }
}

/// How a command locks its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Others may read at the same time.
    Read,
    /// Nobody else.
    Write,
}

#[derive(Debug)]
enum Guard<'a> {
    Read(ReadGuard<'a>),
    Write(WriteGuard<'a>),
}

/// The locked shards of one command, in rising order.
#[derive(Debug)]
pub struct Locked<'a> {
    hot: &'a Hot,
    guards: SmallVec<[(usize, Guard<'a>); 1]>,
}

impl Default for Hot {
    fn default() -> Self {
        // The hash is keyed at random, so that nobody can choose keys that collide.
        let map = DashMap::with_hasher_and_shard_amount(RandomState::new(), SHARDS);
        let changed = (0..SHARDS).map(|_| AtomicBool::new(false)).collect();
        Self { map, account: Account::default(), known: Known::default(), changed }
    }
}

impl Hot {
    /// Where a key is.
    #[must_use]
    pub fn spot(&self, database: u8, key: &[u8]) -> Spot {
        let hash = self.map.hasher().hash_one((database, key));
        #[expect(clippy::cast_possible_truncation, reason = "DashMap itself takes the hash as usize")]
        let shard = self.map.determine_shard(hash as usize);
        Spot { hash, shard }
    }

    /// What all slots and their tables hold.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Locks the shards of these spots, each once, in rising order.
    pub fn lock(&self, spots: &[Spot], access: Access) -> Locked<'_> {
        let mut numbers: SmallVec<[usize; 1]> = spots.iter().map(|spot| spot.shard).collect();
        if numbers.len() > 1 {
            numbers.sort_unstable();
            numbers.dedup();
        }
        let guards = numbers.into_iter().map(|number| (number, self.guard(number, access))).collect();
        Locked { hot: self, guards }
    }

    /// Locks everything: no command runs until it is dropped.
    pub fn lock_all(&self) -> Locked<'_> {
        let guards = (0..SHARDS).map(|number| (number, self.guard(number, Access::Write))).collect();
        Locked { hot: self, guards }
    }

    /// Locks one shard.
    pub fn lock_shard(&self, number: usize) -> Locked<'_> {
        let mut guards = SmallVec::new();
        guards.push((number, self.guard(number, Access::Write)));
        Locked { hot: self, guards }
    }

    /// Locks one shard, so that others may read at the same time.
    pub fn read_shard(&self, number: usize) -> Locked<'_> {
        let mut guards = SmallVec::new();
        guards.push((number, self.guard(number, Access::Read)));
        Locked { hot: self, guards }
    }

    /// Notes that a shard may have values that the sweep has not looked at.
    pub fn note_change(&self, number: usize) {
        if !self.changed[number].load(Ordering::Relaxed) {
            self.changed[number].store(true, Ordering::Relaxed);
        }
    }

    /// The same of all shards.
    pub fn note_changes(&self) {
        (0..SHARDS).for_each(|number| self.note_change(number));
    }

    /// Whether a shard may have such values. Forgets it: who asks looks through the shard now.
    pub fn take_change(&self, number: usize) -> bool {
        self.changed[number].load(Ordering::Relaxed) && self.changed[number].swap(false, Ordering::Relaxed)
    }

    fn guard(&self, number: usize, access: Access) -> Guard<'_> {
        let shard = &self.map.shards()[number];
        match access {
            Access::Read => Guard::Read(shard.read()),
            Access::Write => Guard::Write(shard.write()),
        }
    }
}

impl Locked<'_> {
    /// Whether this shard is among the locked.
    #[must_use]
    pub fn holds(&self, shard: usize) -> bool {
        self.position(shard).is_some()
    }

    /// The content of a locked shard; `None` for one that is not locked.
    #[must_use]
    pub fn shard(&self, shard: usize) -> Option<&Shard> {
        match &self.guards[self.position(shard)?].1 {
            Guard::Read(guard) => Some(guard),
            Guard::Write(guard) => Some(guard),
        }
    }

    /// The content of a shard that is locked for writing; who changes it keeps the account.
    fn shard_mut(&mut self, shard: usize) -> Option<&mut Shard> {
        let position = self.position(shard)?;
        match &mut self.guards[position].1 {
            Guard::Read(_) => None,
            Guard::Write(guard) => Some(guard),
        }
    }

    /// What is known of a key.
    #[must_use]
    pub fn slot(&self, spot: Spot, database: u8, key: &[u8]) -> Option<&Slot> {
        debug_assert!(self.holds(spot.shard), "a key is looked up in a shard that is not locked");
        self.shard(spot.shard)?.find(spot.hash, |(slot, ())| slot.is(database, key)).map(|(slot, ())| slot)
    }

    /// Whether it is known if a key exists: it is in the table, or does not exist.
    #[must_use]
    pub fn knows(&self, spot: Spot, database: u8, key: &[u8]) -> bool {
        self.slot(spot, database, key).is_some() || self.hot.known.is_absent(spot, database, key)
    }

    /// Does something with what is known of a key, if anything is; a key of which nothing is left goes.
    pub fn with_slot<T>(
        &mut self,
        spot: Spot,
        database: u8,
        key: &[u8],
        act: impl FnOnce(&mut Slot) -> T,
    ) -> Option<T> {
        let account = &self.hot.account;
        let shard = self.shard_mut(spot.shard)?;
        let (slot, ()) = shard.find_mut(spot.hash, |(slot, ())| slot.is(database, key))?;
        let before = slot.holding();
        let done = act(slot);
        account.add(slot.holding() - before);
        if slot.is_empty() {
            self.hot.known.note_gone(spot, database, key);
            self.remove(spot, database, key);
        }
        Some(done)
    }

    /// Changes a key's state, if anything is known of it; a key of which nothing is left goes.
    pub fn change<T>(
        &mut self,
        spot: Spot,
        database: u8,
        key: &[u8],
        change: impl FnOnce(&Name, &mut Entry) -> T,
    ) -> Option<T> {
        self.hot.note_change(spot.shard);
        self.with_slot(spot, database, key, |slot| slot.change(change))
    }

    /// Adds a key of which nothing is known.
    pub fn insert(&mut self, spot: Spot, name: Name, entry: Entry) {
        debug_assert!(self.holds(spot.shard), "a key is added to a shard that is not locked");
        self.hot.note_change(spot.shard);
        let (account, hasher) = (&self.hot.account, self.hot.map.hasher());
        if let Some(shard) = self.shard_mut(spot.shard) {
            let slot = Slot::new(name, entry);
            account.add(slot.holding());
            let before = shard.allocation_size();
            shard.insert_unique(spot.hash, (slot, ()), |(slot, ())| hasher.hash_one(slot));
            account.resize_table(before, shard.allocation_size());
        }
    }

    /// Forgets a key.
    pub fn remove(&mut self, spot: Spot, database: u8, key: &[u8]) {
        let account = &self.hot.account;
        if let Some(shard) = self.shard_mut(spot.shard)
            && let Ok(found) = shard.find_entry(spot.hash, |(slot, ())| slot.is(database, key))
        {
            account.add(Holding::default() - found.get().0.holding());
            found.remove();
        }
    }

    /// Goes through a shard that is locked for writing: `visit` may change each slot, and says whether it stays. Returns how
    /// many went.
    pub fn retain(&mut self, shard: usize, mut visit: impl FnMut(&mut Slot) -> bool) -> usize {
        let hot = self.hot;
        let (account, hasher) = (&hot.account, hot.map.hasher());
        let Some(shard) = self.shard_mut(shard) else { return 0 };
        let (keys, mut difference) = (shard.len(), Holding::default());
        shard.retain(|(slot, ())| {
            let before = slot.holding();
            let stays = visit(slot);
            let after = if stays { slot.holding() } else { Holding::default() };
            if !stays && !hot.known.has_all() {
                hot.known.note_gone(hot.spot(slot.database(), slot.key()), slot.database(), slot.key());
            }
            difference = difference + (after - before);
            stays
        });
        account.add(difference);
        if shard.len() < shard.capacity() / SPARE_SHARE {
            let before = shard.allocation_size();
            shard.shrink_to(2 * shard.len(), |(slot, ())| hasher.hash_one(slot));
            account.resize_table(before, shard.allocation_size());
        }
        keys - shard.len()
    }

    fn position(&self, shard: usize) -> Option<usize> {
        match self.guards.as_slice() {
            [(number, _)] if *number == shard => Some(0),
            [] | [_] => None,
            many => many.binary_search_by_key(&shard, |(number, _)| *number).ok(),
        }
    }
}
