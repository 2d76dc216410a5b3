//! What keys and values really hold of memory: each allocation as the allocator rounds it. It is kept up to date where slots
//! change, under the lock of their shard, and `maxmemory` is compared with it. It must never be short of what is held.

use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::hot::SHARDS;

/// What the table and the numbers beside it take of each shard that holds nothing: a lock and an empty table on cache lines of
/// their own, when its first key ends, and whether the sweep has looked at it.
pub const EMPTY_BYTES: usize = SHARDS * (128 + 8 + 1);

/// What an `Arc` takes besides its content: two counts.
const SHARED_BYTES: usize = 2 * size_of::<usize>();

/// What an allocation of so many bytes takes: jemalloc rounds up to one of four sizes between a power of two and the next, which
/// are 16 bytes apart at least (jemalloc(3), "size classes").
#[must_use]
pub const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(bytes.next_power_of_two() / 8),
    }
}

/// What bytes behind an `Arc` take.
#[must_use]
pub const fn shared(bytes: usize) -> usize {
    allocated(SHARED_BYTES + bytes)
}

/// What one slot holds, or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Bytes of keys, and of what is known of them.
    pub keys: usize,
    /// Bytes of the values that have no end and could leave memory.
    pub lasting: usize,
    /// Bytes of the values that have an end and could leave memory.
    pub expiring: usize,
    /// Bytes that stay until a commit: what would come back if it failed.
    pub pending: usize,
    /// How many values are in memory, whether they could leave it or not.
    pub hot: usize,
    /// Those of them that are packed.
    pub packed: PackedBytes,
}

/// Packed values: how many, and what packing spares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackedBytes {
    /// How many there are.
    pub values: usize,
    /// Their bytes as they are in memory.
    pub bytes: usize,
    /// Their bytes unpacked.
    pub bytes_before: usize,
}

impl PackedBytes {
    /// Each number with that of another one.
    fn with(self, other: Self, combine: fn(usize, usize) -> usize) -> Self {
        Self {
            values: combine(self.values, other.values),
            bytes: combine(self.bytes, other.bytes),
            bytes_before: combine(self.bytes_before, other.bytes_before),
        }
    }
}

impl Holding {
    /// All bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.keys.wrapping_add(self.lasting).wrapping_add(self.expiring).wrapping_add(self.pending)
    }
}

impl Add for Holding {
    type Output = Self;

    /// A difference may be below nothing: only sums of whole accounts have a meaning.
    fn add(self, other: Self) -> Self {
        Self {
            keys: self.keys.wrapping_add(other.keys),
            lasting: self.lasting.wrapping_add(other.lasting),
            expiring: self.expiring.wrapping_add(other.expiring),
            pending: self.pending.wrapping_add(other.pending),
            hot: self.hot.wrapping_add(other.hot),
            packed: self.packed.with(other.packed, usize::wrapping_add),
        }
    }
}

impl Sub for Holding {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            keys: self.keys.wrapping_sub(other.keys),
            lasting: self.lasting.wrapping_sub(other.lasting),
            expiring: self.expiring.wrapping_sub(other.expiring),
            pending: self.pending.wrapping_sub(other.pending),
            hot: self.hot.wrapping_sub(other.hot),
            packed: self.packed.with(other.packed, usize::wrapping_sub),
        }
    }
}

/// The sums over all slots.
#[derive(Debug, Default)]
pub struct Account {
    keys: AtomicUsize,
    lasting: AtomicUsize,
    expiring: AtomicUsize,
    pending: AtomicUsize,
    hot: AtomicUsize,
    packed: [AtomicUsize; 3],
    tables: AtomicUsize,
}

impl Account {
    /// Something changed by so much; called under the lock of its shard.
    pub fn add(&self, difference: Holding) {
        add(&self.keys, difference.keys);
        add(&self.lasting, difference.lasting);
        add(&self.expiring, difference.expiring);
        add(&self.pending, difference.pending);
        add(&self.hot, difference.hot);
        let PackedBytes { values, bytes, bytes_before } = difference.packed;
        self.packed.iter().zip([values, bytes, bytes_before]).for_each(|(sum, difference)| add(sum, difference));
    }

    /// The table of a shard grew or shrank from `before` to `after` bytes.
    pub fn resize_table(&self, before: usize, after: usize) {
        add(&self.tables, allocated(after).wrapping_sub(allocated(before)));
    }

    /// What all slots hold.
    #[must_use]
    pub fn holding(&self) -> Holding {
        let [values, bytes, bytes_before] = self.packed.each_ref().map(read);
        Holding {
            packed: PackedBytes { values, bytes, bytes_before },
            keys: read(&self.keys),
            lasting: read(&self.lasting),
            expiring: read(&self.expiring),
            pending: read(&self.pending),
            hot: read(&self.hot),
        }
    }

    /// Bytes of the shards' tables.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        read(&self.tables)
    }
}

/// Adds a difference that may be below nothing.
fn add(sum: &AtomicUsize, difference: usize) {
    if difference != 0 {
        sum.fetch_add(difference, Ordering::Relaxed);
    }
}

fn read(sum: &AtomicUsize) -> usize {
    sum.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_rounded_as_jemalloc_rounds_them() {
        let small = [(0, 0), (1, 8), (9, 16), (24, 32), (64, 64), (65, 80), (128, 128)];
        let large =
            [(129, 160), (256, 256), (257, 320), (364, 384), (1_025, 1_280), (14_337, 16_384), (69_649, 81_920)];
        for (bytes, taken) in small.into_iter().chain(large) {
            assert_eq!(allocated(bytes), taken, "{bytes}");
        }
    }

    #[test]
    fn differences_below_nothing_come_out_right() {
        let account = Account::default();
        let large = Holding { keys: 80, lasting: 300, hot: 1, ..Holding::default() };
        let small = Holding { keys: 96, expiring: 16, ..Holding::default() };
        account.add(large);
        account.add(small - large);
        assert_eq!(account.holding(), small);
        assert_eq!(account.holding().bytes(), 112);
    }
}
