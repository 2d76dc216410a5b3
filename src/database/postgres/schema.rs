//! The tables: made as connect-pg-simple makes them, or adopted as they are. Never changes a table that it did not make:
//! what does not fit is named, and the operator decides.

use std::collections::BTreeSet;

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::connect::Server;
use super::errors::{classify, code};
use crate::database::{DatabaseError, DatabaseSettings, Home, RecordId, SessionTables, parts};

/// Our own tables. The owner's row is updated by every batch; the free space on its page lets PostgreSQL reuse it in place.
const OWN_TABLES: [(&str, &str); 2] = [
    (
        "sojourn_owner",
        "create table sojourn_owner (
  id         smallint    primary key default 1 check (id = 1),
  epoch      bigint      not null,
  last_batch bigint      not null,
  owner      text        not null,
  since      timestamptz not null default now()
) with (fillfactor = 10);
insert into sojourn_owner (epoch, last_batch, owner) values (0, 0, '');
",
    ),
    (
        "sojourn_keys",
        "create table sojourn_keys (
  database   smallint    not null,
  key        bytea       not null,
  type       text        not null,
  value      bytea       not null,
  expires_at timestamptz,
  primary key (database, key)
);
create index sojourn_keys_expires_at on sojourn_keys (expires_at);
",
    ),
];

/// The index that connect-pg-simple makes, under one name for every table; so only the first table of a schema can have it.
const EXPIRE_INDEX: &str = "IDX_session_expire";

/// What every table needs to grant.
const PRIVILEGES: [&str; 4] = ["select", "insert", "update", "delete"];

/// A session table as found.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Its name, ready for a statement.
    pub quoted: String,
    /// What the keys of its records start with.
    pub prefix: Vec<u8>,
    /// Whether `expire` is a `timestamptz`.
    pub has_zone: bool,
}

/// All session tables as found.
#[derive(Clone, Debug)]
pub(super) struct Layout(Vec<Table>);

impl Layout {
    pub fn tables(&self) -> &[Table] {
        &self.0
    }

    /// The session table of a home; `None` for `sojourn_keys`.
    pub fn table(&self, home: Home) -> Result<Option<&Table>, DatabaseError> {
        match home {
            Home::Keys => Ok(None),
            Home::Session(position) => match self.0.get(usize::from(position)) {
                Some(table) => Ok(Some(table)),
                None => Err(DatabaseError::Refused(format!("there is no session table number {position}"))),
            },
        }
    }

    /// The name of a home's table, ready for a statement.
    pub fn quoted(&self, home: Home) -> Result<&str, DatabaseError> {
        Ok(self.table(home)?.map_or("sojourn_keys", |table| table.quoted.as_str()))
    }

    /// The key as the table has it: a session table's prefix is not stored.
    pub fn stored_key<'a>(&self, id: &'a RecordId) -> Result<&'a [u8], DatabaseError> {
        let prefix = self.table(id.home)?.map_or(&[][..], |table| table.prefix.as_slice());
        parts::without_prefix(&id.key, prefix)
    }
}

/// The DDL and the GRANTs for those who migrate by hand.
pub(super) fn text(settings: &DatabaseSettings) -> String {
    let mut text = String::new();
    let mut names: Vec<String> = Vec::new();
    for table in settings.session_tables.tables() {
        let index = (table.table == "session").then_some(EXPIRE_INDEX);
        text.push_str(&session_ddl(&table.table, index));
        names.push(quote(&table.table));
    }
    for (name, ddl) in OWN_TABLES {
        text.push_str(ddl);
        names.push(name.to_owned());
    }
    text.push_str(&format!(
        "\n-- Replace sojourn by the role that Sojourn logs in as, unless it owns the tables.\ngrant {} on {} to sojourn;\n",
        PRIVILEGES.join(", "),
        names.join(", ")
    ));
    for schema in schemas(&names) {
        text.push_str(&format!("grant usage on schema {schema} to sojourn;\n"));
    }
    text
}

/// The schemas of these quoted names, as far as they name one, each once.
fn schemas(names: &[String]) -> BTreeSet<String> {
    names.iter().filter_map(|name| Some(format!("{}\"", name.split_once("\".\"")?.0))).collect()
}

