//! What a server has in memory after a start: the values that were used last, as many as there is room for.

use super::server::{Server, wait_until};
use super::support::resp::encode;

const SESSIONS: usize = 4_000;
const STARTS_MAX: usize = 10;

fn key(number: usize) -> String {
    format!("sess:{number}")
}

fn session(number: usize) -> String {
    format!("{{\"user\":{number},\"padding\":\"{:500}\"}}", "")
}

fn warmed(server: &Server) -> u64 {
    server.wait_for_log("the values used last are in memory");
    assert_eq!(server.info("warming"), 0);
    server.info("warmed_values")
}

/// A start with room for some of them, and how many came. On a busy machine the allocator's holes may begin to count while they come,
/// and the room is less than it was when they were chosen: such a start says nothing about the choice.
fn start_with_little_room(url: &str) -> (Server, u64) {
    for _ in 0..STARTS_MAX {
        let mut server = Server::start(url, &["--maxmemory", "2mb"]);
        let some = warmed(&server);
        if server.info("memory_allocator") == 0 {
            return (server, some);
        }
        assert!(server.stop().success());
    }
    panic!("holes counted at each of {STARTS_MAX} starts");
}

#[test]
fn the_sessions_used_last_are_in_memory_after_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("sojourn.db").display());
    let mut server = Server::start(&url, &[]);
    let mut client = server.connect();
    let life = |number: usize| (3_600 + 10 * number).to_string();
    client.write_all((0..SESSIONS).map(|number| encode(&["SET", &key(number), &session(number), "EX", &life(number)])));
    assert!(server.stop().success());

    let (mut server, some) = start_with_little_room(&url);
    assert!((500..SESSIONS as u64).contains(&some), "{some}: {}", server.log());
    assert!(server.info("used_memory") <= 2 * 1024 * 1024 * 9 / 10);
    let mut client = server.connect();
    for number in SESSIONS - some as usize / 2..SESSIONS {
        let value = client.call(&["GET", &key(number)]).expect("a reply");
        assert_eq!(value.bytes(), Some(session(number).as_bytes()));
    }
    assert_eq!(client.info("cold_loads"), 0, "they ended last");
    let first = client.call(&["GET", &key(0)]).expect("a reply");
    assert_eq!((first.bytes(), client.info("cold_loads")), (Some(session(0).as_bytes()), 1));
    assert!(server.stop().success());

    let server = Server::start(&url, &["--maxmemory", "0"]);
    assert_eq!(warmed(&server), SESSIONS as u64);
    wait_until("all values", || server.info("cold_values") == 0);
}
