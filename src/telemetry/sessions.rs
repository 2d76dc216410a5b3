//! The census of the keys: how many live in which table, and for how long. The keyspace counts them; here they only stand, with no
//! key among them.

use super::metrics::DATABASES_MAX;

/// How much longer sessions live: the bounds in milliseconds, each with its label and its words for people. Whoever lives for
/// exactly as long as a bound belongs to the next one.
pub const LIFETIMES: [(i64, &str, &str); 3] =
    [(3_600_000, "1h", "< 1 hour"), (86_400_000, "1d", "< 1 day"), (259_200_000, "3d", "< 3 days")];

/// The label and the words for those that live longer than the last bound, or for ever.
pub const LONGER: (&str, &str) = ("later", "more");

/// How many lifetimes are told apart.
pub const LIFETIMES_ALL: usize = LIFETIMES.len() + 1;

/// How many end within which time, disjoint, in the order of [`LIFETIMES`]; the last are the others.
pub type Lifetimes = [u64; LIFETIMES_ALL];

/// The labels of [`Lifetimes`].
pub fn lifetime_labels() -> impl Iterator<Item = &'static str> {
    LIFETIMES.iter().map(|(_, label, _)| *label).chain([LONGER.0])
}

/// The words for [`Lifetimes`].
pub fn lifetime_words() -> impl Iterator<Item = &'static str> {
    LIFETIMES.iter().map(|(_, _, words)| *words).chain([LONGER.1])
}

/// The position in [`Lifetimes`] of a life that ends in so many milliseconds; `None` for never.
#[must_use]
pub fn lifetime_of(left_ms: Option<i64>) -> usize {
    left_ms.map_or(LIFETIMES.len(), |left_ms| LIFETIMES.partition_point(|(bound_ms, ..)| *bound_ms <= left_ms))
}

/// The live keys of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableCensus {
    /// What keys of a session table start with; empty for `sojourn_keys`.
    pub prefix: String,
    /// The table's name.
    pub table: String,
    /// How long they live.
    pub lifetimes: Lifetimes,
}

impl TableCensus {
    /// How many there are.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.lifetimes.iter().sum()
    }
}

/// The live keys of one Redis database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseCensus {
    /// How many there are.
    pub keys: u64,
    /// How many of them end.
    pub expiring: u64,
    /// What is left of the lives of those that end, in milliseconds, all together.
    pub left_ms: u64,
}

impl DatabaseCensus {
    /// What is left of a life on average, in milliseconds, of those that end; 0 if none does.
    #[must_use]
    pub const fn average_left_ms(&self) -> u64 {
        match self.left_ms.checked_div(self.expiring) {
            Some(average_ms) => average_ms,
            None => 0,
        }
    }
}

/// All keys, counted in one walk over memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// By table, `sojourn_keys` last.
    pub tables: Vec<TableCensus>,
    /// By Redis database.
    pub databases: [DatabaseCensus; DATABASES_MAX],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_belongs_to_one_span() {
        let spans = [Some(0), Some(3_599_999), Some(3_600_000), Some(86_399_999), Some(259_199_999), Some(259_200_000)];
        assert_eq!(spans.map(lifetime_of), [0, 0, 1, 1, 2, 3]);
        assert_eq!(lifetime_of(None), 3);
        assert_eq!(lifetime_labels().count(), LIFETIMES_ALL);
    }

    #[test]
    fn an_average_of_nothing_is_nothing() {
        assert_eq!(DatabaseCensus::default().average_left_ms(), 0);
        assert_eq!(DatabaseCensus { keys: 3, expiring: 2, left_ms: 9 }.average_left_ms(), 4);
    }
}
