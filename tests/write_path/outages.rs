//! The database goes away: who is told what, what is taken back, and how the batch in doubt is settled.

use std::sync::Arc;
use std::time::Instant;

use sojourn::clock::Expiry;
use sojourn::database::memory::Memory;
use sojourn::database::unit::Outcome;
use sojourn::database::write_through::{EVERYSEC_BACKLOG_MAX, Status};
use sojourn::database::writer::WriterEnd;
use sojourn::keyspace::KeysError;

use super::{MINUTE_MS, NOW_MS, PATIENCE, Rig, outage, outcome, settings, settle_down, settled, wait_until};

#[tokio::test]
async fn an_outage_fails_what_waits_and_refuses_what_comes() {
    let rig = Rig::start().await;
    settled(&rig.set_until("k", "old", Expiry::at_ms(NOW_MS + 30 * MINUTE_MS))).await;
    rig.database.hold(true);
    let sent = rig.set("sent", "1");
    settle_down().await;
    let queued = rig.set("k", "new");
    rig.database.fail_next(outage(false));
    rig.database.set_away(true);
    rig.database.hold(false);
    assert_eq!(settled(&sent).await, Outcome::Failed);
    assert_eq!(settled(&queued).await, Outcome::Failed);
    assert_eq!(rig.through.status(), Status::Down);
    let (refused, tickets) = rig.run(&["k"], |keys| keys.delete(b"k"));
    assert_eq!(refused, Err(KeysError::DatabaseDown));
    assert!(tickets.is_empty());
    // Reads from memory and touches go on.
    let (value, tickets) = rig.get("k");
    assert_eq!((value.as_deref(), tickets.len()), (Some("old"), 0));
    assert!(rig.expire("k", Expiry::at_ms(NOW_MS + 30 * MINUTE_MS + 1_000)).is_empty());
    let begun = Instant::now();
    let saved = tokio::time::timeout(PATIENCE, rig.through.barrier()).await.expect("SAVE says so at once");
    assert!(saved.is_err() && begun.elapsed() < PATIENCE / 4);
    rig.database.set_away(false);
    wait_until("the recovery", || rig.through.status() == Status::Up).await;
    assert_eq!(settled(&rig.set("later", "1")).await, Outcome::Committed);
    rig.assert_agrees(&[("sent", None), ("k", Some("old")), ("later", Some("1"))]);
    rig.through.barrier().await.expect("everything is committed");
    assert_eq!(rig.recorded("k"), Some(Expiry::at_ms(NOW_MS + 30 * MINUTE_MS + 1_000)));
}

#[tokio::test]
async fn a_short_outage_is_not_noticed() {
    let rig = Rig::start().await;
    rig.database.fail_next(outage(false));
    assert_eq!(settled(&rig.set("a", "1")).await, Outcome::Committed);
    rig.database.fail_next(outage(true));
    assert_eq!(settled(&rig.set("b", "1")).await, Outcome::Committed, "the number of the last batch says so");
    rig.assert_agrees(&[("a", Some("1")), ("b", Some("1"))]);
}

#[tokio::test]
async fn what_is_in_doubt_is_said_to_be_and_settled_later() {
    let rig = Rig::start().await;
    settled(&rig.set("k", "old")).await;
    rig.database.hold(true);
    let doubtful = rig.set("k", "doubtful");
    settle_down().await;
    let queued = rig.set("k", "queued");
    rig.database.fail_and_go_away(outage(true));
    rig.database.hold(false);
    assert_eq!(settled(&doubtful).await, Outcome::Unknown);
    assert_eq!(queued.last().expect("a ticket").outcome(), Outcome::Failed);
    let (value, seen) = rig.get("k");
    assert_eq!((value.as_deref(), outcome(&seen)), (Some("doubtful"), Outcome::Unknown), "who reads it is told too");
    rig.database.set_away(false);
    wait_until("the answer", || outcome(&doubtful) == Outcome::Committed).await;
    rig.assert_agrees(&[("k", Some("doubtful"))]);
}

