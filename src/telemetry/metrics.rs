//! The catalogue: every number that Sojourn keeps, each once, with its name, unit and help. INFO reads the same
//! counters that Prometheus shows. Labels come from closed sets (commands, error codes, database numbers), never from
//! what a client sent.

use std::time::{Duration, Instant};

use ::metrics::Unit;
use parking_lot::Mutex;

pub use super::command_stats::CommandStats;
use super::instrument::{Counter, Gauge, Histogram};
use super::latency::Latency;
use super::process;
use crate::config::Settings;

/// The Redis databases that can have keys.
pub const DATABASES_MAX: usize = 16;

/// The codes that an error reply can start with; any other is counted as the last.
pub const ERROR_CODES: &[&str] = &[
    "ERR",
    "WRONGTYPE",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "LOADING",
    "OOM",
    "MISCONF",
    "READONLY",
    "EXECABORT",
    "NOPROTO",
    "NOSCRIPT",
    "BUSY",
    "DENIED",
    "UNCERTAIN",
    "other",
];

/// What memory is taken for by keys and values: the keys and what is known of each, values that could leave memory, tables, and
/// what waits for the database.
pub const MEMORY_KINDS: [&str; 4] = ["keys", "values", "tables", "pending"];

/// Upper bounds of a commit's duration in microseconds: a local flush takes about 200, a timeout a second.
const COMMIT_BOUNDS_US: &[u64] = &[
    100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 5_000_000,
    60_000_000,
];
/// Upper bounds of the changes in a batch.
const BATCH_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is many numbers: how often a measurement was how large.
    Histogram,
}

/// What is known of a number.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its name for Prometheus.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// What it means.
    pub help: &'static str,
}

/// The value of a number at one moment.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// Its name for Prometheus.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Which one of several, as label and value.
    pub label: Option<(&'static str, &'a str)>,
    /// Its value.
    pub value: u64,
}

macro_rules! catalogue {
    ($($kind:ident $field:ident $name:literal $unit:ident $help:literal;)*) => {
        /// All numbers. One of these lives as long as the process; every storey counts in it.
        #[derive(Debug)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind,)*
            /// How long commits take, in microseconds.
            pub commit_us: Histogram,
            /// How many changes a batch holds.
            pub changes_per_batch: Histogram,
            /// Live keys of each Redis database.
            pub keys: [Gauge; DATABASES_MAX],
            /// Live keys of each Redis database that have an expiry.
            pub keys_with_expiry: [Gauge; DATABASES_MAX],
            /// What keys and values take of memory, in the order of [`MEMORY_KINDS`].
            pub memory_used: [Gauge; MEMORY_KINDS.len()],
            /// The figures of each command, in the order of the command table.
            pub commands: Vec<CommandStats>,
            /// What took long.
            pub latency: Latency,
            errors: [Counter; ERROR_CODES.len()],
            started: Instant,
            sampled: Mutex<(Instant, u64)>,
        }

        const SINGLE: &[Described] = &[
            $(Described { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help },)*
        ];

        impl Metrics {
            /// All at nothing, with the figures of these commands.
            #[must_use]
            pub fn new(command_names: &[String]) -> Self {
                let started = Instant::now();
                Self {
                    $($field: $kind::default(),)*
                    commit_us: Histogram::new(COMMIT_BOUNDS_US, 1_000_000.0),
                    changes_per_batch: Histogram::new(BATCH_BOUNDS, 1.0),
                    keys: Default::default(),
                    keys_with_expiry: Default::default(),
                    memory_used: Default::default(),
                    commands: command_names.iter().map(|name| CommandStats::new(name)).collect(),
                    latency: Latency::default(),
                    errors: Default::default(),
                    started,
                    sampled: Mutex::new((started, 0)),
                }
            }

            /// Starts all counters anew (CONFIG RESETSTAT); gauges stay, since they say what is.
            pub fn reset(&self) {
                $(self.$field.reset_count();)*
                self.commands.iter().for_each(CommandStats::reset);
                self.errors.iter().for_each(Counter::reset_count);
            }

            fn single(&self) -> Vec<u64> {
                vec![$(self.$field.get(),)*]
            }
        }
    };
}

