//! The numbers that INFO and the metrics show of the write path are what happened.

use std::sync::Arc;
use std::time::Duration;

use sojourn::clock::Expiry;
use sojourn::database::memory::Memory;
use sojourn::telemetry::latency::Event;

use super::{MINUTE_MS, NOW_MS, PATIENCE, Rig, settings, settle_down, settled, wait_until};

#[tokio::test]
async fn batches_are_counted_with_their_sizes_their_time_and_what_they_replaced() {
    let rig = Rig::patient().await;
    rig.through.metrics.latency.set_threshold_ms(20);
    rig.database.hold(true);
    let first = rig.set("first", "1");
    settle_down().await;
    assert_eq!(rig.through.backlog(), 1, "what is under way counts");
    // Ten writes of three keys: seven of them are replaced within their batch.
    let writes: Vec<_> = (0..10).map(|number| rig.set(&format!("k{}", number % 3), &number.to_string())).collect();
    assert_eq!(rig.through.backlog(), 11);
    let held = Duration::from_millis(20);
    wait_until("some time to pass", || rig.through.behind() >= held).await;
    rig.database.hold(false);
    settled(&first).await;
    for write in &writes {
        settled(&write.last().cloned().into_iter().collect()).await;
    }
    let metrics = &rig.through.metrics;
    wait_until("the end of the turn", || rig.through.behind() == Duration::ZERO).await;
    assert_eq!(rig.through.backlog(), 0);
    assert_eq!((metrics.batches_committed.get(), metrics.units_committed.get()), (2, 11));
    assert_eq!((metrics.batch_changes.get(), metrics.changes_replaced.get()), (4, 7));
    assert_eq!((metrics.changes_per_batch.count(), metrics.changes_per_batch.sum()), (2, 4));
    assert_eq!(metrics.changes_per_batch.quantile(1.0), 4);
    assert_eq!(metrics.commit_us.count(), 2);
    assert!(u128::from(metrics.commit_us.sum()) >= held.as_micros(), "the first commit took that long");
    let long = metrics.latency.history(Event::Commit).expect("the first commit is an event");
    assert!(long.worst_ms >= 20 && metrics.latency.history(Event::Command).is_none(), "{long:?}");
    assert_eq!((metrics.batches_failed.get(), metrics.units_failed.get(), metrics.outages.get()), (0, 0, 0));
}

#[tokio::test]
async fn touches_are_counted_per_row_that_is_written() {
    let rig = Rig::patient().await;
    let end = |offset_ms| Expiry::at_ms(NOW_MS + 30 * MINUTE_MS + offset_ms);
    for key in ["a", "b"] {
        settled(&rig.set_until(key, "1", end(0))).await;
    }
    for offset_ms in 1..=5 {
        assert!(rig.expire("a", end(offset_ms)).is_empty());
    }
    assert!(rig.set_until("b", "1", end(1)).is_empty(), "a SET of the same bytes");
    assert_eq!(rig.keyspace.touches.count(), 2);
    rig.through.barrier().await.expect("all is committed");
    let metrics = &rig.through.metrics;
    assert_eq!((metrics.touches_gathered.get(), metrics.touch_rows_written.get()), (6, 2));
    assert_eq!(rig.keyspace.touches.count(), 0);
}

#[tokio::test]
async fn outages_and_what_they_failed_are_counted() {
    let rig = Rig::start().await;
    rig.database.set_away(true);
    settled(&rig.set("a", "1")).await;
    rig.database.set_away(false);
    wait_until("the recovery", || !rig.through.is_down()).await;
    settled(&rig.set("a", "2")).await;
    let metrics = &rig.through.metrics;
    assert_eq!((metrics.outages.get(), metrics.batches_failed.get()), (1, 1));
    assert_eq!((metrics.units_failed.get(), metrics.units_committed.get()), (1, 1));
    assert_eq!(rig.through.backlog(), 0);
}

#[tokio::test]
async fn under_everysec_clients_are_slowed_while_the_database_does_not_keep_up() {
    let rig = Rig::with(Arc::new(Memory::open(&settings())), 10 * PATIENCE, true).await;
    rig.database.hold(true);
    let (under_way, _) = (rig.set("a", "1"), settle_down().await);
    let queued = rig.set("b", "1");
    assert!(rig.through.has_room());
    wait_until("clients that go on to be slowed", || {
        rig.set("b", "1");
        !rig.through.has_room()
    })
    .await;
    assert!(rig.through.behind() >= Duration::from_millis(500), "not for every batch");
    rig.database.hold(false);
    settled(&under_way).await;
    settled(&queued).await;
    wait_until("room", || rig.through.has_room()).await;
}
