//! Random commands while the keys are being read, against a plain model: whatever comes first of a row, the answer to a question
//! and a command, a client sees what it would see had all keys been known from the beginning, and so do memory and database
//! in the end.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy};
use proptest::prop_oneof;
use proptest::test_runner::{Config, TestRunner};
use sojourn::clock::Expiry;
use sojourn::database::memory::Memory;
use sojourn::database::write_through::Status;
use sojourn::database::{DatabaseError, Home};
use tokio::task::JoinHandle;

use super::{MINUTE_MS, NOW_MS, Reading, Rig, put_by_hand, settings, wait_until};

const CASES: u32 = 300;
const STEPS_MAX: usize = 60;
/// Few, so that rows, answers and commands meet.
const KEYS: [&str; 4] = ["sess:a", "sess:b", "a", "b"];

/// What happens next. A key is its place in [`KEYS`], an end so many milliseconds from now.
#[derive(Clone, Debug)]
enum Step {
    Get(usize),
    Set(usize, u8, i64),
    Expire(usize, i64),
    Delete(usize),
    /// One more row comes.
    Row,
    /// The database is asked for a key, and reads its answer; but the answer comes with the next `Answer`.
    Question(usize),
    Answer,
    /// The clock moves on.
    Advance(i64),
    /// Everything is committed, touches too.
    Commit,
    /// The database goes away and comes back, and the reading begins anew.
    Anew,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..KEYS.len();
    let end_ms = || prop_oneof![3 => Just(30 * MINUTE_MS), 2 => 29 * MINUTE_MS..31 * MINUTE_MS, 1 => 1..5_000_i64];
    let step = prop_oneof![
        4 => key().prop_map(Step::Get),
        3 => (key(), 0..3_u8, end_ms()).prop_map(|(key, value, end_ms)| Step::Set(key, value, end_ms)),
        3 => (key(), end_ms()).prop_map(|(key, end_ms)| Step::Expire(key, end_ms)),
        3 => key().prop_map(Step::Delete),
        4 => Just(Step::Row),
        3 => key().prop_map(Step::Question),
        1 => Just(Step::Answer),
        1 => (1..10_000_i64).prop_map(Step::Advance),
        1 => Just(Step::Commit),
        2 => Just(Step::Anew),
    ];
    vec(step, 1..STEPS_MAX)
}

