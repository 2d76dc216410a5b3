//! MEMORY: what a key takes. It tells what is so here: a value that is not in memory takes none.

use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{args, help};
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request};

/// MEMORY and its subcommands.
pub const ROWS: &[Row] = &[Row {
    name: "memory",
    syntax: "",
    summary: "A container for memory diagnostics commands",
    since: "4.0.0",
    group: Group::Server,
    arity: -2,
    flags: &[],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::Container(SUBCOMMANDS),
}];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "usage",
        syntax: "key [SAMPLES count]",
        summary: "Estimate the memory usage of a key",
        since: "4.0.0",
        group: Group::Server,
        arity: -3,
        flags: &[Flag::Readonly],
        keys: KeyPositions::Range { first: 2, last: 2, step: 1 },
        loads: Loads::Never,
        handler: Handler::Keys(usage),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "4.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Keys(|_keys, _request| Ok(help::reply(HEADING, HELP))),
    },
];

const HEADING: &str = "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
const HELP: &[&str] = &[
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

fn usage(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    for option in request[3..].chunks(2) {
        // Nothing is sampled here: the size of all is known.
        match option {
            [name, count] if name.eq_ignore_ascii_case(b"samples") && args::integer(count)? >= 0 => {}
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(keys.bytes_of(&request[2]).map_or(Reply::Null, Reply::count))
}
