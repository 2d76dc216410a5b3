//! The writer: the one task that commits. It gathers units and due touches into batches, settles what the database
//! said, splits a batch that was refused until the guilty unit stands alone, sets units aside whose record somebody else has
//! locked, and sits out outages.

mod locks;
mod outage;
mod parked;
mod prune;
mod upkeep;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use self::parked::Parked;
use self::prune::Sweeps;
use super::batch::{BATCH_BYTES_MAX, Done, Reach, batch_work};
use super::unit::{Outcome, Unit, Work};
use super::write_through::{BatchLimits, Memory, Status, TakenBack, WriteThrough};
use super::{Batch, BatchWork, Committed, Database, DatabaseError};
use crate::clock::Clock;
use crate::telemetry::latency::Event;

/// The most changes of one commit: larger batches gain little (63 000 rows/s at 1 024 against 50 000 at 64) and make their first reply late.
const BATCH_CHANGES_MAX: usize = 2048;

const BATCH_LIMITS: BatchLimits = BatchLimits { changes: BATCH_CHANGES_MAX, bytes: BATCH_BYTES_MAX };

/// The same under `durability = everysec`, where nobody waits for a batch, and where the more changes it has, the more of them
/// replace each other. A unit waits for the batch before its own, too, and both are to fit into the second.
const EVERYSEC_BATCH_LIMITS: BatchLimits = BatchLimits { changes: 32_768, bytes: BATCH_BYTES_MAX };

/// How often the writer looks for due touches when nothing is queued.
const TOUCH_TICK: Duration = Duration::from_millis(250);

/// How often an idle owner renews its ownership; a waiting server takes over after five of these.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long after a commit was sent nobody else can own the database: a waiting server needs to see ten seconds without
/// one. A process that was stopped for longer answers nothing before it has asked the database.
const OWNED_FOR: Duration = Duration::from_secs(9);

/// The longest that deleting all keys may take: millions of rows.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(600);

/// How often a batch is sent that takes longer than `write-timeout`, before it is split.
const TIMEOUT_TRIES: u32 = 2;

/// How often a batch that collided with another transaction is sent again.
const CONFLICT_TRIES: u32 = 5;

/// What the writer must know.
#[derive(Clone, Debug)]
pub struct WriterSettings {
    /// The longest that a write waits for the database.
    pub write_timeout: Duration,
    /// How expired records are deleted, which may change at any time.
    pub prune: watch::Receiver<Prune>,
}

/// How expired records are deleted.
#[derive(Clone, Copy, Debug)]
pub struct Prune {
    /// How often.
    pub interval: Duration,
    /// The most records of a table that one commit deletes.
    pub batch: u32,
}

/// Why the writer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriterEnd {
    /// It was asked to, and everything is committed.
    Stopped,
    /// Asked to, but the database is away: this many units are not committed, all of them unacknowledged under `durability = commit`.
    StoppedInOutage(usize),
    /// Another server owns the database.
    Fenced(String),
}

/// The task that commits.
pub struct Writer {
    through: Arc<WriteThrough>,
    memory: Arc<dyn Memory>,
    database: Arc<dyn Database>,
    clock: Clock,
    settings: WriterSettings,
    epoch: i64,
    last_batch: i64,
    /// When the last commit was sent: the ownership lasts from then.
    last_sent: Instant,
    sweeps: Sweeps,
    last_touches: Instant,
    /// What is left of a batch that was split: a stack, the next to be sent is the last.
    chunks: Vec<Vec<Unit>>,
    /// What waits for somebody's lock.
    parked: Parked,
    /// When it is tried next.
    next_try: Instant,
    /// Whether the log says that writes fail for locks, since when something has waited without a break.
    told_of_locks: bool,
}

/// A writer must end: the reason.
struct Ended(WriterEnd);

impl Writer {
    /// A writer for a database that this process owns since `epoch`.
    #[must_use]
    pub fn new(
        through: Arc<WriteThrough>,
        memory: Arc<dyn Memory>,
        database: Arc<dyn Database>,
        clock: Clock,
        settings: WriterSettings,
        (epoch, last_batch): (i64, i64),
    ) -> Self {
        through.set_epoch(epoch);
        let now = Instant::now();
        through.note_owned_until(now + OWNED_FOR);
        Self {
            through,
            memory,
            database,
            clock,
            settings,
            epoch,
            last_batch,
            last_sent: now,
            sweeps: Sweeps::default(),
            last_touches: now,
            chunks: Vec::new(),
            parked: Parked::default(),
            next_try: now,
            told_of_locks: false,
        }
    }

    /// Commits until it is stopped or loses the database.
    pub async fn run(mut self) -> WriterEnd {
        loop {
            if let Err(Ended(end)) = self.turn().await {
                if let WriterEnd::Fenced(_) = end {
                    self.through.set_status(Status::Lost);
                    self.fail(&[], Vec::new(), &mut |_| true);
                }
                return end;
            }
        }
    }

