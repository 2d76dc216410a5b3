//! What lives as long as the process ([`App`]) and what lives as long as a connection ([`Client`]).

pub mod client;
pub mod clients;

use std::sync::Arc;
use std::time::Instant;

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
