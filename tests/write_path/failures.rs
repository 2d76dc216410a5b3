//! A unit that the database refuses fails with all that was built on it, and with nothing else.

use sojourn::clock::Expiry;
use sojourn::database::unit::Outcome;
use sojourn::keyspace::Tickets;
use sojourn::keyspace::watch::Watch;

use super::{MINUTE_MS, NOW_MS, Rig, settle_down, settled};

/// A writer that is busy with a first commit, so that what follows gathers, and no put of `bad` succeeds.
async fn busy() -> (Rig, Tickets) {
    let rig = Rig::start().await;
    rig.database.refuse(Some(b"bad"));
    rig.database.hold(true);
    let first = rig.set("first", "1");
    settle_down().await;
    (rig, first)
}

async fn assert_outcomes(expected: &[(&Tickets, Outcome)]) {
    for (number, (tickets, outcome)) in expected.iter().enumerate() {
        assert_eq!(settled(tickets).await, *outcome, "unit {number}");
    }
}

#[tokio::test]
async fn a_refused_unit_fails_with_all_that_was_built_on_it() {
    let (rig, first) = busy().await;
    let neighbour = rig.set("neighbour", "1");
    let guilty = rig.set_all(&[("bad", "1"), ("x", "1")]);
    let stands = rig.set("y", "stands");
    let dependant = rig.set_all(&[("x", "2"), ("y", "2")]);
    let transitive = rig.set_all(&[("y", "3"), ("z", "3")]);
    let stranger = rig.set("stranger", "1");
    rig.database.hold(false);
    let (good, bad) = (Outcome::Committed, Outcome::Failed);
    let (dependant, transitive) = (last(&dependant), last(&transitive));
    assert_outcomes(&[(&first, good), (&neighbour, good), (&guilty, bad), (&stands, good)]).await;
    assert_outcomes(&[(&dependant, bad), (&transitive, bad), (&stranger, good)]).await;
    rig.assert_agrees(&[("bad", None), ("x", None), ("y", Some("stands")), ("z", None)]);
    rig.assert_agrees(&[("neighbour", Some("1")), ("stranger", Some("1"))]);
    assert_eq!(rig.count(), 4);
}

/// A later unit saw the earlier ones too; its own ticket is the last.
fn last(tickets: &Tickets) -> Tickets {
    tickets.last().cloned().into_iter().collect()
}

#[tokio::test]
async fn an_entry_returns_to_its_last_committed_value() {
    let rig = Rig::start().await;
    let end = Expiry::at_ms(NOW_MS + 30 * MINUTE_MS);
    settled(&rig.set_until("sess:bad", r#"{"n":1}"#, end)).await;
    rig.database.refuse(Some(b"sess:bad"));
    let mut watch = Watch::default();
    // Also where the refused value would have moved to the other table.
    for value in [r#"{"n":2}"#, "not json"] {
        let written = rig.set("sess:bad", value);
        assert_eq!(rig.value("sess:bad").as_deref(), Some(value));
        rig.keyspace.watches.add(&mut watch, 0, b"sess:bad", true);
        assert_eq!(settled(&written).await, Outcome::Failed);
        rig.assert_agrees(&[("sess:bad", Some(r#"{"n":1}"#))]);
        assert_eq!(rig.recorded("sess:bad"), Some(end));
    }
    assert!(watch.is_dirty(), "a return is a change");
    assert_eq!(settled(&rig.delete("sess:bad").1).await, Outcome::Committed);
    rig.assert_agrees(&[("sess:bad", None)]);
    assert_eq!(rig.count(), 0);
}

#[tokio::test]
async fn a_clear_behind_a_refused_write_is_taken_back_with_it() {
    let rig = Rig::start().await;
    settled(&rig.set("bad", "old")).await;
    settled(&rig.set("other", "1")).await;
    rig.database.refuse(Some(b"bad"));
    rig.database.hold(true);
    let first = rig.set("first", "1");
    settle_down().await;
    let guilty = rig.set("bad", "new");
    let cleared = rig.clear();
    let after = rig.set("after", "1");
    let mut watch = Watch::default();
    rig.keyspace.watches.add(&mut watch, 0, b"other", false);
    rig.database.hold(false);
    let (good, bad) = (Outcome::Committed, Outcome::Failed);
    assert_outcomes(&[(&first, good), (&guilty, bad), (&cleared, bad), (&after, bad)]).await;
    rig.assert_agrees(&[("bad", Some("old")), ("other", Some("1")), ("first", Some("1")), ("after", None)]);
    assert_eq!(rig.count(), 3);
    assert!(watch.is_dirty(), "the key is there again");
}

#[tokio::test]
async fn a_put_that_is_refused_does_not_take_earlier_units_of_its_key() {
    let (rig, first) = busy().await;
    rig.database.refuse(None);
    let earlier = rig.set("k", "1");
    let later = rig.set("k", "2");
    rig.database.hold(false);
    assert_outcomes(&[(&first, Outcome::Committed), (&earlier, Outcome::Committed)]).await;
    assert_outcomes(&[(&last(&later), Outcome::Committed)]).await;
    rig.assert_agrees(&[("k", Some("2"))]);
}

#[tokio::test]
async fn what_saw_a_refused_write_fails_with_it() {
    let (rig, first) = busy().await;
    let guilty = rig.set("bad", "1");
    let (copied, tickets) = rig.run(&["bad", "b"], |keys| {
        let value = keys.value(b"bad")?.expect("a value");
        keys.put(b"b", &value, Expiry::NEVER)
    });
    copied.expect("a write that is taken");
    rig.database.hold(false);
    let (good, bad) = (Outcome::Committed, Outcome::Failed);
    assert_outcomes(&[(&first, good), (&guilty, bad), (&last(&tickets), bad)]).await;
    rig.assert_agrees(&[("bad", None), ("b", None)]);
}
