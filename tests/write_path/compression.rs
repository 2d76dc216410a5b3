//! Values that are compressed in memory: they are what they were, wherever they are looked at, whatever happens to them.

use std::collections::BTreeMap;
use std::time::Duration;

use sojourn::config::Settings;
use sojourn::database::Kind;
use sojourn::keyspace::dictionary::Samples;
use sojourn::keyspace::sweep::{Step, Sweep};

use super::*;

#[path = "../../benches/sessions/mod.rs"]
mod sessions;

/// Of so few values a dictionary is trained here.
const SAMPLES_MIN: usize = 200;
const HOUR_MS: i64 = 3_600_000;

/// A rig whose values are compressed when the test says so.
struct Press {
    rig: Rig,
    sweep: Sweep,
}

impl Press {
    async fn start() -> Self {
        Self::on(Rig::patient().await)
    }

    fn on(rig: Rig) -> Self {
        rig.keyspace.follow(&Settings { compress_above: 64, ..Settings::default() });
        Self { rig, sweep: Sweep::new(SAMPLES_MIN) }
    }

    /// One that has its dictionary for sessions of this shape.
    async fn trained_for(shape: &str) -> Self {
        let mut press = Self::start().await;
        press.fill(shape, 2 * SAMPLES_MIN).await;
        press.settle();
        assert!(press.packed() >= 2 * SAMPLES_MIN, "they are compressed");
        press
    }

    async fn fill(&self, shape: &str, count: usize) {
        let all: Vec<(String, String)> =
            (0..count).map(|number| (format!("{shape}:{number}"), session(shape, number))).collect();
        let pairs: Vec<(&str, &str)> = all.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let tickets = self.rig.set_all(&pairs);
        assert_eq!(settled(&tickets).await, Outcome::Committed);
    }

    fn assert_all(&self, shape: &str, count: usize) {
        for number in 0..count {
            assert_eq!(self.rig.value(&format!("{shape}:{number}")), Some(session(shape, number)));
        }
    }

    /// One pass, with the trainings that it asks for and the passes that follow from those.
    fn pass(&mut self) {
        loop {
            match self.sweep.step(&self.rig.keyspace, Duration::from_secs(60)) {
                Step::Unfinished => {}
                Step::Finished => break,
                Step::Train(training) => {
                    self.sweep.adopt(&self.rig.keyspace, training.run());
                    if !self.sweep.is_under_way() {
                        break;
                    }
                }
            }
        }
    }

    /// All that has settled down is compressed: it was there for a pass.
    fn settle(&mut self) {
        (0..2).for_each(|_| self.pass());
        assert_eq!(self.rig.keyspace.memory_use(), self.rig.keyspace.recount(), "the account is kept");
    }

    fn packed(&self) -> usize {
        self.rig.keyspace.packed_bytes().values
    }

    /// What packing leaves of a byte.
    fn ratio(&self) -> f64 {
        let packed = self.rig.keyspace.packed_bytes();
        packed.bytes as f64 / packed.bytes_before as f64
    }

    fn bytes_of(&self, key: &str) -> usize {
        self.rig.run(&[key], |keys| keys.bytes_of(key.as_bytes())).0.expect("it is there")
    }
}

/// A session of a shape, with secrets of its own.
fn session(shape: &str, number: usize) -> String {
    let mut random = fastrand::Rng::with_seed(number as u64);
    let (secret, id) = (random.u64(..), random.u32(..));
    format!(
        r#"{{"{shape}":{{"{shape}Age":86400000,"path":"/{shape}/home","httpOnly":true}},"{shape}Secret":"{secret:x}","{shape}User":{id}}}"#
    )
}

#[tokio::test]
async fn a_value_is_compressed_once_it_has_settled_down_and_read_as_it_was() {
    let mut press = Press::start().await;
    press.fill("cookie", 2 * SAMPLES_MIN).await;
    let before = press.bytes_of("cookie:1");
    press.pass();
    assert_eq!(press.packed(), 0, "nothing has been there for a pass");
    press.pass();
    assert_eq!(press.packed(), 2 * SAMPLES_MIN);
    assert!(press.bytes_of("cookie:1") < before * 2 / 3, "{} of {before}", press.bytes_of("cookie:1"));
    press.assert_all("cookie", 2 * SAMPLES_MIN);
    press.rig.assert_agrees(&[("cookie:7", Some(&session("cookie", 7)))]);
    let written = press.rig.set("cookie:7", "{}");
    assert_eq!(settled(&written).await, Outcome::Committed);
    assert_eq!((press.packed(), press.rig.value("cookie:7").as_deref()), (2 * SAMPLES_MIN - 1, Some("{}")));
    press.rig.delete("cookie:8");
    assert_eq!((press.packed(), press.rig.value("cookie:8")), (2 * SAMPLES_MIN - 2, None));
}

