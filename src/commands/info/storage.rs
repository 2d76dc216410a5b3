//! What INFO says of the keys and of the database behind them. A place is shown only as the database describes itself,
//! with its password masked.

use super::Lines;
use crate::app::App;
use crate::config::Choice;
use crate::database::write_through::Status;
use crate::telemetry::Metrics;

/// `# Persistence`: the write-through in the words of Redis's two ways to write. ioredis waits while `loading` is 1.
pub(super) fn persistence(app: &App, lines: &mut Lines) {
    let status = app.write_through.status();
    let health = match status {
        Status::Up | Status::Loading => "ok",
        Status::Down | Status::Lost => "err",
    };
    let is_loading = status == Status::Loading;
    lines.put("loading", u8::from(is_loading));
    lines.put("async_loading", 0);
    if is_loading {
        // How long it takes is not known; clients that read this ask again in a second.
        lines.put("loading_eta_seconds", 1);
    }
    lines.put("rdb_changes_since_last_save", app.write_through.backlog());
    lines.put("rdb_bgsave_in_progress", 0);
    lines.put("rdb_last_save_time", app.write_through.last_save_s());
    lines.put("rdb_last_bgsave_status", health);
    lines.put("aof_enabled", u8::from(!app.settings.read().is_memory_only()));
    lines.put("aof_rewrite_in_progress", 0);
    lines.put("aof_last_bgrewrite_status", "ok");
    lines.put("aof_last_write_status", health);
}

/// `# Replication`: the database replicates, Sojourn does not.
pub(super) fn replication(app: &App, lines: &mut Lines) {
    lines.put("role", "master");
    lines.put("connected_slaves", 0);
    lines.put("master_replid", &app.run_id);
    lines.put("master_repl_offset", 0);
}

/// `# Cluster`.
pub(super) fn cluster(_: &App, lines: &mut Lines) {
    lines.put("cluster_enabled", 0);
}

/// `# Keyspace`: an empty database is not listed, since tools divide by its number of keys. The average of what is left of the lives
/// is that of the last census, which is taken every second or as often as it costs next to nothing; 0 before the first, as in Redis.
pub(super) fn keyspace(app: &App, lines: &mut Lines) {
    let census = app.metrics.census();
    for database in 0..app.settings.read().databases {
        let (keys, expires) = (app.keyspace.counts.keys(database), app.keyspace.counts.expiring(database));
        if keys > 0 {
            let ttl_ms = census.databases[usize::from(database)].average_left_ms();
            lines.put(format_args!("db{database}"), format_args!("keys={keys},expires={expires},avg_ttl={ttl_ms}"));
        }
    }
}

/// `# Sojourn`: what Redis does not have.
pub(super) fn sojourn(app: &App, lines: &mut Lines) {
    lines.put("sojourn_version", env!("CARGO_PKG_VERSION"));
    database(app, lines);
    let settings = app.settings.read();
    lines.put("durability", settings.durability.name());
    lines.put("touch_interval_ms", settings.touch_interval.as_millis());
    drop(settings);
    writes(&app.metrics, lines);
    super::memory::by_kind(app, lines);
    start(app, lines);
    keys(&app.metrics, lines);
    compression(&app.metrics, lines);
    outages(&app.metrics, lines);
}

