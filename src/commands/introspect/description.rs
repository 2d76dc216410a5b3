//! A row as COMMAND INFO and COMMAND DOCS describe it. What it says must follow from the row alone.

use super::super::acl::category;
use super::super::table::{Flag, Handler, KeyPositions, Loads, Row, full_name};
use super::arguments;
use crate::protocol::Reply;

/// The flags under Redis's names, in Redis's order. Redis's others (`allow_busy`, `no_async_loading`) have no
/// meaning here.
const FLAG_NAMES: &[(Flag, &[&str])] = &[
    (Flag::Write, &["write"]),
    (Flag::Readonly, &["readonly"]),
    (Flag::DenyOom, &["denyoom"]),
    (Flag::Admin, &["admin"]),
    (Flag::PubSub, &["pubsub"]),
    (Flag::NoScript, &["noscript"]),
    // Redis can be stale without loading; nothing here can.
    (Flag::Loading, &["loading", "stale"]),
    (Flag::SkipSlowLog, &["skip_slowlog"]),
    (Flag::Fast, &["fast"]),
    (Flag::NoAuth, &["no_auth"]),
    (Flag::NoMulti, &["no_multi"]),
];

/// The ten parts of COMMAND INFO.
pub(super) fn of(row: &'static Row) -> Reply {
    let (first, last, step) = positions(row.keys);
    Reply::Array(vec![
        Reply::text(full_name(row)),
        Reply::Integer(row.arity.into()),
        words(&flags(row)),
        Reply::Integer(first),
        Reply::Integer(last),
        Reply::Integer(step),
        words(&category::of(row).map(|category| category.tag).collect::<Vec<_>>()),
        // Tips are for proxies that spread commands over several servers.
        Reply::Set(Vec::new()),
        Reply::Set(key_specification(row).into_iter().collect()),
        Reply::Set(row.subcommands().iter().map(of).collect()),
    ])
}

/// What COMMAND DOCS says of a command.
pub(super) fn documentation(row: &'static Row) -> Reply {
    let mut parts = vec![
        (Reply::text("summary"), Reply::text(row.summary)),
        (Reply::text("since"), Reply::text(row.since)),
        (Reply::text("group"), Reply::text(row.group.name())),
    ];
    if !row.syntax.is_empty() {
        parts.push((Reply::text("arguments"), arguments::of(row.syntax)));
    }
    if !row.subcommands().is_empty() {
        let documented = |row: &'static Row| (Reply::text(full_name(row)), documentation(row));
        parts.push((Reply::text("subcommands"), Reply::Map(row.subcommands().iter().map(documented).collect())));
    }
    Reply::Map(parts)
}

fn words(words: &[&'static str]) -> Reply {
    Reply::Set(words.iter().map(|word| Reply::Simple(word)).collect())
}

fn flags(row: &Row) -> Vec<&'static str> {
    let mut flags: Vec<_> =
        FLAG_NAMES.iter().filter(|(flag, _)| row.has(*flag)).flat_map(|(_, names)| names.iter().copied()).collect();
    if matches!(row.handler, Handler::Script(_)) {
        // It is shown before what it calls, and not with the others when it has ended.
        flags.push("skip_monitor");
    }
    if matches!(row.keys, KeyPositions::Counted { .. }) {
        flags.extend(["no_mandatory_keys", "movablekeys"]);
    }
    flags
}

/// First key, last key and distance, all zero without keys.
fn positions(keys: KeyPositions) -> (i64, i64, i64) {
    match keys {
        KeyPositions::None | KeyPositions::Counted { .. } | KeyPositions::Shards | KeyPositions::All => (0, 0, 0),
        KeyPositions::Range { first, last, step } => (number(first), last.into(), number(step)),
    }
}

fn number(small: usize) -> i64 {
    i64::try_from(small).unwrap_or(i64::MAX)
}

/// The keys as Redis 7 describes them, the last one of a range counted from the first.
fn key_specification(row: &Row) -> Option<Reply> {
    let (begin, kind, find) = match row.keys {
        KeyPositions::Range { first, last, step } => {
            let last = i64::from(last);
            let last_from_first = if last < 0 { last } else { last - number(first) };
            (first, "range", [("lastkey", last_from_first), ("keystep", number(step)), ("limit", 0)])
        }
        KeyPositions::Counted { count } => (count, "keynum", [("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]),
        KeyPositions::None | KeyPositions::Shards | KeyPositions::All => return None,
    };
    let begin = Reply::Map(vec![(Reply::text("index"), Reply::Integer(number(begin)))]);
    let find = Reply::Map(find.map(|(name, number)| (Reply::text(name), Reply::Integer(number))).into());
    Some(Reply::Map(vec![
        (Reply::text("flags"), words(&key_flags(row))),
        (Reply::text("begin_search"), typed("index", begin)),
        (Reply::text("find_keys"), typed(kind, find)),
    ]))
}

fn typed(kind: &'static str, specification: Reply) -> Reply {
    Reply::Map(vec![(Reply::text("type"), Reply::text(kind)), (Reply::text("spec"), specification)])
}

fn key_flags(row: &Row) -> Vec<&'static str> {
    let reads_values = row.has(Flag::Access) || row.has(Flag::AccessFirst) || matches!(row.loads, Loads::ValuesIf(_));
    [("RW", row.writes_keys()), ("RO", !row.writes_keys()), ("access", reads_values), ("update", row.writes_keys())]
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect()
}
