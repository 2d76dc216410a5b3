//! What an acknowledged write is worth: the real server is killed, stopped, cut off from its database and replaced, on
//! SQLite and on a real PostgreSQL, and what it acknowledged must be there.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "../support/postgres.rs"]
mod postgres;

#[path = "../support/mod.rs"]
mod support;

mod history;
mod kills;
mod linearizability;
mod load;
mod outages;
mod owners;
mod server;
mod starts;
mod touches;
mod victim;
