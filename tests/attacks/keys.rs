//! Attacks by keys, patterns and transactions.

use std::time::{Duration, Instant};

use crate::pace::{Pace, paced};
use crate::rig::{Aftermath, Attack, Subject, so_many};
use crate::support::resp::{Connection, Frame, encode};

fn ok() -> Frame {
    Frame::Line(b'+', b"OK".to_vec())
}

/// Sets these keys to this value on one connection, a hundred at a time.
fn plant(subject: &Subject, keys: &[Vec<u8>], value: &[u8]) {
    let mut connection = subject.connect();
    keys.chunks(100).for_each(|some| set_all(&mut connection, some, value));
}

/// One MSET.
fn set_all(connection: &mut Connection, keys: &[Vec<u8>], value: &[u8]) {
    let words = keys.iter().flat_map(|key| [key.as_slice(), value]);
    let words: Vec<&[u8]> = std::iter::once(&b"MSET"[..]).chain(words).collect();
    assert_eq!(connection.call(&words).expect("a reply"), ok());
}

#[test]
fn transactions_without_exec() {
    let (connections, sets) = (so_many(4, 8), so_many(300, 600));
    let attack = Attack {
        settings: &["--client-query-buffer-limit", "16mb"],
        ..Attack::new(
            "transactions_without_exec",
            format!("{connections} MULTIs of {sets} SETs of 100 KB and no EXEC, with `client-query-buffer-limit 16mb`"),
            |subject| {
                let mut connections: Vec<_> = (0..so_many(4, 8)).map(|_| subject.connect()).collect();
                let (set, mut refused) = (encode(&[&b"SET"[..], b"k", &vec![b'x'; 100_000]]), 0);
                for connection in &mut connections {
                    assert_eq!(connection.call(&["MULTI"]).expect("a reply"), ok());
                    for _ in 0..so_many(300, 600) {
                        connection.send(&set).expect("sent");
                        refused += usize::from(matches!(connection.read().expect("a reply"), Frame::Line(b'-', _)));
                    }
                }
                let attacker =
                    format!("{refused} SETs refused; {}", if refused > 0 { "EXEC aborts" } else { "all queued" });
                Aftermath { attacker, held: connections.len() }
            },
        )
    };
    let (sojourn, _) = attack.carry_out();
    assert!(sojourn.aftermath.attacker.ends_with("EXEC aborts"), "{}", sojourn.aftermath.attacker);
    assert!(sojourn.grown_bytes < 128 << 20, "{} bytes", sojourn.grown_bytes);
}

#[test]
fn transactions_by_the_drop() {
    let commands = so_many(5_000, 50_000);
    let what = format!("a MULTI of {commands} GETs of 30 bytes, each sent on its own");
    let (sojourn, _) = Attack::new("transactions_by_the_drop", what, |subject| {
        let mut connection = subject.connect();
        assert_eq!(connection.call(&["MULTI"]).expect("a reply"), ok());
        for _ in 0..so_many(5_000, 50_000) {
            connection.call(&["GET", "a key of 16 bytes"]).expect("a reply");
        }
        Aftermath { attacker: "held, all queued".to_owned(), held: 1 }
    })
    .carry_out();
    let each_bytes = sojourn.grown_bytes / commands;
    assert!(each_bytes < 1_024, "{each_bytes} bytes for a queued GET");
}

#[test]
fn many_watched_keys() {
    let count = so_many(5_000, 30_000);
    let what = format!("one WATCH of {count} keys");
    let (sojourn, _) = Attack::new("many_watched_keys", what, |subject| {
        let keys: Vec<String> = (0..so_many(5_000, 30_000)).map(|number| format!("watched:{number}")).collect();
        let words: Vec<&str> = std::iter::once("WATCH").chain(keys.iter().map(String::as_str)).collect();
        let (mut connection, begun) = (subject.connect(), Instant::now());
        assert_eq!(connection.call(&words).expect("a reply"), ok());
        let took = begun.elapsed();
        std::thread::sleep(Duration::from_millis(100));
        Aftermath { attacker: format!("served in {took:.0?}"), held: 1 }
    })
    .carry_out();
    assert!(sojourn.grown_bytes < 64 << 20, "{} bytes", sojourn.grown_bytes);
}