fn text(key: &str, value: u8) -> String {
    if key.starts_with("sess:") { format!(r#"{{"n":{value}}}"#) } else { value.to_string() }
}

/// How often what the test is about came to pass.
#[derive(Debug, Default)]
struct Seen {
    /// Commands over a key that was not known.
    asked: Cell<u32>,
    /// Rows that said nothing new, after a command had changed something.
    overtaken: Cell<u32>,
    /// Answers about a key that a command had changed since the reading began.
    late: Cell<u32>,
}

fn count(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

struct Trial<'s> {
    rig: Rig,
    reading: Reading,
    question: Option<(usize, JoinHandle<Result<(), DatabaseError>>)>,
    /// Keys that a command changed since the reading began.
    changed: [bool; KEYS.len()],
    model: BTreeMap<usize, (u8, Expiry)>,
    seen: &'s Seen,
}

impl<'s> Trial<'s> {
    /// A start on a database that has these keys, each with an end so many milliseconds from now.
    async fn start(there: &[Option<i64>], seen: &'s Seen) -> Self {
        let database = Memory::open(&settings());
        let mut model = BTreeMap::new();
        for (number, end_ms) in there.iter().enumerate() {
            let (Some(end_ms), key) = (end_ms, KEYS[number]) else { continue };
            let home = if key.starts_with("sess:") { Home::Session(0) } else { Home::Keys };
            let expiry = Expiry::at_ms(NOW_MS + end_ms);
            put_by_hand(&database, home, key, &text(key, 0), expiry);
            model.insert(number, (0, expiry));
        }
        database.hold_scans_after(0);
        let (rig, reading) = Rig::reading(database).await;
        Self { rig, reading, question: None, changed: [false; KEYS.len()], model, seen }
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Get(key) => self.get(key).await,
            Step::Set(key, value, end_ms) => self.set(key, value, end_ms).await,
            Step::Expire(key, end_ms) => self.expire(key, end_ms).await,
            Step::Delete(key) => self.delete(key).await,
            Step::Row => self.row().await,
            Step::Question(key) => self.ask_and_wait(key).await,
            Step::Answer => self.answer().await,
            Step::Advance(by_ms) => {
                self.rig.clock.advance_ms(by_ms);
                self.rig.keyspace.expire();
            }
            Step::Commit => self.commit().await,
            Step::Anew => self.anew().await,
        }
        let now_ms = self.rig.clock.now_ms();
        self.model.retain(|_, (_, expiry)| !expiry.is_past(now_ms));
    }

    /// What the executor does before a command over this key. While an answer is held back nobody gets another one, so the
    /// command is left out then: `false`.
    async fn ask(&self, key: usize) -> bool {
        if self.rig.is_unknown(KEYS[key]) {
            if self.question.is_some() {
                return false;
            }
            count(&self.seen.asked);
            self.rig.ask(KEYS[key]).await;
        }
        true
    }

    async fn get(&mut self, key: usize) {
        if !self.ask(key).await {
            return;
        }
        let name = KEYS[key];
        let expected = self.model.get(&key).copied();
        let (end, _) = self.rig.run(&[name], |keys| keys.expiry(name.as_bytes()));
        assert_eq!(end, expected.map(|(_, expiry)| expiry), "the end of {name}");
        let read = || self.rig.run(&[name], |keys| keys.value(name.as_bytes())).0;
        let mut value = read();
        if value.is_err() {
            // It is cold: only its row has come.
            if self.question.is_some() {
                return;
            }
            self.rig.question(name).await.expect("no panic").expect("a database that answers");
            value = read();
        }
        let value = value.expect("a value that was loaded").map(|value| value.to_vec());
        assert_eq!(value, expected.map(|(value, _)| text(name, value).into_bytes()), "{name}");
    }

    async fn set(&mut self, key: usize, value: u8, end_ms: i64) {
        if self.ask(key).await {
            let expiry = Expiry::at_ms(self.rig.clock.now_ms() + end_ms);
            self.rig.set_until(KEYS[key], &text(KEYS[key], value), expiry);
            self.model.insert(key, (value, expiry));
            self.changed[key] = true;
        }
    }

    async fn expire(&mut self, key: usize, end_ms: i64) {
        if self.ask(key).await {
            let expiry = Expiry::at_ms(self.rig.clock.now_ms() + end_ms);
            let (found, _) = self.rig.run(&[KEYS[key]], |keys| keys.set_expiry(KEYS[key].as_bytes(), expiry));
            assert_eq!(found, Ok(self.model.contains_key(&key)), "EXPIRE of {}", KEYS[key]);
            if let Some((_, end)) = self.model.get_mut(&key) {
                *end = expiry;
                self.changed[key] = true;
            }
        }
    }

    async fn delete(&mut self, key: usize) {
        if self.ask(key).await {
            let (found, _) = self.rig.delete(KEYS[key]);
            assert_eq!(found, self.model.remove(&key).is_some(), "DEL of {}", KEYS[key]);
            self.changed[key] |= found;
        }
    }

    async fn row(&self) {
        let (database, reading) = (&self.rig.database, &self.reading);
        let unknown = || KEYS.iter().filter(|key| self.rig.is_unknown(key)).count();
        let (unknown_before, rows) = (unknown(), database.visited() + 1);
        database.hold_scans_after(rows);
        wait_until("a row", || database.visited() == rows || reading.is_finished()).await;
        if !reading.is_finished() && unknown() == unknown_before && self.changed.contains(&true) {
            count(&self.seen.overtaken);
        }
    }

    async fn ask_and_wait(&mut self, key: usize) {
        if self.question.is_some() {
            return;
        }
        let database = &self.rig.database;
        let loads = database.loads();
        database.hold_loads(true);
        let asked = self.rig.question(KEYS[key]);
        wait_until("the question", || database.loads() > loads || asked.is_finished()).await;
        self.question = Some((key, asked));
    }

    async fn answer(&mut self) {
        self.rig.database.hold_loads(false);
        if let Some((key, asked)) = self.question.take() {
            asked.await.expect("no panic").expect("a database that answers");
            if self.changed[key] {
                count(&self.seen.late);
            }
        }
    }

    async fn commit(&self) {
        self.rig.through.barrier().await.expect("everything is committed");
    }

    /// An answer that is held back was read before.
    async fn anew(&mut self) {
        self.commit().await;
        if self.reading.is_finished() {
            return;
        }
        let database = &self.rig.database;
        database.set_away(true);
        database.hold_scans_after(u64::MAX);
        let ended = (&mut self.reading).await.expect("no panic");
        database.set_away(false);
        if ended.is_err() {
            database.hold_scans_after(database.visited());
            wait_until("the database", || self.rig.through.status() == Status::Up).await;
            self.changed = [false; KEYS.len()];
            self.reading = self.rig.read_keys();
        }
    }

    /// All keys are known in the end, and memory, database and model say the same.
    async fn end(mut self) {
        self.answer().await;
        self.rig.database.hold_scans_after(u64::MAX);
        if !self.rig.keyspace.knows_all() {
            let read = (&mut self.reading).await.expect("no panic");
            assert!(matches!(read, Ok(Some(_))), "{read:?}");
        }
        assert!(self.rig.keyspace.knows_all());
        self.commit().await;
        self.rig.keyspace.expire();
        assert_eq!(self.rig.count(), self.model.len(), "DBSIZE");
        for (key, name) in KEYS.iter().enumerate() {
            self.get(key).await;
            let stored = self.rig.database.stored(name.as_bytes());
            // The row of what has ended is left to a prune.
            let now_ms = self.rig.clock.now_ms();
            let stored = stored.filter(|(_, expiry)| !expiry.is_past(now_ms)).map(|(value, end)| (value.to_vec(), end));
            let expected = self.model.get(&key).map(|(value, end)| (text(name, *value).into_bytes(), *end));
            assert_eq!(stored, expected, "the row of {name}");
        }
    }
}

#[test]
fn while_keys_are_read_every_command_does_what_the_model_says() {
    let (seen, end_ms) = (Seen::default(), proptest::option::of(1_000..60 * MINUTE_MS));
    let sequences = (vec(end_ms, KEYS.len()), steps());
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let checked = TestRunner::new(config).run(&sequences, |(there, steps)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut trial = Trial::start(&there, &seen).await;
            for step in &steps {
                trial.take(step).await;
            }
            trial.end().await;
        });
        runtime.shutdown_timeout(Duration::ZERO);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
    let enough = |cell: &Cell<u32>| cell.get() >= CASES / 5;
    assert!(enough(&seen.asked) && enough(&seen.overtaken) && enough(&seen.late), "too little was tried: {seen:?}");
}
