//! The Redis serialization protocol: bytes to words and replies to bytes. It knows no command.

pub mod reply;
pub mod request;

pub use reply::{Protocol, Reply};
pub use request::{ProtocolError, Request, RequestLimits, RequestReader};
