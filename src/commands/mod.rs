//! The commands: one file a family, each row beside its function, and the gates that every command passes.

pub mod args;
pub mod error;
pub mod execute;
pub mod table;
