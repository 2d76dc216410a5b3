//! What lives as long as the process ([`App`]) and what lives as long as a connection ([`Client`]).

pub mod client;
pub mod clients;
mod limits;
pub mod login;
pub mod mailbox;
pub mod monitors;
pub mod pubsub;
pub mod scripts;
mod seats;
pub mod slow_log;
pub mod users;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::{Settings, Sources};
use crate::database::Description;
use crate::database::write_through::{Status, WriteThrough};
use crate::database::writer::Prune;
use crate::keyspace::Keyspace;
use crate::keyspace::entry::Name;
use crate::telemetry::Logging;
use crate::telemetry::metrics::Metrics;
use crate::tls::{Tls, TlsError};
pub use client::{Client, Transaction};
pub use clients::{ClientInfo, Clients};
pub use limits::Limits;
pub use monitors::Monitors;
pub use pubsub::PubSub;
pub use scripts::Scripts;
pub use seats::{Full, Seat, Seats};
pub use slow_log::SlowLog;
pub use users::{User, Users};

/// What lives as long as the process.
#[derive(Debug)]
pub struct App {
    /// The settings in force; [`App::put_in_force`] changes them.
    pub settings: RwLock<Settings>,
    /// Where they came from. Whoever changes them holds this lock meanwhile.
    pub sources: Mutex<Sources>,
    /// Those of the settings that the writer asks for.
    pub prune: watch::Sender<Prune>,
    /// What makes TLS of connections; `None` where nothing is served by TLS.
    pub tls: Option<Arc<Tls>>,
    /// Those of the settings that every request asks for.
    pub limits: Limits,
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
    /// Who listens to what.
    pub pubsub: Arc<PubSub>,
    /// Who watches what all clients do.
    pub monitors: Arc<Monitors>,
    /// The commands that took long.
    pub slow_log: SlowLog,
    /// The scripts.
    pub scripts: Arc<Scripts>,
    /// Who may connect.
    pub seats: Seats,
    /// Who may log in, and what each may do.
    pub users: Users,
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// The port that is listened on.
    pub port: u16,
    /// When the process started.
    pub started: Instant,
    /// The log, whose level CONFIG SET changes; `None` where a test has none.
    pub logging: Option<Logging>,
}

