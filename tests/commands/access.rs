//! Who is let in: passwords and the limit of connections, as Redis answers them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::support::redis::Redis;
use crate::support::resp::{Connection, Frame};
use crate::support::sojourn::Sojourn;

fn connect(address: SocketAddr) -> Connection {
    Connection::open(address).expect("a connection")
}

/// The replies of one server to these requests on a connection of their own.
fn replies(address: SocketAddr, requests: &[&[&str]]) -> Vec<Frame> {
    let mut connection = connect(address);
    requests.iter().map(|request| connection.call(request).expect("a reply")).collect()
}

#[test]
fn passwords_are_asked_for_as_redis_does() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let addresses = [redis.address(), sojourn.address()];
    let conversations: &[&[&[&str]]] = &[
        &[&["AUTH", "open sesame"], &["AUTH", "default", "any word"], &["AUTH", "nobody", "any word"]],
        &[&["CONFIG", "SET", "requirepass", "open sesame"], &["SET", "k", "still in"]],
        &[&["GET", "k"], &["PING"], &["ECHO", "a"], &["MULTI"], &["NOSUCH"], &["GET"], &["COMMAND", "COUNT", "x"]],
        &[&["AUTH", "open"], &["AUTH", "nobody", "open sesame"], &["AUTH", "a", "b", "c"], &["GET", "k"]],
        &[&["AUTH", "open sesame"], &["GET", "k"], &["AUTH", "wrong"], &["GET", "k"], &["RESET"], &["GET", "k"]],
        &[&["AUTH", "default", "open sesame"], &["GET", "k"]],
        &[&["HELLO", "3"], &["HELLO", "2", "AUTH", "default", "wrong"], &["GET", "k"]],
        &[&["QUIT"]],
        &[&["AUTH", "open sesame"], &["CONFIG", "SET", "requirepass", ""]],
        &[&["GET", "k"]],
    ];
    for requests in conversations {
        let [expected, actual] = addresses.map(|address| replies(address, requests));
        assert_eq!(expected, actual, "{requests:?}");
    }
}

/// A connection that is served; those that were there before may take a moment to be gone.
fn served(address: SocketAddr) -> Connection {
    let begun = Instant::now();
    loop {
        let mut connection = connect(address);
        if connection.call(&["PING"]).is_ok_and(|reply| reply == Frame::Line(b'+', b"PONG".to_vec())) {
            return connection;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody is served");
    }
}

#[test]
fn a_connection_beyond_maxclients_is_told_so_and_closed() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let [expected, actual] = [redis.address(), sojourn.address()].map(|address| {
        let mut first = connect(address);
        first.call(&["CONFIG", "SET", "maxclients", "2"]).expect("a reply");
        let second = served(address);
        let mut third = connect(address);
        let refusal = third.read().expect("a refusal");
        assert!(third.is_closed());
        drop(second);
        (refusal, first.call(&["PING"]).expect("the first is still served"))
    });
    assert_eq!(expected, actual);
}
