//! What the table holds of a key. With most keys nothing is under way: such a one is a single allocation (its numbers, the
//! key, the value) behind 16 bytes of the table, so that many sessions fit into memory and a look-up waits for it seldom. A
//! key that has something under way, or whose value is large, is held wide, as an [`Entry`].

use std::hash::{Hash, Hasher};
use std::num::NonZeroU8;
use std::sync::Arc;

use super::account::{Holding, PackedBytes, allocated, shared};
use super::compact::Compact;
use super::dictionary::unpacked_bytes;
use super::entry::{Ends, Entry, Life, Name, Pending};
use super::packed::{Kept, Packing};
use crate::clock::Expiry;
use crate::database::Value;

/// Values beyond this stay apart: a reply shares them, where it copies one that stands with its key.
pub const COMPACT_VALUE_BYTES_MAX: usize = 2_048;

/// A larger allocation has pages of its own, and leaves no hole among others when it is freed (jemalloc(3), "size classes").
const SHARED_PAGES_BYTES_MAX: usize = 14 * 1024;

/// What a slot takes of its table: itself, and a byte by which it is found.
const PLACE_BYTES: usize = size_of::<Slot>() + 1;

/// What a key with something under way takes for that, besides its last committed value: it, and its ticket.
const PENDING_BYTES: usize = allocated(size_of::<Pending>()) + shared(1);

/// A key and what is known of it.
#[derive(Debug)]
pub enum Slot {
    /// Nothing is under way, and the value is small or cold.
    Compact(Compact),
    /// Any other.
    Wide(Box<Wide>),
}

/// A key held wide.
#[derive(Debug)]
pub struct Wide {
    /// The key.
    pub name: Name,
    /// Its state.
    pub entry: Entry,
    /// The dictionary that could not make the value smaller.
    pub tried: Option<NonZeroU8>,
}

/// A life as a slot holds it.
pub type Lived<'a> = Life<Held<'a>>;

/// A value where it is held.
#[derive(Clone, Copy, Debug)]
pub enum Held<'a> {
    /// With its key.
    Inside(&'a [u8]),
    /// Apart.
    Apart(&'a Value),
    /// Packed, wherever it is.
    Packed(NonZeroU8, &'a [u8]),
}

impl<'a> Held<'a> {
    fn of(kept: &'a Kept) -> Self {
        match kept {
            Kept::Plain(value) => Self::Apart(value),
            Kept::Packed(dictionary, packed) => Self::Packed(*dictionary, packed),
        }
    }

    /// What is in memory of it: its bytes, or those of the packed one.
    #[must_use]
    pub fn in_memory(self) -> &'a [u8] {
        match self {
            Self::Inside(bytes) | Self::Packed(_, bytes) => bytes,
            Self::Apart(value) => value,
        }
    }

    /// How many bytes it has, those of a packed one unpacked.
    #[must_use]
    pub fn value_bytes(self) -> usize {
        match self {
            Self::Inside(_) | Self::Apart(_) => self.in_memory().len(),
            Self::Packed(_, packed) => unpacked_bytes(packed),
        }
    }

    /// What it counts for among the packed values.
    #[must_use]
    pub fn packed_bytes(self) -> PackedBytes {
        match self {
            Self::Inside(_) | Self::Apart(_) => PackedBytes::default(),
            Self::Packed(_, packed) => PackedBytes { values: 1, bytes: packed.len(), bytes_before: self.value_bytes() },
        }
    }

    /// Whether it is this value. One that cannot be unpacked is none.
    #[must_use]
    pub fn is(self, value: &[u8], packing: &Packing) -> bool {
        match self {
            Self::Inside(_) | Self::Apart(_) => self.in_memory() == value,
            Self::Packed(dictionary, packed) => {
                let is_same = || packing.unpack(dictionary, packed, |held| held == value);
                unpacked_bytes(packed) == value.len() && is_same().unwrap_or(false)
            }
        }
    }

    /// The value for longer than the lock: a copy of one that stands with its key. `None` if it cannot be unpacked.
    #[must_use]
    pub fn share(self, packing: &Packing) -> Option<Value> {
        match self {
            Self::Inside(bytes) => Some(Arc::from(bytes)),
            Self::Apart(value) => Some(Arc::clone(value)),
            Self::Packed(dictionary, packed) => packing.unpack(dictionary, packed, |value| Arc::from(value)),
        }
    }

    /// The value as it is for longer than the lock; a packed one stays packed.
    #[must_use]
    pub fn keep(self) -> Kept {
        match self {
            Self::Inside(bytes) => Kept::Plain(Arc::from(bytes)),
            Self::Apart(value) => Kept::Plain(Arc::clone(value)),
            Self::Packed(dictionary, packed) => Kept::Packed(dictionary, Arc::from(packed)),
        }
    }
}

impl Lived<'_> {
    /// The same for longer than the lock.
    #[must_use]
    pub fn to_life(&self) -> Life {
        self.with(self.value.map(Held::keep))
    }
}

