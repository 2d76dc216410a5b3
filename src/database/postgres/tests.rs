//! What only PostgreSQL can do wrong: zones, tables that somebody else made, privileges, connections that die.

use std::ops::ControlFlow;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::clock::Expiry;
use crate::database::contract::fixtures::{OfPostgres, shared};
use crate::database::contract::server::PostgresServer;
use crate::database::contract::{Owner, keys, put, session, settings};
use crate::database::json_object::is_session_json;
use crate::database::{SessionTable, SessionTables, StoredKey};

const LATER: Expiry = Expiry::at_ms(4_102_444_800_123);

/// Settings with the one table that connect-pg-simple makes.
fn one_table(url: &str) -> DatabaseSettings {
    DatabaseSettings { session_tables: SessionTables::default(), ..settings(url, "test:1") }
}

async fn refusal(settings: &DatabaseSettings) -> String {
    match Postgres::open(settings).unwrap().acquire(None).await {
        Err(DatabaseError::Unusable(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// Two handles on one fresh database.
async fn owned() -> (OfPostgres, Owner) {
    let fixture = OfPostgres::new();
    let database = Postgres::open(&settings(&shared().url(&fixture.0), "test:1")).unwrap();
    let owner = Owner::of(Arc::new(database)).await;
    (fixture, owner)
}

#[tokio::test]
async fn a_refused_batch_leaves_nothing_and_the_connection_works_on() {
    let (_fixture, mut owner) = owned().await;
    for bad in [b"not json".as_slice(), b"{\"a\":\"\xff\"}", b"{}\0"] {
        let changes = vec![put(session("sess:good"), b"{}", LATER), put(session("sess:bad"), bad, LATER)];
        let refused = owner.commit(changes).await.unwrap_err();
        assert!(matches!(refused, DatabaseError::Refused(_)), "{refused:?}");
        assert_eq!(owner.value(session("sess:good")).await, None);
    }
    owner.commit(vec![put(session("sess:good"), b"{}", LATER)]).await.unwrap();
}

#[tokio::test]
async fn a_locked_row_is_told_from_an_outage() {
    let (fixture, mut owner) = owned().await;
    owner.commit(vec![put(session("sess:a"), b"{}", LATER)]).await.unwrap();
    let mut other = PgConnection::connect(&shared().url(&fixture.0)).await.unwrap();
    sqlx::raw_sql("begin; select * from session for update").execute(&mut other).await.unwrap();
    let locked = owner.commit(vec![put(session("sess:a"), b"{\"a\":1}", LATER)]).await.unwrap_err();
    assert!(matches!(locked, DatabaseError::Locked(_)), "{locked:?}");
    assert_eq!(owner.value(session("sess:a")).await.unwrap(), b"{}");
    // Pruning steps over it instead of waiting.
    let work = BatchWork::Prune { before_ms: 4_200_000_000_000, limit: 10 };
    let batch = Batch { number: owner.number + 1, work };
    assert_eq!(owner.database.commit(&batch).await.unwrap().pruned, 0);
}

/// A connection that holds a transaction open after this SQL.
async fn holding(fixture: &OfPostgres, sql: &str) -> PgConnection {
    let mut other = PgConnection::connect(&shared().url(&fixture.0)).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("begin; {sql}"))).execute(&mut other).await.unwrap();
    other
}

/// Ends its transaction; a connection that is only closed keeps its locks for a moment.
async fn end(mut other: PgConnection) {
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test]
async fn the_locked_rows_of_a_batch_are_named_without_waiting_for_them() {
    let (fixture, mut owner) = owned().await;
    let ids =
        [session("sess:a"), session("sess:b"), session("api:a"), keys(1, b"a"), keys(2, b"a"), session("sess:none")];
    owner.commit(ids[..5].iter().map(|id| put(id.clone(), b"{}", LATER)).collect()).await.unwrap();
    let puts: Vec<_> = ids.iter().map(|id| put(id.clone(), b"{}", LATER)).collect();
    let deletes: Vec<_> = ids.iter().map(|id| (id.clone(), Change::Delete)).collect();
    assert_eq!(owner.database.locked(&puts).await.unwrap(), [0; 0]);
    let update = "update session set expire = now() where sid = 'b'; delete from sojourn_keys where database = 1;
        insert into session values ('none', '{}', now())";
    for (lock, of_puts, of_deletes) in [
        ("select from session where sid = 'a' for update", vec![0], vec![0]),
        (update, vec![1, 3], vec![1, 3]),
        // What a foreign key does; it stops a delete only.
        ("select from session where sid = 'a' for key share", vec![], vec![0]),
    ] {
        let other = holding(&fixture, lock).await;
        assert_eq!(owner.database.locked(&puts).await.unwrap(), of_puts, "{lock}");
        assert_eq!(owner.database.locked(&deletes).await.unwrap(), of_deletes, "{lock}");
        end(other).await;
    }
    // Only what is asked for has been locked, and only for the moment of the question.
    owner.commit(puts.clone()).await.unwrap();
    for lock in ["lock table session in share mode", "select from sojourn_owner for update"] {
        let other = holding(&fixture, lock).await;
        let all = owner.database.locked(&puts).await.unwrap_err();
        assert!(matches!(all, DatabaseError::Locked(_)), "{lock}: {all:?}");
        end(other).await;
    }
    assert_eq!(owner.database.locked(&puts).await.unwrap(), [0; 0]);
}

#[tokio::test]
async fn a_cut_connection_is_an_outage_that_a_reconnect_settles() {
    let (fixture, mut owner) = owned().await;
    owner.commit(vec![put(session("sess:a"), b"{}", LATER)]).await.unwrap();
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                where application_name = 'sojourn' and datname = current_database()";
    assert_eq!(owner.value(session("sess:a")).await.unwrap(), b"{}");
    shared().sql(&fixture.0, cut);
    let lost = owner.commit(vec![put(session("sess:b"), b"{}", LATER)]).await.unwrap_err();
    assert!(matches!(lost, DatabaseError::Outage { .. }), "{lost:?}");
    let lost = owner.commit(vec![]).await.unwrap_err();
    assert!(matches!(lost, DatabaseError::Outage { in_doubt: false, .. }), "{lost:?}");
    // The readers died too, and nobody notices.
    assert_eq!(owner.value(session("sess:a")).await.unwrap(), b"{}");
    let again = owner.database.acquire(Some(owner.epoch)).await.unwrap();
    assert_eq!(again, Ownership::Owned { epoch: owner.epoch + 1, last_batch: 1 });
    assert_eq!(owner.value(session("sess:b")).await, None);
}

#[tokio::test]
async fn a_host_that_never_answers_keeps_the_next_one_from_nothing() {
    let fixture = OfPostgres::new();
    // The kernel takes its connections, and nobody reads them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let both = format!("@{},127.0.0.1:", silent.local_addr().unwrap());
    let write_timeout = std::time::Duration::from_secs(1);
    let url = shared().url(&fixture.0).replace("@127.0.0.1:", &both);
    let database = Postgres::open(&DatabaseSettings { write_timeout, ..one_table(&url) }).unwrap();
    // The writer gives each try as long as each host may take.
    let first = tokio::time::timeout(write_timeout, database.acquire(None)).await;
    assert!(!matches!(first, Ok(Ok(_))), "{first:?}");
    let second = tokio::time::timeout(write_timeout, database.acquire(None)).await;
    assert!(matches!(second, Ok(Ok(Ownership::Owned { .. }))), "{second:?}");
}

/// A reading of all keys that gives up after a short silence; it must end.
async fn read_all_of(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    let mut visit = |_: StoredKey<'_>| ControlFlow::Continue(());
    let reading = scan::read_all(connection, None, 0, Duration::from_millis(500), &mut visit);
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("an end")
}

#[tokio::test]
async fn a_reading_of_all_keys_gives_up_a_table_that_stays_locked() {
    let (fixture, _owner) = owned().await;
    let url = shared().url(&fixture.0);
    let other = holding(&fixture, "lock table sojourn_keys in access exclusive mode").await;
    let locked = read_all_of(&mut PgConnection::connect(&url).await.unwrap()).await.unwrap_err();
    assert!(matches!(locked, DatabaseError::Locked(_)), "{locked:?}");
    end(other).await;
    read_all_of(&mut PgConnection::connect(&url).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_reading_of_all_keys_gives_up_a_server_whose_packets_are_lost() {
    let (fixture, _owner) = owned().await;
    let relay = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = (std::net::Ipv4Addr::LOCALHOST, shared().port());
    let url = shared().url(&fixture.0).replace(&there.1.to_string(), &relay.local_addr().unwrap().port().to_string());
    let (lose, lost) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut here, mut there) =
            (relay.accept().await.unwrap().0, tokio::net::TcpStream::connect(there).await.unwrap());
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
            _ = lost => std::future::pending().await,
        }
    });
    let mut connection = PgConnection::connect(&url).await.unwrap();
    read_all_of(&mut connection).await.unwrap();
    lose.send(()).unwrap();
    let given_up = read_all_of(&mut connection).await.unwrap_err();
    assert!(matches!(given_up, DatabaseError::Outage { in_doubt: false, .. }), "{given_up:?}");
}