catalogue! {
    Counter connections_received "sojourn_connections_received_total" Count "Connections that were accepted";
    Counter connections_rejected "sojourn_connections_rejected_total" Count "Connections that were refused: at maxclients, at maxclients-per-address or by protected mode";
    Counter tls_handshakes_failed "sojourn_tls_handshakes_failed_total" Count "Connections to tls-port that ended without a handshake";
    Gauge connected_clients "sojourn_connected_clients" Count "Connections that are open";
    Counter net_input_bytes "sojourn_net_input_bytes_total" Bytes "Bytes read from clients";
    Counter net_output_bytes "sojourn_net_output_bytes_total" Bytes "Bytes written to clients";
    Counter net_reads "sojourn_net_reads_total" Count "Reads from clients' sockets";
    Counter net_writes "sojourn_net_writes_total" Count "Writes to clients' sockets";
    Counter commands_processed "sojourn_commands_processed_total" Count "Commands that were executed";
    Gauge operations_per_second "sojourn_operations_per_second" CountPerSecond "Commands in the last second";
    Counter protocol_errors "sojourn_protocol_errors_total" Count "Connections closed because a request was no RESP";
    Counter query_limit_disconnections "sojourn_query_limit_disconnections_total" Count "Connections closed because an unfinished request reached client-query-buffer-limit";
    Counter output_limit_disconnections "sojourn_output_limit_disconnections_total" Count "Connections closed because unread replies reached client-output-buffer-limit";
    Counter auth_failures "sojourn_auth_failures_total" Count "AUTH and HELLO with a wrong password";
    Counter keyspace_hits "sojourn_keyspace_hits_total" Count "Reads of a key that exists";
    Counter keyspace_misses "sojourn_keyspace_misses_total" Count "Reads of a key that does not exist";
    Counter cold_loads "sojourn_cold_loads_total" Count "Values that were read from the database because they were not in memory";
    Counter expired_keys "sojourn_expired_keys_total" Count "Keys whose life ended";
    Gauge pubsub_channels "sojourn_pubsub_channels" Count "Channels that somebody subscribes to";
    Gauge pubsub_patterns "sojourn_pubsub_patterns" Count "Patterns that somebody subscribes to";
    Counter messages_published "sojourn_messages_published_total" Count "Messages that were published, events of keys included";
    Counter messages_delivered "sojourn_messages_delivered_total" Count "Messages that were handed to subscribers, one for each of them";
    Gauge events_waiting "sojourn_events_waiting" Count "Groups of events that wait for the commit of what they tell of";
    Counter events_dropped "sojourn_events_dropped_total" Count "Events that were dropped because too many waited";
    Counter evicted_values "sojourn_evicted_values_total" Count "Values that left memory and stayed in the database";
    Counter units_committed "sojourn_units_committed_total" Count "Units (all changes of one command or EXEC) that were committed";
    Counter units_failed "sojourn_units_failed_total" Count "Units that failed and were taken back";
    Counter batches_committed "sojourn_batches_committed_total" Count "Commits of the database";
    Counter batches_failed "sojourn_batches_failed_total" Count "Commits that the database refused or did not answer";
    Counter batch_changes "sojourn_batch_changes_total" Count "Changes of records in all batches";
    Counter changes_replaced "sojourn_changes_replaced_total" Count "Changes that a later one of the same record replaced within their batch";
    Counter touches_gathered "sojourn_touches_gathered_total" Count "Writes that lengthened a life and whose new end was put off";
    Counter touch_rows_written "sojourn_touch_rows_written_total" Count "Records whose expiry was written for touches";
    Gauge backlog_units "sojourn_backlog_units" Count "Units that wait for a commit";
    Gauge backlog_age_ms "sojourn_backlog_age_milliseconds" Milliseconds "How long the oldest unit has waited that is not committed";
    Gauge parked_units "sojourn_parked_units" Count "Units set aside because somebody else has locked a record of theirs, or of one that they are built on";
    Counter lock_waits "sojourn_lock_waits_total" Count "Batches that met a lock of somebody else and were put together anew";
    Gauge last_commit_us "sojourn_last_commit_microseconds" Microseconds "How long the last commit took";
    Counter outages "sojourn_outages_total" Count "Times the database went away";
    Gauge outage "sojourn_outage" Count "1 while the database is away and writes are refused";
    Counter pruned_records "sojourn_pruned_records_total" Count "Expired records that were deleted from the database";
    Gauge uptime_seconds "sojourn_uptime_seconds" Seconds "Seconds since the start";
    Gauge memory_bytes "sojourn_memory_bytes" Bytes "Memory that the process holds";
    Gauge memory_used_peak_bytes "sojourn_memory_used_peak_bytes" Bytes "The most memory that keys and values took since the start, looked at once a second";
    Gauge maxmemory_bytes "sojourn_maxmemory_bytes" Bytes "The most memory that keys and values may take; 0 for no limit";
    Gauge hot_values "sojourn_hot_values" Count "Values that are in memory";
    Gauge cold_values "sojourn_cold_values" Count "Values that are in the database only";
    Gauge memory_peak_bytes "sojourn_memory_peak_bytes" Bytes "The most memory that the process ever held";
    Gauge cpu_user_ms "sojourn_cpu_user_milliseconds" Milliseconds "Processor time in the program";
    Gauge cpu_system_ms "sojourn_cpu_system_milliseconds" Milliseconds "Processor time in the kernel for it";
}

