//! connect-pg-simple 10's own SQL over a pool of 10 connections, the size that node-pg's pool has by default. Better than
//! the original in one thing: node-pg has each statement parsed anew, here each connection prepares it once.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgPool, PgPoolOptions, PgTypeInfo};
use sqlx::{Encode, Postgres, Row, Type};
use tokio::runtime::Runtime;

use crate::stage::Result;
use crate::stage::session::{TTL_SECONDS, sid, value};

/// The connections of the pool.
pub const POOL: u32 = 10;

/// Its table.sql.
const TABLE: &str = r#"create table "session" (
  "sid" varchar not null collate "default",
  "sess" json not null,
  "expire" timestamp(6) not null
);
alter table "session" add constraint "session_pkey" primary key ("sid") not deferrable initially immediate;
create index "IDX_session_expire" on "session" ("expire");"#;

const GET: &str = r#"SELECT sess FROM "session" WHERE sid = $1 AND expire >= to_timestamp($2)"#;
const SET: &str = r#"INSERT INTO "session" (sess, expire, sid) SELECT $1, to_timestamp($2), $3
 ON CONFLICT (sid) DO UPDATE SET sess=$1, expire=to_timestamp($2) RETURNING sid"#;
const TOUCH: &str = r#"UPDATE "session" SET expire = to_timestamp($1) WHERE sid = $2 RETURNING sid"#;
const DESTROY: &str = r#"DELETE FROM "session" WHERE sid = $1"#;

/// The store of one application.
#[derive(Debug)]
pub struct Store {
    pool: PgPool,
    /// Where its loads run.
    pub runtime: Runtime,
}

impl Store {
    /// Connects, makes the table, and fills it.
    ///
    /// # Errors
    /// Whatever PostgreSQL says.
    pub fn start(url: &str, keys: u32) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let options = PgPoolOptions::new().min_connections(POOL).max_connections(POOL).test_before_acquire(false);
        let pool = runtime.block_on(async {
            let pool = options.connect(url).await?;
            sqlx::raw_sql(TABLE).execute(&pool).await?;
            let numbers = 0..keys;
            let (sids, values): (Vec<_>, Vec<_>) = numbers.map(|key| (sid(key), value(u64::from(key)))).unzip();
            sqlx::query(
                r#"insert into "session" (sid, sess, expire)
                   select sid, sess::json, to_timestamp($3) from unnest($1::text[], $2::text[]) as loaded (sid, sess)"#,
            )
            .bind(sids)
            .bind(values)
            .bind(end())
            .execute(&pool)
            .await?;
            Ok::<_, sqlx::Error>(pool)
        })?;
        Ok(Self { pool, runtime })
    }

    /// A handle for the tasks of a load.
    pub fn statements(&self) -> Statements {
        Statements(self.pool.clone())
    }

    /// Has every idle connection tell the statistics what it changed: otherwise it may take 10 seconds.
    ///
    /// # Errors
    /// Whatever PostgreSQL says.
    pub fn flush_statistics(&self) -> Result<()> {
        self.runtime.block_on(async {
            let mut connections = Vec::new();
            for _ in 0..POOL {
                connections.push(self.pool.acquire().await?);
            }
            for connection in &mut connections {
                sqlx::query("select pg_stat_force_next_flush()").execute(&mut **connection).await?;
            }
            Ok(())
        })
    }
}

/// What connect-pg-simple asks of PostgreSQL.
#[derive(Clone, Debug)]
pub struct Statements(PgPool);

impl Statements {
    /// The bytes of a live session's value.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, also that there is no such session.
    pub async fn get(&self, sid: &str) -> Result<usize> {
        let row = sqlx::query(GET).bind(sid).bind(now()).fetch_one(&self.0).await?;
        Ok(row.try_get_raw(0)?.as_bytes()?.len())
    }

    /// Writes a session.
    ///
    /// # Errors
    /// Whatever PostgreSQL says.
    pub async fn set(&self, sid: &str, value: &str) -> Result<()> {
        sqlx::query(SET).bind(Json(value)).bind(end()).bind(sid).fetch_one(&self.0).await?;
        Ok(())
    }

    /// Lengthens a session's life.
    ///
    /// # Errors
    /// Whatever PostgreSQL says, also that there is no such session.
    pub async fn touch(&self, sid: &str) -> Result<()> {
        sqlx::query(TOUCH).bind(end()).bind(sid).fetch_one(&self.0).await?;
        Ok(())
    }

    /// Deletes a session.
    ///
    /// # Errors
    /// Whatever PostgreSQL says.
    pub async fn destroy(&self, sid: &str) -> Result<()> {
        sqlx::query(DESTROY).bind(sid).execute(&self.0).await?;
        Ok(())
    }
}

/// Unix seconds, rounded up as connect-pg-simple does.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64().ceil())
}

fn end() -> f64 {
    now() + f64::from(TTL_SECONDS)
}

/// Text that PostgreSQL takes as `json`, as it takes node-pg's parameters, which have no type.
struct Json<'a>(&'a str);

impl Type<Postgres> for Json<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(114))
    }
}

impl Encode<'_, Postgres> for Json<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}
