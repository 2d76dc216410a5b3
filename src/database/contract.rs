//! What every database must do: one suite, run on each of them. A case knows only the border; what it needs beyond, the
//! fixture does.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::telemetry::storage::CountedUpTo;

#[path = "../../tests/support/postgres.rs"]
pub(super) mod server;

const LATER: Expiry = Expiry::at_ms(4_102_444_800_123);
const NOW_MS: i64 = 1_790_000_000_000;

/// A fresh database of one kind.
#[async_trait]
pub(super) trait Fixture: Send + Sync {
    /// A handle, as a server process has it.
    fn open(&self, identity: &str) -> Arc<dyn Database>;

    /// Makes somebody else the owner, behind the back of whoever is.
    async fn steal(&self);
}

/// Settings for tests: two session tables beside `sojourn_keys`.
pub(super) fn settings(url: &str, identity: &str) -> DatabaseSettings {
    let table =
        |prefix: &str, table: &str| SessionTable { prefix: prefix.as_bytes().to_vec(), table: table.to_owned() };
    DatabaseSettings {
        url: url.to_owned(),
        session_tables: SessionTables::new(vec![table("sess:", "session"), table("api:", "api_session")]).unwrap(),
        create_tables: true,
        timezone: Some("UTC".to_owned()),
        write_timeout: Duration::from_secs(5),
        identity: identity.to_owned(),
    }
}

pub(super) fn session(key: &str) -> RecordId {
    let home = if key.starts_with("api:") { Home::Session(1) } else { Home::Session(0) };
    RecordId { home, database: 0, key: key.as_bytes().into() }
}

pub(super) fn keys(database: u8, key: &[u8]) -> RecordId {
    RecordId { home: Home::Keys, database, key: key.into() }
}

pub(super) fn put(id: RecordId, value: &[u8], expiry: Expiry) -> (RecordId, Change) {
    put_kind(id, Kind::String, value, expiry)
}

/// The same of any kind.
pub(super) fn put_kind(id: RecordId, kind: Kind, value: &[u8], expiry: Expiry) -> (RecordId, Change) {
    (id, Change::Put { kind, value: value.into(), expiry, until: expiry })
}

/// A record as it is loaded.
fn record(kind: Kind, value: &[u8], expiry: Expiry) -> StoredRecord {
    StoredRecord { kind, value: Value::from(value), expiry }
}

/// A string as it is loaded.
fn string(value: &[u8]) -> StoredRecord {
    record(Kind::String, value, LATER)
}

fn expire(id: RecordId, expiry: Expiry) -> (RecordId, Change) {
    (id, Change::Expire { expiry })
}

/// An owner with its next batch number.
pub(super) struct Owner {
    pub database: Arc<dyn Database>,
    pub epoch: i64,
    pub number: i64,
}

impl Owner {
    pub async fn of(database: Arc<dyn Database>) -> Self {
        match database.acquire(None).await.unwrap() {
            Ownership::Owned { epoch, last_batch } => Self { database, epoch, number: last_batch },
            Ownership::HeldBy { owner } => panic!("held by {owner}"),
        }
    }

    pub(super) async fn work(&mut self, work: BatchWork) -> Result<Committed, DatabaseError> {
        self.number += 1;
        self.database.commit(&Batch { number: self.number, work }).await
    }

    pub async fn commit(&mut self, changes: Vec<(RecordId, Change)>) -> Result<Committed, DatabaseError> {
        self.work(BatchWork::Changes(changes)).await
    }

    pub async fn value(&self, id: RecordId) -> Option<Vec<u8>> {
        self.database.load(&[id]).await.unwrap().remove(0).map(|record| record.value.to_vec())
    }

    /// The kinds of all live keys of a table, sorted by key.
    async fn kinds(&self, home: Home) -> Vec<Kind> {
        self.visited(home, NOW_MS).await.into_iter().map(|(_, _, kind, _)| kind).collect()
    }

