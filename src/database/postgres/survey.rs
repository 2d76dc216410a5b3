//! What PostgreSQL's statistics say of the tables, and how many of their rows have ended. Any role may read both of a table that it
//! may read; it is asked on a connection that reads, and no table is ever counted whole.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::errors::classify;
use super::read::Known;
use super::wire::Timestamp;
use crate::clock::Expiry;
use crate::database::{DatabaseError, EXPIRED_ROWS_MAX, SessionTables};
use crate::telemetry::storage::{CountedUpTo, StorageFigures, TableFigures, TableStatistics};

/// The statistics of one table. The size is asked for last: it waits for nobody but a table that is being dropped.
const STATISTICS: &str = "select greatest(s.n_live_tup, 0), greatest(s.n_dead_tup, 0), s.n_tup_upd, s.n_tup_hot_upd,
        coalesce(extract(epoch from greatest(s.last_vacuum, s.last_autovacuum))::bigint, 0),
        pg_total_relation_size(s.relid)
   from pg_stat_user_tables as s where s.relid = to_regclass($1)";

impl Known {
    /// The figures of all tables; those of rows are PostgreSQL's estimates.
    pub async fn survey(&self, names: &SessionTables, now_ms: i64) -> Result<StorageFigures, DatabaseError> {
        let sessions = self.layout.tables().iter().zip(names.tables());
        let sessions =
            sessions.map(|(table, name)| (table.quoted.as_str(), "expire", table.has_zone, name.table.as_str()));
        let mut tables = Vec::new();
        for (quoted, column, has_zone, name) in sessions.chain([("sojourn_keys", "expires_at", true, "sojourn_keys")]) {
            let expired = self.expired(quoted, column, has_zone, now_ms).await?;
            let rows = self.fetch(STATISTICS, |query| query.bind(quoted.to_owned())).await?;
            let statistics = rows.first().map(statistics).transpose().map_err(classify)?;
            tables.push(TableFigures { table: name.to_owned(), expired, statistics });
        }
        Ok(StorageFigures { tables, file: None })
    }

    /// As the prune sees it: by the index, and in the hour that a time zone repeats only what has surely ended.
    async fn expired(
        &self,
        quoted: &str,
        column: &str,
        has_zone: bool,
        now_ms: i64,
    ) -> Result<CountedUpTo, DatabaseError> {
        let has_ended = match has_zone {
            true => format!("{column} < $1::timestamptz"),
            false => format!("{column} < $1::timestamptz::timestamp and {column}::timestamptz < $1"),
        };
        let sql = format!("select count(*) from (select from {quoted} where {has_ended} limit $2) as ended");
        let before = Timestamp(Expiry::at_ms(now_ms));
        let limit = i64::try_from(EXPIRED_ROWS_MAX + 1).unwrap_or(i64::MAX);
        let rows = self.fetch(&sql, |query| query.bind(before).bind(limit)).await?;
        let count = rows.first().map_or(Ok(0), |row| number(row, 0)).map_err(classify)?;
        Ok(CountedUpTo::of(count, EXPIRED_ROWS_MAX))
    }
}

fn statistics(row: &PgRow) -> Result<TableStatistics, sqlx::Error> {
    Ok(TableStatistics {
        rows: number(row, 0)?,
        dead_rows: number(row, 1)?,
        updates: number(row, 2)?,
        hot_updates: number(row, 3)?,
        last_vacuum_s: number(row, 4)?,
        size_bytes: number(row, 5)?,
    })
}

fn number(row: &PgRow, column: usize) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}
