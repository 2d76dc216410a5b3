//! Attacks by replies: asked for in few bytes, large, and never read.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::connections::hold;
use crate::rig::{Aftermath, Attack, Subject, count_open, duration, so_many};
use crate::support::resp::{Frame, encode};
use crate::support::server::wait_until;

const MEBIBYTE: usize = 1024 * 1024;

/// A value of a mebibyte under `large`.
fn plant_large(subject: &Subject) {
    let value = vec![b'x'; MEBIBYTE];
    let stored = subject.connect().call(&[&b"SET"[..], b"large", &value]).expect("a reply");
    assert_eq!(stored, Frame::Line(b'+', b"OK".to_vec()));
}

/// Sends this, as far as the server takes it, and reads nothing for a while.
fn send_and_ignore(streams: &[TcpStream], requests: &[u8]) {
    let end = Instant::now() + duration();
    let mut sent = vec![0; streams.len()];
    while Instant::now() < end {
        for (mut stream, sent) in streams.iter().zip(&mut sent) {
            stream.set_nonblocking(true).expect("an open socket");
            if let Ok(count) = stream.write(&requests[*sent..]) {
                *sent += count;
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_that_never_read() {
    let (count, gets) = (so_many(20, 50), so_many(16, 64));
    let what = format!("{count} connections that pipeline {gets} GETs of a value of 1 MiB and read nothing");
    let (sojourn, _) = Attack::new("clients_that_never_read", what, |subject| {
        plant_large(subject);
        let streams = hold(subject, so_many(20, 50));
        send_and_ignore(&streams, &encode(&["GET", "large"]).repeat(so_many(16, 64)));
        Aftermath { attacker: "held, each waits for itself".to_owned(), held: streams.len() }
    })
    .carry_out();
    // The value itself came, too; what waits for the reader is a piece of it for each.
    assert!(sojourn.grown_bytes < 32 << 20, "{} bytes", sojourn.grown_bytes);
}

#[test]
fn held_replies_of_a_large_value() {
    let gets = so_many(64, 400);
    let what = format!("8 connections that pipeline a SET of 1 MiB and {gets} GETs of it, and read nothing");
    let (sojourn, _) = Attack::new("held_replies_of_a_large_value", what, |subject| {
        plant_large(subject);
        let streams = hold(subject, 8);
        let mut requests = encode(&[&b"SET"[..], b"large", &vec![b'y'; MEBIBYTE]]);
        requests.extend(encode(&["GET", "large"]).repeat(so_many(64, 400)));
        send_and_ignore(&streams, &requests);
        Aftermath { attacker: "held, each waits for itself".to_owned(), held: streams.len() }
    })
    .carry_out();
    assert!(sojourn.grown_bytes < 96 << 20, "{} bytes", sojourn.grown_bytes);
}

#[test]
fn one_key_many_times() {
    let times = so_many(500, 4_096);
    let what = format!("one MGET that names a value of 1 MiB {times} times, and is not read");
    let (sojourn, redis) = Attack::new("one_key_many_times", what, |subject| {
        plant_large(subject);
        let streams = hold(subject, 1);
        let words: Vec<&str> = std::iter::once("MGET").chain(vec!["large"; so_many(500, 4_096)]).collect();
        send_and_ignore(&streams, &encode(&words));
        Aftermath { attacker: "held, waits for itself".to_owned(), held: 1 }
    })
    .carry_out();
    assert!(
        sojourn.grown_bytes < 32 << 20,
        "{} bytes ({:?})",
        sojourn.grown_bytes,
        redis.map(|redis| redis.grown_bytes)
    );
}

/// Values of a session's size stand with their keys and are copied for a reply: each once, however often it is named.
#[test]
fn many_keys_many_times() {
    const KEYS: usize = 4_000;
    let times = so_many(10, 100);
    let what = format!("one MGET that names each of {KEYS} values of 2 000 bytes {times} times, and is not read");
    let (sojourn, _) = Attack::new("many_keys_many_times", what, |subject| {
        let names: Vec<String> = (0..KEYS).map(|number| format!("sess:{number}")).collect();
        let value = "x".repeat(2_000);
        let mut planted = vec!["MSET"];
        planted.extend(names.iter().flat_map(|name| [name.as_str(), &value]));
        assert_eq!(subject.connect().call(&planted).expect("a reply"), Frame::Line(b'+', b"OK".to_vec()));
        let streams = hold(subject, 1);
        let names = std::iter::repeat_n(&names, so_many(10, 100)).flatten().map(String::as_str);
        let words: Vec<&str> = std::iter::once("MGET").chain(names).collect();
        (&streams[0]).write_all(&encode(&words)).expect("sent");
        send_and_ignore(&streams, b"");
        Aftermath { attacker: "held, waits for itself".to_owned(), held: count_open(&streams) }
    })
    .carry_out();
    // The values themselves came, too, twice with `memory://`, and as often again the request.
    assert!(sojourn.grown_bytes < so_many(64 << 20, 96 << 20), "{} bytes", sojourn.grown_bytes);
}

#[test]
fn one_key_a_million_times() {
    let times = so_many(200_000, 1_000_000);
    let attack = Attack {
        // A million copies of a mebibyte would take the machine with it.
        spares_redis: true,
        ..Attack::new(
            "one_key_a_million_times",
            format!(
                "one MGET that names a value of 1 MiB {times} times (a reply of {} GiB), and is not read",
                times / 1024
            ),
            |subject| {
                plant_large(subject);
                let streams = hold(subject, 1);
                let words: Vec<&str> =
                    std::iter::once("MGET").chain(vec!["large"; so_many(200_000, 1_000_000)]).collect();
                let request = encode(&words);
                (&streams[0]).write_all(&request).expect("sent");
                send_and_ignore(&streams, b"");
                Aftermath { attacker: "held, waits for itself".to_owned(), held: count_open(&streams) }
            },
        )
    };
    let (sojourn, _) = attack.carry_out();
    assert!(sojourn.grown_bytes < 512 << 20, "{} bytes", sojourn.grown_bytes);
}

#[test]
fn a_reply_that_is_read_fast() {
    let what = format!("one MGET of {} MiB that is read as fast as it comes", so_many(256, 4_096));
    Attack::new("a_reply_that_is_read_fast", what, |subject| {
        plant_large(subject);
        let times = so_many(256, 4_096);
        let mut stream = subject.stream();
        let words: Vec<&str> = std::iter::once("MGET").chain(vec!["large"; times]).collect();
        stream.write_all(&encode(&words)).expect("sent");
        let mut left = format!("*{times}\r\n").len() + times * ("$1048576\r\n".len() + MEBIBYTE + 2);
        let mut piece = vec![0; 256 * 1024];
        let begun = Instant::now();
        while left > 0 {
            let count = std::io::Read::read(&mut stream, &mut piece).expect("the reply");
            assert!(count > 0 && count <= left, "{left} bytes are missing");
            left -= count;
        }
        Aftermath { attacker: format!("served in {:.1?}", begun.elapsed()), held: 1 }
    })
    .carry_out();
}

#[test]
fn a_transaction_that_answers_much() {
    let (commands, limit) = (so_many(100, 2_000), "16mb");
    let attack = Attack {
        settings: &["--client-output-buffer-limit", "normal 16mb 0 0"],
        ..Attack::new(
            "a_transaction_that_answers_much",
            format!(
                "MULTI, {commands} times GETRANGE of 1 MiB, EXEC, with `client-output-buffer-limit normal {limit} 0 0`"
            ),
            |subject| {
                plant_large(subject);
                let streams = hold(subject, 1);
                let mut requests = encode(&["MULTI"]);
                requests.extend(encode(&["GETRANGE", "large", "0", "-1"]).repeat(so_many(100, 2_000)));
                requests.extend(encode(&["EXEC"]));
                (&streams[0]).write_all(&requests).expect("sent");
                wait_until("the client is closed", || count_open(&streams) == 0);
                Aftermath { attacker: "closed at the limit".to_owned(), held: 0 }
            },
        )
    };
    let (sojourn, _) = attack.carry_out();
    assert!(sojourn.grown_bytes < 256 << 20, "{} bytes", sojourn.grown_bytes);
}
