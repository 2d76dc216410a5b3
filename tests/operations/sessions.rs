//! What operators ask of sessions: how many there are, how long they live, and that those be deleted whose life has ended; and what
//! the metrics say of the tables that hold them.

use serde_json::{Value, json};

use super::http::start;
use super::postgres::PostgresServer;
use super::support::http::{ask, get, series};
use super::support::server::{COLD, Server, is_ok, wait_for, wait_until};

const BEARER: &str = "Authorization: Bearer t";

/// Nothing is pruned but on request.
const FLAGS: &[&str] = &[
    "--metrics-token",
    "t",
    "--prune-interval",
    "86400s",
    "--session-table",
    "sess:=session",
    "--session-table",
    "admin:=admin_sessions",
];

fn statistics(port: u16) -> Value {
    ask(port, "GET", "/api/session-stats", &[BEARER]).expect("an answer").json()
}

fn clean_up(port: u16) -> Value {
    ask(port, "POST", "/api/session-cleanup", &[BEARER]).expect("an answer").json()
}

/// Sessions of all lifetimes, among them three that end at once.
fn log_in(server: &Server) {
    let mut connection = server.connect();
    for words in [
        &["SET", "sess:hour", "{}", "EX", "3000"][..],
        &["SET", "sess:day", "{}", "EX", "80000"],
        &["SET", "sess:day2", "{}", "EX", "80000"],
        &["SET", "sess:days", "{}", "EX", "200000"],
        &["SET", "sess:month", "{}", "EX", "2592000"],
        &["SET", "admin:a", "{}"],
        &["SET", "sess:pickle", "no json", "EX", "3000"],
        &["SET", "sess:ends", "{}", "PX", "60"],
        &["SET", "admin:ends", "{}", "PX", "60"],
        &["SET", "other:ends", "x", "PX", "60"],
        &["SELECT", "3"],
        &["SET", "elsewhere", "x"],
    ] {
        assert!(is_ok(&connection.call(words).expect("a reply")), "{words:?}");
    }
}

fn lifetimes(counts: [u64; 4]) -> Value {
    json!({ "< 1 hour": counts[0], "< 1 day": counts[1], "< 3 days": counts[2], "more": counts[3] })
}

fn prefix(prefix: &str, table: &str, expired: u64, counts: [u64; 4]) -> Value {
    let active: u64 = counts.iter().sum();
    json!({ "prefix": prefix, "table": table, "active": active, "expired": expired, "lifetimes": lifetimes(counts) })
}

fn expected(expired: u64) -> Value {
    json!({
        "total": 8 + 3 * expired,
        "active": 8,
        "expired": 3 * expired,
        "expired_may_be_more": false,
        "lifetimes": lifetimes([2, 2, 1, 3]),
        "prefixes": [
            prefix("sess:", "session", expired, [1, 2, 1, 1]),
            prefix("admin:", "admin_sessions", expired, [0, 0, 0, 1]),
            prefix("", "sojourn_keys", expired, [1, 0, 0, 1]),
        ],
        "databases": {
            "0": { "active": 7, "with_expiry": 6 },
            "3": { "active": 1, "with_expiry": 0 },
        },
    })
}

fn are_counted_and_cleaned_up(url: &str) -> (Server, u16) {
    let (server, port) = start(url, FLAGS);
    log_in(&server);
    wait_until("three lives to end", || statistics(port)["active"] == 8);
    assert_eq!(statistics(port), expected(1));
    assert_eq!(clean_up(port), json!({ "deleted": 3 }));
    assert_eq!(clean_up(port), json!({ "deleted": 0 }));
    assert_eq!(statistics(port), expected(0));
    assert_eq!(server.info("pruned_records"), 3);
    // Nobody sees them any more; memory is freed of them in steps.
    wait_until("three keys to leave memory", || server.info("expired_keys") == 3);
    let counted = || series(&get(port, "/metrics").expect("a page").body, &sessions("session", "sess:", "1d"));
    wait_until("the census", || counted() == Some(2.0));
    (server, port)
}

