//! kill -9 under load, again and again, on the same data: every acknowledged write is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::history::Verdict;
use super::load::{Random, Writer};
use super::postgres::PostgresServer;
use super::server::{Server, wait_until};

/// Kills of each database; `SOJOURN_KILLS` says another number.
const KILLS: u64 = 5;
/// Fewer acknowledged writes between two kills prove nothing.
const ACKED_MIN: u64 = 1_000;
const CONNECTIONS: usize = 4;

/// What happened over all kills.
#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    acked: u64,
    least_acked: u64,
    keys: usize,
    verdict: Verdict,
}

impl Figures {
    fn print(&self, name: &str, seed: u64) {
        let Self { kills, acked, least_acked, keys, verdict } = self;
        let (lost, undone, torn) = (verdict.lost.len(), verdict.undone_deletes.len(), verdict.torn.len());
        println!(
            "kill -9 on {name}: {kills} kills, {acked} acked writes (at least {least_acked} a kill), {keys} keys, \
             {lost} lost, {undone} undone deletes, {torn} torn transactions (SOJOURN_SEED={seed})"
        );
    }
}

/// Lets all writers write, kills the server in the midst of it, and answers how many writes were acknowledged.
fn load_and_kill(server: Server, writers: Vec<Writer>, random: &mut Random) -> (Vec<Writer>, u64) {
    let acked = Arc::new(AtomicU64::new(0));
    let address = server.address();
    let run = |writer: Writer| {
        let acked = Arc::clone(&acked);
        thread::spawn(move || writer.run(address, &acked))
    };
    let threads: Vec<_> = writers.into_iter().map(run).collect();
    let enough = ACKED_MIN + random.below(3_000);
    wait_until("enough acknowledged writes", || {
        acked.load(Ordering::Relaxed) >= enough || threads.iter().any(|thread| thread.is_finished())
    });
    thread::sleep(Duration::from_micros(random.below(30_000)));
    server.kill();
    let writers = threads.into_iter().map(|thread| thread.join().expect("a writer without complaint")).collect();
    (writers, acked.load(Ordering::Relaxed))
}

fn kill_under_load(name: &str, url: &str, kills: u64) -> Figures {
    let seed = Random::seed();
    println!("SOJOURN_SEED={seed}");
    let mut random = Random(seed);
    let mut writers: Vec<Writer> = (0..CONNECTIONS).map(|name| Writer::new(name, seed)).collect();
    let mut figures = Figures { kills, least_acked: u64::MAX, ..Figures::default() };
    let mut server = Server::start(url, &[]);
    for _ in 0..kills {
        let (written, acked) = load_and_kill(server, writers, &mut random);
        writers = written;
        figures.acked += acked;
        figures.least_acked = figures.least_acked.min(acked);
        server = Server::start(url, &[]);
        for writer in &mut writers {
            let found = writer.find(server.address());
            figures.verdict.add(writer.history.settle(&found));
        }
    }
    figures.keys = writers.iter().map(|writer| writer.history.keys.len()).sum();
    figures.print(name, seed);
    assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    figures
}

fn assert_nothing_is_lost(name: &str, url: &str) {
    let kills = std::env::var("SOJOURN_KILLS").map_or(KILLS, |kills| kills.parse().expect("SOJOURN_KILLS: a number"));
    let figures = kill_under_load(name, url, kills);
    assert!(figures.verdict.is_good(), "{:#?}", figures.verdict);
    assert!(figures.least_acked >= ACKED_MIN, "a round had only {} acknowledged writes", figures.least_acked);
}

#[test]
fn kill_9_under_load_loses_no_acked_write_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_nothing_is_lost("SQLite", &format!("sqlite://{}", folder.path().join("sojourn.db").display()));
}

#[test]
fn kill_9_under_load_loses_no_acked_write_on_postgresql() {
    let postgres = PostgresServer::start(&[]);
    assert_nothing_is_lost("PostgreSQL", &postgres.url(&postgres.create_database()));
}

#[test]
fn a_database_that_keeps_nothing_is_found_out() {
    let figures = kill_under_load("memory://", "memory://", 1);
    assert!(figures.verdict.lost.len() > 100, "only {} keys are reported as lost", figures.verdict.lost.len());
}
