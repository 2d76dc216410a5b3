//! Subscribers learn of a write when PostgreSQL has it, and not before.

use super::postgres::PostgresServer;
use super::psql::Psql;
use super::server::{Server, is_ok, wait_until};
use super::support::resp::{Connection, Frame};

fn text(frame: &Frame) -> String {
    let words = frame.items().iter().map(|word| String::from_utf8_lossy(word.bytes().unwrap_or_default()).into_owned());
    words.collect::<Vec<_>>().join(" ")
}

fn next(listener: &mut Connection) -> String {
    text(&listener.read().expect("a message"))
}

/// Nothing has come so far: the next message is the one that this publishes.
fn assert_quiet(server: &Server, listener: &mut Connection) {
    assert_eq!(server.call(&["PUBLISH", "fence", "x"]).integer(), Some(1));
    assert_eq!(next(listener), "message fence x");
}

#[test]
fn an_event_waits_for_the_commit_and_a_failed_write_causes_none() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &["--write-timeout", "6s", "--notify-keyspace-events", "EA"]);
    let mut listener = server.connect();
    let channels = ["SUBSCRIBE", "fence", "in-exec", "__keyevent@0__:set", "__keyevent@0__:del"];
    listener.call(&channels).expect("a reply");
    (2..channels.len()).for_each(|_| assert!(next(&mut listener).starts_with("subscribe ")));
    assert!(is_ok(&server.call(&["SET", "sess:a", "{}"])));
    assert_eq!(next(&mut listener), "message __keyevent@0__:set sess:a");

    // Somebody has locked the row in psql.
    let psql = Psql::begin(&postgres, &database, "select * from session where sid = 'a' for update");
    let mut waiting = server.connect();
    for words in [&["MULTI"][..], &["SET", "sess:a", "{\"n\":1}"], &["PUBLISH", "in-exec", "x"]] {
        waiting.call(words).expect("a reply");
    }
    waiting.send(&super::support::resp::encode(&["EXEC"])).expect("a server");
    wait_until("the write to be set aside", || server.info("parked_units") == 1);
    assert_quiet(&server, &mut listener);
    assert!(is_ok(&server.call(&["SET", "sess:other", "{}"])));
    assert_eq!(next(&mut listener), "message __keyevent@0__:set sess:other", "others go on");
    psql.end();
    assert_eq!(waiting.read().expect("a reply").items().len(), 2);
    assert_eq!(next(&mut listener), "message __keyevent@0__:set sess:a");
    assert_eq!(next(&mut listener), "message in-exec x");

    // This time the lock stays until the write has failed.
    let psql = Psql::begin(&postgres, &database, "select * from session where sid = 'a' for update");
    let refused = server.call(&["DEL", "sess:a"]);
    assert!(matches!(&refused, Frame::Line(b'-', _)), "{refused:?}");
    psql.end();
    assert_quiet(&server, &mut listener);
    assert_eq!(server.call(&["DEL", "sess:a"]).integer(), Some(1));
    assert_eq!(next(&mut listener), "message __keyevent@0__:del sess:a");
}
