//! The events of keys: which commands cause which, in which order, as a real Redis says; and when a key's end is told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::differential::Side;
use crate::script;
use crate::script::{Action, Agreement, Step};
use crate::support::redis::Redis;
use crate::support::resp::{Connection, Frame};
use crate::support::sojourn::Sojourn;

/// All events, those of new and of missing keys too.
const ALL: &str = "KEAnm";

/// The key whose event says that all before it have come.
const FENCE: &str = "fence-of-the-test";

/// One server, and one who hears of all that happens there.
struct Heard {
    side: Side,
    listener: Connection,
    fence: Connection,
}

impl Heard {
    fn at(address: SocketAddr) -> Self {
        let mut fence = Connection::open(address).expect("a connection");
        fence.call(&["CONFIG", "SET", "notify-keyspace-events", ALL]).expect("a reply");
        let mut listener = Connection::open(address).expect("a connection");
        listener.call(&["PSUBSCRIBE", "__key*__:*"]).expect("a reply");
        Self { side: Side::new(address, 2), listener, fence }
    }

    /// The channels and messages that a step causes; the ends of keys come at their own time.
    fn events_of(&mut self, step: &Step) -> Vec<String> {
        // A reply that fails to come shows in the comparison of the replies.
        let _reply = self.side.run(step);
        self.events()
    }

    fn events(&mut self) -> Vec<String> {
        self.fence.call(&["SET", FENCE, "1"]).expect("a reply");
        let mut events = Vec::new();
        loop {
            let Frame::Aggregate(_, Some(words)) = self.listener.read().expect("a message") else {
                panic!("no message")
            };
            let text = |at: usize| String::from_utf8_lossy(words[at].bytes().unwrap_or_default()).into_owned();
            let (channel, message) = (text(2), text(3));
            if channel.ends_with(":set") && message == FENCE {
                return events;
            }
            let is_end = channel.ends_with(":expired") || message == "expired";
            if !channel.ends_with(FENCE) && message != FENCE && !is_end {
                events.push(format!("{channel} {message}"));
            }
        }
    }
}

/// Every step of a script after which the events differ.
fn differences(name: &str) -> Vec<String> {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    let (mut right, mut other) = (Heard::at(redis.address()), Heard::at(sojourn.address()));
    let (mut found, mut heard) = (Vec::new(), 0);
    for step in script(name) {
        if let Action::Wait(milliseconds) = step.action {
            std::thread::sleep(Duration::from_millis(milliseconds));
        }
        if step.agreement == Agreement::Differs {
            continue;
        }
        let (expected, actual) = (right.events_of(&step), other.events_of(&step));
        heard += expected.len();
        if expected != actual {
            found.push(format!("{}\n    expected {expected:?}\n    actual   {actual:?}", step.place));
        }
    }
    assert!(heard > 0, "{name} causes no event");
    found
}

/// A test of one script.
macro_rules! events_equal_redis {
    ($($test:ident: $script:literal;)*) => {$(
        #[test]
        fn $test() {
            crate::assert_no_differences(&differences($script));
        }
    )*};
}

events_equal_redis! {
    strings_cause_the_events_of_redis: "strings";
    numbers_cause_the_events_of_redis: "numbers";
    ranges_cause_the_events_of_redis: "ranges";
    hashes_cause_the_events_of_redis: "hashes";
    sets_cause_the_events_of_redis: "sets";
    types_cause_the_events_of_redis: "types";
    keys_cause_the_events_of_redis: "keys";
    expiries_cause_the_events_of_redis: "expiry";
    the_keyspace_causes_the_events_of_redis: "keyspace";
    transactions_cause_the_events_of_redis: "transactions";
}

/// Whoever hears of the ends of keys at a server.
fn listener_to_ends(address: SocketAddr) -> Connection {
    let mut listener = Connection::open(address).expect("a connection");
    listener.call(&["CONFIG", "SET", "notify-keyspace-events", "Ex"]).expect("a reply");
    listener.call(&["SUBSCRIBE", "__keyevent@0__:expired"]).expect("a reply");
    listener
}

