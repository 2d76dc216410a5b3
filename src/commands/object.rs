//! OBJECT: how a value is kept. It tells what is so here; IDLETIME is missing because nobody counts idle seconds.

use super::encoding;
use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request};

const THIRD_WORD: KeyPositions = KeyPositions::Range { first: 2, last: 2, step: 1 };

/// OBJECT and its subcommands.
pub const ROWS: &[Row] = &[Row {
    name: "object",
    syntax: "",
    summary: "A container for object introspection commands",
    since: "2.2.3",
    group: Group::Generic,
    arity: -2,
    flags: &[],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::Container(SUBCOMMANDS),
}];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "encoding",
        syntax: "key",
        summary: "Inspect the internal encoding of a Redis object",
        since: "2.2.3",
        group: Group::Generic,
        arity: 3,
        flags: &[Flag::Readonly],
        keys: THIRD_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(encoding_of),
    },
    Row {
        name: "freq",
        syntax: "key",
        summary: "Get the logarithmic access frequency counter of a Redis object",
        since: "4.0.0",
        group: Group::Generic,
        arity: 3,
        flags: &[Flag::Readonly],
        keys: THIRD_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(freq),
    },
    Row {
        name: "refcount",
        syntax: "key",
        summary: "Get the number of references to the value of the key",
        since: "2.2.3",
        group: Group::Generic,
        arity: 3,
        flags: &[Flag::Readonly],
        keys: THIRD_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(refcount),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "6.2.0",
        group: Group::Generic,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Keys(help),
    },
];

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

fn encoding_of(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    if !keys.exists(&request[2]) {
        return Ok(Reply::Null);
    }
    let found = keys.any_value(&request[2])?;
    Ok(found.map_or(Reply::Null, |(kind, value)| Reply::text(encoding::of(kind, value))))
}

fn freq(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    if !keys.exists(&request[2]) {
        return Ok(Reply::Null);
    }
    if let Some(reads) = keys.reads_of(&request[2]) {
        return Ok(Reply::Integer(reads.into()));
    }
    Err(CommandError::other(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
         between policies at runtime LRU and LFU data will take some time to adjust.",
    ))
}

fn refcount(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    Ok(if keys.exists(&request[2]) { Reply::Integer(1) } else { Reply::Null })
}

fn help(_keys: &mut Keys<'_>, _request: &Request) -> CommandResult {
    Ok(Reply::Array(HELP.iter().map(|line| Reply::Simple(line)).collect()))
}
