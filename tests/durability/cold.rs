//! Keys that are not known yet and values that are in the database only: what is answered meanwhile, and what happens to them
//! there.

use std::ops::Range;

use super::postgres::PostgresServer;
use super::psql::Psql;
use super::server::{COLD, Server, is_error, is_ok, wait_until};
use super::support::proxy::Proxy;
use super::support::resp::{Connection, Frame, encode};

const SESSIONS: usize = 30_000;
/// Keys of `sojourn_keys`, which is read after the sessions.
const OTHERS: usize = 50;
const LOCK: &str = "lock table sojourn_keys in access exclusive mode";
const NIL: Frame = Frame::Bulk(b'$', None);

fn session(number: usize) -> String {
    format!("{{\"user\":{number}}}")
}

fn set_all(client: &mut Connection, name: &str, numbers: Range<usize>) {
    let set = |number| encode(&["SET", &format!("{name}:{number}"), &session(number), "EX", "3600"]);
    client.write_all(numbers.map(set));
}

/// A server that was killed with all these keys, and a psql that has locked one of its two tables since.
fn killed() -> (PostgresServer, String, Psql) {
    let postgres = PostgresServer::start(&["fsync=off"]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &[]);
    let mut client = server.connect();
    set_all(&mut client, "sess", 0..SESSIONS);
    set_all(&mut client, "cache", 0..OTHERS);
    server.kill();
    let psql = Psql::begin(&postgres, &database, LOCK);
    (postgres, database, psql)
}

/// Sends a command whose reply has to wait.
fn ask(server: &Server, words: &[&str]) -> Connection {
    let mut connection = server.connect();
    connection.send(&encode(words)).expect("a server");
    connection
}

fn assert_serves(server: &Server, numbers: impl Iterator<Item = usize>) {
    let mut client = server.connect();
    for number in numbers {
        let value = client.call(&["GET", &format!("sess:{number}")]).expect("a reply");
        assert_eq!(value.bytes(), Some(session(number).as_bytes()), "session {number}: {value:?}");
    }
}

#[test]
fn known_sessions_are_served_while_others_are_still_read_and_counts_wait() {
    let (postgres, database, psql) = killed();
    let server = Server::start_serving(&postgres.url(&database), &["--write-timeout", "60s"]);
    wait_until("the sessions to be known", || server.info("keys_known") == SESSIONS as u64);
    assert_serves(&server, (0..SESSIONS).step_by(101));
    let mut client = server.connect();
    assert_eq!(client.call(&["DEL", "sess:0"]).expect("a reply").integer(), Some(1));
    assert!(is_ok(&client.call(&["SET", "sess:1", &session(7), "EX", "3600"]).expect("a reply")));
    let mut size = ask(&server, &["DBSIZE"]);
    let mut scan = ask(&server, &["SCAN", "0", "COUNT", "1000000"]);
    let mut other = ask(&server, &["GET", "cache:1"]);
    let mut nobody = ask(&server, &["GET", "sess:nobody"]);
    // Those in memory: the question about the other key waits for its table, and cold values wait behind it.
    assert_serves(&server, [101, 202].into_iter());
    assert_eq!((server.info("all_keys_known"), server.info("loading")), (0, 0));
    psql.end();
    let all = SESSIONS + OTHERS - 1;
    assert_eq!(size.read().expect("a reply").integer(), i64::try_from(all).ok());
    let page = scan.read().expect("a reply");
    let mut keys: Vec<&[u8]> = page.items()[1].items().iter().filter_map(Frame::bytes).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((page.items()[0].bytes(), keys.len()), (Some(&b"0"[..]), all));
    assert_eq!(other.read().expect("a reply").bytes(), Some(session(1).as_bytes()));
    assert_eq!(nobody.read().expect("a reply"), NIL);
    assert_eq!(server.call(&["GET", "sess:0"]), NIL);
    assert_eq!(server.call(&["GET", "sess:1"]).bytes(), Some(session(7).as_bytes()));
    assert_eq!(server.info("all_keys_known"), 1);
}