#[tokio::test]
async fn a_script_that_meets_a_value_which_cannot_be_read_has_it_fetched_anew() {
    let press = Press::trained_for("cookie").await;
    let (rig, names) = (&press.rig, [(0, &b"cookie:1"[..])]);
    // Memory is damaged: nothing that is packed can be read any more.
    let packing = &rig.keyspace.packing;
    let mut samples = Samples::default();
    (0..2 * SAMPLES_MIN).for_each(|number| samples.add(session("other", number).as_bytes()));
    packing.adopt(samples.train(packing.free_number(), None).expect("much to learn").dictionary);
    packing.retire();
    let loads = rig.database.loads();
    let locked = rig.keyspace.lock(&Lock::Keys(&names, Access::Write), 0, rig.clock.now_ms());
    let table = rig.keyspace.drafting_table();
    drop(locked.draft(&table, &names));
    drop(locked);
    wait_until("the question", || rig.database.loads() > loads).await;
    wait_until("the answer", || rig.run(&["cookie:1"], |keys| keys.value(b"cookie:1")).0.is_ok()).await;
    assert_eq!(rig.value("cookie:1"), Some(session("cookie", 1)));
}

#[tokio::test]
async fn a_value_that_is_written_all_the_time_is_left_alone() {
    let mut press = Press::trained_for("cookie").await;
    let packed = press.packed();
    for number in 0..5 {
        let written = press.rig.set("cookie:0", &session("cookie", 1_000 + number));
        assert_eq!(settled(&written).await, Outcome::Committed);
        press.pass();
        assert_eq!(press.packed(), packed - 1);
    }
    press.settle();
    assert_eq!(press.packed(), packed);
}

#[tokio::test]
async fn small_values_and_those_that_do_not_shrink_stay_as_they_are() {
    let mut press = Press::trained_for("cookie").await;
    let packed = press.packed();
    let random: String = (0..400).map(|_| fastrand::alphanumeric()).collect();
    let large = "x".repeat(64 * 1024 + 1);
    let values = [("small", "{}"), ("random", &random), ("large", &large)];
    assert_eq!(settled(&press.rig.set_all(&values)).await, Outcome::Committed);
    press.settle();
    assert_eq!(press.packed(), packed);
    for (key, value) in values {
        assert_eq!(press.rig.value(key).as_deref(), Some(value));
    }
}

#[tokio::test]
async fn large_values_are_compressed_apart() {
    let mut press = Press::trained_for("cookie").await;
    let random: String = (0..8_000).map(|_| char::from(b'a' + fastrand::u8(..16))).collect();
    assert_eq!(settled(&press.rig.set("random", &random)).await, Outcome::Committed);
    press.settle();
    let bytes = press.bytes_of("random");
    assert!((3_000..7_000).contains(&bytes), "{bytes}");
    assert_eq!(press.rig.value("random"), Some(random));
}

#[tokio::test]
async fn setting_the_same_bytes_again_is_a_touch_and_leaves_them_compressed() {
    let mut press = Press::start().await;
    let end = |ms: i64| Expiry::at_ms(NOW_MS + HOUR_MS + ms);
    for number in 0..2 * SAMPLES_MIN {
        press.rig.set_until(&format!("cookie:{number}"), &session("cookie", number), end(0));
    }
    wait_until("the writes", || press.rig.through.backlog() == 0).await;
    press.settle();
    let packed = press.packed();
    assert_eq!(packed, 2 * SAMPLES_MIN);
    let same = press.rig.set_until("cookie:3", &session("cookie", 3), end(1_000));
    assert!(same.is_empty(), "a touch waits for nothing");
    assert_eq!(press.packed(), packed);
    let other = press.rig.set_until("cookie:3", &session("cookie", 4), end(2_000));
    assert_eq!(settled(&other).await, Outcome::Committed);
    assert_eq!((press.packed(), press.rig.value("cookie:3")), (packed - 1, Some(session("cookie", 4))));
}

#[tokio::test]
async fn a_failed_write_brings_the_compressed_value_back() {
    let press = Press::trained_for("cookie").await;
    let packed = press.packed();
    press.rig.database.refuse(Some(b"cookie:5"));
    let failed = press.rig.set("cookie:5", "{}");
    assert_eq!(press.packed(), packed - 1);
    assert_eq!(settled(&failed).await, Outcome::Failed);
    assert_eq!(press.packed(), packed, "it was kept as it was");
    press.assert_all("cookie", 10);
}