const KEYS: Described =
    Described { name: "sojourn_keys", kind: Kind::Gauge, unit: Unit::Count, help: "Live keys, by database number" };
const KEYS_WITH_EXPIRY: Described = Described {
    name: "sojourn_keys_with_expiry",
    kind: Kind::Gauge,
    unit: Unit::Count,
    help: "Live keys that have an expiry, by database number",
};
const MEMORY_USED: Described = Described {
    name: "sojourn_memory_used_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    help: "Memory that keys and values take, by what it is taken for: together what maxmemory limits",
};
const ERRORS: Described =
    Described { name: "sojourn_errors_total", kind: Kind::Counter, unit: Unit::Count, help: "Error replies, by code" };
const CALLS: Described = Described {
    name: "sojourn_command_calls_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    help: "Calls, by command",
};
const CALL_US: Described = Described {
    name: "sojourn_command_microseconds_total",
    kind: Kind::Counter,
    unit: Unit::Microseconds,
    help: "Time in handlers, by command",
};
const CALLS_FAILED: Described = Described {
    name: "sojourn_command_failed_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    help: "Calls that were answered with an error, by command",
};
const CALLS_REJECTED: Described = Described {
    name: "sojourn_command_rejected_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    help: "Calls that were refused before their handler ran, by command",
};
pub(super) const COMMIT: Described = Described {
    name: "sojourn_commit_seconds",
    kind: Kind::Histogram,
    unit: Unit::Seconds,
    help: "How long commits take",
};
pub(super) const CHANGES_PER_BATCH: Described = Described {
    name: "sojourn_changes_per_batch",
    kind: Kind::Histogram,
    unit: Unit::Count,
    help: "How many changes one commit carries",
};
const LABELLED: &[Described] = &[
    KEYS,
    KEYS_WITH_EXPIRY,
    MEMORY_USED,
    ERRORS,
    CALLS,
    CALL_US,
    CALLS_FAILED,
    CALLS_REJECTED,
    COMMIT,
    CHANGES_PER_BATCH,
];

/// Everything in the catalogue.
pub fn described() -> impl Iterator<Item = &'static Described> {
    SINGLE.iter().chain(LABELLED)
}

impl Metrics {
    /// Follows a change of the settings.
    pub fn follow(&self, settings: &Settings) {
        self.latency.set_counts_calls(settings.latency_tracking);
        self.latency.set_threshold_ms(settings.latency_monitor_threshold_ms);
    }

    /// Counts a call of the command at this position.
    pub fn count_call(&self, position: usize, took: Duration, failed: bool) {
        self.commands_processed.increment();
        let Some(stats) = self.commands.get(position) else { return };
        stats.calls.increment();
        stats.microseconds.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if self.latency.counts_calls() {
            stats.durations.record(took);
        }
        if failed {
            stats.failed.increment();
        }
    }

    /// Counts an error reply by its first word (`WRONGTYPE Operation against …`).
    pub fn count_error(&self, line: &str) {
        let code = line.split(' ').next().unwrap_or_default();
        let position = ERROR_CODES.iter().position(|known| *known == code).unwrap_or(ERROR_CODES.len() - 1);
        self.errors[position].increment();
    }

