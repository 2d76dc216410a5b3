//! The built server, started as an operator starts it.

use std::net::SocketAddr;
use std::process::Command;

use super::process::Server;
use super::server;

/// The flags of a server whose log nobody keeps: what is wrong with it stands in the output of the test.
pub fn command(port: u16, database_url: &str, arguments: &[&str]) -> Command {
    server::command(port, database_url, &[arguments, &["--log-level", "warn"]].concat())
}

/// A running Sojourn.
#[derive(Debug)]
pub struct Sojourn(Server);

impl Sojourn {
    /// Starts it on a free port with this database and these further arguments.
    pub fn start(database_url: &str, arguments: &[&str]) -> Self {
        Self(Server::start("sojourn", |port| command(port, database_url, arguments)))
    }

    /// Starts it without a database.
    pub fn in_memory() -> Self {
        Self::start("memory://", &[])
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.pid()
    }
}
