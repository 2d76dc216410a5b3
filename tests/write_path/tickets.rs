//! A ticket is settled by the commit and by nothing else, and whoever saw a change waits for it.

use sojourn::app::client::Unsaved;
use sojourn::clock::Expiry;
use sojourn::commands::error::CommandError;
use sojourn::database::unit::Outcome;
use sojourn::keyspace::Tickets;
use sojourn::keyspace::watch::Watch;

use super::{MINUTE_MS, NOW_MS, Rig, outage, outcome, settle_down, settled, wait_until};

fn same(one: &Tickets, other: &Tickets) -> bool {
    one.len() == 1 && other.len() == 1 && one[0].is(&other[0])
}

#[tokio::test]
async fn a_ticket_is_not_settled_before_the_commit() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    let written = rig.set("sess:a", r#"{"a":1}"#);
    settle_down().await;
    assert_eq!(outcome(&written), Outcome::Pending);
    assert_eq!(rig.stored("sess:a"), None);
    rig.database.hold(false);
    assert_eq!(settled(&written).await, Outcome::Committed);
    rig.assert_agrees(&[("sess:a", Some(r#"{"a":1}"#))]);
}

#[tokio::test]
async fn who_sees_a_change_waits_for_it() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    let written = rig.set("a", "1");
    let (value, seen) = rig.get("a");
    assert_eq!(value.as_deref(), Some("1"));
    assert!(same(&seen, &written), "a value");
    let (deleted, deletion) = rig.delete("a");
    assert!(deleted);
    let (value, seen) = rig.get("a");
    assert_eq!(value, None);
    assert!(same(&seen, &Tickets::from_iter([deletion.last().expect("a ticket").clone()])), "a nil");
    let (deleted, seen) = rig.delete("a");
    assert!(!deleted && seen.len() == 1, "a zero");
    let (count, seen) = rig.run(&["b"], |keys| keys.count());
    assert_eq!((count, seen.len()), (0, 1), "a count");
    assert!(rig.get("never there").1.is_empty(), "what nobody changed holds nobody");
    rig.database.hold(false);
    assert_eq!(settled(&seen).await, Outcome::Committed);
    rig.assert_agrees(&[("a", None)]);
}

#[tokio::test]
async fn a_transaction_is_one_unit() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    let written = rig.set_all(&[("a", "1"), ("b", "1")]);
    assert!(same(&rig.get("a").1, &written) && same(&rig.get("b").1, &written));
    rig.database.hold(false);
    assert_eq!(settled(&written).await, Outcome::Committed);
    assert_eq!(rig.database.commits(), 1);
}

#[tokio::test]
async fn while_one_batch_commits_the_next_gathers() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    let first = rig.set("first", "1");
    settle_down().await;
    let more: Vec<Tickets> =
        (0..100).map(|number| rig.set(&format!("k{}", number % 10), &number.to_string())).collect();
    rig.database.hold(false);
    assert_eq!(settled(&first).await, Outcome::Committed);
    for tickets in &more {
        assert_eq!(settled(tickets).await, Outcome::Committed);
    }
    assert_eq!(rig.database.commits(), 2);
    rig.assert_agrees(&[("k0", Some("90")), ("k9", Some("99"))]);
}

#[tokio::test]
async fn a_clear_is_a_barrier() {
    let rig = Rig::start().await;
    rig.database.hold(true);
    rig.set("before", "1");
    rig.set("both", "1");
    let cleared = rig.clear();
    assert_eq!(rig.count(), 0);
    rig.set("both", "2");
    let after = rig.set("after", "1");
    rig.database.hold(false);
    assert_eq!(settled(&cleared).await, Outcome::Committed);
    assert_eq!(settled(&after).await, Outcome::Committed);
    rig.assert_agrees(&[("before", None), ("both", Some("2")), ("after", Some("1"))]);
    assert_eq!(rig.count(), 2);
}

#[tokio::test]
async fn a_value_that_moves_lives_in_one_table() {
    let rig = Rig::start().await;
    for value in [r#"{"json":1}"#, "not json", r#"{"json":2}"#] {
        let written = rig.set_until("sess:a", value, Expiry::at_ms(NOW_MS + MINUTE_MS));
        assert_eq!(settled(&written).await, Outcome::Committed);
        rig.assert_agrees(&[("sess:a", Some(value))]);
    }
    let (_, deleted) = rig.delete("sess:a");
    assert_eq!(settled(&deleted).await, Outcome::Committed);
    rig.assert_agrees(&[("sess:a", None)]);
}

#[tokio::test]
async fn a_watch_sees_each_change_of_its_key_alone() {
    let rig = Rig::start().await;
    let watch = |key: &str| {
        let mut watch = Watch::default();
        rig.keyspace.watches.add(&mut watch, 0, key.as_bytes(), true);
        watch
    };
    rig.set_until("a", "1", Expiry::at_ms(NOW_MS + MINUTE_MS));
    let others = watch("b");
    let set = watch("a");
    rig.set_until("a", "1", Expiry::at_ms(NOW_MS + MINUTE_MS + 1));
    assert!(set.is_dirty(), "a SET of the same bytes");
    let touched = watch("a");
    rig.expire("a", Expiry::at_ms(NOW_MS + MINUTE_MS + 2));
    assert!(touched.is_dirty(), "a touch");
    let deleted = watch("a");
    rig.delete("a");
    assert!(deleted.is_dirty());
    let missing = watch("a");
    rig.delete("a");
    assert!(!missing.is_dirty(), "nothing was deleted");
    assert!(!others.is_dirty());
}

#[tokio::test]
async fn what_was_answered_before_its_commit_is_kept_once() {
    let rig = Rig::patient().await;
    rig.database.hold(true);
    rig.set("a", "1");
    rig.set("b", "1");
    let mut unsaved = Unsaved::default();
    // Reads of two pending keys in turn, as a client makes them under everysec in an outage.
    for _ in 0..10_000 {
        unsaved.add(rig.get("a").1);
        unsaved.add(rig.get("b").1);
    }
    assert_eq!(unsaved.take_outcome(), Outcome::Pending);
    assert!(unsaved.kept() < 1_000, "{} tickets of two units are kept", unsaved.kept());
    rig.database.hold(false);
    wait_until("the commits", || rig.through.backlog() == 0).await;
    assert_eq!((unsaved.take_outcome(), unsaved.kept()), (Outcome::Committed, 0));
}

#[tokio::test]
async fn what_was_not_committed_is_told_once_and_not_kept() {
    let rig = Rig::start().await;
    rig.database.refuse(Some(b"bad"));
    let mut unsaved = Unsaved::default();
    for number in 0..100 {
        let refused = rig.set("bad", "1");
        assert_eq!(settled(&refused).await, Outcome::Failed);
        unsaved.add(refused);
        unsaved.add(rig.set("good", &number.to_string()));
    }
    assert!(unsaved.kept() < 100, "{} tickets are kept", unsaved.kept());
    wait_until("the commits", || rig.through.backlog() == 0).await;
    assert_eq!(unsaved.take_outcome(), Outcome::Failed);
    assert_eq!(unsaved.take_outcome(), Outcome::Committed);
}

#[tokio::test]
async fn a_doubt_is_told_as_a_doubt() {
    let rig = Rig::start().await;
    rig.database.fail_and_go_away(outage(true));
    let doubtful = rig.set("k", "1");
    assert_eq!(settled(&doubtful).await, Outcome::Unknown);
    let mut unsaved = Unsaved::default();
    unsaved.add(doubtful);
    let told = CommandError::of_outcome(unsaved.take_outcome()).expect("an error").to_string();
    assert!(told.starts_with("UNCERTAIN "), "{told}");
}
