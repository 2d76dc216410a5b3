//! Hashes and sets as bytes: one flat encoding, in memory the very bytes that the database stores. A command walks them, and
//! a change makes new ones. They are checked once, when they come from the database, so that a record edited by hand is
//! refused; a walk over whatever bytes ends and never panics.
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | the format, 1 |
//! | 4 | how many entries follow, big-endian |
//! | … | the entries in the order in which they were added: of a set a member, of a hash a field and its value |
//!
//! Each member, field and value is its length, seven bits a byte from the lowest on, with the high bit set where another byte
//! follows, and then its bytes. No member or field comes twice. An empty collection is no record.

use ahash::{AHashMap, AHashSet};

use crate::database::{Kind, Value};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 5;
const EMPTY: [u8; HEADER_BYTES] = [FORMAT, 0, 0, 0, 0];
/// Lengths below 2^35 take no more.
const LENGTH_BYTES_MAX: usize = 5;
/// So many words are compared one by one with each entry; of more a table is made.
const FEW_WORDS: usize = 8;

/// A collection whose entries have so many pieces each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection<const PIECES: usize>(Value);

/// Fields with their values.
pub type Hash = Collection<2>;

/// Members.
pub type Set = Collection<1>;

/// Whether these bytes are a value of this kind.
#[must_use]
pub fn is_sound(kind: Kind, bytes: &[u8]) -> bool {
    match kind {
        Kind::String => true,
        Kind::Hash => Hash::is_sound(bytes),
        Kind::Set => Set::is_sound(bytes),
        Kind::Unreadable => false,
    }
}

fn count(bytes: &[u8]) -> usize {
    let count = bytes.get(1..HEADER_BYTES).and_then(|count| count.try_into().ok()).map_or(0, u32::from_be_bytes);
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// A walk over all members, or over all fields and values.
#[derive(Clone, Debug)]
struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes.get(HEADER_BYTES..).unwrap_or_default() }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut length = 0;
        for (position, byte) in self.rest.iter().enumerate().take(LENGTH_BYTES_MAX) {
            length |= usize::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                let (piece, rest) = self.rest[position + 1..].split_at_checked(length)?;
                self.rest = rest;
                return Some(piece);
            }
        }
        None
    }
}

/// New bytes, entry by entry.
struct Draft {
    bytes: Vec<u8>,
    count: usize,
}

impl Draft {
    fn new(bytes_about: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + bytes_about);
        bytes.extend_from_slice(&EMPTY);
        Self { bytes, count: 0 }
    }

    /// All that is there already, with room for more.
    fn with_all_of(bytes: &[u8], more_bytes_about: usize) -> Self {
        let mut all = Vec::with_capacity(bytes.len() + more_bytes_about);
        all.extend_from_slice(bytes);
        Self { count: count(bytes), bytes: all }
    }

    fn add<const PIECES: usize>(&mut self, entry: [&[u8]; PIECES]) {
        self.count += 1;
        for piece in entry {
            let mut length = piece.len();
            while length > 0x7f {
                self.bytes.push((length & 0x7f) as u8 | 0x80);
                length >>= 7;
            }
            self.bytes.push(length as u8);
            self.bytes.extend_from_slice(piece);
        }
    }

    fn finish(mut self) -> Value {
        // What fits into memory is fewer than 2^32 entries, since all but one have a byte at least beside their length.
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        self.bytes[1..HEADER_BYTES].copy_from_slice(&count.to_be_bytes());
        Value::from(self.bytes)
    }
}

/// The words of a command, each once, in the order in which they came.
#[derive(Default)]
struct Words<'a> {
    distinct: Vec<&'a [u8]>,
    places: AHashMap<&'a [u8], usize>,
}

impl<'a> Words<'a> {
    fn of(words: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut all = Self::default();
        words.for_each(|word| {
            all.add(word);
        });
        all
    }

    /// Adds a word that may be there already; answers its place.
    fn add(&mut self, word: &'a [u8]) -> usize {
        let next = self.distinct.len();
        let place = *self.places.entry(word).or_insert(next);
        if place == next {
            self.distinct.push(word);
        }
        place
    }

