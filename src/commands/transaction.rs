//! MULTI and its like, as far as they concern one connection. What EXEC and WATCH do to keys, and that commands are
//! queued inside MULTI, stands in `execute`: this file never touches a key.

use super::error::CommandError;
use super::execute;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::{App, Client, Transaction};
use crate::protocol::{Reply, Request};

/// MULTI, EXEC, DISCARD, WATCH and UNWATCH.
pub const ROWS: &[Row] = &[
    Row {
        name: "multi",
        syntax: "",
        summary: "Mark the start of a transaction block",
        since: "1.2.0",
        group: Group::Transactions,
        arity: 1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::Unqueued],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(multi),
    },
    Row {
        name: "exec",
        syntax: "",
        summary: "Execute all commands issued after MULTI",
        since: "1.2.0",
        group: Group::Transactions,
        arity: 1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Unqueued, Flag::SkipSlowLog],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Exec,
    },
    Row {
        name: "discard",
        syntax: "",
        summary: "Discard all commands issued after MULTI",
        since: "2.0.0",
        group: Group::Transactions,
        arity: 1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::Unqueued],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(discard),
    },
    Row {
        name: "watch",
        syntax: "key [key ...]",
        summary: "Watch the given keys to determine execution of the MULTI/EXEC block",
        since: "2.2.0",
        group: Group::Transactions,
        arity: -2,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::Unqueued],
        keys: KeyPositions::Range { first: 1, last: -1, step: 1 },
        loads: Loads::Never,
        handler: Handler::Client(execute::watch),
    },
    Row {
        name: "unwatch",
        syntax: "",
        summary: "Forget about all watched keys",
        since: "2.2.0",
        group: Group::Transactions,
        arity: 1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(unwatch),
    },
];

fn multi(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    if client.transaction.is_some() {
        return Err(CommandError::other("ERR MULTI calls can not be nested"));
    }
    client.transaction = Some(Transaction::default());
    client.info.note_queued(Some(0));
    Ok(Reply::OK)
}

fn discard(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    if client.transaction.is_none() {
        return Err(CommandError::other("ERR DISCARD without MULTI"));
    }
    abandon(client);
    Ok(Reply::OK)
}

fn unwatch(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    client.watch.clear();
    Ok(Reply::OK)
}

/// Drops the transaction and the watched keys, as DISCARD and RESET do.
pub(super) fn abandon(client: &mut Client) {
    client.transaction = None;
    client.watch.clear();
    client.info.note_queued(None);
}
