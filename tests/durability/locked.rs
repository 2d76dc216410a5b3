//! Somebody has locked rows in psql: only their sessions wait, and nobody else.

use std::thread;
use std::time::{Duration, Instant};

use super::postgres::PostgresServer;
use super::psql::Psql;
use super::server::{Server, is_error, is_ok, wait_until};
use super::support::resp::{Connection, encode};

/// Commits of others that go on while a row is locked: far more than a writer that waits for the lock would make.
const OTHERS: usize = 1_000;
const PATIENT: &[&str] = &["--write-timeout", "30s"];

fn session(value: usize) -> String {
    format!(r#"{{"n":{value}}}"#)
}

/// Writes one session after another on a connection of its own, each of them acknowledged; answers how long the slowest took.
fn write_others(server: &Server, count: usize) -> Duration {
    let mut connection = server.connect();
    let mut slowest = Duration::ZERO;
    for number in 0..count {
        let begun = Instant::now();
        let reply = connection.call(&["SET", &format!("sess:other-{number}"), &session(number), "EX", "3600"]);
        assert!(reply.as_ref().is_ok_and(is_ok), "{reply:?}");
        slowest = slowest.max(begun.elapsed());
    }
    slowest
}

/// Sends a command without waiting for its reply.
fn send(server: &Server, words: &[&str]) -> Connection {
    let mut connection = server.connect();
    connection.send(&encode(words)).expect("a server");
    connection
}

fn stored(postgres: &PostgresServer, database: &str, sid: &str) -> String {
    postgres.sql(database, &format!("select sess from session where sid = '{sid}'"))
}

fn is_parked(server: &Server, units: u64) -> bool {
    server.info("parked_units") == units
}

/// The writes of one session wait while `lock` holds, in order; those of others do not; and all are there afterwards.
fn only_it_waits(lock: &str, is_there: bool) {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), PATIENT);
    if is_there {
        assert!(is_ok(&server.call(&["SET", "sess:locked", &session(0)])));
    }
    let psql = Psql::begin(&postgres, &database, lock);
    let mut waiting = send(&server, &["SET", "sess:locked", &session(1)]);
    // An EXEC waits as a whole.
    waiting.send(&encode(&["MULTI"])).expect("a server");
    waiting.send(&encode(&["SET", "sess:locked", &session(2)])).expect("a server");
    waiting.send(&encode(&["SET", "sess:with-it", &session(2)])).expect("a server");
    waiting.send(&encode(&["EXEC"])).expect("a server");
    wait_until("the writes to be set aside", || is_parked(&server, 2));
    let begun = Instant::now();
    let slowest = write_others(&server, OTHERS);
    println!("{OTHERS} commits beside a locked row took {:?}, the slowest {slowest:?}", begun.elapsed());
    assert!(is_parked(&server, 2), "{}", server.log());
    assert_eq!(stored(&postgres, &database, "with-it"), "");
    psql.end();
    for number in 0..5 {
        let reply = waiting.read().expect("a reply");
        let last_ok = reply.items().len() == 2 && reply.items().iter().all(is_ok);
        let queued = reply == super::support::resp::Frame::Line(b'+', b"QUEUED".to_vec());
        assert!(is_ok(&reply) || queued || last_ok, "reply {number}: {reply:?}: {}", server.log());
    }
    assert_eq!(stored(&postgres, &database, "locked"), session(2));
    assert_eq!(stored(&postgres, &database, "with-it"), session(2));
    assert_eq!(postgres.sql(&database, "select count(*) from session where sid like 'other-%'"), OTHERS.to_string());
    assert!(!server.log().contains("is away"), "{}", server.log());
}

#[test]
fn a_row_that_somebody_has_locked_holds_up_its_own_session_only() {
    only_it_waits("select from session where sid = 'locked' for update", true);
}

#[test]
fn a_row_that_somebody_has_inserted_and_not_committed_holds_up_its_own_session_only() {
    only_it_waits("insert into session values ('locked', '{}', now())", false);
}

#[test]
fn after_its_time_the_write_of_a_locked_row_is_not_applied() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &["--write-timeout", "1s"]);
    assert!(is_ok(&server.call(&["SET", "sess:locked", &session(0)])));
    let psql = Psql::begin(&postgres, &database, "select from session for update");
    let begun = Instant::now();
    let mut writer = send(&server, &["SET", "sess:locked", &session(1)]);
    wait_until("the write to be set aside", || is_parked(&server, 1));
    let mut reader = send(&server, &["GET", "sess:locked"]);
    assert!(write_others(&server, 50) < Duration::from_secs(1));
    for connection in [&mut writer, &mut reader] {
        let reply = connection.read().expect("a reply");
        assert!(is_error(&reply, "MISCONF"), "{reply:?}");
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "the write waits for its whole time");
    assert_eq!(server.call(&["GET", "sess:locked"]).bytes(), Some(session(0).as_bytes()));
    psql.end();
    assert!(is_ok(&server.call(&["SET", "sess:locked", &session(2)])));
    assert_eq!(stored(&postgres, &database, "locked"), session(2));
}

/// A server with these settings and sessions, and a psql that has locked those whose name ends with `locked`.
fn with_locked(arguments: &[&str], sessions: &[&[&str]]) -> (PostgresServer, String, Server, Psql) {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), arguments);
    for [key, unit, life] in sessions.iter().map(|session| <[&str; 3]>::try_from(*session).expect("three words")) {
        assert!(is_ok(&server.call(&["SET", key, &session(0), unit, life])));
    }
    let psql = Psql::begin(&postgres, &database, "select from session where sid like '%locked' for update");
    (postgres, database, server, psql)
}

fn end(postgres: &PostgresServer, database: &str, sid: &str) -> String {
    postgres.sql(database, &format!("select expire from session where sid = '{sid}'"))
}

#[test]
fn touches_step_over_a_locked_row() {
    let sessions: [&[&str]; 2] = [&["sess:locked", "EX", "3600"], &["sess:free", "EX", "3600"]];
    let (postgres, database, server, psql) = with_locked(&["--touch-interval", "6s"], &sessions);
    let end = |sid| end(&postgres, &database, sid);
    let (before_locked, before_free) = (end("locked"), end("free"));
    for key in ["sess:locked", "sess:free"] {
        assert_eq!(server.call(&["PEXPIRE", key, "3600500"]).integer(), Some(1));
    }
    thread::scope(|scope| {
        let others = scope.spawn(|| write_others(&server, OTHERS));
        wait_until("the touch of the other row", || end("free") != before_free);
        others.join().expect("writes that go on");
    });
    assert_eq!(end("locked"), before_locked);
    psql.end();
    wait_until("the touch of the row", || end("locked") != before_locked);
}

#[test]
fn a_prune_steps_over_a_locked_row() {
    let sessions: [&[&str]; 2] = [&["sess:locked", "PX", "3000"], &["sess:free", "PX", "3000"]];
    let (postgres, database, _server, psql) = with_locked(&["--prune-interval", "100ms"], &sessions);
    let end = |sid| end(&postgres, &database, sid);
    wait_until("the prune of the other row", || end("free").is_empty());
    assert!(!end("locked").is_empty());
    psql.end();
    wait_until("the prune of the row", || end("locked").is_empty());
}
