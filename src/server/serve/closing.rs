//! When the server ends a connection by itself: for what its client makes it keep, or for its time. It says so in the log,
//! never with a byte of what the client sent.

use std::time::Instant;

use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::Connection;

impl Connection {
    /// Whether the connection ends at once: for what its client makes the server keep, or for its time.
    pub(super) fn must_close(&mut self) -> bool {
        let (metrics, address) = (&self.app.metrics, self.client.info.address);
        // What cannot arrive whole below the limit is not waited for.
        let request_bytes = self.input.len().max(self.reader.awaited_bytes());
        if request_bytes > self.app.limits.query_bytes_max() {
            metrics.query_limit_disconnections.increment();
            warn!(%address, "a client was closed: its unfinished request reached client-query-buffer-limit");
            return true;
        }
        if !self.client.authenticated && self.output.is_full(false) {
            // As Redis does. A log line for each stranger would be an attack of its own.
            metrics.output_limit_disconnections.increment();
            debug!(%address, "a client without its password was closed: it asks for more than it reads");
            return true;
        }
        if self.client.overruns || self.output.exceeds(&self.output_limit()) {
            metrics.output_limit_disconnections.increment();
            warn!(%address, "a client was closed: what it left unread reached client-output-buffer-limit");
            return true;
        }
        self.deadline().is_some_and(|end| end <= Instant::now())
    }

    /// When the connection ends if nothing happens.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        let limits = &self.app.limits;
        let idle =
            self.idle.end(limits.idle_timeout().filter(|_| !self.output.waits() && self.client.mailbox().is_none()));
        let stranger = self.stranger.end(limits.auth_timeout().filter(|_| !self.client.authenticated));
        [idle, stranger, self.output.soft_end(&self.output_limit())].into_iter().flatten().min()
    }
}

/// Ready once the connection is expelled, as when its user is deleted.
pub(super) async fn ended(expelled: &mut Option<oneshot::Receiver<()>>) {
    match expelled {
        // Nobody sends anything: the sender is dropped.
        Some(expelled) => drop(expelled.await),
        None => std::future::pending().await,
    }
}
