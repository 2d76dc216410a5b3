//! The network between server and database fails: connections are cut in the middle of a commit, stall without a word, or
//! are slow. A proxy does it, so that the database itself can be asked meanwhile what it has committed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::load::Random;
use super::outages::{Answers, HOT_READ_MAX, Load, check, slowest_hot_read};
use super::postgres::PostgresServer;
use super::server::{COLD, Server, is_error, is_ok, wait_until};
use super::support::proxy::{Proxy, Towards};
use super::support::resp::{Frame, encode};

/// Commits that are cut, half of them on the way to the database and half on the way back.
const DOUBTS: u64 = 30;
const SETS_TOGETHER: usize = 4;
/// Less than what one commit sends, either way.
const MESSAGE_BYTES: u64 = 40;
/// Cuts under load, and the acknowledged writes that they must lie between.
const CUTS: u64 = 40;
const ACKED_BETWEEN_CUTS: u64 = 30;
/// How much later than `write-timeout` a write may be answered on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(2);
const STALL: Duration = Duration::from_millis(1_500);

/// PostgreSQL, a proxy before it, and a server that knows only the proxy.
struct Rig {
    postgres: PostgresServer,
    database: String,
    proxy: Proxy,
    server: Server,
}

impl Rig {
    fn start(write_timeout: &str) -> Self {
        let postgres = PostgresServer::start(&[]);
        let database = postgres.create_database();
        let proxy = Proxy::start(postgres.port());
        let url = format!("postgres://postgres@127.0.0.1:{}/{database}", proxy.port());
        let server = Server::start(&url, &["--write-timeout", write_timeout]);
        let rig = Self { postgres, database, proxy, server };
        rig.set("hot", 1);
        rig
    }

    fn try_set(&self, name: &str, version: u64) -> Frame {
        self.server.call(&["SET", &format!("sess:{name}"), &session(name, version), "EX", "3600"])
    }

    fn set(&self, name: &str, version: u64) {
        let reply = self.try_set(name, version);
        assert!(is_ok(&reply), "{reply:?}: {}", self.server.log());
    }

    fn sql(&self, sql: &str) -> String {
        self.postgres.sql(&self.database, sql)
    }

    fn stored(&self, name: &str) -> String {
        self.sql(&format!("select sess from session where sid = '{name}'"))
    }

    fn get(&self, name: &str) -> String {
        let value = self.server.call(&["GET", &format!("sess:{name}")]);
        String::from_utf8_lossy(value.bytes().unwrap_or_default()).into_owned()
    }

    /// What the rows say, and then what a new server finds: all that was acknowledged, and nothing that was refused.
    fn check_after(self, all: &[Answers]) {
        check(&self.server, all);
        let rows = self.sql("select 'sess:' || sid from session");
        let rows: BTreeSet<&str> = rows.lines().collect();
        for answers in all {
            let lost: Vec<_> = answers.acked.iter().filter(|key| !rows.contains(key.as_str())).collect();
            assert!(lost.is_empty(), "acknowledged, and no row: {lost:?}");
            let undead: Vec<_> = answers.refused.iter().filter(|key| rows.contains(key.as_str())).collect();
            assert!(undead.is_empty(), "refused, and a row: {undead:?}");
        }
        self.server.kill();
        check(&Server::start(&self.postgres.url(&self.database), &[]), all);
    }
}