    /// The error replies by code, those that occurred.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERROR_CODES.iter().zip(&self.errors).map(|(code, count)| (*code, count.get())).filter(|(_, count)| *count > 0)
    }

    /// Brings what is measured rather than counted up to date. To be called every second, and before INFO.
    pub fn refresh(&self) {
        self.uptime_seconds.set(self.started.elapsed().as_secs());
        self.refresh_rate();
        let figures = process::figures();
        self.memory_bytes.set(figures.resident_bytes);
        self.memory_peak_bytes.set(figures.resident_peak_bytes);
        self.cpu_user_ms.set(figures.cpu_user_ms);
        self.cpu_system_ms.set(figures.cpu_system_ms);
    }

    fn refresh_rate(&self) {
        let mut sampled = self.sampled.lock();
        let (elapsed, processed) = (sampled.0.elapsed(), self.commands_processed.get());
        // INFO may ask at any moment; a rate over a few milliseconds says nothing.
        if let Some(elapsed_ms) = u64::try_from(elapsed.as_millis()).ok().filter(|elapsed_ms| *elapsed_ms >= 500) {
            self.operations_per_second.set(processed.saturating_sub(sampled.1).saturating_mul(1000) / elapsed_ms);
            *sampled = (Instant::now(), processed);
        }
    }

    /// What keys and values take of memory, by kind.
    pub fn memory_by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> {
        MEMORY_KINDS.into_iter().zip(&self.memory_used).map(|(kind, bytes)| (kind, bytes.get()))
    }

    /// All counters and gauges; commands that were never called and errors that never occurred are left out.
    #[must_use]
    pub fn readings(&self) -> Vec<Reading<'_>> {
        let single = SINGLE.iter().zip(self.single()).map(|(number, value)| reading(number, None, value));
        let errors = self.errors().map(|(code, count)| reading(&ERRORS, Some(("code", code)), count));
        let databases = DATABASE_LABELS.iter().zip(self.keys.iter().zip(&self.keys_with_expiry));
        let keys = databases.flat_map(|(number, (keys, with_expiry))| {
            let label = Some(("database", *number));
            [reading(&KEYS, label, keys.get()), reading(&KEYS_WITH_EXPIRY, label, with_expiry.get())]
        });
        let commands = self.commands.iter().flat_map(command_readings);
        let memory = self.memory_by_kind().map(|(kind, bytes)| reading(&MEMORY_USED, Some(("kind", kind)), bytes));
        single.chain(errors).chain(keys).chain(memory).chain(commands).collect()
    }
}

/// The labels of [`Metrics::keys`].
const DATABASE_LABELS: [&str; DATABASES_MAX] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"];

fn command_readings(stats: &CommandStats) -> Vec<Reading<'_>> {
    if stats.calls.get() + stats.rejected.get() == 0 {
        return Vec::new();
    }
    let label = Some(("command", stats.name.as_str()));
    vec![
        reading(&CALLS, label, stats.calls.get()),
        reading(&CALL_US, label, stats.microseconds.get()),
        reading(&CALLS_FAILED, label, stats.failed.get()),
        reading(&CALLS_REJECTED, label, stats.rejected.get()),
    ]
}

fn reading<'a>(number: &Described, label: Option<(&'static str, &'a str)>, value: u64) -> Reading<'a> {
    Reading { name: number.name, kind: number.kind, label, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_name_of_its_own_in_prometheus_style() {
        let names: Vec<&str> = described().map(|number| number.name).collect();
        for (position, number) in described().enumerate() {
            assert!(number.name.starts_with("sojourn_"), "{}", number.name);
            assert_eq!(number.name.ends_with("_total"), number.kind == Kind::Counter, "{}", number.name);
            assert!(!names[..position].contains(&number.name), "{} twice", number.name);
        }
    }

    #[test]
    fn errors_are_counted_by_known_codes_only() {
        let metrics = Metrics::new(&[]);
        metrics.count_error("WRONGTYPE Operation against a key holding the wrong kind of value");
        metrics.count_error("sess:secret is a key that must not become a label");
        assert_eq!(metrics.errors().collect::<Vec<_>>(), [("WRONGTYPE", 1), ("other", 1)]);
    }

    #[test]
    fn readings_hold_the_commands_that_were_called() {
        let metrics = Metrics::new(&["get".to_owned(), "set".to_owned()]);
        metrics.commands[1].calls.increment();
        metrics.keys[3].set(7);
        let readings = metrics.readings();
        assert!(readings.iter().any(|reading| reading.label == Some(("command", "set")) && reading.value == 1));
        assert!(readings.iter().all(|reading| reading.label != Some(("command", "get"))));
        assert!(readings.iter().any(|reading| reading.label == Some(("database", "3")) && reading.value == 7));
    }

    #[test]
    fn refresh_measures_the_process() {
        let metrics = Metrics::new(&[]);
        metrics.refresh();
        assert!(metrics.memory_bytes.get() > 100_000);
        assert!(metrics.memory_peak_bytes.get() >= metrics.memory_bytes.get() / 2);
    }
}
