//! The settings. Each is declared once, as a row of [`ROWS`]: the flags, the environment, the file, CONFIG GET and
//! SET, `--help` and the README's table all walk those rows. What a setting needs (parsing, bounds, choices) is
//! never typed a second time elsewhere, and a password is never shown where a log could pick it up.

mod access;
mod buffer_limit;
mod compression;
pub mod database_url;
mod document;
mod event_classes;
mod load;
mod memory;
mod observation;
mod reading;
mod rewrite;
mod rows;
mod runtime;
mod scripts;
mod sources;
mod tls;
mod value;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use buffer_limit::{BufferLimit, BufferLimits};
pub use database_url::{each_host, masked_url};
pub use document::markdown_table;
pub use event_classes::{EventClass, EventClasses};
pub use load::{ConfigError, load};
pub use memory::{EvictionPolicy, total_memory_bytes};
pub use observation::Percentile;
pub use rows::{Changes, ROWS, Row};
pub use runtime::{SetError, is_known, is_secret, matching, set, set_all};
pub use sources::{Reread, RewriteError, Sources};
pub use tls::{TlsAuthClients, TlsProtocol, TlsSettings};
pub use value::{Choice, Given, Invalid, Secret, Syntax};

/// When a reply may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once its changes are committed.
    Commit,
    /// At once; its changes are committed within a second.
    EverySec,
}

impl Choice for Durability {
    const ALL: &'static [(&'static str, Self)] = &[("commit", Self::Commit), ("everysec", Self::EverySec)];
}

/// Which channels a new user may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubsubDefault {
    /// All.
    AllChannels,
    /// None.
    ResetChannels,
}

impl Choice for PubsubDefault {
    const ALL: &'static [(&'static str, Self)] =
        &[("allchannels", Self::AllChannels), ("resetchannels", Self::ResetChannels)];
}

/// The least important line that is still logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// And what may soon.
    Warn,
    /// And what an operator wants to have seen.
    Info,
    /// And what a connection does.
    Debug,
    /// And what a command does, keys included.
    Trace,
}

impl Choice for LogLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// As text on a terminal, as JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("text", Self::Text), ("json", Self::Json)];
}

/// Which prefix of keys lives in which session table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTableName {
    /// What the keys start with; may be empty.
    pub prefix: String,
    /// `table` or `schema.table`, not quoted.
    pub table: String,
}

/// The value of every setting. The meaning of each stands in its row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each field is the setting of its name or, for TLS, those of its prefix, and the help of its row documents it"
)]
pub struct Settings {
    pub bind: Vec<IpAddr>,
    pub port: u16,
    pub tls: TlsSettings,
    pub database_url: Secret,
    pub session_tables: Vec<SessionTableName>,
    pub requirepass: Option<Secret>,
    pub requirepass_file: Option<String>,
    pub aclfile: Option<String>,
    pub acl_pubsub_default: PubsubDefault,
    pub acllog_max_len: usize,
    pub durability: Durability,
    pub touch_interval: Duration,
    pub write_timeout: Duration,
    pub databases: u8,
    pub maxclients: u32,
    pub maxclients_per_address: u32,
    pub auth_timeout: Duration,
    pub timeout_s: u32,
    pub tcp_keepalive_s: u32,
    pub protected_mode: bool,
    pub metrics_addr: Option<SocketAddr>,
    pub metrics_token: Option<Secret>,
    pub metrics_token_file: Option<String>,
    pub log_level: LogLevel,
    pub log_format: LogFormat,
    pub maxmemory: u64,
    pub maxmemory_policy: EvictionPolicy,
    pub activedefrag: bool,
    pub proto_max_bulk_len: usize,
    pub client_query_buffer_limit: usize,
    pub client_output_buffer_limit: BufferLimits,
    pub key_bytes_max: usize,
    pub compress_above: usize,
    pub notify_keyspace_events: EventClasses,
    pub create_tables: bool,
    pub database_timezone: Option<String>,
    pub prune_interval: Duration,
    pub prune_batch: u32,
    pub shutdown_timeout: Duration,
    pub busy_reply_threshold_ms: u32,
    pub slowlog_log_slower_than_us: i64,
    pub slowlog_max_len: usize,
    pub latency_monitor_threshold_ms: u64,
    pub latency_tracking: bool,
    pub latency_percentiles: Vec<Percentile>,
}

impl Settings {
    /// No values yet; the defaults stand in the rows alone.
    const fn blank() -> Self {
        Self {
            bind: Vec::new(),
            port: 0,
            tls: TlsSettings::blank(),
            database_url: Secret::empty(),
            session_tables: Vec::new(),
            requirepass: None,
            requirepass_file: None,
            aclfile: None,
            acl_pubsub_default: PubsubDefault::ResetChannels,
            acllog_max_len: 0,
            durability: Durability::Commit,
            touch_interval: Duration::ZERO,
            write_timeout: Duration::ZERO,
            databases: 0,
            maxclients: 0,
            maxclients_per_address: 0,
            auth_timeout: Duration::ZERO,
            timeout_s: 0,
            tcp_keepalive_s: 0,
            protected_mode: false,
            metrics_addr: None,
            metrics_token: None,
            metrics_token_file: None,
            log_level: LogLevel::Info,
            log_format: LogFormat::Auto,
            maxmemory: 0,
            maxmemory_policy: EvictionPolicy::NoEviction,
            activedefrag: false,
            proto_max_bulk_len: 0,
            client_query_buffer_limit: 0,
            client_output_buffer_limit: BufferLimits::none(),
            key_bytes_max: 0,
            compress_above: 0,
            notify_keyspace_events: EventClasses::NONE,
            create_tables: false,
            database_timezone: None,
            prune_interval: Duration::ZERO,
            prune_batch: 0,
            shutdown_timeout: Duration::ZERO,
            busy_reply_threshold_ms: 0,
            slowlog_log_slower_than_us: 0,
            slowlog_max_len: 0,
            latency_monitor_threshold_ms: 0,
            latency_tracking: false,
            latency_percentiles: Vec::new(),
        }
    }

    /// Whether anything is served by TLS, so that the files must be good.
    #[must_use]
    pub fn needs_tls(&self) -> bool {
        self.tls.port != 0 || (self.tls.metrics && self.metrics_addr.is_some())
    }

    /// The password of the default user, if it has one.
    #[must_use]
    pub fn password(&self) -> Option<&[u8]> {
        self.requirepass.as_ref().map(|password| password.expose().as_bytes())
    }

    /// Whether a crash loses everything, because nothing is written anywhere.
    #[must_use]
    pub fn is_memory_only(&self) -> bool {
        self.database_url.expose().starts_with("memory:")
    }
}

impl Default for Settings {
    /// The default of every row.
    fn default() -> Self {
        let mut settings = Self::blank();
        for row in ROWS {
            let applied = row.parse_into(&mut settings, row.default);
            debug_assert!(applied.is_ok(), "the default of {} must parse", row.name);
        }
        settings
    }
}

/// The settings of this start.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// What to log once logging works, one sentence each.
    pub warnings: Vec<String>,
    /// Which settings somebody chose: a default that cannot be had is a warning, a choice that cannot be had an error.
    pub explicit: BTreeSet<&'static str>,
    /// Those that a flag or the environment gives, which beat the file.
    pub beyond_file: BTreeSet<&'static str>,
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// To run the server.
    Serve(Box<Loaded>),
    /// To look at everything that a start would need.
    Check(Box<Loaded>),
    /// To print the DDL and the GRANTs.
    Schema(Box<Loaded>),
    /// To print this (`--help`, `--version`).
    Print(String),
}
