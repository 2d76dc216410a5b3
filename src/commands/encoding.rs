//! What Redis would call the way in which it keeps a value. Nothing is kept so here: it is derived from the value as it is
//! now. What it was before, which Redis remembers (a string that APPEND made is `raw`, a hash that was large stays a
//! `hashtable`), nothing here does.

use super::args;
use crate::database::{Kind, Value};
use crate::keyspace::collection::{Hash, Set};

/// The longest string that Redis keeps in one piece with its header and calls `embstr`.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Redis's `hash-max-listpack-entries` and `set-max-intset-entries`.
const SMALL_ENTRIES_MAX: usize = 512;
/// Redis's `hash-max-listpack-value`.
const SMALL_PIECE_BYTES_MAX: usize = 64;

/// The name of a value's encoding.
#[must_use]
pub fn of(kind: Kind, value: Value) -> &'static str {
    match kind {
        Kind::String => of_string(&value),
        Kind::Hash => if_small("listpack", is_small_hash(&Hash::of(value))),
        Kind::Set => if_small("intset", is_small_set(&Set::of(value))),
        Kind::Unreadable => "raw",
    }
}

fn if_small(name: &'static str, is_small: bool) -> &'static str {
    if is_small { name } else { "hashtable" }
}

fn of_string(value: &[u8]) -> &'static str {
    if args::canonical_integer(value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED_BYTES_MAX {
        "embstr"
    } else {
        "raw"
    }
}

/// Whether Redis keeps such a hash in one piece, and so scans it at once.
#[must_use]
pub fn is_small_hash(hash: &Hash) -> bool {
    hash.len() <= SMALL_ENTRIES_MAX
        && hash.iter().all(|(field, value)| field.len().max(value.len()) <= SMALL_PIECE_BYTES_MAX)
}

/// Whether Redis 7.0 keeps such a set in one piece: one of numbers.
#[must_use]
pub fn is_small_set(set: &Set) -> bool {
    set.len() <= SMALL_ENTRIES_MAX && set.iter().all(|member| args::canonical_integer(member).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding_of_set(members: impl Iterator<Item = String>) -> &'static str {
        let members: Vec<String> = members.collect();
        of(Kind::Set, Set::default().with(members.iter().map(String::as_bytes)).0.bytes().clone())
    }

    fn encoding_of_hash(fields: usize, value: &[u8]) -> &'static str {
        let fields: Vec<String> = (0..fields).map(|number| format!("f{number}")).collect();
        of(Kind::Hash, Hash::default().with(fields.iter().map(|field| (field.as_bytes(), value))).0.bytes().clone())
    }

    #[test]
    fn encodings_follow_redis() {
        assert_eq!(of_string(b"-42"), "int");
        assert_eq!(of_string(b"042"), "embstr");
        assert_eq!(of_string(&[b'a'; 44]), "embstr");
        assert_eq!(of_string(&[b'a'; 45]), "raw");
        assert_eq!(encoding_of_hash(512, &[b'v'; 64]), "listpack");
        assert_eq!(encoding_of_hash(513, b"v"), "hashtable");
        assert_eq!(encoding_of_hash(1, &[b'v'; 65]), "hashtable");
        assert_eq!(encoding_of_set((0..512).map(|number| number.to_string())), "intset");
        assert_eq!(encoding_of_set((0..513).map(|number| number.to_string())), "hashtable");
        assert_eq!(encoding_of_set(["1".to_owned(), "02".to_owned()].into_iter()), "hashtable");
    }
}