#[test]
fn a_million_watched_keys() {
    let attack = Attack {
        // It would look through all of them for each further one, for an hour.
        spares_redis: true,
        ..Attack::new("a_million_watched_keys", "one WATCH of a million keys".to_owned(), |subject| {
            let keys: Vec<String> = (0..1_000_000).map(|number| format!("watched:{number}")).collect();
            let words: Vec<&str> = std::iter::once("WATCH").chain(keys.iter().map(String::as_str)).collect();
            let refusal = "ERR a client watches fewer than 65536 keys";
            let reply = subject.connect().call(&words).expect("a reply");
            assert_eq!(reply, Frame::Line(b'-', refusal.as_bytes().to_vec()));
            Aftermath { attacker: "refused: a client watches fewer than 65 536 keys".to_owned(), held: 1 }
        })
    };
    attack.carry_out();
}

/// Calls the same on four connections, so many times a second together.
fn call_in_a_loop(subject: &Subject, per_second: u32, words: &[&str]) -> Aftermath {
    let rate = paced(
        (4, per_second),
        subject.lasts(),
        || subject.connect(),
        |connection, _| {
            assert!(matches!(connection.call(words), Ok(Frame::Aggregate(b'*', Some(_)))));
        },
    );
    Aftermath { attacker: format!("served, {rate:.1} calls a second"), held: 4 }
}