    /// All live keys with their expiries, sorted.
    pub async fn scan(&self, home: Home, now_ms: i64) -> Vec<(u8, Vec<u8>, Expiry)> {
        let visited = self.visited(home, now_ms).await;
        visited.into_iter().map(|(database, key, _, expiry)| (database, key, expiry)).collect()
    }

    async fn visited(&self, home: Home, now_ms: i64) -> Vec<(u8, Vec<u8>, Kind, Expiry)> {
        let mut found = Vec::new();
        let mut visit = |StoredKey { database, key, kind, expiry }: StoredKey<'_>| {
            found.push((database, key.to_vec(), kind, expiry));
            ControlFlow::Continue(())
        };
        self.database.scan(home, now_ms, &mut visit).await.unwrap();
        found.sort_unstable();
        found
    }
}

async fn values_come_back_byte_for_byte(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let everything: Vec<u8> = (0..=255).collect();
    let text = " {\"a\" : 1,\n\"a\":2.50, \"é\":\"\\u00e9 😀 \\ud83d\\ude00 \\/\"}\t";
    assert!(json_object::is_session_json(text.as_bytes()));
    let records = [
        (session("sess:äö %_'\"\\"), text.as_bytes()),
        (session("sess:"), b"{}".as_slice()),
        (session("api:sess:x"), b"{\"x\":1e999}"),
        (keys(0, &everything), everything.as_slice()),
        (keys(15, &everything), b""),
        (keys(3, b""), b"\0"),
    ];
    let changes = records.iter().map(|(id, value)| put(id.clone(), value, LATER)).collect();
    assert_eq!(owner.commit(changes).await.unwrap(), Committed::default());
    // Backwards, twice one of them, and one that is not there.
    let mut ids: Vec<RecordId> = records.iter().rev().map(|(id, _)| id.clone()).collect();
    ids.extend([records[0].0.clone(), session("sess:none"), keys(4, b"")]);
    let mut expected: Vec<_> = records.iter().rev().map(|(_, value)| Some(string(value))).collect();
    expected.extend([Some(string(records[0].1)), None, None]);
    assert_eq!(owner.database.load(&ids).await.unwrap(), expected);
    assert_eq!(owner.database.load(&[]).await.unwrap(), Vec::new());
}

async fn expiries_are_exact_to_the_millisecond(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let expiries = [
        Expiry::at_ms(NOW_MS + 1),
        Expiry::at_ms(NOW_MS + 999),
        LATER,
        Expiry::at_ms(Expiry::LATEST_MS),
        Expiry::NEVER,
    ];
    let mut changes = Vec::new();
    for (position, expiry) in expiries.into_iter().enumerate() {
        changes.push(put(session(&format!("sess:{position}")), b"{}", expiry));
        changes.push(put(keys(1, format!("{position}").as_bytes()), b"", expiry));
    }
    owner.commit(changes).await.unwrap();
    for home in [Home::Session(0), Home::Keys] {
        let found: Vec<Expiry> = owner.scan(home, NOW_MS).await.into_iter().map(|(_, _, expiry)| expiry).collect();
        assert_eq!(found, expiries, "{home:?}");
        // At its millisecond a key is gone.
        assert_eq!(owner.scan(home, NOW_MS + 1).await.len(), 4, "{home:?}");
    }
}

async fn a_put_replaces_value_and_expiry(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    for id in [session("sess:a"), keys(0, b"a")] {
        owner.commit(vec![put(id.clone(), b"{\"a\":1}", LATER)]).await.unwrap();
        owner.commit(vec![put(id.clone(), b"{\"a\":2}", Expiry::NEVER)]).await.unwrap();
        assert_eq!(owner.value(id.clone()).await.unwrap(), b"{\"a\":2}");
        assert_eq!(owner.scan(id.home, NOW_MS).await[0].2, Expiry::NEVER);
    }
}