/// What waits for the database and what was committed.
fn writes(metrics: &Metrics, lines: &mut Lines) {
    lines.put("backlog", metrics.backlog_units.get());
    lines.put("backlog_bytes", metrics.backlog_bytes.get());
    lines.put("backlog_age_ms", metrics.backlog_age_ms.get());
    lines.put("parked_units", metrics.parked_units.get());
    lines.put("lock_waits", metrics.lock_waits.get());
    lines.put("batches", metrics.batches_committed.get());
    lines.put("batch_changes", metrics.batch_changes.get());
    lines.put("changes_replaced", metrics.changes_replaced.get());
    lines.put("changes_per_batch_p50", metrics.changes_per_batch.quantile(0.5));
    lines.put("changes_per_batch_p99", metrics.changes_per_batch.quantile(0.99));
    lines.put("batches_failed", metrics.batches_failed.get());
    lines.put("units_committed", metrics.units_committed.get());
    lines.put("units_failed", metrics.units_failed.get());
    lines.put("touches_waiting", metrics.touches_waiting.get());
    lines.put("touches_gathered", metrics.touches_gathered.get());
    lines.put("touch_rows_written", metrics.touch_rows_written.get());
    lines.put("touches_per_row", ratio(metrics.touches_gathered.get(), metrics.touch_rows_written.get()));
    lines.put("last_commit_us", metrics.last_commit_us.get());
    lines.put("commit_us_p50", metrics.commit_us.quantile(0.5));
    lines.put("commit_us_p99", metrics.commit_us.quantile(0.99));
}

/// How far the reading of all keys is, and the warming of values after it.
fn start(app: &App, lines: &mut Lines) {
    lines.put("keys_known", app.keyspace.counts.all_keys());
    lines.put("all_keys_known", app.metrics.all_keys_known.get());
    lines.put("keys_read_ms", app.metrics.keys_read_ms.get());
    lines.put("unknown_keys_asked", app.metrics.unknown_keys_asked.get());
    lines.put("warming", app.metrics.warming.get());
    lines.put("warmed_values", app.metrics.warmed_values.get());
}

/// How keys came and went, and which values had to be fetched.
fn keys(metrics: &Metrics, lines: &mut Lines) {
    lines.put("created_keys", metrics.created_keys.get());
    lines.put("deleted_keys", metrics.deleted_keys.get());
    lines.put("keyspace_cold_hits", metrics.keyspace_cold_hits.get());
    lines.put("cold_loads", metrics.cold_loads.get());
    lines.put("evicted_values", metrics.evicted_values.get());
    lines.put("pruned_records", metrics.pruned_records.get());
    lines.put("prunes", metrics.prunes.get());
    lines.put("prunes_failed", metrics.prunes_failed.get());
    lines.put("last_prune_time", metrics.last_prune_s.get());
}

/// What went wrong.
fn outages(metrics: &Metrics, lines: &mut Lines) {
    lines.put("outages", metrics.outages.get());
    lines.put("outage_ms", metrics.outage_ms.get());
    lines.put("tls_handshakes_failed", metrics.tls_handshakes_failed.get());
    lines.put("auth_failures", metrics.auth_failures.get());
    lines.put("token_failures", metrics.token_failures.get());
    lines.put("protocol_errors", metrics.protocol_errors.get());
}

/// What is compressed in memory.
fn compression(metrics: &Metrics, lines: &mut Lines) {
    let (bytes, bytes_before) = (metrics.compressed_bytes.get(), metrics.compressed_bytes_before.get());
    lines.put("compressed_values", metrics.compressed_values.get());
    lines.put("compressed_bytes", bytes);
    lines.put("compressed_bytes_before", bytes_before);
    lines.put("compression_ratio", ratio(bytes, bytes_before));
    lines.put("dictionary_bytes", metrics.dictionary_bytes.get());
    lines.put("dictionaries_trained", metrics.dictionaries_trained.get());
}

fn ratio(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let ratio = part as f64 / whole.max(1) as f64;
    format!("{ratio:.2}")
}

fn database(app: &App, lines: &mut Lines) {
    let database = app.database.read();
    lines.put("database_kind", database.kind);
    lines.put_text("database_place", &database.place);
    lines.put_text("database_version", &database.version);
    if let Some(is_encrypted) = database.is_encrypted {
        lines.put("database_encrypted", u8::from(is_encrypted));
    }
    lines.put("database_warnings", database.warnings.len());
    for (position, warning) in database.warnings.iter().enumerate() {
        lines.put_text(format_args!("database_warning_{position}"), warning);
    }
    lines.put("database_status", app.write_through.status().name());
    lines.put("epoch", app.write_through.epoch());
}
