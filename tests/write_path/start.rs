//! While the keys are being read: an unknown key is asked for, and neither a row that was read before nor a late answer brings
//! back what was deleted, or takes back what was changed, since.

use std::sync::Arc;

use sojourn::clock::Expiry;
use sojourn::database::memory::Memory;
use sojourn::database::unit::Outcome;
use sojourn::database::{DatabaseError, Home};
use tokio::task::JoinHandle;

use super::{MINUTE_MS, NOW_MS, Reading, Rig, put_by_hand, settings, settled, wait_until};

const SESSION: Home = Home::Session(0);
const END: Expiry = Expiry::at_ms(NOW_MS + 10 * MINUTE_MS);

fn put(database: &Memory, home: Home, key: &str, value: &str) {
    put_by_hand(database, home, key, value, END);
}

/// A start on a database with the sessions a to e, whose reading stands still after so many of them.
async fn start(visits: u64) -> (Rig, Reading) {
    let database = Memory::open(&settings());
    for name in ["a", "b", "c", "d", "e"] {
        put(&database, SESSION, &format!("sess:{name}"), &format!(r#"{{"{name}":0}}"#));
    }
    start_on(database, visits).await
}

async fn start_on(database: Memory, visits: u64) -> (Rig, Reading) {
    database.hold_scans_after(visits);
    let (rig, reading) = Rig::reading(database).await;
    wait_until("the reading to stand still", || rig.database.visited() == visits || reading.is_finished()).await;
    (rig, reading)
}

async fn finish(rig: &Rig, reading: Reading) {
    rig.database.hold_scans_after(u64::MAX);
    assert!(matches!(reading.await.expect("no panic"), Ok(Some(_))));
    assert!(rig.keyspace.knows_all());
}

async fn delete(rig: &Rig, key: &str) {
    rig.ask(key).await;
    let (deleted, tickets) = rig.delete(key);
    assert!(deleted, "{key} was there");
    assert_eq!(settled(&tickets).await, Outcome::Committed);
}

/// All that memory and database have, once all keys are known.
fn assert_sessions(rig: &Rig, expected: &[(&str, Option<&str>)]) {
    assert_eq!(rig.count(), expected.iter().filter(|(_, value)| value.is_some()).count());
    for (key, value) in expected {
        assert_eq!(rig.stored(key).as_deref(), *value, "{key} in the database");
        let (end, _) = rig.run(&[key], |keys| keys.expiry(key.as_bytes()));
        assert_eq!(end.is_some(), value.is_some(), "{key} in memory");
    }
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_and_answered_before_all_are_known() {
    let (rig, reading) = start(1).await;
    assert!(!rig.is_unknown("sess:a") && rig.is_unknown("sess:e"));
    assert!(rig.is_unknown("sess:none"), "nobody knows yet that there is none");
    assert_eq!((rig.database.loads(), rig.count()), (0, 1));
    rig.ask("sess:e").await;
    assert_eq!(rig.value("sess:e").as_deref(), Some(r#"{"e":0}"#));
    rig.ask("sess:none").await;
    assert_eq!(rig.value("sess:none"), None);
    rig.ask("sess:none").await;
    assert_eq!((rig.database.loads(), rig.count()), (2, 2), "each is asked for once");
    finish(&rig, reading).await;
    assert_eq!((rig.count(), rig.keyspace.counts.expiring(0)), (5, 5));
    assert!(!rig.is_unknown("sess:other"));
    let (end, _) = rig.run(&["sess:e"], |keys| keys.expiry(b"sess:e"));
    assert_eq!(end, Some(END));
}

#[tokio::test]
async fn what_was_deleted_before_its_row_comes_stays_deleted() {
    let (rig, reading) = start(1).await;
    delete(&rig, "sess:a").await;
    delete(&rig, "sess:d").await;
    assert!(!rig.is_unknown("sess:d"), "it is known that it is gone");
    finish(&rig, reading).await;
    let (kept, gone) = (Some(r#"{"b":0}"#), None);
    assert_sessions(
        &rig,
        &[
            ("sess:a", gone),
            ("sess:b", kept),
            ("sess:c", Some(r#"{"c":0}"#)),
            ("sess:d", gone),
            ("sess:e", Some(r#"{"e":0}"#)),
        ],
    );
}

#[tokio::test]
async fn what_was_shortened_and_has_ended_before_its_row_comes_stays_ended() {
    let (rig, reading) = start(1).await;
    rig.ask("sess:d").await;
    assert_eq!(settled(&rig.expire("sess:d", Expiry::at_ms(NOW_MS + 1_000))).await, Outcome::Committed);
    rig.clock.advance_ms(1_000);
    rig.keyspace.expire();
    assert_eq!(rig.count(), 1);
    finish(&rig, reading).await;
    assert_eq!((rig.count(), rig.value("sess:d")), (4, None));
}

#[tokio::test]
async fn what_was_written_before_its_row_comes_stays_as_written() {
    let (rig, reading) = start(1).await;
    let later = Expiry::at_ms(NOW_MS + 11 * MINUTE_MS);
    for key in ["sess:c", "sess:d", "sess:e"] {
        rig.ask(key).await;
    }
    rig.expire("sess:c", later);
    settled(&rig.set_until("sess:d", r#"{"d":1}"#, later)).await;
    delete(&rig, "sess:e").await;
    settled(&rig.set("sess:e", "no session")).await;
    finish(&rig, reading).await;
    let end = |key: &str| rig.run(&[key], |keys| keys.expiry(key.as_bytes())).0;
    assert_eq!((end("sess:c"), end("sess:d"), end("sess:e")), (Some(later), Some(later), Some(Expiry::NEVER)));
    assert_eq!(rig.value("sess:d").as_deref(), Some(r#"{"d":1}"#));
    assert_eq!(rig.value("sess:e").as_deref(), Some("no session"));
    assert_eq!((rig.count(), rig.keyspace.counts.expiring(0)), (5, 4));
    rig.through.barrier().await.expect("everything is committed");
    assert_eq!((rig.recorded("sess:c"), rig.stored("sess:e").as_deref()), (Some(later), Some("no session")));
}

#[tokio::test]
async fn a_touch_waits_in_its_queue_while_the_row_comes() {
    let (rig, reading) = start(1).await;
    rig.ask("sess:d").await;
    let later = Expiry::at_ms(NOW_MS + 10 * MINUTE_MS + 30_000);
    assert!(rig.expire("sess:d", later).is_empty(), "a touch");
    finish(&rig, reading).await;
    assert_eq!((rig.keyspace.touches.count(), rig.recorded("sess:d")), (1, Some(END)));
    rig.through.barrier().await.expect("everything is committed");
    assert_eq!(rig.recorded("sess:d"), Some(later));
}

/// A question about c whose answer is held back. Meanwhile its row comes, and its session is logged out.
async fn overtaken_question() -> (Rig, Reading, JoinHandle<Result<(), DatabaseError>>) {
    let (rig, reading) = start(1).await;
    rig.database.hold_loads(true);
    let asking = rig.question("sess:c");
    wait_until("the question", || rig.database.loads() == 1).await;
    rig.database.hold_scans_after(3);
    wait_until("the row", || !rig.is_unknown("sess:c")).await;
    let (deleted, tickets) = rig.delete("sess:c");
    assert!(deleted);
    assert_eq!(settled(&tickets).await, Outcome::Committed);
    (rig, reading, asking)
}

#[tokio::test]
async fn a_late_answer_brings_nothing_back() {
    let (rig, reading, asking) = overtaken_question().await;
    rig.database.hold_loads(false);
    asking.await.expect("no panic").expect("an answer");
    assert_eq!((rig.value("sess:c"), rig.count()), (None, 2));
    finish(&rig, reading).await;
    assert_eq!((rig.value("sess:c"), rig.count()), (None, 4));
}

/// That a key is gone is forgotten when the reading begins anew, since its row is; the answer from before is not.
#[tokio::test]
async fn an_answer_from_before_the_reading_began_anew_brings_nothing_back() {
    let (rig, reading, asking) = overtaken_question().await;
    rig.database.set_away(true);
    rig.database.hold_scans_after(u64::MAX);
    assert!(reading.await.expect("no panic").is_err());
    rig.database.set_away(false);
    rig.database.hold_scans_after(rig.database.visited());
    let reading = rig.read_keys();
    wait_until("the next reading", || rig.is_unknown("sess:c")).await;
    rig.database.hold_loads(false);
    asking.await.expect("no panic").expect("an answer");
    rig.ask("sess:c").await;
    assert_eq!(rig.value("sess:c"), None);
    finish(&rig, reading).await;
    assert_eq!((rig.value("sess:c"), rig.count()), (None, 4));
}

#[tokio::test]
async fn many_questions_at_once_are_one_query() {
    let (rig, reading) = start(1).await;
    rig.database.hold_loads(true);
    let key = |number: u32| if number.is_multiple_of(2) { "sess:e".to_owned() } else { format!("sess:none{number}") };
    let asks: Vec<_> = (0..50).map(|number| rig.question(&key(number))).collect();
    wait_until("the first question", || rig.database.loads() == 1).await;
    super::settle_down().await;
    rig.database.hold_loads(false);
    for ask in asks {
        ask.await.expect("no panic").expect("an answer");
    }
    assert!(rig.database.loads() <= 2, "the first, and all that came meanwhile");
    assert_eq!(rig.keyspace.counts.keys(0), 2);
    assert!(!rig.is_unknown("sess:none1"));
    finish(&rig, reading).await;
}

/// As many short keys as one request may ask for are all known afterwards: their answers do not displace each other.
#[tokio::test]
async fn what_is_not_too_much_to_ask_is_known_afterwards() {
    let (rig, reading) = start(1).await;
    let keys = |count: usize| (0..count).map(|number| (0, format!("{number:06}").into_bytes())).collect::<Vec<_>>();
    let most = (1..=20).map(|power| keys(1 << power)).take_while(|keys| rig.keyspace.room_to_ask().take(keys));
    let most = most.last().expect("two keys are not too much");
    rig.keyspace.load(most.clone()).await.expect("a database that answers");
    let names: Vec<(u8, &[u8])> = most.iter().map(|(database, key)| (*database, key.as_slice())).collect();
    assert_eq!(rig.keyspace.unknown(&names).len(), 0, "of {}", most.len());
    finish(&rig, reading).await;
    assert!(rig.keyspace.room_to_ask().take(&keys(1 << 20)), "nothing is asked for any more");
}

#[tokio::test]
async fn only_the_values_of_known_keys_count_as_cold() {
    let (rig, reading) = start(1).await;
    let cold_hits = || rig.through.metrics.keyspace_cold_hits.get();
    rig.ask("sess:e").await;
    rig.ask("sess:none").await;
    assert_eq!(cold_hits(), 0, "it was not known whether they exist");
    for _ in 0..2 {
        rig.keyspace.load(vec![(0, b"sess:a".to_vec()), (0, b"sess:none".to_vec())]).await.expect("an answer");
        assert_eq!(cold_hits(), 1, "a value that is in memory is waited for by nobody");
    }
    finish(&rig, reading).await;
}

#[tokio::test]
async fn an_outage_makes_the_reading_begin_anew_and_unknown_keys_an_error() {
    let (rig, reading) = start(2).await;
    delete(&rig, "sess:a").await;
    delete(&rig, "sess:d").await;
    rig.database.set_away(true);
    rig.database.hold_scans_after(u64::MAX);
    assert!(reading.await.expect("no panic").is_err());
    assert!(rig.keyspace.load(vec![(0, b"sess:e".to_vec())]).await.is_err());
    assert!(rig.is_unknown("sess:e") && !rig.is_unknown("sess:b"));
    rig.database.set_away(false);
    finish(&rig, rig.read_keys()).await;
    assert_eq!((rig.count(), rig.value("sess:a"), rig.value("sess:d")), (3, None, None));
}

#[tokio::test]
async fn of_a_key_in_two_tables_the_session_wins_and_the_other_record_goes() {
    for visits in [0, 1, 2] {
        let database = Memory::open(&settings());
        put(&database, SESSION, "sess:a", r#"{"a":0}"#);
        put(&database, Home::Keys, "sess:a", "old");
        put(&database, Home::Keys, "sess:only", "here");
        let (rig, reading) = start_on(database, visits).await;
        rig.ask("sess:a").await;
        rig.ask("sess:only").await;
        finish(&rig, reading).await;
        rig.through.barrier().await.expect("everything is committed");
        assert_eq!((rig.count(), rig.stored("sess:a").as_deref()), (2, Some(r#"{"a":0}"#)), "{visits}");
        delete(&rig, "sess:a").await;
        assert_eq!((rig.stored("sess:a"), rig.stored("sess:only").as_deref()), (None, Some("here")), "{visits}");
    }
}

#[tokio::test]
async fn a_session_that_was_deleted_before_its_second_record_is_read_is_gone_from_both_tables() {
    let database = Memory::open(&settings());
    put(&database, SESSION, "sess:a", r#"{"a":0}"#);
    put(&database, Home::Keys, "sess:a", "old");
    let (rig, reading) = start_on(database, 1).await;
    let (deleted, tickets) = rig.delete("sess:a");
    assert!(deleted);
    assert_eq!(settled(&tickets).await, Outcome::Committed);
    finish(&rig, reading).await;
    rig.through.barrier().await.expect("everything is committed");
    assert_eq!((rig.count(), rig.value("sess:a"), rig.stored("sess:a")), (0, None, None));
}

#[tokio::test]
async fn a_row_that_another_program_deleted_is_forgotten_when_it_is_read_cold() {
    let (rig, reading) = start(3).await;
    rig.database.delete_by_hand(b"sess:a");
    rig.database.delete_by_hand(b"sess:e");
    rig.ask("sess:e").await;
    assert_eq!(rig.value("sess:e"), None);
    rig.keyspace.load(vec![(0, b"sess:a".to_vec())]).await.expect("an answer");
    assert_eq!(rig.value("sess:a"), None);
    finish(&rig, reading).await;
    assert_eq!((rig.count(), rig.value("sess:e"), rig.value("sess:a")), (3, None, None));
}

#[tokio::test]
async fn an_expired_record_is_no_session_for_who_asks() {
    let database = Memory::open(&settings());
    put(&database, SESSION, "sess:a", r#"{"a":0}"#);
    put(&database, SESSION, "sess:b", r#"{"b":0}"#);
    let (rig, reading) = start_on(database, 0).await;
    rig.clock.advance_ms(10 * MINUTE_MS);
    rig.ask("sess:b").await;
    assert_eq!((rig.value("sess:b"), rig.count()), (None, 0));
    // To the table it is a new session.
    settled(&rig.set("sess:b", r#"{"b":1}"#)).await;
    finish(&rig, reading).await;
    rig.keyspace.expire();
    assert_eq!((rig.count(), rig.value("sess:b").as_deref()), (1, Some(r#"{"b":1}"#)));
}

#[tokio::test]
async fn a_flush_after_the_reading_leaves_nothing() {
    let (rig, reading) = start(2).await;
    rig.ask("sess:e").await;
    settled(&rig.set("sess:e", r#"{"e":1}"#)).await;
    let waits = {
        let keyspace = Arc::clone(&rig.keyspace);
        tokio::spawn(async move { keyspace.wait_for_all().await })
    };
    super::settle_down().await;
    assert!(!waits.is_finished(), "not all are known");
    finish(&rig, reading).await;
    waits.await.expect("no panic");
    assert_eq!(settled(&rig.clear()).await, Outcome::Committed);
    assert_eq!((rig.count(), rig.stored("sess:a"), rig.stored("sess:e")), (0, None, None));
}
