//! What operators see of others' commands, MONITOR's lines and SLOWLOG's entries: the same as in Redis but for their times, never
//! a password, and never at the others' cost.

use std::net::SocketAddr;

use crate::support::redis::Redis;
use crate::support::resp::{Connection, Frame, encode};
use crate::support::server::wait_until;
use crate::support::sojourn::Sojourn;

fn connect(address: SocketAddr) -> Connection {
    Connection::open(address).expect("a connection")
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn text(frame: &Frame) -> String {
    match frame {
        Frame::Line(_, text) | Frame::Bulk(_, Some(text)) => String::from_utf8_lossy(text).into_owned(),
        Frame::Bulk(_, None) | Frame::Aggregate(..) => String::new(),
    }
}

/// A monitor's lines until it sees the word `last`, each without its time and port.
fn lines_until(monitor: &mut Connection, last: &str) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.contains(last)) {
        let Frame::Line(b'+', line) = monitor.read().expect("a line") else { panic!("no line") };
        let line = String::from_utf8_lossy(&line).into_owned();
        let (time, rest) = line.split_once(' ').expect("a time");
        let (seconds, micros) = time.split_once('.').expect("seconds and microseconds");
        assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000) && micros.len() == 6, "{line}");
        let (place, shown) = rest.split_once("] ").expect("a place");
        lines.push(format!("{}] {shown}", place.split_once(':').map_or(place, |(host, _)| host)));
    }
    lines
}

/// The entries of the slow log, oldest first: their words and the client's name.
fn slow(connection: &mut Connection) -> Vec<(Vec<String>, String)> {
    let entries = connection.call(&["SLOWLOG", "GET", "-1"]).expect("a reply");
    let entry = |entry: &Frame| {
        let parts = entry.items();
        assert!(parts[..3].iter().all(|part| part.integer().is_some()), "{entry:?}");
        let address = text(&parts[4]);
        assert!(address.starts_with("127.0.0.1:") || address == "?:0", "{address}");
        (parts[3].items().iter().map(text).collect(), text(&parts[5]))
    };
    entries.items().iter().rev().map(entry).collect()
}

/// What both servers show alike.
const ALIKE: &[&str] = &[
    "SET k 1",
    "get k",
    "GET",
    "NOSUCH x",
    "HSET k f v",
    "OBJECT ENCODING k",
    "CLIENT SETNAME me",
    "CLIENT KILL ID 99999999",
    "SELECT 3",
    "GET k",
    "SELECT 99",
    "SELECT 0",
    "AUTH hunter2",
    "AUTH nobody hunter2",
    "HELLO 2 AUTH default hunter2 SETNAME you",
    "HELLO 2",
    "ACL SETUSER other >hunter2",
    "ACL WHOAMI",
    "ACL DELUSER other",
    "CONFIG SET requirepass  timeout 0",
    "CONFIG GET requirepass",
    "COMMAND COUNT",
    "TIME",
    "MULTI",
    "SET k 2",
    "EVAL return{redis.call('set',KEYS[1],3),redis.pcall('hget',KEYS[1],1)} 1 k",
    "AUTH hunter2",
    "EXEC",
    "EXEC",
    "WATCH k",
    "UNWATCH",
    "MULTI",
    "DISCARD",
    "EVAL return(redis.call('get',KEYS[1])) 1 k",
    "EVAL return(redis.call('nosuch')) 0",
    "EVAL return( 0",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
    "SCRIPT LOAD return(1)",
    "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
    "PUBLISH c m",
    "WAIT 0 0",
    "KEYS *",
    "FLUSHALL",
    "ECHO last",
];

