//! PostgreSQL: one connection that writes, and a few that read. Durable when a commit returns: one statement, one
//! transaction, one round trip, which first checks that this process still owns the database. Never acknowledges a
//! commit whose answer it has not seen: a connection that failed or was left in the middle is thrown away.

mod batch;
mod connect;
mod errors;
mod inspect;
mod locks;
mod owner;
mod read;
mod scan;
mod schema;
mod survey;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection, Row};
use tokio::sync::Mutex;

use self::batch::Statement;
use self::connect::Connector;
use self::errors::{classify, classify_commit, outage};
pub(super) use self::inspect::inspect;
use self::owner::Lease;
use self::read::Known;
use super::batch::BATCH_BYTES_MAX;
use super::{
    Batch, BatchWork, Change, Committed, Database, DatabaseError, DatabaseSettings, Description, Home, Ownership,
    RecordId, StoredRecord, Visit,
};
use crate::telemetry::storage::StorageFigures;

/// How long a waiting server watches an owner that gives no sign of life before it takes the database from it. Five
/// times the owner's heartbeat, so that a slow commit or a paused virtual machine does not cost the ownership.
pub const LEASE: Duration = Duration::from_secs(10);

/// How long FLUSHALL may take: it deletes row by row, and a million rows take seconds.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(600);

/// How much longer than the server's own `statement_timeout` an answer is waited for: whoever hears nothing even then
/// speaks to nobody, and only a new connection helps.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// How long a connection that is closed may take to say goodbye; a dead peer never does.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Records in PostgreSQL.
pub struct Postgres {
    settings: DatabaseSettings,
    connector: Connector,
    writer: Mutex<Option<Writer>>,
    lease: Mutex<Lease>,
    known: RwLock<Option<Arc<Known>>>,
}

/// The connection that owns the database.
struct Writer {
    connection: PgConnection,
    epoch: i64,
}

/// The DDL and the GRANTs of all tables, for `sojourn schema`.
#[must_use]
pub fn schema(settings: &DatabaseSettings) -> String {
    schema::text(settings)
}

impl Postgres {
    /// Reads the URL; connects nowhere yet.
    ///
    /// # Errors
    /// `Unusable` for a malformed URL or table name.
    pub fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        schema::check_names(&settings.session_tables)?;
        Ok(Self {
            connector: Connector::new(settings)?,
            settings: settings.clone(),
            writer: Mutex::new(None),
            lease: Mutex::new(Lease::new(LEASE)),
            known: RwLock::new(None),
        })
    }

    /// The same with another lease than [`LEASE`], for tests that cannot wait so long.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = Mutex::new(Lease::new(lease));
        self
    }

    fn known(&self) -> Result<Arc<Known>, DatabaseError> {
        self.known.read().clone().ok_or_else(|| outage("not connected yet", false))
    }

    /// What is known from now on; the readers of before are closed, since most are dead after an outage.
    async fn learn(&self, known: Option<Known>) {
        let before = std::mem::replace(&mut *self.known.write(), known.map(Arc::new));
        if let Some(before) = before {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, before.readers.close()).await;
        }
    }
}

#[async_trait]
impl Database for Postgres {
    async fn acquire(&self, held: Option<i64>) -> Result<Ownership, DatabaseError> {
        let mut slot = self.writer.lock().await;
        if let Some(before) = slot.take() {
            close(before.connection).await;
        }
        let (mut connection, mut server) = self.connector.writer().await?;
        let mut lease = self.lease.lock().await;
        if let Err(owner) =
            owner::lock(&mut connection, held, &self.settings.identity, &mut lease, self.settings.write_timeout).await?
        {
            close(connection).await;
            return Ok(Ownership::HeldBy { owner });
        }
        let layout = schema::prepare(&mut connection, &self.settings, &mut server).await?;
        if !schema::any_without_zone(&layout) {
            server.timezone_guessed = None;
        }
        let (epoch, last_batch) = owner::advance(&mut connection, held, &self.settings.identity).await?;
        let readers = self.connector.readers(&server.timezone);
        self.learn(Some(Known { layout, server, readers, timeout: self.settings.write_timeout + ANSWER_GRACE })).await;
        *slot = Some(Writer { connection, epoch });
        Ok(Ownership::Owned { epoch, last_batch })
    }

    async fn commit(&self, batch: &Batch) -> Result<Committed, DatabaseError> {
        let known = self.known()?;
        let mut slot = self.writer.lock().await;
        // Taken out, and put back only when the server's whole answer was read: whoever drops this future in the middle
        // drops the connection too, and nobody reads another batch's answer from it.
        let mut writer = slot.take().ok_or_else(|| outage("the connection was lost", false))?;
        let committed = writer.commit(&known, batch).await;
        if !matches!(committed, Err(DatabaseError::Outage { .. } | DatabaseError::Fenced { .. })) {
            *slot = Some(writer);
        }
        committed
    }

