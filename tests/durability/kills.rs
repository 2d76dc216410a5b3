//! kill -9 under load, again and again, on the same data, of the server and of PostgreSQL: every acknowledged write is
//! there, every deletion and every shortened life stays, and no EXEC is torn.

use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::history::Verdict;
use super::load::{Answers, Random, Writer};
use super::postgres::PostgresServer;
use super::server::{Server, wait_until};
use super::victim::Victim;

/// Kills of the server on each database; `SOJOURN_KILLS` says another number.
const KILLS: u64 = 8;
/// Every so many-th round PostgreSQL is killed, too.
const ROUNDS_PER_CRASH: u64 = 4;
/// Fewer acknowledged writes between two kills prove nothing.
const ACKED_MIN: u64 = 1_000;
const CONNECTIONS: usize = 4;

/// What happened over all rounds.
#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    crashes: u64,
    acked: u64,
    least_acked: Option<u64>,
    refused: u64,
    uncertain: u64,
    keys: usize,
    longest_recovery: Duration,
    verdict: Verdict,
}

impl Figures {
    /// A row of the table in benches/RELIABILITY.md.
    fn print(&self, name: &str, seed: u64) {
        let Verdict { lost, undone_deletes, came_back, torn } = &self.verdict;
        println!(
            "SOJOURN_SEED={seed}, {} keys, {} refused, {} uncertain, longest recovery {:.1} s\n\
             | {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.keys,
            self.refused,
            self.uncertain,
            self.longest_recovery.as_secs_f64(),
            self.kills,
            self.crashes,
            self.acked,
            self.least_acked.unwrap_or_default(),
            lost.len(),
            undone_deletes.len(),
            came_back.len(),
            torn.len(),
        );
    }
}

impl AddAssign<&Answers> for Figures {
    fn add_assign(&mut self, answers: &Answers) {
        let acked = answers.acked.load(Ordering::Relaxed);
        self.acked += acked;
        self.least_acked = Some(self.least_acked.map_or(acked, |least| least.min(acked)));
        self.refused += answers.refused.load(Ordering::Relaxed);
        self.uncertain += answers.uncertain.load(Ordering::Relaxed);
    }
}

/// A run of many kills on one database.
struct Run<'a> {
    url: &'a str,
    random: Random,
    victim: Option<Victim<'a>>,
    figures: Figures,
}

impl Run<'_> {
    /// Lets all writers write, kills PostgreSQL in the midst of it if it is its turn, and then the server.
    fn round(&mut self, server: Server, writers: Vec<Writer>) -> Vec<Writer> {
        let answers = Arc::new(Answers::default());
        let address = server.address();
        let run = |writer: Writer| {
            let answers = Arc::clone(&answers);
            thread::spawn(move || writer.run(address, &answers))
        };
        let threads: Vec<_> = writers.into_iter().map(run).collect();
        let wait_for_acked = |more: u64| {
            let goal = answers.acked.load(Ordering::Relaxed) + more;
            let begun = Instant::now();
            wait_until("acknowledged writes", || {
                answers.acked.load(Ordering::Relaxed) >= goal || threads.iter().any(|thread| thread.is_finished())
            });
            begun.elapsed()
        };
        wait_for_acked(ACKED_MIN + self.random.below(3_000));
        self.figures.kills += 1;
        if let Some(victim) = self.victim.as_mut().filter(|_| self.figures.kills.is_multiple_of(ROUNDS_PER_CRASH)) {
            let waits = self.random.below(2) == 0;
            victim.crash(self.figures.crashes, || {
                if waits {
                    wait_until("a refused write", || answers.refused.load(Ordering::Relaxed) > 0);
                }
            });
            self.figures.crashes += 1;
            // Nobody helps the server to come back.
            let recovery = wait_for_acked(self.random.below(1_000) + 1);
            self.figures.longest_recovery = self.figures.longest_recovery.max(recovery);
            wait_for_acked(ACKED_MIN);
        } else {
            let refused = answers.refused.load(Ordering::Relaxed) + answers.uncertain.load(Ordering::Relaxed);
            assert_eq!(refused, 0, "writes were refused while the database was well: {}", server.log());
        }
        thread::sleep(Duration::from_micros(self.random.below(30_000)));
        server.kill();
        let writers = threads.into_iter().map(|thread| thread.join().expect("a writer without complaint")).collect();
        self.figures += &*answers;
        writers
    }

    fn kill_under_load(&mut self, name: &str, kills: u64, seed: u64) {
        let mut writers: Vec<Writer> = (0..CONNECTIONS).map(|name| Writer::new(name, seed)).collect();
        let mut server = Server::start(self.url, &[]);
        for _ in 0..kills {
            writers = self.round(server, writers);
            server = Server::start(self.url, &[]);
            for writer in &mut writers {
                let found = writer.find(server.address());
                self.figures.verdict.add(writer.history.settle(&found));
            }
        }
        self.figures.keys = writers.iter().map(|writer| writer.history.keys.len()).sum();
        self.figures.print(name, seed);
        assert_eq!(server.stop().code(), Some(0), "{}", server.log());
    }
}

fn kill_under_load(name: &str, url: &str, victim: Option<Victim<'_>>, kills: u64) -> Figures {
    let seed = Random::seed();
    println!("SOJOURN_SEED={seed}");
    let mut run = Run { url, random: Random(seed), victim, figures: Figures::default() };
    run.kill_under_load(name, kills, seed);
    run.figures
}

fn assert_nothing_is_lost(name: &str, url: &str, victim: Option<Victim<'_>>) {
    let kills = std::env::var("SOJOURN_KILLS").map_or(KILLS, |kills| kills.parse().expect("SOJOURN_KILLS: a number"));
    let figures = kill_under_load(name, url, victim, kills);
    assert!(figures.verdict.is_good(), "{}", figures.verdict);
    let least_acked = figures.least_acked.unwrap_or_default();
    assert!(least_acked >= ACKED_MIN, "a round had only {least_acked} acknowledged writes");
}

#[test]
fn kill_9_under_load_loses_no_acked_write_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_nothing_is_lost("SQLite", &format!("sqlite://{}", folder.path().join("sojourn.db").display()), None);
}

#[test]
fn kill_9_under_load_loses_no_acked_write_on_postgresql() {
    let mut postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let url = postgres.url(&database);
    assert_nothing_is_lost("PostgreSQL", &url, Some(Victim { postgres: &mut postgres, database }));
}

#[test]
fn a_database_that_keeps_nothing_is_found_out() {
    let figures = kill_under_load("memory://", "memory://", None, 1);
    assert!(figures.verdict.lost.len() > 100, "only {} keys are reported as lost", figures.verdict.lost.len());
}
