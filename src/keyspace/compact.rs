//! A settled key in one allocation: a header of numbers, then the key, then the value if it is not cold.

use std::num::NonZeroU8;
use std::sync::Arc;

use super::account::{Holding, PackedBytes, allocated, shared};
use super::entry::{Ends, Entry, Name};
use super::packed::Kept;
use super::slot::{COMPACT_VALUE_BYTES_MAX, Held, Lived, Wide};
use crate::clock::Expiry;
use crate::database::{Home, Kind};

/// Where each part begins. The numbers are little-endian, and no wider than they must be: a key of 37 bytes, as session
/// libraries make them, fits with its numbers into 64.
mod at {
    /// The end of the life in Unix milliseconds, 48 bits with a sign; the largest is never.
    pub const EXPIRY: usize = 0;
    /// The incarnation, 48 bits.
    pub const INCARNATION: usize = 6;
    /// By how many milliseconds the recorded end lags, `u32`.
    pub const LAG: usize = 12;
    /// 0 without a touch; else one more than this incarnation is newer than that of the touch, `u32`.
    pub const TOUCH: usize = 16;
    /// The bytes of the key, `u16`.
    pub const KEY_BYTES: usize = 20;
    /// Of a packed value its dictionary, of another the one that could not make it smaller; 0 for none, `u8`.
    pub const DICTIONARY: usize = 22;
    /// The Redis database, `u8`.
    pub const DATABASE: usize = 23;
    /// The kind of the value, and whether it is hot and packed, `u8`.
    pub const KIND: usize = 24;
    /// 0 for `sojourn_keys`, else one more than the number of the session table, `u16`.
    pub const HOME: usize = 25;
    /// The key; the value follows.
    pub const KEY: usize = 27;
}

/// The bytes of a number of 48 bits.
type Six = [u8; 6];

/// The bit that a hot value sets in the byte of its kind.
const HOT: u8 = 0x80;

/// The bit that a packed value sets there beside it.
const PACKED: u8 = 0x40;

/// The end that stands for none: the largest number of 48 bits with a sign, as milliseconds some 4 459 years after 1970.
const NEVER: i64 = (1 << 47) - 1;

/// What a settled key takes more with its value than cold, in bytes, by the sizes of the two.
#[must_use]
pub const fn hot_bytes(key_bytes: usize, value_bytes: usize) -> usize {
    let cold = allocated(at::KEY + key_bytes);
    if value_bytes <= COMPACT_VALUE_BYTES_MAX {
        return allocated(at::KEY + key_bytes + value_bytes) - cold;
    }
    allocated(size_of::<Wide>()) + shared(key_bytes) + shared(value_bytes) - cold
}

/// A settled key.
#[derive(Clone, Debug, Default)]
pub struct Compact(Box<[u8]>);

impl Compact {
    /// A key and its state; `None` if something is under way or nothing is left, the value is large or a number does not fit.
    #[must_use]
    pub fn of(name: &Name, entry: &Entry) -> Option<Self> {
        let life = entry.life.as_ref().filter(|_| entry.pending.is_none())?;
        let (state, dictionary, value) = match &life.value {
            None => (0, 0, &[][..]),
            Some(Kept::Plain(value)) => (HOT, 0, &**value),
            Some(Kept::Packed(dictionary, packed)) => (HOT | PACKED, dictionary.get(), &**packed),
        };
        if value.len() > COMPACT_VALUE_BYTES_MAX {
            return None;
        }
        let (expiry, lag, touch) = packed(life.ends, life.incarnation)?;
        let incarnation = unsigned(life.incarnation)?;
        let key_bytes = u16::try_from(name.key.len()).ok()?;
        let home = match life.home {
            Home::Keys => 0,
            Home::Session(table) => u16::from(table) + 1,
        };
        let mut bytes = Vec::with_capacity(at::KEY + name.key.len() + value.len());
        bytes.extend(expiry);
        bytes.extend(incarnation);
        bytes.extend(lag.to_le_bytes());
        bytes.extend(touch.to_le_bytes());
        bytes.extend(key_bytes.to_le_bytes());
        bytes.extend([dictionary, name.database, code(life.kind) | state]);
        bytes.extend(home.to_le_bytes());
        bytes.extend_from_slice(&name.key);
        bytes.extend_from_slice(value);
        Some(Self(bytes.into_boxed_slice()))
    }

    /// Its Redis database.
    #[inline]
    #[must_use]
    pub fn database(&self) -> u8 {
        u8::from_le_bytes(self.number(at::DATABASE))
    }

