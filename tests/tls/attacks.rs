//! Who speaks no TLS on its port harms nobody, and is gone soon.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::server::wait_until;
use super::start;
use super::support::certificates::Authority;
use super::support::resp::encode;
use super::support::tls::Client;

/// The server's limit of a handshake, and what a busy machine may add to it.
const LIMIT: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(10);

#[test]
fn who_speaks_no_tls_is_told_so_and_counted() {
    let authority = Authority::new();
    let (server, address) = start(&authority, "no");
    let mut neighbour = Client::new(&authority).connect(address).expect("a connection");
    let mut garbage = vec![0x16, 3, 1, 0xff, 0xff];
    garbage.extend(std::iter::repeat_with(|| fastrand::u8(..)).take(100_000));
    let attempts = [encode(&["PING"]), b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 40_000], garbage];
    for bytes in &attempts {
        let begun = Instant::now();
        let answer = send_and_read(address, bytes);
        // At most an alert of TLS: nothing of the protocol below it.
        assert!(answer.len() <= 7 && answer.first().is_none_or(|first| *first == 0x15), "{answer:?}");
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
        neighbour.call(&["PING"]).expect("the neighbour goes on");
    }
    wait_until("all of them counted and gone", || {
        server.info("tls_handshakes_failed") == attempts.len() as u64 && server.info("connected_clients") == 2
    });
}

#[test]
fn who_says_nothing_or_too_little_is_closed_after_the_limit() {
    let authority = Authority::new();
    let (server, address) = start(&authority, "no");
    let begun = Instant::now();
    let mut silent = TcpStream::connect(address).expect("a connection");
    let mut slow = TcpStream::connect(address).expect("a connection");
    slow.write_all(&[0x16, 3, 1]).expect("the beginning of a record");
    wait_until("both to be clients", || server.info("connected_clients") == 3);
    for stream in [&mut silent, &mut slow] {
        stream.set_read_timeout(Some(LIMIT + GRACE)).expect("a timeout");
        assert_eq!(stream.read(&mut [0; 64]).expect("the end"), 0);
        assert!(begun.elapsed() >= LIMIT, "closed too early: {:?}", begun.elapsed());
    }
    wait_until("both to be gone", || server.info("connected_clients") == 1);
    Client::new(&authority).connect(address).expect("others go on");
}

fn send_and_read(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(LIMIT + GRACE)).expect("a timeout");
    // The server may have hung up before it got all of it.
    let _sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    let _ended = stream.read_to_end(&mut answer);
    answer
}
