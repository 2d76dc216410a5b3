//! The numbers that have series: each declared once, with its labels and with how they are read. Every label comes from a closed
//! set: commands, error codes, database numbers, the tables of the settings.

use std::borrow::Cow;

use ::metrics::Unit;

use super::catalogue::{Described, Family, Kind, Sample, Value};
use super::command_stats::CommandStats;
use super::metrics::{Metrics, Reason};
use super::sessions::lifetime_labels;
use super::storage::{TableFigures, TableStatistics};

/// One declaration.
struct Labelled {
    described: Described,
    read: Read,
}

/// How its series are read.
type Read = for<'a> fn(&'a Metrics) -> Vec<Sample<'a>>;

const fn labelled(
    kind: Kind,
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
    read: Read,
) -> Labelled {
    Labelled { described: Described { name, kind, unit, labels, help }, read }
}

/// The bounds of the durations of calls in nanoseconds: most commands take a microsecond, a few take a walk over everything.
const CALL_BOUNDS_NS: &[u64] = &[
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
];

static LABELLED: &[Labelled] = &[
    labelled(
        Kind::Gauge,
        "sojourn_info",
        Unit::Count,
        &["version", "database", "durability"],
        "1; the labels say what runs",
        |metrics| {
            metrics
                .build
                .get()
                .map(|labels| sample(labels.iter().map(|label| Cow::from(*label)), 1))
                .into_iter()
                .collect()
        },
    ),
    labelled(Kind::Gauge, "sojourn_keys", Unit::Count, &["database"], "Live keys, by database number", |metrics| {
        numbered(metrics.keys.iter().map(|keys| keys.get()))
    }),
    labelled(
        Kind::Gauge,
        "sojourn_keys_with_expiry",
        Unit::Count,
        &["database"],
        "Live keys that have an expiry, by database number",
        |metrics| numbered(metrics.keys_with_expiry.iter().map(|keys| keys.get())),
    ),
    labelled(
        Kind::Gauge,
        "sojourn_sessions",
        Unit::Count,
        &["table", "prefix", "ends_within"],
        "Live keys by table and by what is left of their lives: each counts once, at 1h, 1d, 3d or later",
        sessions,
    ),
    labelled(
        Kind::Gauge,
        "sojourn_memory_used_bytes",
        Unit::Bytes,
        &["kind"],
        "Memory that keys and values take, by what it is taken for: together what maxmemory limits",
        memory,
    ),
    labelled(Kind::Counter, "sojourn_errors_total", Unit::Count, &["code"], "Error replies, by code", |metrics| {
        metrics.errors().map(|(code, count)| of(code, count)).collect()
    }),
    labelled(
        Kind::Counter,
        "sojourn_denials_total",
        Unit::Count,
        &["reason"],
        "What users were denied: a command, key or channel that they may not use, or a login",
        |metrics| Reason::ALL.into_iter().map(|reason| of(reason.name(), metrics.denials(reason))).collect(),
    ),
    labelled(Kind::Counter, "sojourn_command_calls_total", Unit::Count, &["command"], "Calls, by command", |metrics| {
        commands(metrics, |stats| stats.calls.get())
    }),
    labelled(
        Kind::Counter,
        "sojourn_command_seconds_total",
        Unit::Microseconds,
        &["command"],
        "Time in handlers, by command, whole microseconds of each call as INFO counts them",
        |metrics| commands(metrics, |stats| stats.microseconds.get()),
    ),
    labelled(
        Kind::Counter,
        "sojourn_command_failed_total",
        Unit::Count,
        &["command"],
        "Calls that were answered with an error, by command",
        |metrics| commands(metrics, |stats| stats.failed.get()),
    ),
    labelled(
        Kind::Counter,
        "sojourn_command_rejected_total",
        Unit::Count,
        &["command"],
        "Calls that were refused before their handler ran, by command",
        |metrics| commands(metrics, |stats| stats.rejected.get()),
    ),
    labelled(
        Kind::Histogram,
        "sojourn_command_duration_seconds",
        Unit::Nanoseconds,
        &["command"],
        "How long handlers take, by command, the wait for the commit not counted; while latency-tracking is on",
        |metrics| commands(metrics, |stats| stats.durations.distribution(CALL_BOUNDS_NS)),
    ),
    labelled(
        Kind::Histogram,
        "sojourn_commit_duration_seconds",
        Unit::Microseconds,
        &[],
        "How long commits take",
        |metrics| vec![sample([], metrics.commit_us.distribution())],
    ),
    labelled(
        Kind::Histogram,
        "sojourn_changes_per_batch",
        Unit::Count,
        &[],
        "How many changes one commit carries",
        |metrics| vec![sample([], metrics.changes_per_batch.distribution())],
    ),
    labelled(
        Kind::Gauge,
        "sojourn_table_rows",
        Unit::Count,
        &["table"],
        "Live rows of a table, as PostgreSQL estimates them",
        |metrics| statistics(metrics, |statistics| statistics.rows),
    ),
    labelled(
        Kind::Gauge,
        "sojourn_table_dead_rows",
        Unit::Count,
        &["table"],
        "Dead rows of a table that wait for a vacuum, as PostgreSQL estimates them",
        |metrics| statistics(metrics, |statistics| statistics.dead_rows),
    ),
    labelled(
        Kind::Counter,
        "sojourn_table_updates_total",
        Unit::Count,
        &["table"],
        "Rows of a table that were updated since PostgreSQL's statistics began",
        |metrics| statistics(metrics, |statistics| statistics.updates),
    ),
    labelled(
        Kind::Counter,
        "sojourn_table_hot_updates_total",
        Unit::Count,
        &["table"],
        "Updates that changed no index (HOT); their share of all updates is the HOT ratio",
        |metrics| statistics(metrics, |statistics| statistics.hot_updates),
    ),
    labelled(
        Kind::Gauge,
        "sojourn_table_size_bytes",
        Unit::Bytes,
        &["table"],
        "What a table takes on PostgreSQL's disk, with its indexes",
        |metrics| statistics(metrics, |statistics| statistics.size_bytes),
    ),
    labelled(
        Kind::Gauge,
        "sojourn_table_last_vacuum_timestamp_seconds",
        Unit::Seconds,
        &["table"],
        "When a table was vacuumed last, by whomever, in Unix seconds; 0 for never",
        |metrics| statistics(metrics, |statistics| statistics.last_vacuum_s),
    ),
    labelled(
        Kind::Gauge,
        "sojourn_table_expired_rows",
        Unit::Count,
        &["table"],
        "Rows of a table whose life has ended and that are not pruned yet, counted up to 10 000",
        |metrics| tables(metrics, |table| Some(table.expired.count)),
    ),
    labelled(Kind::Gauge, "sojourn_sqlite_size_bytes", Unit::Bytes, &[], "How long the SQLite file is", |metrics| {
        file(metrics, |file| file.size_bytes)
    }),
    labelled(
        Kind::Gauge,
        "sojourn_sqlite_wal_size_bytes",
        Unit::Bytes,
        &[],
        "How long SQLite's write-ahead log is",
        |metrics| file(metrics, |file| file.wal_size_bytes),
    ),
    labelled(
        Kind::Gauge,
        "sojourn_sqlite_free_bytes",
        Unit::Bytes,
        &[],
        "What of the SQLite file is free for new rows",
        |metrics| file(metrics, |file| file.free_bytes),
    ),
];

