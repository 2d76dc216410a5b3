//! `sojourn check`: a good setup is said to be good, each kind of fault has its sentence and exit code 1, and a server that runs
//! does not notice.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::postgres::PostgresServer;
use super::support::server::{Over, Server, command, free_port, is_ok};

/// Looks at a setup; the exit code and what is said.
fn check_on(port: u16, database_url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = command(port, database_url, arguments);
    let output = command.arg("check").output().expect("sojourn runs");
    assert!(output.stderr.is_empty() || output.status.code() == Some(2), "{output:?}");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

fn check(database_url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    check_on(free_port(), database_url, arguments)
}

/// Expects a fault that has these words; a table that is missing brings others.
fn assert_fault(database_url: &str, arguments: &[&str], words: &str) {
    let (code, said) = check(database_url, arguments);
    let faults: Vec<_> = said.lines().filter(|line| line.starts_with("FAULT")).collect();
    assert!(faults.iter().any(|line| line.contains(words)), "{words}: {said}");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not good: "), "{said}");
}

/// Expects a warning with these words and nothing worse.
fn assert_warning(database_url: &str, arguments: &[&str], words: &str) {
    let (code, said) = check(database_url, arguments);
    assert!(said.lines().any(|line| line.starts_with("warning") && line.contains(words)), "{words}: {said}");
    assert_eq!(code, Some(0), "{said}");
}

fn sqlite(folder: &tempfile::TempDir, name: &str) -> String {
    format!("sqlite://{}", folder.path().join(name).display())
}

#[test]
fn a_good_setup_is_said_to_be_good_and_nothing_is_changed() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let zone = ["--database-timezone", "UTC"];
    let (code, said) = check(&postgres.url(&database), &zone);
    assert!(code == Some(0) && said.ends_with("good: 0 faults, 0 warnings\n"), "{said}");
    assert!(said.contains("does not exist yet; the start makes it"), "{said}");
    assert_eq!(
        postgres.sql(&database, "select count(*) from pg_class where relname like 'so%' or relname = 'session'"),
        "0"
    );
    Server::start(&postgres.url(&database), &zone).stop();
    let (code, said) = check(&postgres.url(&database), &zone);
    assert!(code == Some(0) && said.contains("its columns and its key are as connect-pg-simple's"), "{said}");
    assert!(said.contains("no server owns the database now") && !said.contains("warning "), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    let url = sqlite(&folder, "new/s.db");
    let (code, said) = check(&url, &[]);
    assert!(code == Some(0) && said.contains("does not exist yet; the start makes it"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing was made");
    Server::start(&url, &[]).stop();
    let (code, said) = check(&url, &[]);
    assert!(code == Some(0) && said.contains("table session: its columns and its key are as they should be"), "{said}");
}

#[test]
fn a_running_server_does_not_notice() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let folder = tempfile::tempdir().expect("a folder");
    for url in [postgres.url(&database), sqlite(&folder, "s.db")] {
        let mut server = Server::start(&url, &["--log-level", "warn", "--database-timezone", "UTC"]);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let told = Over(&over);
            let writer = scope.spawn(|| {
                let mut connection = server.connect();
                while !over.load(Ordering::Relaxed) {
                    assert!(is_ok(&connection.call(&["SET", "sess:a", "{}", "EX", "60"]).expect("a reply")));
                }
            });
            for _ in 0..5 {
                let (code, said) = check_on(server.address().port(), &url, &["--database-timezone", "UTC"]);
                assert!(code == Some(0) && said.contains("owns the database and serves"), "{said}");
                assert!(said.contains("is taken, as it should be while"), "{said}");
            }
            drop(told);
            writer.join().expect("every write was taken");
        });
        assert_eq!(server.log(), "", "not a word of it");
        assert_eq!(server.info("outages"), 0);
        assert!(server.stop().success());
    }
    assert_eq!(postgres.sql(&database, "select epoch from sojourn_owner"), "1", "nobody else has owned it");
}