#[tokio::test]
async fn a_commit_that_is_dropped_in_the_middle_is_settled_by_the_reconnect() {
    let (fixture, mut owner) = owned().await;
    owner.commit(vec![put(session("sess:a"), b"{}", LATER)]).await.unwrap();
    let slow =
        "create function slow() returns trigger as 'begin perform pg_sleep(4); return new; end' language plpgsql;
                create trigger slow before update on session for each row execute function slow()";
    shared().sql(&fixture.0, slow);
    let changes = vec![put(session("sess:a"), b"{\"dropped\":1}", LATER)];
    let dropped = tokio::time::timeout(Duration::from_millis(200), owner.commit(changes)).await;
    assert!(dropped.is_err());
    assert!(matches!(
        owner.database.commit(&Batch { number: 9, work: BatchWork::Changes(vec![]) }).await,
        Err(DatabaseError::Outage { in_doubt: false, .. })
    ));
    // The server still executes it; the reconnect ends it.
    let again = owner.database.acquire(Some(owner.epoch)).await.unwrap();
    assert_eq!(again, Ownership::Owned { epoch: owner.epoch + 1, last_batch: 1 });
    assert_eq!(owner.value(session("sess:a")).await.unwrap(), b"{}");
}

#[tokio::test]
async fn an_owner_that_gives_no_sign_of_life_is_taken_over_and_fenced() {
    let (fixture, mut owner) = owned().await;
    let lease = Duration::from_millis(300);
    let second = Postgres::open(&settings(&shared().url(&fixture.0), "second:2")).unwrap().with_lease(lease);
    let held = Ownership::HeldBy { owner: "test:1".to_owned() };
    assert_eq!(second.acquire(None).await.unwrap(), held);
    tokio::time::sleep(lease).await;
    // A heartbeat is enough.
    owner.commit(vec![]).await.unwrap();
    assert_eq!(second.acquire(None).await.unwrap(), held);
    tokio::time::sleep(lease).await;
    let taken = second.acquire(None).await.unwrap();
    assert_eq!(taken, Ownership::Owned { epoch: owner.epoch + 1, last_batch: owner.number });
    assert!(matches!(owner.commit(vec![]).await, Err(DatabaseError::Outage { .. } | DatabaseError::Fenced { .. })));
    let fenced = owner.database.acquire(Some(owner.epoch)).await.unwrap_err();
    assert!(matches!(&fenced, DatabaseError::Fenced { owner } if owner == "second:2"), "{fenced:?}");
}

