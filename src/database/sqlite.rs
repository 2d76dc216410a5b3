//! SQLite: a file beside the server, with a write-ahead log that is flushed at every commit (`synchronous = FULL`; NORMAL
//! would lose the last commits with the power). One connection writes, two read. Owned by a lock on a file beside it,
//! which ends with the process. Never lowers the flushes, and never waits for a reader: the log makes that needless.

mod checkpoint;
mod errors;
mod inspect;
mod owner;
mod read;
mod schema;
mod survey;
#[cfg(test)]
mod tests;
mod times;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Mutex;

use self::checkpoint::{Checkpointer, Disk, LOG_PAGES_MAX};
use self::errors::{classify, outage};
pub(super) use self::inspect::inspect;
use self::owner::OwnerFile;
use super::{
    Batch, Change, Committed, Database, DatabaseError, DatabaseSettings, Description, Home, Ownership, RecordId,
    StoredRecord, Visit, parts,
};
use crate::telemetry::storage::StorageFigures;

/// Connections for cold reads; each is a thread.
const READERS: u32 = 2;

/// Prepared statements of a connection: three kinds of change of up to 17 tables, in five sizes.
const STATEMENTS: usize = 256;

/// Records in a SQLite file.
pub struct Sqlite {
    settings: DatabaseSettings,
    path: PathBuf,
    tables: Vec<Table>,
    writer: Mutex<Writer>,
    disk: Arc<Disk>,
    /// Held by whoever commits, and by a checkpoint that nothing may be added to. Not `writer`, which is held by whoever waits for
    /// the last checkpoint to end.
    commits: Arc<Mutex<()>>,
    readers: RwLock<Option<SqlitePool>>,
    found: RwLock<Found>,
}

/// A session table.
struct Table {
    quoted: String,
    prefix: Vec<u8>,
}

/// The lock outlives the connection: an outage does not give the database away.
#[derive(Default)]
struct Writer {
    lock: Option<OwnerFile>,
    open: Option<(SqliteConnection, i64)>,
    checkpointer: Option<Checkpointer>,
}

impl Writer {
    /// Closes its connection, after that of the checkpoints: the last one clears the log away.
    async fn close(&mut self) {
        if let Some(checkpointer) = self.checkpointer.take() {
            checkpointer.stop().await;
        }
        if let Some((connection, _)) = self.open.take() {
            let _ = connection.close().await;
        }
    }
}

/// What opening the file told.
#[derive(Default)]
struct Found {
    version: String,
    warnings: Vec<String>,
}

/// The DDL of all tables, for `sojourn schema`.
#[must_use]
pub fn schema(settings: &DatabaseSettings) -> String {
    schema::text(settings)
}

impl Sqlite {
    /// Reads the URL; touches no file yet.
    ///
    /// # Errors
    /// `Unusable` for a URL that names no file.
    pub fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        let rest = settings.url.strip_prefix("sqlite:").unwrap_or(&settings.url);
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let path = match rest.split_once('?') {
            None | Some((_, "mode=rwc")) => rest.split('?').next().unwrap_or_default(),
            Some((_, options)) => {
                return Err(DatabaseError::Unusable(format!("database-url: sqlite://path has no option {options:?}")));
            }
        };
        if path.is_empty() || path == ":memory:" {
            return Err(DatabaseError::Unusable(
                "database-url: expected sqlite://path; memory:// is the database that keeps nothing".to_owned(),
            ));
        }
        let path = std::path::absolute(path)
            .map_err(|error| DatabaseError::Unusable(format!("database-url: {path}: {error}")))?;
        let table =
            |table: &super::SessionTable| Table { quoted: schema::quote(&table.table), prefix: table.prefix.clone() };
        Ok(Self {
            tables: settings.session_tables.tables().iter().map(table).collect(),
            settings: settings.clone(),
            disk: Arc::new(Disk::of(&path)),
            path,
            writer: Mutex::default(),
            commits: Arc::default(),
            readers: RwLock::new(None),
            found: RwLock::default(),
        })
    }

    /// How the file is opened, which is made if it is not there. To set the mode of the journal is to write, wherever it is
    /// another one.
    fn options(&self) -> SqliteConnectOptions {
        self.options_to_look().create_if_missing(true).journal_mode(SqliteJournalMode::Wal)
    }

    /// The same of one that is taken as it is.
    fn options_to_look(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(self.settings.write_timeout.max(Duration::from_millis(2)) / 2)
            .statement_cache_capacity(STATEMENTS)
            .pragma("wal_autocheckpoint", LOG_PAGES_MAX.to_string())
            // What a statement over many rows would take back if it failed goes to a file otherwise, and each page is written twice.
            .pragma("temp_store", "memory")
            .disable_statement_logging()
    }

    /// Opens the file, makes or checks the tables and begins a new epoch.
    async fn connect(&self, held: Option<i64>) -> Result<(SqliteConnection, i64, i64), DatabaseError> {
        let mut connection = self.options().connect().await.map_err(|error| self.explain(error))?;
        let (version, mode): (String, String) =
            sqlx::query_as("select sqlite_version(), (select journal_mode from pragma_journal_mode)")
                .fetch_one(&mut connection)
                .await
                .map_err(|error| self.explain(error))?;
        let warnings = match mode.as_str() {
            "wal" => Vec::new(),
            _ => {
                vec![format!(
                    "SQLite cannot keep a write-ahead log there (journal_mode = {mode}): commits are slower, and wait or are \
                     refused while all keys are read at the start"
                )]
            }
        };
        *self.found.write() = Found { version, warnings };
        schema::prepare(&mut connection, &self.settings).await?;
        let (epoch, last_batch) = owner::advance(&mut connection, held, &self.settings.identity).await?;
        Ok((connection, epoch, last_batch))
    }

    fn explain(&self, error: sqlx::Error) -> DatabaseError {
        if errors::is_not_a_database(&error) {
            return DatabaseError::Unusable(format!("{} is not a SQLite database", self.path.display()));
        }
        classify(error, false)
    }

    fn readers(&self) -> Result<SqlitePool, DatabaseError> {
        self.readers.read().clone().ok_or_else(|| outage("not open yet", false))
    }

    async fn close_readers(&self) {
        let before = self.readers.write().take();
        if let Some(before) = before {
            before.close().await;
        }
    }
}

