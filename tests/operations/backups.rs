//! What is backed up while the server runs, by the database's own tools, is what another server serves after a restore. SAVE answers
//! when everything that was acknowledged or gathered is in the database.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::postgres::PostgresServer;
use super::repository;
use super::support::resp::Connection;
use super::support::server::{Server, is_ok, wait_until};

const SESSIONS: usize = 500;

/// Sessions, other keys, a hash, and touches that are gathered.
fn fill(connection: &mut Connection) {
    for number in 0..SESSIONS {
        let value = format!("{{\"cookie\":{{}},\"user\":{number}}}");
        assert!(is_ok(&connection.call(&["SET", &format!("sess:{number}"), &value, "EX", "3600"]).expect("a reply")));
    }
    assert!(is_ok(&connection.call(&[&b"SET"[..], b"bin:\xff", b"\x00\x01pickle"]).expect("a reply")));
    connection.call(&["HSET", "hash", "field", "value"]).expect("a reply");
    for number in 0..SESSIONS {
        connection.call(&["EXPIRE", &format!("sess:{number}"), "3605"]).expect("a reply");
    }
}

/// All keys with their values and ends.
fn content(server: &Server) -> Vec<String> {
    let mut connection = server.connect();
    let mut ask = |words: &[&[u8]]| format!("{:?}", connection.call(words).expect("a reply"));
    let mut content = vec![ask(&[b"DBSIZE"]), ask(&[b"GET", b"bin:\xff"]), ask(&[b"HGETALL", b"hash"])];
    for number in 0..SESSIONS {
        let key = format!("sess:{number}");
        content.push(ask(&[b"GET", key.as_bytes()]) + &ask(&[b"PEXPIRETIME", key.as_bytes()]));
    }
    content
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The README shows the lines that are tried here.
fn assert_readme_says(line: &str) {
    assert!(fs::read_to_string(repository("README.md")).expect("the README").contains(line), "{line}");
}

#[test]
fn a_dump_of_postgres_restores_every_session() {
    assert_readme_says("pg_dump --format=custom --file=backup.dump app");
    assert_readme_says("pg_restore --clean --if-exists --dbname=app backup.dump");
    let postgres = PostgresServer::start(&[]);
    let (database, other) = (postgres.create_database(), postgres.create_database());
    let mut server = Server::start(&postgres.url(&database), &["--database-timezone", "UTC"]);
    fill(&mut server.connect());
    assert!(is_ok(&server.call(&["SAVE"])));
    let folder = tempfile::tempdir().expect("a folder");
    let dump = folder.path().join("backup.dump");
    let port = postgres.port().to_string();
    let program = |name: &str| {
        let mut command = Command::new(postgres.program(name));
        command.args(["--host=127.0.0.1", "--username=postgres", "--port", &port]);
        command
    };
    run(program("pg_dump").arg("--format=custom").arg(format!("--file={}", dump.display())).arg(&database));
    let saved = content(&server);
    server.call(&["SET", "sess:later", "{}"]);
    server.stop();
    // Into another database, and over what there is by now.
    for target in [&other, &database] {
        run(program("pg_restore").args(["--clean", "--if-exists"]).arg(format!("--dbname={target}")).arg(&dump));
        let restored = Server::start(&postgres.url(target), &["--database-timezone", "UTC"]);
        assert_eq!(content(&restored), saved);
    }
}

#[test]
fn a_copy_of_a_sqlite_file_restores_every_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = Server::start(&format!("sqlite://{}", path("sojourn.db")), &[]);
    fill(&mut server.connect());
    assert!(is_ok(&server.call(&["SAVE"])));
    for (name, line) in [("backup.db", ".backup backup.db"), ("vacuumed.db", "vacuum into 'vacuumed.db'")] {
        run(Command::new("sqlite3").current_dir(folder.path()).args(["sojourn.db", line]));
        let restored = Server::start(&format!("sqlite://{}", path(name)), &[]);
        assert_eq!(content(&restored), content(&server), "{line}");
    }
    assert_readme_says("sqlite3 sojourn.db '.backup backup.db'");
}

#[test]
fn save_answers_when_all_that_was_answered_is_in_the_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("s.db").display());
    let server = Server::start(&url, &["--durability", "everysec"]);
    fill(&mut server.connect());
    assert!(is_ok(&server.call(&["SAVE"])));
    let saved = content(&server);
    server.kill();
    assert_eq!(content(&Server::start(&url, &["--durability", "everysec"])), saved, "touches included");
}

#[test]
fn lastsave_says_when_a_save_in_the_background_has_ended() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&format!("sqlite://{}", folder.path().join("s.db").display()), &[]);
    let last = || server.call(&["LASTSAVE"]).integer().and_then(|last| u64::try_from(last).ok()).expect("a time");
    let begun = last();
    assert!(begun <= now());
    wait_until("another second", || now() > begun);
    assert_eq!(last(), begun, "no save, no later time");
    server.call(&["BGSAVE"]);
    wait_until("the save", || last() > begun);
}
