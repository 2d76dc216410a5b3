//! Attacks through the web application: it hands whatever a browser sends to Sojourn, as an honest client.

use std::net::SocketAddr;
use std::time::Instant;

use crate::postgres::PostgresServer;
use crate::rig::{AOF_ALWAYS, Aftermath, Attack, Subject, duration, is_full, so_many, wait_until};
use crate::support::resp::{Connection, Frame, encode};
use crate::support::sojourn::Sojourn;

/// Pipelines a command a hundred at a time, as long as an attack lasts; answers how often, with the replies' first bytes
/// checked.
fn flood(address: SocketAddr, kind: u8, command: impl Fn(usize) -> Vec<u8>) -> usize {
    let mut connection = Connection::open(address).expect("a connection");
    let (begun, mut calls) = (Instant::now(), 0);
    while begun.elapsed() < duration() {
        let requests: Vec<u8> = (0..100).flat_map(|number| command(calls + number)).collect();
        connection.send(&requests).expect("sent");
        for _ in 0..100 {
            let reply = connection.read().expect("a reply");
            assert!(matches!(reply, Frame::Line(first, _) | Frame::Bulk(first, None) if first == kind), "{reply:?}");
        }
        calls += 100;
    }
    calls
}

fn unknown_ids(subject: &Subject) -> Aftermath {
    let address = subject.address();
    let seekers: Vec<_> = (0..4)
        .map(|seeker: usize| {
            let get = move |number: usize| encode(&["GET", &format!("sess:unknown-{seeker}-{number}")]);
            std::thread::spawn(move || flood(address, b'$', get))
        })
        .collect();
    let calls: usize = seekers.into_iter().map(|seeker| seeker.join().expect("it ends")).sum();
    let attacker = format!("nil each time, {:.0} a second", calls as f64 / duration().as_secs_f64());
    Aftermath { attacker, held: 4 }
}

/// How many statements PostgreSQL has executed so far, and how many of them looked for values.
fn statements(server: &PostgresServer) -> (usize, usize) {
    let log = server.log();
    let all = log.lines().filter(|line| line.contains("statement: ") || line.contains("execute ")).count();
    (all, log.matches("select e.ord, ").count())
}

#[test]
fn unknown_session_ids() {
    let server = PostgresServer::start(&["log_statement=all"]);
    let database = server.create_database();
    let settings = ["--prune-interval", "1h"];
    let set =
        |address| Connection::open(address).and_then(|mut connection| connection.call(&["SET", "sess:cold", "{}"]));
    {
        let sojourn = Sojourn::start(&server.url(&database), &settings);
        assert_eq!(set(sojourn.address()).expect("a reply"), Frame::Line(b'+', b"OK".to_vec()));
    }
    let sojourn = Sojourn::start(&server.url(&database), &settings);
    let address = sojourn.address();
    // The control: a value that is not in memory is looked for, and the log says so.
    wait_until("the keys are read", || {
        let cold = Connection::open(address).and_then(|mut connection| connection.call(&["GET", "sess:cold"]));
        cold.is_ok_and(|reply| reply.bytes().is_some())
    });
    let (before, looks) = statements(&server);
    assert_eq!(looks, 1, "the control: a cold value is looked for");
    let subject = Subject::Sojourn(sojourn);
    let aftermath = unknown_ids(&subject);
    // Behind the flood, in the order of the log.
    assert_eq!(set(address).expect("a reply"), Frame::Line(b'+', b"OK".to_vec()));
    let (after, looks) = statements(&server);
    assert_eq!(looks, 1, "{}", aftermath.attacker);
    // What the owner of the database does by the clock.
    assert!(after - before < 100, "{} statements", after - before);
    drop(subject);
    Attack::new(
        "unknown_session_ids",
        "4 connections that GET session ids that do not exist, 100 at a time (0 queries for them in PostgreSQL's log)"
            .to_owned(),
        unknown_ids,
    )
    .carry_out();
}

#[test]
fn logins() {
    let server = PostgresServer::start(&[]);
    let attack = Attack::new(
        "logins",
        format!("{} connections that SET new sessions, 100 at a time, each durable before its reply", so_many(8, 50)),
        |subject| {
            let address = subject.address();
            let logins: Vec<_> = (0..so_many(8, 50))
                .map(|user: usize| {
                    let set = move |number: usize| {
                        let key = format!("sess:login-{user}-{number}");
                        encode(&["SET", &key, &format!("{{\"user\":\"{}\"}}", "x".repeat(280)), "EX", "3600"])
                    };
                    std::thread::spawn(move || flood(address, b'+', set))
                })
                .collect();
            let calls: usize = logins.into_iter().map(|login| login.join().expect("it ends")).sum();
            let attacker = format!("served, {:.0} logins a second", calls as f64 / duration().as_secs_f64());
            Aftermath { attacker, held: so_many(8, 50) }
        },
    );
    attack.compare(&|| Sojourn::start(&server.url(&server.create_database()), &[]), &AOF_ALWAYS);
}

/// The same with as much under way as the server lets in: the queue is bounded, and nobody waits for all of it.
#[test]
fn logins_without_reading() {
    let server = PostgresServer::start(&[]);
    let mut attack = Attack::new(
        "logins_without_reading",
        format!("{} connections that pipeline SETs of new sessions as fast as they are taken", so_many(8, 50)),
        |subject| {
            let address = subject.address();
            let logins: Vec<_> =
                (0..so_many(8, 50)).map(|user: usize| std::thread::spawn(move || pour(address, user))).collect();
            let calls: usize = logins.into_iter().map(|login| login.join().expect("it ends")).sum();
            Aftermath { attacker: format!("{calls} sent, each answered"), held: so_many(8, 50) }
        },
    );
    attack.spares_redis = !is_full();
    let (sojourn, _) = attack.compare(&|| Sojourn::start(&server.url(&server.create_database()), &[]), &AOF_ALWAYS);
    assert!(sojourn.grown_bytes < so_many(1 << 30, 2 << 30), "{} bytes", sojourn.grown_bytes);
}

/// Sends without waiting for replies, which another thread reads.
fn pour(address: SocketAddr, user: usize) -> usize {
    use std::io::{Read as _, Write as _};
    let mut writer = std::net::TcpStream::connect(address).expect("a connection");
    let mut reader = writer.try_clone().expect("a second handle");
    let counter = std::thread::spawn(move || {
        let (mut lines, mut piece) = (0, vec![0; 64 * 1024]);
        loop {
            match reader.read(&mut piece).expect("replies") {
                0 => return lines,
                count => {
                    assert!(!piece[..count].contains(&b'-'), "a login was refused");
                    lines += piece[..count].iter().filter(|byte| **byte == b'\n').count();
                }
            }
        }
    });
    let (begun, mut sent) = (Instant::now(), 0_usize);
    while begun.elapsed() < duration() {
        let sets = (sent..sent + 100).flat_map(|number| {
            let key = format!("sess:pour-{user}-{number}");
            encode(&["SET", &key, &format!("{{\"user\":\"{}\"}}", "x".repeat(280)), "EX", "3600"])
        });
        writer.write_all(&sets.collect::<Vec<u8>>()).expect("sent");
        sent += 100;
    }
    writer.shutdown(std::net::Shutdown::Write).expect("an open socket");
    assert_eq!(counter.join().expect("it ends"), sent);
    sent
}
