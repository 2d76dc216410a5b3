//! Units that wait because somebody else has locked a record of theirs, and those built on them, in the order in which they
//! took effect. All others go on committing; nothing here is ever sent before what it is built on.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::database::batch::Reach;
use crate::database::unit::{Unit, Work};
use crate::database::write_through::{BatchLimits, split};
use crate::database::{Change, RecordId};

/// How long a unit rests that failed alone though none of its records is seen to be locked, as behind somebody's
/// uncommitted insert: each try costs all others the time that a commit waits for a lock.
const REST: Duration = Duration::from_millis(100);

/// Why a unit waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// Only for those that it is built on, if at all.
    Others,
    /// Its batch met a lock; whose it is must be asked.
    Unknown,
    /// A record of it is locked.
    Record,
    /// Its lock cannot be seen; it is tried again then.
    Unseen(Instant),
}

#[derive(Debug)]
struct Waiting {
    unit: Unit,
    reason: Reason,
}

/// The units that wait.
#[derive(Debug)]
pub(super) struct Parked {
    /// In the order of their numbers.
    waiting: Vec<Waiting>,
    /// The most units of the next try: halved while a lock is looked for that cannot be seen.
    together: usize,
    /// Whose batches met a lock since the locks were asked for.
    failed: Vec<u64>,
    /// What is built on any of those that wait.
    reach: Reach,
}

impl Default for Parked {
    fn default() -> Self {
        Self { waiting: Vec::new(), together: usize::MAX, failed: Vec::new(), reach: Reach::default() }
    }
}

impl Parked {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn count(&self) -> usize {
        self.waiting.len()
    }

