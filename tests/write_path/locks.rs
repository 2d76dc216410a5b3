//! Somebody has locked a record: its units wait with all that is built on them, and nobody else does.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};
use sojourn::clock::Expiry;
use sojourn::database::memory::Memory;
use sojourn::database::unit::Outcome;
use sojourn::database::write_through::{EVERYSEC_BACKLOG_MAX, QUEUE_UNITS_MAX};
use sojourn::database::writer::WriterEnd;
use sojourn::keyspace::{KeysError, Lock, Tickets};

use super::{MINUTE_MS, NOW_MS, PATIENCE, Rig, outage, outcome, settings, settle_down, settled, wait_until};

/// The ticket of a unit itself; those before it are of what it saw.
fn own(tickets: &Tickets) -> Tickets {
    tickets.last().cloned().into_iter().collect()
}

/// Waits until this many units are set aside.
async fn parked(rig: &Rig, count: u64) {
    wait_until("the units to be set aside", || rig.through.metrics.parked_units.get() == count).await;
}

#[tokio::test]
async fn only_the_locked_key_waits() {
    let rig = Rig::patient().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let waiting = rig.set("locked", "new");
    for number in 0..200 {
        assert_eq!(settled(&rig.set(&format!("other-{number}"), "1")).await, Outcome::Committed);
    }
    assert_eq!(outcome(&waiting), Outcome::Pending);
    assert_eq!(rig.stored("locked").as_deref(), Some("old"));
    assert_eq!(rig.through.metrics.parked_units.get(), 1);
    assert_eq!(rig.through.backlog(), 1);
    rig.database.lock(&[]);
    assert_eq!(settled(&waiting).await, Outcome::Committed);
    rig.assert_agrees(&[("locked", Some("new"))]);
    parked(&rig, 0).await;
    assert_eq!(rig.through.metrics.lock_waits.get(), 1, "one batch met the lock, and no other one tried");
}

#[tokio::test]
async fn what_is_built_on_it_waits_and_commits_in_order() {
    let rig = Rig::patient().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let before = rig.set("b", "before");
    let pair = own(&rig.set_all(&[("locked", "1"), ("b", "1")]));
    let behind = own(&rig.set_all(&[("b", "2"), ("c", "2")]));
    let last = own(&rig.set("c", "3"));
    let stranger = rig.set("d", "4");
    assert_eq!(settled(&before).await, Outcome::Committed, "it is older than what waits");
    assert_eq!(settled(&stranger).await, Outcome::Committed);
    parked(&rig, 3).await;
    let later = own(&rig.set("c", "5"));
    assert_eq!(settled(&rig.set("d", "6")).await, Outcome::Committed);
    for tickets in [&pair, &behind, &last, &later] {
        assert_eq!(outcome(tickets), Outcome::Pending);
    }
    assert_eq!((rig.stored("b").as_deref(), rig.stored("c")), (Some("before"), None), "a unit commits whole");
    rig.database.lock(&[]);
    for tickets in [&pair, &behind, &last, &later] {
        assert_eq!(settled(tickets).await, Outcome::Committed);
    }
    rig.assert_agrees(&[("locked", Some("1")), ("b", Some("2")), ("c", Some("5")), ("d", Some("6"))]);
}

/// Reads one key and writes another, at one moment.
fn copy(rig: &Rig, from: &str, to: &str) -> Tickets {
    let (put, tickets) = rig.run(&[from, to], |keys| {
        let value = keys.value(from.as_bytes())?.expect("a value");
        keys.put(to.as_bytes(), &value, Expiry::NEVER)
    });
    put.expect("a write that is taken");
    own(&tickets)
}

#[tokio::test]
async fn what_saw_it_waits_and_fails_with_it() {
    let rig = Rig::start().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let waiting = own(&rig.set("locked", "new"));
    parked(&rig, 1).await;
    let (copied, again) = (copy(&rig, "locked", "b"), copy(&rig, "b", "c"));
    for tickets in [&waiting, &copied, &again] {
        assert_eq!(settled(tickets).await, Outcome::Failed);
    }
    rig.assert_agrees(&[("locked", Some("old")), ("b", None), ("c", None)]);
}