async fn an_expiry_of_a_missing_record_is_reported(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let present = [session("sess:a"), session("api:a"), keys(1, b"a"), keys(2, b"a")];
    owner.commit(present.iter().map(|id| put(id.clone(), b"{}", Expiry::NEVER)).collect()).await.unwrap();
    let all = present.iter().map(|id| expire(id.clone(), LATER)).collect();
    assert_eq!(owner.commit(all).await.unwrap(), Committed::default());
    let changes = vec![
        expire(session("sess:gone"), LATER),
        expire(keys(1, b"a"), Expiry::NEVER),
        expire(session("sess:a"), Expiry::at_ms(NOW_MS + 5)),
        expire(keys(3, b"a"), LATER),
        expire(session("api:gone"), LATER),
        put(session("sess:new"), b"{}", LATER),
    ];
    assert_eq!(owner.commit(changes).await.unwrap().missing, [0, 3, 4]);
    assert_eq!(owner.value(session("sess:gone")).await, None);
    let sessions = owner.scan(Home::Session(0), NOW_MS).await;
    assert_eq!(sessions[0], (0, b"sess:a".to_vec(), Expiry::at_ms(NOW_MS + 5)));
    let keys = owner.scan(Home::Keys, NOW_MS).await;
    assert_eq!(keys, [(1, b"a".to_vec(), Expiry::NEVER), (2, b"a".to_vec(), LATER)]);
}

async fn a_delete_of_a_missing_record_is_no_error(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    owner.commit(vec![put(session("sess:a"), b"{}", LATER), put(keys(1, b"a"), b"", LATER)]).await.unwrap();
    let gone = [session("sess:a"), session("sess:b"), keys(1, b"a"), keys(1, b"b")];
    let changes = gone.iter().map(|id| (id.clone(), Change::Delete)).collect();
    assert_eq!(owner.commit(changes).await.unwrap(), Committed::default());
    assert_eq!(owner.database.load(&gone).await.unwrap(), [None, None, None, None]);
}

async fn a_record_moves_between_tables_in_one_batch(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let (as_session, as_key) = (session("sess:a"), keys(0, b"sess:a"));
    owner.commit(vec![put(as_session.clone(), b"{}", LATER)]).await.unwrap();
    owner.commit(vec![(as_session.clone(), Change::Delete), put(as_key.clone(), b"pickle", LATER)]).await.unwrap();
    assert_eq!(owner.database.load(&[as_session, as_key]).await.unwrap(), [None, Some(string(b"pickle"))]);
}

async fn a_kind_comes_back_with_its_key_and_its_value(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let of = |number: u8| keys(1, &[b'k', number]);
    let kinds = [Kind::Hash, Kind::Set, Kind::String, Kind::Hash];
    let put_all = (0_u8..).zip(kinds).map(|(number, kind)| put_kind(of(number), kind, b"\x01\0\xff", LATER));
    owner.commit(put_all.chain([put(session("sess:a"), b"{}", LATER)]).collect()).await.unwrap();
    let ids: Vec<RecordId> = (0..4).map(of).collect();
    let loaded = owner.database.load(&ids).await.unwrap();
    assert_eq!(loaded, kinds.map(|kind| Some(record(kind, b"\x01\0\xff", LATER))));
    assert_eq!(owner.kinds(Home::Keys).await, kinds);
    assert_eq!(owner.kinds(Home::Session(0)).await, [Kind::String]);
    // Another kind under the same key replaces the record whole, and a new end leaves it.
    owner.commit(vec![put(of(0), b"s", LATER), put_kind(of(2), Kind::Set, b"t", LATER)]).await.unwrap();
    owner.commit(vec![expire(of(0), Expiry::NEVER), expire(of(1), Expiry::NEVER)]).await.unwrap();
    assert_eq!(owner.kinds(Home::Keys).await, [Kind::String, Kind::Set, Kind::Set, Kind::Hash]);
    let loaded = owner.database.load(&[of(0), of(2)]).await.unwrap();
    assert_eq!(loaded, [Some(record(Kind::String, b"s", Expiry::NEVER)), Some(record(Kind::Set, b"t", LATER))]);
}

