//! One key's state in memory: its life, and what is not committed of it. An entry never forgets its last committed
//! life before the database has the newer one, so that a failed unit can be taken back.

use crate::clock::Expiry;
use crate::database::unit::Ticket;
use crate::database::{Change, Home, Kind, RecordId, Value};

/// A key: its Redis database and its bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Redis database number.
    pub database: u8,
    /// The whole key.
    pub key: std::sync::Arc<[u8]>,
}

/// An incarnation of a key: from its creation, or from the replacement of its value, to its end.
#[derive(Clone, Debug)]
pub struct Life {
    /// What the value is, known even when it is cold.
    pub kind: Kind,
    /// The value; `None` when it is cold, in the database only.
    pub value: Option<Value>,
    /// The end.
    pub expiry: Expiry,
    /// The end that the database has, or will have once all that is queued is committed.
    pub recorded: Expiry,
    /// The table of its record.
    pub home: Home,
    /// Larger than every earlier one.
    pub incarnation: u64,
    /// The incarnation under which the touch queue holds it: its own, or that of a value which it replaced.
    pub touch: Option<u64>,
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
        self.life.as_ref().map(|life| life.expiry)
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
                value: Some(value.clone()),
                expiry: *until,
                recorded: *expiry,
                home: id.home,
                incarnation,
                touch: (until != expiry).then_some(incarnation),
            });
        }
        Change::Expire { expiry } => {
            if let Some(life) = life {
                life.expiry = *expiry;
                life.recorded = *expiry;
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
