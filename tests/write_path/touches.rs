//! A touch is answered at once and lags within its bound; whatever is more than a touch is not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, proptest};
use sojourn::clock::Expiry;
use sojourn::database::unit::Outcome;
use sojourn::database::writer::WriterEnd;

use super::{MINUTE_MS, NOW_MS, Rig, settle_down, settled, wait_until};

const TTL_MS: i64 = 30 * MINUTE_MS;

fn end(offset_ms: i64) -> Expiry {
    Expiry::at_ms(NOW_MS + TTL_MS + offset_ms)
}

/// A session of 30 minutes, committed.
async fn with_session() -> Rig {
    let rig = Rig::start().await;
    assert_eq!(settled(&rig.set_until("sess:a", r#"{"a":1}"#, end(0))).await, Outcome::Committed);
    rig
}

#[tokio::test]
async fn a_touch_within_its_bound_waits_for_nothing() {
    let rig = with_session().await;
    rig.database.hold(true);
    assert!(rig.expire("sess:a", end(MINUTE_MS)).is_empty());
    assert_eq!(rig.recorded("sess:a"), Some(end(0)));
    assert!(!rig.expire("sess:a", end(MINUTE_MS + 1)).is_empty(), "a millisecond beyond the touch interval");
    rig.database.hold(false);
}

#[tokio::test]
async fn a_short_session_lags_by_a_tenth_of_its_life() {
    let rig = Rig::start().await;
    settled(&rig.set_until("sess:a", r#"{"a":1}"#, Expiry::at_ms(NOW_MS + 10_000))).await;
    assert!(rig.expire("sess:a", Expiry::at_ms(NOW_MS + 11_000)).is_empty());
    let beyond = rig.expire("sess:a", Expiry::at_ms(NOW_MS + 12_000));
    assert_eq!(settled(&beyond).await, Outcome::Committed);
    assert_eq!(rig.recorded("sess:a"), Some(Expiry::at_ms(NOW_MS + 12_000)));
}

#[tokio::test]
async fn only_a_longer_life_of_the_same_bytes_is_a_touch() {
    let rig = with_session().await;
    let value = r#"{"a":1}"#;
    assert!(rig.set_until("sess:a", value, end(1_000)).is_empty(), "the same bytes");
    for expiry in [end(-1_000), Expiry::NEVER] {
        let written = rig.set_until("sess:a", value, expiry);
        assert_eq!(settled(&written).await, Outcome::Committed, "the same bytes until {expiry:?}");
        assert_eq!(rig.recorded("sess:a"), Some(expiry));
    }
    settled(&rig.expire("sess:a", end(0))).await;
    assert_eq!(rig.recorded("sess:a"), Some(end(0)), "shortening");
    settled(&rig.expire("sess:a", Expiry::NEVER)).await;
    assert_eq!(rig.recorded("sess:a"), Some(Expiry::NEVER), "PERSIST");
}

#[tokio::test]
async fn other_bytes_are_committed_at_once_and_their_later_end_as_a_touch() {
    let rig = with_session().await;
    assert_eq!(settled(&rig.set_until("sess:a", r#"{"a":2}"#, end(MINUTE_MS))).await, Outcome::Committed);
    assert_eq!((rig.stored("sess:a").as_deref(), rig.recorded("sess:a")), (Some(r#"{"a":2}"#), Some(end(0))));
    assert_eq!(settled(&rig.set_until("sess:a", r#"{"a":3}"#, end(MINUTE_MS - 1))).await, Outcome::Committed);
    assert_eq!(rig.keyspace.touches.count(), 1, "queued once, under the first of the incarnations");
    rig.clock.advance_ms(MINUTE_MS);
    wait_until("the touch", || rig.recorded("sess:a") == Some(end(MINUTE_MS - 1))).await;
    assert_eq!(rig.through.metrics.touch_rows_written.get(), 1);
}

#[tokio::test]
async fn other_bytes_with_an_end_that_may_not_lag_commit_it_too() {
    let rig = with_session().await;
    let ends = [end(MINUTE_MS + 1), end(MINUTE_MS), Expiry::NEVER, end(0)];
    for (expiry, value) in ends.into_iter().zip(2..) {
        let written = rig.set_until("sess:a", &format!("{{\"a\":{value}}}"), expiry);
        assert_eq!(settled(&written).await, Outcome::Committed);
        assert_eq!(rig.recorded("sess:a"), Some(expiry));
    }
    let moved = rig.set_until("sess:a", "no JSON", end(1));
    assert_eq!(settled(&moved).await, Outcome::Committed);
    assert_eq!(rig.recorded("sess:a"), Some(end(1)), "a record that moves is written whole");
}

#[tokio::test]
async fn a_later_end_outlives_the_failure_of_what_was_written_after_it() {
    let rig = with_session().await;
    rig.database.refuse(Some(b"bad"));
    rig.database.hold(true);
    let kept = rig.set_until("sess:a", r#"{"a":2}"#, end(MINUTE_MS));
    let (put, lost) = rig.run(&["sess:a", "bad"], |keys| {
        keys.put(b"sess:a", br#"{"a":3}"#, end(MINUTE_MS)).and(keys.put(b"bad", b"", Expiry::NEVER))
    });
    put.expect("writes that are taken");
    rig.database.hold(false);
    assert_eq!((settled(&kept).await, settled(&lost).await), (Outcome::Committed, Outcome::Failed));
    assert_eq!(rig.run(&["sess:a"], |keys| keys.expiry(b"sess:a")).0, Some(end(MINUTE_MS)));
    rig.clock.advance_ms(1);
    wait_until("the touch", || rig.recorded("sess:a") == Some(end(MINUTE_MS))).await;
}

#[tokio::test]
async fn a_set_on_a_pending_key_is_no_touch() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    rig.set_until("sess:a", r#"{"a":1}"#, end(0));
    let second = rig.set_until("sess:a", r#"{"a":1}"#, end(1_000));
    assert!(!second.is_empty());
    rig.database.hold(false);
    assert_eq!(settled(&second).await, Outcome::Committed);
    assert_eq!(rig.recorded("sess:a"), Some(end(0)), "its later end follows as a touch");
}

#[tokio::test]
async fn a_flush_writes_the_end_of_its_moment() {
    let rig = with_session().await;
    for offset_ms in [1_000, 2_000, 3_000] {
        assert!(rig.expire("sess:a", end(offset_ms)).is_empty());
    }
    rig.clock.advance_ms(MINUTE_MS);
    wait_until("the flush", || rig.recorded("sess:a") == Some(end(3_000))).await;
    assert_eq!(rig.through.metrics.touch_rows_written.get(), 1, "one row for three touches");
}

#[tokio::test]
async fn a_flush_never_resurrects() {
    let rig = with_session().await;
    assert!(rig.expire("sess:a", end(1_000)).is_empty());
    assert_eq!(settled(&rig.delete("sess:a").1).await, Outcome::Committed);
    rig.clock.advance_ms(MINUTE_MS);
    rig.through.barrier().await.expect("a barrier");
    rig.assert_agrees(&[("sess:a", None)]);
    // A new session under the same key is not touched by what the old one left.
    let written = rig.set_until("sess:a", r#"{"b":1}"#, Expiry::at_ms(NOW_MS + 5 * MINUTE_MS));
    assert_eq!(settled(&written).await, Outcome::Committed);
    rig.through.barrier().await.expect("a barrier");
    assert_eq!(rig.recorded("sess:a"), Some(Expiry::at_ms(NOW_MS + 5 * MINUTE_MS)));
}

#[tokio::test]
async fn a_row_deleted_by_hand_is_forgotten_at_the_flush() {
    let rig = with_session().await;
    rig.database.delete_by_hand(b"sess:a");
    assert!(rig.expire("sess:a", end(1_000)).is_empty());
    rig.through.barrier().await.expect("a barrier");
    rig.assert_agrees(&[("sess:a", None)]);
    assert_eq!(rig.count(), 0);
}

#[tokio::test]
async fn a_touch_that_is_refused_is_tried_again() {
    let rig = with_session().await;
    settled(&rig.set_until("sess:b", r#"{"b":1}"#, end(0))).await;
    rig.database.refuse(Some(b"sess:a"));
    for key in ["sess:a", "sess:b"] {
        assert!(rig.expire(key, end(1_000)).is_empty());
    }
    rig.through.barrier().await.expect("a barrier");
    assert_eq!((rig.recorded("sess:a"), rig.recorded("sess:b")), (Some(end(0)), Some(end(1_000))));
    rig.database.refuse(None);
    rig.clock.advance_ms(MINUTE_MS + 1_000);
    wait_until("the touch", || rig.recorded("sess:a") == Some(end(1_000))).await;
}

#[tokio::test]
async fn a_locked_table_stops_a_flush_at_its_first_batch() {
    let rig = Rig::patient().await;
    // Three batches of touches.
    let keys: Vec<String> = (0..5_000).map(|number| format!("k-{number}")).collect();
    let all: Vec<_> = keys.iter().map(|key| rig.set_until(key, "1", end(0))).collect();
    settled(all.last().expect("a write")).await;
    for key in &keys {
        assert!(rig.expire(key, end(1_000)).is_empty());
    }
    rig.database.lock_table(true);
    rig.clock.advance_ms(MINUTE_MS);
    wait_until("the flush", || rig.through.metrics.batches_failed.get() > 0).await;
    assert_eq!(rig.keyspace.touches.count(), keys.len(), "nothing is lost");
    // Each batch that meets the lock costs the time of a commit and of a question.
    let begun = Instant::now();
    wait_until("the next try", || rig.through.metrics.batches_failed.get() > 1).await;
    assert!(begun.elapsed() > Duration::from_millis(800), "not in each turn");
    rig.database.lock_table(false);
    rig.clock.advance_ms(MINUTE_MS);
    wait_until("the next flush", || keys.iter().all(|key| rig.recorded(key) == Some(end(1_000)))).await;
}

#[tokio::test]
async fn a_stop_flushes() {
    let rig = with_session().await;
    assert!(rig.expire("sess:a", end(1_000)).is_empty());
    rig.through.stop();
    let Rig { writer, database, .. } = rig;
    assert_eq!(writer.await.expect("its end"), WriterEnd::Stopped);
    assert_eq!(Arc::clone(&database).stored(b"sess:a").map(|(_, expiry)| expiry), Some(end(1_000)));
}

/// What the database has recorded lags behind memory by no more than a minute or a tenth of the life that is left.
async fn assert_never_lags(steps: &[(u16, u16)]) {
    let rig = with_session().await;
    for (pause_s, ttl_s) in steps {
        rig.clock.advance_ms(i64::from(*pause_s) * 1_000);
        // The writer looks at the touches every quarter of a second; a barrier stands for that time.
        let now_ms = rig.clock.now_ms();
        let (alive, _) = rig.run(&["sess:a"], |keys| keys.expiry(b"sess:a"));
        if alive.is_none() {
            return;
        }
        let expiry = Expiry::at_ms(now_ms + 1_000 * i64::from(*ttl_s));
        let tickets = rig.expire("sess:a", expiry);
        if !tickets.is_empty() {
            assert_eq!(settled(&tickets).await, Outcome::Committed);
        }
        let recorded_ms = rig.recorded("sess:a").and_then(Expiry::as_ms).expect("a record with an end");
        let lag_ms = now_ms + 1_000 * i64::from(*ttl_s) - recorded_ms;
        let bound_ms = MINUTE_MS.min(1_000 * i64::from(*ttl_s) / 10);
        assert!((0..=bound_ms).contains(&lag_ms), "a lag of {lag_ms} ms, allowed {bound_ms}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_record_lags_beyond_the_bound(steps in vec((0_u16..200, 1_u16..4_000), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(assert_never_lags(&steps));
        runtime.shutdown_timeout(Duration::ZERO);
    }
}

#[tokio::test]
async fn a_touch_is_written_for_the_incarnation_that_was_touched() {
    let rig = with_session().await;
    assert!(rig.expire("sess:a", end(10_000)).is_empty(), "a touch of the first incarnation, which stays in the queue");
    settled(&rig.set_until("sess:a", r#"{"a":2}"#, end(0))).await;
    assert!(rig.expire("sess:a", end(10_000)).is_empty(), "a touch of the second one");
    rig.database.delete_by_hand(b"sess:a");
    rig.clock.advance_ms(MINUTE_MS);
    // Were the second touch taken for one of the first, nobody would notice that the row is gone.
    wait_until("the logout", || rig.value("sess:a").is_none()).await;
}

/// A session that ends in a minute, and the rig that will prune it.
async fn ending() -> Rig {
    let rig = Rig::pruning().await;
    settled(&rig.set_until("sess:a", r#"{"a":1}"#, Expiry::at_ms(NOW_MS + MINUTE_MS))).await;
    rig
}

#[tokio::test]
async fn no_prune_takes_a_record_whose_longer_life_waits_for_a_lock() {
    let rig = ending().await;
    settled(&rig.set("locked", "old")).await;
    rig.database.lock(&[b"locked"]);
    let (_, written) = rig.run(&["locked", "sess:a"], |keys| {
        keys.put(b"locked", b"new", Expiry::NEVER).expect("a write that is taken");
        keys.set_expiry(b"sess:a", end(0)).expect("a write that is taken")
    });
    wait_until("the unit to be set aside", || rig.through.metrics.parked_units.get() == 1).await;
    rig.clock.advance_ms(2 * MINUTE_MS);
    let commits = rig.database.commits();
    wait_until("two more prunes", || rig.database.commits() >= commits + 2).await;
    rig.database.lock(&[]);
    assert_eq!(settled(&written).await, Outcome::Committed);
    rig.assert_agrees(&[("sess:a", Some(r#"{"a":1}"#))]);
    assert_eq!(rig.recorded("sess:a"), Some(end(0)));
}

#[tokio::test]
async fn no_prune_takes_a_record_whose_longer_life_is_queued() {
    let rig = ending().await;
    settle_down().await;
    rig.database.hold(true);
    let (first, _) = (rig.set("first", "1"), settle_down().await);
    let written = rig.expire("sess:a", end(0));
    rig.clock.advance_ms(2 * MINUTE_MS);
    rig.database.hold(false);
    settled(&first).await;
    assert_eq!(settled(&written).await, Outcome::Committed);
    rig.assert_agrees(&[("sess:a", Some(r#"{"a":1}"#))]);
    settled(&rig.set_until("sess:b", "{}", Expiry::at_ms(rig.clock.now_ms() + 1))).await;
    rig.clock.advance_ms(1_000);
    wait_until("a prune of what has ended", || rig.stored("sess:b").is_none()).await;
}