    async fn locked(&self, changes: &[(RecordId, Change)]) -> Result<Vec<usize>, DatabaseError> {
        let known = self.known()?;
        let mut slot = self.writer.lock().await;
        let mut writer = slot.take().ok_or_else(|| outage("the connection was lost", false))?;
        let locked = writer.locked(&known, changes).await;
        if !matches!(locked, Err(DatabaseError::Outage { .. })) {
            *slot = Some(writer);
        }
        locked
    }

    async fn scan(&self, home: Home, now_ms: i64, visit: &mut Visit<'_>) -> Result<(), DatabaseError> {
        self.known()?.scan(home, now_ms, visit).await
    }

    async fn load(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredRecord>>, DatabaseError> {
        self.known()?.load(ids).await
    }

    async fn survey(&self, now_ms: i64) -> Result<StorageFigures, DatabaseError> {
        self.known()?.survey(&self.settings.session_tables, now_ms).await
    }

    async fn release(&self) {
        if let Some(writer) = self.writer.lock().await.take() {
            close(writer.connection).await;
        }
        self.learn(None).await;
    }

    fn description(&self) -> Description {
        let known = self.known.read().clone();
        let is_encrypted = known.as_ref().map(|known| known.server.is_encrypted);
        let (version, warnings) = known.map_or_else(Default::default, |known| {
            let mut warnings = known.server.warnings.clone();
            warnings.extend(known.server.timezone_guessed.clone());
            (known.server.version.clone(), warnings)
        });
        Description { kind: "postgresql", place: self.connector.place(), version, is_encrypted, warnings }
    }
}

impl Writer {
    async fn commit(&mut self, known: &Known, batch: &Batch) -> Result<Committed, DatabaseError> {
        let (epoch, number) = (self.epoch, batch.number);
        match &batch.work {
            BatchWork::Changes(changes) => {
                let mut statement = Statement::changes(&known.layout, epoch, number, changes)?;
                let expires = std::mem::take(&mut statement.expires);
                let answer = self.execute(statement, known.timeout).await;
                // The driver keeps the room for what it has sent, in case it is needed again: for one large unit it is not.
                if changes.iter().map(|(_, change)| change.value_bytes()).sum::<usize>() > BATCH_BYTES_MAX {
                    self.connection.shrink_buffers();
                }
                let row = answer?;
                Ok(Committed { missing: missing(&row, &expires).map_err(classify_commit)?, pruned: 0 })
            }
            BatchWork::Clear { database } => {
                let statement = Statement::clear(&known.layout, epoch, number, *database)?;
                connect::set_statement_timeout(&mut self.connection, CLEAR_TIMEOUT).await.map_err(classify)?;
                let cleared = self.execute(statement, CLEAR_TIMEOUT + ANSWER_GRACE).await;
                // Whether or not it was set back, the commit is what it is; at worst a later statement may take longer.
                let _ = connect::set_statement_timeout(&mut self.connection, known.timeout - ANSWER_GRACE).await;
                cleared.map(|_| Committed::default())
            }
            BatchWork::Prune { before_ms, limit } => {
                let statement = Statement::prune(&known.layout, epoch, number, *before_ms, *limit)?;
                let row = self.execute(statement, known.timeout).await?;
                let pruned: i64 = row.try_get(1).map_err(classify_commit)?;
                Ok(Committed { missing: Vec::new(), pruned: u64::try_from(pruned).unwrap_or(0) })
            }
        }
    }

    /// `fetch_one` reads up to `ReadyForQuery`, which PostgreSQL sends after the commit; the row itself comes before it.
    async fn execute(&mut self, statement: Statement, timeout: Duration) -> Result<PgRow, DatabaseError> {
        let query = sqlx::query_with(AssertSqlSafe(statement.sql), statement.arguments);
        let answer = tokio::time::timeout(timeout, query.fetch_one(&mut self.connection)).await;
        let row = answer.map_err(|_| outage("a commit took too long", true))?.map_err(classify_commit)?;
        let owners: i64 = row.try_get(0).map_err(classify_commit)?;
        if owners == 0 {
            return Err(DatabaseError::Fenced { owner: owner::name(&mut self.connection).await });
        }
        Ok(row)
    }
}

/// Which of the expiries found no row: all whose ordinal was not returned.
fn missing(row: &PgRow, expires: &[Vec<usize>]) -> Result<Vec<usize>, sqlx::Error> {
    let mut missing = Vec::new();
    for (part, positions) in expires.iter().enumerate() {
        let Some(found) = row.try_get::<Option<Vec<i64>>, _>(part + 1)? else { continue };
        let found: std::collections::HashSet<i64> = found.into_iter().collect();
        missing.extend(
            (1..).zip(positions).filter(|(ordinal, _)| !found.contains(ordinal)).map(|(_, position)| *position),
        );
    }
    missing.sort_unstable();
    Ok(missing)
}

async fn close(connection: PgConnection) {
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, connection.close()).await;
}