#[tokio::test]
async fn after_its_time_it_fails_with_all_that_was_built_on_it() {
    let rig = Rig::start().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let pair = own(&rig.set_all(&[("locked", "1"), ("b", "1")]));
    let behind = own(&rig.set("b", "2"));
    let (value, seen) = rig.get("locked");
    assert_eq!(value.as_deref(), Some("1"));
    for tickets in [&pair, &behind, &own(&seen)] {
        assert_eq!(settled(tickets).await, Outcome::Failed);
    }
    rig.assert_agrees(&[("locked", Some("old")), ("b", None)]);
    assert_eq!(rig.count(), 1);
    rig.database.lock(&[]);
    assert_eq!(settled(&rig.set("locked", "2")).await, Outcome::Committed);
    rig.assert_agrees(&[("locked", Some("2"))]);
    assert_eq!(rig.through.metrics.outages.get(), 0, "it is no outage");
}

#[tokio::test]
async fn a_lock_that_cannot_be_seen_is_found() {
    let rig = Rig::patient().await;
    // Somebody has inserted it and not committed.
    rig.database.lock(&[b"k-77"]);
    let waiting = all_but_one_commit(&rig).await;
    rig.database.lock(&[]);
    assert_eq!(settled(&waiting).await, Outcome::Committed);
    rig.assert_agrees(&[("k-76", Some("1")), ("k-77", Some("1"))]);
}

/// Writes 200 keys as one batch, of which `k-77` is locked: all others commit. Answers the ticket of that one.
async fn all_but_one_commit(rig: &Rig) -> Tickets {
    rig.database.hold(true);
    let first = rig.set("first", "1");
    settle_down().await;
    let all: Vec<Tickets> = (0..200).map(|number| rig.set(&format!("k-{number}"), "1")).collect();
    rig.database.hold(false);
    settled(&first).await;
    for (number, tickets) in all.iter().enumerate().filter(|(number, _)| *number != 77) {
        assert_eq!(settled(tickets).await, Outcome::Committed, "k-{number}");
    }
    assert_eq!(outcome(&all[77]), Outcome::Pending);
    all[77].clone()
}

#[tokio::test]
async fn a_lock_that_is_seen_hides_none_that_is_not() {
    let rig = Rig::patient().await;
    settled(&rig.set("locked", "old")).await;
    // Somebody has changed the one and inserted the other, and not committed.
    rig.database.lock(&[b"locked", b"k-77"]);
    let seen = rig.set("locked", "new");
    parked(&rig, 1).await;
    let unseen = all_but_one_commit(&rig).await;
    assert_eq!(outcome(&seen), Outcome::Pending);
    rig.database.lock(&[]);
    for tickets in [&seen, &unseen] {
        assert_eq!(settled(tickets).await, Outcome::Committed);
    }
    rig.assert_agrees(&[("locked", Some("new")), ("k-77", Some("1"))]);
}

#[tokio::test]
async fn many_that_are_known_to_be_locked_hide_nobody() {
    let rig = Rig::patient().await;
    // More than one question can name.
    let names: Vec<String> = (0..2_100).map(|number| format!("locked-{number}")).collect();
    let old: Vec<Tickets> = names.iter().map(|name| rig.set(name, "old")).collect();
    settled(old.last().expect("a write")).await;
    settled(&rig.set("k-77", "old")).await;
    let locked: Vec<&[u8]> = names.iter().map(String::as_bytes).chain([b"k-77".as_slice()]).collect();
    rig.database.lock(&locked);
    let waiting: Vec<Tickets> = names.iter().map(|name| rig.set(name, "new")).collect();
    parked(&rig, 2_100).await;
    let late = all_but_one_commit(&rig).await;
    rig.database.lock(&[]);
    for tickets in waiting.iter().chain([&late]) {
        assert_eq!(settled(tickets).await, Outcome::Committed);
    }
}