fn seen(address: SocketAddr) -> (Vec<String>, Vec<(Vec<String>, String)>) {
    let (mut monitor, mut client, mut operator) = (connect(address), connect(address), connect(address));
    let set = ["CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "1000"];
    assert_eq!(operator.call(&set).expect("a reply"), Frame::Line(b'+', b"OK".to_vec()));
    operator.call(&["SLOWLOG", "RESET"]).expect("a reply");
    assert_eq!(monitor.call(&["MONITOR"]).expect("a reply"), Frame::Line(b'+', b"OK".to_vec()));
    let bytes: &[u8] = b"\x00\xff\"\\\n\r\t\x07\x08 x";
    client.call(&[b"SET".as_slice(), b"bytes", bytes]).expect("a reply");
    let many: Vec<_> =
        (0..41).map(|number| if number == 0 { "DEL".to_owned() } else { format!("k{number}") }).collect();
    client.call(&many).expect("a reply");
    client.call(&["SET", &"k".repeat(128), &"v".repeat(129)]).expect("a reply");
    for line in ALIKE {
        client.call(&words(line)).expect(line);
    }
    (lines_until(&mut monitor, "last"), slow(&mut operator))
}

#[test]
fn monitors_and_the_slow_log_show_what_redis_shows() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let (redis_lines, redis_slow) = seen(redis.address());
    let (lines, slow) = seen(sojourn.address());
    assert!(redis_lines.len() > 30 && redis_slow.len() > 40);
    assert!(redis_lines.iter().any(|line| line == "[0 lua] \"set\" \"k\" \"3\""), "{redis_lines:#?}");
    assert_eq!(lines, redis_lines);
    assert_eq!(slow, redis_slow);
}

/// All of these carry a password, well or badly put.
const WITH_PASSWORD: &[&str] = &[
    "AUTH hunter2",
    "AUTH default hunter2",
    "AUTH a b hunter2",
    "HELLO 3 AUTH default hunter2",
    "HELLO 2 AUTH hunter2",
    "HELLO 9 AUTH default hunter2",
    "HELLO 2 SETNAME n AUTH default hunter2",
    "HELLO 2 AHTU default hunter2",
    "ACL SETUSER u on >hunter2 ~*",
    "ACL SETUSER u <hunter2",
    "ACL SETUSER u nosuchrule hunter2",
    "ACL DRYRUN default AUTH hunter2",
    "CONFIG SET requirepass hunter2",
    "AUTH hunter2",
    "CONFIG SET timeout x requirepass hunter2",
    "CONFIG SET masterauth hunter2",
    "CONFIG SET database-url postgres://u:hunter2@h/d",
    "CONFIG SET timeout requirepass hunter2",
    "AUHT hunter2",
    "MULTI",
    "AUTH hunter2",
    "HELLO 2 AUTH default hunter2",
    "EXEC",
    "CONFIG SET requirepass ",
    "ECHO last",
];

