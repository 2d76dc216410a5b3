//! Attacks that only hold connections, or come and go.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::pace::Pace;
use crate::rig::{
    Aftermath, Attack, Subject, connections_at_most, count_open, duration, is_full, mebibytes, over_and_over, so_many,
    stream_to,
};
use crate::support::resp::encode;

/// Both servers serve more (here 5 800 and 6 100). No client could open many more either: its ports would soon be used up.
const CHURN_PER_SECOND: u32 = 4_000;

/// Half a million GETs a second together, which both servers serve on two processors that have the attacker and the neighbour to
/// serve, too. A million come near to what Sojourn can do on the slower of the machines that this was measured on.
const BATCHES_PER_SECOND: u32 = 500;
const BATCH_GETS: u32 = 1_000;

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
    let what = format!("slowloris: {count} connections, each sending 4 bytes a second of a SET without end");
    let (sojourn, _) = Attack::new("slowloris", what, |subject| {
        let mut streams: Vec<_> = (0..connections_at_most(so_many(200, 1_000))).map(|_| subject.stream()).collect();
        let head = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n";
        let (begun, mut byte) = (Instant::now(), 0);
        while begun.elapsed() < so_many(Duration::from_millis(1_500), Duration::from_secs(5)) {
            for stream in &mut streams {
                stream.write_all(&[head.get(byte).copied().unwrap_or(b'x')]).expect("the server still reads");
            }
            byte += 1;
            std::thread::sleep(so_many(Duration::from_millis(50), Duration::from_millis(250)));
        }
        Aftermath { attacker: "held, until `timeout` if one is set".to_owned(), held: count_open(&streams) }
    })
    .carry_out();
    assert!(sojourn.grown_bytes < 16 << 20, "{} bytes", sojourn.grown_bytes);
}

#[test]
fn connection_churn() {
    let what = format!("churn: connect, PING, close, {CHURN_PER_SECOND} times a second");
    let (sojourn, _) = Attack::repeating("connection_churn", what, |subject| {
        let rate = over_and_over(subject, CHURN_PER_SECOND, || {
            let mut stream = subject.stream();
            stream.write_all(b"PING\r\n").expect("sent");
        });
        Aftermath { attacker: format!("{rate:.0} connections a second, all served"), held: 0 }
    })
    .carry_out();
    assert!(sojourn.grown_bytes < 16 << 20, "{} bytes", sojourn.grown_bytes);
}

/// Two connections that never stop sending, and read: they must not get all turns of their threads.
#[test]
fn pipelined_flood() {
    let gets = BATCHES_PER_SECOND * BATCH_GETS;
    let what = format!("2 connections that pipeline {gets} GETs a second and read the replies without a pause");
    Attack::repeating("pipelined_flood", what, |subject| {
        let (pace, address) = (Pace::new(BATCHES_PER_SECOND, subject.lasts()), subject.address());
        let bytes: u64 = std::thread::scope(|scope| {
            let flooders = [(); 2].map(|()| scope.spawn(|| flood(address, &pace)));
            flooders.map(|flooder| flooder.join().expect("it ends")).iter().sum()
        });
        let rate = mebibytes(bytes) / subject.lasts().as_secs_f64();
        Aftermath { attacker: format!("served; {rate:.0} MiB of replies a second"), held: 2 }
    })
    .carry_out();
}

fn flood(address: SocketAddr, pace: &Pace) -> u64 {
    let mut writer = TcpStream::connect(address).expect("a connection");
    let mut reader = writer.try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let requests = encode(&["GET", "sess:neighbour"]).repeat(BATCH_GETS as usize);
            while pace.turn().is_some() && writer.write_all(&requests).is_ok() {}
            writer.shutdown(std::net::Shutdown::Write).expect("an open socket");
        });
        std::io::copy(&mut reader, &mut std::io::sink()).expect("all replies")
    })
}

pub fn hold(subject: &Subject, wanted: usize) -> Vec<TcpStream> {
    hold_at(subject.address(), wanted)
}

pub fn hold_at(address: SocketAddr, wanted: usize) -> Vec<TcpStream> {
    (0..connections_at_most(wanted)).map(|_| stream_to(address)).collect()
}