#[tokio::test]
async fn a_barrier_waits_for_what_is_set_aside_and_holds_nobody() {
    let rig = Rig::patient().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let waiting = rig.set("locked", "new");
    parked(&rig, 1).await;
    let through = Arc::clone(&rig.through);
    let barrier = tokio::spawn(async move { through.barrier().await });
    parked(&rig, 2).await;
    assert_eq!(settled(&rig.set("other", "1")).await, Outcome::Committed);
    assert!(!barrier.is_finished());
    rig.database.lock(&[]);
    barrier.await.expect("no panic").expect("all is committed");
    assert_eq!(outcome(&waiting), Outcome::Committed);
}

#[tokio::test]
async fn a_clear_waits_for_the_lock_and_all_that_follows_for_the_clear() {
    let rig = Rig::patient().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let cleared = own(&rig.clear());
    let after = rig.set("after", "1");
    parked(&rig, 2).await;
    assert_eq!((outcome(&cleared), outcome(&after)), (Outcome::Pending, Outcome::Pending));
    rig.database.lock(&[]);
    assert_eq!(settled(&cleared).await, Outcome::Committed);
    assert_eq!(settled(&after).await, Outcome::Committed);
    rig.assert_agrees(&[("locked", None), ("after", Some("1"))]);
}

/// A FLUSHALL within an EXEC.
fn clear_in_exec(rig: &Rig) -> Tickets {
    let mut locked = rig.keyspace.lock(&Lock::All, 0, NOW_MS);
    locked.begin_exec();
    locked.clear(None).expect("a write that is taken");
    rig.finish(locked)
}

async fn all_settled(tickets: &Tickets) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for ticket in tickets {
        outcomes.push(settled(&Tickets::from_iter([ticket.clone()])).await);
    }
    outcomes
}

#[tokio::test]
async fn a_clear_in_a_transaction_waits_for_a_delete_and_fails_with_it() {
    let rig = Rig::start().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let (_, deleted) = rig.delete("locked");
    parked(&rig, 1).await;
    let cleared = clear_in_exec(&rig);
    assert_eq!(settled(&deleted).await, Outcome::Failed);
    // The key is there again: nobody may have been told that it is not.
    assert_eq!(all_settled(&cleared).await, [Outcome::Failed; 2]);
    rig.assert_agrees(&[("locked", Some("old"))]);
}

#[tokio::test]
async fn a_clear_in_a_transaction_leaves_nothing_pending_behind_a_delete() {
    let rig = Rig::patient().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let (_, deleted) = rig.delete("locked");
    parked(&rig, 1).await;
    let cleared = clear_in_exec(&rig);
    rig.database.lock(&[]);
    assert_eq!(settled(&deleted).await, Outcome::Committed);
    assert_eq!(all_settled(&cleared).await, [Outcome::Committed; 2]);
    rig.assert_agrees(&[("locked", None)]);
}

#[tokio::test]
async fn a_delete_stands_though_the_transaction_that_cleared_behind_it_fails() {
    let rig = Rig::start().await;
    settled(&rig.set("k", "old")).await;
    rig.database.refuse(Some(b"bad"));
    rig.database.hold(true);
    let first = rig.set("first", "1");
    settle_down().await;
    let (_, deleted) = rig.delete("k");
    let mut locked = rig.keyspace.lock(&Lock::All, 0, NOW_MS);
    locked.begin_exec();
    locked.clear(None).expect("a write that is taken");
    locked.put(b"bad", b"1", Expiry::NEVER).expect("a write that is taken");
    let tickets = rig.finish(locked);
    rig.database.hold(false);
    assert_eq!(settled(&deleted).await, Outcome::Committed);
    assert!(all_settled(&tickets).await.contains(&Outcome::Failed));
    assert_eq!(settled(&first).await, Outcome::Committed);
    rig.assert_agrees(&[("k", None), ("bad", None), ("first", Some("1"))]);
}

