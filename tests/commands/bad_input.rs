//! What no client should send, or how none should behave: the answer is a clear error, and the others are served.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::resp::{Connection, Frame, encode};
use crate::support::sojourn::Sojourn;

/// Far above what a million-key command needs in linear time, far below what it needs in quadratic time.
const MILLION_KEYS_TIMEOUT: Duration = Duration::from_secs(20);

fn connect(sojourn: &Sojourn) -> Connection {
    Connection::open(sojourn.address()).expect("a connection")
}

fn error(text: &str) -> Frame {
    Frame::Line(b'-', text.as_bytes().to_vec())
}

fn ok() -> Frame {
    Frame::Line(b'+', b"OK".to_vec())
}

fn pong() -> Frame {
    Frame::Line(b'+', b"PONG".to_vec())
}

#[test]
fn a_declared_size_that_is_too_large_is_refused_before_it_arrives() {
    let sojourn = Sojourn::in_memory();
    for (request, refusal) in [
        ("*2\r\n$3\r\nGET\r\n$-7\r\n", "ERR Protocol error: invalid bulk length"),
        ("*2\r\n$3\r\nGET\r\n$9223372036854775807\r\n", "ERR Protocol error: invalid bulk length"),
        ("*9223372036854775807\r\n", "ERR Protocol error: invalid multibulk length"),
        ("*1048577\r\n", "ERR Protocol error: invalid multibulk length"),
        ("*1\r\n+PING\r\n", "ERR Protocol error: expected '$', got '+'"),
    ] {
        let mut connection = connect(&sojourn);
        connection.send(request.as_bytes()).expect("sent");
        assert_eq!(connection.read().expect("a reply"), error(refusal), "{request:?}");
        assert!(connection.is_closed(), "{request:?}");
    }
    assert_eq!(connect(&sojourn).call(&["PING"]).expect("a reply"), pong());
}

#[test]
fn half_a_frame_and_then_silence_holds_nobody_else_up() {
    let sojourn = Sojourn::in_memory();
    let halves: Vec<_> =
        ["*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\nhalf", "*3\r\n$3\r\nSE", "*", "$", "PIN", "*1\r\n$4\r\nPING\r"]
            .into_iter()
            .map(|half| {
                let mut connection = connect(&sojourn);
                connection.send(half.as_bytes()).expect("sent");
                connection
            })
            .collect();
    let mut others: Vec<_> = (0..8).map(|_| connect(&sojourn)).collect();
    for round in 0..50 {
        for (number, other) in others.iter_mut().enumerate() {
            let key = format!("{number}:{round}");
            assert_eq!(other.call(&["SET", &key, "v"]).expect("a reply"), ok());
        }
    }
    drop(halves);
    assert_eq!(connect(&sojourn).call(&["EXISTS", "k"]).expect("a reply"), Frame::Line(b':', b"0".to_vec()));
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let sojourn = Sojourn::in_memory();
    let mut connection = connect(&sojourn);
    for byte in encode(&["SET", "slow", "value"]) {
        connection.send(&[byte]).expect("sent");
    }
    assert_eq!(connection.read().expect("a reply"), ok());
}

#[test]
fn deleting_a_million_keys_in_small_pieces_takes_linear_time() {
    let sojourn = Sojourn::in_memory();
    let mut connection = connect(&sojourn);
    assert_eq!(connection.call(&["MSET", "key:0", "v", "key:999998", "v"]).expect("a reply"), ok());
    let words: Vec<_> =
        std::iter::once("DEL".to_owned()).chain((0..999_999).map(|number| format!("key:{number}"))).collect();
    let begun = Instant::now();
    for piece in encode(&words).chunks(16 * 1024) {
        connection.send(piece).expect("sent");
    }
    assert_eq!(connection.read().expect("a reply"), Frame::Line(b':', b"2".to_vec()));
    assert!(begun.elapsed() < MILLION_KEYS_TIMEOUT, "{:?}", begun.elapsed());
}

#[test]
fn a_key_that_no_index_could_hold_is_refused() {
    let sojourn = Sojourn::in_memory();
    let mut connection = connect(&sojourn);
    let refusal = error("ERR key is longer than key-bytes-max (2048 bytes)");
    let long = "k".repeat(3_000);
    for words in [
        vec!["SET", &long, "v"],
        vec!["GET", &long],
        vec!["DEL", "short", &long],
        vec!["MSET", "short", "v", &long, "v"],
        vec!["RENAME", "short", &long],
        vec!["EXPIRE", &long, "10"],
        vec!["OBJECT", "ENCODING", &long],
    ] {
        assert_eq!(connection.call(&words).expect("a reply"), refusal, "{}", words[0]);
    }
    assert_eq!(connection.call(&["EXISTS", "short"]).expect("a reply"), Frame::Line(b':', b"0".to_vec()));
    assert_eq!(connection.call(&["SET", &long[..2_048], "v"]).expect("a reply"), ok());
    assert_eq!(connection.call(&["MULTI"]).expect("a reply"), ok());
    assert_eq!(connection.call(&["SET", &long, "v"]).expect("a reply"), refusal);
    let aborted = error("EXECABORT Transaction discarded because of previous errors.");
    assert_eq!(connection.call(&["EXEC"]).expect("a reply"), aborted);
}