#[test]
fn a_key_of_which_nobody_knows_whether_it_exists_is_an_error_and_never_nil() {
    let (postgres, database, psql) = killed();
    let server = Server::start_serving(&postgres.url(&database), &["--write-timeout", "500ms"]);
    wait_until("the sessions to be known", || server.info("keys_known") == SESSIONS as u64);
    assert_serves(&server, 0..3);
    for key in ["cache:1", "sess:nobody", "cache:nobody"] {
        let reply = server.call(&["GET", key]);
        assert!(is_error(&reply, "MISCONF"), "{key}: {reply:?}");
        assert_serves(&server, 0..3);
    }
    assert_eq!(server.info("all_keys_known"), 0);
    psql.end();
    wait_until("all keys to be known", || server.info("all_keys_known") == 1);
    assert_eq!(server.call(&["DBSIZE"]).integer(), i64::try_from(SESSIONS + OTHERS).ok());
    assert_eq!(server.call(&["GET", "cache:1"]).bytes(), Some(session(1).as_bytes()));
    assert_eq!((server.call(&["GET", "sess:nobody"]), server.call(&["GET", "cache:nobody"])), (NIL, NIL));
}

/// A server that knows these sessions and has none of their values in memory.
fn with_cold(sessions: usize, arguments: &[&str]) -> (PostgresServer, String, Proxy, Server) {
    let postgres = PostgresServer::start(&["fsync=off"]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &[]);
    set_all(&mut server.connect(), "sess", 0..sessions);
    server.kill();
    let proxy = Proxy::start(postgres.port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", proxy.port());
    let server = Server::start(&url, &[COLD, arguments].concat());
    assert_eq!(server.call(&["DBSIZE"]).integer(), i64::try_from(sessions).ok());
    (postgres, database, proxy, server)
}

#[test]
fn a_cold_value_while_the_database_is_away_is_an_error_for_its_key_only() {
    let (_postgres, _database, proxy, server) = with_cold(20, &["--write-timeout", "500ms"]);
    assert_serves(&server, 0..10);
    proxy.stall();
    // One connection, whose replies are in order: those of hot keys come between the errors.
    let mut client = server.connect();
    for number in 0..10 {
        let cold = client.call(&["GET", &format!("sess:{}", number + 10)]).expect("a reply");
        assert!(is_error(&cold, "MISCONF"), "{cold:?}");
        let hot = client.call(&["GET", &format!("sess:{number}")]).expect("a reply");
        assert_eq!(hot.bytes(), Some(session(number).as_bytes()));
        let end = client.call(&["TTL", &format!("sess:{}", number + 10)]).expect("a reply");
        assert!(end.integer() > Some(3_000), "its end is known: {end:?}");
    }
    proxy.pass();
    wait_until("the recovery", || !is_error(&server.call(&["GET", "sess:10"]), "MISCONF"));
    assert_serves(&server, 0..20);
}

#[test]
fn a_row_that_was_edited_by_hand_is_served_as_it_is() {
    let (postgres, database, _proxy, server) = with_cold(3, &[]);
    let edited = r#"{ "user" : 2,  "user":3, "name":"\u00e9" }"#;
    postgres.sql(&database, &format!("update session set sess = '{edited}' where sid = '0'"));
    postgres.sql(&database, "update session set sess = '[1, \"no object\"]' where sid = '1'");
    postgres.sql(&database, "delete from session where sid = '2'");
    assert_eq!(server.call(&["GET", "sess:0"]).bytes(), Some(edited.as_bytes()));
    assert_eq!(server.call(&["GET", "sess:1"]).bytes(), Some(&br#"[1, "no object"]"#[..]));
    assert_eq!((server.call(&["GET", "sess:2"]), server.call(&["DBSIZE"]).integer()), (NIL, Some(2)));
}