    /// When the oldest was queued.
    pub fn oldest(&self) -> Option<Instant> {
        self.waiting.first().map(|waiting| waiting.unit.queued)
    }

    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.waiting.iter().map(|waiting| &waiting.unit)
    }

    /// Keeps those of these units that are built on one that waits, and gives the others back.
    pub fn admit(&mut self, units: Vec<Unit>) -> Vec<Unit> {
        let (Some(last), Some(first)) = (self.waiting.last(), units.first()) else { return units };
        let (built_on, free) = if last.unit.number < first.number {
            split(units, &mut |unit| matches!(unit.work, Work::Barrier) || self.reach.takes(unit))
        } else {
            self.built_on_earlier(units)
        };
        self.add(built_on, Reason::Others);
        free
    }

    /// The same for units that waited themselves: those that come after them are not what they are built on.
    fn built_on_earlier(&self, units: Vec<Unit>) -> (Vec<Unit>, Vec<Unit>) {
        let mut reach = Reach::default();
        let mut any_before = false;
        let mut earlier = self.units().peekable();
        split(units, &mut |unit| {
            while let Some(before) = earlier.next_if(|before| before.number < unit.number) {
                reach.add(before);
                any_before = true;
            }
            let waits_for_all = matches!(unit.work, Work::Barrier) && any_before;
            waits_for_all || reach.takes(unit)
        })
    }

    /// Keeps units whose batch met a lock.
    pub fn park(&mut self, units: Vec<Unit>) {
        self.failed.extend(units.iter().map(|unit| unit.number));
        self.add(units, Reason::Unknown);
    }

    /// The records whose locks are to be asked for, with what happens to them: at most a batch's worth. Whoever locks more
    /// has probably locked them all at once.
    pub fn asked(&self, mut limits: BatchLimits) -> Vec<(RecordId, Change)> {
        let mut asked = Vec::new();
        for unit in self.in_question().map(|place| &self.waiting[place].unit) {
            let Work::Changes(changes) = &unit.work else { continue };
            if !limits.take(unit, asked.is_empty()) {
                break;
            }
            asked.extend(changes.iter().cloned());
        }
        asked
    }

    /// The places of those whose locks have to be asked for; first those of whom nothing is known, since the others are held
    /// up by what was seen. A clear has no records to ask for.
    fn in_question(&self) -> impl Iterator<Item = usize> {
        let places_of = |reason| {
            let waiting = self.waiting.iter().enumerate();
            waiting
                .filter(move |(_, waiting)| waiting.reason == reason && waiting.has_records())
                .map(|(place, _)| place)
        };
        places_of(Reason::Unknown).chain(places_of(Reason::Record))
    }

    /// Notes which of the `asked` changes are locked. If none is of those whose batch met a lock, smaller batches are tried, down
    /// to the unit that waits for something that cannot be seen: a lock that was known before explains nothing.
    pub fn note_locked(&mut self, asked: &[(RecordId, Change)], locked: &[usize]) {
        let mut locked = locked.iter().copied().peekable();
        let (mut position, mut is_seen) = (0, false);
        for place in self.in_question().collect::<Vec<_>>() {
            if position == asked.len() {
                break;
            }
            let waiting = &mut self.waiting[place];
            position += waiting.unit.size();
            let before = std::mem::replace(&mut waiting.reason, Reason::Others);
            while locked.next_if(|locked| *locked < position).is_some() {
                waiting.reason = Reason::Record;
                is_seen |= before == Reason::Unknown;
            }
        }
        let failed = std::mem::take(&mut self.failed);
        self.together = match failed.as_slice() {
            [] => self.together.saturating_mul(2),
            [alone] if !is_seen => {
                self.rest(*alone);
                usize::MAX
            }
            many if !is_seen => many.len() / 2,
            _ => usize::MAX,
        };
    }

    fn rest(&mut self, number: u64) {
        if let Some(found) = self.waiting.iter_mut().find(|waiting| waiting.unit.number == number) {
            found.reason = Reason::Unseen(Instant::now() + REST);
        }
    }

    /// Takes the units that nothing is known to stand in the way of, as one batch.
    pub fn release(&mut self, mut limits: BatchLimits) -> Vec<Unit> {
        let (now, mut reach) = (Instant::now(), Reach::default());
        let mut released: Vec<Unit> = Vec::new();
        let mut kept: Vec<Waiting> = Vec::new();
        let (mut is_full, mut any_left) = (false, false);
        for waiting in std::mem::take(&mut self.waiting) {
            let unit = &waiting.unit;
            let alone = unit.stands_alone();
            let waits_for_all = matches!(unit.work, Work::Barrier) && !kept.is_empty();
            let may_go = waiting.may_go(now) && !waits_for_all && !reach.takes(unit);
            is_full |= released.len() >= self.together || (alone && !released.is_empty());
            if may_go && !is_full && limits.take(unit, released.is_empty()) {
                is_full = alone;
                released.push(waiting.unit);
            } else {
                is_full |= may_go;
                any_left |= may_go;
                reach.add(unit);
                kept.push(waiting);
            }
        }
        (self.waiting, self.reach) = (kept, reach);
        if !any_left {
            // Whatever was looked for is among these, or gone.
            self.together = usize::MAX;
        }
        released
    }

    /// The numbers of those that have waited for `limit` and cannot go.
    pub fn overdue(&self, limit: Duration) -> HashSet<u64> {
        let is_searched = self.together != usize::MAX;
        let stuck = |waiting: &&Waiting| waiting.reason != Reason::Others || is_searched;
        let late = |waiting: &&Waiting| waiting.unit.queued.elapsed() >= limit;
        self.waiting.iter().filter(stuck).filter(late).map(|waiting| waiting.unit.number).collect()
    }

    /// Forgets all but those that `stays` chooses.
    pub fn retain(&mut self, stays: impl Fn(&Unit) -> bool) {
        self.waiting.retain(|waiting| stays(&waiting.unit));
        self.failed.retain(|number| self.waiting.binary_search_by_key(number, |waiting| waiting.unit.number).is_ok());
        self.reach = Reach::default();
        self.waiting.iter().for_each(|waiting| self.reach.add(&waiting.unit));
    }

    fn add(&mut self, units: Vec<Unit>, reason: Reason) {
        let (Some(first), last) = (units.first(), self.waiting.last()) else { return };
        let is_sorted = last.is_none_or(|last| last.unit.number < first.number);
        units.iter().for_each(|unit| self.reach.add(unit));
        self.waiting.extend(units.into_iter().map(|unit| Waiting { unit, reason }));
        if !is_sorted {
            self.waiting.sort_by_key(|waiting| waiting.unit.number);
        }
    }
}

