//! OBJECT: how a value is kept. It tells what is so here; IDLETIME is missing because nobody counts idle seconds.

use super::args;
use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request};

/// The longest string that Redis keeps in one piece with its header and calls `embstr`.
const EMBEDDED_BYTES_MAX: usize = 44;

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
        handler: Handler::Keys(encoding),
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

fn encoding(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let value = keys.value(&request[2])?;
    Ok(value.map_or(Reply::Null, |value| Reply::text(encoding_of(&value))))
}

/// What Redis calls a string like this. It calls one that APPEND or SETRANGE made `raw` whatever its length, which
/// nothing here remembers.
fn encoding_of(value: &[u8]) -> &'static str {
    if args::canonical_integer(value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED_BYTES_MAX {
        "embstr"
    } else {
        "raw"
    }
}

fn freq(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    if !keys.exists(&request[2]) {
        return Ok(Reply::Null);
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

#[cfg(test)]
mod tests {
    use super::encoding_of;

    #[test]
    fn encodings_follow_redis() {
        assert_eq!(encoding_of(b"-42"), "int");
        assert_eq!(encoding_of(b"042"), "embstr");
        assert_eq!(encoding_of(&[b'a'; 44]), "embstr");
        assert_eq!(encoding_of(&[b'a'; 45]), "raw");
    }
}
