//! What a connection waits for before it adds to the queue to the database. It never drops a client for that.

use super::Connection;
use crate::commands::execute;
use crate::protocol::Request;
use crate::server::stream::Writer;

/// Replies that one connection may have waiting for commits where many units wait: enough that fifty of them fill batches.
const SHARE_WHEN_CROWDED: usize = 16;

impl Connection {
    /// At the limit of the queue to the database clients that write are slowed, not dropped. Long before, a client that has its
    /// share under way waits: whoever comes next stands behind a few of each, and not behind all of a flood.
    pub(super) async fn wait_for_room(&mut self, request: &Request, to: &mut Writer<'_>) {
        while self.lacks_room() && execute::may_write(request) {
            self.release_replies();
            // A client that is gone is noticed when the connection goes on.
            if self.send_now(to).is_err() {
                return;
            }
            if self.app.keyspace.is_strained() && self.app.keyspace.relieve() {
                tokio::task::yield_now().await;
            } else if self.lacks_room() && self.settlements.changed().await.is_err() {
                return;
            }
        }
    }

    fn lacks_room(&self) -> bool {
        let write_through = &self.app.write_through;
        let has_share = self.output.waiting() >= SHARE_WHEN_CROWDED && write_through.is_crowded();
        (has_share || !write_through.has_room() || self.app.keyspace.is_strained()) && !write_through.is_stopping()
    }
}
