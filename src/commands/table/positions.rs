//! Where the keys of a request stand.

use bytes::Bytes;

use super::super::args;

/// Which words of a request are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPositions {
    /// None.
    None,
    /// Words `first`, `first + step`, … up to `last`, counted from the command's name as 0; a negative `last` counts from the end.
    Range {
        /// First key.
        first: usize,
        /// Last key.
        last: i32,
        /// Distance.
        step: usize,
    },
    /// As many as this word says, right behind it.
    Counted {
        /// The word, counted from the command's name as 0.
        count: usize,
    },
    /// The whole keyspace, shard by shard; others may run between two shards.
    Shards,
    /// The whole keyspace at one moment; nobody else runs meanwhile.
    All,
}

impl KeyPositions {
    /// Which words of a request are keys; none where the keys are not in the request.
    #[inline]
    pub fn of(self, request: &[Bytes]) -> impl Iterator<Item = usize> + use<> {
        let words = request.len();
        let (first, end, step) = match self {
            Self::None | Self::Shards | Self::All => (0, 0, 1),
            Self::Range { first, last, step } => (first, Self::end(last, words), step),
            Self::Counted { count } => (count + 1, Self::end_of_counted(count, request), 1),
        };
        // `step_by` divides to know how many there are, which costs every command more than the rest of this.
        let mut next = first;
        std::iter::from_fn(move || {
            let position = next;
            next += step;
            (position < end).then_some(position)
        })
    }

    /// One past the last of so many keys as a word says; no keys where it says what cannot be.
    fn end_of_counted(count: usize, request: &[Bytes]) -> usize {
        let keys = request.get(count).and_then(|word| args::canonical_integer(word));
        let end = keys.and_then(|keys| usize::try_from(keys).ok()?.checked_add(count + 1));
        end.filter(|end| *end <= request.len()).unwrap_or_default()
    }

    /// One past the last key.
    fn end(last: i32, words: usize) -> usize {
        let distance = usize::try_from(last.unsigned_abs()).unwrap_or(usize::MAX);
        let last = if last < 0 { words.saturating_sub(distance) } else { distance };
        words.min(last.saturating_add(1))
    }
}