/// Checks every table, and makes those that are missing.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
    server: &mut Server,
) -> Result<Layout, DatabaseError> {
    let mut layout = Vec::new();
    for table in settings.session_tables.tables() {
        let quoted = quote(&table.table);
        if oid(connection, &quoted, server).await?.is_none() {
            let index = free_index_name(connection, &table.table, server).await?;
            create(connection, settings, server, &quoted, &session_ddl(&table.table, index)).await?;
        }
        let has_zone = check_session_table(connection, &quoted, server).await?;
        check_privileges(connection, &quoted, server).await?;
        layout.push(Table { quoted, prefix: table.prefix.clone(), has_zone });
    }
    // Ours come last: where a session table does not fit, nothing is changed.
    for (name, ddl) in OWN_TABLES {
        if oid(connection, name, server).await?.is_none() {
            create(connection, settings, server, name, ddl).await?;
        }
        check_privileges(connection, name, server).await?;
    }
    Ok(Layout(layout))
}

/// Whether any table's times need a zone; without one, a guessed zone is no reason to warn.
pub(super) fn any_without_zone(layout: &Layout) -> bool {
    layout.tables().iter().any(|table| !table.has_zone)
}

/// `table` or `schema.table`, quoted.
pub(super) fn quote(name: &str) -> String {
    let quoted = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
    match name.split_once('.') {
        Some((schema, table)) => format!("{}.{}", quoted(schema), quoted(table)),
        None => quoted(name),
    }
}

/// A session table as connect-pg-simple's table.sql makes it. Without a name for the index, PostgreSQL finds a free one.
fn session_ddl(name: &str, index: Option<&str>) -> String {
    let table = quote(name);
    let index = index.map_or_else(String::new, |index| format!("\"{index}\" "));
    format!(
        "create table {table} (
  \"sid\"    varchar      not null collate \"default\" primary key,
  \"sess\"   json         not null,
  \"expire\" timestamp(6) not null
);
create index {index}on {table} (\"expire\");
"
    )
}

async fn free_index_name(
    connection: &mut PgConnection,
    table: &str,
    server: &Server,
) -> Result<Option<&'static str>, DatabaseError> {
    let qualified = match table.rsplit_once('.') {
        Some((schema, "session")) => format!("{}.\"{EXPIRE_INDEX}\"", quote(schema)),
        None if table == "session" => format!("\"{EXPIRE_INDEX}\""),
        Some(_) | None => return Ok(None),
    };
    Ok(oid(connection, &qualified, server).await?.is_none().then_some(EXPIRE_INDEX))
}

/// Whether a table is there.
pub(super) async fn exists(
    connection: &mut PgConnection,
    quoted: &str,
    server: &Server,
) -> Result<bool, DatabaseError> {
    Ok(oid(connection, quoted, server).await?.is_some())
}

/// The names of our own tables.
pub(super) fn own_tables() -> impl Iterator<Item = &'static str> {
    OWN_TABLES.iter().map(|(name, _)| *name)
}

/// The schema of a table, quoted: the one that it names, or the one that the role makes tables in.
pub(super) fn schema_of(quoted: &str, server: &Server) -> String {
    schemas(&[quoted.to_owned()]).pop_first().unwrap_or_else(|| quote(&server.schema))
}

async fn oid(connection: &mut PgConnection, quoted: &str, server: &Server) -> Result<Option<i64>, DatabaseError> {
    let found = sqlx::query_scalar("select to_regclass($1)::oid::bigint").bind(quoted).fetch_one(connection).await;
    found.map_err(|error| match (code(&error).as_deref(), schemas(&[quoted.to_owned()]).first()) {
        (Some("42501"), Some(schema)) => DatabaseError::Unusable(format!(
            "privileges are missing: grant usage on schema {schema} to {}",
            quote(&server.role)
        )),
        (_, _) => classify(error),
    })
}

async fn create(
    connection: &mut PgConnection,
    settings: &DatabaseSettings,
    server: &Server,
    quoted: &str,
    ddl: &str,
) -> Result<(), DatabaseError> {
    if !settings.create_tables {
        return Err(DatabaseError::Unusable(format!(
            "the table {quoted} does not exist and create-tables is off; `sojourn schema` prints what to run"
        )));
    }
    // Several statements in one simple query are one transaction: a table is made whole or not at all.
    let created = sqlx::raw_sql(sqlx::AssertSqlSafe(ddl.to_owned())).execute(connection).await;
    created.map(|_| ()).map_err(|error| match code(&error).as_deref() {
        Some("42501") => DatabaseError::Unusable(format!(
            "cannot create the table {quoted}: {error}; grant create on schema {} to {}; \
             or run what `sojourn schema` prints",
            schema_of(quoted, server),
            quote(&server.role)
        )),
        Some(_) | None => classify(error),
    })
}

