//! One connection's state: who it is, which protocol and database it speaks to, and its transaction. A client never
//! holds keys or values beyond the queue of its MULTI.

use std::sync::Arc;

use super::clients::ClientInfo;
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
    /// What CLIENT LIST shows of it.
    pub info: Arc<ClientInfo>,
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
            info,
        }
    }
}
