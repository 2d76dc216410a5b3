//! The way to the database: units are queued in the order in which they took effect, gathered into batches without a
//! timer (while one commits, the next one gathers), and settled. One writer, one commit at a time. A unit's ticket
//! says "committed" only after the database has said so.

mod memory;
mod prunes;
mod queue;
mod standing;
mod wake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::memory::{DueTouches, Memory, TakenBack, TouchWrite};
use self::prunes::Prunes;
use self::queue::Queue;
pub(super) use self::queue::{BatchLimits, split};
pub use self::queue::{EVERYSEC_BACKLOG_MAX, QUEUE_BYTES_MAX, QUEUE_UNITS_MANY, QUEUE_UNITS_MAX};
use self::standing::Standing;
pub use self::standing::Status;
use self::wake::Wake;
use super::unit::{Outcome, Ticket, Unit, Work};
use crate::telemetry::metrics::Metrics;

/// The queue to the writer, and what is known about the database.
#[derive(Debug)]
pub struct WriteThrough {
    queue: Mutex<Queue>,
    /// Whether clients must wait before they queue more.
    full: AtomicBool,
    crowded: AtomicBool,
    /// Whether `everysec` acknowledges nothing more.
    overdrawn: AtomicBool,
    /// The memory that the queue takes.
    held_bytes: AtomicUsize,
    wake: Wake,
    settled: watch::Sender<u64>,
    standing: Standing,
    prunes: Prunes,
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

impl WriteThrough {
    /// A queue whose writer has not started: the status is `Loading`.
    #[must_use]
    pub fn new(everysec: bool, metrics: Arc<Metrics>) -> Self {
        Self {
            queue: Mutex::default(),
            full: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            overdrawn: AtomicBool::new(false),
            held_bytes: AtomicUsize::new(0),
            wake: Wake::new(),
            settled: watch::Sender::new(0),
            standing: Standing::loading(),
            prunes: Prunes::default(),
            stopping: AtomicBool::new(false),
            last_save_s: AtomicI64::new(0),
            epoch: AtomicI64::new(0),
            owned_until_ms: AtomicU64::new(0),
            created: Instant::now(),
            everysec,
            metrics,
        }
    }

    /// Queues a unit. Called under the lock of the unit's keys, so that the queue has the order of memory. Who has nothing
    /// else to do then calls [`Self::wake_writer`].
    pub fn enqueue(&self, unit: Unit) {
        let now = unit.queued;
        let mut queue = self.queue.lock();
        queue.push(unit);
        self.note_room(&queue, now);
        self.wake.note(now);
    }

    /// Wakes the writer for what was queued since it was last woken. A worker does so when it has nothing else to do.
    pub fn wake_writer(&self) {
        self.wake.wake();
    }

    /// The same of a worker that is busy, if a unit has waited for long enough.
    pub fn wake_writer_if_late(&self) {
        self.wake.wake_if_late();
    }

    /// What somebody waits for who saw all that is queued or under way; `None` when everything is committed. Called under
    /// the lock of all keys, or else what others change meanwhile is seen and not waited for.
    #[must_use]
    pub fn see_all(&self) -> Option<Ticket> {
        let mut queue = self.queue.lock();
        let ticket = queue.see_all();
        let now = Instant::now();
        self.note_room(&queue, now);
        if ticket.is_some() {
            self.wake.note(now);
        }
        ticket
    }

    /// The clients were told that these units are in doubt: who sees them from now on is told so at once.
    pub(super) fn note_in_doubt(&self, units: &[Unit]) {
        self.queue.lock().in_doubt = units.first().map(|unit| unit.ticket.clone());
    }

