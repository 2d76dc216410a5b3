//! Touches: what a crash may cost a session of its life, what a stop must not, and that rows deleted by SQL log out.

use std::ffi::OsString;
use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use sojourn::clock::Clock;
use sojourn::config::{self, Command};
use sojourn::server::{self, Options};
use tokio::sync::oneshot;

use super::load::Random;
use super::postgres::PostgresServer;
use super::server::{COLD, PATIENCE, Server, is_ok, wait_for, wait_until};
use super::support::resp::{Connection, Frame, encode};

const MINUTE_MS: i64 = 60_000;
const START_MS: i64 = 1_800_000_000_000;

/// Serves a SQLite file within this process, on a clock that the test moves; never stopped, like a server that is killed.
fn serve(file: &Path, clock: &Clock) -> SocketAddr {
    let url = format!("sqlite://{}", file.display());
    let arguments = ["sojourn", "--port", "0", "--metrics-addr", "off", "--database-url", &url].map(OsString::from);
    let Ok(Command::Serve(loaded)) = config::load(arguments, &[], |path| std::fs::read_to_string(path)) else {
        panic!("these are good settings");
    };
    let (listening, listens) = oneshot::channel();
    let options = Options { clock: clock.clone(), listening: Some(listening), ..Options::default() };
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(server::run(*loaded, options, pending())).expect("a service without end");
    });
    let address = listens.blocking_recv().expect("an address");
    wait_until("the server to be ready", || {
        Connection::open(address)
            .and_then(|mut connection| connection.call(&["PING"]))
            .is_ok_and(|reply| matches!(reply, Frame::Line(b'+', _)))
    });
    address
}

/// What a crash at this moment leaves: the files as they are.
fn crash(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let name = |path: &Path| format!("{}{end}", path.display());
        std::fs::copy(name(from), name(to)).expect("a copy");
    }
}

