//! stub: to be written
use bytes::{Bytes, BytesMut};

/// A command's words, its name first; never empty.
pub type Request = Vec<Bytes>;

/// What a request may not exceed.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Longest argument in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Most arguments (Redis: 1024 * 1024 for authenticated clients; 10 before AUTH).
    pub arguments_max: usize,
}

/// Bytes that are no request; answered as `-ERR Protocol error: …`, then the connection closes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Protocol error: {0}")]
pub struct ProtocolError(pub String);

/// Takes requests off a read buffer.
#[derive(Debug)]
pub struct RequestReader {}

impl RequestReader {
    /// A reader at the start of a connection.
    #[must_use]
    pub fn new() -> Self { Self {} }

    /// Takes the next whole request off the buffer; `None` when more bytes are needed.
    pub fn next(&mut self, _buffer: &mut BytesMut, _limits: &RequestLimits) -> Result<Option<Request>, ProtocolError> { Ok(None) }
}
