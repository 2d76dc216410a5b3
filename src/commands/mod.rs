//! The commands: one file a family, each row beside its function, and the gates that every command passes.

pub mod args;
pub mod decimal;
pub mod error;
pub mod execute;
pub mod expire;
pub mod expire_options;
pub mod glob;
pub mod key;
pub mod object;
pub mod scan;
pub mod string;
pub mod string_number;
pub mod string_range;
pub mod table;
