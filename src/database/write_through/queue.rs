//! The units that are not settled, in the order in which they took effect. It counts what the writer has in hand too, so
//! that nothing waits anywhere beyond its limits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::TakenBack;
use crate::database::Change;
use crate::database::unit::{Outcome, Ticket, Unit, Work};

/// The most units that may wait for their commit: at some 500 bytes each about 100 MiB, and two seconds of a fast database.
/// At the limit connections stop reading until there is room; nobody is dropped.
pub const QUEUE_UNITS_MAX: usize = 200_000;

/// So many units are a batch under way and one that gathers, each large enough to gain little by more: a client that has its
/// share of them makes nothing faster by adding to them, and others wait for all that is ahead of them.
pub const QUEUE_UNITS_MANY: usize = 1_024;

/// The most key and value bytes that may wait for their commit, for large values.
pub const QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How much of the queue may be acknowledged but not committed under `durability = everysec`, in an outage or behind
/// somebody's lock.
pub const EVERYSEC_BACKLOG_MAX: usize = QUEUE_UNITS_MAX / 2;

/// How old the oldest queued unit may become under `durability = everysec` before clients are slowed: what is left of the
/// second is for the batch that is under way.
const EVERYSEC_LAG_MAX: Duration = Duration::from_millis(800);

/// What fits into one batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// The most changes.
    pub changes: usize,
    /// The most key and value bytes.
    pub bytes: usize,
}

/// What waits for its commit.
#[derive(Debug, Default)]
pub(super) struct Queue {
    units: VecDeque<Unit>,
    /// Key and value bytes of `units`.
    bytes: usize,
    unsettled: usize,
    unsettled_bytes: usize,
    /// One of the units that the clients were told are in doubt.
    pub in_doubt: Option<Ticket>,
    next_number: u64,
    /// When the oldest of those that the writer has taken was queued.
    in_hand_since: Option<Instant>,
    /// Whether any of those waits for somebody's lock.
    any_parked: bool,
}

impl BatchLimits {
    /// Takes a unit's share; `false` if it does not fit any more. The first one always fits.
    pub fn take(&mut self, unit: &Unit, is_first: bool) -> bool {
        let fits = is_first || (unit.size() <= self.changes && unit.bytes() <= self.bytes);
        if fits {
            self.changes = self.changes.saturating_sub(unit.size());
            self.bytes = self.bytes.saturating_sub(unit.bytes());
        }
        fits
    }
}

impl Queue {
    pub fn push(&mut self, mut unit: Unit) {
        unit.number = self.next_number;
        self.next_number += 1;
        self.unsettled += 1;
        self.bytes += unit.bytes();
        self.unsettled_bytes += unit.bytes();
        self.units.push_back(unit);
    }

    /// The ticket of a unit behind all that is not settled, none of which need be the newest: units that are set aside
    /// commit last. Where some are in doubt, nothing behind them is settled before the outage ends; so it is theirs.
    pub fn see_all(&mut self) -> Option<Ticket> {
        if self.unsettled == 0 {
            return None;
        }
        if let Some(in_doubt) = self.in_doubt.as_ref().filter(|ticket| ticket.outcome() == Outcome::Unknown) {
            return Some(in_doubt.clone());
        }
        let newest = self.units.back().filter(|unit| matches!(unit.work, Work::Sight));
        // Nothing was queued since somebody else looked: that keeps those who look often from filling the queue.
        let ticket = newest.map(|unit| unit.ticket.clone());
        Some(ticket.unwrap_or_else(|| {
            let ticket = Ticket::default();
            self.push(Unit::new(ticket.clone(), Work::Sight));
            ticket
        }))
    }

