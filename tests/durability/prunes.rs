//! Expired rows leave the database by themselves, and whoever lengthens a life in time wins.

use super::postgres::PostgresServer;
use super::psql::Psql;
use super::server::{Server, is_ok, wait_until};

const UTC: &[&str] = &[
    "--database-timezone",
    "UTC",
    "--prune-batch",
    "100",
    "--log-format",
    "text",
    "--log-level",
    "info",
    "--prune-interval",
];

/// Sessions that end so many seconds from now, written by SQL.
fn insert(postgres: &PostgresServer, database: &str, sids: &str, seconds: i32) {
    let end = format!("now() at time zone 'UTC' + interval '{seconds} seconds'");
    postgres.sql(database, &format!("insert into session select sid, '{{}}', {end} from {sids} sid"));
}

fn count(postgres: &PostgresServer, database: &str, sid: &str) -> String {
    postgres.sql(database, &format!("select count(*) from session where sid like '{sid}'"))
}

#[test]
fn a_prune_interval_set_at_run_time_counts_at_once_and_one_line_tells_of_a_sweep() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &[UTC, &["1h"]].concat());
    insert(&postgres, &database, "generate_series(1, 950)", -60);
    assert!(is_ok(&server.call(&["CONFIG", "SET", "prune-interval", "100ms"])));
    wait_until("the rows to be deleted", || count(&postgres, &database, "%") == "0");
    server.wait_for_log("expired records were deleted");
    let log = server.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("expired records were deleted")).collect();
    assert!(told.len() == 1 && told[0].contains("records=950"), "{log}");
    assert_eq!(server.info("pruned_records"), 950);
}

#[test]
fn a_touch_by_sql_from_outside_wins_over_a_prune() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    // It makes the tables; the next one finds a row that has ended, and whose longer life is under way.
    assert!(Server::start(&postgres.url(&database), &[UTC, &["1h"]].concat()).stop().success());
    insert(&postgres, &database, "unnest(array['touched', 'free'])", -60);
    let touch = "update session set expire = expire + interval '1 hour' where sid = 'touched'";
    let psql = Psql::begin(&postgres, &database, touch);
    let _server = Server::start(&postgres.url(&database), &[UTC, &["100ms"]].concat());
    wait_until("the prune of the other row", || count(&postgres, &database, "free") == "0");
    psql.commit();
    insert(&postgres, &database, "unnest(array['later'])", -60);
    wait_until("one more prune", || count(&postgres, &database, "later") == "0");
    assert_eq!(count(&postgres, &database, "touched"), "1");
}
