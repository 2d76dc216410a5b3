//! The queue to the database where much waits: clients that have their share under way are slowed, not dropped, however much
//! they send, and when the database goes on, everything is answered in order.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use sojourn::database::write_through::QUEUE_UNITS_MANY;

use super::postgres::PostgresServer;
use super::server::{Server, free_port, is_ok, wait_until};
use super::support::proxy::Proxy;
use super::support::resp::encode;

/// Together they send sixty times what may be under way; each of them less than the 8192 replies that one connection may
/// have in flight, so that the share of each is met and not another limit.
const CLIENTS: usize = 30;
const COMMANDS: usize = 8_000;

/// What each may have under way where many units wait (`SHARE_WHEN_CROWDED`).
const SHARE: usize = 16;

/// The number of units that wait, as Prometheus is told it every second.
fn backlog(metrics_port: u16) -> usize {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, metrics_port)).expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let line = text.lines().find_map(|line| line.strip_prefix("sojourn_backlog_units "));
    line.expect("the backlog").trim().parse().expect("a number")
}

/// Counts a key up, all in one piece, and checks every number.
fn count_up(server: &Server, client: usize) {
    let mut connection = server.connect();
    connection.send(&encode(&["INCR", &format!("counter:{client}")]).repeat(COMMANDS)).expect("a server that reads on");
    for number in 1..=COMMANDS {
        let reply = connection.read().expect("nobody is dropped");
        assert_eq!(reply.integer(), i64::try_from(number).ok(), "client {client}: {reply:?}");
    }
}

#[test]
fn where_many_units_wait_clients_are_slowed_and_not_dropped() {
    let postgres = PostgresServer::start(&["fsync=off"]);
    let database = postgres.create_database();
    let proxy = Proxy::start(postgres.port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", proxy.port());
    let metrics_port = free_port();
    let metrics = format!("127.0.0.1:{metrics_port}");
    let server = Server::start(&url, &["--write-timeout", "60s", "--metrics-addr", &metrics]);
    assert!(is_ok(&server.call(&["SET", "before", "1"])));
    proxy.stall();
    let server = &server;
    let most = thread::scope(|scope| {
        // The batch under way, which may be counted with those that wait.
        let first = scope.spawn(|| server.call(&["SET", "first", "1"]));
        let executed =
            || String::from_utf8_lossy(server.call(&["INFO", "keyspace"]).bytes().expect("a text")).contains("keys=2,");
        wait_until("a first batch, which waits", executed);
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || count_up(server, client))).collect();
        wait_until("a crowded queue", || backlog(metrics_port) >= QUEUE_UNITS_MANY);
        // The number is a second old at most: it would grow on if somebody were not slowed.
        thread::sleep(Duration::from_secs(2));
        let most = backlog(metrics_port);
        assert_eq!(server.call(&["GET", "before"]).bytes(), Some(&b"1"[..]), "who only reads is served");
        proxy.pass();
        clients.into_iter().for_each(|client| client.join().expect("all replies, in order"));
        assert!(is_ok(&first.join().expect("a reply")));
        most
    });
    let most_allowed = QUEUE_UNITS_MANY + (CLIENTS + 2) * SHARE;
    println!("{most} units waited, of at most {most_allowed}; all were answered in order");
    assert!(most <= most_allowed, "{most} units waited");
    wait_until("an empty queue", || backlog(metrics_port) == 0);
    let sum = "select sum(convert_from(value, 'UTF8')::int8) from sojourn_keys where key like 'counter:%'";
    assert_eq!(postgres.sql(&database, sum), (CLIENTS * COMMANDS).to_string());
    assert!(is_ok(&server.call(&["SET", "after", "1"])), "{}", server.log());
}
