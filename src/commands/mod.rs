//! The commands: one file a family, each row beside its function, and the gates that every command passes.

pub mod acl;
pub mod admin;
pub mod args;
pub mod client;
pub mod cluster;
pub mod collection_scan;
pub mod config;
pub mod connection;
pub mod decimal;
pub mod encoding;
pub mod error;
pub mod execute;
pub mod expire;
pub mod expire_options;
pub mod hash;
mod help;
pub mod info;
pub mod introspect;
pub mod key;
pub mod memory;
pub mod object;
pub mod pubsub;
pub mod random;
pub mod scan;
pub mod script;
pub mod set;
pub mod string;
pub mod string_number;
pub mod string_range;
pub mod table;
pub mod transaction;
pub mod wait;

pub use crate::glob;
