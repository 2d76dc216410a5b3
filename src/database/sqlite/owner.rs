//! The ownership of a SQLite file: a lock of the operating system on `<path>-owner`, which ends with the process however
//! it ends, and an epoch in `sojourn_owner` as in PostgreSQL. The file is never removed: who had it open could lock a
//! file that no longer has a name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::{Connection, SqliteConnection};

use super::errors::{classify, outage};
use crate::database::DatabaseError;

/// The most that is read of the owner's name.
const NAME_BYTES_MAX: u64 = 256;

/// The lock, for as long as this lives.
pub(super) struct OwnerFile(File);

impl Drop for OwnerFile {
    fn drop(&mut self) {
        // The lock ends with the file; only the name would stay.
        let _ = self.0.set_len(0);
    }
}

/// The name of the server that owns a file, as it stands there; for `sojourn check`. Only a file whose owner was killed makes it
/// ask for the lock, shared and for a moment.
pub(super) fn holder(path: &Path) -> Option<String> {
    let file = File::open(name_of(path)).ok()?;
    let has_owner = file.metadata().is_ok_and(|metadata| metadata.len() > 0)
        && matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    has_owner.then(|| read_name(&file))
}

/// The file with the lock.
fn name_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-owner");
    PathBuf::from(name)
}

impl OwnerFile {
    /// Takes the lock; the inner error is the name of the owner that has it. Makes the folder if it is missing.
    pub fn lock(path: &Path, identity: &str) -> Result<Result<Self, String>, DatabaseError> {
        let name = name_of(path);
        let fails = |error: std::io::Error| DatabaseError::Unusable(format!("cannot use {}: {error}", name.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fails)?;
        }
        let mut file = private().read(true).create(true).truncate(false).open(&name).map_err(fails)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(read_name(&file))),
            Err(TryLockError::Error(error)) => return Err(fails(error)),
        }
        // A session id is a credential: a new database is its owner's alone, and SQLite gives its log the same mode.
        private().create(true).truncate(false).open(path).map_err(fails)?;
        file.set_len(0)
            .and_then(|()| file.write_all(identity.as_bytes()))
            .map_err(|error| outage(error.to_string(), false))?;
        Ok(Ok(Self(file)))
    }
}

fn read_name(file: &File) -> String {
    let mut name = String::new();
    match file.take(NAME_BYTES_MAX).read_to_string(&mut name) {
        Ok(read) if read > 0 => name,
        Ok(_) | Err(_) => "a server that is starting".to_owned(),
    }
}

/// How a file is opened that nobody else may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Begins a new epoch. In a transaction, whose commit says when it fails: an `update … returning` alone has given its row
/// before it commits, and a full disk would let this process believe in an epoch that the file never got.
pub(super) async fn advance(
    connection: &mut SqliteConnection,
    held: Option<i64>,
    identity: &str,
) -> Result<(i64, i64), DatabaseError> {
    let mut transaction = connection.begin_with("begin immediate").await.map_err(|error| classify(error, false))?;
    let row: Option<(i64, i64)> = sqlx::query_as(
        "update sojourn_owner set epoch = epoch + 1, owner = ?1
          where ?2 is null or epoch = ?2 or (epoch > ?2 and owner = ?1) returning epoch, last_batch",
    )
    .bind(identity)
    .bind(held)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(|error| classify(error, false))?;
    transaction.commit().await.map_err(|error| classify(error, false))?;
    if let Some(row) = row {
        return Ok(row);
    }
    let owner: Option<String> = sqlx::query_scalar("select owner from sojourn_owner")
        .fetch_optional(connection)
        .await
        .map_err(|error| classify(error, false))?;
    match owner {
        Some(owner) => Err(DatabaseError::Fenced { owner }),
        None => {
            Err(DatabaseError::Unusable("the table sojourn_owner is empty; drop it, and it is made anew".to_owned()))
        }
    }
}
