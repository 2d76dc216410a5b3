//! What of the users no script can compare: each command by itself, connections that end, the log, and guesses.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sojourn::commands::acl::category;
use sojourn::commands::table::{self, Flag, KeyPositions, Row};

use crate::support::redis::Redis;
use crate::support::resp::{Connection, Frame, encode};
use crate::support::sojourn::Sojourn;

/// The most that a password may wait (`PAUSE_MAX` in `app/login.rs`), and what a busy machine may add.
const PAUSE_MAX: Duration = Duration::from_secs(2);
const SLACK: Duration = Duration::from_secs(3);

fn connect(address: SocketAddr) -> Connection {
    Connection::open(address).expect("a connection")
}

fn call(connection: &mut Connection, line: &str) -> Frame {
    connection.call(&line.split(' ').collect::<Vec<_>>()).expect("a reply")
}

fn ok() -> Frame {
    Frame::Line(b'+', b"OK".to_vec())
}

fn error(text: &str) -> Frame {
    Frame::Line(b'-', text.as_bytes().to_vec())
}

/// A connection as a user with these rules.
fn connect_as(address: SocketAddr, admin: &mut Connection, rules: &str) -> Connection {
    assert_eq!(call(admin, &format!("ACL SETUSER u reset on >pw {rules}")), ok(), "{rules}");
    let mut connection = connect(address);
    assert_eq!(call(&mut connection, "AUTH u pw"), ok());
    connection
}

/// A request of this command that is long enough.
fn request_of(row: &'static Row) -> Vec<String> {
    let name = table::full_name(row).split('|').map(str::to_owned);
    let words = usize::try_from(row.arity.unsigned_abs()).expect("a small number");
    // A script names as many keys as the word before them says.
    let words = words + usize::from(matches!(row.keys, KeyPositions::Counted { .. }));
    name.chain(std::iter::repeat_with(|| "1".to_owned())).take(words).collect()
}

/// What can be called by itself, and whose gate can be seen: no mere container, and nothing that everybody may do.
fn gated_rows() -> impl Iterator<Item = &'static Row> {
    table::every_row().filter(|row| row.subcommands().is_empty() && !row.has(Flag::NoAuth))
}

#[test]
fn who_may_do_nothing_may_run_no_command_and_each_one_by_its_name() {
    let sojourn = Sojourn::in_memory();
    let mut admin = connect(sojourn.address());
    for row in gated_rows() {
        let name = table::full_name(row);
        let aborted = if name == "exec" { "EXECABORT Transaction discarded because of: " } else { "" };
        let refusal = error(&format!("{aborted}NOPERM this user has no permissions to run the '{name}' command"));
        let mut nobody = connect_as(sojourn.address(), &mut admin, "-@all allkeys");
        assert_eq!(nobody.call(&request_of(row)).expect("a reply"), refusal, "{name}");
        let mut somebody = connect_as(sojourn.address(), &mut admin, &format!("-@all +{name} allkeys"));
        assert_ne!(somebody.call(&request_of(row)).expect("a reply"), refusal, "{name}");
        let mut everybody_else = connect_as(sojourn.address(), &mut admin, &format!("+@all -{name} allkeys"));
        assert_eq!(everybody_else.call(&request_of(row)).expect("a reply"), refusal, "{name}");
    }
}

#[test]
fn who_may_touch_no_key_is_refused_each_command_that_names_one() {
    let sojourn = Sojourn::in_memory();
    let mut admin = connect(sojourn.address());
    let mut blind = connect_as(sojourn.address(), &mut admin, "+@all");
    let refusal = error("NOPERM this user has no permissions to access one of the keys used as arguments");
    for row in gated_rows() {
        let request: Vec<Bytes> = request_of(row).into_iter().map(Bytes::from).collect();
        let names_a_key = row.keys.of(&request).next().is_some();
        // CLIENT KILL, FLUSHALL and their like would disturb the others.
        if names_a_key {
            assert_eq!(blind.call(&request_of(row)).expect("a reply"), refusal, "{}", table::full_name(row));
        }
    }
}

