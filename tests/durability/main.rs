//! What an acknowledged write is worth: the real server is killed, stopped, cut off from its database, replaced and traced,
//! on SQLite and on a real PostgreSQL, and what it acknowledged must be there.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "../support/postgres.rs"]
mod postgres;

#[path = "../support/mod.rs"]
mod support;

mod cold;
mod disks;
mod events;
mod everysec;
mod history;
mod kills;
mod kinds;
mod leaks;
mod linearizability;
mod load;
mod locked;
mod memory;
mod network;
mod outages;
mod owners;
mod power;
mod privileges;
mod prunes;
mod psql;
mod queue;
mod refusals;
mod starts;
mod stops;
mod touches;
mod users;
mod values;
mod victim;
mod warming;

use support::server;
