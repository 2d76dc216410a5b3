//! The limits at their edges: one less is served, one more is not.

use std::time::{Duration, Instant};

use crate::support::process::{self, Server};
use crate::support::redis::Redis;
use crate::support::resp::{Connection, Frame, encode};
use crate::support::server::wait_until;
use crate::support::sojourn::Sojourn;

fn connect(sojourn: &Sojourn) -> Connection {
    Connection::open(sojourn.address()).expect("a connection")
}

fn line(kind: u8, text: &str) -> Frame {
    Frame::Line(kind, text.as_bytes().to_vec())
}

fn pong() -> Frame {
    line(b'+', "PONG")
}

#[test]
fn one_address_has_so_many_connections_and_gets_them_back() {
    let sojourn = Sojourn::start("memory://", &["--maxclients-per-address", "2"]);
    let refusal = line(b'-', "ERR max number of clients of this address reached");
    // The first connection of the start may still be on its way out.
    let mut connections = Vec::new();
    wait_until("two connections", || {
        connections
            .retain_mut(|connection: &mut Connection| connection.call(&["PING"]).is_ok_and(|reply| reply == pong()));
        connections.push(connect(&sojourn));
        connections.len() > 2
    });
    let mut third = connections.pop().expect("three");
    assert_eq!(third.read().expect("a refusal"), refusal);
    assert!(third.is_closed());
    assert_eq!(
        connections[0].call(&["CONFIG", "SET", "maxclients-per-address", "3"]).expect("a reply"),
        line(b'+', "OK")
    );
    let mut third = connect(&sojourn);
    assert_eq!(third.call(&["PING"]).expect("a reply"), pong());
    drop(third);
    drop(connections.pop());
    wait_until("a seat is free again", || connect(&sojourn).call(&["PING"]).is_ok_and(|reply| reply == pong()));
}

#[test]
fn an_idle_client_is_closed_at_its_timeout_and_not_before() {
    let sojourn = Sojourn::start("memory://", &["--timeout", "2"]);
    let (mut idle, mut busy) = (connect(&sojourn), connect(&sojourn));
    assert_eq!(idle.call(&["PING"]).expect("a reply"), pong());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1_500) {
        assert_eq!(busy.call(&["PING"]).expect("a reply"), pong());
        std::thread::sleep(Duration::from_millis(100));
    }
    // Every request starts the time anew.
    assert_eq!(idle.call(&["PING"]).expect("not closed before its time"), pong());
    let begun = Instant::now();
    assert!(idle.is_closed());
    let lasted = begun.elapsed();
    assert!(lasted > Duration::from_millis(1_800) && lasted < Duration::from_secs(3), "{lasted:?}");
}

#[test]
fn a_client_has_until_auth_timeout_to_say_its_password() {
    let settings = ["--requirepass", "secret", "--auth-timeout", "1s", "--timeout", "0"];
    let sojourn = Sojourn::start("memory://", &settings);
    let (mut known, mut stranger) = (connect(&sojourn), connect(&sojourn));
    assert_eq!(known.call(&["AUTH", "secret"]).expect("a reply"), line(b'+', "OK"));
    // What it sends does not lengthen its time.
    let (begun, mut refused) = (Instant::now(), 0);
    while stranger.call(&["PING"]).is_ok_and(|reply| reply == line(b'-', "NOAUTH Authentication required.")) {
        refused += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let lasted = begun.elapsed();
    assert!(refused > 5 && lasted > Duration::from_millis(900), "{refused} in {lasted:?}");
    assert_eq!(known.call(&["PING"]).expect("who said it stays"), pong());
    // Whoever must say it anew has as much time as at the first.
    assert_eq!(known.call(&["RESET"]).expect("a reply"), line(b'+', "RESET"));
    assert_eq!(known.call(&["AUTH", "secret"]).expect("a reply"), line(b'+', "OK"));
    assert_eq!(known.call(&["PING"]).expect("a reply"), pong());
}

#[test]
fn the_limit_of_open_files_is_raised_to_what_maxclients_needs() {
    let server = Server::start("sojourn", |port| {
        let mut command = process::dying_with_us("prlimit");
        command.arg("--nofile=500:").arg(process::sojourn().get_program());
        command.args(process::sojourn().get_args()).args(["--port", &port.to_string(), "--maxclients", "900"]);
        command.args(["--database-url", "memory://", "--metrics-addr", "off", "--log-level", "warn"]);
        command
    });
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("the kernel says");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit of files");
    assert_eq!(line.split_whitespace().next(), Some("964"), "{line}");
}

#[test]
fn a_silent_peer_is_probed() {
    let sojourn = Sojourn::start("memory://", &["--tcp-keepalive", "77"]);
    let _connection = connect(&sojourn);
    // Of each socket: its number, both addresses, its state (01 for open), its queues, and its timer (02 for keep-alive) with
    // the hundredths of a second that are left.
    let here = format!(":{:04X}", sojourn.address().port());
    let probed_after = || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the kernel says");
        sockets.lines().find_map(|socket| {
            let fields: Vec<&str> = socket.split_whitespace().collect();
            let left = fields.get(5)?.strip_prefix("02:")?;
            (fields[1].ends_with(&here) && fields[3] == "01").then(|| u32::from_str_radix(left, 16).ok())?
        })
    };
    wait_until("the socket is set up", || probed_after().is_some());
    let hundredths = probed_after().expect("a timer");
    assert!((7_000..=7_800).contains(&hundredths), "{hundredths}");
}