impl Slot {
    /// A key, as small as it can be held.
    #[must_use]
    pub fn new(name: Name, entry: Entry) -> Self {
        match Compact::of(&name, &entry) {
            Some(compact) => Self::Compact(compact),
            None => Self::Wide(Box::new(Wide { name, entry, tried: None })),
        }
    }

    /// Its Redis database.
    #[inline]
    #[must_use]
    pub fn database(&self) -> u8 {
        match self {
            Self::Compact(compact) => compact.database(),
            Self::Wide(wide) => wide.name.database,
        }
    }

    /// The key's bytes.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Compact(compact) => compact.key(),
            Self::Wide(wide) => &wide.name.key,
        }
    }

    /// The key for longer than the lock.
    #[must_use]
    pub fn name(&self) -> Name {
        match self {
            Self::Compact(compact) => compact.name(),
            Self::Wide(wide) => wide.name.clone(),
        }
    }

    /// Whether it is this key.
    #[inline]
    #[must_use]
    pub fn is(&self, database: u8, key: &[u8]) -> bool {
        self.database() == database && self.key() == key
    }

    /// The newest life; `None` for a tombstone.
    #[inline]
    #[must_use]
    pub fn life(&self) -> Option<Lived<'_>> {
        match self {
            Self::Compact(compact) => Some(compact.life()),
            Self::Wide(wide) => wide.entry.life.as_ref().map(|life| life.with(life.value.as_ref().map(Held::of))),
        }
    }

    /// The life, if it is not past at `now_ms`.
    #[inline]
    #[must_use]
    pub fn live(&self, now_ms: i64) -> Option<Lived<'_>> {
        self.life().filter(|life| !life.ends.expiry.is_past(now_ms))
    }

    /// What is not committed of it.
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Compact(_) => None,
            Self::Wide(wide) => wide.entry.pending.as_deref(),
        }
    }

    /// Whether nothing is left to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Compact(_) => false,
            Self::Wide(wide) => wide.entry.is_empty(),
        }
    }

    /// What it holds besides its place in the table. The value of a life that is not committed stands in the queue to the
    /// database as well, and counts there.
    #[must_use]
    pub fn holding(&self) -> Holding {
        match self {
            Self::Compact(compact) => compact.holding(),
            Self::Wide(wide) => wide.holding(),
        }
    }

    /// Whether memory is gained if its value leaves, which the database has; `with_end`: only of a key that ends.
    #[must_use]
    pub fn may_leave(&self, with_end: bool) -> bool {
        let Holding { lasting, expiring, .. } = self.holding();
        expiring > 0 || (lasting > 0 && !with_end)
    }

    /// Lets its value leave; all else stays. Only for one that [may leave](Self::may_leave).
    pub fn evict(&mut self) {
        debug_assert!(self.pending().is_none(), "the database does not have this value");
        match self {
            Self::Compact(compact) => compact.evict(),
            Self::Wide(_) => self.change(|_, entry| {
                if let Some(life) = &mut entry.life {
                    life.value = None;
                }
            }),
        }
    }

    /// The memory that the key takes, in bytes, with its place in the table and its newest value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let queued = match self {
            Self::Compact(_) => 0,
            Self::Wide(wide) => wide.queued_bytes(),
        };
        PLACE_BYTES + self.holding().bytes() + queued
    }

    /// Changes when its life ends, where it stands if that can be.
    pub fn set_ends(&mut self, ends: Ends) {
        if let Self::Compact(compact) = self
            && compact.set_ends(ends)
        {
            return;
        }
        let tried = self.tried();
        self.change(|_, entry| {
            if let Some(life) = &mut entry.life {
                life.ends = ends;
            }
        });
        // The value is the same.
        tried.into_iter().for_each(|dictionary| self.set_tried(dictionary));
    }

    /// The dictionary that could not make the value smaller.
    #[must_use]
    pub fn tried(&self) -> Option<NonZeroU8> {
        match self {
            Self::Compact(compact) => compact.dictionary(),
            Self::Wide(wide) => wide.tried,
        }
    }

    /// Notes that this dictionary cannot make the value smaller, which is not packed.
    pub fn set_tried(&mut self, dictionary: NonZeroU8) {
        match self {
            Self::Compact(compact) => compact.set_tried(dictionary),
            Self::Wide(wide) => wide.tried = Some(dictionary),
        }
    }

    /// The same in allocations of its own. `None` while something is under way, whose value others hold as well, and where
    /// nothing of it shares its pages.
    #[must_use]
    pub fn copied(&self) -> Option<Self> {
        match self {
            Self::Compact(compact) => Some(Self::Compact(compact.clone())),
            Self::Wide(wide) => wide.copied().map(|wide| Self::Wide(Box::new(wide))),
        }
    }

    /// Changes the key's state in any way; afterwards it is as small as it can be held.
    pub fn change<T>(&mut self, change: impl FnOnce(&Name, &mut Entry) -> T) -> T {
        let mut wide = match std::mem::take(self) {
            Self::Compact(compact) => Box::new(compact.to_wide()),
            Self::Wide(wide) => wide,
        };
        wide.tried = None;
        let changed = change(&wide.name, &mut wide.entry);
        *self = match Compact::of(&wide.name, &wide.entry) {
            Some(compact) => Self::Compact(compact),
            None => Self::Wide(wide),
        };
        changed
    }
}

