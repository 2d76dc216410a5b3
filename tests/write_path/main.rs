//! The write path between memory and the database, with a database that fails and stands still at will: when a ticket is
//! settled, what is taken back, and how far a touch may lag.

#![expect(clippy::expect_used, reason = "a test that cannot go on must fail, in its helpers too")]

mod collections;
mod compression;
mod drafts;
mod events;
mod eviction;
mod failures;
mod locks;
mod memory;
mod numbers;
mod outages;
mod prunes;
mod reading;
mod sights;
mod start;
mod tickets;
mod touches;
mod warming;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sojourn::clock::{Clock, Expiry};
use sojourn::database::memory::Memory;
use sojourn::database::unit::Outcome;
use sojourn::database::write_through::{Status, WriteThrough};
use sojourn::database::writer::{Prune, Writer, WriterEnd, WriterSettings};
use sojourn::database::{
    Database, DatabaseError, DatabaseSettings, Home, Kind, Ownership, RecordId, SessionTables, StoredRecord,
};
use sojourn::keyspace::hot::Access;
use sojourn::keyspace::{Keys, Keyspace, Lock, Tickets};
use sojourn::telemetry::metrics::Metrics;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const NOW_MS: i64 = 1_800_000_000_000;
const MINUTE_MS: i64 = 60_000;
const WRITE_TIMEOUT: Duration = Duration::from_millis(100);
/// The longest that a test waits on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reading of all keys that is under way.
type Reading = JoinHandle<Result<Option<usize>, DatabaseError>>;

/// A keyspace with a writer and a database that obeys the test.
struct Rig {
    keyspace: Arc<Keyspace>,
    through: Arc<WriteThrough>,
    database: Arc<Memory>,
    clock: Clock,
    writer: JoinHandle<WriterEnd>,
}

fn settings() -> DatabaseSettings {
    DatabaseSettings {
        url: "memory://".to_owned(),
        session_tables: SessionTables::default(),
        create_tables: true,
        timezone: None,
        write_timeout: WRITE_TIMEOUT,
        identity: "test:1".to_owned(),
    }
}

/// A record of a string that no server knows of.
fn put_by_hand(database: &Memory, home: Home, key: &str, value: &str, expiry: Expiry) {
    let id = RecordId { home, database: 0, key: key.as_bytes().into() };
    database.put_by_hand(id, StoredRecord { kind: Kind::String, value: value.as_bytes().into(), expiry });
}

/// For a writer that deletes expired records this often.
fn pruning_every(interval: Duration, batch: u32, write_timeout: Duration) -> WriterSettings {
    WriterSettings { write_timeout, prune: watch::channel(Prune { interval, batch }).1 }
}

impl Rig {
    async fn start() -> Self {
        Self::on(Arc::new(Memory::open(&settings()))).await
    }

    /// Whose writes wait for longer than a test does.
    async fn patient() -> Self {
        Self::with(Arc::new(Memory::open(&settings())), 10 * PATIENCE, false).await
    }

    /// On a database that holds something already.
    async fn on(database: Arc<Memory>) -> Self {
        Self::with(database, WRITE_TIMEOUT, false).await
    }

    async fn with(database: Arc<Memory>, write_timeout: Duration, everysec: bool) -> Self {
        Self::writing(database, pruning_every(Duration::from_secs(3_600), 1_000, write_timeout), everysec).await
    }

    /// That deletes expired records in each turn of its writer.
    async fn pruning() -> Self {
        Self::pruning_by(1_000).await
    }

    /// The same, so many records at a time.
    async fn pruning_by(batch: u32) -> Self {
        let settings = pruning_every(Duration::from_millis(1), batch, 10 * PATIENCE);
        Self::writing(Arc::new(Memory::open(&self::settings())), settings, false).await
    }

    async fn writing(database: Arc<Memory>, settings: WriterSettings, everysec: bool) -> Self {
        let rig = Self::knowing_nothing(database, settings, everysec).await;
        rig.keyspace.read_keys(&*rig.database).await.expect("a database that answers");
        rig
    }

    /// Whose keys have not been read yet.
    async fn knowing_nothing(database: Arc<Memory>, settings: WriterSettings, everysec: bool) -> Self {
        let Ok(Ownership::Owned { epoch, last_batch }) = database.acquire(None).await else { panic!("it is free") };
        let metrics = Arc::new(Metrics::new(&[]));
        let through = Arc::new(WriteThrough::new(everysec, Arc::clone(&metrics)));
        let clock = Clock::manual(NOW_MS);
        let (keyspace, loads) = Keyspace::new(
            SessionTables::default(),
            Duration::from_secs(60),
            clock.clone(),
            Arc::clone(&through),
            metrics,
        );
        tokio::spawn(Arc::clone(&keyspace).run_loader(Arc::clone(&database) as Arc<dyn Database>, loads));
        let writer = Writer::new(
            Arc::clone(&through),
            Arc::clone(&keyspace) as _,
            Arc::clone(&database) as _,
            clock.clone(),
            settings,
            (epoch, last_batch),
        );
        through.set_status(Status::Up);
        Self { keyspace, through, database, clock, writer: tokio::spawn(writer.run()) }
    }

    /// That reads its keys only as the test lets it, and whose writes and prunes wait for longer than a test does.
    async fn reading(database: Memory) -> (Self, Reading) {
        let writer = pruning_every(10 * PATIENCE, 1_000, PATIENCE);
        let rig = Self::knowing_nothing(Arc::new(database), writer, false).await;
        let reading = rig.read_keys();
        (rig, reading)
    }

