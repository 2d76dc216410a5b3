//! Hashes and sets survive kill -9 as strings do, whole transactions with them; a row that somebody has damaged costs its
//! own key only.

use super::postgres::PostgresServer;
use super::server::{Server, is_error};
use super::support::resp::{Connection, Frame};

fn items(frame: &Frame) -> Vec<String> {
    frame.items().iter().map(|item| String::from_utf8_lossy(item.bytes().unwrap_or(b"nil")).into_owned()).collect()
}

fn line(text: &str) -> Frame {
    Frame::Line(b'+', text.as_bytes().to_vec())
}

fn call(connection: &mut Connection, line: &str) -> Frame {
    let words: Vec<&str> = line.split(' ').collect();
    connection.call(&words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Writes a string, a hash and a set, by themselves and as one transaction.
fn write(server: &Server) {
    let mut connection = server.connect();
    for (words, reply) in [("HSET hash a 1 b 2", 2), ("SADD set x y z", 3), ("SREM set y", 1), ("EXPIRE hash 1000", 1)]
    {
        assert_eq!(call(&mut connection, words).integer(), Some(reply), "{words}");
    }
    for words in ["MULTI", "SET exec:string 1", "HSET exec:hash f v", "SADD exec:set m", "HINCRBY exec:hash n 7"] {
        assert!(matches!(call(&mut connection, words), Frame::Line(b'+', _)), "{words}");
    }
    assert_eq!(call(&mut connection, "EXEC").items().len(), 4);
}

/// Everything is there, its kinds before its values.
fn check(server: &Server) {
    let mut connection = server.connect();
    for (key, kind) in
        [("hash", "hash"), ("set", "set"), ("exec:string", "string"), ("exec:hash", "hash"), ("exec:set", "set")]
    {
        assert_eq!(call(&mut connection, &format!("TYPE {key}")), line(kind), "{key}");
    }
    let mut found = items(&call(&mut connection, "SCAN 0 COUNT 100 TYPE hash").items()[1]);
    found.sort_unstable();
    assert_eq!(found, ["exec:hash", "hash"]);
    assert_eq!(server.info("cold_loads"), 0, "neither needs a value");
    assert!(is_error(&call(&mut connection, "GET hash"), "WRONGTYPE"));
    assert!(is_error(&call(&mut connection, "SADD exec:hash m"), "WRONGTYPE"));
    assert_eq!(items(&call(&mut connection, "HGETALL hash")), ["a", "1", "b", "2"]);
    assert_eq!(items(&call(&mut connection, "SMEMBERS set")), ["x", "z"]);
    assert_eq!(items(&call(&mut connection, "HGETALL exec:hash")), ["f", "v", "n", "7"]);
    assert_eq!(items(&call(&mut connection, "SMEMBERS exec:set")), ["m"]);
    let left = call(&mut connection, "TTL hash").integer();
    assert!(left.is_some_and(|seconds| (900..=1_000).contains(&seconds)), "{left:?}");
}

#[test]
fn hashes_and_sets_survive_a_kill_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("sojourn.db").display());
    let server = Server::start(&url, &[]);
    write(&server);
    server.kill();
    check(&Server::start(&url, &[]));
}

#[test]
fn hashes_and_sets_survive_a_kill_on_postgresql_and_an_exec_is_one_transaction() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &[]);
    write(&server);
    server.kill();
    let transactions =
        "select count(distinct xmin::text) from sojourn_keys where convert_from(key, 'UTF8') like 'exec:%'";
    assert_eq!(postgres.sql(&database, transactions), "1");
    let kinds = "select string_agg(type, ',' order by key) from sojourn_keys";
    assert_eq!(postgres.sql(&database, kinds), "hash,set,string,hash,set");
    check(&Server::start(&postgres.url(&database), &[]));
}

#[test]
fn a_damaged_row_costs_its_own_key_only() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let mut server = Server::start(&postgres.url(&database), &[]);
    for words in ["SADD cut a b", "HSET odd a b", "SADD later a", "SADD good a", "HSET edited f v"] {
        assert!(call(&mut server.connect(), words).integer().is_some(), "{words}");
    }
    assert_eq!(server.stop().code(), Some(0));
    for damage in [
        "update sojourn_keys set value = substring(value for 6) where key = 'cut'",
        "update sojourn_keys set value = value || '\\x00' where key = 'odd'",
        "update sojourn_keys set type = 'zset' where key = 'later'",
        "update sojourn_keys set type = 'string', value = 'text' where key = 'edited'",
    ] {
        postgres.sql(&database, damage);
    }
    let server = Server::start(&postgres.url(&database), &[]);
    let mut connection = server.connect();
    for words in [
        "SMEMBERS cut",
        "SADD cut c",
        "GET cut",
        "HGET odd a",
        "HDEL odd a",
        "SCARD later",
        "GET later",
        "RENAME cut new",
        "GETDEL odd",
    ] {
        assert!(is_error(&call(&mut connection, words), "ERR the stored value is damaged"), "{words}");
    }
    assert_eq!(items(&call(&mut connection, "SMEMBERS good")), ["a"]);
    assert_eq!(call(&mut connection, "GET edited").bytes(), Some(&b"text"[..]));
    assert!(server.log().contains("a record of sojourn_keys cannot be read"), "{}", server.log());
    // It can be kept, given an end, replaced and deleted.
    assert_eq!(call(&mut connection, "EXPIRE cut 1000").integer(), Some(1));
    assert_eq!(call(&mut connection, "SET odd text"), line("OK"));
    assert_eq!(call(&mut connection, "DEL cut later").integer(), Some(2));
    assert_eq!(postgres.sql(&database, "select count(*) from sojourn_keys"), "3");
}
