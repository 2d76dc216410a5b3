//! INFO, the metrics and what prometheus-redis-exporter makes of INFO say the same: one server under load that then rests, asked in
//! all three ways.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};

use super::http::start;
use super::support::http::{get, series};
use super::support::process::dying_with_us;
use super::support::resp::Connection;
use super::support::server::{Server, free_port, wait_for, wait_until};

/// A number under its three names: at /metrics, in the exporter's output, and in INFO; and how many of INFO's make one of the
/// metrics'. The exporter has no name for some.
type Pair = (&'static str, Option<&'static str>, &'static str, f64);

const SAME: &[Pair] = &[
    ("sojourn_connections_rejected_total", Some("redis_rejected_connections_total"), "rejected_connections", 1.0),
    ("sojourn_clients_max", Some("redis_config_maxclients"), "maxclients", 1.0),
    ("sojourn_keyspace_hits_total", Some("redis_keyspace_hits_total"), "keyspace_hits", 1.0),
    ("sojourn_keyspace_misses_total", Some("redis_keyspace_misses_total"), "keyspace_misses", 1.0),
    ("sojourn_expired_keys_total", Some("redis_expired_keys_total"), "expired_keys", 1.0),
    ("sojourn_pubsub_channels", Some("redis_pubsub_channels"), "pubsub_channels", 1.0),
    ("sojourn_pubsub_patterns", Some("redis_pubsub_patterns"), "pubsub_patterns", 1.0),
    ("sojourn_keys{database=\"0\"}", Some("redis_db_keys{db=\"db0\"}"), "db0:keys", 1.0),
    ("sojourn_keys_with_expiry{database=\"0\"}", Some("redis_db_keys_expiring{db=\"db0\"}"), "db0:expires", 1.0),
    ("sojourn_keys{database=\"3\"}", Some("redis_db_keys{db=\"db3\"}"), "db3:keys", 1.0),
    ("sojourn_maxmemory_bytes", Some("redis_memory_max_bytes"), "maxmemory", 1.0),
    ("sojourn_backlog_units", Some("redis_rdb_changes_since_last_save"), "rdb_changes_since_last_save", 1.0),
    ("sojourn_loading", Some("redis_loading_dump_file"), "loading", 1.0),
    ("sojourn_last_save_timestamp_seconds", Some("redis_rdb_last_save_timestamp_seconds"), "rdb_last_save_time", 1.0),
    ("sojourn_slow_log_length", Some("redis_slowlog_length"), "", 1.0),
    ("sojourn_errors_total{code=\"ERR\"}", None, "errorstat_ERR:count", 1.0),
    ("sojourn_errors_total{code=\"WRONGTYPE\"}", None, "errorstat_WRONGTYPE:count", 1.0),
    (
        "sojourn_command_calls_total{command=\"set\"}",
        Some("redis_commands_total{cmd=\"set\"}"),
        "cmdstat_set:calls",
        1.0,
    ),
    (
        "sojourn_command_calls_total{command=\"get\"}",
        Some("redis_commands_total{cmd=\"get\"}"),
        "cmdstat_get:calls",
        1.0,
    ),
    (
        "sojourn_command_duration_seconds_count{command=\"get\"}",
        Some("redis_commands_total{cmd=\"get\"}"),
        "cmdstat_get:calls",
        1.0,
    ),
    (
        "sojourn_command_calls_total{command=\"expire\"}",
        Some("redis_commands_total{cmd=\"expire\"}"),
        "cmdstat_expire:calls",
        1.0,
    ),
    (
        "sojourn_command_seconds_total{command=\"set\"}",
        Some("redis_commands_duration_seconds_total{cmd=\"set\"}"),
        "cmdstat_set:usec",
        1e6,
    ),
    (
        "sojourn_command_seconds_total{command=\"expire\"}",
        Some("redis_commands_duration_seconds_total{cmd=\"expire\"}"),
        "cmdstat_expire:usec",
        1e6,
    ),
    ("sojourn_command_failed_total{command=\"hget\"}", None, "cmdstat_hget:failed_calls", 1.0),
    ("sojourn_command_rejected_total{command=\"get\"}", None, "cmdstat_get:rejected_calls", 1.0),
    ("sojourn_scripts_cached", None, "number_of_cached_scripts", 1.0),
    ("sojourn_query_limit_disconnections_total", None, "client_query_buffer_limit_disconnections", 1.0),
    ("sojourn_output_limit_disconnections_total", None, "client_output_buffer_limit_disconnections", 1.0),
    ("sojourn_denials_total{reason=\"auth\"}", None, "acl_access_denied_auth", 1.0),
    ("sojourn_auth_failures_total", None, "auth_failures", 1.0),
    ("sojourn_protocol_errors_total", None, "protocol_errors", 1.0),
    ("sojourn_created_keys_total", None, "created_keys", 1.0),
    ("sojourn_deleted_keys_total", None, "deleted_keys", 1.0),
    ("sojourn_keyspace_cold_hits_total", None, "keyspace_cold_hits", 1.0),
    ("sojourn_cold_loads_total", None, "cold_loads", 1.0),
    ("sojourn_warmed_values_total", None, "warmed_values", 1.0),
    ("sojourn_units_committed_total", None, "units_committed", 1.0),
    ("sojourn_units_failed_total", None, "units_failed", 1.0),
    ("sojourn_batches_committed_total", None, "batches", 1.0),
    ("sojourn_commit_duration_seconds_count", None, "batches", 1.0),
    ("sojourn_changes_per_batch_sum", None, "batch_changes", 1.0),
    ("sojourn_batch_changes_total", None, "batch_changes", 1.0),
    ("sojourn_touches_gathered_total", None, "touches_gathered", 1.0),
    ("sojourn_touch_rows_written_total", None, "touch_rows_written", 1.0),
    ("sojourn_touches_waiting", None, "touches_waiting", 1.0),
    ("sojourn_last_commit_seconds", None, "last_commit_us", 1e6),
    ("sojourn_backlog_age_seconds", None, "backlog_age_ms", 1e3),
    ("sojourn_outages_total", None, "outages", 1.0),
    ("sojourn_outage_seconds_total", None, "outage_ms", 1e3),
    ("sojourn_prunes_failed_total", None, "prunes_failed", 1.0),
    ("sojourn_pruned_records_total", None, "pruned_records", 1.0),
];

/// Numbers that grow with the very asking: the exporter's lie between those before and after it asked.
const GROWING: &[Pair] = &[
    ("sojourn_connections_received_total", Some("redis_connections_received_total"), "total_connections_received", 1.0),
    ("sojourn_commands_processed_total", Some("redis_commands_processed_total"), "total_commands_processed", 1.0),
    ("sojourn_net_input_bytes_total", Some("redis_net_input_bytes_total"), "total_net_input_bytes", 1.0),
    ("sojourn_net_output_bytes_total", Some("redis_net_output_bytes_total"), "total_net_output_bytes", 1.0),
    ("sojourn_uptime_seconds", Some("redis_uptime_in_seconds"), "uptime_in_seconds", 1.0),
    ("sojourn_cpu_user_seconds_total", Some("redis_cpu_user_seconds_total"), "used_cpu_user", 1.0),
    ("sojourn_cpu_system_seconds_total", Some("redis_cpu_sys_seconds_total"), "used_cpu_sys", 1.0),
];

/// How many numbers the three have in common at the least: a test that compares few would pass for ever.
const COMPARED_MIN: usize = 45;

/// The exporter, killed when dropped.
struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    fn start(server: &Server) -> Self {
        let port = free_port();
        let (redis, listen) = (format!("redis://{}", server.address()), format!("127.0.0.1:{port}"));
        let mut command = dying_with_us("prometheus-redis-exporter");
        command.args(["-redis.addr", &redis, "-web.listen-address", &listen]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the exporter is installed");
        let exporter = Self { child, port };
        wait_until("the exporter", || get(port, "/").is_ok());
        exporter
    }

    fn page(&self) -> String {
        let page = get(self.port, "/metrics").expect("a page").body;
        assert_eq!(series(&page, "redis_up"), Some(1.0), "{page}");
        page
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Either fails only if it has ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Some of everything that is counted. The connection that comes back listens.
fn load(server: &Server) -> Connection {
    let mut connection = server.connect();
    for number in 0..200 {
        let (key, number) = (format!("sess:{number}"), number.to_string());
        for words in [
            &["SET", &key, "{}", "EX", "600"][..],
            &["GET", &key],
            &["GET", "sess:nobody"],
            &["EXPIRE", &key, "601"],
            &["HSET", "hash", &number, "x"],
        ] {
            connection.call(words).expect("a reply");
        }
    }
    for words in [
        &["DEL", "sess:1", "sess:2", "sess:nobody"][..],
        &["SET", "sess:short", "{}", "PX", "30"],
        &["SET", "plain", "x"],
        &["HGET", "plain", "x"],
        &["GET"],
        &["GET", "hash"],
        &["NOSUCH"],
        &["AUTH", "somebody", "wrong"],
        &["SCRIPT", "LOAD", "return 1"],
        &["CONFIG", "SET", "slowlog-log-slower-than", "0"],
        &["PING"],
        &["CONFIG", "SET", "slowlog-log-slower-than", "-1"],
        &["SELECT", "3"],
        &["SET", "elsewhere", "x"],
        &["SUBSCRIBE", "channel"],
    ] {
        connection.call(words).expect("a reply");
    }
    let mut broken = server.connect();
    broken.send(b"*x\r\n").expect("sent");
    broken.read().expect("an error");
    connection
}

/// INFO's numbers: `name` for a line's, `name:part` for one of several in a line.
fn info(server: &Server) -> BTreeMap<String, f64> {
    let text = server.call(&["INFO", "everything"]);
    let text = String::from_utf8_lossy(text.bytes().expect("INFO answers text")).into_owned();
    let mut numbers = BTreeMap::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
        numbers.extend(value.parse().ok().map(|value| (name.to_owned(), value)));
        let parts = value.split(',').filter_map(|part| part.split_once('='));
        numbers.extend(parts.filter_map(|(part, value)| Some((format!("{name}:{part}"), value.parse().ok()?))));
    }
    numbers
}

fn is_at_rest(numbers: &BTreeMap<String, f64>) -> bool {
    numbers["backlog"] == 0.0 && numbers["touches_waiting"] == 0.0 && numbers["expired_keys"] == 1.0
}

#[test]
fn info_the_metrics_and_the_exporter_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("one.db").display());
    let (server, port) = start(&url, &["--touch-interval", "100ms", "--prune-interval", "86400s"]);
    let exporter = Exporter::start(&server);
    let _listens = load(&server);
    wait_until("the server to rest", || is_at_rest(&info(&server)));
    let metrics = || get(port, "/metrics").expect("a page").body;
    let (before, exported, said, after) = (metrics(), exporter.page(), info(&server), metrics());

    let mut compared = 0;
    let mut faults = Vec::new();
    let mut expect = |name: &str, place: &str, is: bool, found: Option<f64>| {
        // Two that were never counted are alike whatever is compared.
        compared += usize::from(found.is_some_and(|found| found != 0.0));
        if !is {
            faults.push(format!("{name}: {place} has {found:?}"));
        }
    };
    for (name, exporter_name, info_name, per) in SAME {
        let value = series(&after, name).unwrap_or_else(|| panic!("{name} is not in {after}"));
        assert_eq!(series(&before, name), Some(value), "{name} changes at rest");
        let same = |found: Option<f64>| found.is_some_and(|found| (found - value).abs() <= value.abs() * 1e-9);
        if let Some(exporter_name) = exporter_name {
            let found = series(&exported, exporter_name);
            expect(name, exporter_name, same(found), found);
        }
        if !info_name.is_empty() {
            let found = said.get(*info_name).map(|found| found / per);
            expect(name, info_name, same(found), found);
        }
    }
    for (name, exporter_name, info_name, per) in GROWING {
        let (least, most) = (series(&before, name).expect(name), series(&after, name).expect(name));
        let lies_between = |found: Option<f64>| found.is_some_and(|found| (least..=most).contains(&found));
        for (place, found) in [
            (exporter_name.unwrap_or_default(), exporter_name.and_then(|place| series(&exported, place))),
            (info_name, said.get(*info_name).map(|found| found / per)),
        ] {
            expect(name, place, lies_between(found), found);
        }
    }
    assert!(faults.is_empty(), "{}\n{exported}", faults.join("\n"));
    assert!(compared >= COMPARED_MIN, "only {compared} numbers were compared");
}

#[test]
fn a_reset_starts_the_counters_of_both_anew() {
    let (server, port) = start("memory://", &[]);
    let mut connection = server.connect();
    connection.call(&["GET", "nobody"]).expect("a reply");
    connection.call(&["CONFIG", "RESETSTAT"]).expect("a reply");
    let page = wait_for("a page", || get(port, "/metrics").ok()).body;
    assert_eq!(series(&page, "sojourn_keyspace_misses_total"), Some(0.0));
    assert_eq!(series(&page, "sojourn_command_calls_total{command=\"get\"}"), None);
    assert_eq!(server.info("keyspace_misses"), 0);
}