/// What is known of each.
pub(super) fn described() -> impl Iterator<Item = &'static Described> {
    LABELLED.iter().map(|labelled| &labelled.described)
}

/// All of them at this moment.
pub(super) fn families(metrics: &Metrics) -> impl Iterator<Item = Family<'_>> {
    LABELLED.iter().map(|Labelled { described, read }| Family { described, samples: read(metrics) })
}

fn sample<'a>(labels: impl IntoIterator<Item = Cow<'a, str>>, value: impl Into<Value>) -> Sample<'a> {
    Sample { labels: labels.into_iter().collect(), value: value.into() }
}

fn of(label: &str, value: impl Into<Value>) -> Sample<'_> {
    sample([Cow::from(label)], value)
}

/// One series for each Redis database.
fn numbered<'a>(values: impl Iterator<Item = u64>) -> Vec<Sample<'a>> {
    values.enumerate().map(|(number, value)| sample([Cow::from(number.to_string())], value)).collect()
}

fn sessions(metrics: &Metrics) -> Vec<Sample<'_>> {
    let census = metrics.census();
    let of_table = census.tables.iter().flat_map(|table| {
        lifetime_labels().zip(table.lifetimes).map(|(lifetime, count)| {
            sample([Cow::from(table.table.clone()), Cow::from(table.prefix.clone()), Cow::from(lifetime)], count)
        })
    });
    of_table.collect()
}

fn memory(metrics: &Metrics) -> Vec<Sample<'_>> {
    metrics.memory_by_kind().map(|(kind, bytes)| of(kind, bytes)).collect()
}

/// One series for each command that was ever sent.
fn commands<V: Into<Value>>(metrics: &Metrics, value: fn(&CommandStats) -> V) -> Vec<Sample<'_>> {
    let known = metrics.commands.iter().filter(|stats| stats.is_known());
    known.map(|stats| of(&stats.name, value(stats))).collect()
}

/// One series for each table of which this is known.
fn tables(metrics: &Metrics, value: impl Fn(&TableFigures) -> Option<u64>) -> Vec<Sample<'_>> {
    let storage = metrics.storage();
    let known = storage.tables.iter().filter_map(|table| Some((table.table.clone(), value(table)?)));
    known.map(|(table, value)| sample([Cow::from(table)], value)).collect()
}

fn statistics(metrics: &Metrics, value: fn(&TableStatistics) -> u64) -> Vec<Sample<'_>> {
    tables(metrics, |table| table.statistics.as_ref().map(value))
}

fn file(metrics: &Metrics, value: fn(&super::storage::FileFigures) -> u64) -> Vec<Sample<'_>> {
    metrics.storage().file.iter().map(|file| sample([], value(file))).collect()
}
