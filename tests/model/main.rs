//! Random sequences of commands against a plain model: every reply must be the model's, and so must the keys, the rows in
//! the database, and what a new server finds there. `PROPTEST_CASES` says how many sequences.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "../support/postgres.rs"]
mod postgres;

#[path = "../support/mod.rs"]
mod support;

mod call;
mod compressed;
mod plain;
mod rig;

use std::collections::BTreeSet;

use proptest::prelude::TestCaseError;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};
use sojourn::clock::Clock;

use call::{KEYS, Step};
use plain::{Plain, Value};
use rig::{Database, Row, Server};
use support::resp::{Connection, Frame, encode};
use support::server::wait_until;

const START_MS: i64 = 1_800_000_000_000;
const STEPS_MAX: usize = 80;
/// A key that no sequence knows: when its row is gone, a prune has been.
const CANARY: &str = "canary";

type Checked = Result<(), TestCaseError>;

/// A server and the model of what it holds.
struct Trial<'d> {
    database: &'d Database,
    clock: Clock,
    model: Plain,
    server: Option<Server>,
    connection: Connection,
}

impl<'d> Trial<'d> {
    fn start(database: &'d Database) -> Self {
        let clock = Clock::manual(START_MS);
        let server = Server::start(database, &clock);
        let connection = server.connect();
        let mut trial = Self { database, clock, model: Plain::new(START_MS), server: Some(server), connection };
        trial.call(&["FLUSHALL"]);
        trial
    }

    fn call(&mut self, words: &[impl AsRef<[u8]>]) -> Frame {
        self.connection.call(words).expect("a reply")
    }

    fn expect(&mut self, words: &[impl AsRef<[u8]>], expected: &Frame) -> Checked {
        let reply = self.call(words);
        let words: Vec<String> = words.iter().map(|word| word.as_ref().escape_ascii().to_string()).collect();
        same(&words.join(" "), &reply, expected)
    }

    fn run(&mut self, step: &Step) -> Checked {
        match step {
            Step::Call(call) => {
                let words = call.words(self.model.now_ms);
                let expected = self.model.run(call);
                self.expect(&words, &expected)
            }
            Step::Transaction(calls, exec) => self.transaction(calls, *exec),
            Step::Scan(count) => self.scan(*count),
            Step::Advance(by_ms) => {
                self.advance_to(self.model.now_ms + by_ms);
                Ok(())
            }
            Step::AdvanceToEnd(number, before_ms) => {
                let ends = self.model.ends();
                if !ends.is_empty() {
                    self.advance_to((ends[number % ends.len()] - before_ms).max(self.model.now_ms));
                }
                Ok(())
            }
            Step::Prune => {
                self.prune(self.model.now_ms + 2);
                Ok(())
            }
            Step::Restart => {
                self.restart();
                Ok(())
            }
        }
    }

    fn transaction(&mut self, calls: &[call::Call], exec: bool) -> Checked {
        let mut after = self.model.clone();
        let words: Vec<_> = calls.iter().map(|call| call.words(self.model.now_ms)).collect();
        let replies = calls.iter().map(|call| after.run(call)).collect();
        self.expect(&["MULTI"], &Frame::Line(b'+', b"OK".to_vec()))?;
        for words in words {
            self.expect(&words, &Frame::Line(b'+', b"QUEUED".to_vec()))?;
        }
        if exec {
            self.model = after;
            self.expect(&["EXEC"], &Frame::Aggregate(b'*', Some(replies)))
        } else {
            self.expect(&["DISCARD"], &Frame::Line(b'+', b"OK".to_vec()))
        }
    }

    fn scan(&mut self, count: u32) -> Checked {
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        loop {
            let page = self.call(&["SCAN", &cursor, "COUNT", &count.to_string()]);
            let [next, keys] = page.items() else { panic!("no page: {page:?}") };
            found.extend(keys.items().iter().map(|key| key.bytes().expect("a key").to_vec()));
            cursor = String::from_utf8_lossy(next.bytes().expect("a cursor")).into_owned();
            if cursor == "0" {
                break;
            }
        }
        let distinct: BTreeSet<&Vec<u8>> = found.iter().collect();
        same("SCAN, without what it said twice", &distinct.len(), &found.len())?;
        same("SCAN", &distinct, &self.model.keys().keys().collect())
    }

    fn advance_to(&mut self, now_ms: i64) {
        self.clock.advance_ms(now_ms - self.model.now_ms);
        self.model.advance_to(now_ms);
    }

