//! The ownership: an advisory lock, which ends with its connection, and the row `sojourn_owner`, whose epoch every batch
//! checks. The lock keeps a second server waiting; only the epoch keeps a first one from writing that should be dead.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgConnection;
use tokio::time::Instant;

use super::errors::{classify, code, outage};
use crate::database::DatabaseError;

/// The first half of the advisory lock's key, `SOJO`; the second is a hash of the schema's name.
const LOCK: i32 = 0x534f_4a4f;

/// Which backend has the lock, whose first half is `$1`.
const HOLDER: &str = "select pid
           from pg_locks
          where locktype = 'advisory'
            and database = (select oid from pg_database where datname = current_database())
            and classid = $1::oid
            and objid = hashtext(current_schema())::oid
            and objsubid = 2
            and granted";

/// The name of an owner that has not yet given one.
const STARTING: &str = "a server that is starting";

/// How often a lock is tried whose holder was told to end.
const RETRY: Duration = Duration::from_millis(20);

/// What a waiting server saw of the owner, and since when.
pub(super) struct Lease {
    length: Duration,
    seen: Option<(Owner, Instant)>,
}

/// The row `sojourn_owner`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    epoch: i64,
    last_batch: i64,
    name: String,
}

impl Lease {
    pub const fn new(length: Duration) -> Self {
        Self { length, seen: None }
    }

    /// Whether the owner has given no sign of life for the lease's length, on this process's own clock: every batch, and
    /// the empty one that is its heartbeat, changes the row.
    fn has_ended(&mut self, owner: &Owner) -> bool {
        match &self.seen {
            Some((seen, since)) if seen == owner => since.elapsed() >= self.length,
            Some(_) | None => {
                self.seen = Some((owner.clone(), Instant::now()));
                false
            }
        }
    }
}

/// Takes the lock; the inner error is the name of the owner that has it.
pub(super) async fn lock(
    connection: &mut PgConnection,
    held: Option<i64>,
    identity: &str,
    lease: &mut Lease,
    patience: Duration,
) -> Result<Result<(), String>, DatabaseError> {
    if try_lock(connection).await? {
        return Ok(Ok(()));
    }
    let Some(owner) = read(connection).await? else {
        return Ok(Err(STARTING.to_owned()));
    };
    let may_take = match held {
        // Our own connection of before, which the server does not know to be dead.
        Some(epoch) if epoch == owner.epoch || owner.name == identity => true,
        Some(_) => return Err(DatabaseError::Fenced { owner: owner.name }),
        // An owner whose statement is still at work, deleting millions of rows say, is alive though it commits nothing.
        None => lease.has_ended(&owner) && !holder_works(connection).await?,
    };
    if !may_take {
        return Ok(Err(owner.name));
    }
    terminate_holder(connection).await?;
    let until = Instant::now() + patience;
    while !try_lock(connection).await? {
        if Instant::now() >= until {
            return Err(outage("the former owner's connection does not end", false));
        }
        tokio::time::sleep(RETRY).await;
    }
    lease.seen = None;
    Ok(Ok(()))
}

/// Begins a new epoch. A later epoch under this process's own name is one that it began and was cut off from before it
/// heard so; names are unique to a start. It waits for a commit of the former one that is under way, since that has a lock on the row.
pub(super) async fn advance(
    connection: &mut PgConnection,
    held: Option<i64>,
    identity: &str,
) -> Result<(i64, i64), DatabaseError> {
    let row = sqlx::query(
        "update sojourn_owner set epoch = epoch + 1, owner = $1, since = now()
          where $2::bigint is null or epoch = $2 or (epoch > $2 and owner = $1) returning epoch, last_batch",
    )
    .bind(identity)
    .bind(held)
    .fetch_optional(&mut *connection)
    .await
    .map_err(|error| {
        let error = classify(error);
        // The former owner's commit takes long: try again.
        if matches!(error, DatabaseError::Locked(_)) { outage(error.to_string(), false) } else { error }
    })?;
    match (row, held) {
        (Some(row), _) => Ok((row.try_get(0).map_err(classify)?, row.try_get(1).map_err(classify)?)),
        (None, Some(_)) => Err(DatabaseError::Fenced { owner: name(connection).await }),
        (None, None) => Err(DatabaseError::Unusable(
            "the table sojourn_owner is empty; drop it, and it is made anew, or run what `sojourn schema` prints"
                .to_owned(),
        )),
    }
}

/// The name of the owner whose connection has the lock; for `sojourn check`, which leaves the lock alone.
pub(super) async fn holder(connection: &mut PgConnection) -> Result<Option<String>, DatabaseError> {
    let is_held: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select exists({HOLDER})")))
        .bind(sqlx::postgres::types::Oid(LOCK.unsigned_abs()))
        .fetch_one(&mut *connection)
        .await
        .map_err(classify)?;
    Ok(if is_held { Some(name(connection).await) } else { None })
}

/// The owner's name, or a word for it.
pub(super) async fn name(connection: &mut PgConnection) -> String {
    match read(connection).await {
        Ok(Some(owner)) => owner.name,
        Ok(None) | Err(_) => "unknown".to_owned(),
    }
}

async fn read(connection: &mut PgConnection) -> Result<Option<Owner>, DatabaseError> {
    let found = sqlx::query_as::<_, (i64, i64, String)>("select epoch, last_batch, owner from sojourn_owner")
        .fetch_optional(connection)
        .await;
    match found {
        Ok(row) => Ok(row.map(|(epoch, last_batch, name)| Owner {
            epoch,
            last_batch,
            name: if name.is_empty() { STARTING.to_owned() } else { name },
        })),
        Err(error) if code(&error).as_deref() == Some("42P01") => Ok(None),
        Err(error) => Err(classify(error)),
    }
}

async fn try_lock(connection: &mut PgConnection) -> Result<bool, DatabaseError> {
    sqlx::query_scalar("select pg_try_advisory_lock($1, hashtext(current_schema()))")
        .bind(LOCK)
        .fetch_one(connection)
        .await
        .map_err(classify)
}

/// Whether the connection that has the lock is executing a statement.
async fn holder_works(connection: &mut PgConnection) -> Result<bool, DatabaseError> {
    let asked = format!("select exists(select from pg_stat_activity where state = 'active' and pid in ({HOLDER}))");
    sqlx::query_scalar(sqlx::AssertSqlSafe(asked))
        .bind(sqlx::postgres::types::Oid(LOCK.unsigned_abs()))
        .fetch_one(connection)
        .await
        .map_err(classify)
}

async fn terminate_holder(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let ended = format!("select pg_terminate_backend(pid) from ({HOLDER}) as holder");
    sqlx::query(sqlx::AssertSqlSafe(ended))
        .bind(sqlx::postgres::types::Oid(LOCK.unsigned_abs()))
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(|error| match code(&error).as_deref() {
            Some("42501") => DatabaseError::Unusable(
                "the former owner's connection is of another role: grant pg_signal_backend to this one".to_owned(),
            ),
            Some(_) | None => classify(error),
        })
}