async fn a_large_batch_is_whole(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let ids: Vec<RecordId> = (0..1_000).map(|number| session(&format!("sess:{number}"))).collect();
    owner.commit(ids.iter().map(|id| put(id.clone(), b"{\"a\":1}", LATER)).collect()).await.unwrap();
    let touched: Vec<_> = ids.iter().map(|id| expire(id.clone(), Expiry::NEVER)).collect();
    assert_eq!(owner.commit(touched).await.unwrap(), Committed::default());
    assert!(owner.scan(Home::Session(0), NOW_MS).await.iter().all(|(_, _, expiry)| *expiry == Expiry::NEVER));
    let deleted: Vec<_> = ids.iter().take(999).map(|id| (id.clone(), Change::Delete)).collect();
    owner.commit(deleted).await.unwrap();
    assert_eq!(owner.scan(Home::Session(0), NOW_MS).await.len(), 1);
}

async fn clear_deletes_one_database_or_all(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let ids = [session("sess:a"), session("api:a"), keys(0, b"a"), keys(1, b"a"), keys(2, b"a")];
    let fill = || ids.iter().map(|id| put(id.clone(), b"{}", LATER)).collect::<Vec<_>>();
    for (database, left) in [(Some(1), vec![0, 1, 2, 4]), (Some(0), vec![3, 4]), (None, vec![])] {
        owner.commit(fill()).await.unwrap();
        owner.work(BatchWork::Clear { database }).await.unwrap();
        let found = owner.database.load(&ids).await.unwrap();
        let found: Vec<usize> = (0..ids.len()).filter(|&position| found[position].is_some()).collect();
        assert_eq!(found, left, "{database:?}");
    }
    owner.commit(fill()).await.unwrap();
}

async fn prune_deletes_a_bounded_number_of_what_is_expired(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let mut changes = Vec::new();
    for number in 0..5 {
        changes.push(put(session(&format!("sess:{number}")), b"{}", Expiry::at_ms(NOW_MS - 1 - number)));
        changes.push(put(keys(1, &[b'a', number as u8]), b"", Expiry::at_ms(NOW_MS - 1 - number)));
    }
    changes.extend([
        put(session("sess:at"), b"{}", Expiry::at_ms(NOW_MS)),
        put(session("sess:never"), b"{}", Expiry::NEVER),
        put(keys(1, b"at"), b"{}", Expiry::at_ms(NOW_MS)),
        put(keys(1, b"never"), b"{}", Expiry::NEVER),
    ]);
    owner.commit(changes).await.unwrap();
    let mut pruned = Vec::new();
    for _ in 0..4 {
        pruned.push(owner.work(BatchWork::Prune { before_ms: NOW_MS, limit: 2 }).await.unwrap().pruned);
    }
    assert_eq!(pruned, [4, 4, 2, 0]);
    assert_eq!(owner.scan(Home::Session(0), 0).await.len(), 2);
    assert_eq!(owner.scan(Home::Keys, 0).await.len(), 2);
}

async fn a_survey_counts_what_has_ended_and_changes_nothing(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let mut changes: Vec<_> = (0..3)
        .map(|number| put(session(&format!("sess:{number}")), b"{}", Expiry::at_ms(NOW_MS - 1 - number)))
        .collect();
    changes.extend([
        put(session("sess:at"), b"{}", Expiry::at_ms(NOW_MS)),
        put(session("api:never"), b"{}", Expiry::NEVER),
        put(keys(1, b"old"), b"", Expiry::at_ms(NOW_MS - 1)),
        put(keys(1, b"never"), b"", Expiry::NEVER),
    ]);
    owner.commit(changes).await.unwrap();
    for _ in 0..2 {
        let figures = owner.database.survey(NOW_MS).await.unwrap();
        let expired: Vec<_> = figures.tables.iter().map(|table| (table.table.as_str(), table.expired)).collect();
        let count = |count| CountedUpTo { count, more: false };
        assert_eq!(expired, [("session", count(3)), ("api_session", count(0)), ("sojourn_keys", count(1))]);
    }
}