/// A session of 30 minutes that is touched at minute 29, and a crash with two minutes of downtime.
fn survives(touch: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let (before, after) = (folder.path().join("before.db"), folder.path().join("after.db"));
    let clock = Clock::manual(START_MS);
    let mut connection = Connection::open(serve(&before, &clock)).expect("a connection");
    let set = connection.call(&["SET", "sess:a", r#"{"user":1}"#, "EX", "1800"]).expect("a reply");
    assert!(is_ok(&set), "{set:?}");
    let set = connection.call(&["SET", "sess:untouched", r#"{"user":2}"#, "EX", "1800"]).expect("a reply");
    assert!(is_ok(&set), "{set:?}");
    clock.advance_ms(29 * MINUTE_MS);
    let touched = connection.call(touch).expect("a reply");
    assert!(is_ok(&touched) || touched.integer() == Some(1), "{touched:?}");
    crash(&before, &after);
    let mut connection =
        Connection::open(serve(&after, &Clock::manual(START_MS + 31 * MINUTE_MS))).expect("a connection");
    let value = connection.call(&["GET", "sess:a"]).expect("a reply");
    assert_eq!(value.bytes(), Some(&br#"{"user":1}"#[..]));
    assert_eq!(connection.call(&["GET", "sess:untouched"]).expect("a reply").bytes(), None);
    let end = connection.call(&["PEXPIRETIME", "sess:a"]).expect("a reply").integer();
    assert_eq!(end, Some(START_MS + 59 * MINUTE_MS));
}

#[test]
fn a_touch_survives() {
    survives(&["EXPIRE", "sess:a", "1800"]);
}

#[test]
fn a_touch_by_the_same_value_survives() {
    survives(&["SET", "sess:a", r#"{"user":1}"#, "EX", "1800"]);
}

/// Touches that lag are gathered; a stop writes them.
fn a_stop_writes_touches(url: &str) {
    let mut server = Server::start(url, &[]);
    let mut connection = server.connect();
    let mut ends = Vec::new();
    for number in 0..50 {
        let key = format!("sess:{number}");
        assert!(is_ok(&connection.call(&["SET", &key, r#"{"user":1}"#, "EX", "3600"]).expect("a reply")));
    }
    for number in 0..50 {
        let key = format!("sess:{number}");
        assert_eq!(connection.call(&["EXPIRE", &key, "3630"]).expect("a reply").integer(), Some(1));
        ends.push(connection.call(&["PEXPIRETIME", &key]).expect("a reply").integer());
    }
    let status = server.stop();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    let server = Server::start(url, &[]);
    let mut connection = server.connect();
    for (number, end) in ends.into_iter().enumerate() {
        let found = connection.call(&["PEXPIRETIME", &format!("sess:{number}")]).expect("a reply").integer();
        assert_eq!(found, end);
    }
}

#[test]
fn a_stop_writes_touches_to_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    a_stop_writes_touches(&format!("sqlite://{}", folder.path().join("sojourn.db").display()));
}

#[test]
fn a_stop_writes_touches_to_postgresql() {
    let postgres = PostgresServer::start(&[]);
    a_stop_writes_touches(&postgres.url(&postgres.create_database()));
}

#[test]
fn deleting_a_row_by_sql_logs_out() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let url = postgres.url(&database);
    let mut server = Server::start(&url, &["--touch-interval", "500ms"]);
    for key in ["sess:hot", "sess:cold", "sess:kept"] {
        assert!(is_ok(&server.call(&["SET", key, r#"{"user":1}"#, "EX", "3600"])));
    }
    postgres.sql(&database, "delete from session where sid = 'hot'");
    let begun = std::time::Instant::now();
    wait_for("the logout", || {
        assert!(begun.elapsed() < PATIENCE);
        let touched = server.call(&["EXPIRE", "sess:hot", "3600"]).integer();
        (touched == Some(0)).then_some(())
    });
    assert_eq!(server.call(&["GET", "sess:hot"]), Frame::Bulk(b'$', None));
    assert_eq!(
        postgres.sql(&database, "select count(*) from session where sid = 'hot'"),
        "0",
        "no touch resurrects it"
    );
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    let server = Server::start(&url, COLD);
    assert_eq!(server.call(&["DBSIZE"]).integer(), Some(2));
    postgres.sql(&database, "delete from session where sid = 'cold'");
    assert_eq!(server.call(&["GET", "sess:cold"]), Frame::Bulk(b'$', None));
    assert_eq!(server.call(&["GET", "sess:kept"]).bytes(), Some(&br#"{"user":1}"#[..]));
    assert_eq!(server.call(&["DBSIZE"]).integer(), Some(1));
}

/// Sessions that are made, touched and deleted while touches are being flushed: none may come back, none may be missing.
fn a_touch_resurrects_nothing(url: &str) {
    let mut random = Random(Random::seed());
    let server = Server::start(url, &["--touch-interval", "500ms"]);
    let mut connection = server.connect();
    let (mut kept, mut deleted) = (Vec::new(), Vec::new());
    wait_until("touches to be written", || {
        let first = kept.len() + deleted.len();
        let new: Vec<String> = (first..first + 10).map(|number| format!("sess:{number}")).collect();
        let set = new.iter().map(|key| encode(&["SET", key, r#"{"user":1}"#, "EX", "3600"]));
        assert!(pipelined(&mut connection, set).iter().all(is_ok));
        kept.extend(new);
        let touch = kept.iter().map(|key| encode(&["EXPIRE", key, "3600"]));
        assert!(pipelined(&mut connection, touch).iter().all(|reply| reply.integer() == Some(1)));
        // Every second session goes, old ones and new ones.
        let gone: Vec<String> = (0..5).map(|_| kept.swap_remove(random.below(kept.len() as u64) as usize)).collect();
        let delete = gone.iter().map(|key| encode(&["DEL", key]));
        assert!(pipelined(&mut connection, delete).iter().all(|reply| reply.integer() == Some(1)));
        deleted.extend(gone);
        // Several flushes, each in the middle of deletes.
        server.info("touch_rows_written") > 3_000
    });
    server.kill();
    let server = Server::start(url, &[]);
    let there = |keys: &[String]| -> Vec<bool> {
        let get = keys.iter().map(|key| encode(&["EXISTS", key]));
        pipelined(&mut server.connect(), get).iter().map(|reply| reply.integer() == Some(1)).collect()
    };
    let came_back = there(&deleted).iter().filter(|there| **there).count();
    assert_eq!(came_back, 0, "so many of {} deleted sessions came back", deleted.len());
    assert!(there(&kept).iter().all(|there| *there), "a session is missing that was touched");
}

/// Sends commands in one go; answers their replies.
fn pipelined(connection: &mut Connection, commands: impl Iterator<Item = Vec<u8>>) -> Vec<Frame> {
    let commands: Vec<_> = commands.collect();
    connection.send(&commands.concat()).expect("a server");
    commands.iter().map(|_| connection.read().expect("a reply")).collect()
}

#[test]
fn a_touch_resurrects_nothing_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    a_touch_resurrects_nothing(&format!("sqlite://{}", folder.path().join("sojourn.db").display()));
}

#[test]
fn a_touch_resurrects_nothing_on_postgresql() {
    let postgres = PostgresServer::start(&[]);
    a_touch_resurrects_nothing(&postgres.url(&postgres.create_database()));
}
