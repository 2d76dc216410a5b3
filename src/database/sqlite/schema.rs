//! The tables in SQLite: the same as in PostgreSQL, with times as text. Never changes a table that it did not make.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::errors::classify;
use crate::database::{DatabaseError, DatabaseSettings};

const OWN_TABLES: [(&str, &str); 2] = [
    (
        "sojourn_owner",
        "create table sojourn_owner (
  id         integer not null primary key default 1 check (id = 1),
  epoch      integer not null,
  last_batch integer not null,
  owner      text    not null
);
insert into sojourn_owner (epoch, last_batch, owner) values (0, 0, '');
",
    ),
    (
        "sojourn_keys",
        "create table sojourn_keys (
  database   integer not null,
  key        blob    not null,
  type       text    not null,
  value      blob    not null,
  expires_at text,
  primary key (database, key)
);
create index sojourn_keys_expires_at on sojourn_keys (expires_at);
",
    ),
];

/// The DDL for those who make the tables themselves.
pub(super) fn text(settings: &DatabaseSettings) -> String {
    let sessions = settings.session_tables.tables().iter().map(|table| session_ddl(&table.table));
    sessions.chain(OWN_TABLES.iter().map(|(_, ddl)| (*ddl).to_owned())).collect()
}

/// A name, quoted. A dot is nothing special: SQLite's schemas are other files.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Checks every table, and makes those that are missing.
pub(super) async fn prepare(
    connection: &mut SqliteConnection,
    settings: &DatabaseSettings,
) -> Result<(), DatabaseError> {
    for table in settings.session_tables.tables() {
        if !exists(connection, &table.table).await? {
            create(connection, settings, &table.table, &session_ddl(&table.table)).await?;
        }
        check_session_table(connection, &table.table).await?;
    }
    // Ours come last: where a session table does not fit, nothing is changed.
    for (name, ddl) in OWN_TABLES {
        if !exists(connection, name).await? {
            create(connection, settings, name, ddl).await?;
        }
    }
    Ok(())
}

/// The names of our own tables.
pub(super) fn own_tables() -> impl Iterator<Item = &'static str> {
    OWN_TABLES.iter().map(|(name, _)| *name)
}

fn session_ddl(name: &str) -> String {
    let index = if name == "session" { "IDX_session_expire".to_owned() } else { format!("{name}_expire_idx") };
    format!(
        "create table {table} (
  \"sid\"    varchar      not null primary key,
  \"sess\"   json         not null,
  \"expire\" timestamp(6) not null
);
create index {index} on {table} (\"expire\");
",
        table = quote(name),
        index = quote(&index)
    )
}

/// Whether a table is there.
pub(super) async fn exists(connection: &mut SqliteConnection, name: &str) -> Result<bool, DatabaseError> {
    sqlx::query_scalar("select exists (select 1 from sqlite_master where type = 'table' and name = ? collate nocase)")
        .bind(name)
        .fetch_one(connection)
        .await
        .map_err(|error| classify(error, false))
}

async fn create(
    connection: &mut SqliteConnection,
    settings: &DatabaseSettings,
    name: &str,
    ddl: &str,
) -> Result<(), DatabaseError> {
    if !settings.create_tables {
        return Err(DatabaseError::Unusable(format!(
            "the table {name} does not exist and create-tables is off; `sojourn schema` prints what to run"
        )));
    }
    // Whole or not at all.
    let sql = format!("begin immediate;\n{ddl}commit;");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(|_| ()).map_err(|error| classify(error, false))
}

/// Name, declared type, whether a row must give it, and its place in the primary key.
type Column = (String, String, bool, i64);

/// An error names the table and the column that does not fit.
pub(super) async fn check_session_table(connection: &mut SqliteConnection, name: &str) -> Result<(), DatabaseError> {
    let columns: Vec<Column> = sqlx::query_as(
        "select name, lower(type), \"notnull\" <> 0 and dflt_value is null, pk from pragma_table_info(?)",
    )
    .bind(name)
    .fetch_all(&mut *connection)
    .await
    .map_err(|error| classify(error, false))?;
    check_type(name, &columns, "sid", &["char", "text"], "varchar or text")?;
    check_type(name, &columns, "sess", &["json", "char", "text"], "json")?;
    check_type(name, &columns, "expire", &["timestamp", "datetime", "char", "text"], "timestamp(6)")?;
    if let Some((column, ..)) = columns
        .iter()
        .find(|(column, _, must_be_given, _)| *must_be_given && !["sid", "sess", "expire"].contains(&column.as_str()))
    {
        return Err(DatabaseError::Unusable(format!(
            "table {name}: column {column} is not null and has no default, so Sojourn cannot insert rows; give it a default"
        )));
    }
    if !is_unique(connection, name, &columns).await? {
        return Err(DatabaseError::Unusable(format!(
            "table {name}: column sid has no primary key or unique constraint"
        )));
    }
    Ok(())
}

fn check_type(
    table: &str,
    columns: &[Column],
    name: &str,
    kinds: &[&str],
    expected: &str,
) -> Result<(), DatabaseError> {
    match columns.iter().find(|(column, ..)| column == name) {
        Some((_, kind, ..)) if kind != "jsonb" && kinds.iter().any(|part| kind.contains(part)) => Ok(()),
        Some((_, kind, ..)) => {
            Err(DatabaseError::Unusable(format!("table {table}: column {name} is {kind:?}; expected {expected}")))
        }
        None => Err(DatabaseError::Unusable(format!("table {table}: there is no column {name}; expected {expected}"))),
    }
}

async fn is_unique(connection: &mut SqliteConnection, name: &str, columns: &[Column]) -> Result<bool, DatabaseError> {
    let key: Vec<&str> = columns.iter().filter(|(.., place)| *place > 0).map(|(column, ..)| column.as_str()).collect();
    if key == ["sid"] {
        return Ok(true);
    }
    sqlx::query_scalar(
        "select exists (select 1
                          from pragma_index_list(?) as i
                         where i.\"unique\" and not i.partial
                           and (select group_concat(c.name) from pragma_index_info(i.name) as c) = 'sid')",
    )
    .bind(name)
    .fetch_one(connection)
    .await
    .map_err(|error| classify(error, false))
}