    /// The key's bytes.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.0.get(at::KEY..self.key_end()).unwrap_or_default()
    }

    /// The key for longer than the lock.
    #[must_use]
    pub fn name(&self) -> Name {
        Name { database: self.database(), key: Arc::from(self.key()) }
    }

    /// Its life.
    #[inline]
    #[must_use]
    pub fn life(&self) -> Lived<'_> {
        let state = u8::from_le_bytes(self.number(at::KIND));
        let bytes = self.0.get(self.key_end()..).unwrap_or_default();
        let packed = self.dictionary().filter(|_| state & PACKED != 0);
        let value = packed.map_or(Held::Inside(bytes), |dictionary| Held::Packed(dictionary, bytes));
        let home = u16::from_le_bytes(self.number(at::HOME));
        Lived {
            kind: kind(state & !(HOT | PACKED)),
            value: (state & HOT != 0).then_some(value),
            ends: self.ends(),
            home: home.checked_sub(1).and_then(|table| u8::try_from(table).ok()).map_or(Home::Keys, Home::Session),
            incarnation: self.incarnation(),
        }
    }

    /// Changes when its life ends; `false`, and nothing has changed, if a number does not fit.
    #[must_use]
    pub fn set_ends(&mut self, ends: Ends) -> bool {
        let Some((expiry, lag, touch)) = packed(ends, self.incarnation()) else { return false };
        self.set_number(at::EXPIRY, expiry);
        self.set_number(at::LAG, lag.to_le_bytes());
        self.set_number(at::TOUCH, touch.to_le_bytes());
        true
    }

    /// Lets the value leave.
    pub fn evict(&mut self) {
        let mut bytes = Box::<[u8]>::from(self.0.get(..self.key_end()).unwrap_or_default());
        if let Some(state) = bytes.get_mut(at::KIND) {
            *state &= !(HOT | PACKED);
        }
        if let Some(dictionary) = bytes.get_mut(at::DICTIONARY) {
            *dictionary = 0;
        }
        self.0 = bytes;
    }

    /// The dictionary of a packed value; of another, the one that could not make it smaller.
    #[must_use]
    pub fn dictionary(&self) -> Option<NonZeroU8> {
        NonZeroU8::new(u8::from_le_bytes(self.number(at::DICTIONARY)))
    }

    /// Notes that this dictionary cannot make the value smaller.
    pub fn set_tried(&mut self, dictionary: NonZeroU8) {
        self.set_number(at::DICTIONARY, [dictionary.get()]);
    }

    /// The same held wide.
    #[must_use]
    pub fn to_wide(&self) -> Wide {
        let entry = Entry { life: Some(self.life().to_life()), pending: None };
        Wide { name: self.name(), entry, tried: None }
    }

    /// What it holds. Its value counts for as much as there would be gained without it.
    #[must_use]
    pub fn holding(&self) -> Holding {
        let (whole, keys) = (allocated(self.0.len()), allocated(self.key_end().min(self.0.len())));
        let lasts = self.expiry_ms() == i64::MAX;
        let (lasting, expiring) = if lasts { (whole - keys, 0) } else { (0, whole - keys) };
        let value = self.life().value;
        let packed = value.map_or_else(PackedBytes::default, Held::packed_bytes);
        Holding { keys, lasting, expiring, pending: 0, hot: usize::from(value.is_some()), packed }
    }

    fn ends(&self) -> Ends {
        let expiry = self.expiry_ms();
        let lag = u32::from_le_bytes(self.number(at::LAG));
        let touch = u32::from_le_bytes(self.number(at::TOUCH));
        Ends {
            expiry: Expiry::at_ms(expiry),
            recorded: Expiry::at_ms(expiry.wrapping_sub(i64::from(lag))),
            touch: touch.checked_sub(1).map(|older| self.incarnation().wrapping_sub(u64::from(older))),
        }
    }

    /// The end of its life; [`i64::MAX`] is never.
    #[inline]
    fn expiry_ms(&self) -> i64 {
        let [a, b, c, d, e, f] = self.number(at::EXPIRY);
        // The sign goes from the highest of 48 bits to all above.
        match i64::from_le_bytes([0, 0, a, b, c, d, e, f]) >> 16 {
            NEVER => i64::MAX,
            ms => ms,
        }
    }

    #[inline]
    fn incarnation(&self) -> u64 {
        let [a, b, c, d, e, f] = self.number(at::INCARNATION);
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    #[inline]
    fn key_end(&self) -> usize {
        at::KEY + usize::from(u16::from_le_bytes(self.number(at::KEY_BYTES)))
    }

    // The header is always there but in the place-holder of a slot that is being changed, which nobody looks at. Read whole, it
    // is checked once.
    #[inline]
    fn number<const N: usize>(&self, at: usize) -> [u8; N] {
        let header: &[u8; at::KEY] = self.0.first_chunk().unwrap_or(&[0; at::KEY]);
        header.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    fn set_number<const N: usize>(&mut self, at: usize, number: [u8; N]) {
        if let Some(place) = self.0.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = number;
        }
    }
}

/// The end, the lag and the touch as the header has them.
fn packed(ends: Ends, incarnation: u64) -> Option<(Six, u32, u32)> {
    let Ends { expiry, recorded, touch } = ends;
    let lag = milliseconds(expiry).checked_sub(milliseconds(recorded))?;
    let touch = match touch {
        None => 0,
        Some(touch) => u32::try_from(incarnation.checked_sub(touch)?).ok()?.checked_add(1)?,
    };
    let expiry = match milliseconds(expiry) {
        i64::MAX => NEVER,
        ms if (-NEVER..NEVER).contains(&ms) => ms,
        _ => return None,
    };
    let [a, b, c, d, e, f, ..] = expiry.to_le_bytes();
    Some(([a, b, c, d, e, f], u32::try_from(lag).ok()?, touch))
}

/// A number of no more than 48 bits.
fn unsigned(number: u64) -> Option<Six> {
    match number.to_le_bytes() {
        [a, b, c, d, e, f, 0, 0] => Some([a, b, c, d, e, f]),
        _ => None,
    }
}

fn milliseconds(expiry: Expiry) -> i64 {
    expiry.as_ms().unwrap_or(i64::MAX)
}

const fn code(kind: Kind) -> u8 {
    match kind {
        Kind::String => 0,
        Kind::Hash => 1,
        Kind::Set => 2,
        Kind::Unreadable => 3,
    }
}

const fn kind(code: u8) -> Kind {
    match code {
        0 => Kind::String,
        1 => Kind::Hash,
        2 => Kind::Set,
        _ => Kind::Unreadable,
    }
}
