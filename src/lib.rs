//! Sojourn: a session server that speaks the Redis protocol, keeps hot sessions in memory and writes them through
//! to a SQL database before it replies.
//!
//! # The way of a request
//!
//! ```text
//! socket -> server::serve -> protocol::request -> commands::execute -> keyspace -> commands::<family> handler
//!        <- server::serve <- protocol::reply   <-                   <- ticket   <- database::write_through -> postgres | sqlite
//! ```
//!
//! The modules below stand from the ground up: each may import from those above it in this list, never from those
//! under it, and `tests/architecture.rs` enforces that.

pub mod clock;
pub mod glob;
pub mod whole_file;
pub mod config;
pub mod tls;
pub mod protocol;
pub mod lua;
pub mod telemetry;
pub mod database;
pub mod keyspace;
pub mod app;
pub mod commands;
pub mod server;
pub mod check;
