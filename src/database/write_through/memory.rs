//! What the writer and the memory above it tell each other: what is durable, what is taken back, and which touches are due.
//! The writer must never know how keys are held.

use std::time::Duration;

use crate::clock::Expiry;
use crate::database::RecordId;
use crate::database::unit::Unit;

/// A touch that is flushed: the record and its end of this moment.
#[derive(Clone, Debug)]
pub struct TouchWrite {
    /// The record.
    pub id: RecordId,
    /// The incarnation that was touched.
    pub incarnation: u64,
    /// Its end.
    pub expiry: Expiry,
}

/// What a flush takes from the touch queue.
#[derive(Clone, Debug, Default)]
pub struct DueTouches {
    /// How many keys were taken.
    pub taken: usize,
    /// How many of them went back, since a unit of theirs is under way.
    pub postponed: usize,
    /// What is to be written, each record once.
    pub writes: Vec<TouchWrite>,
}

/// Units that fail, and those that go on standing though they are not committed: each in the order in which it took effect.
/// A unit that stands and shares a key with one that failed is older than that one.
#[derive(Clone, Debug, Default)]
pub struct TakenBack {
    /// Never applied.
    pub failed: Vec<Unit>,
    /// Still queued, or sent and in doubt.
    pub standing: Vec<Unit>,
}

/// What the writer tells the memory above it, and asks of it.
pub trait Memory: Send + Sync {
    /// A unit is durable. `missing` are records that an expiry was to be set on and that somebody deleted by SQL.
    fn committed(&self, unit: &Unit, missing: &[RecordId]);

    /// Stops everything, lets `pick` choose the units that fail, and takes them back, down to what is committed or still
    /// stands.
    fn take_back(&self, pick: &mut dyn FnMut() -> TakenBack);

    /// How many touches wait.
    fn touches_waiting(&self) -> usize;

    /// Takes up to `limit` touches that are due at `now_ms`. Those that have a unit under way go back to the queue.
    fn due_touches(&self, now_ms: i64, limit: usize) -> DueTouches;

    /// These touches are durable, but for those whose record is missing: those keys are forgotten.
    fn touches_committed(&self, touches: &[TouchWrite], missing: &[RecordId]);

    /// These touches were not written; they are due again after `pause`.
    fn touches_failed(&self, touches: &[TouchWrite], pause: Duration);
}