impl Default for Slot {
    /// No key; it stands in the table for none.
    fn default() -> Self {
        Self::Compact(Compact::default())
    }
}

// DashMap asks for these; the hash is that of `Hot::spot`.
impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.database(), other.key())
    }
}

impl Eq for Slot {}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.database(), self.key()).hash(state);
    }
}

impl Wide {
    fn holding(&self) -> Holding {
        let newest = self.newest();
        let (mut lasting, mut expiring, mut pending) = (0, 0, 0);
        let value_bytes = newest.map_or(0, Kept::bytes);
        if let Some(under_way) = &self.entry.pending {
            let committed = under_way.committed.as_ref().and_then(|life| life.value.as_ref());
            pending = PENDING_BYTES + committed.map_or(0, Kept::bytes);
        } else if self.entry.end() == Some(Expiry::NEVER) {
            lasting = value_bytes;
        } else {
            expiring = value_bytes;
        }
        let keys = allocated(size_of::<Self>()) + shared(self.name.key.len());
        let packed = newest.map_or_else(PackedBytes::default, |kept| Held::of(kept).packed_bytes());
        Holding { keys, lasting, expiring, pending, hot: usize::from(newest.is_some()), packed }
    }

    fn copied(&self) -> Option<Self> {
        let Entry { life: Some(life), pending: None } = &self.entry else { return None };
        if life.value.as_ref().is_some_and(|value| value.bytes() > SHARED_PAGES_BYTES_MAX) {
            return None;
        }
        let name = Name { database: self.name.database, key: Arc::from(&*self.name.key) };
        let life = life.with(life.value.as_ref().map(Kept::copied));
        Some(Self { name, entry: Entry { life: Some(life), pending: None }, tried: self.tried })
    }

    /// What its newest value takes, if that is one that waits for its commit.
    fn queued_bytes(&self) -> usize {
        let Some(under_way) = &self.entry.pending else { return 0 };
        let committed = under_way.committed.as_ref().and_then(|life| life.value.as_ref());
        let is_queued = |value: &&Kept| committed.is_none_or(|committed| !committed.is_the_same_as(value));
        self.newest().filter(is_queued).map_or(0, Kept::bytes)
    }

    fn newest(&self) -> Option<&Kept> {
        self.entry.life.as_ref()?.value.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Home, Kind};

    const NOW_MS: i64 = 1_700_000_000_000;

    fn name() -> Name {
        Name { database: 3, key: Arc::from(&b"sess:a"[..]) }
    }

    fn life(value: Option<&[u8]>) -> Life {
        let end = Expiry::at_ms(NOW_MS);
        let home = Home::Session(2);
        Life {
            kind: Kind::String,
            value: value.map(|value| Kept::Plain(Arc::from(value))),
            ends: Ends::at(end),
            home,
            incarnation: 7,
        }
    }

    fn slot(life: Life) -> Slot {
        Slot::new(name(), Entry { life: Some(life), pending: None })
    }