    /// Whether a write that needs the database is refused at once.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        match self.status() {
            Status::Up | Status::Loading => self.overdrawn.load(Ordering::Acquire),
            Status::Down => !self.everysec || self.overdrawn.load(Ordering::Acquire),
            Status::Lost => true,
        }
    }

    /// Whether replies wait for their tickets.
    #[must_use]
    pub fn holds_replies(&self) -> bool {
        !self.everysec
    }

    /// Whether the queue takes more; a connection waits for [`Self::settlements`] when not.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    /// The memory that all that waits for the database takes, in bytes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Whether so much waits that a client with its share under way is to wait, so that nobody stands behind a flood.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Acquire)
    }

    /// Notes whether the queue takes more: every request asks, and must not queue up for the lock of the queue.
    /// Answers whether it does again.
    fn note_room(&self, queue: &Queue, now: Instant) -> bool {
        let is_up = self.status() == Status::Up;
        let overdrawn = self.everysec && if is_up { queue.is_stuck() } else { queue.is_full_for_everysec() };
        if self.overdrawn.load(Ordering::Relaxed) != overdrawn {
            self.overdrawn.store(overdrawn, Ordering::Release);
        }
        let lags = self.everysec && is_up && queue.lags(now);
        // Where writes are refused nobody needs to be slowed, and reads go on.
        let full = !overdrawn && (lags || queue.is_full());
        self.held_bytes.store(queue.held_bytes(), Ordering::Relaxed);
        let crowded = queue.has_many();
        if self.crowded.load(Ordering::Relaxed) != crowded {
            self.crowded.store(crowded, Ordering::Release);
        }
        let was_full = self.full.load(Ordering::Relaxed);
        if was_full != full {
            self.full.store(full, Ordering::Release);
        }
        was_full && !full
    }

    /// Counts up whenever tickets are settled or the status changes.
    #[must_use]
    pub fn settlements(&self) -> watch::Receiver<u64> {
        self.settled.subscribe()
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

    /// Units that are not settled: queued, under way, or waiting for somebody's lock.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.queue.lock().unsettled()
    }

    /// The key and value bytes of those.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        self.queue.lock().unsettled_bytes()
    }

    /// How long the oldest unit that is not settled has waited; zero when all are.
    #[must_use]
    pub fn behind(&self) -> Duration {
        let queue = self.queue.lock();
        queue.oldest().filter(|_| queue.unsettled() > 0).map_or(Duration::ZERO, |oldest| oldest.elapsed())
    }

    /// Whether a queued unit sets the end of a record that it does not write: it needs the record to be there.
    pub(super) fn sets_ends(&self) -> bool {
        self.queue.lock().sets_ends()
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
        self.enqueue(Unit::new(ticket.clone(), Work::Barrier));
        self.wake_writer();
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
        self.wake.wake_now();
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
        self.standing.set(status);
        self.note_room(&self.queue.lock(), Instant::now());
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

    /// Waits until something is queued, somebody asks us to stop, or `at_most` has passed.
    pub(super) async fn wait_for_work(&self, at_most: Duration) {
        if self.queue.lock().is_empty() {
            self.wake.wait(at_most).await;
        }
    }

    /// Takes the next units that can be one batch: as many changes as fit, or one unit that stands alone.
    /// Who was slowed by their age goes on, though they may have to wait for somebody's lock.
    pub(super) fn take_units(&self, limits: BatchLimits) -> Vec<Unit> {
        let mut queue = self.queue.lock();
        let taken = queue.take(limits);
        self.wake.forget();
        let has_room_again = self.note_room(&queue, Instant::now());
        drop(queue);
        if has_room_again {
            self.announce();
        }
        taken
    }

    /// Takes out the units that `doomed` chooses, asked in order; called while nobody can enqueue.
    pub(super) fn remove_units(&self, doomed: &mut dyn FnMut(&Unit) -> bool, taken: &mut TakenBack) {
        self.queue.lock().remove(doomed, taken);
    }

    /// These units are settled: there is room for others.
    pub(super) fn note_settled(&self, units: &[Unit]) {
        let mut queue = self.queue.lock();
        queue.settle(units);
        self.note_room(&queue, Instant::now());
    }

    /// What the writer still has in hand between two batches: how many units, and since when the oldest waits.
    pub(super) fn note_parked(&self, units: usize, oldest: Option<Instant>) {
        self.queue.lock().note_in_hand(oldest);
        self.metrics.parked_units.set(units as u64);
    }
}
