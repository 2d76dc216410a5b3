//! The way to the database: units are queued in the order in which they took effect, gathered into batches without a
//! timer (while one commits, the next one gathers), and settled. One writer, one commit at a time. A unit's ticket
//! says "committed" only after the database has said so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::unit::{Outcome, Ticket, Unit, Work};
use super::{Change, RecordId};
use crate::clock::Expiry;
use crate::telemetry::metrics::Metrics;

/// The most units that may wait for the writer: at some 500 bytes each about 100 MiB, and two seconds of a fast database.
/// At the limit connections stop reading until there is room; nobody is dropped.
pub const QUEUE_UNITS_MAX: usize = 200_000;

/// The most value bytes that may wait for the writer, for large values.
pub const QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How much of the queue may be acknowledged but not committed in an outage under `durability = everysec`.
pub const EVERYSEC_BACKLOG_MAX: usize = QUEUE_UNITS_MAX / 2;

/// What the server may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// The keys are being read; nothing is answered yet.
    Loading,
    /// All is well.
    Up,
    /// The database is away: hot reads and touches only.
    Down,
    /// Another server owns the database: nothing may be answered any more.
    Lost,
}

/// What waits for the writer.
#[derive(Debug, Default)]
struct Queue {
    units: VecDeque<Unit>,
    bytes: usize,
    last: Option<Ticket>,
}

/// The queue to the writer, and what is known about the database.
#[derive(Debug)]
pub struct WriteThrough {
    queue: Mutex<Queue>,
    work: Notify,
    settled: watch::Sender<u64>,
    status: AtomicU8,
    stopping: AtomicBool,
    last_save_s: AtomicI64,
    epoch: AtomicI64,
    /// Until when nobody else can have taken the database over, in milliseconds since `created`.
    owned_until_ms: AtomicU64,
    created: Instant,
    /// `durability = everysec`: replies do not wait.
    everysec: bool,
    /// The numbers.
    pub metrics: Arc<Metrics>,
}

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

