//! DBSIZE sees every key, and so its reply waits for all that is not committed, wherever it stands.

use std::sync::Arc;

use sojourn::database::memory::Memory;
use sojourn::database::unit::Outcome;
use sojourn::database::write_through::Status;
use sojourn::keyspace::{Lock, Tickets};

use super::{PATIENCE, Rig, outage, outcome, settings, settle_down, settled, wait_until};

/// DBSIZE: the count and what its reply waits for.
fn count(rig: &Rig) -> (usize, Tickets) {
    let mut locked = rig.keyspace.lock(&Lock::All, 0, rig.clock.now_ms());
    (locked.count(), rig.finish(locked))
}

async fn parked(rig: &Rig, units: u64) {
    wait_until("the units to be set aside", || rig.through.metrics.parked_units.get() == units).await;
}

#[tokio::test]
async fn a_count_waits_for_what_is_set_aside_and_fails_with_it() {
    let rig = Rig::start().await;
    rig.database.lock(&[b"locked"]);
    let waiting = rig.set("locked", "1");
    parked(&rig, 1).await;
    // A newer unit that is committed says nothing of the older one.
    assert_eq!(settled(&rig.set("other", "1")).await, Outcome::Committed);
    let (keys, seen) = count(&rig);
    assert_eq!((keys, outcome(&seen)), (2, Outcome::Pending));
    assert_eq!(settled(&seen).await, Outcome::Failed, "it counted a key that was never committed");
    assert_eq!(settled(&waiting).await, Outcome::Failed);
    let (keys, seen) = count(&rig);
    assert_eq!((keys, seen.len()), (1, 0));
}

#[tokio::test]
async fn a_count_waits_for_what_is_set_aside_and_holds_nobody() {
    let rig = Rig::patient().await;
    rig.database.lock(&[b"locked"]);
    let waiting = rig.set("locked", "1");
    // It looks while the batch is in hand, before anybody knows that it meets a lock.
    let (keys, seen) = count(&rig);
    assert_eq!(keys, 1);
    parked(&rig, 2).await;
    assert_eq!(settled(&rig.set("other", "1")).await, Outcome::Committed);
    assert_eq!(outcome(&seen), Outcome::Pending);
    rig.database.lock(&[]);
    assert_eq!(settled(&seen).await, Outcome::Committed);
    assert_eq!(outcome(&waiting), Outcome::Committed);
}

#[tokio::test]
async fn a_count_fails_with_a_refused_write_before_it_and_not_with_one_behind() {
    let rig = Rig::start().await;
    rig.database.refuse(Some(b"bad"));
    rig.database.hold(true);
    let first = rig.set("first", "1");
    settle_down().await;
    let (keys, before) = count(&rig);
    let guilty = rig.set("bad", "1");
    let stranger = rig.set("stranger", "1");
    let (more, behind) = count(&rig);
    assert_eq!((keys, more), (1, 3));
    rig.database.hold(false);
    for (tickets, expected) in [
        (&first, Outcome::Committed),
        (&before, Outcome::Committed),
        (&guilty, Outcome::Failed),
        (&stranger, Outcome::Committed),
        (&behind, Outcome::Failed),
    ] {
        assert_eq!(settled(tickets).await, expected);
    }
}

#[tokio::test]
async fn counts_without_a_write_between_them_wait_for_one_unit() {
    let rig = Rig::patient().await;
    rig.database.lock(&[b"locked"]);
    rig.set("locked", "1");
    parked(&rig, 1).await;
    rig.database.hold(true);
    rig.set("other", "1");
    settle_down().await;
    let backlog = rig.through.backlog();
    for _ in 0..1_000 {
        count(&rig);
    }
    assert_eq!(rig.through.backlog(), backlog + 1);
    rig.database.hold(false);
}

#[tokio::test]
async fn in_an_outage_a_count_is_told_what_a_read_is_told() {
    let rig = Rig::start().await;
    settled(&rig.set("k", "old")).await;
    rig.database.hold(true);
    let doubtful = rig.set("new", "doubtful");
    settle_down().await;
    let queued = rig.set("other", "queued");
    let (_, early) = count(&rig);
    rig.database.fail_and_go_away(outage(true));
    rig.database.hold(false);
    assert_eq!(settled(&doubtful).await, Outcome::Unknown);
    for tickets in [&queued, &early] {
        assert_eq!(settled(tickets).await, Outcome::Failed);
    }
    assert_eq!(rig.through.status(), Status::Down);
    // "new" still counts, and nobody knows whether it is committed: the answer comes at once and says so.
    let (keys, seen) = count(&rig);
    assert_eq!((keys, outcome(&seen)), (2, Outcome::Unknown));
    assert_eq!(outcome(&rig.get("new").1), Outcome::Unknown);
    rig.database.set_away(false);
    wait_until("the answer", || outcome(&doubtful) == Outcome::Committed).await;
    let (keys, seen) = count(&rig);
    assert_eq!((keys, seen.len()), (2, 0));
}

#[tokio::test]
async fn in_an_outage_with_nothing_in_doubt_a_count_waits_for_nothing() {
    let rig = Rig::start().await;
    settled(&rig.set("k", "old")).await;
    rig.database.fail_next(outage(false));
    rig.database.set_away(true);
    assert_eq!(settled(&rig.set("new", "1")).await, Outcome::Failed);
    let (keys, seen) = count(&rig);
    assert_eq!((keys, seen.len()), (1, 0));
}

#[tokio::test]
async fn a_transaction_that_counted_fails_with_what_it_counted() {
    let rig = Rig::start().await;
    rig.database.lock(&[b"locked"]);
    let waiting = rig.set("locked", "1");
    parked(&rig, 1).await;
    let mut locked = rig.keyspace.lock(&Lock::All, 0, rig.clock.now_ms());
    locked.begin_exec();
    let keys = locked.count().to_string();
    locked.put(b"count", keys.as_bytes(), sojourn::clock::Expiry::NEVER).expect("a write that is taken");
    let tickets = rig.finish(locked);
    for ticket in waiting.iter().chain(&tickets) {
        assert_eq!(settled(&Tickets::from_iter([ticket.clone()])).await, Outcome::Failed);
    }
    rig.assert_agrees(&[("locked", None), ("count", None)]);
}

#[tokio::test]
async fn under_everysec_a_count_behind_an_outage_is_settled_with_it() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), super::WRITE_TIMEOUT, true).await;
    rig.database.fail_next(outage(false));
    rig.database.set_away(true);
    rig.set("k", "1");
    wait_until("the outage", || rig.through.is_down()).await;
    let (keys, seen) = count(&rig);
    assert_eq!((keys, outcome(&seen)), (1, Outcome::Pending));
    rig.database.set_away(false);
    let all = tokio::time::timeout(PATIENCE, async { settled(&seen).await }).await.expect("an end");
    assert_eq!(all, Outcome::Committed);
    rig.assert_agrees(&[("k", Some("1"))]);
}