/// The parts of COMMAND INFO that are compared: arity, keys and categories; and whether it reads what a key holds.
fn described(address: SocketAddr, name: &str) -> Option<(Vec<Frame>, bool)> {
    let reply = connect(address).call(&["COMMAND", "INFO", name]).expect("a reply");
    let parts = reply.items().first()?.items();
    let mut categories = parts.get(6)?.items().to_vec();
    categories.sort();
    let reads_keys = format!("{:?}", parts.get(8)?).contains("+access");
    Some(([&parts[1..2], &parts[3..6], &categories].concat(), reads_keys))
}

#[test]
fn every_row_has_the_arity_the_keys_and_the_categories_that_redis_gives_it() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let mut compared = 0;
    for row in table::every_row() {
        let name = table::full_name(row);
        // Redis has SETINFO and WAITAOF since 7.2, and what is younger is compared with nothing.
        let Some(expected) = described(redis.address(), name) else {
            assert!(row.since > "7.0.15", "redis-server has no {name}");
            continue;
        };
        assert_eq!(described(sojourn.address(), name), Some(expected), "{name}");
        compared += 1;
    }
    assert!(compared > 80, "only {compared} rows were compared");
}

#[test]
fn each_category_lists_what_redis_lists_of_our_commands() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let list = |address, category: &str| -> Vec<Frame> {
        let reply = connect(address).call(&["ACL", "CAT", category]).expect("a reply");
        let is_ours = |name: &&Frame| name.bytes().and_then(table::find_full).is_some_and(|row| row.since <= "7.0.15");
        let mut names: Vec<_> = reply.items().iter().filter(is_ours).cloned().collect();
        names.sort();
        names
    };
    for category in category::CATEGORIES {
        assert_eq!(
            list(redis.address(), category.name()),
            list(sojourn.address(), category.name()),
            "{}",
            category.name()
        );
    }
}

#[test]
fn the_log_tells_the_same_as_redis_does() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let [expected, actual] = [redis.address(), sojourn.address()].map(|address| {
        let mut admin = connect(address);
        let mut user = connect_as(address, &mut admin, "+get +multi +exec +config|get ~a*");
        for line in [
            "SET a 1",
            "SET a 1",
            "GET b",
            "GET secret",
            "CONFIG SET port 1",
            "AUTH u wrong",
            "AUTH nobody wrong",
            "MULTI",
            "GET b",
            "PING",
            "AUTH u wrong",
            "EXEC",
            "HELLO 3 AUTH u wrong",
            "MULTI",
            "GET a",
        ] {
            call(&mut user, line);
        }
        assert_eq!(call(&mut admin, "ACL SETUSER u -get"), ok());
        call(&mut user, "EXEC");
        let log = call(&mut admin, "ACL LOG 100");
        // The age and the address are what differs.
        log.items().iter().map(|entry| entry.items()[..10].to_vec()).collect::<Vec<_>>()
    });
    assert!(actual.len() > 8, "{actual:#?}");
    assert_eq!(expected, actual);
}

#[test]
fn a_password_is_in_no_list_and_in_no_log() {
    let sojourn = Sojourn::start("memory://", &["--requirepass", "hunter2"]);
    let mut admin = connect(sojourn.address());
    assert_eq!(call(&mut admin, "AUTH hunter2"), ok());
    let mut user = connect_as(sojourn.address(), &mut admin, ">hunter2 +@all");
    for line in ["AUTH u hunter2x", "AUTH hunter2y", "HELLO 3 AUTH u hunter2z", "ACL SETUSER u <hunter2 >hunter2"] {
        call(&mut user, line);
    }
    for line in ["ACL LIST", "ACL GETUSER u", "ACL LOG", "CLIENT LIST", "INFO everything", "COMMAND DOCS"] {
        let shown = format!("{:?}", call(&mut admin, line));
        assert!(!shown.contains("hunter2"), "{line}: {shown}");
    }
}

