//! Keys as such, whatever their value: DEL, EXISTS, RENAME and their like. Nothing here asks for a value that it does
//! not move: existence is always known.

use super::error::CommandError;
use super::string::{ALL_WORDS, FIRST_WORD};
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::config::EventClass;
use crate::database::Kind;
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request};

const TWO_WORDS: KeyPositions = KeyPositions::Range { first: 1, last: 2, step: 1 };

/// The commands over keys.
pub const ROWS: &[Row] = &[
    Row {
        name: "del",
        syntax: "key [key ...]",
        summary: "Delete a key",
        since: "1.0.0",
        group: Group::Generic,
        arity: -2,
        flags: &[Flag::Write],
        keys: ALL_WORDS,
        loads: Loads::Never,
        handler: Handler::Keys(del),
    },
    Row {
        name: "unlink",
        syntax: "key [key ...]",
        summary: "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking",
        since: "4.0.0",
        group: Group::Generic,
        arity: -2,
        flags: &[Flag::Write, Flag::Fast],
        keys: ALL_WORDS,
        loads: Loads::Never,
        handler: Handler::Keys(del),
    },
    Row {
        name: "exists",
        syntax: "key [key ...]",
        summary: "Determine if a key exists",
        since: "1.0.0",
        group: Group::Generic,
        arity: -2,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: ALL_WORDS,
        loads: Loads::Never,
        handler: Handler::Keys(exists),
    },
    Row {
        name: "touch",
        syntax: "key [key ...]",
        summary: "Alters the last access time of a key(s). Returns the number of existing keys specified",
        since: "3.2.1",
        group: Group::Generic,
        arity: -2,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: ALL_WORDS,
        loads: Loads::Never,
        handler: Handler::Keys(exists),
    },
    Row {
        name: "type",
        syntax: "key",
        summary: "Determine the type stored at key",
        since: "1.0.0",
        group: Group::Generic,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(type_of),
    },
    Row {
        name: "rename",
        syntax: "key newkey",
        summary: "Rename a key",
        since: "1.0.0",
        group: Group::Generic,
        arity: 3,
        flags: &[Flag::Write, Flag::AccessFirst],
        keys: TWO_WORDS,
        loads: Loads::Values,
        handler: Handler::Keys(rename),
    },
    Row {
        name: "renamenx",
        syntax: "key newkey",
        summary: "Rename a key, only if the new key does not exist",
        since: "1.0.0",
        group: Group::Generic,
        arity: 3,
        flags: &[Flag::Write, Flag::Fast, Flag::AccessFirst],
        keys: TWO_WORDS,
        loads: Loads::Values,
        handler: Handler::Keys(renamenx),
    },
];

fn del(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let mut deleted = 0;
    for key in &request[1..] {
        if keys.delete(key)? {
            deleted += 1;
            keys.notify(EventClass::Generic, "del", key);
        }
    }
    Ok(Reply::Integer(deleted))
}

fn exists(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let found = request[1..].iter().map(|key| i64::from(keys.exists_to_read(key))).sum();
    Ok(Reply::Integer(found))
}

fn type_of(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let kind = keys.kind_to_read(&request[1]);
    Ok(Reply::Simple(kind.map_or("none", Kind::name)))
}

fn rename(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    move_key(keys, request)?;
    Ok(Reply::OK)
}

fn renamenx(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    // Redis looks at the source first: a missing one is an error even when the target is taken.
    if keys.expiry(&request[1]).is_some() && keys.expiry(&request[2]).is_some() {
        return Ok(Reply::Integer(0));
    }
    move_key(keys, request)?;
    Ok(Reply::Integer(1))
}

fn move_key(keys: &mut Keys<'_>, request: &Request) -> Result<(), CommandError> {
    let (from, to) = (&request[1], &request[2]);
    let (Some(expiry), Some((kind, value))) = (keys.expiry(from), keys.any_value(from)?) else {
        return Err(CommandError::other("ERR no such key"));
    };
    if from != to {
        let replaces = keys.expiry(to).is_some();
        keys.put_as(to, kind, &value, expiry)?;
        if replaces {
            // To Redis the target is another key, in the place of one that it deletes.
            keys.notify(EventClass::New, "new", to);
        }
        keys.delete(from)?;
        keys.notify(EventClass::Generic, "rename_from", from);
        keys.notify(EventClass::Generic, "rename_to", to);
    }
    Ok(())
}
