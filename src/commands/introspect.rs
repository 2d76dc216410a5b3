//! COMMAND: the rows over the wire. Flags, ACL categories and key specifications are derived from the rows; nothing about
//! a command is typed again here.

mod arguments;
mod description;

use super::acl::category;
use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{args, help, table};
use crate::app::{App, Client};
use crate::glob;
use crate::protocol::{Reply, Request};

/// COMMAND.
pub const ROWS: &[Row] = &[Row {
    name: "command",
    syntax: "",
    summary: "Get array of Redis command details",
    since: "2.8.13",
    group: Group::Server,
    arity: -1,
    flags: &[Flag::Loading, Flag::Connection],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::ContainerOrAlone(SUBCOMMANDS, describe_all),
}];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "count",
        syntax: "",
        summary: "Get total number of Redis commands",
        since: "2.8.13",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Loading, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(count),
    },
    Row {
        name: "docs",
        syntax: "[command-name [command-name ...]]",
        summary: "Get array of specific Redis command documentation",
        since: "7.0.0",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::Loading, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(document),
    },
    Row {
        name: "getkeys",
        syntax: "command [arg [arg ...]]",
        summary: "Extract keys given a full Redis command",
        since: "2.8.13",
        group: Group::Server,
        arity: -4,
        flags: &[Flag::Loading, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(get_keys),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "5.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Loading, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(show_help),
    },
    Row {
        name: "info",
        syntax: "[command-name [command-name ...]]",
        summary: "Get array of specific Redis command details, or all when no argument is given",
        since: "2.8.13",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::Loading, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(describe),
    },
    Row {
        name: "list",
        syntax: "[FILTERBY MODULE module-name | ACLCAT category | PATTERN pattern]",
        summary: "Get an array of Redis command names",
        since: "7.0.0",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::Loading, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(list),
    },
];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
];

fn show_help(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(help::reply("COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", HELP))
}

fn count(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::Integer(i64::try_from(table::all().count()).unwrap_or(i64::MAX)))
}

fn describe_all(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::Array(table::all().map(description::of).collect()))
}

fn describe(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    if request.len() == 2 {
        return describe_all(app, client, request);
    }
    let describe = |name| table::find_full(name).map_or(Reply::Null, description::of);
    Ok(Reply::Array(request[2..].iter().map(|name| describe(name)).collect()))
}

fn document(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    let documented = |row: &'static Row| (Reply::text(table::full_name(row)), description::documentation(row));
    Ok(Reply::Map(if request.len() == 2 {
        table::all().map(documented).collect()
    } else {
        request[2..].iter().filter_map(|name| table::find_full(name)).map(documented).collect()
    }))
}

fn list(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    let names = |wanted: &dyn Fn(&'static Row) -> bool| {
        Reply::Array(
            table::every_row().filter(|row| wanted(row)).map(|row| Reply::text(table::full_name(row))).collect(),
        )
    };
    match &request[2..] {
        [] => Ok(names(&|_| true)),
        [filter, kind, word] if args::is(filter, "FILTERBY") => {
            let word = word.to_ascii_lowercase();
            if args::is(kind, "PATTERN") {
                Ok(names(&|row| glob::matches(&word, table::full_name(row).as_bytes())))
            } else if args::is(kind, "ACLCAT") {
                let category = category::named(&word);
                Ok(names(&|row| category.is_some_and(|category| (category.contains)(row))))
            } else if args::is(kind, "MODULE") {
                Ok(names(&|_| false))
            } else {
                Err(CommandError::Syntax)
            }
        }
        [..] => Err(CommandError::Syntax),
    }
}

fn get_keys(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    let words = &request[2..];
    let row = table::lookup(words).ok_or_else(|| CommandError::other("ERR Invalid command specified"))?;
    if !matches!(row.keys, KeyPositions::Range { .. } | KeyPositions::Counted { .. }) {
        return Err(CommandError::other("ERR The command has no key arguments"));
    }
    if !row.accepts(words.len()) {
        return Err(CommandError::other("ERR Invalid number of arguments specified for command"));
    }
    Ok(Reply::Array(row.keys.of(words).map(|position| Reply::Bulk(words[position].clone())).collect()))
}
