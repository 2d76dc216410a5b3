//! The account of memory: whatever is written, taken back and expires, it says what is held.

use std::time::Duration;

use sojourn::clock::Expiry;
use sojourn::config::EvictionPolicy;
use sojourn::keyspace::defragment::Pass;
use sojourn::keyspace::hot::SHARDS;
use sojourn::keyspace::memory::MemoryUse;

use super::{MINUTE_MS, NOW_MS, Outcome, Rig, outage, settle_down, settled, wait_until};

const SEEDS: u64 = 12;
/// Longer than any pass takes.
const LONG: Duration = Duration::from_secs(60);
const KEYS: [&str; 6] = ["sess:a", "sess:b", "c", "d", "sess:e", "f"];

/// The account, which must be what a count of everything finds.
fn checked(rig: &Rig) -> MemoryUse {
    let counted = rig.keyspace.recount();
    assert_eq!(rig.keyspace.memory_use(), counted);
    counted
}

#[tokio::test]
async fn the_account_is_what_a_count_of_everything_finds() {
    for seed in 0..SEEDS {
        let (rig, mut random) = (Rig::start().await, fastrand::Rng::with_seed(seed));
        let empty = checked(&rig);
        for number in 1..=150 {
            step(&rig, &mut random).await;
            // A count locks everything, and takes a while.
            if number % 10 == 0 {
                checked(&rig);
            }
        }
        wait_until("everything to be settled", || rig.through.backlog() == 0 && !rig.through.is_down()).await;
        // The outages that are left of the steps may take one back.
        while rig.count() > 0 {
            rig.clear();
            wait_until("the end of all keys", || rig.through.backlog() == 0 && !rig.through.is_down()).await;
        }
        let left = checked(&rig);
        assert_eq!((left.keys, left.values, left.hot_values), (empty.keys, empty.values, 0), "seed {seed}");
    }
}

async fn step(rig: &Rig, random: &mut fastrand::Rng) {
    let key = random.choice(KEYS).expect("keys");
    let value = "{}".to_owned() + &" ".repeat(random.usize(..4_000));
    let end = Expiry::at_ms(rig.clock.now_ms() + random.i64(1..3 * MINUTE_MS));
    let names = [key];
    match random.u8(..13) {
        0..=3 => drop(rig.run(&names, |keys| keys.put(key.as_bytes(), value.as_bytes(), end))),
        4 => drop(rig.run(&names, |keys| keys.put(key.as_bytes(), value.as_bytes(), Expiry::NEVER))),
        5 => drop(rig.run(&names, |keys| keys.delete(key.as_bytes()))),
        6 => drop(rig.run(&names, |keys| keys.set_expiry(key.as_bytes(), end))),
        7 => drop(rig.run(&names, |keys| keys.set_expiry(key.as_bytes(), Expiry::NEVER))),
        8 => settle_down().await,
        9 => {
            rig.clock.advance_ms(random.i64(..MINUTE_MS));
            rig.keyspace.expire();
        }
        10 => rig.database.fail_next(outage(false)),
        11 => assert!(!Pass::default().step(&rig.keyspace, LONG), "a whole pass"),
        _ => wait_until("a turn of the writer", || rig.through.backlog() == 0).await,
    }
}

#[tokio::test]
async fn what_waits_for_its_commit_counts_once() {
    let rig = Rig::patient().await;
    let value = "x".repeat(100_000);
    rig.database.hold(true);
    let empty = checked(&rig).used();
    rig.set_until("sess:a", &value, Expiry::at_ms(NOW_MS + MINUTE_MS));
    let one = checked(&rig).used() - empty;
    assert!((100_000..102_000).contains(&one), "{one}");
    rig.set("sess:a", &"y".repeat(100_000));
    let two = checked(&rig).used() - empty;
    assert!((200_000..203_000).contains(&two), "{two}");
}

#[tokio::test]
async fn a_pass_moves_all_that_is_settled_and_changes_nothing() {
    let rig = Rig::patient().await;
    let keys: Vec<String> = (0..3_000).map(|number| format!("sess:{number}")).collect();
    // Some of them stand apart from their keys.
    let value = |number: usize| format!("{number}:{}", "x".repeat(if number.is_multiple_of(10) { 3_000 } else { 300 }));
    let pairs: Vec<(String, String)> = keys.iter().cloned().zip((0..).map(value)).collect();
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(settled(&rig.set_all(&pairs)).await, Outcome::Committed);
    rig.database.hold(true);
    let late = rig.set("sess:0", "late");
    let before = checked(&rig);
    let (mut pass, mut steps) = (Pass::default(), 1);
    while pass.step(&rig.keyspace, Duration::ZERO) {
        steps += 1;
    }
    assert_eq!(steps, SHARDS, "a step without time takes one shard");
    assert_eq!(rig.through.metrics.defragmented_keys.get(), 2_999, "all but the one that is under way");
    assert_eq!(checked(&rig), before);
    rig.database.hold(false);
    assert_eq!(settled(&late).await, Outcome::Committed);
    assert_eq!(rig.value("sess:0").as_deref(), Some("late"));
    for (key, value) in &pairs[1..] {
        assert_eq!(rig.value(key).as_deref(), Some(*value));
    }
}

#[tokio::test]
async fn memory_is_pressed_from_a_sixteenth_below_its_limit_on() {
    let rig = Rig::start().await;
    let used = rig.keyspace.memory_used() as u64;
    for (limit, is_pressed) in [(0, false), (used * 16 / 15 + 2, false), (used * 16 / 15 - 2, true), (used, true)] {
        rig.keyspace.memory_limit.set(limit, EvictionPolicy::AllkeysLru);
        assert_eq!(rig.keyspace.is_pressed(), is_pressed, "{used} of {limit}");
    }
}

/// What the allocator holds beside what it was asked for counts, but for no more than an eighth of the limit, and falls slowly.
#[tokio::test]
async fn what_the_allocator_holds_counts_as_far_as_it_may() {
    let rig = Rig::start().await;
    let without = rig.keyspace.memory_used();
    for (limit, held, counts) in [
        (8 << 20, 1 << 16, 1 << 16),
        (8 << 20, 0, (1 << 16) - (1 << 8)),
        (8 << 20, 1 << 20, 1 << 20),
        (8 << 20, 2 << 20, 1 << 20),
        (0, 1 << 40, 1 << 40),
    ] {
        rig.keyspace.memory_limit.set(limit, EvictionPolicy::AllkeysLru);
        rig.keyspace.memory_limit.note_allocator(held);
        assert_eq!(rig.keyspace.memory_used() - without, counts, "{held} bytes at a limit of {limit}");
    }
}

/// Values leave for it, but it is no dictionary.
#[tokio::test]
async fn the_training_of_a_dictionary_counts_until_it_is_over() {
    let rig = Rig::start().await;
    let without = rig.keyspace.memory_used();
    for bytes in [1 << 19, 1 << 20, 0] {
        rig.keyspace.packing.note_training(bytes);
        assert_eq!(rig.keyspace.memory_used() - without, bytes);
        assert_eq!(rig.keyspace.packing.bytes(), 0);
    }
}
