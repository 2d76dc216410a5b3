//! Attacks on the port that speaks TLS. The neighbour is on the other one, which the same threads serve.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::connections::hold_at;
use crate::rig::{
    Aftermath, Attack, Subject, connections_at_most, count_open, duration, is_full, over_and_over, so_many,
};
use crate::support::certificates::Authority;
use crate::support::resp::encode;
use crate::support::server::{free_port, wait_until};
use crate::support::tls::{Client, flags};
use crate::verdict::Figures;

/// Sojourn's limit of a handshake, and what a busy machine may add to it.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(12);

/// What an idle connection of Sojourn may cost; a debug build's costs more.
const IDLE_BYTES_MAX: u64 = 64 * 1024;

/// Both servers serve more: here 1 300 and 1 000 handshakes, 3 700 and 2 200 hellos, 7 200 and 10 200 times garbage.
const HANDSHAKES_PER_SECOND: u32 = 700;
const HELLOS_PER_SECOND: u32 = 1_500;
const GARBAGE_PER_SECOND: u32 = 5_000;

/// Where the attack goes, and with what.
struct Target<'a> {
    subject: &'a Subject,
    address: SocketAddr,
    client: &'a Client,
}

fn carry_out(test: &'static str, what: String, run: impl Fn(&Target<'_>) -> Aftermath) -> (Figures, Figures) {
    carry_out_on_port(test, what, false, run)
}

/// The same of an attack that does the same all the time.
fn repeat(test: &'static str, what: String, run: impl Fn(&Target<'_>) -> Aftermath) {
    carry_out_on_port(test, what, true, run);
}

fn carry_out_on_port(
    test: &'static str,
    what: String,
    repeats: bool,
    run: impl Fn(&Target<'_>) -> Aftermath,
) -> (Figures, Figures) {
    let authority = Authority::new();
    let (issued, port) = (authority.issue(), free_port());
    let (number, authorities) = (port.to_string(), authority.certificate());
    let (address, client) = (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Client::forgetful(&authority));
    let attack = Attack {
        settings: &flags(&number, &issued, &authorities, "no"),
        repeats,
        ..Attack::new(test, what, |subject| run(&Target { subject, address, client: &client }))
    };
    let (sojourn, redis) = attack.carry_out();
    (sojourn, redis.expect("redis-server is attacked, too"))
}

#[test]
fn tls_half_open() {
    let count = connections_at_most(so_many(300, 5_000));
    let what = format!("{count} connections to `tls-port`, every other with half a ClientHello, that go no further");
    let (sojourn, _) = carry_out("tls_half_open", what, |target| {
        let (streams, hello) = (hold_at(target.address, count), target.client.hello());
        for mut stream in streams.iter().step_by(2) {
            stream.write_all(&hello[..hello.len() / 2]).expect("sent");
        }
        if target.subject.is_sojourn() {
            wait_until("they are closed", || count_open(&streams) == 0);
        } else {
            std::thread::sleep(HANDSHAKE_LIMIT);
        }
        let held = count_open(&streams);
        let attacker = if held == 0 { "closed after 10 s" } else { "still held after 12 s" };
        Aftermath { attacker: attacker.to_owned(), held }
    });
    assert_eq!(sojourn.aftermath.held, 0);
}

#[test]
fn tls_handshakes() {
    let what = format!("{HANDSHAKES_PER_SECOND} whole handshakes a second, each with one PING");
    repeat("tls_handshakes", what, |target| {
        let rate = over_and_over(target.subject, HANDSHAKES_PER_SECOND, || {
            drop(target.client.connect(target.address).expect("a connection"))
        });
        Aftermath { attacker: format!("{rate:.0} a second, all served"), held: 0 }
    });
}

/// The cheapest way to make a server compute: it signs, and whoever replays has nothing to do.
#[test]
fn tls_hellos_replayed() {
    let what = format!("one recorded ClientHello, replayed {HELLOS_PER_SECOND} times a second");
    repeat("tls_hellos_replayed", what, |target| {
        let hello = target.client.hello();
        let rate = over_and_over(target.subject, HELLOS_PER_SECOND, || {
            let mut stream = TcpStream::connect(target.address).expect("a connection");
            stream.write_all(&hello).expect("sent");
            let mut record_type = [0];
            stream.read_exact(&mut record_type).expect("the answer begins");
            assert_eq!(record_type, [22], "a handshake record");
        });
        Aftermath { attacker: format!("{rate:.0} a second, all answered"), held: 0 }
    });
}

#[test]
fn tls_garbage() {
    let what = format!("what is no TLS on `tls-port`, {GARBAGE_PER_SECOND} times a second");
    let mut record = vec![22, 3, 1, 255, 255];
    record.extend([7; 10_000]);
    let kinds = [encode(&["PING"]), b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![255; 10_000], record];
    repeat("tls_garbage", what, |target| {
        let rate = over_and_over(target.subject, GARBAGE_PER_SECOND, || {
            let mut stream = TcpStream::connect(target.address).expect("a connection");
            // The server may hang up before it has all of it, and a reset is as good an end as any.
            let _sent = stream.write_all(&kinds[fastrand::usize(..kinds.len())]);
            let _sent = stream.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            let _ended = stream.read_to_end(&mut answer);
            assert!(answer.first().is_none_or(|first| *first == 21), "at most an alert: {answer:?}");
        });
        Aftermath { attacker: format!("{rate:.0} a second, all closed"), held: 0 }
    });
}

#[test]
fn tls_idle_connections() {
    let count = connections_at_most(so_many(300, 5_000));
    let what = format!("{count} idle connections with TLS, each after one PING");
    let (sojourn, redis) = carry_out("tls_idle_connections", what, |target| {
        let before = target.subject.resident_bytes();
        let connections: Vec<_> =
            (0..count).map(|_| target.client.connect(target.address).expect("a connection")).collect();
        let each_bytes = || target.subject.resident_bytes().saturating_sub(before) / connections.len() as u64;
        let at_once_bytes = each_bytes();
        std::thread::sleep(duration());
        let attacker = format!("held; {at_once_bytes} bytes of memory each, {} a while later", each_bytes());
        Aftermath { attacker, held: connections.len() }
    });
    let each_bytes = sojourn.grown_bytes / sojourn.aftermath.held as u64;
    assert!(each_bytes < IDLE_BYTES_MAX, "{each_bytes} bytes for an idle connection");
    assert!(!is_full() || sojourn.grown_bytes <= redis.grown_bytes, "redis-server needs {}", redis.grown_bytes);
}
