//! What keys and values take of memory, by what it is taken for, and how much they may take. `used` is what `maxmemory` is
//! compared with.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::Keyspace;
use super::account::{EMPTY_BYTES, Holding, PackedBytes};
use super::hot::SHARDS;
use crate::config::{EvictionPolicy, Settings};

/// What keys and values take, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Keys, and what is known of each.
    pub keys: usize,
    /// Values that could leave memory.
    pub values: usize,
    /// The shards' tables, empty ones too; the marks, the dictionaries, and the training of one.
    pub tables: usize,
    /// What waits for the database: changes, touches, the values that come back if a change fails, and, until all keys are known,
    /// those that are known not to exist.
    pub pending: usize,
    /// What the allocator holds beside all this: holes, and its own books.
    pub allocator: usize,
    /// How many values are in memory.
    pub hot_values: usize,
}

impl MemoryUse {
    /// All bytes.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.keys + self.values + self.tables + self.pending + self.allocator
    }
}

/// What the allocator holds counts for no more than this share of the limit: each value that leaves makes a hole, so that without
/// an end nothing would be gained by it, and the next would have to leave.
const ALLOCATOR_SHARE_MAX: usize = 8;

/// By this share it falls each time that it is noted: it comes back with the next values that leave, and they would leave too late.
const ALLOCATOR_FALL_SHARE: usize = 256;

/// This share of the limit is little.
const PRESSED_SHARE: usize = 16;

/// `maxmemory` and `maxmemory-policy`, where every write looks at them, and what counts besides keys and values.
#[derive(Debug)]
pub struct MemoryLimit {
    bytes: AtomicUsize,
    policy: AtomicU8,
    allocator: AtomicUsize,
}

impl Default for MemoryLimit {
    /// No limit.
    fn default() -> Self {
        let policy = AtomicU8::new(EvictionPolicy::NoEviction as u8);
        Self { bytes: AtomicUsize::new(usize::MAX), policy, allocator: AtomicUsize::new(0) }
    }
}

impl MemoryLimit {
    /// Follows the settings. Without a database behind, a value that left memory would be lost.
    pub fn follow(&self, settings: &Settings) {
        let policy = if settings.is_memory_only() { EvictionPolicy::NoEviction } else { settings.maxmemory_policy };
        self.set(settings.maxmemory, policy);
    }

    /// Changes the limit in bytes, 0 for none, and what is done at it.
    pub fn set(&self, bytes: u64, policy: EvictionPolicy) {
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(usize::MAX);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.policy.store(policy as u8, Ordering::Relaxed);
    }

    /// The limit; the largest number where there is none.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What is done at the limit.
    #[must_use]
    pub fn policy(&self) -> EvictionPolicy {
        EvictionPolicy::of_number(self.policy.load(Ordering::Relaxed))
    }

    /// Notes what the allocator holds beside what it was asked for, in bytes; one caller at a time, some ten times a second. It counts
    /// at once as it rises, and falls by and by.
    pub fn note_allocator(&self, bytes: usize) {
        let before = self.allocator.load(Ordering::Relaxed);
        self.allocator.store(bytes.max(before - before / ALLOCATOR_FALL_SHARE), Ordering::Relaxed);
    }

    /// What of that counts, in bytes.
    #[must_use]
    pub fn allocator(&self) -> usize {
        self.allocator.load(Ordering::Relaxed).min(self.bytes() / ALLOCATOR_SHARE_MAX)
    }
}

impl Keyspace {
    /// What keys and values take now.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        let account = self.hot.account();
        self.use_of(account.holding(), account.table_bytes())
    }

    /// What keys and values take now, in bytes: what `maxmemory` is compared with.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.memory_use().used()
    }

    /// Whether so little is left below `maxmemory` that values leave, or soon will.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        let limit = self.memory_limit.bytes();
        self.memory_used() > limit - limit / PRESSED_SHARE
    }

    /// What is packed of the values.
    #[must_use]
    pub fn packed_bytes(&self) -> PackedBytes {
        self.hot.account().holding().packed
    }

    /// What the account should say: everything is locked and counted anew. For tests.
    #[must_use]
    pub fn recount(&self) -> MemoryUse {
        let locked = self.hot.lock_all();
        let mut holding = Holding::default();
        let mut tables = 0;
        for shard in (0..SHARDS).filter_map(|number| locked.shard(number)) {
            holding = shard.iter().fold(holding, |sum, (slot, ())| sum + slot.holding());
            tables += super::account::allocated(shard.allocation_size());
        }
        self.use_of(holding, tables)
    }

    /// What slots hold that stand in tables of so many bytes, and all that is kept beside them.
    fn use_of(&self, holding: Holding, table_bytes: usize) -> MemoryUse {
        let packing = self.packing.bytes() + self.packing.training_bytes();
        MemoryUse {
            keys: holding.keys,
            values: holding.lasting.wrapping_add(holding.expiring),
            tables: EMPTY_BYTES + table_bytes + self.eviction.marks.bytes() + packing,
            pending: holding.pending + self.write_through.held_bytes() + self.touches.bytes() + self.hot.known.bytes(),
            allocator: self.memory_limit.allocator(),
            hot_values: holding.hot,
        }
    }
}
