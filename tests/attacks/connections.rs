//! Attacks that only hold connections, or come and go.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::rig::{
    Aftermath, Attack, Subject, connections_at_most, count_open, duration, is_full, mebibytes, so_many, stream_to,
};

/// What an idle connection of Sojourn may cost; a debug build's costs more.
const IDLE_BYTES_MAX: u64 = 24 * 1024;

#[test]
fn idle_connections() {
    let wanted = connections_at_most(so_many(1_000, 9_990));
    let what = format!("{wanted} idle connections, each after one PING");
    let attack = Attack::new("idle_connections", what, |subject| {
        let before = subject.resident_bytes();
        let connections: Vec<_> = (0..connections_at_most(so_many(1_000, 9_990)))
            .map(|_| {
                let mut connection = subject.connect();
                connection.call(&["PING"]).expect("a reply");
                connection
            })
            .collect();
        let each_bytes = subject.resident_bytes().saturating_sub(before) / connections.len() as u64;
        std::thread::sleep(duration());
        let later_bytes = subject.resident_bytes().saturating_sub(before) / connections.len() as u64;
        let attacker = format!("held; {each_bytes} bytes of memory each, {later_bytes} a while later");
        Aftermath { attacker, held: connections.len() }
    });
    let (sojourn, redis) = attack.carry_out();
    let each_bytes = sojourn.grown_bytes / sojourn.aftermath.held as u64;
    assert!(each_bytes < IDLE_BYTES_MAX, "{each_bytes} bytes for an idle connection");
    let redis = redis.expect("redis-server is attacked, too");
    assert!(
        !is_full() || sojourn.grown_bytes <= redis.grown_bytes,
        "redis-server needs {}",
        mebibytes(redis.grown_bytes)
    );
}

#[test]
fn slowloris() {
    let count = connections_at_most(so_many(200, 1_000));
    let what = format!("slowloris: {count} connections, each sending a byte a second of a SET without end");
    let (sojourn, _) = Attack::new("slowloris", what, |subject| {
        let mut streams: Vec<_> = (0..connections_at_most(so_many(200, 1_000))).map(|_| subject.stream()).collect();
        let head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n";
        let (begun, mut byte) = (Instant::now(), 0);
        while begun.elapsed() < so_many(Duration::from_millis(1_500), Duration::from_secs(15)) {
            for stream in &mut streams {
                stream.write_all(&[head.get(byte).copied().unwrap_or(b'x')]).expect("the server still reads");
            }
            byte += 1;
            std::thread::sleep(so_many(Duration::from_millis(50), Duration::from_secs(1)));
        }
        Aftermath { attacker: "held, until `timeout` if one is set".to_owned(), held: count_open(&streams) }
    })
    .carry_out();
    assert!(sojourn.grown_bytes < 16 << 20, "{} bytes", sojourn.grown_bytes);
}

#[test]
fn connection_churn() {
    let what = format!("churn: connect, PING, close, as fast as 2 threads can for {:?}", duration());
    let (sojourn, _) = Attack::new("connection_churn", what, |subject| {
        let address = subject.address();
        let churners: Vec<_> = (0..2).map(|_| std::thread::spawn(move || churn(address))).collect();
        let connections: usize = churners.into_iter().map(|churner| churner.join().expect("it ends")).sum();
        let seconds = duration().as_secs_f64();
        Aftermath { attacker: format!("{:.0} connections a second, all served", connections as f64 / seconds), held: 0 }
    })
    .carry_out();
    assert!(sojourn.grown_bytes < 16 << 20, "{} bytes", sojourn.grown_bytes);
}

fn churn(address: SocketAddr) -> usize {
    let (begun, mut connections) = (Instant::now(), 0);
    while begun.elapsed() < duration() {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(b"PING\r\n").expect("sent");
        connections += 1;
        // No more than some 5 000 a second: a client's ports are soon used up.
        std::thread::sleep(Duration::from_micros(200));
    }
    connections
}

/// One connection that never stops sending, and reads: it must not get all turns of its thread.
#[test]
fn pipelined_flood() {
    let what = format!("2 connections that pipeline GETs and read the replies without a pause for {:?}", duration());
    Attack::new("pipelined_flood", what, |subject| {
        let address = subject.address();
        let flooders: Vec<_> = (0..2).map(|_| std::thread::spawn(move || flood(address))).collect();
        let bytes: u64 = flooders.into_iter().map(|flooder| flooder.join().expect("it ends")).sum();
        let attacker = format!("served; {:.0} MiB of replies a second", mebibytes(bytes) / duration().as_secs_f64());
        Aftermath { attacker, held: 2 }
    })
    .carry_out();
}

fn flood(address: SocketAddr) -> u64 {
    let mut writer = TcpStream::connect(address).expect("a connection");
    let mut reader = writer.try_clone().expect("a second handle");
    let end = Instant::now() + duration();
    let sender = std::thread::spawn(move || {
        let requests = b"*2\r\n$3\r\nGET\r\n$14\r\nsess:neighbour\r\n".repeat(1_000);
        while Instant::now() < end && writer.write_all(&requests).is_ok() {}
        writer.shutdown(std::net::Shutdown::Write).expect("an open socket");
    });
    let bytes = std::io::copy(&mut reader, &mut std::io::sink()).expect("all replies");
    sender.join().expect("it ends");
    bytes
}

pub fn hold(subject: &Subject, wanted: usize) -> Vec<TcpStream> {
    hold_at(subject.address(), wanted)
}

pub fn hold_at(address: SocketAddr, wanted: usize) -> Vec<TcpStream> {
    (0..connections_at_most(wanted)).map(|_| stream_to(address)).collect()
}
