//! A batch in SQLite: one transaction, in which each part is written by statements of a few fixed sizes, so that they are
//! prepared once. Never leaves a transaction open on a connection that is used again.

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Row as _, Sqlite, SqliteConnection};

use super::errors::{classify, outage};
use super::{Table, table, times};
use crate::database::parts::{self, Effect, Part, Row};
use crate::database::{Batch, BatchWork, Change, Committed, DatabaseError, Home, RecordId};

/// Rows of one statement: each part is cut into the largest that fit. Every size is a statement to prepare; the largest
/// stays far below SQLite's 32 766 parameters.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

type Bound<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The whole batch. The connection may be used again unless the error is an outage.
pub(super) async fn commit(
    connection: &mut SqliteConnection,
    tables: &[Table],
    epoch: i64,
    batch: &Batch,
) -> Result<Committed, DatabaseError> {
    execute(connection, "begin immediate").await?;
    let work = transaction(connection, tables, epoch, batch).await;
    match work {
        Ok(committed) => {
            sqlx::query("commit").execute(connection).await.map_err(|error| classify(error, true))?;
            Ok(committed)
        }
        Err(error) => match execute(connection, "rollback").await {
            Ok(()) => Err(error),
            // Some errors, such as a full disk, have already ended the transaction; all others end with the connection.
            Err(_) => Err(outage(error.to_string(), false)),
        },
    }
}

async fn transaction(
    connection: &mut SqliteConnection,
    tables: &[Table],
    epoch: i64,
    batch: &Batch,
) -> Result<Committed, DatabaseError> {
    let owned = sqlx::query("update sojourn_owner set last_batch = ?2 where epoch = ?1").bind(epoch).bind(batch.number);
    if run(connection, owned).await? == 0 {
        let owner = sqlx::query_scalar("select owner from sojourn_owner").fetch_one(connection).await;
        return Err(DatabaseError::Fenced { owner: owner.unwrap_or_else(|_| "unknown".to_owned()) });
    }
    match &batch.work {
        BatchWork::Changes(changes) => change(connection, tables, changes).await,
        BatchWork::Clear { database } => clear(connection, tables, *database).await,
        BatchWork::Prune { before_ms, limit } => prune(connection, tables, *before_ms, *limit).await,
    }
}

async fn change(
    connection: &mut SqliteConnection,
    tables: &[Table],
    changes: &[(RecordId, Change)],
) -> Result<Committed, DatabaseError> {
    let mut committed = Committed::default();
    for part in parts::of(changes, |id| super::stored_key(tables, id))? {
        let mut rows = part.rows.as_slice();
        while let Some(&size) = SIZES.iter().find(|&&size| size <= rows.len()) {
            let (chunk, rest) = rows.split_at(size);
            rows = rest;
            match part.effect {
                Effect::Put | Effect::Delete => {
                    let sql = statement(tables, &part, size)?;
                    let bound = bind(&part, chunk, sqlx::query(AssertSqlSafe(sql)))?;
                    run(connection, bound).await?;
                }
                Effect::Expire => committed.missing.extend(expire(connection, tables, &part, chunk).await?),
            }
        }
    }
    committed.missing.sort_unstable();
    Ok(committed)
}

/// The statement of a part for so many rows.
fn statement(tables: &[Table], part: &Part<'_>, size: usize) -> Result<String, DatabaseError> {
    let rows = |row: &str| vec![row; size].join(", ");
    Ok(match (part.effect, table(tables, part.home)?) {
        (Effect::Put, Some(table)) => format!(
            "insert into {} (sid, sess, expire) values {}
             on conflict (sid) do update set sess = excluded.sess, expire = excluded.expire",
            table.quoted,
            rows("(?, ?, ?)")
        ),
        (Effect::Put, None) => format!(
            "insert into sojourn_keys (database, key, type, value, expires_at) values {}
             on conflict (database, key) do update
             set type = excluded.type, value = excluded.value, expires_at = excluded.expires_at",
            rows("(?, ?, ?, ?, ?)")
        ),
        (Effect::Delete, Some(table)) => format!("delete from {} where sid in ({})", table.quoted, rows("?")),
        (Effect::Delete, None) => {
            format!("delete from sojourn_keys where (database, key) in (values {})", rows("(?, ?)"))
        }
        (Effect::Expire, Some(table)) => format!(
            "update {} as t set expire = e.column2 from (values {}) as e where t.sid = e.column1 returning sid",
            table.quoted,
            rows("(?, ?)")
        ),
        (Effect::Expire, None) => format!(
            "update sojourn_keys as t set expires_at = e.column3 from (values {}) as e
              where t.database = e.column1 and t.key = e.column2 returning database, key",
            rows("(?, ?, ?)")
        ),
    })
}

