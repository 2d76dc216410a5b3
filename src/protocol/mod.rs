//! The Redis serialization protocol: bytes to words and replies to bytes. It knows no command.

mod inline;
pub mod limits;
pub mod pieces;
pub mod reply;
pub mod request;
mod unfinished;

pub use limits::{ProtocolError, RequestLimits};
pub use pieces::Pieces;
pub use reply::{Protocol, Reply, Shape, Strings};
pub use request::{Request, RequestReader};
