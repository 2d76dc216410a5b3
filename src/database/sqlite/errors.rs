//! What an error of SQLite means for the caller: by its result code.

use crate::database::DatabaseError;

const CONSTRAINT_TRIGGER: u32 = 1811;

/// What an error means; `committing` when COMMIT itself failed, after which only the file knows.
pub(super) fn classify(error: sqlx::Error, committing: bool) -> DatabaseError {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    let message = match error.as_database_error() {
        Some(answer) => answer.to_string(),
        None => error.to_string(),
    };
    // A trigger's words may quote the key or the value that it refuses.
    let message = if code == Some(CONSTRAINT_TRIGGER) { "a trigger refuses it".to_owned() } else { message };
    // The lowest byte is the primary code, the others tell more of it.
    match code.map(|code| code & 0xff) {
        // CONSTRAINT, MISMATCH, TOOBIG, RANGE
        Some(19 | 20 | 18 | 25) => DatabaseError::Refused(message),
        // SCHEMA
        Some(17) => DatabaseError::Conflict(message),
        // ERROR (no such table or column), PERM, AUTH, CORRUPT, NOTADB
        Some(1 | 3 | 23 | 11 | 26) => DatabaseError::Unusable(format!("SQLite: {message}")),
        // BUSY, LOCKED, FULL, IOERR, READONLY, CANTOPEN, NOMEM and the rest
        Some(_) | None => outage(message, committing),
    }
}

/// Whether the file is of something else (NOTADB).
pub(super) fn is_not_a_database(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "26")
}

pub(super) fn outage(message: impl Into<String>, in_doubt: bool) -> DatabaseError {
    DatabaseError::Outage { message: message.into(), in_doubt }
}