    fn place(&self, word: &[u8]) -> Option<usize> {
        if self.distinct.len() <= FEW_WORDS {
            self.distinct.iter().position(|other| *other == word)
        } else {
            self.places.get(word).copied()
        }
    }

    fn bytes(&self) -> usize {
        self.distinct.iter().map(|word| word.len() + LENGTH_BYTES_MAX).sum()
    }
}

impl<const PIECES: usize> Default for Collection<PIECES> {
    fn default() -> Self {
        Self(Value::from(EMPTY))
    }
}

impl<const PIECES: usize> Collection<PIECES> {
    /// Of bytes that are known to be sound.
    #[must_use]
    pub fn of(bytes: Value) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &Value {
        &self.0
    }

    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> usize {
        count(&self.0)
    }

    /// Whether it has no entry, so that there is no such key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_sound(bytes: &[u8]) -> bool {
        let count = count(bytes);
        if count == 0 || bytes.first() != Some(&FORMAT) {
            return false;
        }
        let mut pieces = Pieces::of(bytes);
        let mut names = AHashSet::new();
        for _ in 0..count {
            let is_new = pieces.next().is_some_and(|name| names.insert(name));
            if !is_new || !(1..PIECES).all(|_| pieces.next().is_some()) {
                return false;
            }
        }
        pieces.rest.is_empty()
    }
}

impl Hash {
    /// Its fields with their values, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut pieces = Pieces::of(&self.0);
        std::iter::from_fn(move || Some((pieces.next()?, pieces.next()?)))
    }

    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == field).map(|(_, value)| value)
    }

    /// The values of these fields, in their order; one walk for all.
    pub fn get_each<'a>(&self, fields: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<Option<&[u8]>> {
        let words = Words::of(fields.clone());
        let mut values = vec![None; words.distinct.len()];
        for (field, value) in self.iter() {
            if let Some(place) = words.place(field) {
                values[place] = Some(value);
            }
        }
        fields.map(|field| words.place(field).and_then(|place| values[place])).collect()
    }

    /// The same with these fields set, of a field that comes twice to the later value; and how many fields are new.
    #[must_use]
    pub fn with<'a>(&self, pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> (Self, usize) {
        let (mut fields, mut values) = (Words::default(), Vec::new());
        for (field, value) in pairs {
            let place = fields.add(field);
            match values.get_mut(place) {
                Some(earlier) => *earlier = value,
                None => values.push(value),
            }
        }
        let mut is_new = vec![true; values.len()];
        let values_bytes: usize = values.iter().map(|value| value.len() + LENGTH_BYTES_MAX).sum();
        let mut draft = Draft::new(self.0.len() + fields.bytes() + values_bytes);
        for (field, value) in self.iter() {
            match fields.place(field) {
                Some(place) => {
                    is_new[place] = false;
                    draft.add([field, values[place]]);
                }
                None => draft.add([field, value]),
            }
        }
        let mut added = 0;
        for (place, field) in fields.distinct.iter().enumerate().filter(|(place, _)| is_new[*place]) {
            draft.add([field, values[place]]);
            added += 1;
        }
        (Self(draft.finish()), added)
    }

    /// The same without these fields, and how many of them it had.
    #[must_use]
    pub fn without<'a>(&self, fields: impl Iterator<Item = &'a [u8]>) -> (Self, usize) {
        let words = Words::of(fields);
        let mut draft = Draft::new(self.0.len());
        for (field, value) in self.iter().filter(|(field, _)| words.place(field).is_none()) {
            draft.add([field, value]);
        }
        let removed = self.len() - draft.count;
        (Self(draft.finish()), removed)
    }
}

