//! A batch as one statement: an implicit transaction, and one round trip. Its CTEs are the check of the ownership and one
//! part per table and kind of change; parts that a batch does not have are left out, so that the usual batch is short.
//! Every part asks `exists (select from owner)`: without it, a server that lost the database would still write.

use std::fmt::Write;

use sqlx::postgres::{PgArguments, PgBindIterExt};
use sqlx::{Arguments, Postgres};

use super::schema::Layout;
use super::wire::{Text, Timestamp, bind};
use crate::clock::Expiry;
use crate::database::parts::{self, Effect, Part};
use crate::database::{Change, DatabaseError, Home, RecordId};

/// What a key without TTL has in a session table: `'infinity'` would break the users' own `expire - now()`.
const NEVER: &str = "timestamptz '9999-12-31 00:00:00'";

/// A statement with its arguments. Its first result column is the number of owner rows that were updated.
pub(super) struct Statement {
    pub sql: String,
    pub arguments: PgArguments,
    /// For each further result column, the positions within the batch of what that part tried to expire.
    pub expires: Vec<Vec<usize>>,
    parts: usize,
}

impl Statement {
    /// The check of the ownership, which every batch starts with. It takes the lock on the owner's row, so that nobody
    /// becomes the owner while this transaction is under way.
    fn new(epoch: i64, number: i64) -> Result<Self, DatabaseError> {
        let sql = "with owner as (update sojourn_owner set last_batch = $2 where epoch = $1 returning 1)".to_owned();
        let mut statement = Self { sql, arguments: PgArguments::default(), expires: Vec::new(), parts: 0 };
        statement.bind(epoch)?;
        statement.bind(number)?;
        Ok(statement)
    }

    /// Changes of different records.
    pub fn changes(
        layout: &Layout,
        epoch: i64,
        number: i64,
        changes: &[(RecordId, Change)],
    ) -> Result<Self, DatabaseError> {
        let mut statement = Self::new(epoch, number)?;
        let mut answers = String::new();
        for part in parts::of(changes, |id| layout.stored_key(id))? {
            statement.parts += 1;
            let name = statement.parts;
            match (part.effect, part.home) {
                (Effect::Put, Home::Session(_)) => statement.put_sessions(name, layout.quoted(part.home)?, &part)?,
                (Effect::Put, Home::Keys) => statement.put_keys(name, &part)?,
                (Effect::Delete, Home::Session(_)) => {
                    statement.delete_sessions(name, layout.quoted(part.home)?, &part)?
                }
                (Effect::Delete, Home::Keys) => statement.delete_keys(name, &part)?,
                (Effect::Expire, home) => {
                    match home {
                        Home::Session(_) => statement.expire_sessions(name, layout.quoted(home)?, &part)?,
                        Home::Keys => statement.expire_keys(name, &part)?,
                    }
                    // The usual case, that all rows were there, costs no array.
                    let all = part.rows.len();
                    statement.bind(i64::try_from(all).unwrap_or(i64::MAX))?;
                    let total = statement.arguments.len();
                    answers.push_str(&format!(
                        ",\n       case when (select count(*) from part{name}) = ${total} then null else array(select ord from part{name}) end"
                    ));
                    statement.expires.push(part.rows.iter().map(|row| row.position).collect());
                }
            }
        }
        statement.sql.push_str("\nselect (select count(*) from owner)");
        statement.sql.push_str(&answers);
        Ok(statement)
    }

    /// The deletion of one Redis database, or of all.
    pub fn clear(layout: &Layout, epoch: i64, number: i64, database: Option<u8>) -> Result<Self, DatabaseError> {
        let mut statement = Self::new(epoch, number)?;
        if database.is_none_or(|number| number == 0) {
            for table in layout.tables() {
                statement.part(&format!("delete from {} where exists (select from owner)", table.quoted));
            }
        }
        match database {
            None => statement.part("delete from sojourn_keys where exists (select from owner)"),
            Some(number) => {
                let number = statement.bind(i16::from(number))?;
                statement.part(&format!(
                    "delete from sojourn_keys where database = {number} and exists (select from owner)"
                ));
            }
        }
        statement.sql.push_str("\nselect (select count(*) from owner)");
        Ok(statement)
    }

