//! How values are kept in memory: as they are, or packed with a dictionary. Whoever reads a packed one gets it unpacked; it
//! never reaches a client or the database as it is kept.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use smallvec::SmallVec;

use super::account::shared;
use super::dictionary::Dictionary;
use crate::database::Value;

/// Larger values stay as they are: to unpack one would keep a worker from its other clients for longer than a commit takes
/// from a disk's cache, some 100 µs.
pub const PACKED_VALUE_BYTES_MAX: usize = 64 * 1024;

/// A value as an entry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// As it is.
    Plain(Value),
    /// Packed with the dictionary of this number.
    Packed(NonZeroU8, Arc<[u8]>),
}

impl Kept {
    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Plain(bytes) | Self::Packed(_, bytes) => shared(bytes.len()),
        }
    }

    /// The same in an allocation of its own.
    #[must_use]
    pub fn copied(&self) -> Self {
        match self {
            Self::Plain(bytes) => Self::Plain(Arc::from(&**bytes)),
            Self::Packed(dictionary, bytes) => Self::Packed(*dictionary, Arc::from(&**bytes)),
        }
    }

    /// Whether they are one in memory.
    #[must_use]
    pub fn is_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one), Self::Plain(other)) | (Self::Packed(_, one), Self::Packed(_, other)) => {
                Arc::ptr_eq(one, other)
            }
            (Self::Plain(_), Self::Packed(..)) | (Self::Packed(..), Self::Plain(_)) => false,
        }
    }
}

/// The dictionaries that are in use, and which values are packed.
#[derive(Debug, Default)]
pub struct Packing {
    /// The newest is the last; those before it are used until the sweep has moved their values.
    dictionaries: RwLock<SmallVec<[Arc<Dictionary>; 2]>>,
    above_bytes: AtomicUsize,
    /// What the dictionaries take: asked more often than they change.
    bytes: AtomicUsize,
    training_bytes: AtomicUsize,
}

impl Packing {
    /// Changes from which size on values are packed (`compress-above`), in bytes; 0 for none. Those that are packed stay so.
    /// Answers whether it was another one.
    pub fn set_above(&self, bytes: usize) -> bool {
        self.above_bytes.swap(bytes, Ordering::Relaxed) != bytes
    }

    /// Whether a value of this size is to be packed.
    #[must_use]
    pub fn takes(&self, bytes: usize) -> bool {
        let above_bytes = self.above_bytes.load(Ordering::Relaxed);
        above_bytes > 0 && bytes > above_bytes && bytes <= PACKED_VALUE_BYTES_MAX
    }

    /// Shows a packed value to `read`; `None` if it cannot be unpacked, which takes a fault of memory or of ours.
    pub fn unpack<T>(&self, number: NonZeroU8, packed: &[u8], read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let dictionaries = self.dictionaries.read();
        let dictionary = dictionaries.iter().rev().find(|dictionary| dictionary.number == number)?;
        dictionary.unpack(packed, read)
    }

    /// What values are packed with now.
    #[must_use]
    pub fn newest(&self) -> Option<Arc<Dictionary>> {
        self.dictionaries.read().last().cloned()
    }

    /// A number that no dictionary has.
    #[must_use]
    pub fn free_number(&self) -> NonZeroU8 {
        let dictionaries = self.dictionaries.read();
        let last = dictionaries.last().map_or(NonZeroU8::MAX, |dictionary| dictionary.number);
        last.checked_add(1).unwrap_or(NonZeroU8::MIN)
    }

    /// Packs with this dictionary from now on.
    pub fn adopt(&self, dictionary: Dictionary) {
        let mut dictionaries = self.dictionaries.write();
        dictionaries.push(Arc::new(dictionary));
        self.note_bytes(&dictionaries);
    }

    /// Forgets all dictionaries but the newest; no value may need them any more.
    pub fn retire(&self) {
        let mut dictionaries = self.dictionaries.write();
        let older = dictionaries.len().saturating_sub(1);
        dictionaries.drain(..older);
        self.note_bytes(&dictionaries);
    }

    fn note_bytes(&self, dictionaries: &[Arc<Dictionary>]) {
        self.bytes.store(dictionaries.iter().map(|dictionary| dictionary.bytes()).sum(), Ordering::Relaxed);
    }

    /// The memory that the dictionaries take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes what the training of a dictionary takes, or is about to, in bytes; 0 when it is over.
    pub fn note_training(&self, bytes: usize) {
        self.training_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What was noted last.
    #[must_use]
    pub fn training_bytes(&self) -> usize {
        self.training_bytes.load(Ordering::Relaxed)
    }
}
