//! Attacks on Sojourn, and where they can be tried on redis-server 7.0 the same there, each while a well-behaved neighbour
//! goes on with its GETs and SETs. The short form asserts what must hold; the long one (`tests/attack`) tries more, one attack
//! after another and each in rounds, and writes the table of `benches/ATTACKS.md`.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/mod.rs"]
mod support;

mod connections;
mod edges;
mod keys;
mod listeners;
mod neighbour;
mod pace;
mod replies;
mod requests;
mod rig;
mod secured;
mod sessions;
mod strangers;
mod table;
mod verdict;