impl Waiting {
    fn has_records(&self) -> bool {
        matches!(self.unit.work, Work::Changes(_))
    }

    fn may_go(&self, now: Instant) -> bool {
        match self.reason {
            Reason::Others => true,
            Reason::Unknown => !self.has_records(),
            Reason::Record => false,
            Reason::Unseen(until) => until <= now,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::database::Home;
    use crate::database::unit::Ticket;

    const LIMITS: BatchLimits = BatchLimits { changes: 100, bytes: 10_000 };

    fn unit(number: u64, keys: &[u8]) -> Unit {
        let id = |key: &u8| RecordId { home: Home::Keys, database: 0, key: Arc::from([*key]) };
        let changes = keys.iter().map(|key| (id(key), Change::Delete)).collect();
        Unit { number, ..Unit::new(Ticket::default(), Work::Changes(changes)) }
    }

    fn numbers(units: &[Unit]) -> Vec<u64> {
        units.iter().map(|unit| unit.number).collect()
    }

    /// Four units of one batch that met a lock which nobody sees.
    fn searched() -> Parked {
        let mut parked = Parked::default();
        parked.park((0..4).map(|number| unit(number, &[b'a' + u8::try_from(number).unwrap()])).collect());
        let asked = parked.asked(LIMITS);
        parked.note_locked(&asked, &[]);
        parked
    }

    #[test]
    fn a_search_ends_when_all_that_may_go_has_gone() {
        let mut parked = searched();
        assert_eq!(numbers(&parked.release(LIMITS)), [0, 1]);
        assert_eq!(parked.overdue(Duration::ZERO), HashSet::from([2, 3]), "one of them may be locked");
        parked.note_locked(&[], &[]);
        assert_eq!(numbers(&parked.release(LIMITS)), [2, 3]);
        parked.add(vec![unit(4, b"e")], Reason::Others);
        assert!(parked.overdue(Duration::ZERO).is_empty(), "it may go");
    }

    #[test]
    fn who_failed_is_looked_for_no_more() {
        let mut parked = Parked::default();
        parked.park(vec![unit(0, b"a"), unit(1, b"b")]);
        parked.retain(|unit| unit.number != 0);
        let asked = parked.asked(LIMITS);
        parked.note_locked(&asked, &[]);
        assert!(parked.release(LIMITS).is_empty(), "it alone met the lock, and rests");
    }

    #[test]
    fn who_is_built_on_those_that_wait_waits_until_they_are_gone() {
        let mut parked = Parked::default();
        parked.park(vec![unit(0, b"a"), unit(2, b"bc")]);
        assert_eq!(numbers(&parked.admit(vec![unit(3, b"c"), unit(4, b"d"), unit(5, b"c")])), [4]);
        assert_eq!(numbers(&parked.admit(vec![unit(1, b"b")])), [1], "older than what shares its key");
        parked.retain(|unit| unit.number != 2);
        assert_eq!(numbers(&parked.admit(vec![unit(6, b"b"), unit(7, b"c")])), [6]);
        let asked = parked.asked(LIMITS);
        parked.note_locked(&asked, &[0]);
        assert_eq!(numbers(&parked.release(LIMITS)), [3, 5, 7]);
        assert_eq!(numbers(&parked.admit(vec![unit(8, b"a"), unit(9, b"c")])), [9]);
    }
}