/// The key that the next message tells of.
fn next_key(listener: &mut Connection) -> String {
    let message = listener.read().expect("a message");
    String::from_utf8_lossy(message.items()[2].bytes().unwrap_or_default()).into_owned()
}

#[test]
fn the_end_of_a_key_is_told_on_time_and_once_though_nobody_asks_for_it() {
    let sojourn = Sojourn::in_memory();
    let mut listener = listener_to_ends(sojourn.address());
    let mut client = Connection::open(sojourn.address()).expect("a connection");
    let begun = Instant::now();
    for (key, milliseconds) in [("third", "900"), ("first", "300"), ("second", "600")] {
        client.call(&["SET", key, "v", "PX", milliseconds]).expect("a reply");
    }
    for (key, milliseconds) in [("first", 300), ("second", 600), ("third", 900)] {
        assert_eq!(next_key(&mut listener), key);
        let (due, after) = (Duration::from_millis(milliseconds), begun.elapsed());
        assert!(after >= due && after < due + Duration::from_millis(250), "{key} after {after:?}");
    }
    // Once, whoever asks for it afterwards.
    for key in ["first", "second", "third"] {
        client.call(&["GET", key]).expect("a reply");
        client.call(&["SET", key, "v"]).expect("a reply");
    }
    client.call(&["SET", "last", "v", "PX", "1"]).expect("a reply");
    assert_eq!(next_key(&mut listener), "last");
}

#[test]
fn a_message_comes_behind_that_of_an_exec_before_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let sojourn = Sojourn::start(&format!("sqlite://{}", folder.path().join("sojourn.db").display()), &[]);
    let mut listener = Connection::open(sojourn.address()).expect("a connection");
    listener.call(&["SUBSCRIBE", "news"]).expect("a reply");
    let mut client = Connection::open(sojourn.address()).expect("a connection");
    for round in 0..100 {
        let (first, second) = (format!("{round} first"), format!("{round} second"));
        client.call(&["MULTI"]).expect("a reply");
        client.call(&["SET", "k", &first]).expect("a reply");
        client.call(&["PUBLISH", "news", &first]).expect("a reply");
        client.call(&["EXEC"]).expect("a reply");
        assert_eq!(client.call(&["PUBLISH", "news", &second]).expect("a reply").integer(), Some(1));
        assert_eq!((next_key(&mut listener), next_key(&mut listener)), (first, second));
    }
}

#[test]
fn a_channel_is_at_most_as_long_as_a_key() {
    let sojourn = Sojourn::start("memory://", &["--key-bytes-max", "64"]);
    let mut client = Connection::open(sojourn.address()).expect("a connection");
    assert_eq!(client.call(&["PUBLISH", &"c".repeat(64), "x"]).expect("a reply").integer(), Some(0));
    let refused = client.call(&["PUBLISH", &"c".repeat(65), "x"]).expect("a reply");
    assert!(matches!(&refused, Frame::Line(b'-', text) if text.starts_with(b"ERR channel")), "{refused:?}");
}

#[test]
fn a_key_that_has_ended_is_told_of_before_what_takes_its_place() {
    let (redis, sojourn) = (Redis::start(), Sojourn::in_memory());
    ended_then_set(redis.address());
    ended_then_set(sojourn.address());
}

fn ended_then_set(address: SocketAddr) {
    let mut client = Connection::open(address).expect("a connection");
    client.call(&["CONFIG", "SET", "notify-keyspace-events", "KA"]).expect("a reply");
    let mut listener = Connection::open(address).expect("a connection");
    listener.call(&["SUBSCRIBE", "__keyspace@0__:k"]).expect("a reply");
    for _ in 0..50 {
        client.call(&["SET", "k", "v", "PX", "1"]).expect("a reply");
        std::thread::sleep(Duration::from_millis(2));
        client.call(&["SET", "k", "w"]).expect("a reply");
        let events: Vec<String> = (0..4).map(|_| next_key(&mut listener)).collect();
        assert_eq!(events, ["set", "expire", "expired", "set"]);
    }
}
