//! What a request may not exceed, and Redis's words for one that does. A declared size is judged here, before a byte
//! of it has arrived; nothing may be reserved on the strength of a declaration.

/// Longest line: a request without arguments' lengths, or a line that announces one (Redis: `PROTO_INLINE_MAX_SIZE`).
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest argument unless configured (Redis: the default of `proto-max-bulk-len`).
pub const BULK_BYTES_MAX_DEFAULT: usize = 512 * 1024 * 1024;
/// Most arguments of an authenticated client. Redis took as many until 6.2; the 2^31 - 1 of 7.0 would let one request
/// claim gigabytes for its list of arguments alone.
pub const ARGUMENTS_MAX: usize = 1024 * 1024;
/// Most arguments before AUTH: enough for `HELLO 3 AUTH name password SETNAME name`.
pub const ARGUMENTS_MAX_UNAUTHENTICATED: usize = 10;
/// Longest argument before AUTH.
pub const BULK_BYTES_MAX_UNAUTHENTICATED: usize = 16 * 1024;
/// What Redis calls invalid whoever sends it, so that an unauthenticated client reads the same text.
const ARGUMENTS_VALID_MAX: usize = i32::MAX as usize;

/// What a request may not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Longest argument in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Most arguments.
    pub arguments_max: usize,
    /// Whether the client may run commands; it decides the words of the refusal.
    pub authenticated: bool,
}

impl RequestLimits {
    /// The limits of a client that may run commands.
    #[must_use]
    pub const fn authenticated(bulk_bytes_max: usize) -> Self {
        Self { bulk_bytes_max, arguments_max: ARGUMENTS_MAX, authenticated: true }
    }

    /// The limits of a client that has yet to authenticate: a stranger must not fill the memory.
    #[must_use]
    pub const fn unauthenticated() -> Self {
        Self {
            bulk_bytes_max: BULK_BYTES_MAX_UNAUTHENTICATED,
            arguments_max: ARGUMENTS_MAX_UNAUTHENTICATED,
            authenticated: false,
        }
    }

    /// The declared number of arguments, if it may be sent; 0 for an empty request, as which Redis also reads
    /// negative numbers.
    pub(super) fn arguments(&self, declared: i64) -> Result<usize, ProtocolError> {
        let arguments = usize::try_from(declared.max(0)).unwrap_or(usize::MAX);
        if arguments <= self.arguments_max {
            return Ok(arguments);
        }
        let known = self.authenticated || arguments > ARGUMENTS_VALID_MAX;
        Err(ProtocolError::from(if known { INVALID_COUNT } else { UNAUTHENTICATED_COUNT }))
    }

    /// The declared length of an argument, if it may be sent.
    pub(super) fn argument_bytes(&self, declared: i64) -> Result<usize, ProtocolError> {
        let bytes = usize::try_from(declared).map_err(|_negative| ProtocolError::from(INVALID_LENGTH))?;
        if bytes <= self.bulk_bytes_max {
            return Ok(bytes);
        }
        let known = self.authenticated || bytes > BULK_BYTES_MAX_DEFAULT;
        Err(ProtocolError::from(if known { INVALID_LENGTH } else { UNAUTHENTICATED_LENGTH }))
    }
}

pub(super) const INVALID_COUNT: &str = "invalid multibulk length";
pub(super) const INVALID_LENGTH: &str = "invalid bulk length";
pub(super) const UNAUTHENTICATED_COUNT: &str = "unauthenticated multibulk length";
pub(super) const UNAUTHENTICATED_LENGTH: &str = "unauthenticated bulk length";
pub(super) const TOO_BIG_COUNT: &str = "too big mbulk count string";
pub(super) const TOO_BIG_LENGTH: &str = "too big bulk count string";
pub(super) const TOO_BIG_INLINE: &str = "too big inline request";
pub(super) const UNBALANCED_QUOTES: &str = "unbalanced quotes in request";

/// Bytes that are no request; answered as `-ERR Protocol error: …`, then the connection closes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Protocol error: {0}")]
pub struct ProtocolError(pub String);

impl From<&str> for ProtocolError {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}
