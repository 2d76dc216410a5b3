//! Every command over the wire: the same scripts run against a real Redis and against Sojourn, and the replies must be
//! equal; what no comparison can show is asked for directly.

#![expect(clippy::expect_used, reason = "a test that cannot go on must fail, in its helpers too")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod acl;
mod bad_input;
mod collections;
mod coverage;
mod differential;
mod events;
mod listeners;
mod observation;
mod pipelines;
mod scan;
mod script;
mod scripting;

use std::net::SocketAddr;

use support::redis::Redis;
use support::sojourn::Sojourn;

/// The scripts, a file a family.
const SCRIPTS: &[(&str, &str)] = &[
    ("strings", include_str!("scripts/strings.txt")),
    ("numbers", include_str!("scripts/numbers.txt")),
    ("ranges", include_str!("scripts/ranges.txt")),
    ("hashes", include_str!("scripts/hashes.txt")),
    ("sets", include_str!("scripts/sets.txt")),
    ("types", include_str!("scripts/types.txt")),
    ("keys", include_str!("scripts/keys.txt")),
    ("expiry", include_str!("scripts/expiry.txt")),
    ("keyspace", include_str!("scripts/keyspace.txt")),
    ("transactions", include_str!("scripts/transactions.txt")),
    ("acl", include_str!("scripts/acl.txt")),
    ("connection", include_str!("scripts/connection.txt")),
    ("server", include_str!("scripts/server.txt")),
    ("observation", include_str!("scripts/observation.txt")),
    ("protocol", include_str!("scripts/protocol.txt")),
    ("pubsub", include_str!("scripts/pubsub.txt")),
    ("memory", include_str!("scripts/memory.txt")),
    ("lua", include_str!("scripts/lua.txt")),
];

fn script(name: &str) -> Vec<script::Step> {
    let (name, text) = SCRIPTS.iter().find(|(script, _)| *script == name).expect("a script of that name");
    script::parse(name, text)
}

fn assert_no_differences(found: &[String]) {
    assert!(found.is_empty(), "{} replies differ:\n{}", found.len(), found.join("\n"));
}

fn compare(name: &str, expected: SocketAddr, actual: SocketAddr, protocol: u8) {
    assert_no_differences(&differential::differences(&script(name), expected, actual, protocol));
}

/// A test of one script in one protocol.
macro_rules! replies_equal_redis {
    ($($test:ident: $script:literal in RESP $protocol:literal;)*) => {$(
        #[test]
        fn $test() {
            compare($script, Redis::start().address(), Sojourn::in_memory().address(), $protocol);
        }
    )*};
}

replies_equal_redis! {
    strings_reply_as_redis_does: "strings" in RESP 2;
    strings_reply_as_redis_does_in_resp3: "strings" in RESP 3;
    the_memory_limit_refuses_what_redis_refuses: "memory" in RESP 2;
    numbers_reply_as_redis_does: "numbers" in RESP 2;
    numbers_reply_as_redis_does_in_resp3: "numbers" in RESP 3;
    ranges_reply_as_redis_does: "ranges" in RESP 2;
    ranges_reply_as_redis_does_in_resp3: "ranges" in RESP 3;
    hashes_reply_as_redis_does: "hashes" in RESP 2;
    hashes_reply_as_redis_does_in_resp3: "hashes" in RESP 3;
    sets_reply_as_redis_does: "sets" in RESP 2;
    sets_reply_as_redis_does_in_resp3: "sets" in RESP 3;
    kinds_are_told_apart_as_redis_does: "types" in RESP 2;
    kinds_are_told_apart_as_redis_does_in_resp3: "types" in RESP 3;
    keys_reply_as_redis_does: "keys" in RESP 2;
    keys_reply_as_redis_does_in_resp3: "keys" in RESP 3;
    expiries_reply_as_redis_does: "expiry" in RESP 2;
    expiries_reply_as_redis_does_in_resp3: "expiry" in RESP 3;
    the_keyspace_replies_as_redis_does: "keyspace" in RESP 2;
    the_keyspace_replies_as_redis_does_in_resp3: "keyspace" in RESP 3;
    transactions_reply_as_redis_does: "transactions" in RESP 2;
    transactions_reply_as_redis_does_in_resp3: "transactions" in RESP 3;
    users_may_do_as_redis_lets_them: "acl" in RESP 2;
    users_may_do_as_redis_lets_them_in_resp3: "acl" in RESP 3;
    connections_reply_as_redis_does: "connection" in RESP 2;
    connections_reply_as_redis_does_in_resp3: "connection" in RESP 3;
    the_server_replies_as_redis_does: "server" in RESP 2;
    the_server_replies_as_redis_does_in_resp3: "server" in RESP 3;
    messages_come_as_redis_sends_them: "pubsub" in RESP 2;
    messages_come_as_redis_sends_them_in_resp3: "pubsub" in RESP 3;
    operators_see_what_redis_shows: "observation" in RESP 2;
    operators_see_what_redis_shows_in_resp3: "observation" in RESP 3;
    the_protocol_is_spoken_as_redis_does: "protocol" in RESP 2;
    the_protocol_is_spoken_as_redis_does_in_resp3: "protocol" in RESP 3;
    lua_replies_as_redis_does: "lua" in RESP 2;
    lua_replies_as_redis_does_in_resp3: "lua" in RESP 3;
}

#[test]
fn all_scripts_reply_as_redis_does_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("sojourn.db").display());
    let mut found = Vec::new();
    for (name, _) in SCRIPTS {
        // Each start reads what the former left: the scripts begin with an empty keyspace.
        let sojourn = Sojourn::start(&url, &[]);
        found.extend(differential::differences(&script(name), Redis::start().address(), sojourn.address(), 2));
        let mut connection = support::resp::Connection::open(sojourn.address()).expect("a connection");
        connection.call(&["FLUSHALL"]).expect("a reply");
    }
    assert_no_differences(&found);
}

#[test]
fn redis_replies_as_itself_does() {
    for (name, text) in SCRIPTS {
        // What must differ from Sojourn does not differ from Redis.
        let steps = script::parse(name, text).into_iter();
        let steps: Vec<_> = steps.filter(|step| step.agreement != script::Agreement::Differs).collect();
        let found = differential::differences(&steps, Redis::start().address(), Redis::start().address(), 2);
        assert_no_differences(&found);
    }
}

#[test]
fn a_server_that_answers_otherwise_is_found_out() {
    let (right, wrong) = (Redis::start(), Redis::start());
    let mut connection = support::resp::Connection::open(wrong.address()).expect("a connection");
    connection.call(&["SET", "planted", "1", "EX", "100"]).expect("a reply");
    let lines = "GET planted\nTTL planted\n@~1 TTL planted\n@unordered KEYS *\n@kind GET planted\n@differs PING\n@closed\nGET other";
    let found = differential::differences(&script::parse("planted", lines), right.address(), wrong.address(), 2);
    let all_but_the_last: Vec<_> = (1..=7).map(|line| format!("planted:{line}:")).collect();
    assert_eq!(found.len(), all_but_the_last.len(), "{found:#?}");
    for (difference, place) in found.iter().zip(all_but_the_last) {
        assert!(difference.starts_with(&place), "{difference}");
    }
}
