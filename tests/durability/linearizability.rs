//! Linearizability: what concurrent clients were answered, while the server and PostgreSQL were killed and started again,
//! can be explained by one order of their commands, none of them before its call or after its reply.
//!
//! Each round has keys of its own. The history of each key begins with nothing and ends with what a last restart finds; a
//! sixth one is that of two accounts in two tables, between which every EXEC moves money.

mod client;
mod model;
mod record;

use std::collections::BTreeMap;
use std::thread;

use self::client::{Client, Stage, TOTAL};
use self::model::{Command, Value};
use self::record::Record;
use super::load::Random;
use super::postgres::PostgresServer;
use super::server::{Server, is_error, is_ok, wait_for, wait_until};
use super::victim::Victim;

/// Histories of each database that must count; `SOJOURN_HISTORIES` says another number.
const HISTORIES: usize = 20;
const CLIENTS: u64 = 6;
/// Operations with a known outcome before, between and after the faults of a round.
const OPERATIONS: u64 = 250;
const FAULTS: u64 = 2;
/// Shorter than the default, so that outages leave more outcomes unknown.
const SETTINGS: &[&str] = &["--write-timeout", "400ms"];

#[derive(Debug, Default)]
struct Figures {
    histories: usize,
    not_counted: usize,
    operations: usize,
    overlapping_percent_min: Option<usize>,
    unknown_percent_max: usize,
    kills: u64,
    crashes: u64,
}

impl Figures {
    /// A row of the table in benches/RELIABILITY.md.
    fn print(&self, name: &str) {
        println!(
            "| {name} | {} | {} | {} | {} % | {} % | {} | {} | 0 |",
            self.histories,
            self.not_counted,
            self.operations,
            self.overlapping_percent_min.unwrap_or_default(),
            self.unknown_percent_max,
            self.kills,
            self.crashes,
        );
    }

    /// Checks a history; it counts only if it could have failed.
    fn check(&mut self, key: &str, record: &Record) {
        if !record.counts() {
            self.not_counted += 1;
            return;
        }
        let (overlapping, unknown) = (record.overlapping_percent(), record.unknown_percent());
        assert!(record.is_linearizable(), "{key}: not linearizable:\n{}", record.first_contradiction());
        self.histories += 1;
        self.operations += record.0.len();
        self.overlapping_percent_min =
            Some(self.overlapping_percent_min.map_or(overlapping, |min| min.min(overlapping)));
        self.unknown_percent_max = self.unknown_percent_max.max(unknown);
    }
}

/// Rounds on one database.
struct Run<'a> {
    url: &'a str,
    seed: u64,
    random: Random,
    victim: Option<Victim<'a>>,
    server: Option<Server>,
    figures: Figures,
}

impl Run<'_> {
    fn server(&self) -> &Server {
        self.server.as_ref().expect("a running server")
    }

    fn kill_server(&mut self) {
        self.server.take().expect("a running server").kill();
        self.server = Some(Server::start(self.url, SETTINGS));
        self.figures.kills += 1;
    }

    /// Kills something, and waits until writes succeed again.
    fn fault(&mut self) {
        let waits = self.random.below(2) == 0;
        match (self.random.below(5), &mut self.victim) {
            (0..3, Some(victim)) => {
                let server = self.server.as_ref().expect("a running server");
                victim.crash(self.random.below(3), || {
                    if waits {
                        wait_until("a refused write", || is_error(&server.call(&["SET", "probe", "1"]), "MISCONF"));
                    }
                });
                self.figures.crashes += 1;
            }
            (_, _) => self.kill_server(),
        }
        wait_until("a write", || is_ok(&self.server().call(&["SET", "probe", "2"])));
    }

    /// The records of each key.
    fn round(&mut self, number: u64) -> BTreeMap<String, Record> {
        let stage = Stage::new(self.server().address(), number);
        let mut referee = Client::new(CLIENTS, self.seed);
        self.open_accounts(&mut referee, &stage);
        let seed = self.seed.wrapping_add(number << 16);
        let mut clients: Vec<Client> = thread::scope(|scope| {
            let start = |number| {
                scope.spawn({
                    let stage = &stage;
                    move || Client::new(number, seed).run(stage)
                })
            };
            let threads: Vec<_> = (0..CLIENTS).map(start).collect();
            // However this scope ends, its threads must.
            let ends = stage.ends_when_dropped();
            for fault in 0..=FAULTS {
                let goal = stage.answered() + OPERATIONS;
                wait_until("answers", || stage.answered() >= goal || threads.iter().any(|thread| thread.is_finished()));
                if fault < FAULTS {
                    self.fault();
                    stage.move_to(self.server().address());
                }
            }
            drop(ends);
            threads.into_iter().map(|thread| thread.join().expect("a client without complaint")).collect()
        });
        self.read_all(&mut referee, &stage);
        self.kill_server();
        self.read_all(&mut referee, &stage);
        clients.push(referee);
        let mut records: BTreeMap<String, Record> = BTreeMap::new();
        for (key, record) in clients.into_iter().flat_map(|client| client.records) {
            records.entry(key).or_default().0.extend(record.0);
        }
        records
    }

    fn open_accounts(&self, referee: &mut Client, stage: &Stage) {
        let held = Value::Accounts(TOTAL / 2, TOTAL / 2);
        let mut connection = self.server().connect();
        let set = referee.set_accounts(&mut connection, &stage.accounts(), Command::Set(held), held);
        assert!(matches!(set, Ok(Some(_))), "{set:?}: {}", self.server().log());
    }

    fn read_all(&self, referee: &mut Client, stage: &Stage) {
        let mut connection = self.server().connect();
        for key in stage.keys() {
            for command in [Command::Get, Command::End] {
                wait_for("a value", || referee.call(&mut connection, &key, command).expect("a reply"));
            }
        }
        wait_for("the accounts", || referee.read_accounts(&mut connection, &stage.accounts()).expect("a reply"));
    }
}

fn assert_linearizable(name: &str, url: &str, victim: Option<Victim<'_>>) {
    let wanted = std::env::var("SOJOURN_HISTORIES")
        .map_or(HISTORIES, |histories| histories.parse().expect("SOJOURN_HISTORIES: a number"));
    let seed = Random::seed();
    println!("SOJOURN_SEED={seed}");
    let server = Some(Server::start(url, SETTINGS));
    let mut run = Run { url, seed, random: Random(seed), victim, server, figures: Figures::default() };
    // Five histories a round: enough rounds for all, though most should not count.
    for number in 0..wanted as u64 {
        if run.figures.histories >= wanted {
            break;
        }
        let records = run.round(number);
        records.iter().for_each(|(key, record)| run.figures.check(key, record));
    }
    run.figures.print(name);
    assert!(run.figures.histories >= wanted, "too few histories count: {:?}", run.figures);
}

#[test]
fn histories_of_sqlite_are_linearizable() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_linearizable("SQLite", &format!("sqlite://{}", folder.path().join("sojourn.db").display()), None);
}

#[test]
fn histories_of_postgresql_are_linearizable() {
    let mut postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let url = postgres.url(&database);
    assert_linearizable("PostgreSQL", &url, Some(Victim { postgres: &mut postgres, database }));
}