    fn same(slot: &Slot, expected: &Life) {
        assert!(slot.is(3, b"sess:a") && !slot.is(2, b"sess:a") && !slot.is(3, b"sess:b"));
        assert_eq!(slot.life().expect("a life").to_life(), *expected);
    }

    #[test]
    fn a_slot_takes_sixteen_bytes_of_the_table() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn a_settled_life_is_compact_and_all_of_it_is_kept() {
        for kind in [Kind::String, Kind::Hash, Kind::Set, Kind::Unreadable] {
            for value in [None, Some(&b""[..]), Some(b"{}"), Some(&[b'x'; COMPACT_VALUE_BYTES_MAX])] {
                for home in [Home::Keys, Home::Session(0), Home::Session(u8::MAX)] {
                    let never = (Expiry::NEVER, Expiry::NEVER);
                    let lags = (Expiry::at_ms(NOW_MS), Expiry::at_ms(NOW_MS - 60_000));
                    for (expiry, recorded) in [never, lags] {
                        for touch in [None, Some(7), Some(6)] {
                            let ends = Ends { expiry, recorded, touch };
                            let expected = Life { kind, home, ends, ..life(value) };
                            let slot = slot(expected.clone());
                            assert!(matches!(slot, Slot::Compact(_)), "{expected:?}");
                            same(&slot, &expected);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_packed_value_stays_packed_wherever_its_key_is_held() {
        let number = NonZeroU8::MIN;
        let packed = |bytes| Some(Kept::Packed(number, Arc::from(vec![b'x'; bytes])));
        for (bytes, is_compact) in [(90, true), (COMPACT_VALUE_BYTES_MAX, true), (COMPACT_VALUE_BYTES_MAX + 1, false)] {
            let expected = Life { value: packed(bytes), ..life(None) };
            let mut slot = slot(expected.clone());
            same(&slot, &expected);
            assert_eq!(matches!(slot, Slot::Compact(_)), is_compact);
            let ticket = crate::database::unit::Ticket::default();
            slot.change(|_, entry| entry.mark(&ticket));
            same(&slot, &expected);
            slot.change(|_, entry| entry.pending = None);
            same(&slot, &expected);
        }
    }

    #[test]
    fn what_was_tried_in_vain_is_remembered_until_the_value_changes() {
        for bytes in [9, COMPACT_VALUE_BYTES_MAX + 1] {
            let expected = life(Some(&vec![b'x'; bytes]));
            let mut slot = slot(expected.clone());
            slot.set_tried(NonZeroU8::MAX);
            slot.set_ends(expected.ends);
            same(&slot, &expected);
            assert_eq!(slot.tried(), Some(NonZeroU8::MAX));
            slot.change(|_, _| ());
            assert_eq!(slot.tried(), None);
        }
    }

    #[test]
    fn a_copy_is_the_same_elsewhere() {
        let packed = |bytes| Some(Kept::Packed(NonZeroU8::MIN, Arc::from(vec![b'x'; bytes])));
        let lives = [
            life(None),
            life(Some(b"{}")),
            life(Some(&[b'x'; COMPACT_VALUE_BYTES_MAX + 1])),
            Life { value: packed(90), ..life(None) },
            Life { value: packed(COMPACT_VALUE_BYTES_MAX + 1), ..life(None) },
        ];
        for expected in lives {
            let mut slot = slot(expected.clone());
            if !matches!(expected.value, Some(Kept::Packed(..))) {
                slot.set_tried(NonZeroU8::MAX);
            }
            let copy = slot.copied().expect("nothing is under way");
            same(&copy, &expected);
            assert!(copy == slot && copy.tried() == slot.tried() && copy.holding() == slot.holding());
            assert_ne!(copy.key().as_ptr(), slot.key().as_ptr());
        }
    }

    #[test]
    fn what_others_hold_too_and_what_has_its_own_pages_is_not_copied() {
        let room = SHARED_PAGES_BYTES_MAX - 2 * size_of::<usize>();
        assert!(slot(life(Some(&vec![b'x'; room]))).copied().is_some());
        assert!(slot(life(Some(&vec![b'x'; room + 1]))).copied().is_none());
        let mut slot = slot(life(Some(b"{}")));
        slot.change(|_, entry| entry.mark(&crate::database::unit::Ticket::default()));
        assert!(slot.copied().is_none());
    }

    #[test]
    fn numbers_fit_as_far_as_48_bits_go() {
        let ends_at = |ms| {
            let end = Expiry::at_ms(ms);
            Life { ends: Ends { expiry: end, recorded: end, touch: None }, ..life(None) }
        };
        let incarnation = |number| Life { incarnation: number, ..ends_at(NOW_MS) };
        let (end, number) = (1_i64 << 47, 1_u64 << 48);
        for (expected, is_compact) in [
            (ends_at(end - 2), true),
            (ends_at(end - 1), false),
            (ends_at(1 - end), true),
            (ends_at(-end - 1), false),
            (ends_at(-1), true),
            (Life { ends: Ends { expiry: Expiry::NEVER, recorded: Expiry::NEVER, touch: None }, ..life(None) }, true),
            (incarnation(number - 1), true),
            (incarnation(number), false),
        ] {
            let slot = slot(expected.clone());
            assert_eq!(matches!(slot, Slot::Compact(_)), is_compact, "{expected:?}");
            same(&slot, &expected);
        }
    }

    #[test]
    fn what_does_not_fit_is_wide() {
        let far = Expiry::at_ms(NOW_MS + i64::from(u32::MAX) + 1);
        let ends = life(None).ends;
        let ending = |ends| Life { ends, ..life(None) };
        let cases = [
            life(Some(&[b'x'; COMPACT_VALUE_BYTES_MAX + 1])),
            ending(Ends { expiry: far, ..ends }),
            ending(Ends { expiry: Expiry::NEVER, ..ends }),
            ending(Ends { recorded: far, ..ends }),
            ending(Ends { touch: Some(8), ..ends }),
            Life { incarnation: u64::from(u32::MAX) + 1, ..ending(Ends { touch: Some(1), ..ends }) },
        ];
        for expected in cases {
            let slot = slot(expected.clone());
            assert!(matches!(slot, Slot::Wide(_)), "{expected:?}");
            same(&slot, &expected);
        }
    }

    #[test]
    fn the_ends_are_changed_where_they_stand_and_else_wide() {
        let mut slot = slot(life(Some(b"{}")));
        let later = |ms: i64| Expiry::at_ms(NOW_MS + ms);
        for (ms, lag_ms, touch, compact) in
            [(5, 0, None, true), (60_000, 50_000, Some(7), true), (1 << 33, 1 << 33, None, false), (9, 9, None, true)]
        {
            let ends = Ends { expiry: later(ms), recorded: later(ms - lag_ms), touch };
            slot.set_ends(ends);
            assert_eq!((slot.life().expect("a life").ends, matches!(slot, Slot::Compact(_))), (ends, compact), "{ms}");
        }
    }

    #[test]
    fn what_has_something_under_way_is_wide_and_compact_once_it_is_settled() {
        let mut slot = slot(life(Some(b"{}")));
        let ticket = crate::database::unit::Ticket::default();
        slot.change(|_, entry| entry.mark(&ticket));
        assert!(slot.pending().is_some_and(|pending| pending.committed.is_some()));
        slot.change(|_, entry| entry.life = None);
        assert!(slot.life().is_none() && !slot.is_empty());
        slot.change(|_, entry| entry.revert());
        same(&slot, &life(Some(b"{}")));
        assert!(matches!(slot, Slot::Compact(_)));
        slot.change(|_, entry| entry.life = None);
        assert!(slot.is_empty());
    }

    #[test]
    fn a_compact_slot_takes_its_key_its_value_and_a_few_numbers() {
        let bytes = |value| slot(life(value)).bytes();
        // A header of 27, the key's 6, what the allocator rounds up, and 17 of the table.
        assert_eq!((bytes(None), bytes(Some(&[b'x'; 300]))), (48 + 17, 384 + 17));
    }

    #[test]
    fn a_value_takes_what_its_slot_takes_more() {
        for bytes in [0, 1, 300, COMPACT_VALUE_BYTES_MAX, COMPACT_VALUE_BYTES_MAX + 1] {
            let hot = slot(life(Some(&vec![b'x'; bytes]))).bytes();
            assert_eq!(
                hot - slot(life(None)).bytes(),
                super::super::compact::hot_bytes(b"sess:a".len(), bytes),
                "{bytes}"
            );
        }
    }

    #[test]
    fn a_session_that_is_cold_takes_one_line_of_the_processors_cache() {
        let name = Name { database: 0, key: Arc::from(&b"sess:01234567890123456789012345678901"[..]) };
        let cold = Slot::new(name, Entry { life: Some(life(None)), pending: None });
        assert_eq!(cold.bytes(), 64 + 17);
    }
}