impl Set {
    /// Its members, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        Pieces::of(&self.0)
    }

    /// Which of these are members, in their order; one walk for all.
    pub fn has_each<'a>(&self, members: impl Iterator<Item = &'a [u8]> + Clone) -> Vec<bool> {
        let words = Words::of(members.clone());
        let mut found = vec![false; words.distinct.len()];
        for place in self.iter().filter_map(|member| words.place(member)) {
            found[place] = true;
        }
        members.map(|member| words.place(member).is_some_and(|place| found[place])).collect()
    }

    /// The same with these members, and how many of them are new.
    #[must_use]
    pub fn with<'a>(&self, members: impl Iterator<Item = &'a [u8]>) -> (Self, usize) {
        let words = Words::of(members);
        let mut is_new = vec![true; words.distinct.len()];
        for place in self.iter().filter_map(|member| words.place(member)) {
            is_new[place] = false;
        }
        if !is_new.contains(&true) {
            return (self.clone(), 0);
        }
        let mut draft = Draft::with_all_of(&self.0, words.bytes());
        for (_, member) in words.distinct.iter().enumerate().filter(|(place, _)| is_new[*place]) {
            draft.add([member]);
        }
        let added = draft.count - self.len();
        (Self(draft.finish()), added)
    }

    /// The same without these members, and how many of them it had.
    #[must_use]
    pub fn without<'a>(&self, members: impl Iterator<Item = &'a [u8]>) -> (Self, usize) {
        let words = Words::of(members);
        let (removed, left) = self.split(|member| words.place(member).is_some());
        let removed = removed.len();
        (left, removed)
    }

    /// Those members that are chosen, asked for in their order, and the others.
    #[must_use]
    pub fn split(&self, mut is_chosen: impl FnMut(&[u8]) -> bool) -> (Self, Self) {
        let (mut chosen, mut others) = (Draft::new(0), Draft::new(self.0.len()));
        for member in self.iter() {
            if is_chosen(member) {
                chosen.add([member]);
            } else {
                others.add([member]);
            }
        }
        (Self(chosen.finish()), Self(others.finish()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    type Word = Vec<u8>;

    fn each(words: &[Word]) -> impl Iterator<Item = &[u8]> + Clone {
        words.iter().map(Vec::as_slice)
    }

    fn set(members: &[&[u8]]) -> Set {
        Set::default().with(members.iter().copied()).0
    }

    #[test]
    fn the_bytes_are_those_of_the_documentation() {
        let long = [b'x'; 200];
        let (hash, added) = Hash::default().with([(&b"f"[..], &b""[..]), (b"g", &long)].into_iter());
        assert_eq!((added, hash.len()), (2, 2));
        assert_eq!(**hash.bytes(), [&b"\x01\0\0\0\x02\x01f\0\x01g\xc8\x01"[..], &long].concat());
        assert_eq!(**set(&[b"a", b"", b"a"]).bytes(), *b"\x01\0\0\0\x02\x01a\0");
    }

    #[test]
    fn a_field_keeps_its_place_and_takes_the_last_value() {
        let (hash, _) = Hash::default().with([(&b"a"[..], &b"1"[..]), (b"b", b"2"), (b"a", b"3")].into_iter());
        let (hash, added) = hash.with([(&b"c"[..], &b"4"[..]), (b"a", b"5"), (b"c", b"6")].into_iter());
        assert_eq!(added, 1);
        let pairs: Vec<_> = hash.iter().collect();
        assert_eq!(pairs, [(&b"a"[..], &b"5"[..]), (b"b", b"2"), (b"c", b"6")]);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let good = set(&[b"one", b"two"]).bytes().to_vec();
        assert!(is_sound(Kind::Set, &good) && !is_sound(Kind::Hash, &[&good[..], b"\x01x"].concat()));
        assert!(is_sound(Kind::Hash, b"\x01\0\0\0\x01\x01f\x01v") && is_sound(Kind::String, b""));
        for end in 0..good.len() {
            assert!(!is_sound(Kind::Set, &good[..end]), "cut at {end}");
        }
        let damaged: [&[u8]; 9] = [
            b"\x02\0\0\0\x01\x01a",
            b"\x01\0\0\0\0",
            b"\x01\0\0\0\0\x01a",
            b"\x01\xff\xff\xff\xff\x01a",
            b"\x01\0\0\0\x02\x01a\x01a",
            b"\x01\0\0\0\x01\x02a",
            b"\x01\0\0\0\x01\x01a\0",
            b"\x01\0\0\0\x01\x80\x80\x80\x80\x80\x01a",
            b"\x01\0\0\0\x01\xff\xff\xff\xff\x7fa",
        ];
        for bytes in damaged {
            assert!(!is_sound(Kind::Set, bytes), "{bytes:?}");
            // And a walk over them ends.
            let _members = Set::of(Value::from(bytes)).iter().count();
            let _pairs = Hash::of(Value::from(bytes)).iter().count();
        }
        assert!(!is_sound(Kind::Unreadable, &good));
    }

    fn word() -> impl Strategy<Value = Word> {
        prop_oneof![4 => prop::collection::vec(b'a'..b'e', 0..3), 1 => prop::collection::vec(any::<u8>(), 120..300)]
    }

    fn words() -> impl Strategy<Value = Vec<Word>> {
        prop::collection::vec(word(), 0..24)
    }

    proptest! {
        #[test]
        fn a_set_is_the_set_of_its_members(first in words(), second in words(), third in words()) {
            let (set, added) = Set::default().with(each(&first));
            let mut expected: BTreeSet<&[u8]> = each(&first).collect();
            prop_assert_eq!(added, expected.len());
            let (set, removed) = set.without(each(&second));
            prop_assert_eq!(removed, each(&second).collect::<BTreeSet<_>>().intersection(&expected).count());
            expected.retain(|member| !second.iter().any(|other| other == member));
            let had = expected.len();
            expected.extend(each(&third));
            let (set, added) = set.with(each(&third));
            prop_assert_eq!((added, set.len()), (expected.len() - had, expected.len()));
            prop_assert_eq!(set.iter().collect::<BTreeSet<_>>(), expected.clone());
            prop_assert_eq!(set.has_each(each(&second)), each(&second).map(|word| expected.contains(word)).collect::<Vec<_>>());
            prop_assert_eq!(is_sound(Kind::Set, set.bytes()), !expected.is_empty());
        }

        #[test]
        fn a_hash_is_the_map_of_its_fields(first in prop::collection::vec((word(), word()), 0..24),
                                            second in prop::collection::vec((word(), word()), 0..24), third in words()) {
            let (hash, added) = Hash::default().with(first.iter().map(|(field, value)| (&field[..], &value[..])));
            let mut expected: BTreeMap<Word, Word> = first.iter().cloned().collect();
            prop_assert_eq!(added, expected.len());
            let (hash, added) = hash.with(second.iter().map(|(field, value)| (&field[..], &value[..])));
            let had = expected.len();
            expected.extend(second.iter().cloned());
            prop_assert_eq!(added, expected.len() - had);
            let (hash, removed) = hash.without(each(&third));
            let had = expected.len();
            expected.retain(|field, _| !third.contains(field));
            prop_assert_eq!((removed, hash.len()), (had - expected.len(), expected.len()));
            let found: BTreeMap<Word, Word> = hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(&found, &expected);
            let fields: Vec<Word> = first.iter().chain(&second).map(|(field, _)| field.clone()).collect();
            let values: Vec<_> = fields.iter().map(|field| expected.get(field).map(Vec::as_slice)).collect();
            prop_assert_eq!(hash.get_each(each(&fields)), values);
            for field in &fields {
                prop_assert_eq!(hash.get(field), expected.get(field).map(Vec::as_slice));
            }
            prop_assert_eq!(is_sound(Kind::Hash, hash.bytes()), !expected.is_empty());
        }

        #[test]
        fn a_walk_over_any_bytes_ends(bytes in any::<Vec<u8>>()) {
            let value = Value::from(&bytes[..]);
            let sound = [is_sound(Kind::Hash, &bytes), is_sound(Kind::Set, &bytes)];
            let (pairs, members) = (Hash::of(Value::clone(&value)).iter().count(), Set::of(value).iter().count());
            prop_assert!(pairs <= bytes.len() && members <= bytes.len());
            prop_assert!(sound.iter().all(|sound| !sound || count(&bytes) > 0));
        }
    }
}