#[tokio::test]
async fn the_session_table_is_the_one_that_connect_pg_simple_makes() {
    let (fixture, _owner) = owned().await;
    let columns = shared().sql(
        &fixture.0,
        "select string_agg(column_name || ' ' || data_type || coalesce(datetime_precision::text, '') || is_nullable, ', '
                           order by ordinal_position)
           from information_schema.columns where table_name = 'session'",
    );
    assert_eq!(columns, "sid character varyingNO, sess jsonNO, expire timestamp without time zone6NO");
    let indexes = shared().sql(
        &fixture.0,
        "select string_agg(indexname, ', ' order by indexname collate \"C\") from pg_indexes where tablename ~ 'session'",
    );
    assert_eq!(indexes, "IDX_session_expire, api_session_expire_idx, api_session_pkey, session_pkey");
}

#[tokio::test]
async fn an_adopted_table_may_be_called_and_typed_otherwise() {
    let database = shared().create_database();
    shared().sql(
        &database,
        "create schema web;
         create table web.\"My Sessions\" (id serial, sid text unique, sess json, expire timestamptz, note text)",
    );
    let mut settings = one_table(&shared().url(&database));
    let table = SessionTable { prefix: b"s:".to_vec(), table: "web.My Sessions".to_owned() };
    settings.session_tables = SessionTables::new(vec![table]).unwrap();
    let mut owner = Owner::of(Arc::new(Postgres::open(&settings).unwrap())).await;
    let changes = vec![put(session("s:1"), b"{}", LATER), put(session("s:2"), b"{}", Expiry::NEVER)];
    owner.commit(changes).await.unwrap();
    shared().sql(&database, "insert into web.\"My Sessions\" (sid, sess, expire) values ('3', '{}', 'infinity')");
    let found = owner.scan(Home::Session(0), 0).await;
    let key = |key: &str, expiry| (0, key.as_bytes().to_vec(), expiry);
    assert_eq!(found, [key("s:1", LATER), key("s:2", Expiry::NEVER), key("s:3", Expiry::NEVER)]);
    assert!(owner.database.description().warnings[0].contains("no index on expire"));
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_named_and_left_alone() {
    for (columns, expected) in [
        ("sid varchar primary key, sess jsonb, expire timestamp", "column sess is jsonb"),
        ("sid uuid primary key, sess json, expire timestamp", "column sid is uuid"),
        ("sid varchar primary key, sess json, expire bigint", "column expire is bigint"),
        ("sid varchar primary key, sess json", "no column expire"),
        ("sid varchar, sess json, expire timestamp", "column sid has no primary key"),
        ("sid varchar primary key, sess json, expire timestamp, tenant int not null", "column tenant is not null"),
    ] {
        let database = shared().create_database();
        shared().sql(&database, &format!("create table session ({columns})"));
        let message = refusal(&one_table(&shared().url(&database))).await;
        assert!(message.contains(expected) && message.contains("\"session\""), "{message}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let database = shared().create_database();
    let mut settings = one_table(&shared().url(&database));
    settings.create_tables = false;
    assert!(refusal(&settings).await.contains("sojourn schema"));
    shared().sql(&database, &schema(&settings).replace("to sojourn;", "to public;"));
    Owner::of(Arc::new(Postgres::open(&settings).unwrap())).await;

    let role = format!("role_{database}");
    shared().sql(&database, &format!("create role {role} login"));
    shared().sql(&database, "revoke delete on session from public");
    settings.url = shared().url_as(&role, &database);
    let message = refusal(&settings).await;
    assert!(message.ends_with(&format!("grant delete on \"session\" to \"{role}\"")), "{message}");

    let empty = shared().create_database();
    let settings = one_table(&shared().url_as(&role, &empty));
    let message = refusal(&settings).await;
    assert!(message.contains(&format!("grant create on schema \"public\" to \"{role}\"")), "{message}");
}

#[tokio::test]
async fn a_login_that_cannot_work_is_told_from_an_outage() {
    for url in [shared().url("no_such_database"), shared().url_as("no_such_role", "postgres")] {
        assert!(refusal(&one_table(&url)).await.contains("cannot log in"));
    }
    let nobody = one_table("postgres://postgres@127.0.0.1:1/postgres");
    let away = Postgres::open(&nobody).unwrap().acquire(None).await;
    assert!(matches!(away, Err(DatabaseError::Outage { in_doubt: false, .. })), "{away:?}");
    shared().sql("postgres", "create database latin encoding 'LATIN1' template template0");
    assert!(refusal(&one_table(&shared().url("latin"))).await.contains("UTF8"));
}

#[tokio::test]
async fn the_password_is_never_shown() {
    let settings = one_table("postgres://me:hunter2@db.example:5433/app?password=hunter3");
    let description = Postgres::open(&settings).unwrap().description();
    assert_eq!(description.place, "postgres://me:***@db.example:5433/app");
}

#[tokio::test]
async fn times_are_written_in_the_zone_of_the_other_programs() {
    let server = PostgresServer::start(&["timezone=America/New_York", "log_timezone=America/New_York", "fsync=off"]);
    let database = server.create_database();
    let mut settings = one_table(&server.url(&database));
    settings.timezone = None;
    let mut owner = Owner::of(Arc::new(Postgres::open(&settings).unwrap())).await;
    let warnings = owner.database.description().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("America/New_York")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("fsync")), "{warnings:?}");
    // Winter, summer, the hour that is skipped, and never.
    let at = [1_767_225_600_123, 1_782_864_000_456, 1_772_953_200_789, Expiry::LATEST_MS];
    let mut expiries: Vec<Expiry> = at.into_iter().map(Expiry::at_ms).collect();
    expiries.push(Expiry::NEVER);
    let named = |(number, expiry): (usize, &Expiry)| put(session(&format!("sess:{number}")), b"{}", *expiry);
    owner.commit(expiries.iter().enumerate().map(named).collect()).await.unwrap();
    let found: Vec<Expiry> = owner.scan(Home::Session(0), 0).await.into_iter().map(|(_, _, expiry)| expiry).collect();
    assert_eq!(found, expiries);
    // psql has the server's zone, as connect-pg-simple has.
    let stored = server.sql(&database, "select expire from session where sid in ('0', '4') order by sid");
    assert_eq!(stored, "2025-12-31 19:00:00.123\n9999-12-31 00:00:00");
    server.sql(&database, "insert into session values ('9', '{}', to_timestamp(1782864000))");
    assert_eq!(owner.scan(Home::Session(0), 0).await[5].2, Expiry::at_ms(1_782_864_000_000));

    // In the hour that is repeated, a time that comes again is not pruned: 05:59 UTC is 01:59 the first time.
    let (first, second) = (1_793_512_740_000, 1_793_513_400_000);
    owner.commit(vec![put(session("sess:repeated"), b"{}", Expiry::at_ms(second))]).await.unwrap();
    let work = BatchWork::Prune { before_ms: first, limit: 100 };
    owner.database.commit(&Batch { number: 9, work }).await.unwrap();
    assert_eq!(owner.value(session("sess:repeated")).await.unwrap(), b"{}");

    // What the role's connections have is taken without a guess; a zone that is none is named.
    server.sql(&database, "alter role postgres set timezone = 'Asia/Tokyo'");
    owner.database.acquire(Some(owner.epoch)).await.unwrap();
    assert!(!owner.database.description().warnings.iter().any(|warning| warning.contains("guessed")));
    owner.commit(vec![put(session("sess:tokyo"), b"{}", Expiry::at_ms(1_767_225_600_000))]).await.unwrap();
    let stored = server.sql(&database, "select expire from session where sid = 'tokyo'");
    assert_eq!(stored, "2026-01-01 09:00:00");
    owner.database.release().await;
    settings.timezone = Some("Mars/Olympus".to_owned());
    assert!(refusal(&settings).await.contains("Mars/Olympus"));
}

#[tokio::test]
async fn committed_sessions_survive_a_crash_of_postgresql() {
    let mut server = PostgresServer::start(&[]);
    let database = server.create_database();
    let mut owner = Owner::of(Arc::new(Postgres::open(&one_table(&server.url(&database))).unwrap())).await;
    owner.commit(vec![put(session("sess:a"), b"{}", LATER), put(keys(7, b"a"), b"x", LATER)]).await.unwrap();
    server.kill_immediate();
    let away = owner.commit(vec![]).await.unwrap_err();
    assert!(matches!(away, DatabaseError::Outage { .. }), "{away:?}");
    let away = owner.database.load(&[session("sess:a")]).await.unwrap_err();
    assert!(matches!(away, DatabaseError::Outage { .. }), "{away:?}");
    server.restart();
    let again = owner.database.acquire(Some(owner.epoch)).await.unwrap();
    assert_eq!(again, Ownership::Owned { epoch: owner.epoch + 1, last_batch: 1 });
    assert_eq!(owner.value(session("sess:a")).await.unwrap(), b"{}");
    assert_eq!(owner.value(keys(7, b"a")).await.unwrap(), b"x");
}

/// Pieces of JSON, and of what looks like it.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"a\":", "\"b\":", "{\"c\":", "1", "0", "-", "-0", "01", "1.5",
    "1.", ".5", "1e5", "1E+5", "1e-", "1e999", "99999999999999999999999999999999999999999999999999", "true", "false",
    "null", "nul", "NaN", "Infinity", " ", "\t", "\n", "\r", "\u{b}", "\u{c}", "\u{a0}", "\u{feff}", "\u{7f}",
    "\u{1f}", "\\", "\"\\n\"", "\"\\/\"", "\"\\x\"", "\"\\u0000\"", "\"\\u0041\"", "\"\\uD83D\\uDE00\"",
    "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\u0041\"", "\"\\ud83dx\"", "\"\\u12\"", "\"é\"", "\"😀\"", "'", "\"\"",
    "/**/", "\u{10ffff}",
];