    /// Whether nothing waits for the writer.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    pub fn unsettled_bytes(&self) -> usize {
        self.unsettled_bytes
    }

    /// Since when the oldest unit waits that is not settled.
    pub fn oldest(&self) -> Option<Instant> {
        self.in_hand_since.or_else(|| self.units.front().map(|unit| unit.queued))
    }

    /// Whether a unit sets an end without writing its record.
    pub fn sets_ends(&self) -> bool {
        let sets_end = |unit: &Unit| match &unit.work {
            Work::Changes(changes) => changes.iter().any(|(_, change)| matches!(change, Change::Expire { .. })),
            Work::Clear { .. } | Work::Barrier | Work::Sight => false,
        };
        self.units.iter().any(sets_end)
    }

    /// The memory that all that waits takes, about: keys that stand in the table too are counted once more.
    pub fn held_bytes(&self) -> usize {
        self.unsettled_bytes + self.unsettled * size_of::<Unit>()
    }

    /// Whether clients must wait.
    pub fn is_full(&self) -> bool {
        self.unsettled >= QUEUE_UNITS_MAX || self.unsettled_bytes >= QUEUE_BYTES_MAX
    }

    pub fn has_many(&self) -> bool {
        self.unsettled >= QUEUE_UNITS_MANY
    }

    /// Under `everysec` writes are refused in an outage long before the queue is full: at its limit nobody would be served.
    pub fn is_full_for_everysec(&self) -> bool {
        is_backlog(self.unsettled, self.unsettled_bytes)
    }

    /// The same while the database answers: what is queued goes on, and what the writer has in hand waits for somebody's lock.
    pub fn is_stuck(&self) -> bool {
        let units = self.unsettled.saturating_sub(self.units.len());
        self.any_parked && is_backlog(units, self.unsettled_bytes.saturating_sub(self.bytes))
    }

    /// Whether the writer does not keep up with `everysec`.
    pub fn lags(&self, now: Instant) -> bool {
        self.units.front().is_some_and(|unit| now.saturating_duration_since(unit.queued) >= EVERYSEC_LAG_MAX)
    }

    pub fn take(&mut self, mut limits: BatchLimits) -> Vec<Unit> {
        let mut taken: Vec<Unit> = Vec::new();
        while let Some(unit) = self.units.front() {
            let alone = unit.stands_alone();
            if (alone && !taken.is_empty()) || !limits.take(unit, taken.is_empty()) {
                break;
            }
            self.bytes -= unit.bytes();
            taken.extend(self.units.pop_front());
            if alone {
                break;
            }
        }
        self.in_hand_since = self.in_hand_since.or_else(|| taken.first().map(|unit| unit.queued));
        taken
    }

    pub fn remove(&mut self, doomed: &mut dyn FnMut(&Unit) -> bool, taken: &mut TakenBack) {
        let (gone, kept) = split(std::mem::take(&mut self.units), doomed);
        self.bytes -= gone.iter().map(Unit::bytes).sum::<usize>();
        taken.failed.extend(gone);
        self.units = kept;
        taken.standing.extend(self.units.iter().cloned());
    }

    pub fn settle(&mut self, units: &[Unit]) {
        self.unsettled = self.unsettled.saturating_sub(units.len());
        self.unsettled_bytes = self.unsettled_bytes.saturating_sub(units.iter().map(Unit::bytes).sum());
    }

    /// Between two batches the writer has nothing in hand but what waits for somebody's lock.
    pub fn note_in_hand(&mut self, oldest: Option<Instant>) {
        self.in_hand_since = oldest;
        self.any_parked = oldest.is_some();
    }
}

fn is_backlog(units: usize, bytes: usize) -> bool {
    units >= EVERYSEC_BACKLOG_MAX || bytes >= QUEUE_BYTES_MAX / 2
}

/// Splits units by a choice that is asked in order.
pub fn split<T: Extend<Unit> + Default>(
    units: impl IntoIterator<Item = Unit>,
    doomed: &mut dyn FnMut(&Unit) -> bool,
) -> (Vec<Unit>, T) {
    let (mut gone, mut kept) = (Vec::new(), T::default());
    for unit in units {
        if doomed(&unit) {
            gone.push(unit);
        } else {
            kept.extend([unit]);
        }
    }
    (gone, kept)
}
