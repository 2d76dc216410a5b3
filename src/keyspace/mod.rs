//! The heart: every key with its expiry, hot values, and the one place where a command decides and queues its change
//! under the same short lock. It never waits for the database while it holds a lock, and it never says that a key
//! does not exist unless it is so.

pub mod entry;
pub mod expiry;
pub mod hot;
pub mod keys;
pub mod load;
pub mod settle;
pub mod touch;
pub mod watch;

pub use keys::{Keys, KeysError};
