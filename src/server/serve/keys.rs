//! What a connection waits for before a request can run: values that are only in the database, and, after a start, keys that
//! are not known yet. An outage and the end of the server end the wait; nobody else waits with it.

use super::{Connection, stop};
use crate::commands::execute;
use crate::database::DatabaseError;
use crate::database::write_through::Status;
use crate::protocol::Reply;

const AWAY: &str = "MISCONF the database is not available: this session is not in memory and cannot be read now";

/// What a command over the whole keyspace answers in an outage before all keys are known.
const KEYS_AWAY: &str = "MISCONF the database is not available: not all keys have been read yet";

/// The same when the server stops.
const KEYS_STOPPING: &str = "MISCONF the server stops: not all keys have been read yet";

impl Connection {
    /// Loads these keys and those of the requests behind, as far as they may be asked for together, in one query.
    pub(super) async fn load(&mut self, mut keys: Vec<(u8, Vec<u8>)>) -> Result<(), Reply> {
        let mut room = self.app.keyspace.room_to_ask();
        if !room.take(&keys) {
            return self.await_keys().await;
        }
        if std::mem::replace(&mut self.has_loaded, true) && self.kept.is_none() {
            self.kept = Some(self.app.keyspace.hold_loaded());
        }
        for request in &self.requests {
            let behind = execute::keys_to_load(&self.app, &self.client, request);
            if !room.take(&behind) {
                break;
            }
            keys.extend(behind);
        }
        let loaded = async {
            if self.app.write_through.is_down() {
                return Err(AWAY.to_owned());
            }
            match tokio::time::timeout(self.app.write_timeout(), self.app.keyspace.load(keys)).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(DatabaseError::Unusable(message))) => Err(format!("MISCONF {message}")),
                Ok(Err(_)) | Err(_) => Err(AWAY.to_owned()),
            }
        };
        let loaded = loaded.await;
        loaded.map_err(|line| execute::not_loaded(&self.app, &mut self.client, line))
    }

    /// Waits until all keys are known.
    pub(super) async fn await_keys(&mut self) -> Result<(), Reply> {
        let awaited = async {
            let mut settlements = self.settlements.clone();
            loop {
                settlements.borrow_and_update();
                if matches!(self.app.write_through.status(), Status::Down | Status::Lost) {
                    return Err(KEYS_AWAY);
                }
                tokio::select! {
                    biased;
                    () = self.app.keyspace.wait_for_all() => return Ok(()),
                    () = stop(&mut self.stopping) => return Err(KEYS_STOPPING),
                    changed = settlements.changed() => changed.map_err(|_| KEYS_STOPPING)?,
                }
            }
        };
        let awaited = awaited.await;
        awaited.map_err(|line| execute::not_loaded(&self.app, &mut self.client, line.to_owned()))
    }
}
