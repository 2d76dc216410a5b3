//! Looking at a SQLite file for `sojourn check`. The file is opened for reading only, one that is not there is not made, and the
//! lock of ownership is never taken: a server that runs or starts must not notice.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::{Sqlite, owner, schema};
use crate::database::finding::{Finding, Inspection};
use crate::database::{DatabaseError, DatabaseSettings};

/// What is looked at first.
const DATABASE: &str = "database";

/// The least room that a disk should have: a write-ahead log alone may take so much.
const ROOM_BYTES_MIN: u64 = 100 * 1024 * 1024;

/// All that can be found without writing.
pub(in crate::database) async fn inspect(settings: &DatabaseSettings) -> Inspection {
    let database = match Sqlite::open(settings) {
        Ok(database) => database,
        Err(error) => return Inspection::ended_by(Finding::fault(DATABASE, error.to_string())),
    };
    let folder = existing(database.path.parent().unwrap_or(Path::new("/")));
    if !folder.is_dir() {
        let sentence = format!("{} is no folder; choose another path in database-url", folder.display());
        return Inspection::ended_by(Finding::fault(DATABASE, sentence));
    }
    let mut findings = vec![writable(&folder), room(&folder)];
    let owner = owner::holder(&database.path);
    if database.path.exists() {
        findings.push(writable(&database.path));
        findings.extend(content(&database).await);
    } else {
        let sentence = format!("{} does not exist yet; the start makes it", database.path.display());
        findings.push(Finding::good(DATABASE, sentence));
    }
    findings.push(Finding::good(
        "owner",
        match &owner {
            Some(owner) => format!("{owner} owns the database and serves"),
            None => "no server owns the database now".to_owned(),
        },
    ));
    Inspection { findings, owner }
}

/// The nearest folder above that is there; the start makes those below it.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn writable(path: &Path) -> Finding {
    let shown = path.display();
    match access(path, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => Finding::good(DATABASE, format!("{shown} can be read and written")),
        Err(error) => Finding::fault(
            DATABASE,
            format!("{shown} cannot be written: {error}; give it to the user that runs the server (chown, chmod u+rw)"),
        ),
    }
}

fn room(folder: &Path) -> Finding {
    let shown = folder.display();
    match statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            let mebibytes = free / (1024 * 1024);
            match free {
                0 => Finding::fault(DATABASE, format!("the disk of {shown} is full; make room")),
                1..ROOM_BYTES_MIN => {
                    Finding::warning(DATABASE, format!("the disk of {shown} has only {mebibytes} MiB left; make room"))
                }
                _ => Finding::good(DATABASE, format!("the disk of {shown} has {mebibytes} MiB left")),
            }
        }
        Err(error) => Finding::warning(DATABASE, format!("the room on the disk of {shown} is not known: {error}")),
    }
}

/// What stands in the file.
async fn content(database: &Sqlite) -> Vec<Finding> {
    let size = fs::metadata(&database.path).map_or(0, |metadata| metadata.len());
    if size == 0 {
        return vec![Finding::good(DATABASE, "the file is empty; the start makes the tables")];
    }
    let options = database.options_to_look().read_only(true);
    let mut connection = match options.connect().await {
        Ok(connection) => connection,
        Err(error) => return vec![Finding::fault(DATABASE, database.explain(error).to_string())],
    };
    let mut findings = Vec::new();
    if let Err(error) = tables(&mut connection, database, &mut findings).await {
        findings.push(Finding::fault(DATABASE, error.to_string()));
    }
    // It only read.
    let _closed = connection.close().await;
    findings
}

async fn tables(
    connection: &mut SqliteConnection,
    database: &Sqlite,
    findings: &mut Vec<Finding>,
) -> Result<(), DatabaseError> {
    let version: String = sqlx::query_scalar("select sqlite_version()")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| database.explain(error))?;
    findings.push(Finding::good(DATABASE, format!("SQLite {version} at {}", database.path.display())));
    for table in database.settings.session_tables.tables() {
        let name = &table.table;
        findings.push(if schema::exists(connection, name).await? {
            let subject = format!("table {name}");
            match schema::check_session_table(connection, name).await {
                Ok(()) => Finding::good(subject, "its columns and its key are as they should be"),
                Err(DatabaseError::Unusable(sentence)) => Finding::fault(subject, sentence),
                Err(error) => return Err(error),
            }
        } else {
            missing(&database.settings, name)
        });
    }
    for name in schema::own_tables() {
        if !schema::exists(connection, name).await? {
            findings.push(missing(&database.settings, name));
        }
    }
    Ok(())
}

fn missing(settings: &DatabaseSettings, name: &str) -> Finding {
    let subject = format!("table {name}");
    if settings.create_tables {
        Finding::good(subject, "it does not exist yet; the start makes it")
    } else {
        Finding::fault(subject, "it does not exist and create-tables is off; run what `sojourn schema` prints")
    }
}
