//! Locks of others: which rows a batch would wait for. It asks by trying to lock them itself, skipping those it cannot have,
//! in a transaction of one statement. It never waits for a row, and it changes none.

use std::fmt::Write;

use sqlx::postgres::{PgArguments, PgBindIterExt};
use sqlx::{AssertSqlSafe, Row};

use super::Writer;
use super::errors::{classify, outage};
use super::read::Known;
use super::wire::{Text, bind};
use crate::database::parts::{self, Effect, Part};
use crate::database::{Change, DatabaseError, Home, RecordId};

impl Writer {
    /// The positions of the changes that would wait, in rising order.
    pub(super) async fn locked(
        &mut self,
        known: &Known,
        changes: &[(RecordId, Change)],
    ) -> Result<Vec<usize>, DatabaseError> {
        let parts = parts::of(changes, |id| known.layout.stored_key(id))?;
        let (sql, arguments) = question(known, &parts)?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(false);
        let answer = tokio::time::timeout(known.timeout, query.fetch_one(&mut self.connection)).await;
        let row = answer.map_err(|_| outage("a question took too long", false))?.map_err(classify)?;
        let mut positions = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let ordinals: Vec<i64> = row.try_get(number + 1).map_err(classify)?;
            let rows = ordinals.into_iter().filter_map(|ordinal| part.rows.get(usize::try_from(ordinal - 1).ok()?));
            positions.extend(rows.map(|row| row.position));
        }
        positions.sort_unstable();
        Ok(positions)
    }
}

/// One result column for the owner's row, and then one per part: the ordinals of the rows that are there and locked.
fn question(known: &Known, parts: &[Part<'_>]) -> Result<(String, PgArguments), DatabaseError> {
    let mut arguments = PgArguments::default();
    let mut sql = "with owner as (select from sojourn_owner for no key update nowait)".to_owned();
    let mut answers = String::new();
    for (number, part) in parts.iter().enumerate() {
        let (table, rows, matches) = match part.home {
            Home::Session(_) => {
                let sids = bind(&mut arguments, part.rows.iter().map(|row| Text(row.key)).bind_iter())?;
                let rows = format!("unnest({sids}::text[]) with ordinality as e(sid, ord)");
                (known.layout.quoted(part.home)?, rows, "t.sid = e.sid")
            }
            Home::Keys => {
                let databases = bind(&mut arguments, part.rows.iter().map(|row| row.database).bind_iter())?;
                let keys = bind(&mut arguments, part.rows.iter().map(|row| row.key).bind_iter())?;
                let rows = format!(
                    "unnest({databases}::smallint[], {keys}::bytea[]) with ordinality as e(database, key, ord)"
                );
                ("sojourn_keys", rows, "t.database = e.database and t.key = e.key")
            }
        };
        // The lock that the change itself takes: somebody may hold one that stops a delete only, as a foreign key does.
        let lock = if part.effect == Effect::Delete { "update" } else { "no key update" };
        let there = format!("select e.ord from {rows} join {table} as t on {matches}");
        // The delete takes the lock on the table that every change needs; without it, an index that is being made would
        // stop the commits and not this question.
        let _ = write!(
            sql,
            ",\n     part{number} as ({there} for {lock} of t skip locked),\n     table{number} as (delete from {table} where false)"
        );
        let _ = write!(answers, ",\n       array({there} except select ord from part{number})");
    }
    let _ = write!(sql, "\nselect (select count(*) from owner){answers}");
    Ok((sql, arguments))
}
