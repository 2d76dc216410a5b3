//! HSCAN and SSCAN: pages of a hash or a set. What Redis keeps in one piece comes at once, as there. Of all others a page
//! holds the entries whose names hash into one range: an entry that stays is returned exactly once, whatever is added and
//! removed meanwhile. A page needs a walk over all entries, since they are one piece here.

use std::sync::LazyLock;

use ahash::RandomState;

use super::args::{Options, is};
use super::error::CommandError;
use super::scan::{COUNT_DEFAULT, count};
use crate::glob;
use crate::protocol::{Reply, Request, Strings};

/// A hash is cut to so many bits: far more than entries of one collection, and cursors stay below 2^31, which clients can
/// parse.
const BITS: u32 = 30;

/// The hash is keyed at random, so that nobody can choose names that come in one page.
static NAMES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What the words behind the cursor say.
pub(super) struct Chosen<'a> {
    pattern: &'a [u8],
    pub count: usize,
}

impl<'a> Chosen<'a> {
    /// # Errors
    /// As Redis refuses them; TYPE is for SCAN only.
    pub fn read(request: &'a Request) -> Result<Self, CommandError> {
        let mut chosen = Self { pattern: b"*", count: COUNT_DEFAULT };
        let mut options = Options::from(request, 3);
        while let Some(word) = options.next() {
            if is(word, "MATCH") {
                chosen.pattern = options.value()?;
            } else if is(word, "COUNT") {
                chosen.count = count(options.value()?)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(chosen)
    }

    /// Whether the pattern takes an entry of this name.
    pub fn takes(&self, name: &[u8]) -> bool {
        glob::matches(self.pattern, name)
    }
}

/// A page: those entries whose names hash into its range.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    first: usize,
    last: usize,
    next: usize,
}

impl Page {
    /// All entries.
    pub const WHOLE: Self = Self { first: 0, last: usize::MAX, next: 0 };

    /// The page from the cursor on that has `count` of the entries of these names, and those few that hash alike.
    pub fn of<'n>(cursor: usize, count: usize, names: impl Iterator<Item = &'n [u8]>) -> Self {
        let mut hashes: Vec<u32> = names.map(hash).filter(|hash| position(*hash) >= cursor).collect();
        if hashes.len() <= count {
            return Self { first: cursor, last: usize::MAX, next: 0 };
        }
        let (_, last, rest) = hashes.select_nth_unstable(count.saturating_sub(1));
        let last = *last;
        let next = if rest.iter().any(|hash| *hash > last) { position(last) + 1 } else { 0 };
        Self { first: cursor, last: position(last), next }
    }

    /// Whether it holds the entry of this name.
    pub fn has(&self, name: &[u8]) -> bool {
        *self == Self::WHOLE || (self.first..=self.last).contains(&position(hash(name)))
    }

    /// What is answered for it.
    pub fn reply(&self, found: Strings) -> Reply {
        Reply::Array(vec![Reply::text(self.next.to_string()), Reply::Strings(found)])
    }
}

fn hash(name: &[u8]) -> u32 {
    // The cut leaves 30 bits.
    u32::try_from(NAMES.hash_one(name) >> (u64::BITS - BITS)).unwrap_or(u32::MAX)
}

fn position(hash: u32) -> usize {
    usize::try_from(hash).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_stays_is_on_exactly_one_page_whatever_comes_and_goes() {
        let name = |number: usize| format!("member:{number}").into_bytes();
        let mut names: Vec<Vec<u8>> = (0..5_000).map(name).collect();
        let (mut cursor, mut pages, mut seen) = (0, 0, BTreeMap::<Vec<u8>, usize>::new());
        loop {
            let page = Page::of(cursor, 100, names.iter().map(Vec::as_slice));
            let found: Vec<_> = names.iter().filter(|name| page.has(name)).cloned().collect();
            assert!(found.len() >= 100 || page.next == 0, "{} on a page", found.len());
            assert!(found.len() < 120, "{} on a page", found.len());
            found.into_iter().for_each(|name| *seen.entry(name).or_default() += 1);
            (cursor, pages) = (page.next, pages + 1);
            assert!(cursor < 1 << 31);
            if cursor == 0 {
                break;
            }
            names.retain(|other| *other != name(pages * 7));
            names.push(name(10_000 + pages));
        }
        assert!((40..=60).contains(&pages), "{pages} pages");
        assert!((0..5_000).filter(|number| number % 7 != 0).all(|number| seen.get(&name(number)) == Some(&1)));
        assert!(seen.values().all(|times| *times == 1));
    }

    #[test]
    fn a_cursor_behind_everything_ends_the_scan() {
        let names = [&b"a"[..], b"b", b"c"];
        let page = Page::of(usize::MAX, 10, names.into_iter());
        assert!(names.iter().all(|name| !page.has(name)) && page.next == 0);
        assert!(names.iter().all(|name| Page::of(0, 3, names.into_iter()).has(name)));
    }
}
