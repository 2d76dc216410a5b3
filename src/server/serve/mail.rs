//! The messages of a connection that listens to channels, and the lines of a monitor: they go out with its replies, in one
//! order, and count with them against what it may leave unread.

use super::Connection;
use crate::app::mailbox::Mailbox;
use crate::config::BufferLimit;
use crate::keyspace::Tickets;

impl Connection {
    /// Puts what has come behind the replies so far. A message is never kept back for the room that a reply would need: a client
    /// that does not read is to reach its limit.
    pub(super) fn take_mail(&mut self) {
        for message in self.client.take_messages() {
            self.output.push(message, Tickets::new(), self.client.protocol);
        }
    }

    /// How much it may leave unread. For Redis 7.0 a monitor is a normal client, which has no limit unless somebody sets one; here
    /// it is closed as a subscriber is.
    pub(super) fn output_limit(&self) -> BufferLimit {
        let limits = &self.app.limits;
        if self.client.mailbox().is_some() { limits.listener_output() } else { limits.output() }
    }
}

/// Ready once a message has come; never for whoever does not listen.
pub(super) async fn mail(mailbox: Option<&Mailbox>) {
    match mailbox {
        Some(mailbox) => mailbox.arrived().await,
        None => std::future::pending().await,
    }
}