fn bind<'q>(part: &Part<'_>, rows: &[Row<'q>], mut query: Bound<'q>) -> Result<Bound<'q>, DatabaseError> {
    for row in rows {
        query = match part.home {
            Home::Session(_) => query.bind(text(row.key)?),
            Home::Keys => query.bind(row.database).bind(row.key),
        };
        query = match (part.effect, part.home) {
            (Effect::Put, Home::Session(_)) => query.bind(text(row.value)?).bind(times::text(row.expiry)?),
            (Effect::Put, Home::Keys) => query.bind(row.kind).bind(row.value).bind(nullable(row)?),
            (Effect::Expire, Home::Session(_)) => query.bind(times::text(row.expiry)?),
            (Effect::Expire, Home::Keys) => query.bind(nullable(row)?),
            (Effect::Delete, Home::Session(_) | Home::Keys) => query,
        };
    }
    Ok(query)
}

/// Answers the positions of those whose record was not there.
async fn expire(
    connection: &mut SqliteConnection,
    tables: &[Table],
    part: &Part<'_>,
    rows: &[Row<'_>],
) -> Result<Vec<usize>, DatabaseError> {
    let sql = statement(tables, part, rows.len())?;
    let bound = bind(part, rows, sqlx::query(AssertSqlSafe(sql)))?;
    let found = bound.fetch_all(connection).await.map_err(|error| classify(error, false))?;
    if found.len() == rows.len() {
        return Ok(Vec::new());
    }
    let mut keys = std::collections::HashSet::new();
    for row in &found {
        let key = match part.home {
            Home::Session(_) => row.try_get::<String, _>(0).map(|sid| (0, sid.into_bytes())),
            Home::Keys => row.try_get(0).and_then(|database| Ok((database, row.try_get::<Vec<u8>, _>(1)?))),
        };
        keys.insert(key.map_err(|error| classify(error, false))?);
    }
    let is_missing = |row: &&Row<'_>| !keys.contains(&(row.database, row.key.to_vec()));
    Ok(rows.iter().filter(is_missing).map(|row| row.position).collect())
}

async fn clear(
    connection: &mut SqliteConnection,
    tables: &[Table],
    database: Option<u8>,
) -> Result<Committed, DatabaseError> {
    if database.is_none_or(|number| number == 0) {
        for table in tables {
            run(connection, sqlx::query(AssertSqlSafe(format!("delete from {}", table.quoted)))).await?;
        }
    }
    let keys = match database {
        None => sqlx::query("delete from sojourn_keys"),
        Some(number) => sqlx::query("delete from sojourn_keys where database = ?").bind(number),
    };
    run(connection, keys).await?;
    Ok(Committed::default())
}

async fn prune(
    connection: &mut SqliteConnection,
    tables: &[Table],
    before_ms: i64,
    limit: u32,
) -> Result<Committed, DatabaseError> {
    let before = times::of_ms(before_ms.max(0));
    let mut pruned = 0;
    for table in tables {
        let sql = format!(
            "delete from {0} where sid in (select sid from {0} where expire < ? order by expire limit ?)",
            table.quoted
        );
        pruned += run(connection, sqlx::query(AssertSqlSafe(sql)).bind(&before).bind(limit)).await?;
    }
    let keys = sqlx::query(
        "delete from sojourn_keys
          where rowid in (select rowid from sojourn_keys where expires_at < ? order by expires_at limit ?)",
    );
    pruned += run(connection, keys.bind(&before).bind(limit)).await?;
    Ok(Committed { missing: Vec::new(), pruned })
}

async fn run(connection: &mut SqliteConnection, query: Bound<'_>) -> Result<u64, DatabaseError> {
    query.execute(connection).await.map(|done| done.rows_affected()).map_err(|error| classify(error, false))
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), DatabaseError> {
    run(connection, sqlx::query(sql)).await.map(|_| ())
}

fn text(bytes: &[u8]) -> Result<&str, DatabaseError> {
    std::str::from_utf8(bytes).map_err(|_| DatabaseError::Refused("a session is not UTF-8".to_owned()))
}

/// `sojourn_keys` has null for never.
fn nullable(row: &Row<'_>) -> Result<Option<String>, DatabaseError> {
    row.expiry.as_ms().map(|_| times::text(row.expiry)).transpose()
}
