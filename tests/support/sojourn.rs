//! The built server, started as an operator starts it.

use std::net::SocketAddr;
use std::process::Stdio;

use super::process::{self, Server};

/// A running Sojourn.
#[derive(Debug)]
pub struct Sojourn(Server);

impl Sojourn {
    /// Starts it on a free port with this database and these further arguments.
    pub fn start(database_url: &str, arguments: &[&str]) -> Self {
        Self(Server::start("sojourn", |port| {
            let mut command = process::sojourn();
            command.args(["--port", &port.to_string(), "--database-url", database_url, "--metrics-addr", "off"]);
            command.args(arguments);
            let settings = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SOJOURN_"));
            for (name, _) in settings {
                command.env_remove(name);
            }
            // The log of a server that a test did not expect to fail stands in the test's output.
            command.arg("--log-level").arg("warn").stdin(Stdio::null());
            command
        }))
    }

    /// Starts it without a database.
    pub fn in_memory() -> Self {
        Self::start("memory://", &[])
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
