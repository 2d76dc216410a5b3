//! What lives as long as the process ([`App`]) and what lives as long as a connection ([`Client`]).

pub mod client;
pub mod clients;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use crate::clock::Clock;
use crate::config::Settings;
use crate::database::Description;
use crate::database::write_through::WriteThrough;
use crate::keyspace::Keyspace;
use crate::telemetry::metrics::Metrics;
pub use client::{Client, Transaction};
pub use clients::{ClientInfo, Clients};

/// What lives as long as the process.
#[derive(Debug)]
pub struct App {
    /// The settings in force; CONFIG SET changes them.
    pub settings: RwLock<Settings>,
    /// The time of day.
    pub clock: Clock,
    /// All keys.
    pub keyspace: Arc<Keyspace>,
    /// The way to the database.
    pub write_through: Arc<WriteThrough>,
    /// What the database says of itself.
    pub database: RwLock<Description>,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// All connections.
    pub clients: Clients,
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// The port that is listened on.
    pub port: u16,
    /// When the process started.
    pub started: Instant,
}

impl App {
    /// The longest key in bytes (`key-bytes-max`).
    #[must_use]
    pub fn key_bytes_max(&self) -> usize {
        self.settings.read().key_bytes_max
    }

    /// The longest argument in bytes (`proto-max-bulk-len`).
    #[must_use]
    pub fn bulk_bytes_max(&self) -> usize {
        self.settings.read().proto_max_bulk_len
    }

    /// The longest that a write or a cold read waits for the database.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        self.settings.read().write_timeout
    }

    /// How long an idle client may stay; `None` for ever.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        Some(self.settings.read().timeout_s).filter(|&seconds| seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// How often an idle connection is probed; `None` for never.
    #[must_use]
    pub fn tcp_keepalive(&self) -> Option<Duration> {
        Some(self.settings.read().tcp_keepalive_s)
            .filter(|&seconds| seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// How many clients may be connected.
    #[must_use]
    pub fn clients_max(&self) -> usize {
        self.settings.read().maxclients as usize
    }

    /// Whether a client must say a password first.
    #[must_use]
    pub fn needs_password(&self) -> bool {
        self.settings.read().requirepass.is_some()
    }

    /// Whether outsiders are kept out, as Redis does beyond loopback without a password.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        let settings = self.settings.read();
        settings.protected_mode && settings.requirepass.is_none()
    }
}