#[test]
fn the_connections_of_a_deleted_user_end_and_those_of_others_go_on() {
    let sojourn = Sojourn::in_memory();
    let mut admin = connect(sojourn.address());
    let mut idle = connect_as(sojourn.address(), &mut admin, "+@all allkeys");
    let mut busy = connect_as(sojourn.address(), &mut admin, "+@all allkeys");
    let mut other = connect(sojourn.address());
    assert_eq!(call(&mut busy, "MULTI"), ok());
    assert!(format!("{:?}", call(&mut other, "CLIENT LIST")).contains(" user=u "));
    assert_eq!(call(&mut admin, "ACL DELUSER u").integer(), Some(1));
    assert!(idle.is_closed() && busy.is_closed());
    assert!(!format!("{:?}", call(&mut other, "CLIENT LIST")).contains(" user=u "));
    assert_eq!(call(&mut other, "SET k v"), ok());
}

#[test]
fn a_change_of_a_user_counts_for_the_next_command_of_each_of_its_connections() {
    let sojourn = Sojourn::in_memory();
    let mut admin = connect(sojourn.address());
    let mut users: Vec<_> = (0..8).map(|_| connect_as(sojourn.address(), &mut admin, "+get allkeys")).collect();
    for round in 0..200 {
        let (sign, expected) = if round % 2 == 0 { ('-', b'-') } else { ('+', b'$') };
        assert_eq!(call(&mut admin, &format!("ACL SETUSER u {sign}get")), ok());
        for user in &mut users {
            let reply = format!("{:?}", call(user, "GET k"));
            assert!(reply.starts_with(char::from(expected)), "round {round}: {reply}");
        }
    }
}

/// How long each of these passwords took.
fn guesses(connection: &mut Connection, lines: &[&str]) -> Vec<Duration> {
    let mut taken = Vec::new();
    for line in lines {
        let begun = Instant::now();
        let reply = call(connection, line);
        assert!(format!("{reply:?}").starts_with("-WRONGPASS"), "{reply:?}");
        taken.push(begun.elapsed());
    }
    taken
}

#[test]
fn a_connection_that_guesses_is_slowed_and_no_other_one() {
    let sojourn = Sojourn::start("memory://", &["--requirepass", "right"]);
    let mut guesser = connect(sojourn.address());
    let wrong = ["AUTH wrong", "HELLO 3 AUTH default wrong", "AUTH nobody wrong"];
    guesses(&mut guesser, &wrong);
    // Pauses of 0.1, 0.2 and 0.4 seconds: never shorter, whatever the machine does.
    let begun = Instant::now();
    for pause in guesses(&mut guesser, &wrong) {
        assert!(pause <= PAUSE_MAX + SLACK, "{pause:?}");
    }
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
    // The next one waits 0.8 seconds; meanwhile the others log in and work.
    guesser.send(&encode(&["AUTH", "wrong"])).expect("sent");
    let begun = Instant::now();
    for _ in 0..20 {
        let mut other = connect(sojourn.address());
        assert_eq!(call(&mut other, "AUTH right"), ok());
        assert_eq!(call(&mut other, "SET k v"), ok());
    }
    let others = begun.elapsed();
    guesser.read().expect("a refusal");
    assert!(others < begun.elapsed(), "the others waited for the guesser");
    assert!(begun.elapsed() <= PAUSE_MAX + SLACK, "{:?}", begun.elapsed());
}

#[test]
fn a_transaction_is_no_way_around_the_pause() {
    let sojourn = Sojourn::in_memory();
    let mut admin = connect(sojourn.address());
    let mut guesser = connect_as(sojourn.address(), &mut admin, "+@all");
    assert_eq!(call(&mut guesser, "MULTI"), ok());
    for _ in 0..50 {
        call(&mut guesser, "AUTH u wrong");
    }
    call(&mut guesser, "AUTH u pw");
    call(&mut guesser, "HELLO 2 AUTH u pw");
    let begun = Instant::now();
    let replies = call(&mut guesser, "EXEC");
    assert!(begun.elapsed() < PAUSE_MAX + SLACK);
    let refused = error("ERR too many wrong passwords on this connection: AUTH is refused inside a transaction");
    assert_eq!(replies.items().iter().filter(|reply| **reply == refused).count(), 49, "{replies:?}");
    assert_eq!(call(&mut guesser, "AUTH u pw"), ok());
}
