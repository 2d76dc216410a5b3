//! Which values were read lately: a few bits a key, beside the table and found by the key's hash, so that a read takes no lock
//! for writing and a slot stays as small as it is. Keys that share a place keep each other's values in memory a little longer;
//! nothing else depends on a mark.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use super::account::allocated;

/// Four marks stand in a byte: more would cost memory that values could have.
const MARK_BITS: usize = 2;
const MARKS_A_BYTE: usize = 4;
const MARK: u8 = 0b11;

/// A value that was loaded for a command that has not read it yet: that one read says nothing of further ones.
const LOADED: u8 = MARK;

/// The largest count of reads.
pub const READS_MAX: u8 = 2;

/// Bytes of the first table; each further one is twice as large. The last one has marks for 500 000 000 keys.
const FIRST_BYTES: usize = 4 * 1024;
const LEVELS: usize = 17;

/// Places for each key, at least: the fewer, the more keys share one.
const PLACES_A_KEY: usize = 2;

/// The marks of all keys.
#[derive(Debug, Default)]
pub struct Marks {
    /// A read takes no lock, so a table that has become too small stays; all of them together are as large as the last.
    tables: [OnceLock<Box<[AtomicU8]>>; LEVELS],
    level: AtomicUsize,
    bytes: AtomicUsize,
    /// Far below the limit nobody asks for marks.
    kept: AtomicBool,
    /// Requests whose values left memory before they were read.
    held: AtomicUsize,
}

impl Marks {
    /// Makes room for the marks of so many keys, if marks are `wanted`.
    pub fn fit(&self, wanted: bool, keys: usize) {
        if wanted {
            while self.places() < PLACES_A_KEY * keys && self.level.load(Ordering::Relaxed) + 1 < LEVELS {
                self.grow();
            }
        }
        self.kept.store(wanted, Ordering::Relaxed);
    }

    /// A value was read; `most` is how many reads are told apart.
    #[inline]
    pub fn note_read(&self, hash: u64, most: u8) {
        if self.kept.load(Ordering::Relaxed) {
            self.change(hash, |mark| if mark == LOADED { 0 } else { mark.max(mark.saturating_add(1).min(most)) });
        }
    }

    /// A value was loaded for a command that will read it.
    pub fn note_load(&self, hash: u64) {
        if self.kept.load(Ordering::Relaxed) {
            self.change(hash, |_| LOADED);
        }
    }

    /// The hand passes a value: whether it was not read since the hand was here. One that was read is forgiven one read.
    pub fn pass(&self, hash: u64) -> bool {
        let is_held = self.held.load(Ordering::Relaxed) > 0;
        let before = self.change(hash, |mark| match mark {
            LOADED if is_held => LOADED,
            LOADED => 0,
            _ => mark.saturating_sub(1),
        });
        before == 0
    }

    /// How often a value was read, as far as that is told apart and not forgiven.
    #[must_use]
    pub fn reads(&self, hash: u64) -> u8 {
        let mark = self.change(hash, |mark| mark);
        if mark == LOADED { 0 } else { mark }
    }

    /// As long as somebody holds, values that were loaded and not read yet stay.
    pub fn hold(&self, holds: bool) {
        if holds {
            self.held.fetch_add(1, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The memory of the tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn table(&self) -> &[AtomicU8] {
        let level = self.level.load(Ordering::Acquire);
        self.tables.get(level).and_then(OnceLock::get).map_or(&[], |table| table)
    }

    fn places(&self) -> usize {
        MARKS_A_BYTE * self.table().len()
    }

    /// The first table, or the next one, in which each key finds the mark that it had.
    fn grow(&self) {
        let known = self.table();
        let level = self.level.load(Ordering::Acquire) + usize::from(!known.is_empty());
        let marks = |_: usize| known.iter().map(|marks| AtomicU8::new(marks.load(Ordering::Relaxed)));
        let Some(place) = self.tables.get(level) else { return };
        place.get_or_init(|| {
            let table: Box<[AtomicU8]> = match known {
                [] => (0..FIRST_BYTES).map(|_| AtomicU8::new(0)).collect(),
                _ => (0..2).flat_map(marks).collect(),
            };
            self.bytes.fetch_add(allocated(table.len()), Ordering::Relaxed);
            table
        });
        self.level.store(level, Ordering::Release);
    }

    /// Changes a mark, unless somebody else does at the same moment. Returns what it was.
    #[inline]
    fn change(&self, hash: u64, change: impl FnOnce(u8) -> u8) -> u8 {
        let table = self.table();
        #[expect(clippy::cast_possible_truncation, reason = "only the lower bits are needed")]
        let place = hash as usize & (MARKS_A_BYTE * table.len()).wrapping_sub(1);
        let Some(marks) = table.get(place / MARKS_A_BYTE) else { return 0 };
        let shift = place % MARKS_A_BYTE * MARK_BITS;
        let both = marks.load(Ordering::Relaxed);
        let before = (both >> shift) & MARK;
        let after = change(before);
        if after != before {
            let changed = (both & !(MARK << shift)) | (after << shift);
            // A read that is lost among others is no loss.
            let _ = marks.compare_exchange(both, changed, Ordering::Relaxed, Ordering::Relaxed);
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_was_read_stays_for_one_turn_a_read() {
        let marks = Marks::default();
        marks.fit(true, 1);
        assert!(marks.pass(7), "never read");
        for (reads, most, turns) in [(1, 1, 1), (9, 1, 1), (1, READS_MAX, 1), (100, READS_MAX, READS_MAX)] {
            (0..reads).for_each(|_| marks.note_read(7, most));
            assert_eq!(marks.reads(7), turns);
            let passed = (0..turns).filter(|_| marks.pass(7)).count();
            assert!(passed == 0 && marks.pass(7) && marks.pass(6), "{reads} reads, {most} told apart");
        }
    }

    #[test]
    fn the_read_that_a_value_was_loaded_for_does_not_count() {
        let marks = Marks::default();
        marks.fit(true, 1);
        marks.note_load(7);
        assert!(!marks.pass(7) && marks.pass(7), "it stays for one turn until it is read");
        marks.note_load(7);
        marks.note_read(7, 1);
        assert!(marks.pass(7));
        marks.note_load(7);
        marks.hold(true);
        assert!((0..100).all(|_| !marks.pass(7)));
        marks.hold(false);
        assert!(!marks.pass(7) && marks.pass(7));
    }

    #[test]
    fn marks_are_kept_when_their_table_grows_and_forgotten_by_none() {
        let marks = Marks::default();
        marks.note_read(1, 1);
        assert_eq!(marks.bytes(), 0, "nobody asked for marks");
        marks.fit(true, 10);
        let hashes: Vec<u64> = (0..1_000).map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        hashes.iter().for_each(|hash| marks.note_read(*hash, 1));
        marks.fit(true, 100_000);
        assert!(marks.places() >= 200_000 && marks.bytes() < 200_000);
        assert!(hashes.iter().all(|hash| marks.reads(*hash) == 1));
        assert!(!marks.pass(hashes[9]) && marks.pass(hashes[9]));
    }
}
