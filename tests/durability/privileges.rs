//! The least that a role of PostgreSQL needs: the GRANTs that `sojourn schema` prints, no more and no less.

use super::postgres::PostgresServer;
use super::server::{Server, is_ok, run_to_end, wait_until};
use super::support::process::sojourn;
use super::support::resp::Frame;

/// The role that the printed GRANTs name.
const ROLE: &str = "sojourn";
const SESSION: &str = r#"{"cookie":{"originalMaxAge":1800000}}"#;

/// What `sojourn schema` prints for a database: the DDL, and the GRANTs.
fn printed(arguments: &[&str]) -> (String, Vec<String>) {
    let output = sojourn().args(arguments).arg("schema").output().expect("sojourn runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let (grants, ddl): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("grant "));
    assert!(!grants.is_empty(), "{text}");
    (ddl.join("\n"), grants.into_iter().map(str::to_owned).collect())
}

/// A database whose tables the operator has made; the role may do what is granted and nothing else.
fn prepare(postgres: &PostgresServer, tables: &[&str]) -> (String, Vec<String>) {
    let database = postgres.create_database();
    let url = postgres.url(&database);
    let (ddl, grants) = printed(&[&["--database-url", &url], tables].concat());
    postgres.sql(&database, "revoke all on schema public from public; grant usage on schema public to public");
    postgres.sql(&database, "create schema if not exists app");
    postgres.sql(&database, &ddl);
    postgres.sql(&database, &grants.join("\n"));
    (database, grants)
}

fn assert_serves(postgres: &PostgresServer, database: &str, arguments: &[&str]) {
    let url = postgres.url_as(ROLE, database);
    let arguments = [arguments, &["--prune-interval", "100ms", "--touch-interval", "0"]].concat();
    let mut server = Server::start(&url, &arguments);
    for (key, value) in [("sess:a", SESSION), ("sess:b", SESSION), ("other:a", "1")] {
        assert!(is_ok(&server.call(&["SET", key, value])), "{}", server.log());
    }
    assert_eq!(server.call(&["EXPIRE", "sess:a", "1800"]).integer(), Some(1));
    assert_eq!(server.call(&["DEL", "sess:b"]).integer(), Some(1));
    assert!(is_ok(&server.call(&["SET", "sess:short", SESSION, "PX", "50"])));
    let pruned = "select count(*) from sojourn_keys";
    assert_eq!(postgres.sql(database, pruned), "1");
    assert!(is_ok(&server.call(&["SET", "other:short", "1", "PX", "50"])));
    wait_until("the short-lived keys to be pruned", || postgres.sql(database, pruned) == "1");
    assert!(server.stop().success(), "{}", server.log());
    let mut server = Server::start(&url, &arguments);
    assert_eq!(server.call(&["GET", "sess:a"]).bytes(), Some(SESSION.as_bytes()));
    assert_eq!(server.call(&["EXISTS", "sess:b", "sess:short"]).integer(), Some(0));
    assert!(is_ok(&server.call(&["FLUSHDB"])), "{}", server.log());
    assert!(matches!(server.call(&["GET", "sess:a"]), Frame::Bulk(b'$', None)));
    assert!(server.stop().success(), "{}", server.log());
    assert_eq!(postgres.sql(database, pruned), "0");
}

#[test]
fn a_role_with_the_printed_grants_alone_serves_sessions() {
    let postgres = PostgresServer::start(&[]);
    postgres.sql("postgres", "create role sojourn login");
    for tables in [&[][..], &["--session-table", "sess:=app.sessions"]] {
        let (database, _) = prepare(&postgres, tables);
        for create_tables in ["no", "yes"] {
            assert_serves(&postgres, &database, &[tables, &["--create-tables", create_tables]].concat());
        }
    }
}

#[test]
fn each_grant_that_is_missing_is_named() {
    let postgres = PostgresServer::start(&[]);
    postgres.sql("postgres", "create role sojourn login");
    let tables = ["--session-table", "sess:=app.sessions"];
    let (database, grants) = prepare(&postgres, &tables);
    let url = postgres.url_as(ROLE, &database);
    let mut revoked = 0;
    for grant in &grants {
        let (privileges, places) = grant.trim_start_matches("grant ").split_once(" on ").expect("a grant");
        let places = places.trim_end_matches(" to sojourn;");
        for (privilege, place) in privileges.split(", ").flat_map(|one| places.split(", ").map(move |on| (one, on))) {
            postgres.sql(&database, &format!("revoke {privilege} on {place} from sojourn"));
            let (_, output) = run_to_end(&url, &tables);
            let named = [format!("grant {privilege} on {place} to"), format!("grant {privilege} on \"{place}\" to")];
            assert!(named.iter().any(|text| output.contains(text)), "{named:?} is not in: {output}");
            postgres.sql(&database, &format!("grant {privilege} on {place} to sojourn"));
            revoked += 1;
        }
    }
    assert_eq!(revoked, 13, "four on each of three tables, and one on a schema: {grants:?}");
}