#[tokio::test]
async fn a_commit_that_stands_still_is_not_committed() {
    let rig = Rig::start().await;
    settled(&rig.set("k", "old")).await;
    rig.database.hold(true);
    let written = rig.set("k", "new");
    assert_eq!(settled(&written).await, Outcome::Failed, "the reconnect says that it is not committed");
    rig.assert_agrees(&[("k", Some("old"))]);
    rig.database.hold(false);
    wait_until("the recovery", || rig.through.status() == Status::Up).await;
    assert_eq!(settled(&rig.set("k", "newer")).await, Outcome::Committed);
    rig.assert_agrees(&[("k", Some("newer"))]);
}

/// What is answered then would else be refused to whoever asks for it next.
#[tokio::test]
async fn after_a_commit_that_took_longer_than_an_ownership_lasts_it_is_renewed() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), 2 * PATIENCE, false).await;
    rig.database.hold(true);
    let written = rig.set("large", "value");
    wait_until("the end of the ownership", || !rig.through.surely_owns(Instant::now())).await;
    rig.database.let_one_pass();
    wait_until("the commit", || rig.database.commits() == 1).await;
    settle_down().await;
    assert_eq!(outcome(&written), Outcome::Pending, "until the ownership is renewed");
    rig.database.hold(false);
    assert_eq!(settled(&written).await, Outcome::Committed);
    assert!(rig.through.surely_owns(Instant::now()));
}

/// The heartbeat of the same turn meets the outage, under the number of the renewal.
#[tokio::test]
async fn after_a_renewal_in_doubt_what_waits_is_committed() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), 2 * PATIENCE, false).await;
    rig.database.hold(true);
    let slow = rig.set("slow", "1");
    settle_down().await;
    let next = rig.set("next", "1");
    wait_until("the end of the ownership", || !rig.through.surely_owns(Instant::now())).await;
    rig.database.spare_next();
    rig.database.fail_next(outage(true));
    rig.database.hold(false);
    assert_eq!((settled(&slow).await, settled(&next).await), (Outcome::Committed, Outcome::Committed));
    rig.assert_agrees(&[("slow", Some("1")), ("next", Some("1"))]);
    assert!(rig.through.surely_owns(Instant::now()));
    let metrics = &rig.through.metrics;
    assert_eq!(
        (metrics.batches_failed.get(), metrics.outages.get()),
        (2, 1),
        "the renewal, and the heartbeat after it"
    );
}

#[tokio::test]
async fn who_waits_is_told_also_where_each_reconnect_succeeds() {
    let rig = Rig::start().await;
    settled(&rig.set("k", "old")).await;
    // A full disk: connections and the small commit of the epoch succeed, each batch fails.
    for _ in 0..1_000 {
        rig.database.fail_next(outage(false));
    }
    let begun = Instant::now();
    assert_eq!(settled(&rig.set("k", "new")).await, Outcome::Failed);
    assert!(begun.elapsed() < PATIENCE / 2);
    rig.assert_agrees(&[("k", Some("old"))]);
}

#[tokio::test]
async fn a_clear_in_doubt_is_remembered_by_what_came_after_it() {
    let rig = Rig::start().await;
    settled(&rig.set("k", "old")).await;
    rig.database.hold(true);
    let cleared = rig.clear();
    settle_down().await;
    let after = rig.set("k", "after");
    rig.database.fail_and_go_away(outage(true));
    rig.database.hold(false);
    assert_eq!(settled(&cleared).await, Outcome::Unknown);
    assert_eq!(after.last().expect("a ticket").outcome(), Outcome::Failed);
    rig.database.set_away(false);
    wait_until("the answer", || outcome(&cleared) == Outcome::Committed).await;
    rig.assert_agrees(&[("k", None)]);
    assert_eq!(rig.count(), 0);
}

#[tokio::test]
async fn who_loses_the_database_acknowledges_nothing_more() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    let sent = rig.set("a", "1");
    settle_down().await;
    let queued = rig.set("b", "1");
    rig.database.steal("other:2");
    rig.database.hold(false);
    assert_eq!(settled(&sent).await, Outcome::Failed);
    assert_eq!(settled(&queued).await, Outcome::Failed);
    assert_eq!(rig.through.status(), Status::Lost);
    assert_eq!(rig.stored("a"), None);
    assert_eq!(rig.writer.await.expect("its end"), WriterEnd::Fenced("other:2".to_owned()));
}

