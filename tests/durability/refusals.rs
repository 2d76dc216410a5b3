//! A row that the database refuses, in the middle of a batch of many clients: only that write fails, with one clear
//! error, and its neighbours commit. The user's own constraint and trigger say no, on real databases.

use std::thread;

use sqlx::{Connection as _, SqliteConnection};
use tokio::runtime::Runtime;

use super::postgres::PostgresServer;
use super::server::{Server, is_error, is_ok, wait_until};
use super::support::proxy::Proxy;
use super::support::resp::{Connection, Frame, encode};

/// Clients that write at the same time; each sends so many sessions, one of which is poisonous.
const CLIENTS: usize = 8;
const SETS: usize = 25;
/// Which one is.
const POISONOUS: usize = 11;
/// Long enough that a write waits for whoever holds the lock, which is at most half of it.
const PATIENT: &[&str] = &["--write-timeout", "40s"];

/// What stops every commit for a while, and lets them go on: the network before PostgreSQL, a writer beside ours in SQLite.
enum Hold {
    Network(Proxy),
    Writer(Runtime, SqliteConnection),
}

impl Hold {
    fn stop(&mut self) {
        match self {
            Self::Network(proxy) => proxy.stall(),
            Self::Writer(runtime, connection) => run(runtime, connection, "begin immediate"),
        }
    }

    fn go_on(&mut self) {
        match self {
            Self::Network(proxy) => proxy.pass(),
            Self::Writer(runtime, connection) => run(runtime, connection, "commit"),
        }
    }
}

fn run(runtime: &Runtime, connection: &mut SqliteConnection, sql: &'static str) {
    runtime.block_on(sqlx::raw_sql(sql).execute(connection)).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn value(client: usize, number: usize) -> String {
    let name = if number == POISONOUS { "poison" } else { "food" };
    format!(r#"{{"{name}":{client},"number":{number}}}"#)
}

/// Sends all sessions in one piece and answers the replies.
fn write(mut connection: Connection, client: usize) -> Vec<Frame> {
    let set = |number| encode(&["SET", &format!("sess:{client}-{number}"), &value(client, number)]);
    connection.send(&(0..SETS).flat_map(set).collect::<Vec<u8>>()).expect("a server");
    (0..SETS).map(|_| connection.read().expect("a reply")).collect()
}

/// Lets many clients write while commits are held, so that all of it is one batch, and looks at what became of each.
fn write_poison(server: &Server, hold: &mut Hold) {
    assert!(is_ok(&server.call(&["SET", &format!("sess:0-{POISONOUS}"), r#"{"before":1}"#])));
    let before = server.info("outages");
    hold.stop();
    let (replies, batches) = thread::scope(|scope| {
        let first = scope.spawn(|| server.call(&["SET", "sess:first", "{}"]));
        let executed = || {
            let reply = server.call(&["INFO", "keyspace"]);
            String::from_utf8_lossy(reply.bytes().expect("a text")).contains("keys=2,")
        };
        wait_until("a first batch, which waits", || executed() && server.info("backlog") <= 1);
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || write(server.connect(), client))).collect();
        wait_until("a second one, of all clients", || server.info("backlog") >= (CLIENTS * SETS) as u64);
        let batches = server.info("batches");
        hold.go_on();
        let replies: Vec<_> = clients.into_iter().map(|client| client.join().expect("replies")).collect();
        assert!(is_ok(&first.join().expect("a reply")));
        (replies, server.info("batches") - batches)
    });
    for (client, replies) in replies.iter().enumerate() {
        for (number, reply) in replies.iter().enumerate() {
            let right = if number == POISONOUS { is_error(reply, "MISCONF") } else { is_ok(reply) };
            assert!(right, "{client}-{number}: {reply:?}: {}", server.log());
        }
    }
    println!("{} writes in one batch, {CLIENTS} of them poisonous, went in {batches} commits", CLIENTS * SETS);
    assert!(batches < (CLIENTS * SETS / 2) as u64, "neighbours went together: {batches} commits");
    assert_eq!(server.info("units_failed"), CLIENTS as u64, "{}", server.log());
    assert_eq!(server.info("outages"), before, "a refusal is no outage: {}", server.log());
}

/// What is there: all neighbours, and no poison but what was there before.
fn check(server: &Server) {
    for client in 0..CLIENTS {
        for number in 0..SETS {
            let found = server.call(&["GET", &format!("sess:{client}-{number}")]);
            let expected = match (client, number) {
                (0, POISONOUS) => Some(r#"{"before":1}"#.to_owned()),
                (_, POISONOUS) => None,
                (_, _) => Some(value(client, number)),
            };
            assert_eq!(found.bytes(), expected.as_deref().map(str::as_bytes), "{client}-{number}");
        }
    }
}

fn only_the_poison_fails(server: Server, url: &str, mut hold: Hold) {
    write_poison(&server, &mut hold);
    check(&server);
    server.kill();
    check(&Server::start(url, &[]));
}

fn only_the_poison_fails_on_postgresql(refusal: &str) {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let proxy = Proxy::start(postgres.port());
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", proxy.port());
    let server = Server::start(&url, PATIENT);
    postgres.sql(&database, refusal);
    only_the_poison_fails(server, &url, Hold::Network(proxy));
}

#[test]
fn a_poisonous_row_fails_alone_by_a_constraint_of_postgresql() {
    only_the_poison_fails_on_postgresql("alter table session add constraint edible check (sess->>'poison' is null)");
}

#[test]
fn a_poisonous_row_fails_alone_by_a_trigger_of_postgresql() {
    only_the_poison_fails_on_postgresql(
        "create function taste() returns trigger language plpgsql as
            $$ begin if new.sess->>'poison' is not null then raise 'poison'; end if; return new; end $$;
         create trigger taste before insert or update on session for each row execute function taste()",
    );
}

#[test]
fn a_poisonous_row_fails_alone_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("sojourn.db").display());
    let server = Server::start(&url, PATIENT);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut connection = runtime.block_on(SqliteConnection::connect(&url)).expect("a connection");
    let refusal = "create trigger taste before insert on session when json_extract(new.sess, '$.poison') is not null
                   begin select raise(abort, 'poison'); end";
    run(&runtime, &mut connection, refusal);
    only_the_poison_fails(server, &url, Hold::Writer(runtime, connection));
}

/// Under `everysec` nobody waits for a commit, so that the writer could send a batch for ever that never fits.
#[test]
fn a_write_that_never_fits_write_timeout_fails_alone_under_everysec() {
    let postgres = PostgresServer::start(&[]);
    let database = postgres.create_database();
    let server = Server::start(&postgres.url(&database), &["--durability", "everysec", "--write-timeout", "600ms"]);
    postgres.sql(
        &database,
        "create function digest() returns trigger language plpgsql as
            $$ begin if new.sess->>'poison' is not null then perform pg_sleep(60); end if; return new; end $$;
         create trigger digest before insert or update on session for each row execute function digest()",
    );
    let replies = write(server.connect(), 0);
    assert!(replies.iter().all(is_ok), "everysec answers at once: {replies:?}");
    let rows = || postgres.sql(&database, "select count(*) from session");
    wait_until("the neighbours' commits", || rows() == (SETS - 1).to_string());
    let poison = format!("sess:0-{POISONOUS}");
    wait_until("the end of the other", || server.call(&["GET", &poison]).bytes().is_none());
    wait_until("the recovery", || is_ok(&server.call(&["SET", "sess:later", "{}"])) && rows() == SETS.to_string());
    assert_eq!(server.info("units_failed"), 1, "{}", server.log());
}
