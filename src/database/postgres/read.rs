//! Cold reads: records by their keys. They never lock and never write, and come from other connections than the writer's.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgBindIterExt, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row};

use super::connect::Server;
use super::errors::{classify, outage};
use super::schema::Layout;
use super::wire::{Text, Timestamp};
use crate::clock::Expiry;
use crate::database::{DatabaseError, Home, Kind, RecordId, StoredRecord, Value};

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
    /// These records, in their order.
    pub async fn load(&self, ids: &[RecordId]) -> Result<Vec<Option<StoredRecord>>, DatabaseError> {
        let mut records = vec![None; ids.len()];
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
                        "select e.ord, 'string', t.sess::text,
                                case when t.expire >= '9999-12-31' then null else t.expire::timestamptz end
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
                let (ordinal, record) = ordinal_and_record(&row).map_err(classify)?;
                if let Some(&position) = wanted.get(ordinal) {
                    records[position] = Some(record);
                }
            }
        }
        Ok(records)
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

const KEYS_VALUES: &str = "select e.ord, t.type, t.value,
                                  case when t.expires_at >= '9999-12-31' then null else t.expires_at end
                           from unnest($1::smallint[], $2::bytea[]) with ordinality as e(database, key, ord)
                           join sojourn_keys as t on t.database = e.database and t.key = e.key";

fn ordinal_and_record(row: &PgRow) -> Result<(usize, StoredRecord), sqlx::Error> {
    let ordinal: i64 = row.try_get(0)?;
    let kind = Kind::of_name(row.try_get(1)?);
    // `text` and `bytea` are both sent as they are.
    let value: &[u8] = row.try_get_unchecked(2)?;
    let expiry = row.try_get::<Option<Timestamp>, _>(3)?.map_or(Expiry::NEVER, |stored| stored.0);
    let record = StoredRecord { kind, value: Value::from(value), expiry };
    Ok((usize::try_from(ordinal - 1).unwrap_or(usize::MAX), record))
}
