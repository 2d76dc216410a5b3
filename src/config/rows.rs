//! The rows: everything that is known of a setting, once. Names follow redis.conf where Redis has the setting.

use super::reading::{bind, metrics_addr, session_tables, timezone};
use super::value::{Choice, Given, Invalid, Secret, Syntax, show_duration, show_yes_no};
use super::{
    Durability, LogFormat, LogLevel, SessionTableName, Settings, access, compression, database_url, event_classes,
    memory, observation, scripts, tls,
};

/// When a setting may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Only at the start.
    AtStart,
    /// At any time, by CONFIG SET.
    AnyTime,
}

/// One setting.
#[derive(Debug)]
pub struct Row {
    /// The flag, the key in the file and the name for CONFIG; `SOJOURN_` and the same in capitals in the environment.
    pub name: &'static str,
    /// How its value is written, with bounds or choices.
    pub syntax: Syntax,
    /// Its default, as text.
    pub default: &'static str,
    /// What it means, as one sentence without full stop.
    pub help: &'static str,
    /// Whether CONFIG SET can change it.
    pub changes: Changes,
    /// Reads a value into the settings, or leaves them as they are.
    pub apply: fn(&mut Settings, &Given<'_>) -> Result<(), Invalid>,
    /// The value as CONFIG GET shows it.
    pub show: fn(&Settings) -> String,
}

impl Row {
    /// The row of this name or alias, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        let is = |other: &str| other.eq_ignore_ascii_case(name);
        let alias = ALIASES.iter().find(|(alias, _)| is(alias)).map(|(_, name)| *name);
        ROWS.iter().find(|row| is(row.name) || alias == Some(row.name))
    }

    /// Its name in the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("SOJOURN_{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// Whether it can be given several times.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self.syntax, Syntax::List { .. })
    }

    /// Reads a value into the settings.
    ///
    /// # Errors
    /// What is wrong with the value; the settings are as before.
    pub fn parse_into(&self, settings: &mut Settings, text: &str) -> Result<(), Invalid> {
        (self.apply)(settings, &Given { syntax: &self.syntax, text })
    }
}

/// Redis's own largest value for whole seconds.
const SECONDS_MAX: i64 = 2_147_483_647;
/// The longest lag of a touch: a crash shortens a session by as much.
const TOUCH_INTERVAL_MS_MAX: u64 = 3_600_000;
/// The longest that a client may be made to wait for the database.
const WRITE_TIMEOUT_MS_MAX: u64 = 60_000;
/// The largest value: PostgreSQL's own limit is 1 GB for all that a statement carries.
const VALUE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The longest key: PostgreSQL refuses index rows above about 2 690 bytes.
const KEY_BYTES_MAX: u64 = 2600;
/// The most rows of one pruning transaction: it delays the writes behind it.
const PRUNE_BATCH_MAX: i64 = 100_000;

/// Older names of redis.conf, each with the one that its setting has now. CONFIG knows both, and so does the file.
pub(super) const ALIASES: &[(&str, &str)] = &[("lua-time-limit", "busy-reply-threshold")];

