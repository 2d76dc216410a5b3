//! What one command has read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::packed::Packing;
use super::slot::Held;
use crate::database::Value;

/// A command keeps no more of what it has read than this, in bytes; an EXEC may read all there is.
const COPIES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Values that one command has read: one that it names again and again is not copied each time. An incarnation has one value
/// as long as its key is compact: what the command itself changes is wide from then on.
#[derive(Debug, Default)]
pub struct Copies {
    last: Option<(u64, Value)>,
    earlier: BTreeMap<u64, Value>,
    bytes: usize,
}

impl Copies {
    /// [`Held::share`] of the value of an incarnation.
    pub fn share(&mut self, incarnation: u64, held: Held<'_>, packing: &Packing) -> Option<Value> {
        if matches!(held, Held::Apart(_)) {
            return held.share(packing);
        }
        let is_last = |(last, _): &&(u64, Value)| *last == incarnation;
        let known = self.last.as_ref().filter(is_last).map(|(_, value)| value);
        if let Some(value) = known.or_else(|| self.earlier.get(&incarnation)) {
            return Some(Arc::clone(value));
        }
        let value = held.share(packing)?;
        self.bytes += value.len();
        if self.bytes > COPIES_BYTES_MAX {
            (self.bytes, self.earlier) = (value.len(), BTreeMap::new());
        }
        self.earlier.extend(self.last.replace((incarnation, Arc::clone(&value))));
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_copied_once_for_a_command_that_names_it_often() {
        let (mut copies, packing) = (Copies::default(), Packing::default());
        let mut share = |incarnation, held| copies.share(incarnation, held, &packing).expect("it is not packed");
        let (one, other) = (Held::Inside(b"1"), Held::Inside(b"2"));
        let first = [share(1, one), share(2, other), share(3, one)];
        for (incarnation, held) in [(3, one), (1, one), (2, other), (1, one)] {
            let again = share(incarnation, held);
            assert!(Arc::ptr_eq(&again, &first[incarnation as usize - 1]) && *again == *held.in_memory());
        }
        let large = vec![b'x'; COPIES_BYTES_MAX / 100];
        for incarnation in 4..=1_000 {
            copies.share(incarnation, Held::Inside(&large), &packing);
            let kept: usize = copies
                .earlier
                .values()
                .chain(copies.last.iter().map(|(_, value)| value))
                .map(|value| value.len())
                .sum();
            assert!(kept <= COPIES_BYTES_MAX + large.len(), "{kept} bytes");
        }
        assert_eq!(
            copies.share(1, one, &packing).as_deref(),
            Some(&b"1"[..]),
            "one that was forgotten is copied again"
        );
    }
}