    /// One wait, and then one round of all that is to be done.
    async fn turn(&mut self) -> Result<(), Ended> {
        self.through.wait_for_work(self.pause()).await;
        let limits = if self.through.is_everysec() { EVERYSEC_BATCH_LIMITS } else { BATCH_LIMITS };
        let units = self.through.take_units(limits);
        if self.through.is_stopping() && units.is_empty() && self.parked.is_empty() {
            self.flush_touches(i64::MAX).await?;
            return Err(Ended(WriterEnd::Stopped));
        }
        self.commit_units(units).await?;
        self.try_parked().await?;
        if self.last_touches.elapsed() >= TOUCH_TICK {
            self.last_touches = Instant::now();
            self.flush_touches(self.clock.now_ms()).await?;
        }
        self.prune().await?;
        if self.last_sent.elapsed() >= HEARTBEAT {
            // Only its outcome matters: a renewal that fails has told the outage or the new owner already.
            let _ = self.commit_whole(BatchWork::Changes(Vec::new()), &mut Vec::new()).await?;
        }
        Ok(())
    }

    /// Commits units as one transaction; splits them when the database refuses their data.
    async fn commit_units(&mut self, units: Vec<Unit>) -> Result<(), Ended> {
        self.chunks.push(units);
        while let Some(units) = self.chunks.pop() {
            let mut units = self.parked.admit(units);
            if units.is_empty() {
                continue;
            }
            if matches!(units.first(), Some(Unit { work: Work::Barrier, .. })) {
                self.flush_touches(i64::MAX).await?;
            }
            match self.try_units(&mut units).await? {
                Ok(()) => {}
                Err(DatabaseError::Locked(_)) => self.park(units),
                Err(refusal) if units.len() == 1 => {
                    warn!(error = %refusal, "the database refused a write, which is taken back with all that was built on it");
                    self.fail_with_dependants(units);
                }
                Err(_) => {
                    let rest = units.split_off(units.len() / 2);
                    self.chunks.extend([rest, units]);
                }
            }
        }
        self.note_parked();
        Ok(())
    }