/// Sessions as connect-redis writes them: 37 bytes of key, and some 300 of JSON.
fn plant_sessions(subject: &Subject) {
    let numbers = 0..so_many(20_000, 200_000);
    let keys: Vec<Vec<u8>> = numbers.map(|number| format!("sess:{number:032x}").into_bytes()).collect();
    let value = format!(r#"{{"cookie":{{"maxAge":86400000}},"user":7,"cart":"{}"}}"#, "x".repeat(250));
    plant(subject, &keys, value.as_bytes());
}

/// An attack on many keys, which are in files: with `memory://` Sojourn's memory holds each record twice.
fn on_many_keys(test: &'static str, per_second: u32, words: &'static [&'static str]) {
    let keys = so_many(20_000, 200_000);
    let what = format!(
        "4 connections that call {} on {keys} sessions {per_second} times a second (a SQLite file, an AOF with `always`)",
        words.join(" ")
    );
    let run = move |subject: &Subject| call_in_a_loop(subject, per_second, words);
    Attack { prepare: Some(plant_sessions), ..Attack::new(test, what, run) }.carry_out_on_files();
}

#[test]
fn keys_in_a_loop() {
    // Redis-server serves 11 here, and Sojourn twice as many.
    on_many_keys("keys_in_a_loop", 8, &["KEYS", "*"]);
}

#[test]
fn scans_of_everything() {
    // Redis-server serves 8 here, and Sojourn almost three times as many.
    on_many_keys("scans_of_everything", 6, &["SCAN", "0", "COUNT", "2147483648"]);
}

fn plant_letters(subject: &Subject) {
    let keys: Vec<Vec<u8>> = (0..100).map(|number| [vec![b'a'; 2_000], vec![number]].concat()).collect();
    plant(subject, &keys, b"v");
}

#[test]
fn patterns_that_backtrack() {
    let what = "KEYS with 30 stars 100 times a second, on 100 keys of 2 000 letters that almost fit".to_owned();
    let run = |subject: &Subject| {
        let pattern = "*a".repeat(30) + "*b";
        let rate = paced(
            (1, 100),
            subject.lasts(),
            || subject.connect(),
            |connection, _| {
                let found = connection.call(&["KEYS", &pattern]).expect("a reply");
                assert!(found.items().len() <= 1, "at most the key that ends with b");
            },
        );
        Aftermath { attacker: format!("served, {rate:.0} calls a second"), held: 1 }
    };
    Attack { prepare: Some(plant_letters), ..Attack::new("patterns_that_backtrack", what, run) }.carry_out();
}

/// Keys that are one to a hash that multiplies by 31 or by 33 and has no key of its own: each two letters of `Aa` and `BB`,
/// and of `bA` and `ab`... differ, but not their hashes.
fn colliding(pairs: [&str; 2], count: usize) -> Vec<Vec<u8>> {
    let digits = usize::BITS - count.leading_zeros();
    let key = |number: usize| (0..digits).map(|digit| pairs[number >> digit & 1]).collect::<String>();
    (0..count).map(|number| key(number).into_bytes()).collect()
}

#[test]
fn chosen_pairs_of_letters_collide() {
    for (factor, pairs) in [(31_u64, ["Aa", "BB"]), (33, ["Ab", "BA"])] {
        let hash =
            |key: &[u8]| key.iter().fold(5381_u64, |hash, byte| hash.wrapping_mul(factor).wrapping_add((*byte).into()));
        let keys = colliding(pairs, 64);
        assert!(keys.iter().all(|key| hash(key) == hash(&keys[0])), "{factor}");
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 64);
    }
}

#[test]
fn colliding_keys() {
    const AT_ONCE: usize = 10;
    const PER_SECOND: u32 = 1_000;
    const FOUND_AT_ONCE: usize = 1_000;
    // Below this a difference is the scheduler's.
    const FOUND_WITHIN: Duration = Duration::from_millis(4);
    let keys = so_many(20_000, 100_000);
    let what = format!(
        "{keys} keys that collide under hashes without a key (by 31 and by 33), and as many others, {AT_ONCE} at a time, \
         {PER_SECOND} times a second (a SQLite file, an AOF with `always`)"
    );
    Attack::new("colliding_keys", what, |subject| {
        let mut others: Vec<Vec<u8>> = (0..keys).map(|number| format!("{number:0>34}").into_bytes()).collect();
        let mut chosen = [colliding(["Aa", "BB"], keys / 2), colliding(["Ab", "BA"], keys / 2)].concat();
        // A table takes keys in their order faster than others; that is not what is measured.
        fastrand::shuffle(&mut others);
        fastrand::shuffle(&mut chosen);
        let mut connection = subject.connect();
        let pace = Pace::new(PER_SECOND, Duration::from_secs(600));
        let mut time = |keys: &[Vec<u8>]| {
            pace.turn().expect("a turn: minutes are left");
            let begun = Instant::now();
            set_all(&mut connection, keys, b"v");
            begun.elapsed()
        };
        let (mut usual, mut attacked) = (Duration::ZERO, Duration::ZERO);
        for (others, chosen) in others.chunks(AT_ONCE).zip(chosen.chunks(AT_ONCE)) {
            usual += time(others);
            attacked += time(chosen);
        }
        let ratio = attacked.as_secs_f64() / usual.as_secs_f64();
        assert!(ratio < 5.0, "chosen keys take {attacked:?}, others {usual:?}");
        // No commit hides what it takes to find them.
        let mut find = |keys: &[Vec<u8>]| {
            let words: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(keys.iter().map(Vec::as_slice)).collect();
            let begun = Instant::now();
            let found = connection.call(&words).expect("a reply");
            assert!(found.items().iter().all(|value| value.bytes() == Some(b"v")));
            begun.elapsed()
        };
        // Those that came last have all others before them.
        let last = keys - FOUND_AT_ONCE;
        let mut least = |keys: &[Vec<u8>]| (0..3).map(|_| find(keys)).min().unwrap_or_default();
        let (usual, attacked) = (least(&others[last..]), least(&chosen[last..]));
        assert!(attacked < 5 * usual.max(FOUND_WITHIN), "chosen keys are found in {attacked:?}, others in {usual:?}");
        Aftermath { attacker: format!("{ratio:.2} times the time of other keys"), held: 1 }
    })
    .carry_out_on_files();
}