    /// A bounded number of expired records of each table. The row is checked again when it is deleted, since it may have been
    /// touched between. Second result column: how many.
    pub fn prune(layout: &Layout, epoch: i64, number: i64, before_ms: i64, limit: u32) -> Result<Self, DatabaseError> {
        let mut statement = Self::new(epoch, number)?;
        let before = statement.bind(Timestamp(Expiry::at_ms(before_ms)))?;
        let limit = statement.bind(i64::from(limit))?;
        let mut sum = "0".to_owned();
        let sessions = layout.tables().iter().map(|table| (table.quoted.as_str(), "expire", table.has_zone));
        for (table, column, has_zone) in sessions.chain([("sojourn_keys", "expires_at", true)]) {
            let expired = match has_zone {
                true => format!("{column} < {before}::timestamptz"),
                // The first condition is for the index. The second is for the hour that a time zone repeats, in which
                // a local time that has passed may be one that comes again.
                false => format!("{column} < {before}::timestamptz::timestamp and {column}::timestamptz < {before}"),
            };
            statement.part(&format!(
                "delete from {table} where ctid = any(array(
                     select ctid from {table} where {expired} order by {column} limit {limit} for update skip locked))
                 and {expired} and exists (select from owner) returning 1"
            ));
            sum.push_str(&format!(" + (select count(*) from part{})", statement.parts));
        }
        statement.sql.push_str(&format!("\nselect (select count(*) from owner), {sum}"));
        Ok(statement)
    }

    fn part(&mut self, sql: &str) {
        self.parts += 1;
        self.named(self.parts, sql);
    }

    fn named(&mut self, name: usize, sql: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.sql, ",\n     part{name} as ({sql})");
    }

    /// Adds an argument; answers its placeholder.
    fn bind<'t, T: sqlx::Encode<'t, Postgres> + sqlx::Type<Postgres>>(
        &mut self,
        value: T,
    ) -> Result<String, DatabaseError> {
        bind(&mut self.arguments, value)
    }

    fn bind_keys(&mut self, part: &Part<'_>) -> Result<(String, String), DatabaseError> {
        let databases = self.bind(part.rows.iter().map(|row| row.database).bind_iter())?;
        Ok((databases, self.bind(part.rows.iter().map(|row| row.key).bind_iter())?))
    }

    fn bind_sids(&mut self, part: &Part<'_>) -> Result<String, DatabaseError> {
        self.bind(part.rows.iter().map(|row| Text(row.key)).bind_iter())
    }

    fn bind_expiries(&mut self, part: &Part<'_>) -> Result<String, DatabaseError> {
        self.bind(part.rows.iter().map(|row| Timestamp(row.expiry)).bind_iter())
    }

    fn put_sessions(&mut self, name: usize, table: &str, part: &Part<'_>) -> Result<(), DatabaseError> {
        let sids = self.bind_sids(part)?;
        let values = self.bind(part.rows.iter().map(|row| Text(row.value)).bind_iter())?;
        let expiries = self.bind_expiries(part)?;
        self.named(
            name,
            &format!(
                "insert into {table} (sid, sess, expire)
                 select e.sid, e.sess::json, coalesce(e.expire, {NEVER})
                   from unnest({sids}::text[], {values}::text[], {expiries}::timestamptz[]) as e(sid, sess, expire)
                  where exists (select from owner)
                     on conflict (sid) do update set sess = excluded.sess, expire = excluded.expire"
            ),
        );
        Ok(())
    }

    fn put_keys(&mut self, name: usize, part: &Part<'_>) -> Result<(), DatabaseError> {
        let (databases, keys) = self.bind_keys(part)?;
        let kinds = self.bind(part.rows.iter().map(|row| row.kind).bind_iter())?;
        let values = self.bind(part.rows.iter().map(|row| row.value).bind_iter())?;
        let expiries = self.bind_expiries(part)?;
        self.named(
            name,
            &format!(
                "insert into sojourn_keys (database, key, type, value, expires_at)
                 select e.database, e.key, e.type, e.value, e.expires_at
                   from unnest({databases}::smallint[], {keys}::bytea[], {kinds}::text[], {values}::bytea[], {expiries}::timestamptz[])
                        as e(database, key, type, value, expires_at)
                  where exists (select from owner)
                     on conflict (database, key) do update
                    set type = excluded.type, value = excluded.value, expires_at = excluded.expires_at"
            ),
        );
        Ok(())
    }

    fn delete_sessions(&mut self, name: usize, table: &str, part: &Part<'_>) -> Result<(), DatabaseError> {
        let sids = self.bind_sids(part)?;
        self.named(
            name,
            &format!("delete from {table} where sid = any({sids}::text[]) and exists (select from owner)"),
        );
        Ok(())
    }

    fn delete_keys(&mut self, name: usize, part: &Part<'_>) -> Result<(), DatabaseError> {
        let (databases, keys) = self.bind_keys(part)?;
        self.named(
            name,
            &format!(
                "delete from sojourn_keys as t
                  using unnest({databases}::smallint[], {keys}::bytea[]) as e(database, key)
                  where t.database = e.database and t.key = e.key and exists (select from owner)"
            ),
        );
        Ok(())
    }

    fn expire_sessions(&mut self, name: usize, table: &str, part: &Part<'_>) -> Result<(), DatabaseError> {
        let (sids, expiries) = (self.bind_sids(part)?, self.bind_expiries(part)?);
        self.named(
            name,
            &format!(
                "update {table} as t set expire = coalesce(e.expire, {NEVER})
                   from unnest({sids}::text[], {expiries}::timestamptz[]) with ordinality as e(sid, expire, ord)
                  where t.sid = e.sid and exists (select from owner) returning e.ord"
            ),
        );
        Ok(())
    }

    fn expire_keys(&mut self, name: usize, part: &Part<'_>) -> Result<(), DatabaseError> {
        let (databases, keys) = self.bind_keys(part)?;
        let expiries = self.bind_expiries(part)?;
        self.named(
            name,
            &format!(
                "update sojourn_keys as t set expires_at = e.expires_at
                   from unnest({databases}::smallint[], {keys}::bytea[], {expiries}::timestamptz[])
                        with ordinality as e(database, key, expires_at, ord)
                  where t.database = e.database and t.key = e.key and exists (select from owner) returning e.ord"
            ),
        );
        Ok(())
    }
}
