//! Attacks by what a request declares, or by how it is formed.

use std::io::Write as _;
use std::time::Duration;

use crate::connections::hold;
use crate::rig::{Aftermath, Attack, Subject, connections_at_most, count_open, so_many};
use crate::support::resp::{Frame, encode};

#[test]
fn huge_declared_values() {
    let count = connections_at_most(so_many(500, 9_900));
    let what = format!("{count} connections that declare a value of 512 MiB and send 10 bytes of it");
    let (sojourn, _) = Attack::new("huge_declared_values", what, |subject| {
        let streams = hold(subject, so_many(500, 9_900));
        for mut stream in &streams {
            stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n0123456789").expect("sent");
        }
        settle(subject);
        Aftermath { attacker: "held; only what arrives takes memory".to_owned(), held: count_open(&streams) }
    })
    .carry_out();
    let each_bytes = sojourn.grown_bytes / count as u64;
    assert!(each_bytes < 24 * 1024, "{each_bytes} bytes for a declaration");
}

#[test]
fn huge_argument_counts() {
    let (count, words) = (so_many(4, 20), so_many(100_000, 1_000_000));
    let what = format!("{count} connections that send all but the last of {words} one-byte arguments");
    let (sojourn, redis) = Attack::new("huge_argument_counts", what, |subject| {
        let (count, words) = (so_many(4, 20), so_many(100_000, 1_000_000));
        let streams = hold(subject, count);
        let mut request = format!("*{words}\r\n$3\r\nDEL\r\n").into_bytes();
        request.extend(b"$1\r\nk\r\n".repeat(words - 2));
        for mut stream in &streams {
            stream.write_all(&request).expect("sent");
        }
        settle(subject);
        Aftermath { attacker: "held, until `client-query-buffer-limit`".to_owned(), held: count_open(&streams) }
    })
    .carry_out();
    let redis = redis.expect("redis-server is attacked, too");
    assert!(sojourn.grown_bytes <= redis.grown_bytes, "{} and {}", sojourn.grown_bytes, redis.grown_bytes);
}

#[test]
fn endless_lines() {
    let count = so_many(100, 1_000);
    let what = format!("{count} connections that send an inline command without end");
    let (sojourn, _) = Attack::new("endless_lines", what, |subject| {
        let streams = hold(subject, so_many(100, 1_000));
        let line = vec![b'x'; 64 * 1024];
        for mut stream in &streams {
            // The server closes while the second half is sent.
            let _closed = stream.write_all(&line).and_then(|()| stream.write_all(&line));
        }
        crate::support::server::wait_until("the lines are refused", || count_open(&streams) == 0);
        Aftermath { attacker: "`too big inline request` at 64 KiB, and closed".to_owned(), held: 0 }
    })
    .carry_out();
    assert!(sojourn.grown_bytes < 64 << 20, "{} bytes", sojourn.grown_bytes);
}

#[test]
fn deep_nesting() {
    let depth = so_many(100_000, 1_000_000);
    let what = format!("arrays in arrays, and values of JSON nested {depth} deep");
    Attack::new("deep_nesting", what, |subject| {
        let depth = so_many(100_000, 1_000_000);
        let mut connection = subject.connect();
        connection.send(b"*1\r\n*1\r\n*1\r\n").expect("sent");
        let refusal = "ERR Protocol error: expected '$', got '*'";
        assert_eq!(connection.read().expect("a reply"), Frame::Line(b'-', refusal.as_bytes().to_vec()));
        assert!(connection.is_closed());
        let mut connection = subject.connect();
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[[", "")] {
            let value = format!("{{\"a\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            let stored = connection.call(&["SET", "sess:deep", &value]).expect("a reply");
            assert_eq!(stored, Frame::Line(b'+', b"OK".to_vec()));
            let read = connection.call(&["GET", "sess:deep"]).expect("a reply");
            assert!(read == Frame::Bulk(b'$', Some(value.into_bytes())), "the value comes back byte for byte");
        }
        let attacker = "arrays refused and closed; the values are bytes that come back as they were";
        Aftermath { attacker: attacker.to_owned(), held: 1 }
    })
    .carry_out();
}

#[test]
fn unfinished_requests_without_end() {
    let attack = Attack {
        settings: &["--client-query-buffer-limit", "4mb"],
        ..Attack::new(
            "unfinished_requests_without_end",
            "8 connections that send values of 64 MiB, with `client-query-buffer-limit 4mb`".to_owned(),
            |subject| {
                let streams = hold(subject, 8);
                let piece = vec![b'x'; 256 * 1024];
                for mut stream in &streams {
                    stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$67108864\r\n").expect("sent");
                    while stream.write_all(&piece).is_ok() {}
                }
                let when = if subject.is_sojourn() { "by the declaration alone" } else { "at the limit" };
                Aftermath { attacker: format!("closed {when}"), held: count_open(&streams) }
            },
        )
    };
    let (sojourn, _) = attack.carry_out();
    assert_eq!(sojourn.aftermath.held, 0);
    assert!(sojourn.grown_bytes < 4 << 20, "{} bytes", sojourn.grown_bytes);
}

/// Until the server has read what was sent: it answers a later request.
fn settle(subject: &Subject) {
    let mut connection = subject.connect();
    for _ in 0..so_many(5, 50) {
        connection.send(&encode(&["PING"])).expect("sent");
        connection.read().expect("a reply");
        std::thread::sleep(Duration::from_millis(20));
    }
}
