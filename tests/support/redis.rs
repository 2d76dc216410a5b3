//! A real Redis 7.0, which says what is right.

use std::net::SocketAddr;
use std::process::Stdio;

use super::process::{Server, dying_with_us};

/// A running redis-server without persistence.
#[derive(Debug)]
pub struct Redis(Server);

impl Redis {
    /// Starts it on a free port.
    pub fn start() -> Self {
        Self(Server::start("redis-server", |port| {
            let mut command = dying_with_us("redis-server");
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