#[tokio::test]
async fn hashes_and_sets_are_compressed_too() {
    let mut press = Press::trained_for("cookie").await;
    let packed = press.packed();
    let fields: Vec<(String, String)> =
        (0..5).map(|number| (format!("field{number}"), session("cookie", number))).collect();
    let (added, tickets) = press.rig.run(&["hash"], |keys| {
        let words = fields.iter().map(|(field, value)| (field.as_bytes(), value.as_bytes()));
        let (hash, _) = keys.hash(b"hash")?.with(words);
        keys.put_hash(b"hash", &hash, "hset")
    });
    assert_eq!((added, settled(&tickets).await), (Ok(()), Outcome::Committed));
    press.settle();
    assert_eq!(press.packed(), packed + 1);
    let (same, tickets) = press.rig.run(&["hash"], |keys| {
        let hash = keys.hash(b"hash")?;
        assert_eq!(hash.len(), 5);
        keys.put_hash(b"hash", &hash, "hset")
    });
    assert!(same.is_ok() && tickets.is_empty(), "what is the same needs no commit");
    assert_eq!(
        (press.packed(), press.rig.run(&["hash"], |keys| keys.kind_to_read(b"hash")).0),
        (packed + 1, Some(Kind::Hash))
    );
}

#[tokio::test]
async fn a_new_shape_gets_a_dictionary_and_the_old_values_move_to_it() {
    let mut press = Press::trained_for("cookie").await;
    let (old, bytes) = (press.ratio(), press.rig.keyspace.packing.bytes());
    for batch in 0..4 {
        let shape = format!("preferences{batch}");
        press.fill(&shape, 1_500).await;
        (0..4).for_each(|_| press.pass());
    }
    assert!(press.ratio() < old * 1.3, "{} after {old}", press.ratio());
    assert_eq!(press.packed(), 2 * SAMPLES_MIN + 6_000);
    press.assert_all("cookie", 2 * SAMPLES_MIN);
    (0..4).for_each(|batch| press.assert_all(&format!("preferences{batch}"), 1_500));
    press.settle();
    let now = press.rig.keyspace.packing.bytes();
    assert!(now < 2 * bytes, "the dictionaries that nobody needs are gone: {now} after {bytes}");
}

#[tokio::test]
async fn random_steps_leave_what_a_plain_map_holds() {
    let mut press = Press::trained_for("cookie").await;
    let mut random = fastrand::Rng::with_seed(6);
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    for step in 0..1_000_usize {
        let key = format!("key:{}", random.u8(..30));
        match random.u8(..10) {
            0..3 => {
                let value = if random.bool() { session("cookie", step) } else { "x".repeat(random.usize(..200)) };
                press.rig.set(&key, &value);
                model.insert(key, value);
            }
            3 => {
                press.rig.delete(&key);
                model.remove(&key);
            }
            4 if model.contains_key(&key) => {
                press.rig.expire(&key, Expiry::at_ms(NOW_MS + HOUR_MS + step as i64));
            }
            5 => press.pass(),
            6 => wait_until("the writes", || press.rig.through.backlog() == 0).await,
            _ => assert_eq!(press.rig.value(&key), model.get(&key).cloned(), "{key} at step {step}"),
        }
    }
    for number in 0..30 {
        let key = format!("key:{number}");
        assert_eq!(press.rig.value(&key), model.get(&key).cloned(), "{key}");
    }
}

#[tokio::test]
async fn sessions_of_many_kinds_shrink_to_a_third() {
    let mut press = Press::start().await;
    let all: Vec<sessions::Session> = (0..2_000).map(sessions::session).collect();
    let pairs: Vec<(&str, &str)> = all.iter().map(|session| (session.key.as_str(), session.json.as_str())).collect();
    assert_eq!(settled(&press.rig.set_all(&pairs)).await, Outcome::Committed);
    press.settle();
    assert!(press.packed() > 1_900 && press.ratio() < 0.36, "{} of a byte is left", press.ratio());
    for (key, json) in pairs {
        assert_eq!(press.rig.value(key).as_deref(), Some(json));
    }
}

#[tokio::test]
async fn compressed_values_leave_memory_at_maxmemory_and_come_back_as_they_were() {
    let press = Press::trained_for("cookie").await;
    press.rig.keyspace.follow(&Settings { maxmemory: 1, compress_above: 64, ..Settings::default() });
    while press.rig.keyspace.relieve() {}
    assert_eq!(press.packed(), 0);
    assert_eq!(press.rig.keyspace.memory_use(), press.rig.keyspace.recount(), "the account is kept");
    press.rig.keyspace.follow(&Settings { maxmemory: 0, compress_above: 64, ..Settings::default() });
    press.rig.keyspace.load(vec![(0, b"cookie:9".to_vec())]).await.expect("a database that answers");
    assert_eq!(press.rig.value("cookie:9"), Some(session("cookie", 9)));
}