#[test]
fn a_password_is_never_shown() {
    let sojourn = Sojourn::in_memory();
    let (mut monitor, mut client, mut operator) =
        (connect(sojourn.address()), connect(sojourn.address()), connect(sojourn.address()));
    operator.call(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]).expect("a reply");
    monitor.call(&["MONITOR"]).expect("a reply");
    for line in WITH_PASSWORD {
        client.call(&words(line)).expect(line);
    }
    let lines = lines_until(&mut monitor, "last");
    let slow = slow(&mut operator);
    let count = |shown: &str, word: &str| shown.matches(word).count();
    let (lines, slow) = (lines.join("\n"), format!("{slow:?}"));
    assert!(count(&lines, "\"AUTH\"") >= 8 && count(&slow, "\"AUTH\"") >= 8, "{lines}\n{slow}");
    assert!(count(&slow, "SETUSER") == 3 && count(&slow, "requirepass") == 3, "{slow}");
    let elsewhere = [&["CLIENT", "LIST"][..], &["ACL", "LOG"], &["INFO", "everything"], &["LATENCY", "DOCTOR"]];
    let elsewhere = elsewhere.map(|words| format!("{:?}", operator.call(words).expect("a reply")));
    for shown in [lines, slow].iter().chain(&elsewhere) {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_monitor_that_never_reads_is_closed_and_costs_nobody_else_a_thing() {
    let sojourn = Sojourn::in_memory();
    let (mut client, mut operator) = (connect(sojourn.address()), connect(sojourn.address()));
    operator.call(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0"]).expect("a reply");
    let monitors = |operator: &mut Connection| {
        let list = text(&operator.call(&["CLIENT", "LIST"]).expect("a reply"));
        list.matches(" flags=O ").count()
    };
    // By many commands, by one, and by one whose own commands are many.
    let (value, large) = ("x".repeat(10_000), "\0".repeat(500_000));
    let script = "for i = 1, 20000 do redis.call('echo', ARGV[1]) end return 1";
    let requests = [
        encode(&["SET", "k", &value]).repeat(2_000),
        encode(&["SET", "k", &large]),
        encode(&["EVAL", script, "0", &"y".repeat(100)]),
    ];
    for (closed, (requests, replies)) in (1..).zip(requests.iter().zip([2_000, 1, 1])) {
        let mut monitor = connect(sojourn.address());
        monitor.call(&["MONITOR"]).expect("a reply");
        assert_eq!(monitors(&mut operator), 1);
        client.send(requests).expect("sent");
        (0..replies).for_each(|_| assert!(!matches!(client.read().expect("a reply"), Frame::Line(b'-', _))));
        wait_until("the monitor to be closed", || monitors(&mut operator) == 0);
        assert_eq!(operator.info("client_output_buffer_limit_disconnections"), closed);
    }
    assert!(operator.info("resident_peak") < 300_000_000);
}

#[test]
fn a_script_that_begins_anew_is_shown_once() {
    let sojourn = Sojourn::in_memory();
    let (mut monitor, mut client) = (connect(sojourn.address()), connect(sojourn.address()));
    monitor.call(&["MONITOR"]).expect("a reply");
    // Longer than it may take on its connection's thread, so that it is run a second time elsewhere.
    let script = "redis.call('set',KEYS[1],1) for i=1,3000000 do end redis.call('get',KEYS[1])";
    client.call(&["EVAL", script, "1", "k"]).expect("a reply");
    for words in [&["MULTI"][..], &["EVAL", script, "1", "k"], &["EXEC"], &["ECHO", "last"]] {
        client.call(words).expect("a reply");
    }
    let lines = lines_until(&mut monitor, "last");
    let names: Vec<_> = lines.iter().map(|line| line.split('"').nth(1).unwrap_or_default()).collect();
    assert_eq!(names, ["EVAL", "set", "get", "MULTI", "EVAL", "set", "get", "EXEC", "ECHO"]);
}

#[test]
fn ten_thousand_slow_commands_leave_what_the_log_may_keep() {
    let sojourn = Sojourn::in_memory();
    let mut client = connect(sojourn.address());
    client.call(&["CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "100"]).expect("a reply");
    let length = |client: &mut Connection| client.call(&["SLOWLOG", "LEN"]).expect("a reply").integer();
    for _ in 0..100 {
        client.send(&encode(&["ECHO", &"x".repeat(1_000)]).repeat(100)).expect("sent");
        (0..100).for_each(|_| drop(client.read().expect("a reply")));
    }
    assert_eq!(length(&mut client), Some(100));
    assert!(slow(&mut client).iter().all(|(words, _)| words.iter().all(|word| word.len() < 160)));
    client.call(&["CONFIG", "SET", "slowlog-max-len", "0"]).expect("a reply");
    assert_eq!((length(&mut client), length(&mut client)), (Some(0), Some(0)));
    let refused = client.call(&["CONFIG", "SET", "slowlog-max-len", "100001"]).expect("a reply");
    assert!(text(&refused).contains("must be between 0 and 100000 inclusive"), "{refused:?}");
}

#[test]
fn waiting_is_not_slow_and_working_is() {
    let sojourn = Sojourn::in_memory();
    let (mut client, mut operator) = (connect(sojourn.address()), connect(sojourn.address()));
    let set = ["CONFIG", "SET", "slowlog-log-slower-than", "5000", "latency-monitor-threshold", "5"];
    operator.call(&set).expect("a reply");
    // The later ones of these passwords wait.
    (0..6).for_each(|_| drop(client.call(&["AUTH", "u", "guess"]).expect("a reply")));
    client.call(&["EVAL", "for i = 1, 30000000 do end return 1", "0"]).expect("a reply");
    let slow = slow(&mut operator);
    assert_eq!(slow.iter().map(|(words, _)| words[0].as_str()).collect::<Vec<_>>(), ["EVAL"]);
    let latest = operator.call(&["LATENCY", "LATEST"]).expect("a reply");
    let events: Vec<_> = latest.items().iter().map(|event| text(&event.items()[0])).collect();
    assert!(events.contains(&"command".to_owned()) && !events.contains(&"fast-command".to_owned()), "{events:?}");
}

#[test]
fn the_histogram_and_info_count_every_call_and_agree() {
    let sojourn = Sojourn::in_memory();
    let mut client = connect(sojourn.address());
    (0..500).for_each(|_| drop(client.call(&["GET", "k"]).expect("a reply")));
    let histogram = client.call(&["LATENCY", "HISTOGRAM", "get"]).expect("a reply");
    let parts = histogram.items()[1].items();
    assert_eq!(
        (text(&parts[0]), parts[1].integer(), text(&parts[2])),
        ("calls".into(), Some(500), "histogram_usec".into())
    );
    let lines: Vec<_> = parts[3].items().iter().filter_map(Frame::integer).collect();
    let (bounds, calls): (Vec<_>, Vec<_>) = lines.as_chunks().0.iter().map(|[bound, calls]| (*bound, *calls)).unzip();
    assert!(bounds.is_sorted_by(|one, next| one < next) && calls.is_sorted_by(|one, next| one < next), "{lines:?}");
    assert_eq!(calls.last(), Some(&500));
    let info = text(&client.call(&["INFO", "latencystats"]).expect("a reply"));
    let shown = info.lines().find_map(|line| line.strip_prefix("latency_percentiles_usec_get:")).expect("a line");
    let names: Vec<_> = shown.split(',').filter_map(|field| Some(field.split_once('=')?.0)).collect();
    assert_eq!(names, ["p50", "p99", "p99.9"]);
    let last_us: f64 = shown.rsplit('=').next().and_then(|number| number.parse().ok()).expect("a number");
    assert!(bounds.last().is_some_and(|bound| last_us <= *bound as f64 + 1.0), "{shown} {bounds:?}");
}

/// What is read counts and what a write looks at does not; a script's look-ups count once, though its writes are done twice.
#[test]
fn hits_and_misses_are_counted_as_redis_counts_them() {
    const SCRIPT: &str = "redis.call('set', KEYS[1], '1') redis.call('get', KEYS[1]) redis.call('incr', KEYS[1]) \
        redis.call('get', KEYS[2]) redis.call('append', KEYS[1], 'x') redis.call('getdel', KEYS[1])";
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let mut both = [redis.address(), sojourn.address()].map(|address| Connection::open(address).expect("a connection"));
    for line in "SET a 1|INCR a|APPEND a x|STRLEN a|STRLEN no|SETRANGE a 0 y|GETSET a 3|GETSET new 3|GET a|GET no|MGET a no|HSET h f v|\
        HINCRBY h g 1|HGET h f|HGET h no|HGET no f|HGETALL h|HGET a f|GET h|SADD s x|SISMEMBER s x|SISMEMBER no x|SPOP s|SETNX a 1|\
        EXPIRE a 100|EXPIRE no 1|PERSIST a|TTL a|TTL no|TYPE h|TYPE no|EXISTS a no h|TOUCH a no|RENAME h h2|HDEL h2 f|SREM s x|\
        GETEX a EX 10|GETEX no EX 10|GETDEL a|GETDEL a|DEL h2|UNLINK no|OBJECT ENCODING new|OBJECT ENCODING no|SCRIPT"
        .split('|')
    {
        let words: Vec<&str> = match line {
            "SCRIPT" => vec!["EVAL", SCRIPT, "2", "a", "b"],
            _ => line.split_whitespace().collect(),
        };
        let counts = both.each_mut().map(|connection| {
            connection.call(&words).expect("a reply");
            ["keyspace_hits", "keyspace_misses"].map(|name| connection.info(name))
        });
        assert_eq!(counts[0], counts[1], "{line}: redis-server, and Sojourn");
    }
}
