//! A real Redis 7.0, which says what is right.

use std::net::SocketAddr;
use std::process::Stdio;

use tempfile::TempDir;

use super::process::{Server, dying_with_us};

/// A running redis-server without persistence.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    /// What SAVE writes goes away with it.
    _folder: TempDir,
}

impl Redis {
    /// Starts it on a free port.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start("redis-server", |port| {
            let mut command = dying_with_us("redis-server");
            command.arg("--dir").arg(folder.path());
            command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        });
        Self { server, _folder: folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
}
