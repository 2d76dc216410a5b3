//! What only SQLite can do wrong: files that are something else, tables that somebody else made, times as text.

use std::sync::Arc;

use super::*;
use crate::clock::Expiry;
use crate::database::contract::fixtures::OfSqlite;
use crate::database::contract::{Fixture, Owner, put, session, settings};
use crate::database::{BatchWork, Change, SessionTables, Verdict};

const LATER: Expiry = Expiry::at_ms(4_102_444_800_123);

async fn refusal(settings: &DatabaseSettings) -> String {
    match Sqlite::open(settings).unwrap().acquire(None).await {
        Err(DatabaseError::Unusable(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_of_something_else_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let notes = "remember the milk ".repeat(100);
    std::fs::write(&path, &notes).unwrap();
    let settings = settings(&format!("sqlite://{}", path.display()), "test:1");
    assert_eq!(refusal(&settings).await, format!("{} is not a SQLite database", path.display()));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), notes);
}

#[tokio::test]
async fn urls_that_name_no_file_are_refused() {
    for url in ["sqlite:", "sqlite://", "sqlite::memory:", "sqlite://a.db?cache=shared"] {
        assert!(matches!(Sqlite::open(&settings(url, "test:1")), Err(DatabaseError::Unusable(_))), "{url}");
    }
    let relative = Sqlite::open(&settings("sqlite://data/sojourn.db", "test:1")).unwrap();
    let expected = std::env::current_dir().unwrap().join("data/sojourn.db");
    assert_eq!(relative.description().place, expected.display().to_string());
}

#[tokio::test]
async fn commits_are_flushed_to_the_disk() {
    let fixture = OfSqlite::new();
    let database = Sqlite::open(&settings(&fixture.url(), "test:1")).unwrap();
    database.acquire(None).await.unwrap();
    let mut writer = database.writer.lock().await;
    let (connection, _) = writer.open.as_mut().unwrap();
    let set: (String, i64) = sqlx::query_as(
        "select (select journal_mode from pragma_journal_mode), (select synchronous from pragma_synchronous)",
    )
    .fetch_one(connection)
    .await
    .unwrap();
    assert_eq!(set, ("wal".to_owned(), 2));
    assert_eq!(database.description().warnings, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_without_a_write_ahead_log_is_looked_at_as_the_start_adopts_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.db");
    let theirs = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let mut connection = theirs.journal_mode(SqliteJournalMode::Delete).connect().await.unwrap();
    sqlx::raw_sql("create table notes (note text)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let settings = settings(&format!("sqlite://{}", path.display()), "test:1");
    let before = std::fs::read(&path).unwrap();
    let findings = inspect(&settings).await.findings;
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "it only looks");
    Sqlite::open(&settings).unwrap().acquire(None).await.unwrap();
}

#[tokio::test]
async fn json_and_date_functions_work_on_sessions() {
    let fixture = OfSqlite::new();
    let mut owner = Owner::of(fixture.open("test:1")).await;
    let expiry = Expiry::at_ms(1_767_225_599_999);
    owner.commit(vec![put(session("sess:a"), b"{\"passport\":{\"user\":7}}", expiry)]).await.unwrap();
    let mut connection = SqliteConnection::connect(&fixture.url()).await.unwrap();
    let found: (i64, String, String) = sqlx::query_as(
        "select sess ->> '$.passport.user', datetime(expire), expire from session where expire > '2025-12-31 23:59:59'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    assert_eq!(found, (7, "2025-12-31 23:59:59".to_owned(), "2025-12-31 23:59:59.999".to_owned()));
}

#[tokio::test]
async fn a_touch_by_sql_from_outside_wins_over_a_prune() {
    let fixture = OfSqlite::new();
    let mut owner = Owner::of(fixture.open("test:1")).await;
    let (ended, now_ms) = (Expiry::at_ms(1_767_225_599_999), 1_767_225_600_000);
    owner
        .commit(vec![put(session("sess:touched"), b"{}", ended), put(session("sess:old"), b"{}", ended)])
        .await
        .unwrap();
    let mut outside = SqliteConnection::connect(&fixture.url()).await.unwrap();
    sqlx::query("begin immediate").execute(&mut outside).await.unwrap();
    let touch = "update session set expire = '2030-01-01 00:00:00.000' where sid = 'touched'";
    sqlx::query(touch).execute(&mut outside).await.unwrap();
    let mut prune = std::pin::pin!(owner.work(BatchWork::Prune { before_ms: now_ms, limit: 10 }));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut prune).await;
    assert!(early.is_err(), "the prune waits for the file");
    sqlx::query("commit").execute(&mut outside).await.unwrap();
    assert_eq!(prune.await.unwrap().pruned, 1);
    let left: Vec<String> = sqlx::query_scalar("select sid from session").fetch_all(&mut outside).await.unwrap();
    assert_eq!(left, ["touched"]);
}

#[tokio::test]
async fn a_refused_batch_leaves_nothing_and_the_connection_works_on() {
    let fixture = OfSqlite::new();
    let mut owner = Owner::of(fixture.open("test:1")).await;
    owner.commit(vec![]).await.unwrap();
    fixture
        .sql("create trigger no before insert on session when new.sid = 'bad' begin select raise(abort, 'no'); end")
        .await;
    for (key, value) in [("sess:bad", b"{}".as_slice()), ("sess:b", b"{\"a\":\"\xff\"}")] {
        let changes = vec![put(session("sess:a"), b"{}", LATER), put(session(key), value, LATER)];
        let refused = owner.commit(changes).await.unwrap_err();
        assert!(matches!(refused, DatabaseError::Refused(_)), "{refused:?}");
        assert_eq!(owner.value(session("sess:a")).await, None);
    }
    owner.commit(vec![put(session("sess:a"), b"{}", LATER)]).await.unwrap();
}

#[tokio::test]
async fn a_file_that_somebody_else_writes_to_is_an_outage_until_they_end() {
    let fixture = OfSqlite::new();
    let mut settings = settings(&fixture.url(), "test:1");
    settings.write_timeout = Duration::from_millis(200);
    let mut owner = Owner::of(Arc::new(Sqlite::open(&settings).unwrap())).await;
    let mut other = SqliteConnection::connect(&fixture.url()).await.unwrap();
    sqlx::raw_sql("begin immediate").execute(&mut other).await.unwrap();
    let away = owner.commit(vec![put(session("sess:a"), b"{}", LATER)]).await.unwrap_err();
    assert!(matches!(away, DatabaseError::Outage { in_doubt: false, .. }), "{away:?}");
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    let again = owner.database.acquire(Some(owner.epoch)).await.unwrap();
    assert_eq!(again, Ownership::Owned { epoch: owner.epoch + 1, last_batch: 0 });
    owner.commit(vec![(session("sess:a"), Change::Delete)]).await.unwrap();
}

#[tokio::test]
async fn a_dropped_commit_ends_with_its_connection() {
    let fixture = OfSqlite::new();
    let mut owner = Owner::of(fixture.open("test:1")).await;
    let changes = (0..500).map(|number| put(session(&format!("sess:{number}")), b"{}", LATER)).collect();
    let dropped = tokio::time::timeout(Duration::from_micros(1), owner.commit(changes)).await;
    let again = owner.database.acquire(Some(owner.epoch)).await.unwrap();
    let Ownership::Owned { last_batch, .. } = again else { panic!("{again:?}") };
    // Committed or not, the file says which.
    assert!(dropped.is_err());
    assert_eq!(owner.value(session("sess:7")).await.is_some(), last_batch == owner.number);
}

#[tokio::test]
async fn a_table_that_does_not_fit_is_named() {
    for (columns, expected) in [
        ("create table session (sid varchar primary key, sess json, expire integer)", "column expire is \"integer\""),
        ("create table session (sid varchar primary key, sess blob, expire text)", "column sess is \"blob\""),
        ("create table session (sid varchar, sess json, expire text)", "column sid has no primary key"),
        (
            "create table session (sid text unique, sess json, expire text, tenant int not null)",
            "column tenant is not null",
        ),
    ] {
        let fixture = OfSqlite::new();
        std::fs::create_dir_all(fixture.path().parent().unwrap()).unwrap();
        std::fs::write(fixture.path(), "").unwrap();
        fixture.sql(columns).await;
        let message = refusal(&settings(&fixture.url(), "test:1")).await;
        assert!(message.contains(expected) && message.contains("session"), "{message}");
    }
}

#[tokio::test]
async fn a_new_file_can_be_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let fixture = OfSqlite::new();
    let database = Sqlite::open(&settings(&fixture.url(), "test:1")).unwrap();
    database.acquire(None).await.unwrap();
    for suffix in ["", "-wal", "-owner"] {
        let path = format!("{}{suffix}", fixture.path().display());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path} has mode {mode:o}");
    }
}

