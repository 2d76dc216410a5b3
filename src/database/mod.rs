//! The database border: records, never commands. What is above it knows keys, values and expiries; what is below
//! knows SQL. A database never decides who is expired or what a command means, and it never acknowledges what a
//! crash could take back.
//!
//! `write_through` is the only caller of [`Database::commit`]; the keyspace's loader calls [`Database::load`] and
//! [`Database::scan`].

mod batch;
#[cfg(test)]
mod contract;
pub mod finding;
pub mod json_object;
pub mod kind;
pub mod memory;
mod parts;
pub mod placement;
pub mod postgres;
mod settings;
pub mod sqlite;
pub mod unit;
pub mod write_through;
pub mod writer;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Expiry;
use crate::telemetry::storage::StorageFigures;
pub use finding::{Finding, Inspection, Verdict};
pub use kind::Kind;
pub use placement::{Home, SessionTable, SessionTables};

/// Up to how many expired rows of a table are counted: a few milliseconds by the index, and more than a prune that keeps up leaves.
pub const EXPIRED_ROWS_MAX: u64 = 10_000;

/// A value as stored: any bytes, shared between queue and reply, and with memory while its key is held wide.
pub type Value = Arc<[u8]>;

/// A value as found in a table, and what it is.
pub type StoredValue = (Kind, Value);

/// Which record: where it lives, and the whole Redis key (a session table's prefix included; the database strips it).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The table.
    pub home: Home,
    /// The Redis database number, 0 for every session table.
    pub database: u8,
    /// The key, prefix included.
    pub key: Arc<[u8]>,
}

/// What happens to one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The record is written, new or over an old one.
    Put {
        /// What its value is; only strings are put into a session table.
        kind: Kind,
        /// Its value.
        value: Value,
        /// The record's end.
        expiry: Expiry,
        /// The key's end, which may be later and follow as a touch: for memory, no database looks at it.
        until: Expiry,
    },
    /// Only its end changes; a record that is not there stays away.
    Expire {
        /// The new end.
        expiry: Expiry,
    },
    /// The record is deleted; one that is not there is no error.
    Delete,
}

impl Change {
    /// The bytes of its value, if it writes one.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        match self {
            Self::Put { value, .. } => value.len(),
            Self::Expire { .. } | Self::Delete => 0,
        }
    }
}

/// What one commit does: either changes of records, each record at most once, or the deletion of a whole database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchWork {
    /// Changes of different records, in no order that matters. Empty is allowed: it renews the ownership.
    Changes(Vec<(RecordId, Change)>),
    /// Deletes every record of one Redis database, or of all (`None`). Database 0 includes the session tables.
    Clear {
        /// The database number.
        database: Option<u8>,
    },
    /// Deletes at most `limit` records of each table whose expiry is before `before_ms`.
    Prune {
        /// Unix milliseconds.
        before_ms: i64,
        /// The most records of a table that one commit deletes.
        limit: u32,
    },
}

/// One commit: a number that only grows, and its work. The whole of it is one transaction that first checks that
/// this process still owns the database (its epoch) and records the number as the owner's `last_batch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Larger than every number that was committed before, over all epochs.
    pub number: i64,
    /// What it does.
    pub work: BatchWork,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Positions, within `BatchWork::Changes`, of `Change::Expire` whose record was not there: somebody deleted it by SQL.
    pub missing: Vec<usize>,
    /// Records that `BatchWork::Prune` deleted.
    pub pruned: u64,
}

/// A try to own the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This process owns it now.
    Owned {
        /// The number of this ownership, larger than every earlier one.
        epoch: i64,
        /// The number of the last batch that was ever committed.
        last_batch: i64,
    },
    /// Another process owns it.
    HeldBy {
        /// Its name, as it gave it (`host:pid`).
        owner: String,
    },
}

/// A key as found in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredKey<'k> {
    /// Redis database number.
    pub database: u8,
    /// The whole Redis key, prefix included.
    pub key: &'k [u8],
    /// What its value is.
    pub kind: Kind,
    /// Its end.
    pub expiry: Expiry,
}

/// What is done with each key of a table; a break ends the reading.
pub type Visit<'v> = dyn FnMut(StoredKey<'_>) -> ControlFlow<()> + Send + 'v;

/// A record as found in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// What its value is.
    pub kind: Kind,
    /// Its value, byte for byte what was put.
    pub value: Value,
    /// Its end.
    pub expiry: Expiry,
}

/// Why a database did not do what was asked. The kinds are what the caller must do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// Its data was refused (SQLSTATE classes 22, 23, 54): nothing of the batch was committed, and the same batch would fail again.
    #[error("the database refused the data: {0}")]
    Refused(String),
    /// It collided with another transaction (class 40): nothing was committed, the same batch may succeed now.
    #[error("the transaction collided with another one: {0}")]
    Conflict(String),
    /// Somebody holds a lock that it needs (55P03): nothing was committed.
    #[error("a record is locked by somebody else: {0}")]
    Locked(String),
    /// The database is away, full or read-only (classes 08, 25006, 53, 57, 58, or no connection).
    #[error("the database is not available: {message}")]
    Outage {
        /// What was seen.
        message: String,
        /// Whether a commit under way may have happened all the same; `acquire` and its `last_batch` settle it.
        in_doubt: bool,
    },
    /// Another process owns the database now; nothing was committed, and nothing of ours ever will be.
    #[error("another server owns the database now: {owner}")]
    Fenced {
        /// The new owner's name.
        owner: String,
    },
    /// It cannot be used as it is (login, missing table, column or privilege); says what to mend.
    #[error("{0}")]
    Unusable(String),
}

