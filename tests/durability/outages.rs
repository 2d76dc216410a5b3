//! The database goes away and comes back: what was refused is not there, what was acknowledged is, reads from memory go
//! on, and the server recovers by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::postgres::PostgresServer;
use super::server::{Server, is_error, is_ok, wait_for, wait_until};
use super::support::resp::{Connection, Frame, encode};

/// Writers beside each other.
const CONNECTIONS: usize = 3;
/// A read from memory never waits for the database: far below the second that a write waits for it, far above what a busy machine takes.
pub(super) const HOT_READ_MAX: Duration = Duration::from_millis(700);
const WRITE_TIMEOUT: &[&str] = &["--write-timeout", "1s"];

/// What was answered to writes, each of a key of its own or of one that is written again and again.
#[derive(Default)]
pub(super) struct Answers {
    pub(super) acked: Vec<String>,
    pub(super) refused: Vec<String>,
    /// The version of the counter key that was acknowledged last, and the one that was sent last.
    counter: (u64, u64),
}

/// Writers that go on until they are told to stop.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    pub(super) acked: Arc<AtomicU64>,
    pub(super) refused: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Answers>>,
}

impl Load {
    pub(super) fn start(address: SocketAddr) -> Self {
        let (stop, acked, refused) = (Arc::new(AtomicBool::new(false)), Arc::default(), Arc::default());
        let thread = |name| {
            let (stop, acked, refused) = (Arc::clone(&stop), Arc::clone(&acked), Arc::clone(&refused));
            thread::spawn(move || write(name, address, &stop, &acked, &refused))
        };
        let threads = (0..CONNECTIONS).map(thread).collect();
        Self { stop, acked, refused, threads }
    }

    pub(super) fn wait_for_acked(&self, more: u64) {
        let goal = self.acked.load(Ordering::Relaxed) + more;
        wait_until("acknowledged writes", || self.acked.load(Ordering::Relaxed) >= goal);
    }

    pub(super) fn end(self) -> Vec<Answers> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a writer without complaint")).collect()
    }
}