    /// One transaction of these units; the inner error is the database's refusal of their data.
    async fn try_units(&mut self, units: &mut Vec<Unit>) -> Result<Result<(), DatabaseError>, Ended> {
        match self.commit_whole(batch_work(units), units).await? {
            Ok(done) => {
                for unit in units.iter() {
                    self.memory.committed(unit, &done.missing);
                    unit.ticket.settle(Outcome::Committed);
                    if matches!(unit.work, Work::Barrier) {
                        self.through.note_save(self.clock.now_ms() / 1000);
                    }
                }
                self.through.note_settled(units);
                self.count_units(&done, units);
                self.through.announce();
                Ok(Ok(()))
            }
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Commits one piece of work, sitting out collisions and outages; `units` are those that it settles. The inner error
    /// is `Refused`, `Locked`, `Conflict` after the last try, or `Outage` once no unit of it is left.
    async fn commit_whole(
        &mut self,
        work: BatchWork,
        units: &mut Vec<Unit>,
    ) -> Result<Result<Done, DatabaseError>, Ended> {
        let (mut collisions, mut timeouts) = (0, 0);
        let mut batch = Batch { number: self.last_batch + 1, work };
        let begun = Instant::now();
        loop {
            batch.number = self.last_batch + 1;
            let sent = Instant::now();
            match self.send(&batch).await {
                Ok(committed) => {
                    self.renew_outlasted().await;
                    return Ok(Ok(Done::of(&batch.work, &committed)));
                }
                Err(refusal @ (DatabaseError::Refused(_) | DatabaseError::Locked(_))) => return Ok(Err(refusal)),
                Err(DatabaseError::Conflict(message)) => {
                    collisions += 1;
                    if collisions == CONFLICT_TRIES {
                        return Ok(Err(DatabaseError::Conflict(message)));
                    }
                }
                Err(DatabaseError::Fenced { owner }) => {
                    settle_failed(units);
                    return Err(Ended(WriterEnd::Fenced(owner)));
                }
                Err(error @ (DatabaseError::Unusable(_) | DatabaseError::Outage { .. })) => {
                    timeouts += u32::from(sent.elapsed() >= self.limit(&batch));
                    let in_doubt = matches!(error, DatabaseError::Outage { in_doubt: true, .. });
                    let message = error.to_string();
                    match self.sit_out(&message, in_doubt, batch.number, units, begun).await {
                        Ok(true) => return Ok(Ok(Done::of(&batch.work, &Committed::default()))),
                        Ok(false) => {}
                        Err(ended) => {
                            let outcome = if in_doubt { Outcome::Unknown } else { Outcome::Failed };
                            units.iter().for_each(|unit| unit.ticket.settle(outcome));
                            return Err(ended);
                        }
                    }
                    if timeouts == TIMEOUT_TRIES {
                        // The database comes back each time and this work never ends: one of its units is too large.
                        return Ok(Err(DatabaseError::Refused("it takes longer than write-timeout".to_owned())));
                    }
                    if units.is_empty() && !matches!(&batch.work, BatchWork::Changes(changes) if changes.is_empty()) {
                        // Touches and prunes are gathered anew, and units that failed are gone.
                        return Ok(Err(DatabaseError::Outage { message, in_doubt: false }));
                    }
                }
            }
        }
    }

    /// Renews the ownership after a commit that outlasted it: whoever is answered now would be refused next. The answer waits for
    /// that, but not for a database that hangs; what it meets, the heartbeat at the end of the turn meets again and sees to.
    async fn renew_outlasted(&mut self) {
        if !self.through.surely_owns(Instant::now()) {
            let renewal = Batch { number: self.last_batch + 1, work: BatchWork::Changes(Vec::new()) };
            let _ = timeout(HEARTBEAT, self.send(&renewal)).await;
        }
    }

    /// One commit, within its time.
    async fn send(&mut self, batch: &Batch) -> Result<Committed, DatabaseError> {
        let sent = Instant::now();
        if let BatchWork::Clear { .. } = batch.work {
            // A server that waits sees the statement at work.
            self.through.note_owned_until(sent + CLEAR_TIMEOUT);
        }
        let result = match timeout(self.limit(batch), self.database.commit(batch)).await {
            Ok(result) => result,
            Err(_) => Err(DatabaseError::Outage {
                message: "a commit took longer than write-timeout".to_owned(),
                in_doubt: true,
            }),
        };
        if result.is_ok() {
            self.last_batch = batch.number;
            self.last_sent = sent;
            self.through.note_owned_until(sent + OWNED_FOR);
            self.count_commit(batch, sent.elapsed());
        } else {
            self.through.metrics.batches_failed.increment();
        }
        result
    }

    /// How long a commit may take.
    fn limit(&self, batch: &Batch) -> Duration {
        match batch.work {
            BatchWork::Changes(_) | BatchWork::Prune { .. } => self.settings.write_timeout,
            BatchWork::Clear { .. } => CLEAR_TIMEOUT,
        }
    }

    /// A unit fails with every later one that shares a key with it, transitively.
    fn fail_with_dependants(&mut self, guilty: Vec<Unit>) {
        let mut reach = Reach::default();
        guilty.iter().for_each(|unit| reach.add(unit));
        self.fail(&[], guilty, &mut |unit| reach.takes(unit));
    }

    /// Takes back `first`, and of the units that wait those that `doomed` chooses, asked in order.
    fn fail(&mut self, doubtful: &[Unit], first: Vec<Unit>, doomed: &mut dyn FnMut(&Unit) -> bool) {
        let mut first = Some(TakenBack { failed: first, standing: doubtful.to_vec() });
        let mut count = 0;
        let Self { memory, through, chunks, parked, .. } = self;
        memory.take_back(&mut || {
            let mut all = first.take().unwrap_or_default();
            // What was set aside and what is left of a batch stand in one order; all that is queued comes after them.
            let mut waiting: Vec<&Unit> = chunks.iter().flatten().chain(parked.units()).collect();
            waiting.sort_unstable_by_key(|unit| unit.number);
            let (gone, kept): (Vec<&Unit>, Vec<&Unit>) = waiting.into_iter().partition(|unit| doomed(unit));
            all.standing.extend(kept.into_iter().cloned());
            all.failed.extend(gone.into_iter().cloned());
            let failed: HashSet<u64> = all.failed.iter().map(|unit| unit.number).collect();
            chunks.iter_mut().for_each(|chunk| chunk.retain(|unit| !failed.contains(&unit.number)));
            parked.retain(|unit| !failed.contains(&unit.number));
            through.remove_units(doomed, &mut all);
            count = all.failed.len();
            settle_failed(&all.failed);
            through.note_settled(&all.failed);
            all
        });
        self.through.metrics.units_failed.add(count as u64);
        self.through.announce();
    }

    fn count_units(&self, done: &Done, units: &[Unit]) {
        let metrics = &self.through.metrics;
        // Barriers and sights change nothing.
        let changing = units.iter().filter(|unit| !matches!(unit.work, Work::Barrier | Work::Sight)).count();
        metrics.units_committed.add(changing as u64);
        let made: usize = units.iter().filter(|unit| !unit.stands_alone()).map(Unit::size).sum();
        metrics.changes_replaced.add(made.saturating_sub(done.changes) as u64);
    }

    fn count_commit(&self, batch: &Batch, took: Duration) {
        if let BatchWork::Changes(changes) = &batch.work
            && !changes.is_empty()
        {
            let (took_us, count) = (u64::try_from(took.as_micros()).unwrap_or(u64::MAX), changes.len() as u64);
            let metrics = &self.through.metrics;
            metrics.batches_committed.increment();
            metrics.batch_changes.add(count);
            metrics.commit_us.observe(took_us);
            metrics.last_commit_us.set(took_us);
            metrics.latency.note(Event::Commit, took, &self.clock);
            metrics.changes_per_batch.observe(count);
        }
    }
}

fn settle_failed(units: &[Unit]) {
    for unit in units {
        unit.ticket.settle(Outcome::Failed);
    }
}