fn sessions(table: &str, prefix: &str, within: &str) -> String {
    format!("sojourn_sessions{{table=\"{table}\",prefix=\"{prefix}\",ends_within=\"{within}\"}}")
}

#[test]
fn sessions_are_counted_and_cleaned_up_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("one.db").display());
    let (_server, port) = are_counted_and_cleaned_up(&url);
    let page = get(port, "/metrics").expect("a page").body;
    assert!(series(&page, "sojourn_sqlite_size_bytes").is_some_and(|bytes| bytes >= 4096.0), "{page}");
    assert!(series(&page, "sojourn_sqlite_wal_size_bytes").is_some_and(|bytes| bytes > 0.0), "{page}");
    assert!(series(&page, "sojourn_sqlite_free_bytes").is_some(), "{page}");
}

#[test]
fn sessions_are_counted_and_cleaned_up_in_memory() {
    are_counted_and_cleaned_up("memory://");
}

#[test]
fn sessions_are_counted_and_cleaned_up_on_postgres_with_the_rights_of_a_plain_role() {
    let postgres = PostgresServer::start(&["fsync=off", "autovacuum=off"]);
    let database = postgres.create_database();
    postgres.sql(&database, "create role app login");
    postgres.sql(&database, "grant create, usage on schema public to app");
    let (server, port) = are_counted_and_cleaned_up(&postgres.url_as("app", &database));
    let of_table = |name: &str| {
        // Each asks for new figures.
        statistics(port);
        series(&get(port, "/metrics").expect("a page").body, &format!("sojourn_table_{name}{{table=\"session\"}}"))
    };
    // PostgreSQL tells of what happened a moment ago, up to a second late.
    wait_until("PostgreSQL's statistics", || of_table("rows") == Some(5.0) && of_table("dead_rows") == Some(1.0));
    assert_eq!(of_table("last_vacuum_timestamp_seconds"), Some(0.0));
    assert!(of_table("size_bytes").is_some_and(|bytes| bytes >= 16384.0));
    assert!(is_ok(&server.call(&["SET", "sess:hour", r#"{"a":1}"#, "KEEPTTL"])));
    wait_until("an update", || of_table("updates_total") == Some(1.0) && of_table("hot_updates_total") == Some(1.0));
    postgres.sql(&database, "vacuum session");
    let vacuumed = wait_for("a vacuum", || of_table("last_vacuum_timestamp_seconds").filter(|at| *at > 0.0));
    assert!(vacuumed > 1.7e9, "{vacuumed}");
}

#[test]
fn a_read_that_had_to_load_its_value_is_a_cold_hit() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("one.db").display());
    let mut first = Server::start(&url, &[]);
    assert!(is_ok(&first.call(&["SET", "sess:a", "{}", "EX", "600"])));
    assert!(first.stop().success());
    let (server, port) = start(&url, COLD);
    for _ in 0..3 {
        server.call(&["GET", "sess:a"]);
    }
    let page = get(port, "/metrics").expect("a page").body;
    let counts = ["keyspace_cold_hits", "cold_loads", "keyspace_hits"]
        .map(|name| (series(&page, &format!("sojourn_{name}_total")), server.info(name)));
    assert_eq!(counts, [(Some(1.0), 1), (Some(1.0), 1), (Some(3.0), 3)]);
}

#[test]
fn rows_that_have_ended_are_counted_up_to_a_limit_and_all_deleted() {
    let postgres = PostgresServer::start(&["fsync=off"]);
    let database = postgres.create_database();
    let (_server, port) = start(&postgres.url(&database), FLAGS);
    let rows = "insert into session select 'old' || n, '{}', now() at time zone 'UTC' - interval '1 hour'
                from generate_series(1, 12345) as n";
    postgres.sql(&database, rows);
    let found = statistics(port);
    assert_eq!((&found["expired"], &found["expired_may_be_more"]), (&10_000.into(), &true.into()));
    assert_eq!(clean_up(port), json!({ "deleted": 12345 }));
    assert_eq!(postgres.sql(&database, "select count(*) from session").trim(), "0");
}