#[tokio::test]
async fn the_printed_schema_is_the_one_that_is_needed() {
    let fixture = OfSqlite::new();
    let mut settings = settings(&fixture.url(), "test:1");
    settings.session_tables = SessionTables::default();
    settings.create_tables = false;
    assert!(refusal(&settings).await.contains("sojourn schema"));
    fixture.sql(schema(&settings)).await;
    Owner::of(Arc::new(Sqlite::open(&settings).unwrap())).await;
}

/// More than three times the pages from which on the log begins anew.
const COMMITS: usize = 1_300;
const CHANGES_EACH: usize = 20;

/// Without the checkpoints beside the writer it grows to more than three times as many pages; on a busy machine they lag.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_begins_anew_while_commits_go_on() {
    let fixture = OfSqlite::new();
    let database = fixture.open("test:1");
    let mut owner = Owner::of(Arc::clone(&database)).await;
    let path = database.description().place;
    let (mut random, mut log_bytes) = (fastrand::Rng::with_seed(1), 0);
    for _ in 0..COMMITS {
        let changes = (0..CHANGES_EACH).map(|_| put(session(&format!("sess:{:032x}", random.u128(..))), b"{}", LATER));
        owner.commit(changes.collect()).await.unwrap();
        log_bytes = std::fs::metadata(format!("{path}-wal")).unwrap().len().max(log_bytes);
    }
    let log_pages = i64::try_from(log_bytes / 4_096).unwrap();
    assert!(log_pages > checkpoint::LOG_PAGES, "{log_pages} pages: too few to begin anew");
    assert!(log_pages < 20_000, "{log_pages} pages");
    database.release().await;
    assert!(!std::path::Path::new(&format!("{path}-wal")).exists(), "the last connection clears it away");
}
