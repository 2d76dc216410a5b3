//! What scripts may do to others, and how they end. No comparison: redis-server stands still while a script runs.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::status_bytes;
use crate::support::resp::{Connection, Frame, encode};
use crate::support::sojourn::Sojourn;

/// No neighbour may wait longer while a script runs, on a busy machine and in a debug build.
const NEIGHBOUR_MAX: Duration = Duration::from_secs(2);

const THRESHOLD_MS: &str = "100";
const FOR_EVER: &str = "redis.call('set', KEYS[1], 'lost') while true do end";

/// More memory than this is no script's: several states may be full at a time, and the server itself takes some.
const RESIDENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

fn start() -> Sojourn {
    Sojourn::start("memory://", &["--busy-reply-threshold", THRESHOLD_MS])
}

fn connect(sojourn: &Sojourn) -> Connection {
    Connection::open(sojourn.address()).expect("a connection")
}

fn call(sojourn: &Sojourn, words: &[&str]) -> Frame {
    connect(sojourn).call(words).expect("a reply")
}

fn bulk(text: &str) -> Frame {
    Frame::Bulk(b'$', Some(text.as_bytes().to_vec()))
}

fn ok() -> Frame {
    Frame::Line(b'+', b"OK".to_vec())
}

fn is_error(frame: &Frame, begin: &str) -> bool {
    matches!(frame, Frame::Line(b'-', text) if text.starts_with(begin.as_bytes()))
}

/// Sends a request whose reply is read later.
fn begin(sojourn: &Sojourn, words: &[&str]) -> Connection {
    let mut connection = connect(sojourn);
    connection.send(&encode(words)).expect("sent");
    connection
}

