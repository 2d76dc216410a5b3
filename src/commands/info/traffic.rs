//! What INFO says of connections and commands.

use super::Lines;
use crate::app::App;
use crate::app::pubsub::Listening;
use crate::app::users::Reason;

/// `# Clients`.
pub(super) fn clients(app: &App, lines: &mut Lines) {
    lines.put("connected_clients", app.clients.count());
    lines.put("maxclients", app.settings.read().maxclients);
    // As in CLIENT LIST: how full a client's buffers were is not kept.
    lines.put("client_recent_max_input_buffer", 0);
    lines.put("client_recent_max_output_buffer", 0);
    // No command blocks.
    lines.put("blocked_clients", 0);
}

/// `# Stats`.
pub(super) fn statistics(app: &App, lines: &mut Lines) {
    let metrics = &app.metrics;
    lines.put("total_connections_received", metrics.connections_received.get());
    lines.put("total_commands_processed", metrics.commands_processed.get());
    lines.put("instantaneous_ops_per_sec", metrics.operations_per_second.get());
    lines.put("total_net_input_bytes", metrics.net_input_bytes.get());
    lines.put("total_net_output_bytes", metrics.net_output_bytes.get());
    lines.put("instantaneous_input_kbps", kilobytes(metrics.input_bytes_per_second.get()));
    lines.put("instantaneous_output_kbps", kilobytes(metrics.output_bytes_per_second.get()));
    lines.put("total_reads_processed", metrics.net_reads.get());
    lines.put("total_writes_processed", metrics.net_writes.get());
    lines.put("rejected_connections", metrics.connections_rejected.get());
    lines.put("expired_keys", metrics.expired_keys.get());
    // A value that leaves memory stays in the database; no key is ever evicted.
    lines.put("evicted_keys", 0);
    let defragmented = metrics.defragmented_keys.get();
    lines.put("active_defrag_hits", defragmented);
    lines.put("active_defrag_key_hits", defragmented);
    lines.put("keyspace_hits", metrics.keyspace_hits.get());
    lines.put("keyspace_misses", metrics.keyspace_misses.get());
    lines.put("pubsub_channels", app.pubsub.names(Listening::Channel));
    lines.put("pubsub_patterns", app.pubsub.names(Listening::Pattern));
    // There are no shards, so nothing is published in one.
    lines.put("pubsubshard_channels", 0);
    // These and the two after them under the names of Redis 7.2; 7.0 does not count them.
    for (name, reason) in
        [("auth", Reason::Auth), ("cmd", Reason::Command), ("key", Reason::Key), ("channel", Reason::Channel)]
    {
        lines.put(format_args!("acl_access_denied_{name}"), metrics.denials(reason));
    }
    lines.put("client_query_buffer_limit_disconnections", metrics.query_limit_disconnections.get());
    lines.put("client_output_buffer_limit_disconnections", metrics.output_limit_disconnections.get());
    lines.put("total_error_replies", metrics.errors().map(|(_, count)| count).sum::<u64>());
}

/// Kilobytes with Redis's two decimals.
fn kilobytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let shown = bytes as f64 / 1024.0;
    format!("{shown:.2}")
}

/// `# Commandstats`: the commands that were called.
pub(super) fn commands(app: &App, lines: &mut Lines) {
    for command in app.metrics.commands.iter().filter(|command| command.is_known()) {
        let (calls, microseconds) = (command.calls.get(), command.microseconds.get());
        let (rejected, failed) = (command.rejected.get(), command.failed.get());
        #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
        let per_call = microseconds as f64 / calls.max(1) as f64;
        lines.put(
            format_args!("cmdstat_{}", command.name),
            format_args!(
                "calls={calls},usec={microseconds},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
            ),
        );
    }
}

/// `# Errorstats`.
pub(super) fn errors(app: &App, lines: &mut Lines) {
    for (code, count) in app.metrics.errors() {
        lines.put(format_args!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// `# Latencystats`: what a share of the calls of each command took at most, in microseconds.
pub(super) fn latencies(app: &App, lines: &mut Lines) {
    if !app.metrics.latency.counts_calls() {
        return;
    }
    let percentiles = app.settings.read().latency_percentiles.clone();
    for command in app.metrics.commands.iter().filter(|command| command.durations.count() > 0) {
        let shown = percentiles.iter().map(|percentile| {
            let (percent, ns) = (percentile.percent(), command.durations.percentile_ns(percentile.percent()));
            format!("p{percent}={}.{:03}", ns / 1000, ns % 1000)
        });
        let shown = shown.collect::<Vec<_>>().join(",");
        lines.put(format_args!("latency_percentiles_usec_{}", command.name), shown);
    }
}
