//! Units and tickets: what the keyspace queues for the database, and what a held reply waits for. A unit is all
//! changes of one command, or of one whole EXEC; it commits whole or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use smallvec::SmallVec;

use super::{Change, RecordId};

/// How a unit ended, or that it has not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Queued or under way.
    Pending,
    /// Durable.
    Committed,
    /// Not applied, now or later: the database is away or refused it.
    Failed,
    /// Under way when the database went away; only the database knows.
    Unknown,
}

impl Outcome {
    /// How all of these ended: `Pending` while one has not, else the worst.
    #[must_use]
    pub fn of_all(tickets: &[Ticket]) -> Self {
        let mut worst = Self::Committed;
        for ticket in tickets {
            match ticket.outcome() {
                Self::Pending => return Self::Pending,
                settled @ (Self::Committed | Self::Failed | Self::Unknown) => worst = worst.or_worse(settled),
            }
        }
        worst
    }

    /// The worse of two ends: a failure is worse than a doubt.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Failed, _) | (_, Self::Failed) => Self::Failed,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Committed | Self::Pending, Self::Committed | Self::Pending) => Self::Committed,
        }
    }
}

const PENDING: u8 = 0;
const COMMITTED: u8 = 1;
const FAILED: u8 = 2;
const UNKNOWN: u8 = 3;

/// What a held reply waits for: the outcome of one unit.
#[derive(Clone, Debug, Default)]
pub struct Ticket(Arc<AtomicU8>);

impl Ticket {
    /// The outcome so far. Once it is not `Pending`, it never changes for those who were told.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self.0.load(Ordering::Acquire) {
            PENDING => Outcome::Pending,
            COMMITTED => Outcome::Committed,
            FAILED => Outcome::Failed,
            _ => Outcome::Unknown,
        }
    }

    /// Whether two tickets belong to the same unit.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What tells it from all other tickets that live.
    #[must_use]
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Says how the unit ended. `Unknown` may still become `Committed` or `Failed` when the database is back.
    pub(super) fn settle(&self, outcome: Outcome) {
        let code = match outcome {
            Outcome::Pending => PENDING,
            Outcome::Committed => COMMITTED,
            Outcome::Failed => FAILED,
            Outcome::Unknown => UNKNOWN,
        };
        self.0.store(code, Ordering::Release);
    }
}

/// What a unit does.
#[derive(Clone, Debug)]
pub enum Work {
    /// Changes of records, in the order in which they took effect.
    Changes(SmallVec<[(RecordId, Change); 1]>),
    /// All keys of one Redis database, or of all, are deleted: a barrier, nothing overtakes it.
    Clear {
        /// The database number.
        database: Option<u8>,
    },
    /// Nothing: its ticket is settled when all that was queued before it is.
    Barrier,
    /// Nothing: somebody saw all that was queued before it, so it commits after that, and fails with any of it.
    Sight,
}

/// All changes of one command or EXEC.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What the replies that made or saw it wait for.
    pub ticket: Ticket,
    /// What it does.
    pub work: Work,
    /// The units whose changes it saw uncommitted, if any: it decided on them, though it may change other keys.
    pub(super) seen: SmallVec<[Ticket; 1]>,
    /// Its place in the order in which the units took effect.
    pub(super) number: u64,
    /// When it was queued: what its `write-timeout` counts from where its turn does not come.
    pub(super) queued: Instant,
}

impl Unit {
    /// A unit that is not queued yet; its place is given to it then.
    #[must_use]
    pub fn new(ticket: Ticket, work: Work) -> Self {
        Self { ticket, work, seen: SmallVec::new(), number: 0, queued: Instant::now() }
    }

    /// A unit that is built on these as well as on those that changed its keys.
    #[must_use]
    pub fn having_seen(mut self, seen: SmallVec<[Ticket; 1]>) -> Self {
        self.seen = seen;
        self
    }

    /// How many changes it counts for in a batch.
    pub(super) fn size(&self) -> usize {
        match &self.work {
            Work::Changes(changes) => changes.len(),
            Work::Clear { .. } | Work::Barrier => 1,
            Work::Sight => 0,
        }
    }

    /// What it holds of the queue's limit: keys and values.
    pub(super) fn bytes(&self) -> usize {
        let Work::Changes(changes) = &self.work else { return 0 };
        changes.iter().map(|(id, change)| id.key.len() + change.value_bytes()).sum()
    }

    /// A barrier and a clear are batches of their own.
    pub(super) fn stands_alone(&self) -> bool {
        match self.work {
            Work::Changes(_) | Work::Sight => false,
            Work::Clear { .. } | Work::Barrier => true,
        }
    }
}
