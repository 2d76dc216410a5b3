//! What an error of PostgreSQL means for the caller: by SQLSTATE, never by its text, which depends on the server's language.
//! The words of a refusal never leave here: they may quote the key or the value that was refused.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::database::DatabaseError;

/// What an error means, before or outside a commit: nothing can be in doubt.
pub(super) fn classify(error: sqlx::Error) -> DatabaseError {
    of(error, false)
}

/// What an error means that ended a commit.
pub(super) fn classify_commit(error: sqlx::Error) -> DatabaseError {
    of(error, true)
}

fn of(error: sqlx::Error, committing: bool) -> DatabaseError {
    if let Some(answer) = error.as_database_error().and_then(|answer| answer.try_downcast_ref::<PgDatabaseError>()) {
        return answered(answer, committing);
    }
    if matches!(error, sqlx::Error::Configuration(_) | sqlx::Error::Tls(_)) {
        return DatabaseError::Unusable(error.to_string());
    }
    if matches!(error, sqlx::Error::Encode(_)) {
        return DatabaseError::Refused(error.to_string());
    }
    outage(error.to_string(), committing)
}

/// The server itself said what went wrong. A statement that it reports as failed was rolled back; only a connection that
/// it ends (severity FATAL, class 08, 57P0x, 40003) may have committed before.
fn answered(answer: &PgDatabaseError, committing: bool) -> DatabaseError {
    let code = answer.code();
    let message = format!("{} (SQLSTATE {code})", answer.message());
    let ended = matches!(answer.severity(), PgSeverity::Fatal | PgSeverity::Panic) || code.starts_with("57P0");
    match (code, code.get(..2).unwrap_or_default()) {
        ("55P03", _) => DatabaseError::Locked(message),
        ("40003", _) | (_, "08") => outage(message, committing),
        ("3D000", _) | (_, "28") => DatabaseError::Unusable(format!("cannot log in to PostgreSQL: {message}")),
        (_, "42" | "3F") => DatabaseError::Unusable(message),
        (_, "40") => DatabaseError::Conflict(message),
        // P0, 44, 21, 27, 38, 39: a trigger, rule or view of the user's own refuses a row.
        (_, "22" | "23" | "54" | "P0" | "44" | "21" | "27" | "38" | "39") => DatabaseError::Refused(refusal(answer)),
        // 25006, 53, 57, 58, and what should not happen (0A, 26, XX): a new connection is the cure, if any.
        (_, _) => outage(message, committing && ended),
    }
}

/// Which rule refused a row, without PostgreSQL's own words for it.
fn refusal(answer: &PgDatabaseError) -> String {
    let named = |what: &str, name: Option<&str>| name.map_or_else(String::new, |name| format!(", {what} {name}"));
    let (table, column) = (named("table", answer.table()), named("column", answer.column()));
    let (constraint, code) = (named("constraint", answer.constraint()), answer.code());
    format!("SQLSTATE {code}{table}{column}{constraint}; PostgreSQL's log may say more")
}

pub(super) fn outage(message: impl Into<String>, in_doubt: bool) -> DatabaseError {
    DatabaseError::Outage { message: message.into(), in_doubt }
}

/// The SQLSTATE, if the server answered.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