/// Stops what runs for long, as soon as it can be.
fn kill(sojourn: &Sojourn) {
    let begun = Instant::now();
    while call(sojourn, &["SCRIPT", "KILL"]) != ok() {
        assert!(begun.elapsed() < Duration::from_secs(10), "there is nothing to kill");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_keys_that_a_script_creates_and_deletes_are_counted_once() {
    let sojourn = start();
    let mut connection = connect(&sojourn);
    let mut counts = || ["created_keys", "deleted_keys"].map(|name| connection.info(name));
    let script = "redis.call('set', KEYS[1], 1) redis.call('set', KEYS[2], 1) return redis.call('del', KEYS[2])";
    assert_eq!(call(&sojourn, &["EVAL", script, "2", "a", "b"]).integer(), Some(1));
    assert_eq!(counts(), [2, 1]);
    // One that is stopped has done nothing.
    let running = begin(&sojourn, &["EVAL", FOR_EVER, "1", "c"]);
    kill(&sojourn);
    drop(running);
    assert_eq!(counts(), [2, 1]);
}

#[test]
fn a_script_takes_from_a_set_what_it_says_that_it_took() {
    let sojourn = start();
    let members: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let sadd: Vec<&str> = ["SADD", "set"].into_iter().chain(members.iter().map(String::as_str)).collect();
    assert_eq!(call(&sojourn, &sadd).integer(), Some(200));
    let taken = call(&sojourn, &["EVAL", "return redis.call('SPOP', KEYS[1], 50)", "1", "set"]);
    let left = call(&sojourn, &["SMEMBERS", "set"]);
    assert_eq!((taken.items().len(), left.items().len()), (50, 150));
    assert!(taken.items().iter().all(|member| !left.items().contains(member)), "{taken:?}");
}

#[test]
fn what_a_script_publishes_is_heard_once_and_not_at_all_if_it_is_killed() {
    let sojourn = start();
    let mut listener = connect(&sojourn);
    listener.call(&["SUBSCRIBE", "news"]).expect("a reply");
    let publish = "redis.call('PUBLISH', 'news', ARGV[1]) ";
    // Long enough to be begun anew on a thread of its own.
    let busy = format!("{publish} local n = 0 for i = 1, 2000000 do n = n + i end return 1");
    assert_eq!(call(&sojourn, &["EVAL", &busy, "0", "first"]).integer(), Some(1));
    let for_ever = begin(&sojourn, &["EVAL", &format!("{publish} while true do end"), "0", "lost"]);
    kill(&sojourn);
    drop(for_ever);
    assert_eq!(call(&sojourn, &["EVAL", &format!("{publish} return 1"), "0", "last"]).integer(), Some(1));
    for expected in ["first", "last"] {
        assert_eq!(listener.read().expect("a message").items()[2], bulk(expected));
    }
}

#[test]
fn a_script_that_never_ends_stops_nobody_and_is_killed_and_leaves_nothing() {
    let sojourn = start();
    assert_eq!(call(&sojourn, &["SET", "looped", "before"]), ok());
    let mut neighbours: Vec<_> = (0..8).map(|_| connect(&sojourn)).collect();
    let mut looping = begin(&sojourn, &["EVAL", FOR_EVER, "1", "looped"]);
    let begun = Instant::now();
    let mut longest = Duration::ZERO;
    while begun.elapsed() < Duration::from_millis(600) {
        for neighbour in &mut neighbours {
            let asked = Instant::now();
            assert_eq!(neighbour.call(&["SET", "other", "1"]).expect("a reply"), ok());
            // Even who asks for the very key sees what it was.
            assert_eq!(neighbour.call(&["GET", "looped"]).expect("a reply"), bulk("before"));
            assert_eq!(neighbour.call(&["EVAL", "return 'short'", "0"]).expect("a reply"), bulk("short"));
            assert!(matches!(neighbour.call(&["DBSIZE"]).expect("a reply"), Frame::Line(b':', _)));
            longest = longest.max(asked.elapsed());
        }
    }
    assert!(longest < NEIGHBOUR_MAX, "a neighbour waited for {longest:?}");
    kill(&sojourn);
    let reply = looping.read().expect("a reply");
    assert!(is_error(&reply, "ERR Script killed by user with SCRIPT KILL... script: "), "{reply:?}");
    assert_eq!(looping.call(&["GET", "looped"]).expect("a reply"), bulk("before"));
    assert!(is_error(&call(&sojourn, &["SCRIPT", "KILL"]), "NOTBUSY"));
}

#[test]
fn when_every_thread_for_long_scripts_is_taken_the_next_one_is_told_and_short_ones_run() {
    let sojourn = start();
    let count = thread::available_parallelism().map_or(2, std::num::NonZero::get).max(2);
    let mut looping: Vec<_> = (0..count).map(|_| begin(&sojourn, &["EVAL", "while true do end", "0"])).collect();
    thread::sleep(Duration::from_millis(400));
    let refused = call(&sojourn, &["EVAL", "while true do end", "0"]);
    assert!(is_error(&refused, "BUSY Redis is busy running a script. You can only call SCRIPT KILL"), "{refused:?}");
    assert_eq!(call(&sojourn, &["EVAL", "return 'short'", "0"]), bulk("short"));
    kill(&sojourn);
    for connection in &mut looping {
        assert!(is_error(&connection.read().expect("a reply"), "ERR Script killed by user"));
    }
}

#[test]
fn a_long_script_ends_as_a_short_one_does() {
    let sojourn = start();
    let long = "for i = 1, 3000000 do end redis.call('set', KEYS[1], ARGV[1]) return redis.call('incr', KEYS[2])";
    let reply = call(&sojourn, &["EVAL", long, "2", "a", "b", "text"]);
    assert_eq!(reply, Frame::Line(b':', b"1".to_vec()));
    assert_eq!(call(&sojourn, &["MGET", "a", "b"]), Frame::Aggregate(b'*', Some(vec![bulk("text"), bulk("1")])));
}

#[test]
fn long_scripts_and_others_that_change_the_same_key_lose_nothing() {
    let sojourn = start();
    let long = "for i = 1, 300000 do end return redis.call('incr', KEYS[1])";
    let counted = thread::scope(|scope| {
        let count = || {
            let mut connection = connect(&sojourn);
            let replies = (0..5).map(|_| connection.call(&["EVAL", long, "1", "n"]).expect("a reply"));
            replies.filter(|reply| reply.integer().is_some()).count()
        };
        let scripts = [scope.spawn(count), scope.spawn(count)];
        let others = scope.spawn(|| {
            let mut connection = connect(&sojourn);
            for _ in 0..100 {
                assert!(connection.call(&["INCR", "n"]).expect("a reply").integer().is_some());
                thread::sleep(Duration::from_millis(10));
            }
            100
        });
        let scripts: usize = scripts.into_iter().map(|script| script.join().expect("it ends")).sum();
        scripts + others.join().expect("it ends")
    });
    assert_eq!(call(&sojourn, &["GET", "n"]), bulk(&counted.to_string()));
}

#[test]
fn an_exec_with_a_script_that_never_ends_is_discarded_as_a_whole() {
    let sojourn = start();
    let mut connection = connect(&sojourn);
    for words in [&["MULTI"][..], &["SET", "a", "1"], &["SELECT", "3"], &["EVAL", FOR_EVER, "1", "b"]] {
        connection.call(words).expect("a reply");
    }
    connection.send(&encode(&["EXEC"])).expect("sent");
    kill(&sojourn);
    let reply = connection.read().expect("a reply");
    assert!(is_error(&reply, "EXECABORT Transaction discarded because of: Script killed by user"), "{reply:?}");
    assert_eq!(call(&sojourn, &["EXISTS", "a", "b"]).integer(), Some(0));
    assert_eq!(connection.call(&["PING"]).expect("a reply"), Frame::Line(b'+', b"PONG".to_vec()));
}

#[test]
fn a_script_that_allocates_without_end_gets_its_error_and_the_server_stays_small() {
    let sojourn = start();
    for greedy in [
        "local t = {} while true do t[#t + 1] = {#t} end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "local t = {1} for i = 1, 40 do t = {t, t} end return t",
        "local t = {1} for i = 1, 40 do t = {t, t} end return cjson.encode(t)",
        "while true do redis.call('append', KEYS[1], string.rep('x', 4000000)) end",
    ] {
        let reply = connect(&sojourn).call(&["EVAL", greedy, "1", "grown"]).expect(greedy);
        assert!(matches!(reply, Frame::Line(b'-', _)), "{greedy}: {reply:?}");
        assert_eq!(call(&sojourn, &["EVAL", "return 'alive'", "0"]), bulk("alive"), "after {greedy}");
        assert!(call(&sojourn, &["DEL", "grown"]).integer().is_some());
    }
    let resident_bytes = status_bytes(sojourn.pid(), "VmHWM");
    assert!(resident_bytes < RESIDENT_BYTES_MAX, "{resident_bytes}");
}

#[test]
fn a_key_that_is_not_declared_is_refused() {
    let sojourn = start();
    let undeclared = "ERR Script attempted to access a key that it did not declare: pass all keys in KEYS";
    for (script, refusal) in [
        ("return redis.call('get', 'other')", undeclared),
        ("return redis.call('set', 'other', 1)", undeclared),
        ("return redis.call('del', KEYS[1], 'other')", undeclared),
        ("redis.call('select', 1) return redis.call('set', KEYS[1], 1)", undeclared),
        ("return redis.call('dbsize')", "ERR Script attempted to access the whole keyspace"),
        ("return redis.call('flushall')", "ERR Script attempted to access the whole keyspace"),
        ("return redis.call('scan', 0)", "ERR Script attempted to access the whole keyspace"),
    ] {
        let reply = call(&sojourn, &["EVAL", script, "1", "own"]);
        assert!(is_error(&reply, refusal), "{script}: {reply:?}");
    }
    assert_eq!(call(&sojourn, &["DBSIZE"]).integer(), Some(0));
}
