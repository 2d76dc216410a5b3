//! After the start the values of the keys that end last are fetched: within the limit, after the clients, and never for ever.

use std::sync::Arc;

use sojourn::clock::Expiry;
use sojourn::config::EvictionPolicy;
use sojourn::database::memory::Memory;
use sojourn::database::write_through::Status;
use sojourn::database::{DatabaseError, Home};
use sojourn::keyspace::KeysError;
use tokio::task::JoinHandle;

use super::{NOW_MS, Rig, put_by_hand, settings, settle_down, wait_until};

const SESSIONS: usize = 2_000;
/// With the numbers and the key in front of it, it takes 1 024 bytes where the key alone takes 48.
const VALUE_BYTES: usize = 980;
const TAKEN_BYTES: usize = 1_024 - 48;

fn key(number: usize) -> String {
    format!("sess:{number}")
}

fn put(database: &Memory, key: &str, expiry: Expiry) {
    let value = format!("{{{:1$}}}", "", VALUE_BYTES - 2);
    put_by_hand(database, Home::Session(0), key, &value, expiry);
}

/// Sessions of which each ends ten seconds after the one before it, and one without an end if wanted; all are known, and none is
/// in memory.
async fn start_with(kept: Option<&str>) -> Rig {
    let database = Memory::open(&settings());
    kept.into_iter().for_each(|key| put(&database, key, Expiry::NEVER));
    for number in 0..SESSIONS {
        put(&database, &key(number), Expiry::at_ms(NOW_MS + 10_000 * (1 + number as i64)));
    }
    Rig::on(Arc::new(database)).await
}

async fn start() -> Rig {
    start_with(None).await
}

fn is_hot(rig: &Rig, key: &str) -> bool {
    let (value, _) = rig.run(&[key], |keys| keys.value(key.as_bytes()));
    match value {
        Ok(value) => value.is_some(),
        Err(error) => {
            assert_eq!(error, KeysError::Cold, "{key}");
            false
        }
    }
}

fn hot(rig: &Rig) -> usize {
    rig.keyspace.memory_use().hot_values
}

/// A limit of which nine tenths leave room for so many values.
fn limit(rig: &Rig, values: usize, policy: EvictionPolicy) -> u64 {
    let bytes = (rig.keyspace.memory_use().used() + values * TAKEN_BYTES) as u64 * 10 / 9;
    rig.keyspace.memory_limit.set(bytes, policy);
    bytes
}

/// About so many values are in memory, and a tenth of the limit is free.
fn assert_fills(rig: &Rig, values: usize, limit: u64) {
    assert!((values * 9 / 10..=values * 21 / 20).contains(&hot(rig)), "{} of {values}", hot(rig));
    assert!(rig.keyspace.memory_use().used() as u64 <= limit - limit / 10);
}

async fn warm_up(rig: &Rig) {
    rig.keyspace.warm_up(&*rig.database).await.expect("a database that answers");
}

fn warming(rig: &Rig) -> JoinHandle<Result<(), DatabaseError>> {
    let (keyspace, database) = (Arc::clone(&rig.keyspace), Arc::clone(&rig.database));
    tokio::spawn(async move { keyspace.warm_up(&*database).await })
}

#[tokio::test]
async fn those_that_end_last_are_fetched_as_far_as_there_is_room() {
    let rig = start().await;
    for (values, policy) in [(100, EvictionPolicy::AllkeysLru), (900, EvictionPolicy::VolatileTtl)] {
        let limit = limit(&rig, values - hot(&rig), policy);
        warm_up(&rig).await;
        assert_fills(&rig, values, limit);
        for number in 0..SESSIONS - values - 1 {
            assert!(!is_hot(&rig, &key(number)), "session {number} ends too soon");
        }
        assert_eq!(rig.keyspace.memory_use(), rig.keyspace.recount());
    }
}