#[async_trait]
impl Database for Sqlite {
    async fn acquire(&self, held: Option<i64>) -> Result<Ownership, DatabaseError> {
        let mut writer = self.writer.lock().await;
        writer.close().await;
        if writer.lock.is_none() {
            match OwnerFile::lock(&self.path, &self.settings.identity)? {
                Ok(lock) => writer.lock = Some(lock),
                Err(owner) if held.is_none() => return Ok(Ownership::HeldBy { owner }),
                Err(owner) => return Err(DatabaseError::Fenced { owner }),
            }
        }
        let (connection, epoch, last_batch) = self.connect(held).await?;
        self.close_readers().await;
        let readers = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(self.settings.write_timeout);
        *self.readers.write() = Some(readers.connect_lazy_with(self.options()));
        writer.checkpointer =
            Some(Checkpointer::start(self.options(), Arc::clone(&self.disk), Arc::clone(&self.commits)));
        writer.open = Some((connection, epoch));
        Ok(Ownership::Owned { epoch, last_batch })
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, DatabaseError> {
        let mut writer = self.writer.lock().await;
        // Taken out, and put back only when the transaction is over: whoever drops this future in the middle drops the
        // connection too, and with it the transaction.
        let (mut connection, epoch) = writer.open.take().ok_or_else(|| outage("the file is not open", false))?;
        let commits = self.commits.lock().await;
        let committed = write::commit(&mut connection, &self.tables, epoch, batch).await;
        drop(commits);
        if !matches!(committed, Err(DatabaseError::Outage { .. } | DatabaseError::Fenced { .. })) {
            writer.open = Some((connection, epoch));
        }
        if let (Ok(committed), Some(checkpointer)) = (&committed, &mut writer.checkpointer) {
            checkpointer.note(&batch.work, committed);
        }
        committed
    }

    async fn locked(&self, _: &[(RecordId, Change)]) -> Result<Vec<usize>, DatabaseError> {
        // SQLite locks the whole file, which is an outage while it lasts.
        Ok(Vec::new())
    }

    async fn scan(&self, home: Home, now_ms: i64, visit: &mut Visit<'_>) -> Result<(), DatabaseError> {
        let mut connection =
            self.options().row_buffer_size(read::TURN_ROWS).connect().await.map_err(|error| self.explain(error))?;
        let scanned = read::scan(&mut connection, table(&self.tables, home)?, now_ms, visit).await;
        let _ = connection.close().await;
        scanned
    }

    async fn load(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredRecord>>, DatabaseError> {
        let mut reader = self.readers()?.acquire().await.map_err(|error| classify(error, false))?;
        read::load(&mut reader, &self.tables, ids).await
    }

    async fn survey(&self, now_ms: i64) -> Result<StorageFigures, DatabaseError> {
        survey::survey(&self.readers()?, &self.path, &self.tables, &self.settings.session_tables, now_ms).await
    }

    async fn release(&self) {
        let mut writer = self.writer.lock().await;
        self.close_readers().await;
        writer.close().await;
        writer.lock = None;
    }

    fn description(&self) -> Description {
        let found = self.found.read();
        Description {
            kind: "sqlite",
            place: self.path.display().to_string(),
            version: found.version.clone(),
            is_encrypted: None,
            warnings: found.warnings.clone(),
        }
    }
}

/// The session table of a home; `None` for `sojourn_keys`.
fn table(tables: &[Table], home: Home) -> Result<Option<&Table>, DatabaseError> {
    match home {
        Home::Keys => Ok(None),
        Home::Session(position) => match tables.get(usize::from(position)) {
            Some(table) => Ok(Some(table)),
            None => Err(DatabaseError::Refused(format!("there is no session table number {position}"))),
        },
    }
}

/// The key as its table has it.
fn stored_key<'a>(tables: &[Table], id: &'a RecordId) -> Result<&'a [u8], DatabaseError> {
    let prefix = table(tables, id.home)?.map_or(&[][..], |table| table.prefix.as_slice());
    parts::without_prefix(&id.key, prefix)
}
