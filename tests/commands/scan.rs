//! SCAN by a client that walks to the end: every key once, small cursors, few calls for a small keyspace.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::resp::{Connection, Frame, encode};
use crate::support::server::Over;
use crate::support::sojourn::Sojourn;

/// The largest cursor that every client can parse.
const CURSOR_MAX: u64 = 1 << 31;

fn filled(address: SocketAddr, keys: usize) -> Connection {
    let mut connection = Connection::open(address).expect("a connection");
    let words = (0..keys).flat_map(|number| [format!("key:{number}"), "v".to_owned()]);
    let words: Vec<_> = std::iter::once("MSET".to_owned()).chain(words).collect();
    assert_eq!(connection.call(&words).expect("a reply"), Frame::Line(b'+', b"OK".to_vec()));
    connection
}

/// All keys that a walk returns, in its order, and how many calls it took.
fn walk(connection: &mut Connection, options: &[&str]) -> (Vec<Vec<u8>>, usize) {
    let (mut cursor, mut keys, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let words: Vec<_> = ["SCAN", &cursor].into_iter().chain(options.iter().copied()).collect();
        let reply = connection.call(&words).expect("a reply");
        let [next, page] = reply.items() else { panic!("no page: {reply:?}") };
        keys.extend(page.items().iter().map(|key| key.bytes().expect("a key").to_vec()));
        calls += 1;
        cursor = String::from_utf8(next.bytes().expect("a cursor").to_vec()).expect("digits");
        let number: u64 = cursor.parse().expect("a number");
        assert!(number < CURSOR_MAX, "the cursor {cursor} is too large for some clients");
        if number == 0 {
            return (keys, calls);
        }
        assert!(calls < 10_000, "the walk does not end");
    }
}

#[test]
fn a_scan_returns_every_key_once_whatever_its_count() {
    let sojourn = Sojourn::in_memory();
    let mut connection = filled(sojourn.address(), 5_000);
    for count in ["1", "7", "100", "1000", "1000000", "9223372036854775807"] {
        let (keys, _) = walk(&mut connection, &["COUNT", count]);
        assert_eq!(keys.len(), 5_000, "COUNT {count}");
        assert_eq!(keys.into_iter().collect::<HashSet<_>>().len(), 5_000, "COUNT {count}");
    }
}

#[test]
fn a_small_keyspace_comes_in_few_calls() {
    let sojourn = Sojourn::in_memory();
    assert_eq!(walk(&mut Connection::open(sojourn.address()).expect("a connection"), &[]), (Vec::new(), 1));
    let mut connection = filled(sojourn.address(), 9);
    assert_eq!(walk(&mut connection, &[]).1, 1);
    let mut connection = filled(sojourn.address(), 1_000);
    assert_eq!(walk(&mut connection, &["COUNT", "1000000"]).1, 1);
    assert!(walk(&mut connection, &["COUNT", "100"]).1 <= 11);
}

#[test]
fn a_scan_with_a_pattern_returns_what_matches_and_nothing_else() {
    let sojourn = Sojourn::in_memory();
    let mut connection = filled(sojourn.address(), 1_000);
    let (keys, _) = walk(&mut connection, &["MATCH", "key:1?", "COUNT", "10"]);
    assert_eq!(keys.len(), 10);
    assert!(keys.iter().all(|key| key.len() == 6 && key.starts_with(b"key:1")));
    assert_eq!(walk(&mut connection, &["TYPE", "hash"]).0.len(), 0);
    assert_eq!(walk(&mut connection, &["TYPE", "string"]).0.len(), 1_000);
}

#[test]
fn keys_that_stay_are_found_once_while_others_come_and_go() {
    let sojourn = Sojourn::in_memory();
    let mut connection = filled(sojourn.address(), 2_000);
    let mut other = Connection::open(sojourn.address()).expect("a connection");
    let mut found = Vec::new();
    let mut cursor = b"0".to_vec();
    for round in 0.. {
        let reply = connection.call(&[b"SCAN", cursor.as_slice(), b"COUNT", b"50"]).expect("a reply");
        found.extend(reply.items()[1].items().iter().filter_map(|key| key.bytes().map(<[u8]>::to_vec)));
        reply.items()[0].bytes().expect("a cursor").clone_into(&mut cursor);
        if cursor == b"0" {
            break;
        }
        for number in 0..50 {
            let name = format!("passing:{round}:{number}");
            other.send(&[encode(&["SET", &name, "v"]), encode(&["DEL", &name])].concat()).expect("sent");
        }
        (0..100).for_each(|_| drop(other.read().expect("a reply")));
    }
    found.retain(|key| key.starts_with(b"key:"));
    assert_eq!(found.len(), 2_000);
    assert_eq!(found.into_iter().collect::<HashSet<_>>().len(), 2_000);
}

/// Such a walk runs on a thread of its own, one at a time: its connection must notice nothing of that.
#[test]
fn walks_over_many_keys_answer_in_their_place_and_all_of_them() {
    const KEYS: usize = 20_000;
    let sojourn = Sojourn::in_memory();
    let address = sojourn.address();
    drop(filled(address, KEYS));
    let walkers: Vec<_> =
        (0..4).map(|walker| std::thread::spawn(move || walk_in_a_pipeline(address, walker, KEYS))).collect();
    walkers.into_iter().for_each(|walker| walker.join().expect("all replies"));
}

