//! A real Redis 7.0, which says what is right.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::process::{Server, dying_with_us};

/// A redis-server on this port with its files in this folder; its log goes nowhere, what keeps it from starting is told.
pub fn command(port: u16, folder: &Path, settings: &[&str]) -> Command {
    let mut command = dying_with_us("redis-server");
    command.arg("--dir").arg(folder).args(["--bind", "127.0.0.1", "--port", &port.to_string()]).args(settings);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A running redis-server.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    /// What SAVE writes goes away with it.
    _folder: TempDir,
}

impl Redis {
    /// Starts it on a free port, without persistence.
    pub fn start() -> Self {
        Self::start_in(&std::env::temp_dir(), &["--save", "", "--appendonly", "no"])
    }

    /// Starts it on a free port with these settings; its files stand in a new folder in `parent`.
    pub fn start_in(parent: &Path, settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("sojourn-redis-").tempdir_in(parent).expect("a folder");
        let server = Server::start("redis-server", |port| command(port, folder.path(), settings));
        Self { server, _folder: folder }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}