#[test]
fn a_client_that_vanishes_in_mid_reply_takes_nobody_with_it() {
    let sojourn = Sojourn::in_memory();
    let mut keeper = connect(&sojourn);
    assert_eq!(keeper.call(&["SET", "big", &"x".repeat(4 << 20)]).expect("a reply"), ok());
    for _ in 0..20 {
        let mut connection = connect(&sojourn);
        connection.send(&encode(&["GET", "big"]).repeat(4)).expect("sent");
        drop(connection);
    }
    for _ in 0..20 {
        let mut connection = connect(&sojourn);
        connection.send(&encode(&["SET", "written", "before the end"])).expect("sent");
        drop(connection);
    }
    assert_eq!(keeper.call(&["PING"]).expect("a reply"), pong());
    let stored = keeper.call(&["STRLEN", "big"]).expect("a reply");
    assert_eq!(stored.integer(), Some(4 << 20));
}

#[test]
fn a_client_that_reads_nothing_holds_nobody_else_up() {
    let sojourn = Sojourn::in_memory();
    let mut keeper = connect(&sojourn);
    assert_eq!(keeper.call(&["SET", "big", &"x".repeat(1 << 20)]).expect("a reply"), ok());
    let address = sojourn.address();
    let deaf = thread::spawn(move || {
        let mut connection = Connection::open(address).expect("a connection");
        // Far more replies than the buffers between the two can hold.
        let _refused = connection.send(&encode(&["GET", "big"]).repeat(200));
        connection
    });
    for _ in 0..200 {
        assert_eq!(keeper.call(&["PING"]).expect("a reply"), pong());
    }
    drop(deaf.join().expect("no panic"));
    assert_eq!(keeper.call(&["PING"]).expect("a reply"), pong());
}

#[test]
fn an_expiry_beyond_the_year_9999_is_refused() {
    let sojourn = Sojourn::in_memory();
    let mut connection = connect(&sojourn);
    assert_eq!(connection.call(&["SET", "k", "v", "EX", "100"]).expect("a reply"), ok());
    for (words, command) in [
        (vec!["SET", "k", "w", "EXAT", "253402300800"], "set"),
        (vec!["SET", "k", "w", "PXAT", "253402300800000"], "set"),
        (vec!["SET", "k", "w", "EX", "260000000000"], "set"),
        (vec!["SETEX", "k", "260000000000", "w"], "setex"),
        (vec!["PSETEX", "k", "260000000000000", "w"], "psetex"),
        (vec!["GETEX", "k", "EXAT", "253402300800"], "getex"),
        (vec!["EXPIRE", "k", "260000000000"], "expire"),
        (vec!["PEXPIRE", "k", "260000000000000"], "pexpire"),
        (vec!["EXPIREAT", "k", "253402300800"], "expireat"),
        (vec!["PEXPIREAT", "k", "253402300800000"], "pexpireat"),
    ] {
        let refusal = error(&format!("ERR invalid expire time in '{command}' command"));
        assert_eq!(connection.call(&words).expect("a reply"), refusal, "{words:?}");
    }
    assert_eq!(connection.call(&["GET", "k"]).expect("a reply").bytes(), Some(&b"v"[..]));
    let left = connection.call(&["TTL", "k"]).expect("a reply").integer();
    assert!(left.is_some_and(|left| (90..=100).contains(&left)), "{left:?}");
}

/// Redis 7.0 does not have WAITAOF: these are the words of Redis 7.2.
#[test]
fn waitaof_refuses_what_redis_7_2_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let stored = Sojourn::start(&format!("sqlite://{}", folder.path().join("sojourn.db").display()), &[]);
    let mut connection = connect(&stored);
    for (words, refusal) in [
        (["2", "0", "0"], "ERR value is out of range, must be between 0 and 1"),
        (["-1", "0", "0"], "ERR value is out of range, must be between 0 and 1"),
        (["a", "0", "0"], "ERR value is not an integer or out of range"),
        (["1", "-1", "0"], "ERR value is out of range, must be positive"),
        (["1", "a", "0"], "ERR value is not an integer or out of range"),
        (["1", "0", "-1"], "ERR timeout is negative"),
        (["1", "0", "a"], "ERR timeout is not an integer or out of range"),
    ] {
        let [local, replicas, timeout] = words;
        assert_eq!(
            connection.call(&["WAITAOF", local, replicas, timeout]).expect("a reply"),
            error(refusal),
            "{words:?}"
        );
    }
    assert_eq!(
        connection.call(&["WAITAOF", "1", "0"]).expect("a reply"),
        error("ERR wrong number of arguments for 'waitaof' command")
    );
    let done = Frame::Aggregate(b'*', Some(vec![Frame::Line(b':', b"1".to_vec()), Frame::Line(b':', b"0".to_vec())]));
    assert_eq!(connection.call(&["SET", "k", "v"]).expect("a reply"), ok());
    for words in [["1", "0", "0"], ["1", "2", "0"], ["0", "0", "0"], ["1", "0", "9223372036854775807"]] {
        let [local, replicas, timeout] = words;
        assert_eq!(connection.call(&["WAITAOF", local, replicas, timeout]).expect("a reply"), done, "{words:?}");
    }
    let refusal = error("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    let forgetful = Sojourn::in_memory();
    assert_eq!(connect(&forgetful).call(&["WAITAOF", "1", "0", "0"]).expect("a reply"), refusal);
}