    /// A reading begins.
    fn read_keys(&self) -> Reading {
        let (keyspace, database) = (Arc::clone(&self.keyspace), Arc::clone(&self.database));
        tokio::spawn(async move { keyspace.read_keys(&*database).await })
    }

    /// The database is asked for a key, when the runtime comes to it.
    fn question(&self, key: &str) -> JoinHandle<Result<(), DatabaseError>> {
        let (keyspace, key) = (Arc::clone(&self.keyspace), key.as_bytes().to_vec());
        tokio::spawn(async move { keyspace.load(vec![(0, key)]).await })
    }

    fn is_unknown(&self, key: &str) -> bool {
        !self.keyspace.unknown(&[(0, key.as_bytes())]).is_empty()
    }

    /// What the executor does before a command over this key.
    async fn ask(&self, key: &str) {
        while self.is_unknown(key) {
            self.keyspace.load(vec![(0, key.as_bytes().to_vec())]).await.expect("a database that answers");
        }
    }

    /// One command over these keys, or one EXEC.
    fn run<T>(&self, keys: &[&str], command: impl FnOnce(&mut Keys<'_>) -> T) -> (T, Tickets) {
        let keys: Vec<(u8, &[u8])> = keys.iter().map(|key| (0, key.as_bytes())).collect();
        let mut locked = self.keyspace.lock(&Lock::Keys(&keys, Access::Write), 0, self.clock.now_ms());
        let result = command(&mut locked);
        (result, self.finish(locked))
    }

    /// The end of a command whose worker has nothing else to do.
    fn finish(&self, locked: Keys<'_>) -> Tickets {
        let tickets = locked.finish();
        self.through.wake_writer();
        tickets
    }

    fn set(&self, key: &str, value: &str) -> Tickets {
        self.set_until(key, value, Expiry::NEVER)
    }

    fn set_until(&self, key: &str, value: &str, expiry: Expiry) -> Tickets {
        let (put, tickets) = self.run(&[key], |keys| keys.put(key.as_bytes(), value.as_bytes(), expiry));
        put.expect("a write that is taken");
        tickets
    }

    fn set_all(&self, pairs: &[(&str, &str)]) -> Tickets {
        let names: Vec<&str> = pairs.iter().map(|(key, _)| *key).collect();
        let put = |keys: &mut Keys<'_>| {
            pairs.iter().try_for_each(|(key, value)| keys.put(key.as_bytes(), value.as_bytes(), Expiry::NEVER))
        };
        let (put, tickets) = self.run(&names, put);
        put.expect("a write that is taken");
        tickets
    }

    fn expire(&self, key: &str, expiry: Expiry) -> Tickets {
        let (set, tickets) = self.run(&[key], |keys| keys.set_expiry(key.as_bytes(), expiry));
        assert_eq!(set, Ok(true), "{key} is there");
        tickets
    }

    fn delete(&self, key: &str) -> (bool, Tickets) {
        let (deleted, tickets) = self.run(&[key], |keys| keys.delete(key.as_bytes()));
        (deleted.expect("a write that is taken"), tickets)
    }

    fn clear(&self) -> Tickets {
        let mut locked = self.keyspace.lock(&Lock::All, 0, self.clock.now_ms());
        locked.clear(None).expect("a write that is taken");
        self.finish(locked)
    }

    fn get(&self, key: &str) -> (Option<String>, Tickets) {
        let (value, tickets) = self.run(&[key], |keys| keys.value(key.as_bytes()));
        let value = value.expect("a hot value");
        (value.map(|value| String::from_utf8_lossy(&value).into_owned()), tickets)
    }

    fn value(&self, key: &str) -> Option<String> {
        self.get(key).0
    }

    fn stored(&self, key: &str) -> Option<String> {
        self.database.stored(key.as_bytes()).map(|(value, _)| String::from_utf8_lossy(&value).into_owned())
    }

    fn recorded(&self, key: &str) -> Option<Expiry> {
        self.database.stored(key.as_bytes()).map(|(_, expiry)| expiry)
    }

    /// Memory and database agree on these keys, and nothing is pending on them.
    fn assert_agrees(&self, expected: &[(&str, Option<&str>)]) {
        for (key, value) in expected {
            let (found, tickets) = self.get(key);
            assert_eq!(found.as_deref(), *value, "{key} in memory");
            assert!(tickets.is_empty(), "{key} is settled");
            assert_eq!(self.stored(key).as_deref(), *value, "{key} in the database");
        }
    }

    /// An empty database number: what DBSIZE counts.
    fn count(&self) -> usize {
        self.keyspace.counts.keys(0)
    }
}

/// The one ticket of a write.
fn outcome(tickets: &Tickets) -> Outcome {
    assert_eq!(tickets.len(), 1, "one ticket");
    tickets[0].outcome()
}

/// Waits until `is` says yes.
async fn wait_until(what: &str, is: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for the end of a write.
async fn settled(tickets: &Tickets) -> Outcome {
    wait_until("a ticket", || outcome(tickets) != Outcome::Pending).await;
    outcome(tickets)
}

/// Lets the writer run as far as it can.
async fn settle_down() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn outage(in_doubt: bool) -> DatabaseError {
    DatabaseError::Outage { message: "made by a test".to_owned(), in_doubt }
}
