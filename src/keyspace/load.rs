//! Keys and values from the database: all keys at the start, and cold values when they are asked for. Requests that come
//! while a query is under way go with the next one, each key once. A load fills only the incarnation it was asked for.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::Keyspace;
use super::collection;
use super::entry::{Ends, Entry, Life, Name};
use super::hot::SHARDS;
use super::keys::record;
use super::slot::Slot;
use crate::clock::Expiry;
use crate::database::unit::{Ticket, Unit, Work};
use crate::database::{Change, Database, DatabaseError, Home, Kind, RecordId, StoredKey, StoredValue};
use crate::telemetry::metrics::DATABASES_MAX;

/// Keys of one page while they are read at the start: a few megabytes in memory, a few milliseconds in the database.
const SCAN_PAGE: u32 = 10_000;

/// The most values that one query loads.
const LOAD_MAX: usize = 1_000;

/// How many load requests may wait for the loader; more wait to be queued.
pub const LOADS_WAITING_MAX: usize = 1_024;

/// A request for cold values, and whom to tell.
#[derive(Debug)]
pub struct LoadRequest {
    keys: Vec<(u8, Vec<u8>)>,
    done: oneshot::Sender<Result<(), DatabaseError>>,
}

impl Keyspace {
    /// Reads all keys of the database; values stay cold. Returns how many sessions (keys of session tables) there are.
    ///
    /// # Errors
    /// What the database says; the caller starts anew.
    pub async fn load_keys(&self, database: &dyn Database) -> Result<usize, DatabaseError> {
        self.forget_all();
        let homes: Vec<Home> = self.session_tables.homes().map(|(home, _)| home).chain([Home::Keys]).collect();
        let mut sessions = 0;
        for home in homes {
            let mut last: Option<StoredKey> = None;
            loop {
                let page = database.scan(home, last.as_ref(), SCAN_PAGE, self.clock.now_ms()).await?;
                let full = page.len() >= SCAN_PAGE as usize;
                last = page.last().cloned();
                sessions += if home == Home::Keys { 0 } else { page.len() };
                page.into_iter().for_each(|stored| self.add_stored(stored, home));
                if !full {
                    break;
                }
            }
        }
        Ok(sessions)
    }

    /// Forgets what an earlier try has read before the database went away: another server may have owned it since.
    fn forget_all(&self) {
        self.write_through.forget();
        for number in 0..SHARDS {
            let mut locked = self.hot.lock_shard(number);
            locked.retain(number, |slot| {
                self.counts.shift(number, slot.database(), slot.life().map(|life| life.ends.expiry), None);
                false
            });
        }
    }

    /// Adds a key that a table holds. If two tables hold it, the one that was read first wins: the other record is deleted.
    fn add_stored(&self, stored: StoredKey, home: Home) {
        let StoredKey { database, key, kind, expiry } = stored;
        if usize::from(database) >= DATABASES_MAX {
            warn!(database, "a record of a database that no client can select is left alone");
            return;
        }
        let spot = self.hot.spot(database, &key);
        let mut locked = self.hot.lock_shard(spot.shard);
        let known = locked.slot(spot, database, &key).and_then(Slot::life).map(|life| life.home);
        match known {
            Some(known) if known != home => {
                let id = RecordId { home, database, key };
                let work = Work::Changes([(id, Change::Delete)].into_iter().collect());
                self.write_through.enqueue(Unit::new(Ticket::default(), work));
            }
            Some(_) => {}
            None => {
                let life = self.cold(kind, expiry, home);
                self.counts.shift(spot.shard, database, None, Some(expiry));
                let entry = Entry { life: Some(life), pending: None };
                locked.insert(spot, Name { database, key }, entry);
            }
        }
    }

    fn cold(&self, kind: Kind, expiry: Expiry, home: Home) -> Life {
        let incarnation = self.next_incarnation();
        Life { kind, value: None, ends: Ends::at(expiry), home, incarnation }
    }

    /// Loads the values of these keys, if they are cold.
    ///
    /// # Errors
    /// What the database says, for these keys only.
    pub async fn load(&self, keys: Vec<(u8, Vec<u8>)>) -> Result<(), DatabaseError> {
        self.metrics.keyspace_cold_hits.add(keys.len() as u64);
        let (done, answer) = oneshot::channel();
        let gone = || DatabaseError::Outage { message: "the loader has ended".to_owned(), in_doubt: false };
        self.loads.send(LoadRequest { keys, done }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Answers load requests until the keyspace is gone.
    pub async fn run_loader(self: Arc<Self>, database: Arc<dyn Database>, mut requests: mpsc::Receiver<LoadRequest>) {
        while let Some(first) = requests.recv().await {
            let mut together = vec![first];
            let mut keys = together[0].keys.len();
            while keys < LOAD_MAX
                && let Ok(next) = requests.try_recv()
            {
                keys += next.keys.len();
                together.push(next);
            }
            let result = self.load_now(&*database, &together).await;
            for request in together {
                // Who asked may be gone.
                let _ = request.done.send(result.clone());
            }
        }
    }

    async fn load_now(&self, database: &dyn Database, requests: &[LoadRequest]) -> Result<(), DatabaseError> {
        let mut wanted: HashMap<RecordId, u64> = HashMap::new();
        for (number, key) in requests.iter().flat_map(|request| &request.keys) {
            wanted.extend(self.cold_record(*number, key));
        }
        let wanted: Vec<(RecordId, u64)> = wanted.into_iter().collect();
        for part in wanted.chunks(LOAD_MAX) {
            let ids: Vec<RecordId> = part.iter().map(|(id, _)| id.clone()).collect();
            let values = database.load(&ids).await?;
            self.metrics.cold_loads.add(ids.len() as u64);
            for ((id, incarnation), value) in part.iter().zip(values) {
                match value {
                    Some(value) => self.warm(id, *incarnation, value),
                    None => self.forget(id, *incarnation),
                }
            }
        }
        Ok(())
    }

    fn cold_record(&self, database: u8, key: &[u8]) -> Option<(RecordId, u64)> {
        let spot = self.hot.spot(database, key);
        let locked = self.hot.lock_shard(spot.shard);
        let life = locked.slot(spot, database, key)?.life().filter(|life| life.value.is_none())?;
        let name = Name { database, key: Arc::from(key) };
        Some((record(&name, life.home), life.incarnation))
    }

    fn warm(&self, id: &RecordId, incarnation: u64, (kind, value): StoredValue) {
        let is_sound = collection::is_sound(kind, &value);
        if !is_sound {
            warn!(
                "a record of sojourn_keys cannot be read: it is damaged, or of a type that this version does not know"
            );
        }
        let kind = if is_sound { kind } else { Kind::Unreadable };
        let spot = self.hot.spot(id.database, &id.key);
        let mut locked = self.hot.lock_shard(spot.shard);
        locked.change(spot, id.database, &id.key, |_, entry| {
            let committed = entry.pending.as_mut().and_then(|pending| pending.committed.as_mut());
            for life in [committed, entry.life.as_mut()].into_iter().flatten() {
                if life.incarnation == incarnation && life.value.is_none() {
                    life.kind = kind;
                    life.value = Some(Arc::clone(&value));
                }
            }
        });
    }
}
