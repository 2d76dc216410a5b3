//! One connection's state: who it is, which protocol and database it speaks to, and its transaction. A client never
//! holds keys or values beyond the queue of its MULTI.

use std::sync::Arc;

use super::clients::ClientInfo;
use crate::database::unit::{Outcome, Ticket};
use crate::keyspace::watch::Watch;
use crate::protocol::{Protocol, Request};

/// One connection's state.
#[derive(Debug)]
pub struct Client {
    /// RESP2 until HELLO 3.
    pub protocol: Protocol,
    /// The selected Redis database.
    pub database: u8,
    /// Whether it may do more than AUTH.
    pub authenticated: bool,
    /// MULTI's state; `None` outside.
    pub transaction: Option<Transaction>,
    /// What it watches.
    pub watch: Watch,
    /// Closes the connection once the replies so far are sent (QUIT).
    pub close_after_reply: bool,
    /// What it was told of before the commit, which only `durability = everysec` does.
    pub unsaved: Unsaved,
    /// What CLIENT LIST shows of it.
    pub info: Arc<ClientInfo>,
}

/// The tickets that a client was answered without waiting for, for WAIT.
#[derive(Debug, Default)]
pub struct Unsaved {
    tickets: Vec<Ticket>,
    /// So many are kept before those that are committed are dropped again.
    sweep_at: usize,
}

impl Unsaved {
    /// The fewest that are looked through at a time.
    const SWEEP_MIN: usize = 64;

    /// Adds the tickets of one reply. What is kept is bounded by what the queue to the database holds.
    pub fn add(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        self.tickets.extend(tickets);
        if self.tickets.len() >= self.sweep_at.max(Self::SWEEP_MIN) {
            self.tickets.retain(|ticket| ticket.outcome() != Outcome::Committed);
            self.tickets.dedup_by(|one, other| one.is(other));
            self.sweep_at = self.tickets.len() * 2;
        }
    }

    /// How they ended: `Pending` while one has not, and one that failed counts more than all that are committed.
    pub fn outcome(&mut self) -> Outcome {
        self.tickets.retain(|ticket| ticket.outcome() != Outcome::Committed);
        let mut outcomes = self.tickets.iter().map(Ticket::outcome);
        match outcomes.clone().any(|outcome| outcome == Outcome::Pending) {
            true => Outcome::Pending,
            false => outcomes.next().unwrap_or(Outcome::Committed),
        }
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.tickets.clear();
    }
}

/// A MULTI under way.
#[derive(Debug, Default)]
pub struct Transaction {
    /// The queued commands.
    pub queue: Vec<Request>,
    /// A command could not be queued: EXEC answers EXECABORT.
    pub aborted: bool,
}

impl Client {
    /// A connection that has just begun.
    #[must_use]
    pub fn new(info: Arc<ClientInfo>, authenticated: bool) -> Self {
        Self {
            protocol: Protocol::default(),
            database: 0,
            authenticated,
            transaction: None,
            watch: Watch::default(),
            close_after_reply: false,
            unsaved: Unsaved::default(),
            info,
        }
    }
}
