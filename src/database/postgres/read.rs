//! Reads: pages of keys, and values. They never lock and never write, and come from other connections than the writer's.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgBindIterExt, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row};

use super::connect::Server;
use super::errors::{classify, outage};
use super::schema::Layout;
use super::wire::{Text, Timestamp};
use crate::clock::Expiry;
use crate::database::{DatabaseError, Home, Kind, RecordId, StoredKey, StoredValue, Value};

/// A query that its arguments are bound to.
type Bound = Query<'static, Postgres, PgArguments>;

/// What is known since the last `acquire`.
pub(super) struct Known {
    pub layout: Layout,
    pub server: Server,
    pub readers: PgPool,
    /// How long to wait for an answer.
    pub timeout: Duration,
}

impl Known {
    /// Up to `limit` keys of a table, from the one after `after` on.
    pub async fn scan(
        &self,
        home: Home,
        after: Option<&StoredKey>,
        limit: u32,
        now_ms: i64,
    ) -> Result<Vec<StoredKey>, DatabaseError> {
        // An expiry is cut to its millisecond when it is read, so what is alive now ends at the next one or later.
        let alive_from = Timestamp(Expiry::at_ms(now_ms.saturating_add(1)));
        match self.layout.table(home)? {
            Some(table) => {
                let sid = after.map(|after| after.key.strip_prefix(table.prefix.as_slice()).unwrap_or(&after.key));
                let sql = session_page(&table.quoted, sid.is_some());
                let bind = |query: Bound| query.bind(alive_from).bind(i64::from(limit)).bind(sid.map(Text));
                self.fetch(&sql, bind)
                    .await?
                    .iter()
                    .map(|row| session_key(row, &table.prefix))
                    .collect::<Result<_, _>>()
            }
            None => {
                let bind = |query: Bound| {
                    let query = query.bind(alive_from).bind(i64::from(limit));
                    query.bind(after.map(|after| i16::from(after.database))).bind(after.map(|after| &*after.key))
                };
                self.fetch(keys_page(after.is_some()), bind).await?.iter().map(stored_key).collect::<Result<_, _>>()
            }
        }
        .map_err(classify)
    }

    /// The values of these records, in their order.
    pub async fn load(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredValue>>, DatabaseError> {
        let mut values = vec![None; ids.len()];
        let mut homes: Vec<Home> = ids.iter().map(|id| id.home).collect();
        homes.sort_unstable();
        homes.dedup();
        for home in homes {
            let wanted: Vec<usize> = (0..ids.len()).filter(|&position| ids[position].home == home).collect();
            let keys: Vec<&[u8]> =
                wanted.iter().map(|&position| self.layout.stored_key(&ids[position])).collect::<Result<_, _>>()?;
            let rows = match self.layout.table(home)? {
                Some(table) => {
                    let sql = format!(
                        "select e.ord, 'string', t.sess::text
                           from unnest($1::text[]) with ordinality as e(sid, ord) join {} as t on t.sid = e.sid",
                        table.quoted
                    );
                    self.fetch(&sql, |query| query.bind(keys.iter().map(|key| Text(key)).bind_iter())).await?
                }
                None => {
                    let databases: Vec<i16> =
                        wanted.iter().map(|&position| i16::from(ids[position].database)).collect();
                    self.fetch(KEYS_VALUES, |query| query.bind(&databases).bind(keys.iter().copied().bind_iter()))
                        .await?
                }
            };
            for row in rows {
                let (ordinal, value) = ordinal_and_value(&row).map_err(classify)?;
                if let Some(&position) = wanted.get(ordinal) {
                    values[position] = Some(value);
                }
            }
        }
        Ok(values)
    }

    /// A connection may have died while it was unused, each of the pool's; then the next one is tried, and at last a new one.
    pub(super) async fn fetch<F>(&self, sql: &str, bind: F) -> Result<Vec<PgRow>, DatabaseError>
    where
        F: Fn(Bound) -> Bound,
    {
        let mut tries_left = self.readers.options().get_max_connections();
        loop {
            let mut connection = self.readers.acquire().await.map_err(classify)?;
            let query = bind(sqlx::query(AssertSqlSafe(sql.to_owned())));
            let Ok(found) = tokio::time::timeout(self.timeout, query.fetch_all(&mut *connection)).await else {
                // Somebody dropped the packets; whoever had this connection next would wait for them, too.
                drop(connection.detach());
                return Err(outage("a read took too long", false));
            };
            match found {
                Err(error) if is_dead(&error) && tries_left > 0 => {
                    tries_left -= 1;
                    // It has nothing more to say; the pool would ask it once again.
                    drop(connection.detach());
                }
                found => return found.map_err(classify),
            }
        }
    }
}

fn is_dead(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_)) || super::errors::code(error).is_some_and(|code| code.starts_with("57P0"))
}

const KEYS_VALUES: &str = "select e.ord, t.type, t.value
                           from unnest($1::smallint[], $2::bytea[]) with ordinality as e(database, key, ord)
                           join sojourn_keys as t on t.database = e.database and t.key = e.key";

fn session_page(table: &str, from_a_key: bool) -> String {
    let after = if from_a_key { "sid > $3" } else { "$3::text is null" };
    format!(
        "select sid::text, case when expire >= '9999-12-31' then null else expire::timestamptz end
           from {table}
          where {after} and expire::timestamptz >= $1
          order by sid limit $2"
    )
}

fn keys_page(from_a_key: bool) -> &'static str {
    if from_a_key {
        "select database, key, case when expires_at >= '9999-12-31' then null else expires_at end, type
           from sojourn_keys
          where (database, key) > ($3, $4) and (expires_at is null or expires_at >= $1)
          order by database, key limit $2"
    } else {
        "select database, key, case when expires_at >= '9999-12-31' then null else expires_at end, type
           from sojourn_keys
          where $3::smallint is null and $4::bytea is null and (expires_at is null or expires_at >= $1)
          order by database, key limit $2"
    }
}

fn expiry(row: &PgRow, index: usize) -> Result<Expiry, sqlx::Error> {
    Ok(row.try_get::<Option<Timestamp>, _>(index)?.map_or(Expiry::NEVER, |stored| stored.0))
}

fn session_key(row: &PgRow, prefix: &[u8]) -> Result<StoredKey, sqlx::Error> {
    let sid: &str = row.try_get(0)?;
    let key = [prefix, sid.as_bytes()].concat();
    Ok(StoredKey { database: 0, key: Arc::from(key), kind: Kind::String, expiry: expiry(row, 1)? })
}

fn stored_key(row: &PgRow) -> Result<StoredKey, sqlx::Error> {
    let database: i16 = row.try_get(0)?;
    let key: &[u8] = row.try_get(1)?;
    // Nobody writes a number that is not 0–15; one that somebody did is not lost, but not found under another either.
    let database = u8::try_from(database).unwrap_or(u8::MAX);
    let kind = Kind::of_name(row.try_get(3)?);
    Ok(StoredKey { database, key: Arc::from(key), kind, expiry: expiry(row, 2)? })
}

fn ordinal_and_value(row: &PgRow) -> Result<(usize, StoredValue), sqlx::Error> {
    let ordinal: i64 = row.try_get(0)?;
    let kind = Kind::of_name(row.try_get(1)?);
    // `text` and `bytea` are both sent as they are.
    let value: &[u8] = row.try_get_unchecked(2)?;
    Ok((usize::try_from(ordinal - 1).unwrap_or(usize::MAX), (kind, Value::from(value))))
}