#[test]
fn a_client_is_closed_for_what_it_leaves_unread() {
    let sojourn = Sojourn::start("memory://", &["--client-output-buffer-limit", "normal 100kb 0 0"]);
    let mut connection = connect(&sojourn);
    let ok = line(b'+', "OK");
    assert_eq!(connection.call(&[&b"SET"[..], b"k", &vec![b'x'; 100_000]]).expect("a reply"), ok);
    assert_eq!(connection.call(&["GET", "k"]).expect("below the limit").bytes().map(<[u8]>::len), Some(100_000));
    assert_eq!(connection.call(&[&b"SET"[..], b"k", &vec![b'x'; 103_000]]).expect("a reply"), ok);
    connection.send(&encode(&["GET", "k"])).expect("sent");
    assert!(connection.read().is_err(), "closed");
    let mut other = connect(&sojourn);
    assert_eq!(other.info("client_output_buffer_limit_disconnections"), 1);
}

#[test]
fn a_client_above_the_soft_limit_has_its_seconds() {
    let sojourn = Sojourn::start("memory://", &["--client-output-buffer-limit", "normal 0 100kb 1"]);
    let mut connection = connect(&sojourn);
    connection.call(&[&b"SET"[..], b"k", &vec![b'x'; 1 << 20]]).expect("a reply");
    // Far more than the sockets between us take.
    connection.send(&encode(&["GET", "k"]).repeat(64)).expect("sent");
    let begun = Instant::now();
    let mut other = connect(&sojourn);
    let closed = |connection: &mut Connection| connection.info("client_output_buffer_limit_disconnections") == 1;
    assert!(!closed(&mut other));
    wait_until("the client is closed", || closed(&mut other));
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[test]
fn so_many_keys_are_watched_and_not_one_more() {
    let sojourn = Sojourn::in_memory();
    let mut connection = connect(&sojourn);
    let keys = |count: usize| (0..count).map(|number| format!("watched:{number}")).collect::<Vec<_>>();
    let watch = |keys: &[String]| encode(&[&["WATCH".to_owned()], keys].concat());
    let refusal = line(b'-', "ERR a client watches fewer than 65536 keys");
    for (count, expected) in [(65_536, &refusal), (65_535, &line(b'+', "OK")), (1, &refusal)] {
        connection.send(&watch(&keys(count))).expect("sent");
        assert_eq!(connection.read().expect("a reply"), *expected, "{count} keys");
    }
    // What was refused took nothing from what is watched.
    assert_eq!(connection.call(&["SET", "watched:65534", "1"]).expect("a reply"), line(b'+', "OK"));
    assert_eq!(connection.call(&["MULTI"]).expect("a reply"), line(b'+', "OK"));
    assert_eq!(connection.call(&["EXEC"]).expect("a reply"), Frame::Aggregate(b'*', None));
}

#[test]
fn a_name_has_so_many_bytes_and_not_one_more() {
    let sojourn = Sojourn::in_memory();
    let mut connection = connect(&sojourn);
    let name = "n".repeat(1_024);
    assert_eq!(connection.call(&["CLIENT", "SETNAME", &name]).expect("a reply"), line(b'+', "OK"));
    let longer = connection.call(&["CLIENT", "SETNAME", &format!("{name}n")]).expect("a reply");
    assert!(matches!(longer, Frame::Line(b'-', _)), "{longer:?}");
    assert_eq!(connection.call(&["CLIENT", "GETNAME"]).expect("a reply").bytes(), Some(name.as_bytes()));
}

#[test]
fn buffer_limits_are_configured_as_in_redis() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    for words in [
        &["CONFIG", "GET", "client-*-buffer-limit"][..],
        &["CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 512kb 60 replica 1gb 1mb 4"],
        &["CONFIG", "GET", "client-output-buffer-limit"],
        &["CONFIG", "SET", "client-output-buffer-limit", "normal 1 2"],
        &["CONFIG", "SET", "client-output-buffer-limit", "nobody 1 2 3"],
        &["CONFIG", "SET", "client-output-buffer-limit", "normal one 2 3"],
        &["CONFIG", "SET", "client-query-buffer-limit", "1mb"],
        &["CONFIG", "SET", "client-query-buffer-limit", "1000"],
        &["CONFIG", "GET", "client-query-buffer-limit"],
    ] {
        let [mut expected, mut actual] = [redis.address(), sojourn.address()].map(|address| {
            Connection::open(address).and_then(|mut connection| connection.call(words)).expect("a reply")
        });
        for reply in [&mut expected, &mut actual] {
            if let Frame::Aggregate(_, Some(items)) = reply {
                items.sort();
            }
        }
        assert_eq!(expected, actual, "{words:?}");
    }
}