/// Rounds of eight new sessions and one that is overwritten, pipelined.
fn write(name: usize, address: SocketAddr, stop: &AtomicBool, acked: &AtomicU64, refused: &AtomicU64) -> Answers {
    let mut connection = Connection::open(address).expect("a connection");
    let mut answers = Answers::default();
    while !stop.load(Ordering::Relaxed) {
        answers.counter.1 += 1;
        let version = answers.counter.1;
        let keys: Vec<String> = (0..8).map(|number| format!("sess:{name}-{version}-{number}")).collect();
        let mut bytes = encode(&["SET", &format!("sess:counter-{name}"), &format!(r#"{{"n":{version}}}"#)]);
        keys.iter().for_each(|key| bytes.extend(encode(&["SET", key, r#"{"user":1}"#, "EX", "3600"])));
        connection.send(&bytes).expect("a server that goes on");
        let reply = connection.read().expect("a reply");
        if is_ok(&reply) {
            answers.counter.0 = version;
        }
        for key in keys {
            match connection.read().expect("a reply") {
                reply if is_ok(&reply) => {
                    acked.fetch_add(1, Ordering::Relaxed);
                    answers.acked.push(key);
                }
                reply if is_error(&reply, "MISCONF") => {
                    refused.fetch_add(1, Ordering::Relaxed);
                    answers.refused.push(key);
                }
                reply => assert!(is_error(&reply, "UNCERTAIN"), "an unexpected reply: {reply:?}"),
            }
        }
        if !answers.refused.is_empty() {
            // An outage: no need to count refusals by the million.
            thread::sleep(Duration::from_millis(2));
        }
    }
    answers
}

/// Everything acknowledged is there, nothing refused is, and the counters were not set back.
pub(super) fn check(server: &Server, all: &[Answers]) {
    let mut connection = server.connect();
    for (name, answers) in all.iter().enumerate() {
        for (keys, there) in [(&answers.acked, true), (&answers.refused, false)] {
            for part in keys.chunks(500) {
                connection
                    .send(&part.iter().flat_map(|key| encode(&["GET", key])).collect::<Vec<u8>>())
                    .expect("a server");
                for key in part {
                    let value = connection.read().expect("a value");
                    assert!(matches!(value, Frame::Bulk(..)), "{value:?}: {}", server.log());
                    assert_eq!(value.bytes().is_some(), there, "{key}, acknowledged: {there}");
                }
            }
        }
        let counter = connection.call(&["GET", &format!("sess:counter-{name}")]).expect("a reply");
        let counter = String::from_utf8_lossy(counter.bytes().unwrap_or_default()).into_owned();
        let version: u64 = counter.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().unwrap_or_default();
        let (acked, sent) = answers.counter;
        assert!((acked..=sent).contains(&version), "counter {name}: {version}, acknowledged {acked}");
    }
}

/// The slowest of the reads from memory that are made until `until` says so.
pub(super) fn slowest_hot_read(server: &Server, mut until: impl FnMut() -> bool) -> Duration {
    let mut connection = server.connect();
    let mut slowest = Duration::ZERO;
    while !until() {
        let begun = Instant::now();
        let value = connection.call(&["GET", "sess:hot"]).expect("a reply");
        assert_eq!(value.bytes(), Some(&br#"{"hot":1}"#[..]), "{value:?}");
        slowest = slowest.max(begun.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    slowest
}

#[test]
fn a_crash_of_postgresql_refuses_writes_and_loses_none() {
    let mut postgres = PostgresServer::start(&[]);
    let url = postgres.url(&postgres.create_database());
    let server = Server::start(&url, WRITE_TIMEOUT);
    assert!(is_ok(&server.call(&["SET", "sess:hot", r#"{"hot":1}"#, "EX", "3600"])));
    let load = Load::start(server.address());
    load.wait_for_acked(500);
    postgres.kill_immediate();
    let goal = load.refused.load(Ordering::Relaxed) + 200;
    let slowest = slowest_hot_read(&server, || load.refused.load(Ordering::Relaxed) >= goal);
    assert!(slowest < HOT_READ_MAX, "a read from memory took {slowest:?}");
    assert!(matches!(server.call(&["EXPIRE", "sess:hot", "3601"]), Frame::Line(b':', _)), "a touch is taken");
    let begun = Instant::now();
    assert!(is_error(&server.call(&["DEL", "sess:hot"]), "MISCONF"));
    assert!(begun.elapsed() < HOT_READ_MAX, "a refusal took {:?}", begun.elapsed());
    postgres.restart();
    load.wait_for_acked(500);
    let all = load.end();
    check(&server, &all);
    server.kill();
    let server = Server::start(&url, &[]);
    check(&server, &all);
    let count = |of: fn(&Answers) -> usize| all.iter().map(of).sum::<usize>();
    println!(
        "PostgreSQL crashed under load: {} acked, {} refused, all as said",
        count(|answers| answers.acked.len()),
        count(|answers| answers.refused.len())
    );
}

#[test]
fn a_standby_that_takes_over_has_all_that_was_acknowledged() {
    let mut primary = PostgresServer::start(&[]);
    let database = primary.create_database();
    let standby = primary.standby();
    let is_synchronous = "select count(*) from pg_stat_replication where sync_state = 'sync'";
    wait_until("the standby", || primary.sql("postgres", is_synchronous) == "1");
    let url = primary.url_of_both(&standby, &database);
    let server = Server::start(&url, WRITE_TIMEOUT);
    assert!(is_ok(&server.call(&["SET", "sess:hot", r#"{"hot":1}"#, "EX", "3600"])));
    let load = Load::start(server.address());
    load.wait_for_acked(500);
    primary.kill_immediate();
    let goal = load.refused.load(Ordering::Relaxed) + 200;
    let slowest = slowest_hot_read(&server, || load.refused.load(Ordering::Relaxed) >= goal);
    assert!(slowest < HOT_READ_MAX, "a read from memory took {slowest:?}");
    standby.promote();
    load.wait_for_acked(500);
    let all = load.end();
    check(&server, &all);
    server.kill();
    check(&Server::start(&url, &[]), &all);
}

#[test]
fn a_late_commit_of_a_killed_connection_overwrites_nothing() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let url = postgres.url(&database);
    let server = Server::start(&url, WRITE_TIMEOUT);
    let load = Load::start(server.address());
    let writer = "select count(pg_terminate_backend(pid)) from pg_locks where locktype = 'advisory' and granted";
    for _ in 0..10 {
        load.wait_for_acked(200);
        assert_eq!(postgres.sql(&database, writer), "1", "one connection owns the database");
    }
    load.wait_for_acked(200);
    let all = load.end();
    check(&server, &all);
    server.kill();
    check(&Server::start(&url, &[]), &all);
}

#[test]
fn a_database_that_hangs_refuses_writes_within_their_time() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &["--write-timeout", "500ms"]);
    assert!(is_ok(&server.call(&["SET", "sess:hot", r#"{"hot":1}"#])));
    // Whoever holds the table stops every commit, while new connections succeed.
    let hold = "begin; lock table session in access exclusive mode; select pg_sleep(4); commit";
    let held = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted";
    let lock = thread::scope(|scope| {
        let holder = scope.spawn(|| postgres.sql(&database, hold));
        wait_until("the lock", || postgres.sql(&database, held) != "0");
        let begun = Instant::now();
        let reply = server.call(&["SET", "sess:other", r#"{"other":1}"#]);
        let took = begun.elapsed();
        assert!(is_error(&reply, "MISCONF") || is_error(&reply, "UNCERTAIN"), "{reply:?}: {}", server.log());
        assert!(took < Duration::from_secs(3), "the refusal took {took:?}: {}", server.log());
        assert_eq!(server.call(&["GET", "sess:hot"]).bytes(), Some(&br#"{"hot":1}"#[..]));
        holder.join()
    });
    lock.expect("the lock ends");
    wait_until("the recovery", || is_ok(&server.call(&["SET", "sess:later", r#"{"later":1}"#])));
}

#[test]
fn an_unreachable_database_is_waited_for() {
    let mut postgres = PostgresServer::start(&[]);
    let url = postgres.url(&postgres.create_database());
    {
        let mut server = Server::start(&url, &[]);
        assert!(is_ok(&server.call(&["SET", "sess:a", r#"{"a":1}"#])));
        assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    }
    postgres.kill_immediate();
    let mut server = Server::spawn(&url, &[]);
    let reply = wait_for("an answer", || server.try_call(&["GET", "sess:a"]));
    assert!(is_error(&reply, "LOADING"), "{reply:?}");
    server.wait_for_log("waiting for the database");
    postgres.restart();
    server.wait_until_ready();
    assert_eq!(server.call(&["GET", "sess:a"]).bytes(), Some(&br#"{"a":1}"#[..]));
    // Ending while the database is away needs no database.
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    postgres.kill_immediate();
    let mut server = Server::spawn(&url, &[]);
    server.wait_for_log("waiting for the database");
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
}