pub(super) async fn check_privileges(
    connection: &mut PgConnection,
    quoted: &str,
    server: &Server,
) -> Result<(), DatabaseError> {
    let missing: Vec<String> = sqlx::query_scalar(
        "select privilege from unnest($2::text[]) as privilege where not has_table_privilege($1::text, privilege)",
    )
    .bind(quoted)
    .bind(&PRIVILEGES[..])
    .fetch_all(connection)
    .await
    .map_err(classify)?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(DatabaseError::Unusable(format!(
        "privileges are missing: grant {} on {quoted} to {}",
        missing.join(", "),
        quote(&server.role)
    )))
}

/// A column as `pg_attribute` has it.
struct Column {
    name: String,
    kind: String,
    must_be_given: bool,
}

/// Whether `expire` has a time zone; an error names the table and the column that does not fit.
pub(super) async fn check_session_table(
    connection: &mut PgConnection,
    quoted: &str,
    server: &mut Server,
) -> Result<bool, DatabaseError> {
    let columns = columns(connection, quoted).await?;
    check_type(quoted, &columns, "sid", &["character varying", "text"], "varchar or text")?;
    check_type(quoted, &columns, "sess", &["json"], "json, which keeps the text byte for byte")?;
    let zones = ["timestamp without time zone", "timestamp with time zone"];
    let expire = check_type(quoted, &columns, "expire", &zones, "timestamp or timestamptz")?;
    let has_zone = expire.kind == zones[1];
    let extra = |column: &&Column| !["sid", "sess", "expire"].contains(&column.name.as_str()) && column.must_be_given;
    if let Some(column) = columns.iter().find(extra) {
        return Err(DatabaseError::Unusable(format!(
            "table {quoted}: column {} is not null and has no default, so Sojourn cannot insert rows; give it a default",
            column.name
        )));
    }
    let indexes = indexes(connection, quoted).await?;
    if !indexes.0 {
        return Err(DatabaseError::Unusable(format!(
            "table {quoted}: column sid has no primary key or unique constraint; alter table {quoted} add primary key (sid)"
        )));
    }
    if !indexes.1 {
        server.warnings.push(format!(
            "table {quoted} has no index on expire, so that pruning reads all of it: create index on {quoted} (expire)"
        ));
    }
    Ok(has_zone)
}

fn check_type<'a>(
    quoted: &str,
    columns: &'a [Column],
    name: &str,
    kinds: &[&str],
    expected: &str,
) -> Result<&'a Column, DatabaseError> {
    let found = columns.iter().find(|column| column.name == name);
    match found {
        Some(column) if kinds.contains(&column.kind.as_str()) => Ok(column),
        Some(column) => Err(DatabaseError::Unusable(format!(
            "table {quoted}: column {name} is {}; expected {expected}",
            column.kind
        ))),
        None => Err(DatabaseError::Unusable(format!("table {quoted}: there is no column {name}; expected {expected}"))),
    }
}

async fn columns(connection: &mut PgConnection, quoted: &str) -> Result<Vec<Column>, DatabaseError> {
    let rows = sqlx::query(
        "select attname::text,
                format_type(atttypid, null),
                attnotnull and not atthasdef and attidentity = ''
           from pg_attribute
          where attrelid = to_regclass($1) and attnum > 0 and not attisdropped",
    )
    .bind(quoted)
    .fetch_all(connection)
    .await
    .map_err(classify)?;
    let column =
        |row: &PgRow| Ok(Column { name: row.try_get(0)?, kind: row.try_get(1)?, must_be_given: row.try_get(2)? });
    rows.iter().map(column).collect::<Result<_, _>>().map_err(classify)
}

/// Whether `sid` alone is unique, as `on conflict (sid)` needs it, and whether an index starts with `expire`.
async fn indexes(connection: &mut PgConnection, quoted: &str) -> Result<(bool, bool), DatabaseError> {
    sqlx::query_as(
        "select coalesce(bool_or(a.attname = 'sid' and i.indisunique and i.indimmediate and i.indnkeyatts = 1), false),
                coalesce(bool_or(a.attname = 'expire'), false)
           from pg_index as i
           join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
          where i.indrelid = to_regclass($1) and i.indisvalid and i.indpred is null",
    )
    .bind(quoted)
    .fetch_one(connection)
    .await
    .map_err(classify)
}

/// For the settings' own check: a name that can be quoted.
pub(super) fn check_names(tables: &SessionTables) -> Result<(), DatabaseError> {
    for table in tables.tables() {
        let parts = table.table.split('.');
        if parts.clone().count() > 2 || parts.clone().any(|part| part.is_empty() || part.contains('\0')) {
            return Err(DatabaseError::Unusable(format!(
                "session table {:?}: expected `table` or `schema.table`",
                table.table
            )));
        }
    }
    Ok(())
}
