//! One key's state in memory: its life, and what is not committed of it. An entry never forgets its last committed
//! life before the database has the newer one, so that a failed unit can be taken back.

use super::packed::Kept;
use crate::clock::Expiry;
use crate::database::unit::Ticket;
use crate::database::{Change, Home, Kind, RecordId};

/// A key: its Redis database and its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Redis database number.
    pub database: u8,
    /// The whole key.
    pub key: std::sync::Arc<[u8]>,
}

/// An incarnation of a key: from its creation, or from the replacement of its value, to its end. `V` is how its value is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life<V = Kept> {
    /// What the value is, known even when it is cold.
    pub kind: Kind,
    /// The value; `None` when it is cold, in the database only.
    pub value: Option<V>,
    /// When it ends.
    pub ends: Ends,
    /// The table of its record.
    pub home: Home,
    /// Larger than every earlier one.
    pub incarnation: u64,
}

/// When a life ends, and what of that the database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The end.
    pub expiry: Expiry,
    /// The end that the database has, or will have once all that is queued is committed.
    pub recorded: Expiry,
    /// The incarnation under which the touch queue holds it: that of the life, or of a value which it replaced.
    pub touch: Option<u64>,
}

impl Ends {
    /// An end that the database has, or will have.
    #[must_use]
    pub const fn at(expiry: Expiry) -> Self {
        Self { expiry, recorded: expiry, touch: None }
    }
}

impl<V> Life<V> {
    /// The same with the value held in another way.
    #[must_use]
    pub fn with<W>(&self, value: Option<W>) -> Life<W> {
        Life { kind: self.kind, value, ends: self.ends, home: self.home, incarnation: self.incarnation }
    }
}

/// What is queued or under way for a key.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The newest unit that changes it.
    pub ticket: Ticket,
    /// Its last committed life; `None` if it did not exist.
    pub committed: Option<Life>,
}

/// A key's state. `life` is `None` for a tombstone: deleted, but not yet in the database.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The newest life.
    pub life: Option<Life>,
    /// What is not committed.
    pub pending: Option<Box<Pending>>,
}

impl Entry {
    /// Marks the entry as changed by the unit of `ticket`; the committed life is what it was before the first such mark.
    pub fn mark(&mut self, ticket: &Ticket) {
        match &mut self.pending {
            Some(pending) => pending.ticket = ticket.clone(),
            None => {
                let committed = self.life.clone();
                self.pending = Some(Box::new(Pending { ticket: ticket.clone(), committed }));
            }
        }
    }

    /// Takes back everything that is not committed.
    pub fn revert(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.life = pending.committed;
        }
    }

    /// When the newest life ends.
    #[must_use]
    pub fn end(&self) -> Option<Expiry> {
        self.life.as_ref().map(|life| life.ends.expiry)
    }

    /// The life that would come back if what is under way failed.
    pub fn committed_mut(&mut self) -> Option<&mut Life> {
        self.pending.as_mut()?.committed.as_mut()
    }

    /// Whether nothing is left to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.life.is_none() && self.pending.is_none()
    }
}

/// A life after one change of its record. A touch that it has is to be queued once it is the newest life.
pub fn apply(life: &mut Option<Life>, id: &RecordId, change: &Change, incarnation: u64) {
    match change {
        Change::Put { kind, value, expiry, until } => {
            *life = Some(Life {
                kind: *kind,
                value: Some(Kept::Plain(value.clone())),
                ends: Ends { expiry: *until, recorded: *expiry, touch: (until != expiry).then_some(incarnation) },
                home: id.home,
                incarnation,
            });
        }
        Change::Expire { expiry } => {
            if let Some(life) = life {
                life.ends = Ends { expiry: *expiry, recorded: *expiry, ..life.ends };
            }
        }
        // A move deletes in the old table what lives in the new one.
        Change::Delete => {
            if life.as_ref().is_some_and(|life| life.home == id.home) {
                *life = None;
            }
        }
    }
}
