//! The commands: one file a family, each row beside its function, and the gates that every command passes.

pub mod admin;
pub mod args;
pub mod client;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod error;
pub mod execute;
mod help;
pub mod info;
pub mod introspect;
pub mod key;
pub mod scan;
pub mod string;
pub mod table;
pub mod transaction;