fn session(name: &str, version: u64) -> String {
    format!(r#"{{"{name}":{version}}}"#)
}

/// Everything that is ever written to the session table is noted, however short it is there.
const AUDIT: &str = "
    create table audit (sid varchar);
    create function note() returns trigger language plpgsql as
        $$ begin insert into audit values (new.sid); return new; end $$;
    create trigger note after insert or update on session for each row execute function note()";

#[test]
fn a_commit_that_is_cut_is_acknowledged_and_applied_once() {
    let rig = Rig::start("20s");
    rig.sql(AUDIT);
    let mut random = Random(Random::seed());
    println!("SOJOURN_SEED={}", random.0);
    let mut connection = rig.server.connect();
    let (mut committed, mut not_committed) = (0, 0);
    let mut acked = BTreeSet::new();
    for round in 0..DOUBTS {
        // A heartbeat, which an idle server sends, would spring the trap before the commit.
        rig.set("hot", round);
        let towards = if round % 2 == 0 { Towards::Server } else { Towards::Database };
        rig.proxy.cut_after(towards, random.below(MESSAGE_BYTES) as usize);
        let names = (0..SETS_TOGETHER).map(|number| format!("doubt-{round}-{number}")).collect::<Vec<_>>();
        let set = |name: &String| encode(&["SET", &format!("sess:{name}"), &session("doubt", round)]);
        connection.send(&names.iter().flat_map(set).collect::<Vec<u8>>()).expect("a server");
        wait_until("a commit that is cut", || rig.proxy.traps_sprung() == round + 1);
        match rig.sql(&format!("select count(*) from session where sid like 'doubt-{round}-%'")).as_str() {
            "0" => not_committed += 1,
            _ => committed += 1,
        }
        rig.proxy.pass();
        for name in names {
            let reply = connection.read().expect("a reply");
            if is_ok(&reply) {
                acked.insert(name);
            } else {
                // One that came when the outage was known already.
                assert!(is_error(&reply, "MISCONF"), "{name}: {reply:?}: {}", rig.server.log());
            }
        }
    }
    println!("{committed} batches in doubt were committed and {not_committed} were not; each was applied once");
    assert!(committed >= DOUBTS / 3 && not_committed >= DOUBTS / 3, "{committed} and {not_committed}");
    assert!(acked.len() >= DOUBTS as usize * SETS_TOGETHER / 2, "{}", acked.len());
    let acked: Vec<String> = acked.into_iter().collect();
    let noted = rig.sql("select sid from audit where sid like 'doubt-%' order by sid collate \"C\"");
    assert_eq!(noted.lines().collect::<Vec<_>>(), acked, "applied once, each");
    let rows = rig.sql("select sid from session where sid like 'doubt-%' order by sid collate \"C\"");
    assert_eq!(rows, noted);
}

#[test]
fn a_stalled_connection_refuses_writes_within_their_time() {
    let rig = Rig::start("500ms");
    rig.set("a", 1);
    rig.proxy.stall();
    let begun = Instant::now();
    let reply = rig.try_set("a", 2);
    let took = begun.elapsed();
    assert!(is_error(&reply, "UNCERTAIN"), "its commit is under way: {reply:?}: {}", rig.server.log());
    assert!(took < Duration::from_millis(500) + LATE_MAX, "the answer took {took:?}");
    let stalled = Instant::now();
    let slowest = slowest_hot_read(&rig.server, || stalled.elapsed() >= STALL);
    assert!(slowest < HOT_READ_MAX, "a read from memory took {slowest:?}");
    for version in 0..20 {
        let begun = Instant::now();
        let reply = rig.try_set(&format!("refused-{version}"), version);
        assert!(is_error(&reply, "MISCONF"), "{reply:?}");
        assert!(begun.elapsed() < HOT_READ_MAX, "a refusal took {:?}", begun.elapsed());
    }
    assert!(matches!(rig.server.call(&["EXPIRE", "sess:hot", "3601"]), Frame::Line(b':', _)), "a touch is taken");
    rig.proxy.pass();
    wait_until("the recovery", || is_ok(&rig.try_set("b", 1)));
    let value = rig.get("a");
    assert!([session("a", 1), session("a", 2)].contains(&value), "{value}");
    assert_eq!(rig.stored("a"), value);
    assert_eq!(rig.sql("select count(*) from session where sid like 'refused-%'"), "0");
}

#[test]
fn a_stalled_commit_that_arrives_late_changes_nothing() {
    let rig = Rig::start("1s");
    rig.set("a", 1);
    let stalled = rig.proxy.stall_present();
    let reply = rig.try_set("a", 2);
    assert!(is_error(&reply, "UNCERTAIN") || is_error(&reply, "MISCONF"), "{reply:?}");
    // The server comes back on a new connection, and writes the key again; then the network delivers the old commit.
    wait_until("the recovery", || is_ok(&rig.try_set("b", 1)));
    rig.set("a", 3);
    assert!(rig.proxy.open_before(stalled) > 0, "the old connection still stalls");
    rig.proxy.pass();
    wait_until("the end of the old connection", || rig.proxy.open_before(stalled) == 0);
    assert_eq!(rig.stored("a"), session("a", 3));
    rig.set("c", 1);
    assert_eq!(rig.get("a"), session("a", 3));
}

#[test]
fn a_slow_connection_is_only_slow() {
    let rig = Rig::start("20s");
    rig.proxy.slow(Duration::from_millis(5));
    let load = Load::start(rig.server.address());
    load.wait_for_acked(400);
    assert_eq!(load.refused.load(Ordering::Relaxed), 0);
    let all = load.end();
    rig.check_after(&all);
}

#[test]
fn cuts_under_load_lose_nothing() {
    let rig = Rig::start("20s");
    let mut random = Random(Random::seed());
    println!("SOJOURN_SEED={}", random.0);
    let load = Load::start(rig.server.address());
    for cut in 0..CUTS {
        load.wait_for_acked(ACKED_BETWEEN_CUTS + random.below(100));
        let sprung = rig.proxy.traps_sprung();
        match cut % 4 {
            0 => rig.proxy.cut_after(Towards::Database, random.below(40_000) as usize),
            1 => rig.proxy.cut_after(Towards::Server, random.below(400) as usize),
            _ => rig.proxy.cut(),
        }
        if cut % 4 < 2 {
            wait_until("a cut", || rig.proxy.traps_sprung() > sprung);
            rig.proxy.pass();
        }
    }
    load.wait_for_acked(ACKED_BETWEEN_CUTS);
    let all = load.end();
    let acked: usize = all.iter().map(|answers| answers.acked.len()).sum();
    println!("{CUTS} cuts under load, {acked} acknowledged writes, none lost");
    assert!(acked as u64 >= CUTS * ACKED_BETWEEN_CUTS, "{acked}");
    rig.check_after(&all);
}

#[test]
fn an_exec_whose_values_cannot_be_loaded_is_over() {
    let Rig { postgres, database, proxy, server } = Rig::start("500ms");
    assert!(is_ok(&server.call(&["SET", "sess:cold", &session("cold", 1)])));
    server.kill();
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", proxy.port());
    // A new server knows the key, and its value is only in the database.
    let server = Server::start(&url, &[COLD, &["--write-timeout", "500ms"]].concat());
    let mut connection = server.connect();
    assert!(is_ok(&connection.call(&["MULTI"]).expect("a reply")));
    let queued = connection.call(&["APPEND", "sess:cold", "x"]).expect("a reply");
    assert_eq!(queued, Frame::Line(b'+', b"QUEUED".to_vec()));
    proxy.stall();
    let reply = connection.call(&["EXEC"]).expect("a reply");
    assert!(is_error(&reply, "MISCONF"), "{reply:?}");
    let reply = connection.call(&["PING"]).expect("a reply");
    assert_eq!(reply, Frame::Line(b'+', b"PONG".to_vec()), "the client has left MULTI");
    proxy.pass();
    wait_until("the recovery", || is_ok(&server.call(&["SET", "sess:b", "{}"])));
    assert_eq!(postgres.sql(&database, "select sess from session where sid = 'cold'"), session("cold", 1));
}
