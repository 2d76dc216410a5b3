//! Values that are compressed in memory, as a client sees them: not at all.

use std::time::Duration;

use sojourn::clock::Clock;
use sojourn::keyspace::sweep::Sweep;
use sojourn::server::Options;

use super::rig::{Database, Server};
use super::support::resp::{Frame, encode};
use super::support::server::wait_until;

const SESSIONS: usize = 400;

fn session(number: usize) -> String {
    let (secret, path) = (number * 7_919 % 10_007, number % 13);
    format!(
        r#"{{"cookie":{{"originalMaxAge":86400000,"httpOnly":true,"path":"/"}},"csrfSecret":"{secret}","flash":{{}},"returnTo":"/page/{path}","passport":{{"user":{number}}}}}"#
    )
}

fn bulk(text: &str) -> Frame {
    Frame::Bulk(b'$', Some(text.as_bytes().to_vec()))
}

#[test]
fn compressed_values_are_read_and_changed_like_any_others() {
    let database = Database::sqlite();
    let options = Options { sweep: Some((Sweep::new(SESSIONS / 2), Duration::from_millis(10))), ..Options::default() };
    let server = Server::start_with(&database, &Clock::default(), options);
    let mut connection = server.connect();
    let sets: Vec<u8> = (0..SESSIONS)
        .flat_map(|number| encode(&["SET", &format!("sess:{number}"), &session(number), "EX", "3600"]))
        .collect();
    connection.send(&sets).expect("a server");
    (0..SESSIONS).for_each(|_| assert_eq!(connection.read().expect("a reply"), Frame::Line(b'+', b"OK".to_vec())));
    let before = connection.call(&["MEMORY", "USAGE", "sess:1"]).expect("a reply").integer().expect("bytes");
    let mut other = server.connect();
    wait_until("all to be compressed", || other.info("compressed_values") == SESSIONS as u64);
    assert!(other.info("compressed_bytes") * 2 < other.info("compressed_bytes_before"));
    assert_eq!(other.info("dictionaries_trained"), 1);
    let after = connection.call(&["MEMORY", "USAGE", "sess:1"]).expect("a reply").integer().expect("bytes");
    assert!(after < before * 2 / 3, "{after} of {before}");

    let integer = |number: usize| Frame::Line(b':', number.to_string().into_bytes());
    let longer = session(5) + "!";
    let script = "return redis.call('get', KEYS[1]) .. redis.call('strlen', KEYS[1])";
    let cases: &[(&[&str], Frame)] = &[
        (&["GET", "sess:2"], bulk(&session(2))),
        (&["GETRANGE", "sess:2", "0", "8"], bulk(&session(2)[..9])),
        (&["STRLEN", "sess:3"], integer(session(3).len())),
        (&["MGET", "sess:3", "sess:4"], Frame::Aggregate(b'*', Some(vec![bulk(&session(3)), bulk(&session(4))]))),
        (&["APPEND", "sess:5", "!"], integer(longer.len())),
        (&["GET", "sess:5"], bulk(&longer)),
        (&["EVAL", script, "1", "sess:6"], bulk(&format!("{}{}", session(6), session(6).len()))),
        (&["SET", "sess:7", "{}", "KEEPTTL", "GET"], bulk(&session(7))),
        (&["GETDEL", "sess:8"], bulk(&session(8))),
        (&["RENAME", "sess:9", "sess:other"], Frame::Line(b'+', b"OK".to_vec())),
        (&["GET", "sess:other"], bulk(&session(9))),
        (&["MULTI"], Frame::Line(b'+', b"OK".to_vec())),
        (&["GET", "sess:10"], Frame::Line(b'+', b"QUEUED".to_vec())),
        (&["EXEC"], Frame::Aggregate(b'*', Some(vec![bulk(&session(10))]))),
        (&["CONFIG", "SET", "compress-above", "0"], Frame::Line(b'+', b"OK".to_vec())),
        (&["GET", "sess:11"], bulk(&session(11))),
    ];
    for (words, expected) in cases {
        assert_eq!(connection.call(words).expect("a reply"), *expected, "{words:?}");
    }
    let stored = database.rows().into_iter().find(|(_, _, key, ..)| key == b"sess:12").expect("a row");
    assert_eq!(stored.4, session(12).into_bytes(), "the database has it as text");
}