async fn a_survey_counts_up_to_its_limit(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let ended = |number: u64| put(keys(2, &number.to_be_bytes()), b"", Expiry::at_ms(NOW_MS - 1));
    for (numbers, more) in [(0..EXPIRED_ROWS_MAX, false), (EXPIRED_ROWS_MAX..EXPIRED_ROWS_MAX + 1, true)] {
        owner.commit(numbers.map(ended).collect()).await.unwrap();
        let figures = owner.database.survey(NOW_MS).await.unwrap();
        assert_eq!(figures.expired(), CountedUpTo { count: EXPIRED_ROWS_MAX, more });
    }
}

async fn a_scan_visits_every_live_key_once(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let names: Vec<String> = (0..7).map(|number| format!("sess:{number}")).collect();
    let mut changes: Vec<_> = names.iter().map(|name| put(session(name), b"{}", LATER)).collect();
    changes.push(put(session("sess:3x"), b"{}", Expiry::at_ms(NOW_MS - 1)));
    changes.push(put(session("api:other"), b"{}", LATER));
    changes.extend((0..3).map(|database| put(keys(database, b"\xff\0"), b"", LATER)));
    changes.push(put(keys(1, b""), b"", LATER));
    owner.commit(changes).await.unwrap();
    let sessions: Vec<Vec<u8>> =
        owner.scan(Home::Session(0), NOW_MS).await.into_iter().map(|(_, key, _)| key).collect();
    assert_eq!(sessions, names.iter().map(|name| name.clone().into_bytes()).collect::<Vec<_>>());
    let keys: Vec<(u8, Vec<u8>)> =
        owner.scan(Home::Keys, NOW_MS).await.into_iter().map(|(database, key, _)| (database, key)).collect();
    let binary = b"\xff\0".to_vec();
    assert_eq!(keys, [(0, binary.clone()), (1, vec![]), (1, binary.clone()), (2, binary)]);
    assert_eq!(owner.scan(Home::Session(1), NOW_MS).await.len(), 1);
}

async fn a_long_scan_sees_each_key_once_while_commits_and_loads_go_on(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let id = |number: usize| session(&format!("sess:{number}"));
    owner.commit((0..5_000).map(|number| put(id(number), b"{}", LATER)).collect()).await.unwrap();
    let database = Arc::clone(&owner.database);
    let (mut seen, mut count) = (std::collections::HashSet::new(), 0);
    let mut visit = |stored: StoredKey<'_>| {
        count += 1;
        seen.insert(stored.key.to_vec());
        ControlFlow::Continue(())
    };
    let meanwhile = async {
        for number in 0..50 {
            owner.commit(vec![(id(number), Change::Delete), put(id(10_000 + number), b"{}", LATER)]).await.unwrap();
            assert_eq!(owner.value(id(number)).await, None);
        }
    };
    let (scanned, ()) = tokio::join!(database.scan(Home::Session(0), NOW_MS, &mut visit), meanwhile);
    scanned.unwrap();
    assert_eq!(seen.len(), count, "each once");
    assert!((50..5_000).all(|number| seen.contains(&*id(number).key)), "what nobody touched is there");
    // A break ends it, and others follow.
    let mut visits = 0;
    let mut visit = |_: StoredKey<'_>| {
        visits += 1;
        if visits == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    database.scan(Home::Session(0), NOW_MS, &mut visit).await.unwrap();
    assert_eq!(visits, 3);
    assert_eq!(owner.scan(Home::Session(0), NOW_MS).await.len(), 5_000);
}

async fn a_load_tells_the_end_even_of_what_has_expired(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let ends = [Expiry::at_ms(NOW_MS - 1), Expiry::at_ms(NOW_MS + 1), LATER, Expiry::NEVER];
    let ids = |number: usize| [session(&format!("sess:{number}")), keys(1, format!("{number}").as_bytes())];
    let all = ends.iter().enumerate().flat_map(|(number, end)| ids(number).map(|id| put(id, b"{}", *end)));
    owner.commit(all.collect()).await.unwrap();
    let asked: Vec<RecordId> = (0..ends.len()).flat_map(ids).collect();
    let loaded = owner.database.load(&asked).await.unwrap();
    let found: Vec<Expiry> = loaded.into_iter().map(|record| record.unwrap().expiry).collect();
    assert_eq!(found, ends.iter().flat_map(|end| [*end, *end]).collect::<Vec<_>>());
}