#[tokio::test]
async fn a_touch_of_a_locked_record_is_put_off_alone() {
    let rig = Rig::patient().await;
    let end = |offset_ms| Expiry::at_ms(NOW_MS + 30 * MINUTE_MS + offset_ms);
    settled(&rig.set_until("locked", "1", end(0))).await;
    settled(&rig.set_until("free", "1", end(0))).await;
    rig.database.lock(&[b"locked"]);
    for key in ["locked", "free"] {
        assert!(rig.expire(key, end(1_000)).is_empty(), "a touch waits for nothing");
    }
    rig.clock.advance_ms(MINUTE_MS);
    wait_until("the flush", || rig.recorded("free") == Some(end(1_000))).await;
    assert_eq!(rig.recorded("locked"), Some(end(0)));
    rig.database.lock(&[]);
    rig.clock.advance_ms(MINUTE_MS);
    wait_until("the next flush", || rig.recorded("locked") == Some(end(1_000))).await;
}

#[tokio::test]
async fn under_everysec_what_was_answered_waits_as_long_as_the_lock() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), super::WRITE_TIMEOUT, true).await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let waiting = rig.set("locked", "new");
    wait_until("its time to be over", || rig.through.behind() > 3 * super::WRITE_TIMEOUT).await;
    assert_eq!(outcome(&waiting), Outcome::Pending);
    assert_eq!(settled(&rig.set("other", "1")).await, Outcome::Committed);
    rig.database.lock(&[]);
    assert_eq!(settled(&waiting).await, Outcome::Committed);
    rig.assert_agrees(&[("locked", Some("new"))]);
}

#[tokio::test]
async fn under_everysec_who_was_slowed_goes_on_once_all_that_is_left_is_set_aside() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), 10 * PATIENCE, true).await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    rig.database.hold(true);
    let (under_way, _) = (rig.set("first", "1"), settle_down().await);
    wait_until("clients to be slowed", || {
        rig.set("locked", "new");
        !rig.through.has_room()
    })
    .await;
    let through = Arc::clone(&rig.through);
    let slowed = tokio::spawn(async move {
        let mut settlements = through.settlements();
        while !through.has_room() {
            settlements.changed().await.expect("a server");
        }
    });
    settle_down().await;
    rig.database.hold(false);
    settled(&under_way).await;
    tokio::time::timeout(PATIENCE, slowed).await.expect("room, since nothing is queued").expect("no panic");
    assert!(rig.through.backlog() > 0, "what is locked still waits");
}

#[tokio::test]
async fn under_everysec_a_lock_refuses_writes_before_it_holds_up_all_requests() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), 10 * PATIENCE, true).await;
    settled(&rig.set("locked", "old")).await;
    settled(&rig.set("other", "1")).await;
    rig.database.lock(&[b"locked"]);
    let mut acknowledged = 0;
    while !rig.through.refuses_writes() {
        assert!(acknowledged < QUEUE_UNITS_MAX, "nothing is refused");
        acknowledged += 1;
        rig.set("locked", &acknowledged.to_string());
        if acknowledged % 1_000 == 0 {
            settle_down().await;
        }
    }
    assert!((EVERYSEC_BACKLOG_MAX..EVERYSEC_BACKLOG_MAX + 10_000).contains(&acknowledged), "{acknowledged}");
    let (refused, _) = rig.run(&["other"], |keys| keys.put(b"other", b"2", Expiry::NEVER));
    assert_eq!(refused, Err(KeysError::DatabaseDown));
    assert!(rig.through.has_room(), "reads go on");
    rig.database.lock(&[]);
    wait_until("the backlog to be committed", || rig.through.backlog() == 0).await;
    rig.assert_agrees(&[("locked", Some(&acknowledged.to_string())), ("other", Some("1"))]);
    assert_eq!(settled(&rig.set("other", "2")).await, Outcome::Committed);
}

