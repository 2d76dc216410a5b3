//! The database's disk is full: writes are refused and not applied, reads from memory go on, and when there is space
//! again, everything goes on by itself. PostgreSQL gives up altogether when its log has no space; so must it be survived.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::outages::{Answers, HOT_READ_MAX, Load, check, slowest_hot_read};
use super::postgres::PostgresServer;
use super::server::{PATIENCE, Server, is_error, is_ok, wait_until};
use super::support::disk::SmallDisk;
use super::support::resp::Frame;

/// What is acknowledged before, and refused while the disk is full.
const ACKED: u64 = 500;
const REFUSED: u64 = 200;
/// The log is kept so small that it needs new space soon.
const SMALL_LOG: &[&str] = &["min_wal_size=2MB", "max_wal_size=4MB", "wal_recycle=off", "wal_init_zero=on"];

/// Writes before, while and after the disk is full; answers what was answered.
fn write_through(server: &Server, disk: &SmallDisk, revive: impl FnOnce()) -> Vec<Answers> {
    assert!(is_ok(&server.call(&["SET", "sess:hot", r#"{"hot":1}"#, "EX", "3600"])));
    let load = Load::start(server.address());
    load.wait_for_acked(ACKED);
    assert_eq!(load.refused.load(Ordering::Relaxed), 0, "{}", server.log());
    let begun = Instant::now();
    let slowest = slowest_hot_read(server, || {
        assert!(begun.elapsed() < PATIENCE, "nothing is refused: {}", server.log());
        // Again and again: a database that needs less of its log than before gives space back.
        disk.fill();
        load.refused.load(Ordering::Relaxed) >= REFUSED
    });
    assert!(slowest < HOT_READ_MAX, "a read from memory took {slowest:?}");
    wait_until("a refusal", || is_error(&server.call(&["SET", "sess:refused", r#"{"user":1}"#]), "MISCONF"));
    assert!(matches!(server.call(&["EXPIRE", "sess:hot", "3601"]), Frame::Line(b':', _)), "a touch is taken");
    disk.free();
    revive();
    load.wait_for_acked(ACKED);
    load.end()
}

fn assert_nothing_is_lost(server: Server, url: &str, all: &[Answers]) {
    check(&server, all);
    server.kill();
    check(&Server::start(url, &[]), all);
    let count = |of: fn(&Answers) -> usize| all.iter().map(of).sum::<usize>();
    let (acked, refused) = (count(|answers| answers.acked.len()), count(|answers| answers.refused.len()));
    println!("the disk was full under load: {acked} acked, {refused} refused, all as said");
}

fn fill(disk: &SmallDisk, mut postgres: PostgresServer) -> String {
    let url = postgres.url(&postgres.create_database());
    let server = Server::start(&url, &["--write-timeout", "1s"]);
    let all = write_through(&server, disk, || {
        // Without space for its log it ends, and its operator starts it again.
        if !postgres.is_running() {
            postgres.restart();
        }
    });
    assert_nothing_is_lost(server, &url, &all);
    postgres.log()
}

#[test]
fn a_full_disk_of_postgresql_refuses_writes_and_loses_none() {
    let disk = SmallDisk::mount(100);
    let log = fill(&disk, PostgresServer::start_on(disk.path(), SMALL_LOG));
    assert!(log.contains("No space left on device"), "the disk was full: {log}");
}

#[test]
fn a_full_disk_of_the_log_of_postgresql_refuses_writes_and_loses_none() {
    let disk = SmallDisk::mount(16);
    let log = fill(&disk, PostgresServer::start_with_log_on(disk.path(), SMALL_LOG));
    assert!(log.contains("PANIC"), "its log had no space: {log}");
}

#[test]
fn a_full_disk_of_sqlite_refuses_writes_and_loses_none() {
    let disk = SmallDisk::mount(16);
    let url = format!("sqlite://{}", disk.path().join("sojourn.db").display());
    let server = Server::start(&url, &["--write-timeout", "1s"]);
    let all = write_through(&server, &disk, || ());
    assert_nothing_is_lost(server, &url, &all);
}
