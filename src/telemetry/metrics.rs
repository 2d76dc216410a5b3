//! Every number that Sojourn keeps, each once, with its name, unit and help; those that have series stand in `labelled.rs`.
//! INFO reads the same counters that Prometheus shows.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ::metrics::Unit;
use parking_lot::Mutex;

use super::catalogue::{Described, Family, Sample, Value};
pub use super::command_stats::CommandStats;
use super::instrument::{Counter, Gauge, Histogram, Total};
use super::labelled;
use super::latency::Latency;
use super::process;
use super::sessions::Census;
use super::storage::StorageFigures;
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

/// What memory is taken for by keys and values: the keys and what is known of each, values that could leave memory, tables, what
/// waits for the database, and what the allocator holds beside what it was asked for.
pub const MEMORY_KINDS: [&str; 5] = ["keys", "values", "tables", "pending", "allocator"];

/// Upper bounds of a commit's duration in microseconds: a local flush takes about 200, a timeout a second.
const COMMIT_BOUNDS_US: &[u64] = &[
    100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 5_000_000,
    60_000_000,
];
/// Upper bounds of the changes in a batch.
const BATCH_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

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
            /// What runs: the version, the kind of the database, the durability.
            pub build: OnceLock<[&'static str; 3]>,
            census: Mutex<Arc<Census>>,
            storage: Mutex<Arc<StorageFigures>>,
            denials: [Counter; Reason::ALL.len()],
            errors: [Counter; ERROR_CODES.len()],
            started: Instant,
            /// When the rates were measured last, and what they were measured by.
            sampled: Mutex<(Instant, [u64; 3])>,
        }

        /// Those that have one series.
        pub(super) static SINGLE: &[Described] = &[
            $(Described { name: $name, kind: $kind::KIND, unit: Unit::$unit, labels: &[], help: $help },)*
        ];

        impl Metrics {
            /// All at nothing, with the figures of these commands.
            #[must_use]
            pub fn new(command_names: &[String]) -> Self {
                let started = Instant::now();
                Self {
                    $($field: $kind::default(),)*
                    commit_us: Histogram::new(COMMIT_BOUNDS_US),
                    changes_per_batch: Histogram::new(BATCH_BOUNDS),
                    keys: Default::default(),
                    keys_with_expiry: Default::default(),
                    memory_used: Default::default(),
                    commands: command_names.iter().map(|name| CommandStats::new(name)).collect(),
                    latency: Latency::default(),
                    build: OnceLock::new(),
                    census: Mutex::default(),
                    storage: Mutex::default(),
                    denials: Default::default(),
                    errors: Default::default(),
                    started,
                    sampled: Mutex::new((started, [0; 3])),
                }
            }

            /// Starts all counters anew (CONFIG RESETSTAT); gauges stay, since they say what is.
            pub fn reset(&self) {
                $(self.$field.reset_count();)*
                self.commands.iter().for_each(CommandStats::reset);
                self.errors.iter().chain(&self.denials).for_each(Counter::reset_count);
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
    Gauge clients_max "sojourn_clients_max" Count "Connections that may be open (maxclients)";
    Counter net_input_bytes "sojourn_net_input_bytes_total" Bytes "Bytes read from clients";
    Counter net_output_bytes "sojourn_net_output_bytes_total" Bytes "Bytes written to clients";
    Counter net_reads "sojourn_net_reads_total" Count "Reads from clients' sockets";
    Counter net_writes "sojourn_net_writes_total" Count "Writes to clients' sockets";
    Counter commands_processed "sojourn_commands_processed_total" Count "Commands that were executed";
    Gauge operations_per_second "sojourn_operations_per_second" CountPerSecond "Commands in the last second";
    Gauge input_bytes_per_second "sojourn_net_input_bytes_per_second" CountPerSecond "Bytes read from clients in the last second";
    Gauge output_bytes_per_second "sojourn_net_output_bytes_per_second" CountPerSecond "Bytes written to clients in the last second";
    Counter protocol_errors "sojourn_protocol_errors_total" Count "Connections closed because a request was no RESP";
    Counter query_limit_disconnections "sojourn_query_limit_disconnections_total" Count "Connections closed because an unfinished request reached client-query-buffer-limit";
    Counter output_limit_disconnections "sojourn_output_limit_disconnections_total" Count "Connections closed because unread replies reached client-output-buffer-limit";
    Counter auth_failures "sojourn_auth_failures_total" Count "AUTH and HELLO with a wrong password";
    Counter token_failures "sojourn_token_failures_total" Count "HTTP requests without metrics-token, or with a wrong one";
    Counter keyspace_hits "sojourn_keyspace_hits_total" Count "Reads of a key that exists";
    Counter keyspace_misses "sojourn_keyspace_misses_total" Count "Reads of a key that does not exist";
    Counter keyspace_cold_hits "sojourn_keyspace_cold_hits_total" Count "Keys whose value a command had to wait for, since it was in the database only";
    Counter cold_loads "sojourn_cold_loads_total" Count "Values that were read from the database because they were not in memory";
    Counter created_keys "sojourn_created_keys_total" Count "Keys that commands created: new sessions above all";
    Counter deleted_keys "sojourn_deleted_keys_total" Count "Keys that commands deleted: logouts above all";
    Counter unknown_keys_asked "sojourn_unknown_keys_asked_total" Count "Keys that the database was asked for because not all keys were known yet";
    Gauge all_keys_known "sojourn_all_keys_known" Count "1 once all keys of the database are known; until then an unknown key costs a query";
    Gauge keys_read_ms "sojourn_keys_read_seconds" Milliseconds "How long after the start all keys were known";
    Gauge warming "sojourn_warming" Count "1 while the values of the keys that end last are fetched after the start";
    Counter warmed_values "sojourn_warmed_values_total" Count "Values that were fetched after the start before anybody asked for them";
    Counter expired_keys "sojourn_expired_keys_total" Count "Keys whose life ended";
    Gauge pubsub_channels "sojourn_pubsub_channels" Count "Channels that somebody subscribes to";
    Gauge pubsub_patterns "sojourn_pubsub_patterns" Count "Patterns that somebody subscribes to";
    Counter messages_published "sojourn_messages_published_total" Count "Messages that were published, events of keys included";
    Counter messages_delivered "sojourn_messages_delivered_total" Count "Messages that were handed to subscribers, one for each of them";
    Gauge events_waiting "sojourn_events_waiting" Count "Groups of events that wait for the commit of what they tell of";
    Counter events_dropped "sojourn_events_dropped_total" Count "Events that were dropped because too many waited";
    Counter evicted_values "sojourn_evicted_values_total" Count "Values that left memory and stayed in the database";
    Counter defragmented_keys "sojourn_defragmented_keys_total" Count "Keys that were moved in memory so that whole pages become free";
    Gauge defragment_running "sojourn_defragment_running_percent" Count "The share of a processor, in per cent, that moving keys takes at this moment; 0 while it rests";
    Gauge compressed_values "sojourn_compressed_values" Count "Values that are compressed in memory";
    Gauge compressed_bytes "sojourn_compressed_bytes" Bytes "Memory that those values take compressed";
    Gauge compressed_bytes_before "sojourn_compressed_before_bytes" Bytes "Memory that those values would take as they are";
    Gauge dictionary_bytes "sojourn_dictionary_bytes" Bytes "Memory that the dictionaries take by which values are compressed";
    Counter dictionaries_trained "sojourn_dictionaries_trained_total" Count "Dictionaries that were trained on values and taken into use";
    Counter units_committed "sojourn_units_committed_total" Count "Units (all changes of one command or EXEC) that were committed";
    Counter units_failed "sojourn_units_failed_total" Count "Units that failed and were taken back";
    Counter batches_committed "sojourn_batches_committed_total" Count "Commits of the database";
    Counter batches_failed "sojourn_batches_failed_total" Count "Commits that the database refused or did not answer";
    Counter batch_changes "sojourn_batch_changes_total" Count "Changes of records in all batches";
    Counter changes_replaced "sojourn_changes_replaced_total" Count "Changes that a later one of the same record replaced within their batch";
    Counter touches_gathered "sojourn_touches_gathered_total" Count "Writes that lengthened a life and whose new end was put off";
    Counter touch_rows_written "sojourn_touch_rows_written_total" Count "Records whose expiry was written for touches";
    Gauge backlog_units "sojourn_backlog_units" Count "Units that wait for a commit";
    Gauge touches_waiting "sojourn_touches_waiting" Count "Keys whose later end is in memory and not yet in the database";
    Gauge backlog_bytes "sojourn_backlog_bytes" Bytes "Keys and values that wait for a commit";
    Gauge backlog_age_ms "sojourn_backlog_age_seconds" Milliseconds "How far the database is behind: how long the oldest unit has waited that is not committed";
    Gauge parked_units "sojourn_parked_units" Count "Units set aside because somebody else has locked a record of theirs, or of one that they are built on";
    Counter lock_waits "sojourn_lock_waits_total" Count "Batches that met a lock of somebody else and were put together anew";
    Gauge last_commit_us "sojourn_last_commit_seconds" Microseconds "How long the last commit took";
    Gauge last_save_s "sojourn_last_save_timestamp_seconds" Seconds "When all that there was had been committed on request, or was read at the start, in Unix seconds";
    Gauge ready "sojourn_ready" Count "1 while /readyz says so: it accepts connections and the database answers";
    Gauge loading "sojourn_loading" Count "1 until the database is there and owned, so that commands are answered";
    Gauge database_up "sojourn_database_up" Count "1 while the database commits";
    Gauge outage "sojourn_outage" Count "1 while the database is away and writes are refused";
    Counter outages "sojourn_outages_total" Count "Times the database went away";
    Total outage_ms "sojourn_outage_seconds_total" Milliseconds "How long the database was away, in all, the outage under way included";
    Gauge database_warnings "sojourn_database_warnings" Count "What weakens the database, such as fsync = off; INFO says it in words";
    Counter pruned_records "sojourn_pruned_records_total" Count "Expired records that were deleted from the database";
    Counter prunes "sojourn_prunes_total" Count "Commits that looked for expired records";
    Counter prunes_failed "sojourn_prunes_failed_total" Count "The same that the database refused";
    Gauge last_prune_s "sojourn_last_prune_timestamp_seconds" Seconds "When expired records were looked for last, in Unix seconds; 0 for not yet";
    Gauge tables_read_s "sojourn_tables_read_timestamp_seconds" Seconds "When the figures of tables and files were read, in Unix seconds; 0 for not yet";
    Gauge scripts_cached "sojourn_scripts_cached" Count "Scripts that are remembered";
    Gauge script_bytes "sojourn_scripts_bytes" Bytes "How long those scripts are, all together";
    Gauge slow_log_length "sojourn_slow_log_length" Count "Commands that SLOWLOG shows";
    Gauge uptime_seconds "sojourn_uptime_seconds" Seconds "Seconds since the start";
    Gauge memory_bytes "sojourn_memory_resident_bytes" Bytes "Memory that the process holds";
    Gauge memory_used_peak_bytes "sojourn_memory_used_peak_bytes" Bytes "The most memory that keys and values took since the start, looked at once a second";
    Gauge maxmemory_bytes "sojourn_maxmemory_bytes" Bytes "The most memory that keys and values may take; 0 for no limit";
    Gauge hot_values "sojourn_hot_values" Count "Values that are in memory";
    Gauge cold_values "sojourn_cold_values" Count "Values that are in the database only";
    Gauge memory_peak_bytes "sojourn_memory_resident_peak_bytes" Bytes "The most memory that the process ever held";
    Total cpu_user_ms "sojourn_cpu_user_seconds_total" Milliseconds "Processor time in the program";
    Total cpu_system_ms "sojourn_cpu_system_seconds_total" Milliseconds "Processor time in the kernel for it";
}

/// What a user may be denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The command.
    Command,
    /// One of its keys.
    Key,
    /// One of its channels.
    Channel,
    /// The password.
    Auth,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Command, Self::Key, Self::Channel, Self::Auth];

    /// Its word, as ACL LOG shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Auth => "auth",
        }
    }
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
        self.refresh_rates();
        let figures = process::figures();
        self.memory_bytes.set(figures.resident_bytes);
        self.memory_peak_bytes.set(figures.resident_peak_bytes);
        self.cpu_user_ms.set(figures.cpu_user_ms);
        self.cpu_system_ms.set(figures.cpu_system_ms);
    }

    fn refresh_rates(&self) {
        let mut sampled = self.sampled.lock();
        // INFO may ask at any moment; a rate over a few milliseconds says nothing.
        let elapsed_ms = u64::try_from(sampled.0.elapsed().as_millis()).ok().filter(|elapsed_ms| *elapsed_ms >= 500);
        let Some(elapsed_ms) = elapsed_ms else { return };
        let rates = [&self.operations_per_second, &self.input_bytes_per_second, &self.output_bytes_per_second];
        let counts = [&self.commands_processed, &self.net_input_bytes, &self.net_output_bytes].map(Counter::get);
        for ((rate, count), before) in rates.into_iter().zip(counts).zip(sampled.1) {
            rate.set(count.saturating_sub(before).saturating_mul(1000) / elapsed_ms);
        }
        *sampled = (Instant::now(), counts);
    }

    /// What keys and values take of memory, by kind.
    pub fn memory_by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> {
        MEMORY_KINDS.into_iter().zip(&self.memory_used).map(|(kind, bytes)| (kind, bytes.get()))
    }

    /// Counts a denial.
    pub fn count_denial(&self, reason: Reason) {
        self.denials[reason as usize].increment();
    }

    /// How often this was denied.
    #[must_use]
    pub fn denials(&self, reason: Reason) -> u64 {
        self.denials[reason as usize].get()
    }

    /// The keys as they were counted last.
    #[must_use]
    pub fn census(&self) -> Arc<Census> {
        Arc::clone(&self.census.lock())
    }

    /// Notes a count of the keys.
    pub fn set_census(&self, census: Census) {
        *self.census.lock() = Arc::new(census);
    }

    /// What the database said of its tables and files last.
    #[must_use]
    pub fn storage(&self) -> Arc<StorageFigures> {
        Arc::clone(&self.storage.lock())
    }

    /// Notes what the database says of its tables and files.
    pub fn set_storage(&self, storage: StorageFigures) {
        *self.storage.lock() = Arc::new(storage);
    }

    /// All numbers at this moment; commands that were never sent and errors that never occurred are left out.
    #[must_use]
    pub fn families(&self) -> Vec<Family<'_>> {
        let single = SINGLE.iter().zip(self.single()).map(|(described, kept)| Family {
            described,
            samples: vec![Sample { labels: Vec::new(), value: Value::Number(kept) }],
        });
        single.chain(labelled::families(self)).filter(|family| !family.samples.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_known_codes_only() {
        let metrics = Metrics::new(&[]);
        metrics.count_error("WRONGTYPE Operation against a key holding the wrong kind of value");
        metrics.count_error("sess:secret is a key that must not become a label");
        assert_eq!(metrics.errors().collect::<Vec<_>>(), [("WRONGTYPE", 1), ("other", 1)]);
    }

    #[test]
    fn families_hold_the_commands_that_were_called() {
        let metrics = Metrics::new(&["get".to_owned(), "set".to_owned()]);
        metrics.commands[1].calls.increment();
        metrics.keys[3].set(7);
        let families = metrics.families();
        let samples = |name: &str| {
            let family = families.iter().find(|family| family.described.name == name).expect("the family");
            family.samples.iter().map(|sample| (sample.labels.join(","), sample.value.clone())).collect::<Vec<_>>()
        };
        assert_eq!(samples("sojourn_command_calls_total"), [("set".to_owned(), Value::Number(1))]);
        assert!(samples("sojourn_keys").contains(&("3".to_owned(), Value::Number(7))));
        assert!(families.iter().all(|family| {
            family.samples.iter().all(|sample| sample.labels.len() == family.described.labels.len())
        }));
    }

    #[test]
    fn refresh_measures_the_process() {
        let metrics = Metrics::new(&[]);
        metrics.refresh();
        assert!(metrics.memory_bytes.get() > 100_000);
        assert!(metrics.memory_peak_bytes.get() >= metrics.memory_bytes.get() / 2);
    }
}