#[tokio::test]
async fn a_stop_waits_for_what_is_set_aside() {
    let rig = Rig::patient().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let waiting = rig.set("locked", "new");
    parked(&rig, 1).await;
    rig.through.stop();
    settle_down().await;
    assert!(!rig.writer.is_finished());
    rig.database.lock(&[]);
    assert_eq!(rig.writer.await.expect("its end"), WriterEnd::Stopped);
    assert_eq!(outcome(&waiting), Outcome::Committed);
}

/// One step of a run in which anything may happen to few keys.
#[derive(Clone, Debug)]
enum Happening {
    Set(Vec<u8>),
    Delete(u8),
    Clear,
    Lock(Vec<u8>),
    Refuse(Option<u8>),
    Outage(bool),
    Hold(bool),
    Pass,
}

fn happening() -> impl Strategy<Value = Happening> {
    let key = 0_u8..6;
    prop_oneof![
        6 => vec(key.clone(), 1..4).prop_map(Happening::Set),
        2 => key.clone().prop_map(Happening::Delete),
        1 => Just(Happening::Clear),
        3 => vec(key.clone(), 0..3).prop_map(Happening::Lock),
        1 => proptest::option::of(key).prop_map(Happening::Refuse),
        1 => any::<bool>().prop_map(Happening::Outage),
        2 => any::<bool>().prop_map(Happening::Hold),
        3 => Just(Happening::Pass),
    ]
}

fn name(key: u8) -> String {
    format!("k{key}")
}

async fn happens(rig: &Rig, step: usize, happening: &Happening, written: &mut Vec<(Tickets, Vec<u8>, usize)>) {
    match happening {
        Happening::Set(_) | Happening::Delete(_) | Happening::Clear if rig.through.refuses_writes() => {}
        Happening::Set(keys) => {
            let keys: std::collections::BTreeSet<u8> = keys.iter().copied().collect();
            let (names, value): (Vec<String>, String) = (keys.iter().copied().map(name).collect(), step.to_string());
            let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
            written.push((own(&rig.set_all(&pairs)), keys.into_iter().collect(), step));
        }
        Happening::Delete(key) => drop(rig.delete(&name(*key))),
        Happening::Clear => drop(rig.clear()),
        Happening::Lock(keys) => {
            let names: Vec<String> = keys.iter().copied().map(name).collect();
            rig.database.lock(&names.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
        Happening::Refuse(key) => rig.database.refuse(key.map(name).as_ref().map(String::as_bytes)),
        Happening::Outage(in_doubt) => rig.database.fail_next(outage(*in_doubt)),
        Happening::Hold(held) => rig.database.hold(*held),
        Happening::Pass => settle_down().await,
    }
}

/// Whatever is locked, refused and cut: in the end everything is settled, and memory and database agree on every key.
async fn all_is_settled_and_agrees(happenings: &[Happening]) {
    let rig = Rig::patient().await;
    let mut written = Vec::new();
    for (step, happening) in happenings.iter().enumerate() {
        happens(&rig, step, happening, &mut written).await;
    }
    rig.database.hold(false);
    rig.database.lock(&[]);
    rig.database.refuse(None);
    wait_until("all to be settled", || rig.through.backlog() == 0).await;
    for (tickets, ..) in &written {
        assert_ne!(outcome(tickets), Outcome::Pending);
    }
    for key in (0..6).map(name) {
        let in_memory = rig.value(&key);
        rig.assert_agrees(&[(&key, in_memory.as_deref())]);
    }
    // What a whole unit wrote stands as a whole, or was overwritten by a later one.
    for (tickets, keys, step) in &written {
        let of_unit = |key: &&u8| rig.stored(&name(**key)) == Some(step.to_string());
        assert!(outcome(tickets) == Outcome::Committed || keys.iter().filter(of_unit).count() == 0, "step {step}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_is_locked_all_is_settled_and_agrees(happenings in vec(happening(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, all_is_settled_and_agrees(&happenings)).await }).expect("an end");
        runtime.shutdown_timeout(std::time::Duration::ZERO);
    }
}
