//! Large values: they are stored up to the limit, come back after a restart, and take a bounded part of memory on their way.

use std::path::Path;

use super::postgres::PostgresServer;
use super::server::{Server, is_error, is_ok, wait_until};
use super::support::process::{forget_peak, status_bytes};

/// Above what the allocator keeps for itself, so that the peak is that of the value and its copies.
const BYTES: usize = 40 << 20;
const LIMIT: &[&str] = &["--proto-max-bulk-len", "40mb", "--write-timeout", "30s", "--maxmemory", "0"];

/// The value in memory, what the driver makes of it, and its copy on the way, which is copied once more when it grows.
const POSTGRES_PEAK_MAX: f64 = 4.3;
/// The value in memory, that on its way; SQLite copies what is bound, and once more into the row.
const SQLITE_PEAK_MAX: f64 = 4.3;

/// What is left of that once it is stored: the value in memory.
const STORED_MAX: f64 = 1.3;

/// How many times its size a SET takes at its peak; after that, what was made for the way is given back.
fn set(server: &Server, key: &str, value: &str) -> f64 {
    let before = status_bytes(server.pid(), "VmRSS");
    forget_peak(server.pid());
    assert!(is_ok(&server.call(&["SET", key, value])), "{}", server.log());
    let taken = |name| (status_bytes(server.pid(), name) as f64 - before as f64) / value.len() as f64;
    let peak = taken("VmHWM");
    wait_until("the end of all copies", || taken("VmRSS") < STORED_MAX);
    peak
}

fn large_values_come_and_go(url: &str, peak_max: f64) {
    let json = format!(r#"{{"a":"{}"}}"#, "x".repeat(BYTES - 8));
    let plain = "y".repeat(BYTES);
    let values = [("sess:large", &json), ("large", &plain)];
    let mut server = Server::start(url, LIMIT);
    for (key, value) in values {
        let peak = set(&server, key, value);
        assert!(peak < peak_max, "{key}: {peak:.2} times its size");
        assert!(server.call(&["GET", key]).bytes() == Some(value.as_bytes()), "{key} comes back as it was");
    }
    assert!(server.stop().success(), "{}", server.log());
    let server = Server::start(url, LIMIT);
    for (key, value) in values {
        assert!(server.call(&["GET", key]).bytes() == Some(value.as_bytes()), "{key} is read from the database");
    }
    let refused = server.try_call(&["SET", "larger", &format!("{plain}z")]);
    assert!(refused.is_none_or(|reply| is_error(&reply, "ERR Protocol error: invalid bulk length")), "one byte more");
    assert_eq!(server.call(&["EXISTS", "larger"]).integer(), Some(0));
}

#[test]
fn a_value_of_the_largest_size_is_stored_in_postgresql_within_four_times_its_size_and_a_bit() {
    let postgres = PostgresServer::start(&[]);
    large_values_come_and_go(&postgres.url(&postgres.create_database()), POSTGRES_PEAK_MAX);
}

#[test]
fn a_value_of_the_largest_size_is_stored_in_sqlite_within_four_times_its_size_and_a_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let file: &Path = &folder.path().join("sojourn.db");
    large_values_come_and_go(&format!("sqlite://{}", file.display()), SQLITE_PEAK_MAX);
}