#[tokio::test]
async fn without_a_limit_all_are_fetched() {
    let rig = start().await;
    warm_up(&rig).await;
    assert_eq!(hot(&rig), SESSIONS);
    let loads = rig.database.loads();
    warm_up(&rig).await;
    assert_eq!(rig.database.loads(), loads, "nothing is fetched twice");
}

#[tokio::test]
async fn sessions_that_all_end_at_once_are_fetched_as_far_as_there_is_room() {
    let database = Memory::open(&settings());
    (0..SESSIONS).for_each(|number| put(&database, &key(number), Expiry::at_ms(NOW_MS + 10_000)));
    let rig = Rig::on(Arc::new(database)).await;
    let limit = limit(&rig, 1_500, EvictionPolicy::AllkeysLru);
    warm_up(&rig).await;
    assert_fills(&rig, 1_500, limit);
}

#[tokio::test]
async fn where_no_value_leaves_for_a_login_none_is_fetched() {
    let rig = start_with(Some("sess:kept")).await;
    limit(&rig, SESSIONS, EvictionPolicy::NoEviction);
    warm_up(&rig).await;
    assert_eq!(hot(&rig), 0);
    // Where only values of keys with an end leave, only those come.
    limit(&rig, 2 * SESSIONS, EvictionPolicy::VolatileLru);
    warm_up(&rig).await;
    assert_eq!((hot(&rig), is_hot(&rig, "sess:kept")), (SESSIONS, false));
    limit(&rig, SESSIONS, EvictionPolicy::AllkeysLru);
    warm_up(&rig).await;
    assert_eq!((hot(&rig), is_hot(&rig, "sess:kept")), (SESSIONS + 1, true));
}

#[tokio::test]
async fn it_waits_while_clients_wait_for_values_of_theirs() {
    let rig = start().await;
    rig.database.hold_loads(true);
    let client = |number: usize| {
        let keyspace = Arc::clone(&rig.keyspace);
        tokio::spawn(async move { keyspace.load(vec![(0, key(number).into_bytes())]).await })
    };
    let first = client(0);
    wait_until("the first client's question", || rig.database.loads() == 1).await;
    let second = client(1);
    settle_down().await;
    let warming = warming(&rig);
    settle_down().await;
    assert_eq!(rig.database.loads(), 1);
    rig.database.hold_loads(false);
    for client in [first, second] {
        client.await.expect("no panic").expect("a value");
    }
    warming.await.expect("no panic").expect("a database that answers");
    assert_eq!(hot(&rig), SESSIONS);
}

#[tokio::test]
async fn it_waits_for_the_end_of_an_outage_and_ends_with_the_server() {
    let rig = start().await;
    rig.database.set_away(true);
    assert!(rig.keyspace.warm_up(&*rig.database).await.is_err());
    rig.database.set_away(false);
    rig.through.set_status(Status::Down);
    let waiting = warming(&rig);
    settle_down().await;
    assert_eq!((rig.database.loads(), hot(&rig)), (0, 0));
    rig.through.set_status(Status::Up);
    waiting.await.expect("no panic").expect("a database that answers");
    assert_eq!(hot(&rig), SESSIONS);

    let rig = start().await;
    rig.through.set_status(Status::Down);
    let waiting = warming(&rig);
    settle_down().await;
    rig.through.stop();
    waiting.await.expect("no panic").expect("an end");
    assert_eq!(hot(&rig), 0);
}

#[tokio::test]
async fn a_row_that_another_program_deleted_is_forgotten_and_what_was_written_since_stays() {
    let rig = start().await;
    rig.database.delete_by_hand(key(7).as_bytes());
    rig.set(&key(8), "{}");
    let (deleted, _) = rig.delete(&key(9));
    assert!(deleted);
    warm_up(&rig).await;
    assert_eq!((rig.count(), rig.value(&key(7)), rig.value(&key(9))), (SESSIONS - 2, None, None));
    assert_eq!(rig.value(&key(8)).as_deref(), Some("{}"));
    assert_eq!(hot(&rig), SESSIONS - 2);
}
