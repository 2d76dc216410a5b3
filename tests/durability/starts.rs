//! Starts that cannot succeed end at once, with a sentence that says what to mend and an exit code, and change nothing.

use std::net::{Ipv4Addr, TcpListener};

use super::postgres::PostgresServer;
use super::server::{run_to_end, run_to_end_on};

/// A failure while running, as against a mistake in the configuration.
const FAILURE: Option<i32> = Some(1);
const CONFIGURATION: Option<i32> = Some(2);

fn assert_ends(url: &str, arguments: &[&str], code: Option<i32>, parts: &[&str]) {
    let (ended, output) = run_to_end(url, arguments);
    assert_eq!(ended, code, "{output}");
    for part in parts {
        assert!(output.contains(part), "{part:?} is not in: {output}");
    }
}

#[test]
fn a_bad_flag_ends_the_start() {
    assert_ends("memory://", &["--durability", "sometimes"], CONFIGURATION, &["durability", "commit", "everysec"]);
    assert_ends("memory://", &["--no-such-flag"], CONFIGURATION, &["no-such-flag"]);
    assert_ends("mysql://localhost/app", &[], CONFIGURATION, &["database-url", "postgres://", "sqlite://"]);
    assert_ends("memory://", &["--session-table", "a=t", "--session-table", "b=t"], CONFIGURATION, &["session-table"]);
}

#[test]
fn a_port_that_is_taken_is_told() {
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = holder.local_addr().expect("its address").port();
    let (code, output) = run_to_end_on(port, "memory://", &[]);
    assert_eq!(code, FAILURE, "{output}");
    let sentence = format!("127.0.0.1:{port} is taken: is redis-server running? Try --port {}", port + 1);
    assert!(output.contains(&sentence), "{output}");
}

#[test]
fn a_file_that_is_no_database_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notes.txt");
    let text = "These are notes, and no database at all.\n".repeat(200);
    std::fs::write(&path, &text).expect("a file");
    let url = format!("sqlite://{}", path.display());
    assert_ends(&url, &[], FAILURE, &["notes.txt is not a SQLite database"]);
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), text);
}

#[test]
fn a_wrong_login_or_database_ends_the_start() {
    let postgres = PostgresServer::start(&[]);
    assert_ends(&postgres.url("no_such_database"), &[], FAILURE, &["cannot log in", "no_such_database"]);
    assert_ends(&postgres.url_as("nobody", "postgres"), &[], FAILURE, &["cannot log in", "nobody"]);
}

#[test]
fn a_session_table_that_lacks_a_column_is_named_and_left_alone() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    postgres.sql(&database, "create table session (sid varchar primary key, sess json not null)");
    assert_ends(&postgres.url(&database), &[], FAILURE, &["session", "expire"]);
    let columns = "select string_agg(column_name, ',' order by column_name) from information_schema.columns where table_name = 'session'";
    assert_eq!(postgres.sql(&database, columns), "sess,sid");
    let tables = "select count(*) from information_schema.tables where table_schema = 'public'";
    assert_eq!(postgres.sql(&database, tables), "1", "no table was added");
}

#[test]
fn a_missing_privilege_names_its_grant() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let tables = "create table session (sid varchar primary key, sess json not null, expire timestamp(6) not null);
        create role app login; grant create, usage on schema public to app; grant select, update, delete on session to app";
    postgres.sql(&database, tables);
    assert_ends(&postgres.url_as("app", &database), &[], FAILURE, &["grant insert on", "session", "to", "app"]);
    // Without the right to create tables, and with tables that are not to be created.
    let database = postgres.create_database();
    assert_ends(&postgres.url(&database), &["--create-tables", "no"], FAILURE, &["session", "sojourn schema"]);
}
