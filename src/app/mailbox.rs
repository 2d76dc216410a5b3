//! The messages of one subscriber or monitor that its connection has not taken yet. It never grows beyond what its client may
//! leave unread: whoever is that slow is closed.

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::protocol::Reply;

/// The most bytes that wait where `client-output-buffer-limit` has no limit: what a busy thread may find when it comes back,
/// and as much as one EXEC may answer.
pub(super) const UNTAKEN_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// What waits for one connection, besides its replies.
#[derive(Debug, Default)]
pub struct Mailbox {
    untaken: Mutex<Untaken>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Untaken {
    messages: Vec<Reply>,
    bytes: usize,
    overran: bool,
}

impl Mailbox {
    /// Leaves a message, of which at most `bytes_max` may wait.
    pub(super) fn deliver(&self, message: Reply, bytes_max: usize) {
        self.deliver_all(std::iter::once(message), bytes_max);
    }

    /// Leaves several messages, or none of them if they are too much.
    pub(super) fn deliver_all(&self, messages: impl Iterator<Item = Reply>, bytes_max: usize) {
        let mut untaken = self.untaken.lock();
        if untaken.overran {
            return;
        }
        let was_empty = untaken.messages.is_empty();
        for message in messages {
            untaken.bytes += message.bytes_about();
            if untaken.bytes >= bytes_max {
                *untaken = Untaken { overran: true, ..Untaken::default() };
                break;
            }
            untaken.messages.push(message);
        }
        let overran = untaken.overran;
        drop(untaken);
        if was_empty || overran {
            self.arrived.notify_one();
        }
    }

    /// Takes what is there; `None` once too much was, and the connection is to be closed.
    #[must_use]
    pub fn take(&self) -> Option<Vec<Reply>> {
        let mut untaken = self.untaken.lock();
        untaken.bytes = 0;
        if untaken.overran { None } else { Some(std::mem::take(&mut untaken.messages)) }
    }

    /// Waits for the next message.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