#[tokio::test]
async fn what_is_in_doubt_when_another_took_over_stays_unknown() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    let sent = rig.set("a", "1");
    settle_down().await;
    let queued = rig.set("b", "1");
    // The commit is left in the middle, and the reconnect finds a new owner.
    rig.database.steal("other:2");
    assert_eq!(settled(&sent).await, Outcome::Unknown);
    assert_eq!(settled(&queued).await, Outcome::Failed);
    assert_eq!(rig.writer.await.expect("its end"), WriterEnd::Fenced("other:2".to_owned()));
}

#[tokio::test]
async fn a_stop_in_an_outage_says_how_much_is_not_committed() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), super::WRITE_TIMEOUT, true).await;
    rig.database.hold(true);
    rig.set("sent", "1");
    settle_down().await;
    rig.set("queued", "1");
    rig.database.set_away(true);
    rig.database.hold(false);
    wait_until("the outage", || rig.through.is_down()).await;
    rig.through.stop();
    assert_eq!(rig.writer.await.expect("its end"), WriterEnd::StoppedInOutage(2));
}

#[tokio::test]
async fn the_touch_of_a_key_that_was_taken_back_twice_is_written_once() {
    let rig = Rig::start().await;
    let end = |offset_ms| Expiry::at_ms(NOW_MS + 30 * MINUTE_MS + offset_ms);
    settled(&rig.set_until("k", "old", end(0))).await;
    assert!(rig.expire("k", end(1_000)).is_empty(), "a touch waits for nothing");
    rig.database.hold(true);
    let sent = rig.set("sent", "1");
    settle_down().await;
    let queued = [rig.set("k", "new"), rig.set("k", "newer")];
    rig.database.fail_next(outage(false));
    rig.database.set_away(true);
    rig.database.hold(false);
    for tickets in [&sent, &queued[0], &queued[1]] {
        assert_eq!(settled(tickets).await, Outcome::Failed);
    }
    rig.database.set_away(false);
    wait_until("the recovery", || rig.through.status() == Status::Up).await;
    rig.through.barrier().await.expect("everything is committed");
    assert_eq!(rig.recorded("k"), Some(end(1_000)));
    // PostgreSQL would report the second of the same record as missing, and the session would be forgotten.
    assert_eq!(rig.through.metrics.touch_rows_written.get(), 1);
    rig.assert_agrees(&[("k", Some("old")), ("sent", None)]);
}

#[tokio::test]
async fn everysec_acknowledges_up_to_its_backlog_and_refuses_the_next() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), super::WRITE_TIMEOUT, true).await;
    settled(&rig.set("k", "old")).await;
    rig.database.fail_next(outage(false));
    rig.database.set_away(true);
    rig.set("k", "0");
    wait_until("the outage", || rig.through.is_down()).await;
    for number in 1..EVERYSEC_BACKLOG_MAX {
        rig.set("k", &number.to_string());
    }
    assert_eq!(rig.through.backlog(), EVERYSEC_BACKLOG_MAX);
    let (refused, tickets) = rig.run(&["k"], |keys| keys.put(b"k", b"one too many", Expiry::NEVER));
    assert_eq!((refused, tickets.len()), (Err(KeysError::DatabaseDown), 0));
    assert_eq!(rig.value("k"), Some((EVERYSEC_BACKLOG_MAX - 1).to_string()));
    rig.database.set_away(false);
    wait_until("the backlog to be committed", || rig.through.backlog() == 0).await;
    rig.assert_agrees(&[("k", Some(&(EVERYSEC_BACKLOG_MAX - 1).to_string()))]);
    assert_eq!(settled(&rig.set("k", "new")).await, Outcome::Committed);
    assert_eq!(rig.through.metrics.units_failed.get(), 0);
}