async fn a_large_load_keeps_its_order(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let ids: Vec<RecordId> = (0..700)
        .flat_map(|number| [session(&format!("sess:{number}")), keys(3, format!("{number}").as_bytes())])
        .collect();
    let value = |number: usize| format!("{{\"n\":{number}}}").into_bytes();
    let present = ids.iter().enumerate().filter(|(number, _)| number % 3 != 0);
    owner.commit(present.map(|(number, id)| put(id.clone(), &value(number), LATER)).collect()).await.unwrap();
    let expected: Vec<_> = (0..ids.len()).map(|number| (number % 3 != 0).then(|| string(&value(number)))).collect();
    assert_eq!(owner.database.load(&ids).await.unwrap(), expected);
}

async fn a_second_server_learns_who_the_owner_is_and_follows(fixture: &dyn Fixture) {
    let (first, second) = (fixture.open("first:1"), fixture.open("second:2"));
    let mut owner = Owner::of(Arc::clone(&first)).await;
    owner.commit(vec![put(session("sess:a"), b"{}", LATER)]).await.unwrap();
    for _ in 0..2 {
        let held = second.acquire(None).await.unwrap();
        assert_eq!(held, Ownership::HeldBy { owner: "first:1".to_owned() });
    }
    assert!(matches!(
        second.commit(&Batch { number: 9, work: BatchWork::Changes(vec![]) }).await,
        Err(DatabaseError::Outage { in_doubt: false, .. })
    ));
    first.release().await;
    let next = Owner::of(second).await;
    assert!(next.epoch > owner.epoch);
    assert_eq!(next.number, owner.number);
    assert_eq!(next.value(session("sess:a")).await.unwrap(), b"{}");
}

async fn a_reconnect_tells_the_last_batch(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    owner.commit(vec![]).await.unwrap();
    owner.commit(vec![put(session("sess:a"), b"{}", LATER)]).await.unwrap();
    let again = owner.database.acquire(Some(owner.epoch)).await.unwrap();
    assert_eq!(again, Ownership::Owned { epoch: owner.epoch + 1, last_batch: owner.number });
    owner.commit(vec![(session("sess:a"), Change::Delete)]).await.unwrap();
    assert_eq!(owner.value(session("sess:a")).await, None);
}

async fn a_fenced_owner_writes_nothing_more(fixture: &dyn Fixture) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    owner.commit(vec![put(session("sess:old"), b"{}", Expiry::at_ms(1))]).await.unwrap();
    fixture.steal().await;
    let changes = vec![put(session("sess:a"), b"{}", LATER), put(keys(1, b"a"), b"", LATER)];
    let fenced = owner.commit(changes).await.unwrap_err();
    assert!(matches!(&fenced, DatabaseError::Fenced { owner } if owner == "thief:9"), "{fenced:?}");
    let again = owner.database.acquire(Some(owner.epoch)).await.unwrap_err();
    assert!(matches!(again, DatabaseError::Fenced { .. }), "{again:?}");
    assert_eq!(owner.database.load(&[session("sess:a"), keys(1, b"a")]).await.unwrap(), [None, None]);
}

async fn a_fenced_owner_clears_nothing(fixture: &dyn Fixture) {
    fenced_work_does_nothing(fixture, BatchWork::Clear { database: None }).await;
}

async fn a_fenced_owner_prunes_nothing(fixture: &dyn Fixture) {
    fenced_work_does_nothing(fixture, BatchWork::Prune { before_ms: NOW_MS, limit: 9 }).await;
}

async fn fenced_work_does_nothing(fixture: &dyn Fixture, work: BatchWork) {
    let mut owner = Owner::of(fixture.open("one:1")).await;
    let ids = [session("sess:old"), keys(1, b"old")];
    owner.commit(ids.iter().map(|id| put(id.clone(), b"{}", Expiry::at_ms(1))).collect()).await.unwrap();
    fixture.steal().await;
    assert!(matches!(owner.work(work).await, Err(DatabaseError::Fenced { .. })));
    assert!(owner.database.load(&ids).await.unwrap().iter().all(Option::is_some));
}

