//! Two servers on one database: one owns it, the other waits and names it, and takes over when it is gone. Who lost the
//! database commits nothing any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::postgres::PostgresServer;
use super::server::{Server, is_error, is_ok, wait_until};
use super::support::resp::{Connection, encode};

/// The lease of ten seconds, a round of questions, and a busy machine.
const TAKEOVER_MAX: Duration = Duration::from_secs(20);

/// A second server waits for the first, and has its data when it is gone; `end` ends the first.
fn take_over(url: &str, end: impl FnOnce(Server)) {
    let first = Server::start(url, &[]);
    assert!(is_ok(&first.call(&["SET", "sess:a", r#"{"a":1}"#, "EX", "3600"])));
    let mut second = Server::spawn(url, &[]);
    second.wait_for_log("the database is owned by");
    let owner = format!("owned by {}:", std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name").trim());
    assert!(second.log().contains(&owner), "{}", second.log());
    assert!(is_error(&second.call(&["GET", "sess:a"]), "LOADING"));
    assert!(is_ok(&first.call(&["SET", "sess:b", "\u{1}not json"])));
    end(first);
    second.wait_until_ready();
    assert_eq!(second.call(&["GET", "sess:a"]).bytes(), Some(&br#"{"a":1}"#[..]));
    assert_eq!(second.call(&["GET", "sess:b"]).bytes(), Some(&b"\x01not json"[..]));
    assert_eq!(second.stop().code(), Some(0), "{}", second.log());
}

fn stop(mut server: Server) {
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
}

#[test]
fn a_second_server_waits_and_takes_over_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("sojourn.db").display());
    take_over(&url, stop);
    take_over(&url, Server::kill);
}

#[test]
fn a_second_server_waits_and_takes_over_on_postgresql() {
    let postgres = PostgresServer::start(&[]);
    take_over(&postgres.url(&postgres.create_database()), stop);
    take_over(&postgres.url(&postgres.create_database()), Server::kill);
}

/// Overwrites one key until the connection ends or an error comes; counts what was acknowledged.
fn overwrite(mut connection: Connection, acked: &AtomicU64) {
    let mut set = |version: u64| connection.call(&["SET", "sess:a", &format!(r#"{{"n":{version}}}"#)]);
    while set(acked.load(Ordering::Relaxed)).is_ok_and(|reply| is_ok(&reply)) {
        acked.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_stopped_owner_that_wakes_up_commits_nothing() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let url = postgres.url(&database);
    let mut first = Server::start(&url, &[]);
    let (connection, acked) = (first.connect(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&acked);
    let overwriting = thread::spawn(move || overwrite(connection, &counted));
    let mut late = first.connect();
    assert!(is_ok(&late.call(&["SET", "sess:b", r#"{"b":1}"#]).expect("a reply")));
    let mut second = Server::spawn(&url, &[]);
    second.wait_for_log("the database is owned by");
    wait_until("acknowledged writes", || acked.load(Ordering::Relaxed) > 10);

    first.pause();
    let stopped = Instant::now();
    // Received by the kernel, executed by nobody until the server wakes up.
    late.send(&encode(&["SET", "sess:b", r#"{"b":"stale"}"#])).expect("a socket");
    late.send(&encode(&["DEL", "sess:b"])).expect("a socket");
    second.wait_until_ready();
    assert!(stopped.elapsed() < TAKEOVER_MAX, "the takeover took {:?}", stopped.elapsed());
    assert!(is_ok(&second.call(&["SET", "sess:a", r#"{"a":"new"}"#])));
    assert!(is_ok(&second.call(&["SET", "sess:b", r#"{"b":"new"}"#])));
    assert!(is_ok(&second.call(&["SET", "sess:c", r#"{"c":"new"}"#])));

    first.signal("CONT");
    for _ in 0..2 {
        // An error, or no answer at all.
        let reply = late.read();
        assert!(reply.as_ref().map_or(true, |reply| is_error(reply, "")), "{reply:?}");
    }
    let ended = first.wait_for_end();
    assert_eq!(ended.code(), Some(1), "{}", first.log());
    assert!(first.log().contains("another server owns the database now"), "{}", first.log());
    overwriting.join().expect("a client without complaint");
    for (key, value) in [("a", r#"{"a":"new"}"#), ("b", r#"{"b":"new"}"#), ("c", r#"{"c":"new"}"#)] {
        assert_eq!(second.call(&["GET", &format!("sess:{key}")]).bytes(), Some(value.as_bytes()));
        assert_eq!(postgres.sql(&database, &format!("select sess from session where sid = '{key}'")), value);
    }
    wait_until("the second goes on", || is_ok(&second.call(&["SET", "sess:d", r#"{"d":1}"#])));
}

/// What a takeover does to the owner that it replaces, without ending its connection: only the epoch, which each batch
/// checks, keeps that one from writing.
#[test]
fn a_server_whose_epoch_is_over_commits_nothing() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let mut server = Server::start(&postgres.url(&database), &[]);
    let (connection, acked) = (server.connect(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&acked);
    let overwriting = thread::spawn(move || overwrite(connection, &counted));
    wait_until("acknowledged writes", || acked.load(Ordering::Relaxed) > 10);
    let takeover = r#"update sojourn_owner set epoch = epoch + 1, owner = 'another server';
        update session set sess = '{"a":"new"}' where sid = 'a'"#;
    postgres.sql(&database, takeover);
    let late = server.try_call(&["SET", "sess:late", r#"{"late":1}"#]);
    assert!(!late.as_ref().is_some_and(is_ok), "a write was acknowledged after the epoch was over");
    assert_eq!(server.wait_for_end().code(), Some(1), "{}", server.log());
    assert!(server.log().contains("another server owns the database now"), "{}", server.log());
    overwriting.join().expect("a client without complaint");
    assert_eq!(postgres.sql(&database, "select sid, sess from session"), r#"a|{"a":"new"}"#);
}
