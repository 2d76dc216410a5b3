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
}

impl Default for Parked {
    fn default() -> Self {
        Self { waiting: Vec::new(), together: usize::MAX, failed: Vec::new() }
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
        if self.is_empty() {
            return units;
        }
        let mut reach = Reach::default();
        let mut any_before = false;
        let mut earlier = self.waiting.iter().map(|waiting| &waiting.unit).peekable();
        let (built_on, free) = split(units, &mut |unit| {
            while let Some(before) = earlier.next_if(|before| before.number < unit.number) {
                reach.add(before);
                any_before = true;
            }
            let waits_for_all = matches!(unit.work, Work::Barrier) && any_before;
            waits_for_all || reach.takes(unit)
        });
        self.add(built_on, Reason::Others);
        free
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
        let mut is_full = false;
        for waiting in std::mem::take(&mut self.waiting) {
            let unit = &waiting.unit;
            let alone = unit.stands_alone();
            is_full |= released.len() >= self.together || (alone && !released.is_empty());
            let waits_for_all = matches!(unit.work, Work::Barrier) && !kept.is_empty();
            let stays = is_full || !waiting.may_go(now) || waits_for_all || reach.takes(unit);
            if stays || !limits.take(unit, released.is_empty()) {
                is_full |= !stays;
                reach.add(unit);
                kept.push(waiting);
            } else {
                is_full |= alone;
                released.push(waiting.unit);
            }
        }
        self.waiting = kept;
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
    }

    fn add(&mut self, units: Vec<Unit>, reason: Reason) {
        if units.is_empty() {
            return;
        }
        self.waiting.extend(units.into_iter().map(|unit| Waiting { unit, reason }));
        self.waiting.sort_by_key(|waiting| waiting.unit.number);
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
