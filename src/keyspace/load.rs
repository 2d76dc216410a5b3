//! What commands ask the database for: cold values, and, while not all keys are known, whether a key exists at all. Requests
//! that come while a query is under way go with the next one, each key once. An answer fills only what it was asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::Keyspace;
use super::collection;
use super::entry::Name;
use super::keys::record;
use super::known::{ASKED_BYTES_MAX, MARK_BYTES, Round};
use super::packed::Kept;
use super::slot::Slot;
use crate::database::{Database, DatabaseError, Home, Kind, StoredRecord};

/// The most records that one query loads.
const LOAD_MAX: usize = 1_000;

/// How many load requests may wait for the loader; more wait to be queued.
pub const LOADS_WAITING_MAX: usize = 1_024;

/// A request whose keys would take more to be remembered waits until all keys are known: the answers of a larger one could
/// displace each other before it runs.
const REQUEST_BYTES_MAX: usize = ASKED_BYTES_MAX / 8;

/// A request for cold values and unknown keys, and whom to tell.
#[derive(Debug)]
pub struct LoadRequest {
    keys: Vec<(u8, Vec<u8>)>,
    done: oneshot::Sender<Result<(), DatabaseError>>,
}

/// What may yet be asked for together with what was, in bytes of what it takes to remember the answers.
#[derive(Debug)]
pub struct AskRoom(usize);