#[test]
fn each_fault_of_postgres_is_named_with_its_mending() {
    let postgres = PostgresServer::start(&[]);
    assert_fault(&format!("postgres://postgres@127.0.0.1:{}/x", free_port()), &[], "cannot be reached");
    assert_fault(&postgres.url("no_such_database"), &[], "cannot log in to PostgreSQL");
    postgres.sql("postgres", "create database latin encoding 'SQL_ASCII' template template0");
    assert_fault(&postgres.url("latin"), &[], "encoding is SQL_ASCII; expected UTF8");
    let database = postgres.create_database();
    let url = postgres.url(&database);
    assert_fault(&url, &["--create-tables", "no"], "create-tables is off; run what `sojourn schema` prints");
    assert_fault(&url, &["--session-table", "sess:=gone.session"], "create schema \"gone\"");
    for (table, words) in [
        (
            "(sid varchar primary key, sess jsonb not null, expire timestamp(6) not null)",
            "column sess is jsonb; expected json",
        ),
        ("(sid varchar primary key, sess json not null)", "there is no column expire"),
        ("(sid varchar, sess json not null, expire timestamp(6) not null)", "add primary key (sid)"),
        (
            "(sid varchar primary key, sess json not null, expire timestamp(6) not null, app text not null)",
            "column app is not null and has no default",
        ),
    ] {
        postgres.sql(&database, &format!("drop table if exists session; create table session {table}"));
        assert_fault(&url, &[], words);
    }
    postgres.sql(&database, "drop table session");
    postgres.sql("postgres", "create role app login");
    assert_fault(&postgres.url_as("app", &database), &[], "grant create on schema \"public\" to \"app\"");
    Server::start(&url, &["--database-timezone", "UTC"]).stop();
    assert_fault(
        &postgres.url_as("app", &database),
        &[],
        "grant select, insert, update, delete on \"session\" to \"app\"",
    );
    postgres.sql(&database, "grant select, insert, update, delete on session, sojourn_owner to app");
    assert_fault(&postgres.url_as("app", &database), &[], "on sojourn_keys to \"app\"");
    assert_fault(&url, &["--database-timezone", "Mars/Olympus"], "PostgreSQL knows no time zone \"Mars/Olympus\"");
}

#[test]
fn what_weakens_a_postgres_is_a_warning() {
    let postgres = PostgresServer::start(&["fsync=off"]);
    let database = postgres.create_database();
    let url = postgres.url(&database);
    assert_warning(&url, &[], "the time zone of the session tables is guessed");
    assert_warning(&url, &[], "fsync = off");
    postgres.sql(
        &database,
        "create table session (sid varchar primary key, sess json not null, expire timestamp(6) not null)",
    );
    assert_warning(&url, &[], "has no index on expire");
    postgres.sql(
        &database,
        "create function f() returns trigger language plpgsql as 'begin return new; end';
         create trigger audit before insert on session for each row execute function f();
         alter table session enable row level security",
    );
    assert_warning(&url, &[], "triggers run in every commit: audit");
    assert_warning(&url, &[], "row level security is on");
}

#[test]
fn each_fault_of_a_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    fs::write(&path, "These are notes and no database, and they are longer than a header.".repeat(10))
        .expect("written");
    assert_fault(&sqlite(&folder, "notes.txt"), &[], "is not a SQLite database");
    assert_fault(&sqlite(&folder, "notes.txt/s.db"), &[], "is no folder");
    assert_fault(&sqlite(&folder, "s.db?mode=ro"), &[], "has no option");
    Server::start(&sqlite(&folder, "s.db"), &["--session-table", "x:=other"]).stop();
    assert_fault(
        &sqlite(&folder, "s.db"),
        &["--create-tables", "no"],
        "table session: it does not exist and create-tables is off",
    );
}

#[test]
fn each_fault_outside_the_database_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    assert_fault("memory://", &["--tls-port", "1"], "tls-cert-file");
    let nonsense = file("tls.crt", "no certificate");
    assert_fault(
        "memory://",
        &["--tls-port", "1", "--tls-cert-file", &nonsense, "--tls-key-file", &nonsense],
        "TLS: tls-",
    );
    assert_fault("memory://", &["--aclfile", &file("users.acl", "user a +nope\n")], "Unknown command or category name");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let (code, said) = check_on(address.port(), "memory://", &[]);
    assert!(code == Some(1) && said.contains(&format!("FAULT    port: {address} is taken")), "{said}");
    assert_fault("memory://", &["--metrics-addr", &address.to_string()], "metrics-addr: ");
    assert_fault("memory://", &["--bind", "192.0.2.1"], "cannot listen on 192.0.2.1");
    assert_fault("memory://", &["--config", &file("bad.toml", "timeuot = 1\n")], "did you mean timeout?");
    assert_fault("memory://", &["--config", "/no/such/file"], "settings: config: cannot read /no/such/file");
    assert_warning("memory://", &[], "memory:// keeps nothing");
    assert_warning("memory://", &["--bind", "0.0.0.0"], "set requirepass or aclfile");
}

#[test]
fn a_wrong_flag_is_no_finding() {
    for arguments in [&["--prot", "1"][..], &["--timeout", "x"], &["--port"]] {
        let (code, said) = check("memory://", arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.starts_with("sojourn: "), "{said}");
    }
}
