//! `durability = everysec`: answered at once, at most one second behind, and what an outage gathers is committed in order.

use std::time::{Duration, Instant};

use super::postgres::PostgresServer;
use super::psql::Psql;
use super::server::{Server, is_error, is_ok, wait_for, wait_until};
use super::support::resp::{Connection, Frame, encode};

const EVERYSEC: &[&str] = &["--durability", "everysec"];
/// How far acknowledged writes may be behind.
const BEHIND_MAX: Duration = Duration::from_secs(1);
/// Writes that a kill must have before it: enough for many batches.
const WRITES_MIN: usize = 2_000;
/// Writes of one round trip.
const TOGETHER: usize = 20;

fn numbers(reply: &Frame) -> Vec<Option<i64>> {
    reply.items().iter().map(Frame::integer).collect()
}

#[test]
fn a_write_is_answered_at_once_and_waitaof_when_it_is_committed() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), EVERYSEC);
    let psql = Psql::begin(&postgres, &database, "lock table session");
    let mut connection = server.connect();
    assert!(is_ok(&connection.call(&["SET", "sess:a", r#"{"n":1}"#]).expect("a reply")));
    assert_eq!(numbers(&connection.call(&["WAITAOF", "1", "0", "50"]).expect("a reply")), [Some(0), Some(0)]);
    assert_eq!(connection.call(&["WAIT", "0", "50"]).expect("a reply").integer(), Some(0));
    // In an EXEC nobody waits.
    connection
        .send(&[encode(&["MULTI"]), encode(&["WAITAOF", "1", "0", "0"]), encode(&["EXEC"])].concat())
        .expect("sent");
    let replies: Vec<Frame> = (0..3).map(|_| connection.read().expect("a reply")).collect();
    assert_eq!(numbers(&replies[2].items()[0]), [Some(0), Some(0)], "{replies:?}");
    assert_eq!(server.info("backlog"), 1);
    wait_until("the age of the backlog", || server.info("backlog_age_ms") >= 100);
    // Another connection has nothing to wait for, and the write is not in the way of other tables.
    assert_eq!(numbers(&server.call(&["WAITAOF", "1", "0", "0"])), [Some(1), Some(0)]);
    let mut other = server.connect();
    assert!(is_ok(&other.call(&["SET", "no-session", "1"]).expect("a reply")));
    assert_eq!(numbers(&other.call(&["WAITAOF", "1", "0", "0"]).expect("a reply")), [Some(1), Some(0)]);
    connection.send(&[encode(&["WAITAOF", "1", "0", "0"]), encode(&["PING"])].concat()).expect("sent");
    assert_eq!(server.call(&["GET", "sess:a"]).bytes(), Some(&br#"{"n":1}"#[..]), "nobody else is held up");
    psql.end();
    assert_eq!(numbers(&connection.read().expect("a reply")), [Some(1), Some(0)]);
    assert_eq!(postgres.sql(&database, "select sess from session where sid = 'a'"), r#"{"n":1}"#);
    assert!(matches!(connection.read().expect("a reply"), Frame::Line(b'+', _)));
    wait_until("an empty backlog", || server.info("backlog") == 0 && server.info("backlog_age_ms") == 0);
}

#[test]
fn what_comes_before_a_wait_is_answered_before_it_and_a_stop_ends_it() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let mut server = Server::start(&postgres.url(&database), EVERYSEC);
    let psql = Psql::begin(&postgres, &database, "lock table session");
    let mut connection = server.connect();
    connection
        .send(&[encode(&["SET", "sess:a", r#"{"n":1}"#]), encode(&["WAITAOF", "1", "0", "0"])].concat())
        .expect("sent");
    assert!(is_ok(&connection.read().expect("a reply, though the wait has no end")));
    server.signal("TERM");
    let stopped = connection.read().expect("a reply");
    assert!(is_error(&stopped, "MISCONF"), "{stopped:?}");
    psql.end();
    assert_eq!(server.wait_for_end().code(), Some(0), "{}", server.log());
    assert_eq!(postgres.sql(&database, "select sess from session where sid = 'a'"), r#"{"n":1}"#);
}

#[test]
fn with_held_replies_waitaof_says_once_that_a_write_before_it_failed() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &["--write-timeout", "500ms"]);
    let mut connection = server.connect();
    assert!(is_ok(&connection.call(&["SET", "sess:a", r#"{"n":1}"#]).expect("a reply")));
    let psql = Psql::begin(&postgres, &database, "select * from session for update");
    connection
        .send(&[encode(&["SET", "sess:a", r#"{"n":2}"#]), encode(&["WAITAOF", "1", "0", "0"])].concat())
        .expect("sent");
    for _ in 0..2 {
        let told = connection.read().expect("a reply");
        assert!(is_error(&told, "MISCONF"), "{told:?}");
    }
    psql.end();
    assert_eq!(numbers(&connection.call(&["WAITAOF", "1", "0", "0"]).expect("a reply")), [Some(1), Some(0)]);
}

/// Sends writes until told to stop; answers when each was acknowledged. A write that is refused ends the test.
fn write(connection: &mut Connection, from: usize, until: impl Fn(usize) -> bool) -> Vec<Instant> {
    let mut acked = Vec::new();
    while !until(acked.len()) {
        let first = from + acked.len();
        let words = |number: usize| ["SET".to_owned(), format!("sess:{number}"), format!(r#"{{"n":{number}}}"#)];
        let counter = encode(&["SET", "sess:counter", &format!(r#"{{"n":{first}}}"#)]);
        let sets = (first..first + TOGETHER).flat_map(|number| encode(&words(number)));
        connection.send(&counter.into_iter().chain(sets).collect::<Vec<u8>>()).expect("a server");
        for number in 0..=TOGETHER {
            let reply = connection.read().expect("a reply");
            assert!(is_ok(&reply), "{reply:?}");
            if number > 0 {
                acked.push(Instant::now());
            }
        }
    }
    acked
}

fn a_kill_costs_at_most_the_last_second(url: &str) {
    let server = Server::start(url, EVERYSEC);
    let begun = Instant::now();
    let enough = |count| count >= WRITES_MIN && begun.elapsed() > 2 * BEHIND_MAX;
    let acked = write(&mut server.connect(), 0, enough);
    let killed = Instant::now();
    server.kill();
    let server = Server::start(url, &[]);
    let mut connection = server.connect();
    let lost: Vec<usize> = (0..acked.len())
        .filter(|number| connection.call(&["EXISTS", &format!("sess:{number}")]).expect("a reply").integer() != Some(1))
        .collect();
    let behind = lost.first().map_or(Duration::ZERO, |first| killed.duration_since(acked[*first]));
    println!("a kill under everysec: {} acknowledged, {} lost, {behind:?} behind", acked.len(), lost.len());
    assert!(behind <= BEHIND_MAX, "{} of {} lost, {behind:?} behind", lost.len(), acked.len());
}

#[test]
fn a_kill_under_everysec_costs_at_most_the_last_second_on_postgresql() {
    let postgres = PostgresServer::start(&[]);
    a_kill_costs_at_most_the_last_second(&postgres.url(&postgres.create_database()));
}

#[test]
fn a_kill_under_everysec_costs_at_most_the_last_second_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    a_kill_costs_at_most_the_last_second(&format!("sqlite://{}", folder.path().join("sojourn.db").display()));
}

#[test]
fn what_an_outage_gathers_is_committed_in_order_afterwards() {
    let mut postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), EVERYSEC);
    let mut connection = server.connect();
    let before = write(&mut connection, 0, |count| count >= WRITES_MIN).len();
    assert_eq!(numbers(&connection.call(&["WAITAOF", "1", "0", "0"]).expect("a reply")), [Some(1), Some(0)]);
    postgres.kill_immediate();
    // The outage lasts for longer than any write waits for the database.
    let begun = Instant::now();
    let during = write(&mut connection, before, |count| {
        // Slow enough that the backlog does not reach its limit.
        std::thread::sleep(Duration::from_millis(2));
        count >= WRITES_MIN && begun.elapsed() > 2 * BEHIND_MAX
    })
    .len();
    assert!(server.info("backlog") >= during as u64, "{}", server.log());
    assert!(server.info("backlog_age_ms") >= 1_000);
    assert_eq!(server.info("outages"), 1);
    assert!(is_error(&server.call(&["SAVE"]), "ERR"));
    postgres.restart();
    assert_eq!(numbers(&connection.call(&["WAITAOF", "1", "0", "0"]).expect("a reply")), [Some(1), Some(0)]);
    let all = before + during;
    let right = "select count(*) from session where sid <> 'counter' and sid = sess ->> 'n'";
    assert_eq!(postgres.sql(&database, right), all.to_string());
    let counter = format!(r#"{{"n":{}}}"#, all - TOGETHER);
    assert_eq!(postgres.sql(&database, "select sess from session where sid = 'counter'"), counter);
    wait_for("an empty backlog", || (server.info("backlog") == 0).then_some(()));
}
