//! What a SQLite file says of itself, and how many rows have ended. It keeps no statistics of tables, and none is counted whole.

use std::path::Path;

use sqlx::{AssertSqlSafe, SqlitePool};

use super::errors::classify;
use super::{Table, times};
use crate::database::{DatabaseError, EXPIRED_ROWS_MAX, SessionTables};
use crate::telemetry::storage::{CountedUpTo, FileFigures, StorageFigures, TableFigures};

/// The figures of the file and of its tables.
pub(super) async fn survey(
    readers: &SqlitePool,
    path: &Path,
    tables: &[Table],
    names: &SessionTables,
    now_ms: i64,
) -> Result<StorageFigures, DatabaseError> {
    let before = times::of_ms(now_ms.max(0));
    let sessions = tables.iter().zip(names.tables());
    let sessions = sessions.map(|(table, name)| (table.quoted.as_str(), "expire", name.table.as_str()));
    let mut figures = StorageFigures { tables: Vec::new(), file: Some(file(readers, path).await?) };
    for (quoted, column, name) in sessions.chain([("sojourn_keys", "expires_at", "sojourn_keys")]) {
        let sql = format!("select count(*) from (select 1 from {quoted} where {column} < ? limit ?)");
        let limit = i64::try_from(EXPIRED_ROWS_MAX + 1).unwrap_or(i64::MAX);
        let count = number(sqlx::query_scalar(AssertSqlSafe(sql)).bind(&before).bind(limit), readers).await?;
        let expired = CountedUpTo::of(count, EXPIRED_ROWS_MAX);
        figures.tables.push(TableFigures { table: name.to_owned(), expired, statistics: None });
    }
    Ok(figures)
}

async fn file(readers: &SqlitePool, path: &Path) -> Result<FileFigures, DatabaseError> {
    let page_bytes = number(sqlx::query_scalar("select page_size from pragma_page_size"), readers).await?;
    let free_pages = number(sqlx::query_scalar("select freelist_count from pragma_freelist_count"), readers).await?;
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    // The log may not be there yet, and a file that is gone shows elsewhere.
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    Ok(FileFigures {
        size_bytes: length(path),
        wal_size_bytes: length(Path::new(&wal)),
        free_bytes: free_pages * page_bytes,
    })
}

type Scalar<'q> = sqlx::query::QueryScalar<'q, sqlx::Sqlite, i64, sqlx::sqlite::SqliteArguments>;

async fn number(query: Scalar<'_>, readers: &SqlitePool) -> Result<u64, DatabaseError> {
    let number = query.fetch_one(readers).await.map_err(|error| classify(error, false))?;
    Ok(u64::try_from(number).unwrap_or(0))
}