macro_rules! on_every_database {
    ($($case:ident)*) => {
        mod memory_does {
            $(#[tokio::test] async fn $case() { super::$case(&super::fixtures::OfMemory::new()).await; })*
        }
        mod sqlite_does {
            $(#[tokio::test] async fn $case() { super::$case(&super::fixtures::OfSqlite::new()).await; })*
        }
        mod postgres_does {
            $(#[tokio::test] async fn $case() { super::$case(&super::fixtures::OfPostgres::new()).await; })*
        }
    };
}

on_every_database! {
    a_survey_counts_what_has_ended_and_changes_nothing
    a_survey_counts_up_to_its_limit
    values_come_back_byte_for_byte
    expiries_are_exact_to_the_millisecond
    a_put_replaces_value_and_expiry
    an_expiry_of_a_missing_record_is_reported
    a_delete_of_a_missing_record_is_no_error
    a_record_moves_between_tables_in_one_batch
    a_kind_comes_back_with_its_key_and_its_value
    a_large_batch_is_whole
    clear_deletes_one_database_or_all
    prune_deletes_a_bounded_number_of_what_is_expired
    a_scan_visits_every_live_key_once
    a_long_scan_sees_each_key_once_while_commits_and_loads_go_on
    a_load_tells_the_end_even_of_what_has_expired
    a_large_load_keeps_its_order
    a_second_server_learns_who_the_owner_is_and_follows
    a_reconnect_tells_the_last_batch
    a_fenced_owner_writes_nothing_more
    a_fenced_owner_clears_nothing
    a_fenced_owner_prunes_nothing
}

/// The databases that the suite runs on.
pub(super) mod fixtures {
    use std::sync::OnceLock;

    use sqlx::{Connection, SqliteConnection};

    use super::*;

    pub struct OfMemory(memory::Memory);

    impl OfMemory {
        pub fn new() -> Self {
            Self(memory::Memory::open(&settings("memory://", "base:0")))
        }
    }

    #[async_trait]
    impl Fixture for OfMemory {
        fn open(&self, identity: &str) -> Arc<dyn Database> {
            Arc::new(self.0.twin(identity))
        }

        async fn steal(&self) {
            self.0.steal("thief:9");
        }
    }

    pub struct OfSqlite(tempfile::TempDir);

    impl OfSqlite {
        pub fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        pub fn url(&self) -> String {
            format!("sqlite://{}", self.path().display())
        }

        pub fn path(&self) -> std::path::PathBuf {
            self.0.path().join("data/sojourn.db")
        }

        pub async fn sql(&self, sql: impl Into<String>) {
            let mut connection = SqliteConnection::connect(&self.url()).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql.into())).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    #[async_trait]
    impl Fixture for OfSqlite {
        fn open(&self, identity: &str) -> Arc<dyn Database> {
            super::super::open(&settings(&self.url(), identity)).unwrap()
        }

        async fn steal(&self) {
            self.sql("update sojourn_owner set epoch = epoch + 1, owner = 'thief:9'").await;
        }
    }

    /// One server for all tests of this binary; each has a database of its own.
    pub fn shared() -> &'static server::PostgresServer {
        static SERVER: OnceLock<server::PostgresServer> = OnceLock::new();
        SERVER.get_or_init(|| server::PostgresServer::start(&["max_connections=200"]))
    }

    pub struct OfPostgres(pub String);

    impl OfPostgres {
        pub fn new() -> Self {
            Self(shared().create_database())
        }
    }

    #[async_trait]
    impl Fixture for OfPostgres {
        fn open(&self, identity: &str) -> Arc<dyn Database> {
            super::super::open(&settings(&shared().url(&self.0), identity)).unwrap()
        }

        async fn steal(&self) {
            shared().sql(&self.0, "update sojourn_owner set epoch = epoch + 1, owner = 'thief:9'");
        }
    }
}