impl AskRoom {
    /// Takes the room for these keys; `false` if there is too little of it.
    #[must_use]
    pub fn take(&mut self, keys: &[(u8, Vec<u8>)]) -> bool {
        let bytes = keys.iter().map(|(_, key)| MARK_BYTES + key.len()).sum();
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// A key that the database is asked for.
pub(super) struct Question {
    pub name: Name,
    /// The tables that may hold it.
    pub homes: SmallVec<[Home; 2]>,
    pub about: About,
}

/// What is asked, and what the answer is good for.
#[derive(Clone, Copy)]
pub(super) enum About {
    /// The value of this incarnation.
    Value(u64),
    /// Whether the key exists, in this round.
    Existence(Round),
}

impl Keyspace {
    /// Loads the values of these keys, if they are cold, and asks for those that are unknown.
    ///
    /// # Errors
    /// What the database says, for these keys only.
    pub async fn load(&self, keys: Vec<(u8, Vec<u8>)>) -> Result<(), DatabaseError> {
        let cold = keys.iter().filter(|(database, key)| self.is_cold(*database, key)).count();
        self.metrics.keyspace_cold_hits.add(cold as u64);
        let (done, answer) = oneshot::channel();
        let gone = || DatabaseError::Outage { message: "the loader has ended".to_owned(), in_doubt: false };
        self.loads.send(LoadRequest { keys, done }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// How much may be asked for at a time: while not all keys are known, as much as is remembered until the request runs.
    #[must_use]
    pub fn room_to_ask(&self) -> AskRoom {
        AskRoom(if self.knows_all() { usize::MAX } else { REQUEST_BYTES_MAX })
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
            self.make_room();
            for request in together {
                // Who asked may be gone.
                let _ = request.done.send(result.clone());
            }
        }
    }

    async fn load_now(&self, database: &dyn Database, requests: &[LoadRequest]) -> Result<(), DatabaseError> {
        let wanted: BTreeSet<&(u8, Vec<u8>)> = requests.iter().flat_map(|request| &request.keys).collect();
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() {
            // What is asked is looked up just before, so that less of it changes until the answer.
            let questions: Vec<Question> =
                wanted.by_ref().take(LOAD_MAX).filter_map(|(database, key)| self.question(*database, key)).collect();
            let fetched = self.ask(database, &questions).await?;
            self.metrics.cold_loads.add(fetched as u64);
        }
        Ok(())
    }

    /// Puts the answers where they belong. Returns how many values came.
    pub(super) async fn ask(&self, database: &dyn Database, questions: &[Question]) -> Result<usize, DatabaseError> {
        if questions.is_empty() {
            return Ok(0);
        }
        let ids =
            |question: &Question| question.homes.iter().map(|home| record(&question.name, *home)).collect::<Vec<_>>();
        let mut records = database.load(&questions.iter().flat_map(ids).collect::<Vec<_>>()).await?.into_iter();
        let mut values = 0;
        for question in questions {
            let found: Vec<Option<StoredRecord>> = records.by_ref().take(question.homes.len()).collect();
            match question.about {
                About::Value(incarnation) => values += usize::from(self.fill(question, incarnation, found)),
                About::Existence(round) => self.learn(question, round, found),
            }
        }
        Ok(values)
    }

    /// A packed value could not be unpacked: the database has it as it is, and nobody waits for it.
    pub(super) fn load_damaged(&self, database: u8, key: &[u8]) {
        // Where too many wait, the next one who reads it asks again.
        let _ = self.loads.try_send(LoadRequest { keys: vec![(database, key.to_vec())], done: oneshot::channel().0 });
    }

    /// Whether a key is in the table without its value.
    fn is_cold(&self, database: u8, key: &[u8]) -> bool {
        let spot = self.hot.spot(database, key);
        let locked = self.hot.read_shard(spot.shard);
        let life = locked.slot(spot, database, key).and_then(Slot::life);
        life.is_some_and(|life| life.value.is_none())
    }

    /// What is to be asked about a key, if anything.
    fn question(&self, database: u8, key: &[u8]) -> Option<Question> {
        let spot = self.hot.spot(database, key);
        let mut locked = self.hot.lock_shard(spot.shard);
        locked.with_slot(spot, database, key, |slot| self.drop_damaged(slot));
        let name = || Name { database, key: Arc::from(key) };
        if let Some(slot) = locked.slot(spot, database, key) {
            let life = slot.life().filter(|life| life.value.is_none())?;
            let homes = SmallVec::from_iter([life.home]);
            return Some(Question { name: name(), homes, about: About::Value(life.incarnation) });
        }
        let round = self.hot.known.round();
        if self.hot.known.is_absent(spot, database, key) {
            return None;
        }
        let homes = self.session_tables.possible_homes(database, key).collect();
        Some(Question { name: name(), homes, about: About::Existence(round) })
    }

    /// A cold value has come, or its record is gone: then the key is, too. Returns whether it has come.
    fn fill(&self, question: &Question, incarnation: u64, found: Vec<Option<StoredRecord>>) -> bool {
        let (name, home) = (&question.name, question.homes[0]);
        let found = found.into_iter().flatten().next();
        let has_come = found.is_some();
        match found {
            Some(record) => self.warm(name, incarnation, sound(record)),
            None => self.forget(&record(name, home), incarnation),
        }
        has_come
    }

    fn warm(&self, name: &Name, incarnation: u64, record: StoredRecord) {
        let spot = self.hot.spot(name.database, &name.key);
        self.eviction.marks.note_load(spot.hash());
        let mut locked = self.hot.lock_shard(spot.shard);
        locked.change(spot, name.database, &name.key, |_, entry| {
            let committed = entry.pending.as_mut().and_then(|pending| pending.committed.as_mut());
            for life in [committed, entry.life.as_mut()].into_iter().flatten() {
                if life.incarnation == incarnation && life.value.is_none() {
                    life.kind = record.kind;
                    life.value = Some(Kept::Plain(Arc::clone(&record.value)));
                }
            }
        });
    }

    /// The database has said whether a key exists, unless more is known by now. If several tables hold it, the first one wins,
    /// and the others' records are deleted.
    fn learn(&self, question: &Question, round: Round, found: Vec<Option<StoredRecord>>) {
        self.metrics.unknown_keys_asked.increment();
        let (name, now_ms) = (&question.name, self.clock.now_ms());
        let spot = self.hot.spot(name.database, &name.key);
        let mut locked = self.hot.lock_shard(spot.shard);
        let is_known = locked.slot(spot, name.database, &name.key).is_some();
        if is_known || !self.hot.known.may_learn(round, spot, name.database, &name.key) {
            return;
        }
        let found = question.homes.iter().zip(found).filter_map(|(home, record)| Some((*home, record?)));
        let mut live = found.filter(|(_, record)| !record.expiry.is_past(now_ms));
        let Some((home, record)) = live.next() else {
            return self.hot.known.note_asked(spot, name.database, &name.key);
        };
        let StoredRecord { kind, value, expiry } = sound(record);
        self.eviction.marks.note_load(spot.hash());
        self.add(&mut locked, name.clone(), (kind, Some(value)), expiry, home);
        live.for_each(|(home, _)| self.delete_record(super::keys::record(name, home)));
    }
}

/// The record, as one that cannot be read if it is damaged.
fn sound(record: StoredRecord) -> StoredRecord {
    if collection::is_sound(record.kind, &record.value) {
        return record;
    }
    warn!("a record of sojourn_keys cannot be read: it is damaged, or of a type that this version does not know");
    StoredRecord { kind: Kind::Unreadable, ..record }
}