/// Text that is nearly JSON: pieces of it, well put together or not.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec());
    let raw = prop::collection::vec(any::<u8>(), 1..3);
    let soup =
        prop::collection::vec(prop_oneof![9 => piece.clone(), 1 => raw.clone()], 0..8).prop_map(|all| all.concat());
    let leaf = prop_oneof![12 => piece, 1 => raw, 2 => Just(b"1".to_vec())];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        let member = inner.clone().prop_map(|value| [b"\"k\":".as_slice(), &value].concat());
        let join =
            |open: &'static [u8], all: Vec<Vec<u8>>, end: &'static [u8]| [open, &all.join(&b","[..]), end].concat();
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(move |all| join(b"[", all, b"]")),
            prop::collection::vec(member, 0..4).prop_map(move |all| join(b"{", all, b"}")),
        ]
    });
    prop_oneof![
        1 => soup.clone(),
        2 => soup.prop_map(|soup| [b"{\"a\":".as_slice(), &soup, b"}"].concat()),
        6 => tree.prop_map(|tree| [b"{\"a\":".as_slice(), &tree, b"}"].concat()),
    ]
}

/// PostgreSQL's own answer: whether it is a JSON object all of whose strings can be read.
async fn postgresql_can_read(connection: &mut PgConnection, text: &[u8]) -> bool {
    let sql = "with recursive part(value) as (
                   select convert_from($1, 'UTF8')::json
                   union all
                   select child.value
                     from part,
                          lateral (select value from json_each(case when json_typeof(part.value) = 'object' then part.value else '{}' end)
                                   union all
                                   select value from json_array_elements(case when json_typeof(part.value) = 'array' then part.value else '[]' end)
                                  ) as child)
               select json_typeof(convert_from($1, 'UTF8')::json) = 'object'
                      and count(value #>> '{}') >= 0
                      and count((select string_agg(key, '') from json_object_keys(case when json_typeof(value) = 'object' then value else '{}' end) as key)) >= 0
                 from part";
    let answer = sqlx::query_scalar::<_, bool>(sql).bind(text).fetch_one(connection).await;
    match answer {
        Ok(answer) => answer,
        Err(sqlx::Error::Database(error)) => {
            assert!(error.code().unwrap().starts_with("22"), "{error}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// Not a `#[tokio::test]`, since proptest's runner is synchronous.
#[test]
fn session_json_is_exactly_what_postgresql_can_read() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut connection = runtime.block_on(PgConnection::connect(&shared().url("postgres"))).unwrap();
    let (mut yes, mut no) = (0, 0);
    let connection = std::cell::RefCell::new(&mut connection);
    let counts = std::cell::RefCell::new((&mut yes, &mut no));
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(4_000) });
    runner
        .run(&nearly_json(), |text| {
            let expected = runtime.block_on(postgresql_can_read(&mut connection.borrow_mut(), &text));
            let mut counts = counts.borrow_mut();
            *(if expected { &mut *counts.0 } else { &mut *counts.1 }) += 1;
            prop_assert_eq!(is_session_json(&text), expected, "{:?}", String::from_utf8_lossy(&text));
            Ok(())
        })
        .unwrap();
    assert!(yes > 300 && no > 300, "the texts are one-sided: {yes} can be read, {no} cannot");
}