    /// The clock moves to `now_ms`, at least two milliseconds ahead, or a little further, and everything that has ended then
    /// leaves the database. What ends at the very millisecond of a prune may stay for the next one, so no key does.
    fn prune(&mut self, now_ms: i64) {
        let ends = self.model.ends();
        let now_ms = (now_ms..).find(|now_ms| !ends.contains(now_ms)).expect("few keys");
        let mut other = self.server.as_ref().expect("it runs").connect();
        let set = other.call(&["SET", CANARY, "", "PXAT", &(now_ms - 1).to_string()]).expect("a reply");
        assert_eq!(set, Frame::Line(b'+', b"OK".to_vec()));
        self.advance_to(now_ms);
        wait_until("a prune", || self.database.rows().iter().all(|(_, _, key, ..)| key != CANARY.as_bytes()));
    }

    fn restart(&mut self) {
        self.server.take().expect("it runs").stop();
        let server = Server::start(self.database, &self.clock);
        self.connection = server.connect();
        self.server = Some(server);
        self.call(&["SELECT", &self.model.selected.to_string()]);
    }

    /// The server holds exactly what the model holds.
    fn check_keys(&mut self) -> Checked {
        for (number, keys) in self.model.databases.clone().iter().enumerate() {
            self.call(&["SELECT", &number.to_string()]);
            for key in KEYS {
                let expected = keys.get(key);
                let reads: &[u8] = match expected {
                    Some((Value::Hash(_), _)) => b"HGETALL",
                    Some((Value::Set(_), _)) => b"SMEMBERS",
                    Some((Value::Text(_), _)) | None => b"GET",
                };
                self.connection
                    .send(&[encode(&[reads, key]), encode(&[b"PEXPIRETIME", key])].concat())
                    .expect("a server");
                let value = self.connection.read().expect("a value");
                let end = self.connection.read().expect("an end").integer();
                let what = format!("{} of database {number}", key.escape_ascii());
                let whole = expected.map_or(Frame::Bulk(b'$', None), |(value, _)| value.whole());
                same(&what, &value, &whole)?;
                same(&format!("the end of {what}"), &end, &Some(expected.map_or(-2, |(_, end)| end.unwrap_or(-1))))?;
            }
            let size = Frame::Line(b':', keys.len().to_string().into_bytes());
            self.expect(&["DBSIZE"], &size)?;
        }
        self.call(&["SELECT", &self.model.selected.to_string()]);
        Ok(())
    }

    /// So do the rows: a session in its table, everything else in the other one, and nothing twice.
    fn check_rows(&self) -> Checked {
        let databases = self.model.databases.iter().enumerate();
        let mut expected: Vec<Row> =
            databases.flat_map(|(number, keys)| keys.iter().map(move |(key, life)| row(number, key, life))).collect();
        expected.sort();
        same("the rows", &self.database.rows(), &expected)
    }

    /// To the last millisecond before a key ends it is not pruned, even if its record looks as if it had ended; a stop
    /// writes everything, and another server finds the same. One half of the sequences ends without a prune before.
    fn end(&mut self, prune_first: bool) -> Checked {
        self.check_keys()?;
        if prune_first {
            self.prune_to_an_end();
        }
        self.restart();
        self.check_keys()?;
        self.prune_to_an_end();
        self.check_rows()
    }

    fn prune_to_an_end(&mut self) {
        let last_ms = self.model.ends().first().map_or(i64::MAX, |end| end - 1);
        self.prune(last_ms.clamp(self.model.now_ms + 2, self.model.now_ms + 10_000_000));
    }
}

fn row(number: usize, key: &[u8], (value, end): &plain::Life) -> Row {
    let sid = key.strip_prefix(b"sess:").and_then(|sid| std::str::from_utf8(sid).ok());
    let (kind, stored) = (value.kind(), value.stored());
    let object = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&stored);
    let in_session = number == 0 && sid.is_some() && kind == "string" && object.is_ok();
    (in_session, i64::try_from(number).expect("0 or 1"), key.to_vec(), kind.to_owned(), stored, *end)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Checked {
    if found == expected {
        return Ok(());
    }
    Err(TestCaseError::fail(format!("{what}: found {found:?}, but the model says {expected:?}")))
}

fn agree(database: &Database, cases: u32) {
    let cases = std::env::var("PROPTEST_CASES").map_or(cases, |cases| cases.parse().expect("PROPTEST_CASES: a number"));
    let regressions = FileFailurePersistence::Direct("tests/model/regressions.txt");
    let config =
        Config { cases, failure_persistence: Some(Box::new(regressions)), max_shrink_iters: 400, ..Config::default() };
    let checked = TestRunner::new(config).run(&call::steps(STEPS_MAX), |steps| {
        let mut trial = Trial::start(database);
        steps.iter().try_for_each(|step| trial.run(step))?;
        trial.end(steps.len() % 2 == 0)
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn sqlite_does_what_the_model_says() {
    agree(&Database::sqlite(), 40);
}

#[test]
fn postgresql_does_what_the_model_says() {
    agree(&Database::postgres(), 30);
}
