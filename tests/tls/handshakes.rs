//! Which clients get in: by version, by certificate, and by their number.

use std::io::{Read, Write};

use rustls::version;

use super::server::{free_port, is_error, wait_for, wait_until};
use super::support::certificates::{Authority, text};
use super::support::redis::Redis;
use super::support::resp::{Frame, encode};
use super::support::tls::{Client, Secured};
use super::{at, flags, start, start_with};

/// Long enough to need several records of TLS, and more than the socket takes at once.
const VALUE_BYTES: usize = 400_000;

#[test]
fn both_versions_carry_large_values_and_pipelines() {
    let authority = Authority::new();
    let (_server, address) = start(&authority, "no");
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let mut connection = Client::speaking(&versions, &authority, None).connect(address).expect("a connection");
        let value: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(VALUE_BYTES).collect();
        assert!(is_ok(&mut connection, &[b"SET", b"large", &value]));
        assert_eq!(connection.call(&["GET", "large"]).expect("a reply").bytes(), Some(&value[..]));
        let pipeline: Vec<u8> = (0..1_000).flat_map(|_| encode(&["INCR", "count"])).collect();
        connection.send(&pipeline).expect("a pipeline");
        let counts: Vec<_> = (0..1_000).map(|_| connection.read().expect("a reply").integer()).collect();
        assert_eq!(counts, (1..=1_000).map(Some).collect::<Vec<_>>());
        connection.call(&["DEL", "count"]).expect("a reply");
    }
}

/// What the socket does not take waits inside TLS, and must still go when nothing more is asked.
#[test]
fn a_client_that_reads_late_gets_every_byte() {
    const GETS: usize = 60;
    let authority = Authority::new();
    let (server, address) = start(&authority, "no");
    let mut connection = Client::new(&authority).connect(address).expect("a connection");
    let value: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(VALUE_BYTES).collect();
    assert!(is_ok(&mut connection, &[b"SET", b"large", &value]));
    let before = server.info("total_net_output_bytes");
    connection.send(&encode(&["GET", "large"]).repeat(GETS)).expect("a pipeline");
    // The server has sent what it could: more than one reply and far from all.
    wait_until("a part of the replies", || server.info("total_net_output_bytes") - before > 2 * VALUE_BYTES as u64);
    for _ in 0..GETS {
        assert_eq!(connection.read().expect("a reply").bytes(), Some(&value[..]));
    }
}

#[test]
fn a_client_that_says_goodbye_gets_the_replies_to_what_it_sent() {
    let authority = Authority::new();
    let (_server, address) = start(&authority, "no");
    let mut connection = Client::new(&authority).connect(address).expect("a connection");
    connection.send(&encode(&["INCR", "count"]).repeat(3)).expect("a pipeline");
    let stream = connection.stream();
    stream.conn.send_close_notify();
    stream.flush().expect("a goodbye");
    let mut replies = String::new();
    stream.read_to_string(&mut replies).expect("the replies, and the server's own goodbye");
    assert_eq!(replies, ":1\r\n:2\r\n:3\r\n");
}

#[test]
fn tls_1_1_is_refused_and_tls_protocols_can_refuse_more() {
    let authority = Authority::new();
    let (server, address) = start(&authority, "no");
    let target = address.to_string();
    let speaks = |version| {
        let mut command = std::process::Command::new("openssl");
        command.args(["s_client", "-connect", &target, "-cipher", "ALL@SECLEVEL=0", version]);
        let output = command.stdin(std::process::Stdio::null()).output().expect("openssl is needed for this test");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (is_served, says) = speaks("-tls1_1");
    assert!(!is_served && says.contains(" alert "), "{says}");
    let (is_served, says) = speaks("-tls1_2");
    assert!(is_served, "{says}");

    let [older, newer] = [[&version::TLS12], [&version::TLS13]];
    for (protocols, takes_older, takes_newer) in
        [("TLSv1.3", false, true), ("tlsv1.2", true, false), ("TLSv1.2 TLSv1.3", true, true), ("", true, true)]
    {
        let set = server.call(&["CONFIG", "SET", "tls-protocols", protocols]);
        assert_eq!(set, Frame::Line(b'+', b"OK".to_vec()), "{protocols}");
        let takes = |versions| Client::speaking(versions, &authority, None).connect(address).is_ok();
        assert_eq!((takes(&older), takes(&newer)), (takes_older, takes_newer), "{protocols}");
    }
}

/// Each of no certificate, a good one and one of an authority that the server does not trust, under each setting.
#[test]
fn certificates_of_clients_are_asked_for_as_redis_asks() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (issued, good, foreign) = (authority.issue(), authority.issue(), stranger.issue());
    let authorities = authority.certificate();
    let clients =
        || [Client::new(&authority), Client::showing(&authority, &good), Client::showing(&authority, &foreign)];
    for (auth_clients, expected) in
        [("yes", [false, true, false]), ("optional", [true, true, false]), ("no", [true, true, true])]
    {
        let (_server, address) = start(&authority, auth_clients);
        assert_eq!(clients().map(|client| client.connect(address).is_ok()), expected, "{auth_clients}");
        let port = free_port();
        let number = port.to_string();
        let flags = flags(&number, &issued, &authorities, auth_clients);
        let _redis = Redis::start_in(&std::env::temp_dir(), &flags);
        assert_eq!(clients().map(|client| client.connect(at(port)).is_ok()), expected, "redis-server: {auth_clients}");
    }
}

#[test]
fn who_shakes_hands_counts_as_a_client() {
    let authority = Authority::new();
    let (server, address) = start_with(&authority, "no", &["--maxclients", "3"]);
    // One connection asks all along: one that comes and goes may take a place before its forerunner has left.
    let mut asking = server.connect();
    wait_until("those that asked before to leave", || asking.info("connected_clients") == 1);
    let waiting = [(); 2].map(|()| std::net::TcpStream::connect(address).expect("a connection"));
    wait_until("two that wait and the one that asks", || asking.info("connected_clients") == 3);
    drop(asking);
    let client = Client::new(&authority);
    let mut third = wait_for("the place of the one that asked", || client.connect(address).ok());
    assert!(client.connect(address).is_err());
    assert!(is_error(&server.call(&["PING"]), "ERR max number of clients reached"));
    assert!(is_ok(&mut third, &[b"SET", b"sess:a", b"{}"]));
    drop(waiting);
    wait_until("room again", || client.connect(address).is_ok());
}

#[test]
fn redis_cli_connects_with_and_without_a_certificate() {
    let authority = Authority::new();
    let (_server, address) = start(&authority, "yes");
    let (port, authorities, client) = (address.port().to_string(), authority.certificate(), authority.issue());
    let cli = |further: &[&str]| {
        let mut command = std::process::Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &port, "--tls", "--cacert", text(&authorities)]).args(further);
        let output = command.arg("PING").output().expect("redis-cli is needed for this test");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(cli(&["--cert", text(&client.certificate), "--key", text(&client.key)]), "PONG\n");
    assert_eq!(cli(&[]), "", "under yes, no certificate is no entry");
}

fn is_ok(connection: &mut Secured, words: &[&[u8]]) -> bool {
    matches!(connection.call(words), Ok(Frame::Line(b'+', text)) if text == b"OK")
}