/// What a database must be told to be opened.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `postgres://…`, `sqlite://path` or `memory://`.
    pub url: String,
    /// Which prefix lives in which table.
    pub session_tables: SessionTables,
    /// Whether missing tables are created.
    pub create_tables: bool,
    /// The time zone that session tables are written in; `None` asks the database.
    pub timezone: Option<String>,
    /// The longest that one statement may take.
    pub write_timeout: Duration,
    /// How this process names itself to another that waits; no other start ever has the same name.
    pub identity: String,
}

/// A database that holds the records. One suite, `contract`, says what each implementation must do.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// One try to own the database. `held` is this process's own epoch when it reconnects: if anybody else has owned
    /// the database since, the answer is [`DatabaseError::Fenced`]. Owning it creates or checks the tables first,
    /// waits for any commit of an earlier owner that is still under way, and fences out all later ones.
    ///
    /// # Errors
    /// `Outage` (try again), `Unusable` (never will), `Fenced` (only with `held`).
    async fn acquire(&self, held: Option<i64>) -> Result<Ownership, DatabaseError>;

    /// Commits one batch, whole or not at all; durable when it returns. Only one call is under way at a time, but its
    /// future may be dropped at any moment, which counts as in doubt until the next `acquire`. After that, and after `Outage`,
    /// nothing is committed before the next `acquire`.
    ///
    /// # Errors
    /// Each kind says what was committed (see [`DatabaseError`]).
    async fn commit(&self, batch: &Batch) -> Result<Committed, DatabaseError>;

    /// Which of these changes, by position in rising order, would wait now because somebody else has locked the record. Waits
    /// for no record, and sees only records that are there: not one that somebody has inserted and not committed.
    ///
    /// # Errors
    /// `Locked` if a whole table or the ownership is locked, so that no commit at all can succeed; `Outage`.
    async fn locked(&self, changes: &[(RecordId, Change)]) -> Result<Vec<usize>, DatabaseError>;

    /// Calls `visit` with each key of one table that is not expired at `now_ms`, in any order, once, as it was at some moment
    /// since the call; so whatever is committed meanwhile may be missing or out of date. Commits and loads go on, and other
    /// tasks of the thread get their turns. Long: it takes as long as a table of millions does.
    ///
    /// # Errors
    /// `Outage` or `Unusable`, after any number of visits.
    async fn scan(&self, home: Home, now_ms: i64, visit: &mut Visit<'_>) -> Result<(), DatabaseError>;

    /// These records, in the same order; `None` for one that is not there. With the kind and the end as they are now: a row
    /// may have been edited since it was scanned, and one that has expired may still be there.
    ///
    /// # Errors
    /// `Outage` or `Unusable`.
    async fn load(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredRecord>>, DatabaseError>;

    /// What it says of its tables and files, by means that are cheap for it: estimates of rows, and rows that have ended at
    /// `now_ms`, counted up to [`EXPIRED_ROWS_MAX`] for each table. It never waits for the writer.
    ///
    /// # Errors
    /// `Outage` or `Unusable`.
    async fn survey(&self, now_ms: i64) -> Result<StorageFigures, DatabaseError>;

    /// Gives the ownership back and closes all connections.
    async fn release(&self);

    /// What operators should see at the start and in INFO: kind, place with the password masked, and warnings.
    fn description(&self) -> Description;
}

/// What a database says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// `postgresql`, `sqlite` or `memory`.
    pub kind: &'static str,
    /// The URL with its password masked, or the absolute path of the file.
    pub place: String,
    /// The version of the server or library, when known.
    pub version: String,
    /// Whether nobody between can read what it is told; `None` where nobody is between, or before it is known.
    pub is_encrypted: Option<bool>,
    /// What weakens it, one sentence each (no durability, `fsync` off, time zone guessed).
    pub warnings: Vec<String>,
}

/// Opens the database that the URL names, without connecting yet.
///
/// # Errors
/// `Unusable` when the URL is of no known kind or malformed.
pub fn open(settings: &DatabaseSettings) -> Result<Arc<dyn Database>, DatabaseError> {
    let scheme = settings.url.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "postgres" | "postgresql" => Ok(Arc::new(postgres::Postgres::open(settings)?)),
        "sqlite" => Ok(Arc::new(sqlite::Sqlite::open(settings)?)),
        "memory" => Ok(Arc::new(memory::Memory::open(settings))),
        _ => Err(DatabaseError::Unusable("database-url: expected postgres://…, sqlite://path or memory://".to_owned())),
    }
}

/// Looks at the database that the URL names and at what a start would need of it. Changes nothing, and is not noticed by a server
/// that owns it.
pub async fn inspect(settings: &DatabaseSettings) -> Inspection {
    match settings.url.split_once(':').map_or("", |(scheme, _)| scheme) {
        "postgres" | "postgresql" => postgres::inspect(settings).await,
        "sqlite" => sqlite::inspect(settings).await,
        _ => Inspection::default(),
    }
}
