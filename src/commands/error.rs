//! What a command can answer instead of a result, in Redis's words, byte for byte.

/// A refused command. Its `Display` is the error line without the leading minus.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Options that do not fit together or are unknown.
    #[error("ERR syntax error")]
    Syntax,
    /// A word that should be a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// A word that should be a float.
    #[error("ERR value is not a valid float")]
    NotAFloat,
    /// `EX 0`, negative or beyond year 9999.
    #[error("ERR invalid expire time in '{command}' command")]
    InvalidExpireTime {
        /// Lower case.
        command: String,
    },
    /// Too few or too many words.
    #[error("ERR wrong number of arguments for '{command}' command")]
    WrongArity {
        /// Lower case; a subcommand as `client|setname`.
        command: String,
    },
    /// The keyspace refused.
    #[error(transparent)]
    Keys(#[from] crate::keyspace::KeysError),
    /// Everything else: the whole line, starting with its code (`ERR …`).
    #[error("{0}")]
    Other(String),
}

impl CommandError {
    /// An error line of its own.
    #[must_use]
    pub fn other(line: impl Into<String>) -> Self {
        Self::Other(line.into())
    }
}
