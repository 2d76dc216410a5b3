//! EVAL and its like, and SCRIPT: which scripts there are. How one runs stands in `execute::script`; this file never
//! touches a key.

use std::sync::Arc;

use bytes::Bytes;

use super::error::CommandError;
use super::execute;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{args, help};
use crate::app::{App, Client};
use crate::lua::script::{Script, Sha, sha_named, sha_of};
use crate::protocol::{Reply, Request};

/// The word that says how many keys follow it.
const COUNT_AT: usize = 2;
const NUMBERED_KEYS: KeyPositions = KeyPositions::Counted { count: COUNT_AT };

const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";

/// EVAL, EVALSHA, EVAL_RO, EVALSHA_RO and SCRIPT.
pub const ROWS: &[Row] = &[
    Row {
        name: "eval",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Execute a Lua script server side",
        since: "2.6.0",
        group: Group::Scripting,
        arity: -3,
        flags: &[Flag::NoScript, Flag::Access],
        keys: NUMBERED_KEYS,
        loads: Loads::Values,
        handler: Handler::Script(by_text),
    },
    Row {
        name: "eval_ro",
        syntax: "script numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Execute a read-only Lua script server side",
        since: "7.0.0",
        group: Group::Scripting,
        arity: -3,
        flags: &[Flag::NoScript, Flag::Readonly, Flag::Access],
        keys: NUMBERED_KEYS,
        loads: Loads::Values,
        handler: Handler::Script(by_text),
    },
    Row {
        name: "evalsha",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Execute a Lua script server side",
        since: "2.6.0",
        group: Group::Scripting,
        arity: -3,
        flags: &[Flag::NoScript, Flag::Access],
        keys: NUMBERED_KEYS,
        loads: Loads::Values,
        handler: Handler::Script(by_name),
    },
    Row {
        name: "evalsha_ro",
        syntax: "sha1 numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Execute a read-only Lua script server side",
        since: "7.0.0",
        group: Group::Scripting,
        arity: -3,
        flags: &[Flag::NoScript, Flag::Readonly, Flag::Access],
        keys: NUMBERED_KEYS,
        loads: Loads::Values,
        handler: Handler::Script(by_name),
    },
    Row {
        name: "script",
        syntax: "",
        summary: "A container for Lua scripts management commands",
        since: "2.6.0",
        group: Group::Scripting,
        arity: -2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Container(SUBCOMMANDS),
    },
];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "exists",
        syntax: "sha1 [sha1 ...]",
        summary: "Check existence of scripts in the script cache",
        since: "2.6.0",
        group: Group::Scripting,
        arity: -3,
        flags: &[Flag::NoScript],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(exists),
    },
    Row {
        name: "flush",
        syntax: "[ASYNC | SYNC]",
        summary: "Remove all the scripts from the script cache",
        since: "2.6.0",
        group: Group::Scripting,
        arity: -2,
        flags: &[Flag::NoScript],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(flush),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "5.0.0",
        group: Group::Scripting,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(show_help),
    },
    Row {
        name: "kill",
        syntax: "",
        summary: "Kill the script currently in execution",
        since: "2.6.0",
        group: Group::Scripting,
        arity: 2,
        flags: &[Flag::NoScript],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(kill),
    },
    Row {
        name: "load",
        syntax: "script",
        summary: "Load the specified Lua script into the script cache",
        since: "2.6.0",
        group: Group::Scripting,
        arity: 3,
        flags: &[Flag::NoScript],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(load),
    },
];

const HELP: &[&str] = &[
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
];

fn show_help(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(help::reply("SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", HELP))
}

/// The keys and the arguments of an EVAL or its like.
///
/// # Errors
/// No number of keys, or one that cannot be.
pub(super) fn keys_and_arguments(request: &Request) -> Result<(&[Bytes], &[Bytes]), CommandError> {
    let rest = &request[COUNT_AT + 1..];
    let count = args::integer(&request[COUNT_AT])?;
    if count > i64::try_from(rest.len()).unwrap_or(i64::MAX) {
        return Err(CommandError::other("ERR Number of keys can't be greater than number of args"));
    }
    let count = usize::try_from(count).map_err(|_| CommandError::other("ERR Number of keys can't be negative"))?;
    Ok(rest.split_at(count))
}

/// The script of an EVAL.
fn by_text(app: &App, request: &Request) -> Result<Arc<Script>, CommandError> {
    keys_and_arguments(request)?;
    if let Some(known) = app.scripts.get(&sha_of(&request[1])) {
        return Ok(known);
    }
    // Of its own memory: the word would keep all that was read with it.
    let script = Script::read(Bytes::copy_from_slice(&request[1])).map_err(CommandError::other)?;
    // What cannot be compiled is not kept.
    execute::compile(&script)?;
    Ok(app.scripts.keep(script))
}

/// The script of an EVALSHA. As in Redis, a word that is too short or too long for a name is told before its keys.
fn by_name(app: &App, request: &Request) -> Result<Arc<Script>, CommandError> {
    let unknown = || CommandError::other(NO_SCRIPT);
    if request[1].len() != 2 * size_of::<Sha>() {
        return Err(unknown());
    }
    keys_and_arguments(request)?;
    sha_named(&request[1]).and_then(|sha| app.scripts.get(&sha)).ok_or_else(unknown)
}

fn exists(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let is_known = |word: &Bytes| sha_named(word).and_then(|sha| app.scripts.get(&sha)).is_some();
    Ok(Reply::Array(request[2..].iter().map(|word| Reply::Integer(is_known(word).into())).collect()))
}

fn load(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let script = Script::read(Bytes::copy_from_slice(&request[2])).map_err(CommandError::other)?;
    execute::compile(&script)?;
    let name = script.hex();
    if !app.scripts.load(script) {
        return Err(CommandError::other(
            "OOM the scripts that SCRIPT LOAD brought take all the room that there is for them",
        ));
    }
    Ok(Reply::text(name))
}

/// Both ways free the same few megabytes.
fn flush(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    match &request[2..] {
        [] => {}
        [mode] if args::is(mode, "ASYNC") || args::is(mode, "SYNC") => {}
        [..] => return Err(CommandError::other("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
    app.scripts.flush();
    Ok(Reply::OK)
}

/// Nothing that a script does is seen before it has ended, so that one that writes can be stopped as well: Redis's
/// UNKILLABLE has no case here.
fn kill(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    if app.scripts.stop_slow() {
        Ok(Reply::OK)
    } else {
        Err(CommandError::other("NOTBUSY No scripts in execution right now."))
    }
}