impl App {
    /// The longest that a write or a cold read waits for the database.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        self.settings.read().write_timeout
    }

    /// How often an idle connection is probed; `None` for never.
    #[must_use]
    pub fn tcp_keepalive(&self) -> Option<Duration> {
        Some(self.settings.read().tcp_keepalive_s)
            .filter(|&seconds| seconds > 0)
            .map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// A seat for a connection from this address.
    ///
    /// # Errors
    /// When `maxclients` or `maxclients-per-address` is reached.
    pub fn take_seat(&self, address: IpAddr) -> Result<Seat, Full> {
        let settings = self.settings.read();
        let address_max = Some(settings.maxclients_per_address as usize).filter(|most| *most > 0);
        self.seats.take(address, settings.maxclients as usize, address_max)
    }

    /// Puts settings in force in the place of those that are, and has the files of TLS read if they are asked for. Called under
    /// the lock of `sources`, so that who changes settings never undoes another's change; those that are in force are locked only
    /// for the moment of the swap, since the files may stand on a disk that hangs, and all who serve ask for settings.
    ///
    /// # Errors
    /// When what stands in the files is no good; all is as before then.
    pub fn put_in_force(&self, changed: Settings, reads_tls: bool) -> Result<(), TlsError> {
        if let Some(tls) = self.tls.as_ref().filter(|_| reads_tls) {
            tls.load(&changed.tls)?;
        }
        let before = std::mem::replace(&mut *self.settings.write(), changed.clone());
        self.follow(&before, &changed);
        Ok(())
    }

    /// Makes those parts that keep a setting of their own follow a change of the settings from what they were.
    fn follow(&self, before: &Settings, settings: &Settings) {
        if settings.requirepass != before.requirepass {
            // As in Redis, the same password once more does not take the others from the default user.
            self.users.set_default_password(settings.password());
        }
        self.limits.follow(settings);
        self.slow_log.follow(settings);
        self.prune.send_replace(prune_of(settings));
        self.metrics.follow(settings);
        self.keyspace.follow(settings);
        self.scripts.set_busy_reply_threshold(Duration::from_millis(settings.busy_reply_threshold_ms.into()));
        if let Some(logging) = &self.logging {
            logging.set_level(settings.log_level);
        }
    }

    /// Gives a message to all who listen to its channel, and answers to how many.
    pub fn publish(&self, channel: &[u8], payload: &[u8]) -> usize {
        self.pubsub.publish(channel, payload, self.limits.mailbox_bytes_max())
    }

    /// Tells those who listen of an event of a key, by the key's channel and by the event's.
    pub fn publish_event(&self, event: &'static str, name: &Name) {
        if self.pubsub.is_silent() {
            return;
        }
        let (classes, database, key) = (self.keyspace.events.classes(), name.database, &*name.key);
        if classes.by_key() {
            self.publish(&[format!("__keyspace@{database}__:").as_bytes(), key].concat(), event.as_bytes());
        }
        if classes.by_event() {
            self.publish(format!("__keyevent@{database}__:{event}").as_bytes(), key);
        }
    }

    /// Brings the numbers that are measured rather than counted up to date.
    pub fn refresh_metrics(&self) {
        self.metrics.refresh();
        for (database, (keys, expiring)) in (0_u8..).zip(self.metrics.keys.iter().zip(&self.metrics.keys_with_expiry)) {
            keys.set(self.keyspace.counts.keys(database) as u64);
            expiring.set(self.keyspace.counts.expiring(database) as u64);
        }
        self.refresh_memory();
        self.metrics.all_keys_known.set(u64::from(self.keyspace.knows_all()));
        self.refresh_write_through();
        self.metrics.connected_clients.set(self.clients.count() as u64);
        self.metrics.clients_max.set(self.settings.read().maxclients.into());
        self.metrics.database_warnings.set(self.database.read().warnings.len() as u64);
        self.metrics.slow_log_length.set(self.slow_log.len() as u64);
        let (scripts, script_bytes) = self.scripts.count_and_bytes();
        self.metrics.scripts_cached.set(scripts as u64);
        self.metrics.script_bytes.set(script_bytes as u64);
    }

    fn refresh_write_through(&self) {
        let (metrics, write_through, status) = (&self.metrics, &self.write_through, self.write_through.status());
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        metrics.backlog_units.set(write_through.backlog() as u64);
        metrics.backlog_bytes.set(write_through.backlog_bytes() as u64);
        metrics.backlog_age_ms.set(milliseconds(write_through.behind()));
        metrics.touches_waiting.set(self.keyspace.touches.count() as u64);
        metrics.last_save_s.set(u64::try_from(write_through.last_save_s()).unwrap_or(0));
        metrics.loading.set(u64::from(status == Status::Loading));
        metrics.database_up.set(u64::from(status == Status::Up));
        metrics.outage.set(u64::from(status == Status::Down));
        metrics.outage_ms.set(milliseconds(write_through.down_in_all()));
    }

    fn refresh_memory(&self) {
        let taken = self.keyspace.memory_use();
        let by_kind = [taken.keys, taken.values, taken.tables, taken.pending, taken.allocator];
        self.metrics.memory_used.iter().zip(by_kind).for_each(|(gauge, bytes)| gauge.set(bytes as u64));
        let peak = &self.metrics.memory_used_peak_bytes;
        peak.set(peak.get().max(taken.used() as u64));
        let (packing, packed) = (&self.keyspace.packing, self.keyspace.packed_bytes());
        self.metrics.compressed_values.set(packed.values as u64);
        self.metrics.compressed_bytes.set(packed.bytes as u64);
        self.metrics.compressed_bytes_before.set(packed.bytes_before as u64);
        self.metrics.dictionary_bytes.set(packing.bytes() as u64);
        self.metrics.maxmemory_bytes.set(self.settings.read().maxmemory);
        let (keys, hot) = (self.keyspace.counts.all_keys(), taken.hot_values);
        self.metrics.hot_values.set(hot as u64);
        self.metrics.cold_values.set(keys.saturating_sub(hot) as u64);
    }

    /// Whether outsiders are kept out, as Redis does beyond loopback without a password.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.settings.read().protected_mode && self.users.default_user().user.without_password
    }
}

/// How these settings want expired records to be deleted.
#[must_use]
pub fn prune_of(settings: &Settings) -> Prune {
    Prune { interval: settings.prune_interval, batch: settings.prune_batch }
}
