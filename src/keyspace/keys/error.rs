//! Why the keyspace refuses. Each is an answer to the client or to the executor; none leaves half a change behind.

/// Why the keyspace did not do what a handler asked; no handler mends these, it passes them on with `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The value is only in the database; the executor loads it and runs the command again.
    #[error("ERR the value is not loaded")]
    Cold,
    /// The database is away and the change needs it: nothing was applied.
    #[error(
        "MISCONF the database is not available: the write was not applied, and writes are refused until it is back"
    )]
    DatabaseDown,
    /// The key holds a value of another kind.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongKind,
    /// The record was damaged by hand, or a later version wrote it.
    #[error(
        "ERR the stored value is damaged or of a type that this version does not know; restore its row and restart, or DEL the key"
    )]
    Unreadable,
    /// So many keys are visited that others would wait; the executor runs the command again where nobody does.
    #[error("ERR the command takes long")]
    TakesLong,
    /// A collection would outgrow what one request could set.
    #[error("ERR collection exceeds maximum allowed size (proto-max-bulk-len)")]
    TooLarge,
}