/// All settings, in the order of the documentation.
pub const ROWS: &[Row] = &[
    Row {
        name: "bind",
        syntax: Syntax::List {
            placeholder: "ADDR",
            expected: "one to 16 IP addresses such as 127.0.0.1, ::1 or 0.0.0.0",
        },
        default: "127.0.0.1",
        help: "addresses to listen on; beyond loopback, set requirepass too",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.bind, bind(given)),
        show: |settings| settings.bind.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    },
    Row {
        name: "port",
        syntax: Syntax::Integer { min: 0, max: 65535 },
        default: "6379",
        help: "TCP port to listen on; 0 takes a free one and logs which, or none beside a tls-port",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.port, given.integer()),
        show: |settings| settings.port.to_string(),
    },
    tls::PORT,
    tls::CERT_FILE,
    tls::KEY_FILE,
    tls::CA_CERT_FILE,
    tls::AUTH_CLIENTS,
    tls::PROTOCOLS,
    Row {
        name: "database-url",
        syntax: Syntax::Text { placeholder: "URL", expected: "postgres://…, sqlite://path or memory://" },
        default: "sqlite://sojourn.db",
        help: "where sessions are kept: postgres://user:password@host/database?sslmode=… (one:5432,two:5432 for host, if a \
               standby takes over), sqlite://path or memory:// (lost at exit); the default is a file in $STATE_DIRECTORY, else $XDG_STATE_HOME/sojourn, else ~/.local/state/sojourn",
        changes: Changes::AtStart,
        apply: |settings, given| {
            let url = database_url::check(given).map(|()| Secret::new(given.text));
            put(&mut settings.database_url, url)
        },
        show: |settings| database_url::masked_url(settings.database_url.expose()),
    },
    Row {
        name: "session-table",
        syntax: Syntax::List {
            placeholder: "PREFIX=TABLE",
            expected: "PREFIX=TABLE or PREFIX=SCHEMA.TABLE, such as sess:=session or =user_sessions",
        },
        default: "sess:=session",
        help: "keys with this prefix live in this table, as connect-pg-simple makes it; may be repeated, and the prefix may be empty",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.session_tables, session_tables(given)),
        show: |settings| {
            let show = |name: &SessionTableName| format!("{}={}", name.prefix, name.table);
            settings.session_tables.iter().map(show).collect::<Vec<_>>().join(" ")
        },
    },
    access::REQUIREPASS,
    access::REQUIREPASS_FILE,
    access::ACLFILE,
    access::ACL_PUBSUB_DEFAULT,
    access::ACLLOG_MAX_LEN,
    Row {
        name: "durability",
        syntax: Syntax::Choice(Durability::names),
        default: "commit",
        help: "commit: a reply leaves when its changes are committed; everysec: at once, and a crash may lose a second of writes",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.durability, given.choice()),
        show: |settings| settings.durability.name().to_owned(),
    },
    Row {
        name: "touch-interval",
        syntax: Syntax::Duration { min_ms: 0, max_ms: TOUCH_INTERVAL_MS_MAX },
        default: "60s",
        help: "how far the recorded expiry may lag behind a lengthened life (and never more than a tenth of the TTL); 0 for never",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.touch_interval, given.duration()),
        show: |settings| show_duration(settings.touch_interval),
    },
    Row {
        name: "write-timeout",
        syntax: Syntax::Duration { min_ms: 10, max_ms: WRITE_TIMEOUT_MS_MAX },
        default: "1s",
        help: "how long a write waits for its commit before it fails and the database counts as away",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.write_timeout, given.duration()),
        show: |settings| show_duration(settings.write_timeout),
    },
    Row {
        name: "databases",
        syntax: Syntax::Integer { min: 1, max: 16 },
        default: "16",
        help: "how many databases SELECT can choose from",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.databases, given.integer()),
        show: |settings| settings.databases.to_string(),
    },
    Row {
        name: "maxclients",
        syntax: Syntax::Integer { min: 1, max: u32::MAX as i64 },
        default: "10000",
        help: "the most connections at a time; more are answered with an error and closed",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.maxclients, given.integer()),
        show: |settings| settings.maxclients.to_string(),
    },
    Row {
        name: "maxclients-per-address",
        syntax: Syntax::Integer { min: 0, max: u32::MAX as i64 },
        default: "0",
        help: "the most connections of one IP address at a time; 0 for no such limit, since many apps may share an address",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.maxclients_per_address, given.integer()),
        show: |settings| settings.maxclients_per_address.to_string(),
    },
    Row {
        name: "auth-timeout",
        syntax: Syntax::Duration { min_ms: 0, max_ms: 3_600_000 },
        default: "60s",
        help: "how long a connection may stay without the password that it needs; 0 for ever, as in Redis",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.auth_timeout, given.duration()),
        show: |settings| show_duration(settings.auth_timeout),
    },
    Row {
        name: "timeout",
        syntax: Syntax::Integer { min: 0, max: SECONDS_MAX },
        default: "0",
        help: "seconds after which an idle client is closed; 0 for never",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.timeout_s, given.integer()),
        show: |settings| settings.timeout_s.to_string(),
    },
    Row {
        name: "tcp-keepalive",
        syntax: Syntax::Integer { min: 0, max: SECONDS_MAX },
        default: "300",
        help: "seconds of silence after which a peer is probed; 0 for never",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.tcp_keepalive_s, given.integer()),
        show: |settings| settings.tcp_keepalive_s.to_string(),
    },
    Row {
        name: "protected-mode",
        syntax: Syntax::YesNo,
        default: "yes",
        help: "without a password, refuse clients that are not on this machine",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.protected_mode, given.yes_no()),
        show: |settings| show_yes_no(settings.protected_mode),
    },
    Row {
        name: "metrics-addr",
        syntax: Syntax::Text {
            placeholder: "ADDR:PORT",
            expected: "an address and port such as 127.0.0.1:9379, or off",
        },
        default: "127.0.0.1:9379",
        help: "where Prometheus finds the metrics; off for none",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.metrics_addr, metrics_addr(given)),
        show: |settings| settings.metrics_addr.map_or_else(|| "off".to_owned(), |address| address.to_string()),
    },
    tls::METRICS,
    observation::METRICS_TOKEN,
    observation::METRICS_TOKEN_FILE,
    Row {
        name: "log-level",
        syntax: Syntax::Choice(LogLevel::names),
        default: "info",
        help: "the least important lines that are logged; trace shows keys, which are credentials",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.log_level, given.choice()),
        show: |settings| settings.log_level.name().to_owned(),
    },
    Row {
        name: "log-format",
        syntax: Syntax::Choice(LogFormat::names),
        default: "auto",
        help: "text: lines for people; json: an object a line for machines; auto: text on a terminal, json elsewhere; all go to standard error",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.log_format, given.choice()),
        show: |settings| settings.log_format.name().to_owned(),
    },
    memory::MAXMEMORY,
    memory::MAXMEMORY_POLICY,
    memory::ACTIVEDEFRAG,
    Row {
        name: "proto-max-bulk-len",
        syntax: Syntax::Bytes { min: 1024 * 1024, max: VALUE_BYTES_MAX },
        default: "512mb",
        help: "the longest argument of a command, and so the largest value",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.proto_max_bulk_len, given.bytes()),
        show: |settings| settings.proto_max_bulk_len.to_string(),
    },
    Row {
        name: "client-query-buffer-limit",
        syntax: Syntax::Bytes { min: 1024 * 1024, max: i64::MAX as u64 },
        default: "1gb",
        help: "the most bytes of one client's unfinished request, at which it is closed, and of the commands in its MULTI, which are refused",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.client_query_buffer_limit, given.bytes()),
        show: |settings| settings.client_query_buffer_limit.to_string(),
    },
    Row {
        name: "client-output-buffer-limit",
        syntax: Syntax::Text {
            placeholder: "CLASS HARD SOFT SECONDS",
            expected: "normal, replica or pubsub with two sizes and seconds, such as normal 256mb 64mb 60",
        },
        default: "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        help: "how much a client may leave unread before it is closed: at once, or after so many seconds; 0 for no limit",
        changes: Changes::AnyTime,
        apply: |settings, given| settings.client_output_buffer_limit.change(given),
        show: |settings| settings.client_output_buffer_limit.show(),
    },
    Row {
        name: "key-bytes-max",
        syntax: Syntax::Bytes { min: 64, max: KEY_BYTES_MAX },
        default: "2048",
        help: "the longest key; PostgreSQL cannot index longer ones than 2600 bytes",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.key_bytes_max, given.bytes()),
        show: |settings| settings.key_bytes_max.to_string(),
    },
    compression::COMPRESS_ABOVE,
    event_classes::ROW,
    Row {
        name: "create-tables",
        syntax: Syntax::YesNo,
        default: "yes",
        help: "create the tables that are missing; no: end the start and name them (sojourn schema prints the DDL)",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.create_tables, given.yes_no()),
        show: |settings| show_yes_no(settings.create_tables),
    },
    Row {
        name: "database-timezone",
        syntax: Syntax::Text {
            placeholder: "ZONE",
            expected: "a time zone's name such as UTC or Europe/Berlin, or nothing",
        },
        default: "",
        help: "the time zone of the session tables' expire column; empty takes the role's, the database's or the server's own",
        changes: Changes::AtStart,
        apply: |settings, given| put(&mut settings.database_timezone, timezone(given)),
        show: |settings| settings.database_timezone.clone().unwrap_or_default(),
    },
    Row {
        name: "prune-interval",
        syntax: Syntax::Duration { min_ms: 100, max_ms: 86_400_000 },
        default: "60s",
        help: "how often expired records are deleted from the database, varied by up to a quarter",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.prune_interval, given.duration()),
        show: |settings| show_duration(settings.prune_interval),
    },
    Row {
        name: "prune-batch",
        syntax: Syntax::Integer { min: 1, max: PRUNE_BATCH_MAX },
        default: "1000",
        help: "the most expired records of a table that one transaction deletes",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.prune_batch, given.integer()),
        show: |settings| settings.prune_batch.to_string(),
    },
    Row {
        name: "shutdown-timeout",
        syntax: Syntax::Duration { min_ms: 100, max_ms: 600_000 },
        default: "10s",
        help: "how long a stop may take to answer what was received and commit everything",
        changes: Changes::AnyTime,
        apply: |settings, given| put(&mut settings.shutdown_timeout, given.duration()),
        show: |settings| show_duration(settings.shutdown_timeout),
    },
    scripts::BUSY_REPLY_THRESHOLD,
    observation::SLOW_LOG_SLOWER_THAN,
    observation::SLOW_LOG_MAX_LEN,
    observation::LATENCY_MONITOR_THRESHOLD,
    observation::LATENCY_TRACKING,
    observation::LATENCY_PERCENTILES,
];

/// Takes a value that was read.
pub(super) fn put<T>(setting: &mut T, value: Result<T, Invalid>) -> Result<(), Invalid> {
    *setting = value?;
    Ok(())
}