impl WriteThrough {
    /// A queue whose writer has not started: the status is `Loading`.
    #[must_use]
    pub fn new(everysec: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            queue: Mutex::default(),
            work: Notify::new(),
            settled: watch::Sender::new(0),
            status: AtomicU8::new(Status::Loading as u8),
            stopping: AtomicBool::new(false),
            last_save_s: AtomicI64::new(0),
            epoch: AtomicI64::new(0),
            owned_until_ms: AtomicU64::new(0),
            created: Instant::now(),
            everysec,
            metrics,
        }
    }

    /// Queues a unit. Called under the lock of the unit's keys, so that the queue has the order of memory.
    pub fn enqueue(&self, unit: Unit) {
        let mut queue = self.queue.lock();
        queue.bytes += bytes(&unit);
        queue.last = Some(unit.ticket.clone());
        queue.units.push_back(unit);
        drop(queue);
        self.work.notify_one();
    }

    /// The ticket of the newest unit, if it is not committed: who waits for it waits for all before it.
    #[must_use]
    pub fn last_ticket(&self) -> Option<Ticket> {
        self.queue.lock().last.clone().filter(|ticket| ticket.outcome() == Outcome::Pending)
    }

    /// Whether a write that needs the database is refused at once.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        match self.status() {
            Status::Up | Status::Loading => false,
            Status::Down => !self.everysec || self.has_full_backlog(),
            Status::Lost => true,
        }
    }

    /// Under `everysec` writes are refused long before the queue is full: at its limit nobody would be served.
    fn has_full_backlog(&self) -> bool {
        let queue = self.queue.lock();
        queue.units.len() >= EVERYSEC_BACKLOG_MAX || queue.bytes >= QUEUE_BYTES_MAX / 2
    }

    /// Whether replies wait for their tickets.
    #[must_use]
    pub fn holds_replies(&self) -> bool {
        !self.everysec
    }

    /// Whether the queue takes more; a connection waits for [`Self::settlements`] when not.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let queue = self.queue.lock();
        queue.units.len() < QUEUE_UNITS_MAX && queue.bytes < QUEUE_BYTES_MAX
    }

    /// Counts up whenever tickets are settled or the status changes.
    #[must_use]
    pub fn settlements(&self) -> watch::Receiver<u64> {
        self.settled.subscribe()
    }

    /// What the server may do.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            0 => Status::Loading,
            1 => Status::Up,
            2 => Status::Down,
            _ => Status::Lost,
        }
    }

    /// Whether the database is known to be away.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.status() == Status::Down
    }

    /// Whether at `now` nobody else can have taken the database over unnoticed, as after a SIGSTOP.
    #[must_use]
    pub fn surely_owns(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.created).as_millis()
            < u128::from(self.owned_until_ms.load(Ordering::Acquire))
    }

    /// The database has confirmed the ownership until then.
    pub(super) fn note_owned_until(&self, until: Instant) {
        let until_ms = until.saturating_duration_since(self.created).as_millis();
        self.owned_until_ms.store(u64::try_from(until_ms).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Units that wait for the writer.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.queue.lock().units.len()
    }

    /// Unix seconds of the last time everything was committed on request.
    #[must_use]
    pub fn last_save_s(&self) -> i64 {
        self.last_save_s.load(Ordering::Relaxed)
    }

    /// The number of this ownership of the database.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Waits until everything that was acknowledged or gathered so far, touches included, is committed.
    ///
    /// # Errors
    /// The outcome, if it is anything but committed.
    pub async fn barrier(&self) -> Result<(), Outcome> {
        if self.is_down() {
            // Nobody settles what is queued in an outage before it ends; who waits would hold up all replies behind.
            return Err(Outcome::Failed);
        }
        let ticket = Ticket::default();
        let mut settlements = self.settlements();
        self.enqueue(Unit { ticket: ticket.clone(), work: Work::Barrier });
        loop {
            match ticket.outcome() {
                Outcome::Committed => return Ok(()),
                outcome @ (Outcome::Failed | Outcome::Unknown) => return Err(outcome),
                Outcome::Pending => {
                    if matches!(self.status(), Status::Lost | Status::Down) || settlements.changed().await.is_err() {
                        return Err(Outcome::Failed);
                    }
                }
            }
        }
    }

    /// Asks the writer to commit everything, touches too, and to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.work.notify_one();
    }

    /// Whether somebody asked the writer to end.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn is_everysec(&self) -> bool {
        self.everysec
    }

    /// Says what the server may do from now on.
    pub fn set_status(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
        self.announce();
    }

    /// Notes the number of this ownership.
    pub fn set_epoch(&self, epoch: i64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Notes that everything is committed at this Unix second.
    pub fn note_save(&self, now_s: i64) {
        self.last_save_s.store(now_s, Ordering::Relaxed);
    }

    /// Wakes all who wait for a ticket.
    pub(super) fn announce(&self) {
        self.settled.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until something is queued, somebody stops us, or `at_most` has passed.
    pub(super) async fn wait_for_work(&self, at_most: Duration) {
        if self.queue.lock().units.is_empty() && !self.is_stopping() {
            // A time-out is as good as a call: the writer looks at the touches then.
            let _ = tokio::time::timeout(at_most, self.work.notified()).await;
        }
    }

    /// Takes the next units that can be one batch: as many changes as fit, or one unit that stands alone.
    pub(super) fn take_units(&self, changes_max: usize, bytes_max: usize) -> Vec<Unit> {
        let mut queue = self.queue.lock();
        let mut taken = Vec::new();
        let (mut changes, mut size) = (0, 0);
        while let Some(unit) = queue.units.front() {
            let (unit_changes, unit_bytes) = (unit_changes(unit), bytes(unit));
            let fits = changes + unit_changes <= changes_max && size + unit_bytes <= bytes_max;
            if !taken.is_empty() && (stands_alone(unit) || !fits) {
                break;
            }
            let alone = stands_alone(unit);
            changes += unit_changes;
            size += unit_bytes;
            queue.bytes = queue.bytes.saturating_sub(unit_bytes);
            taken.extend(queue.units.pop_front());
            if alone {
                break;
            }
        }
        taken
    }

    /// Takes out the units that `doomed` chooses, asked in order; called while nobody can enqueue.
    pub(super) fn remove_units(&self, doomed: &mut dyn FnMut(&Unit) -> bool, taken: &mut TakenBack) {
        let mut queue = self.queue.lock();
        let (gone, kept): (Vec<_>, VecDeque<_>) = split(std::mem::take(&mut queue.units), doomed);
        queue.bytes = kept.iter().map(bytes).sum();
        taken.failed.extend(gone);
        taken.standing.extend(kept.iter().cloned());
        queue.units = kept;
    }

    /// Forgets what is queued, of an ownership that has ended before the first answer.
    pub fn forget(&self) {
        let mut queue = self.queue.lock();
        *queue = Queue::default();
    }
}

/// Splits units by a choice that is asked in order.
pub(super) fn split<T: Extend<Unit> + Default>(
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

/// A barrier and a clear are batches of their own.
pub(super) fn stands_alone(unit: &Unit) -> bool {
    match unit.work {
        Work::Changes(_) => false,
        Work::Clear { .. } | Work::Barrier => true,
    }
}

fn unit_changes(unit: &Unit) -> usize {
    match &unit.work {
        Work::Changes(changes) => changes.len(),
        Work::Clear { .. } | Work::Barrier => 1,
    }
}

/// What a unit holds of the queue's limit: keys and values.
fn bytes(unit: &Unit) -> usize {
    let Work::Changes(changes) = &unit.work else { return 0 };
    changes
        .iter()
        .map(|(id, change)| {
            id.key.len()
                + match change {
                    Change::Put { value, .. } => value.len(),
                    Change::Expire { .. } | Change::Delete => 0,
                }
        })
        .sum()
}
