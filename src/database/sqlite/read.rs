//! Reads: all keys of a table, and records by their keys, some hundreds with one statement. They never write.

use futures_util::StreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::errors::classify;
use super::{Table, stored_key, table, times};
use crate::clock::Expiry;
use crate::database::{DatabaseError, Home, Kind, RecordId, StoredKey, StoredRecord, Value, Visit};

/// Records of one statement: the largest that fit. Every size is a statement to prepare.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// Rows after which the other tasks of the thread get their turn: about a millisecond.
pub(super) const TURN_ROWS: usize = 1_000;

/// Visits all keys of a table (`sojourn_keys` without one) that are not expired.
pub(super) async fn scan(
    connection: &mut SqliteConnection,
    table: Option<&Table>,
    now_ms: i64,
    visit: &mut Visit<'_>,
) -> Result<(), DatabaseError> {
    // An expiry is cut to its millisecond when it is read, so what is alive now ends at the next one or later.
    let alive_from = times::of_ms(now_ms.saturating_add(1).max(0));
    let sql = match table {
        // The unary plus keeps SQLite from finding the rows by the index on `expire`, one by one.
        Some(table) => {
            format!("select cast(sid as blob), cast(expire as text) from {} where +expire >= ?", table.quoted)
        }
        None => "select key, expires_at, database, type from sojourn_keys
                  where expires_at is null or +expires_at >= ?"
            .to_owned(),
    };
    let mut turns = sqlx::query(AssertSqlSafe(sql)).bind(alive_from).fetch(connection).ready_chunks(TURN_ROWS);
    let mut key = Vec::new();
    while let Some(rows) = turns.next().await {
        for row in rows {
            let row = row.map_err(|error| classify(error, false))?;
            if visit(stored(table, &row, &mut key)?).is_break() {
                return Ok(());
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

fn stored<'k>(table: Option<&Table>, row: &SqliteRow, key: &'k mut Vec<u8>) -> Result<StoredKey<'k>, DatabaseError> {
    let column = |error| classify(error, false);
    key.clear();
    key.extend_from_slice(table.map_or(&[][..], |table| &table.prefix));
    key.extend_from_slice(row.try_get(0).map_err(column)?);
    let expiry = expiry(row, 1)?;
    let (database, kind) = match table {
        Some(_) => (0, Kind::String),
        None => (row.try_get(2).map_err(column)?, Kind::of_name(row.try_get(3).map_err(column)?)),
    };
    Ok(StoredKey { database, key, kind, expiry })
}

fn expiry(row: &SqliteRow, index: usize) -> Result<Expiry, DatabaseError> {
    let text: Option<&str> = row.try_get(index).map_err(|error| classify(error, false))?;
    text.map_or(Some(Expiry::NEVER), times::parse)
        .ok_or_else(|| DatabaseError::Unusable("an expiry is not of the form YYYY-MM-DD HH:MM:SS.SSS (UTC)".to_owned()))
}

/// These records, in their order.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    tables: &[Table],
    ids: &[RecordId],
) -> Result<Vec<Option<StoredRecord>>, DatabaseError> {
    let mut records = vec![None; ids.len()];
    let mut homes: Vec<Home> = ids.iter().map(|id| id.home).collect();
    homes.sort_unstable();
    homes.dedup();
    for home in homes {
        let wanted: Vec<usize> = (0..ids.len()).filter(|&position| ids[position].home == home).collect();
        let mut wanted = wanted.as_slice();
        while let Some(&size) = SIZES.iter().find(|&&size| size <= wanted.len()) {
            let (now, rest) = wanted.split_at(size);
            wanted = rest;
            let sql = statement(table(tables, home)?, size);
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for &position in now {
                let key = stored_key(tables, &ids[position])?;
                query = match home {
                    Home::Session(_) => query.bind(key),
                    Home::Keys => query.bind(ids[position].database).bind(key),
                };
            }
            for row in query.fetch_all(&mut *connection).await.map_err(|error| classify(error, false))? {
                let ordinal: i64 = row.try_get(0).map_err(|error| classify(error, false))?;
                let position = usize::try_from(ordinal).ok().and_then(|ordinal| now.get(ordinal));
                if let Some(&position) = position {
                    records[position] = Some(record(&row)?);
                }
            }
        }
    }
    Ok(records)
}

/// The statement that loads so many records. Joined in this order, so that each key is looked up in the table's index.
fn statement(table: Option<&Table>, size: usize) -> String {
    let wanted =
        |parameters: &str| (0..size).map(|ordinal| format!("({ordinal}, {parameters})")).collect::<Vec<_>>().join(", ");
    match table {
        Some(table) => format!(
            "select e.column1, 'string', cast(t.sess as blob), cast(t.expire as text)
               from (values {}) as e cross join {} as t on t.sid = cast(e.column2 as text)",
            wanted("?"),
            table.quoted
        ),
        None => format!(
            "select e.column1, t.type, t.value, t.expires_at
               from (values {}) as e cross join sojourn_keys as t on t.database = e.column2 and t.key = e.column3",
            wanted("?, ?")
        ),
    }
}

fn record(row: &SqliteRow) -> Result<StoredRecord, DatabaseError> {
    let column = |error| classify(error, false);
    let kind = Kind::of_name(row.try_get(1).map_err(column)?);
    let value: &[u8] = row.try_get(2).map_err(column)?;
    // An end that nobody can read stops the reading of all keys, which says so; the value is served as it is.
    let expiry = expiry(row, 3).unwrap_or(Expiry::NEVER);
    Ok(StoredRecord { kind, value: Value::from(value), expiry })
}