fn walk_in_a_pipeline(address: SocketAddr, walker: usize, keys: usize) {
    let mut connection = Connection::open(address).expect("a connection");
    let own = format!("own:{walker}");
    let pipeline = [
        &["CLIENT", "SETNAME", &own][..],
        &["KEYS", "key:*"],
        &["CLIENT", "GETNAME"],
        &["SCAN", "0", "COUNT", "1000000", "MATCH", "key:*"],
        &["SELECT", "1"],
        &["SCAN", "0", "COUNT", "1000000"],
        &["SET", &own, "1"],
        &["KEYS", "own:*"],
        &["SELECT", "0"],
        &["MULTI"],
        &["KEYS", "key:*"],
        &["EXEC"],
    ];
    connection.send(&pipeline.map(encode).concat()).expect("sent");
    let mut reply = || connection.read().expect("a reply");
    let ok = Frame::Line(b'+', b"OK".to_vec());
    assert_eq!(reply(), ok);
    assert_eq!(reply().items().len(), keys);
    assert_eq!(reply().bytes(), Some(own.as_bytes()), "the client is what it was before");
    assert_eq!(reply().items()[1].items().len(), keys);
    assert_eq!(reply(), ok);
    // Others may have put theirs there, but not this one.
    assert!(reply().items()[1].items().iter().all(|key| key.bytes() != Some(own.as_bytes())));
    assert_eq!(reply(), ok);
    assert!(reply().items().iter().any(|key| key.bytes() == Some(own.as_bytes())));
    assert_eq!(reply(), ok);
    assert_eq!(reply(), ok);
    assert_eq!(reply(), Frame::Line(b'+', b"QUEUED".to_vec()));
    assert_eq!(reply().items()[0].items().len(), keys);
}

const STABLE: usize = 2_000;

/// Keys with values of which only some fit into memory, and more that come and go meanwhile.
fn crowded(folder: &Path) -> (Sojourn, Connection) {
    let url = format!("sqlite://{}", folder.join("sojourn.db").display());
    let sojourn = Sojourn::start(&url, &["--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut connection = Connection::open(sojourn.address()).expect("a connection");
    let value = "v".repeat(8_000);
    connection.write_all((0..STABLE).map(|number| encode(&["SET", &format!("stable:{number}"), &value])));
    (sojourn, connection)
}

/// Reads values, which warms some and evicts others, and writes and deletes others' keys if asked to, until it is told to stop.
fn stir(address: SocketAddr, writes: bool, stop: &AtomicBool) {
    let (mut connection, mut number) = (Connection::open(address).expect("a connection"), 0_usize);
    while !stop.load(Ordering::Relaxed) {
        number += 7;
        let value = connection.call(&["GET", &format!("stable:{}", number % STABLE)]).expect("a reply");
        assert_eq!(value.bytes().map(<[u8]>::len), Some(8_000));
        if writes {
            connection.call(&["SET", &format!("other:{number}"), "x"]).expect("a reply");
            connection.call(&["DEL", &format!("other:{}", number.saturating_sub(700))]).expect("a reply");
        }
    }
}

fn stirred(sojourn: &Sojourn, writes: bool, look: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let told = Over(&stop);
        let stirring = scope.spawn(|| stir(sojourn.address(), writes, &stop));
        look();
        drop(told);
        stirring.join().expect("it answers");
    });
}

fn is_stable(key: &&Vec<u8>) -> bool {
    key.starts_with(b"stable:")
}

#[test]
fn what_is_there_all_the_time_is_found_while_others_come_and_go_and_values_are_evicted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sojourn, mut connection) = crowded(folder.path());
    stirred(&sojourn, true, || {
        for _ in 0..5 {
            let (keys, _) = walk(&mut connection, &["COUNT", "100"]);
            let stable: HashSet<_> = keys.iter().filter(is_stable).collect();
            assert_eq!(stable.len(), STABLE, "each is returned at least once");
            let all = connection.call(&["KEYS", "stable:*"]).expect("a reply");
            assert_eq!(all.items().len(), STABLE);
            let any = connection.call(&["RANDOMKEY"]).expect("a reply");
            assert!(
                any.bytes().is_some_and(|key| key.starts_with(b"stable:") || key.starts_with(b"other:")),
                "{any:?}"
            );
            assert!(connection.call(&["DBSIZE"]).expect("a reply").integer() >= Some(STABLE as i64));
        }
    });
    let others = connection.call(&["KEYS", "other:*"]).expect("a reply").items().len();
    let counted = connection.call(&["DBSIZE"]).expect("a reply").integer();
    assert_eq!(counted, Some((STABLE + others) as i64), "nothing changes any more");
    assert!(
        connection.info("evicted_values") > 1_000 && connection.info("cold_loads") > 0,
        "values went cold meanwhile"
    );
}

#[test]
fn an_unchanging_set_is_returned_once_while_its_values_are_evicted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sojourn, mut connection) = crowded(folder.path());
    stirred(&sojourn, false, || {
        for count in ["1", "100", "3000"] {
            let (keys, _) = walk(&mut connection, &["COUNT", count]);
            let different = keys.iter().collect::<HashSet<_>>().len();
            assert_eq!((keys.len(), different), (STABLE, STABLE), "COUNT {count}");
        }
    });
    assert!(connection.info("evicted_values") > 1_000, "values went cold meanwhile");
}
