//! A row as COMMAND INFO and COMMAND DOCS describe it. What it says must follow from the row alone.

use super::super::acl::category;
use super::super::table::{Flag, KeyPositions, Loads, Row, full_name};
use super::arguments;
use crate::protocol::Reply;

/// The flags under Redis's names, in Redis's order. Redis's others (`allow_busy`, `no_async_loading`, `skip_slowlog`) have
/// no meaning here.
const FLAG_NAMES: &[(Flag, &[&str])] = &[
    (Flag::Write, &["write"]),
    (Flag::Readonly, &["readonly"]),
    (Flag::DenyOom, &["denyoom"]),
    (Flag::Admin, &["admin"]),
    (Flag::PubSub, &["pubsub"]),
    (Flag::NoScript, &["noscript"]),
    // Redis can be stale without loading; nothing here can.
    (Flag::Loading, &["loading", "stale"]),
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
    FLAG_NAMES.iter().filter(|(flag, _)| row.has(*flag)).flat_map(|(_, names)| names.iter().copied()).collect()
}

/// First key, last key and distance, all zero without keys.
fn positions(keys: KeyPositions) -> (i64, i64, i64) {
    match keys {
        KeyPositions::None | KeyPositions::Shards | KeyPositions::All => (0, 0, 0),
        KeyPositions::Range { first, last, step } => (number(first), last.into(), number(step)),
    }
}

fn number(small: usize) -> i64 {
    i64::try_from(small).unwrap_or(i64::MAX)
}

/// The range of keys as Redis 7 describes it, the last key counted from the first.
fn key_specification(row: &Row) -> Option<Reply> {
    let KeyPositions::Range { first, last, step } = row.keys else { return None };
    let last = i64::from(last);
    let last_from_first = if last < 0 { last } else { last - number(first) };
    let begin = Reply::Map(vec![(Reply::text("index"), Reply::Integer(number(first)))]);
    let find = Reply::Map(vec![
        (Reply::text("lastkey"), Reply::Integer(last_from_first)),
        (Reply::text("keystep"), Reply::Integer(number(step))),
        (Reply::text("limit"), Reply::Integer(0)),
    ]);
    Some(Reply::Map(vec![
        (Reply::text("flags"), words(&key_flags(row))),
        (Reply::text("begin_search"), typed("index", begin)),
        (Reply::text("find_keys"), typed("range", find)),
    ]))
}

fn typed(kind: &'static str, specification: Reply) -> Reply {
    Reply::Map(vec![(Reply::text("type"), Reply::text(kind)), (Reply::text("spec"), specification)])
}

fn key_flags(row: &Row) -> Vec<&'static str> {
    let reads_values = row.has(Flag::Access) || row.has(Flag::AccessFirst) || matches!(row.loads, Loads::ValuesIf(_));
    [
        ("RW", row.has(Flag::Write)),
        ("RO", !row.has(Flag::Write)),
        ("access", reads_values),
        ("update", row.has(Flag::Write)),
    ]
    .into_iter()
    .filter_map(|(name, is_set)| is_set.then_some(name))
    .collect()
}
