//! What a command can answer instead of a result, in Redis's words, byte for byte.

use crate::database::unit::Outcome;

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
    /// A change that was made or seen is not in the database, and will not be.
    #[error("MISCONF the database is not available or refused the write: it was not applied")]
    NotApplied,
    /// Only the database knows whether a change that was made or seen is in it.
    #[error("UNCERTAIN the database went away during the commit: whether the write was applied is not known")]
    Uncertain,
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

    /// What is answered instead of a reply whose changes ended so; `None` where the reply stands.
    #[must_use]
    pub fn of_outcome(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Committed | Outcome::Pending => None,
            Outcome::Failed => Some(Self::NotApplied),
            Outcome::Unknown => Some(Self::Uncertain),
        }
    }
}
