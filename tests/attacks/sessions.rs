//! Attacks through the web application: it hands whatever a browser sends to Sojourn, as an honest client.

use std::net::SocketAddr;
use std::time::Instant;

use crate::pace::paced;
use crate::postgres::PostgresServer;
use crate::rig::{AOF_ALWAYS, Aftermath, Attack, Subject, duration, is_full, so_many};
use crate::support::resp::{Connection, Frame, encode};
use crate::support::server::wait_until;
use crate::support::sojourn::Sojourn;

/// Commands that are pipelined.
const TOGETHER: usize = 100;

/// Pipelines so many commands, and checks the replies' first bytes.
fn call_together(connection: &mut Connection, count: usize, kind: u8, command: impl Fn(usize) -> Vec<u8>) {
    let requests: Vec<u8> = (0..count).flat_map(command).collect();
    connection.send(&requests).expect("sent");
    for _ in 0..count {
        let reply = connection.read().expect("a reply");
        assert!(matches!(reply, Frame::Line(first, _) | Frame::Bulk(first, None) if first == kind), "{reply:?}");
    }
}

fn login(user: &str, number: usize) -> Vec<u8> {
    let session = format!("{{\"user\":\"{}\"}}", "x".repeat(280));
    encode(&["SET", &format!("sess:{user}-{number}"), &session, "EX", "3600"])
}

/// Together 400 000 ids a second, which both servers look up (here 670 000 and 600 000).
const UNKNOWN_BATCHES_PER_SECOND: u32 = 4_000;

fn unknown_ids(subject: &Subject) -> Aftermath {
    let pace = (4, UNKNOWN_BATCHES_PER_SECOND);
    let rate = paced(
        pace,
        subject.lasts(),
        || subject.connect(),
        |connection, turn| {
            let get = |number| encode(&["GET", &format!("sess:unknown-{turn}-{number}")]);
            call_together(connection, TOGETHER, b'$', get);
        },
    );
    Aftermath { attacker: format!("nil each time, {:.0} a second", rate * TOGETHER as f64), held: 4 }
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
    // No value is fetched before somebody asks for it.
    let sojourn = Sojourn::start(&server.url(&database), &[settings, ["--maxmemory-policy", "noeviction"]].concat());
    let address = sojourn.address();
    let mut operator = Connection::open(address).expect("a connection");
    wait_until("the keys are read", || operator.info("all_keys_known") == 1);
    // The control: a value that is not in memory is looked for, and the log says so.
    let (_, earlier) = statements(&server);
    assert_eq!(operator.call(&["GET", "sess:cold"]).expect("a reply").bytes(), Some(&b"{}"[..]));
    let (before, control) = statements(&server);
    assert_eq!(control, earlier + 1, "the control: a cold value is looked for");
    let subject = Subject::sojourn(sojourn);
    let aftermath = unknown_ids(&subject);
    // Behind the flood, in the order of the log.
    assert_eq!(set(address).expect("a reply"), Frame::Line(b'+', b"OK".to_vec()));
    let (after, looks) = statements(&server);
    assert_eq!(looks, control, "{}", aftermath.attacker);
    // What the owner of the database does by the clock.
    assert!(after - before < 100, "{} statements", after - before);
    drop(subject);
    Attack::repeating(
        "unknown_session_ids",
        "4 connections that GET session ids that do not exist, 100 at a time (0 queries for them in PostgreSQL's log)"
            .to_owned(),
        unknown_ids,
    )
    .carry_out();
}

/// A PostgreSQL that has been in use: the next files of its log are there. A new one first fills each of them with zeros, 16 MiB at
/// a time (`wal_init_zero`), and whoever commits meanwhile waits for 50 ms.
fn used_postgres() -> PostgresServer {
    let server = PostgresServer::start(&[]);
    let fill_files = "select pg_logical_emit_message(false, '', 'x'), pg_switch_wal() from generate_series(1, 12)";
    for sql in [fill_files, "checkpoint"] {
        server.sql("postgres", sql);
    }
    server
}

/// Together 20 000 logins a second, which both servers can make durable (Sojourn 42 000 where that was measured, redis-server 109 000).
const LOGIN_BATCHES_PER_SECOND: u32 = 2_000;
const LOGINS_TOGETHER: usize = 10;

#[test]
fn logins() {
    let server = used_postgres();
    let connections = so_many(8, 50);
    let what = format!(
        "{connections} connections that SET {} new sessions a second, {LOGINS_TOGETHER} at a time, each durable before its reply",
        LOGIN_BATCHES_PER_SECOND as usize * LOGINS_TOGETHER
    );
    let attack = Attack::new("logins", what, |subject| {
        let rate = paced(
            (connections, LOGIN_BATCHES_PER_SECOND),
            subject.lasts(),
            || subject.connect(),
            |connection, turn| {
                call_together(connection, LOGINS_TOGETHER, b'+', |number| login(&format!("login-{turn}"), number))
            },
        );
        Aftermath { attacker: format!("served, {:.0} a second", rate * LOGINS_TOGETHER as f64), held: connections }
    });
    attack.compare(&|| Sojourn::start(&server.url(&server.create_database()), &[]), &AOF_ALWAYS);
}

/// The same with as much under way as the server lets in: the queue is bounded, and nobody waits for all of it.
#[test]
fn logins_without_reading() {
    let server = used_postgres();
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
        let logins: Vec<u8> =
            (sent..sent + TOGETHER).flat_map(|number| login(&format!("pour-{user}"), number)).collect();
        writer.write_all(&logins).expect("sent");
        sent += TOGETHER;
    }
    writer.shutdown(std::net::Shutdown::Write).expect("an open socket");
    assert_eq!(counter.join().expect("it ends"), sent);
    sent
}
