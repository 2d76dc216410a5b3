//! Values that are numbers: INCR and its like. A number that does not fit is refused; it never wraps or saturates.

use bytes::Bytes;

use super::args;
use super::decimal;
use super::error::CommandError;
use super::string::FIRST_WORD;
use super::table::{CommandResult, Flag, Group, Handler, Loads, Row};
use crate::clock::Expiry;
use crate::config::EventClass;
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request};

/// The commands over numbers.
pub const ROWS: &[Row] = &[
    Row {
        name: "incr",
        syntax: "key",
        summary: "Increment the integer value of a key by one",
        since: "1.0.0",
        group: Group::String,
        arity: 2,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(incr),
    },
    Row {
        name: "incrby",
        syntax: "key increment",
        summary: "Increment the integer value of a key by the given amount",
        since: "1.0.0",
        group: Group::String,
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(incrby),
    },
    Row {
        name: "decr",
        syntax: "key",
        summary: "Decrement the integer value of a key by one",
        since: "1.0.0",
        group: Group::String,
        arity: 2,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(decr),
    },
    Row {
        name: "decrby",
        syntax: "key decrement",
        summary: "Decrement the integer value of a key by the given number",
        since: "1.0.0",
        group: Group::String,
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(decrby),
    },
    Row {
        name: "incrbyfloat",
        syntax: "key increment",
        summary: "Increment the float value of a key by the given amount",
        since: "2.6.0",
        group: Group::String,
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(incrbyfloat),
    },
];

fn incr(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    add(keys, &request[1], 1)
}

fn incrby(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let increment = args::integer(&request[2])?;
    add(keys, &request[1], increment)
}

fn decr(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    add(keys, &request[1], -1)
}

fn decrby(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let decrement = args::integer(&request[2])?;
    let increment = decrement.checked_neg().ok_or_else(|| CommandError::other("ERR decrement would overflow"))?;
    add(keys, &request[1], increment)
}

fn add(keys: &mut Keys<'_>, key: &[u8], increment: i64) -> CommandResult {
    let old = keys.value(key)?.map_or(Ok(0), |value| args::integer(&value))?;
    let new =
        old.checked_add(increment).ok_or_else(|| CommandError::other("ERR increment or decrement would overflow"))?;
    put_keeping_expiry(keys, key, new.to_string().as_bytes(), "incrby")?;
    Ok(Reply::Integer(new))
}

fn incrbyfloat(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let key = &request[1];
    let stored = keys.value(key)?;
    let new = decimal::sum(stored.as_deref().unwrap_or(b"0"), &request[2])?;
    put_keeping_expiry(keys, key, new.as_bytes(), "incrbyfloat")?;
    Ok(Reply::Bulk(Bytes::from(new)))
}

fn put_keeping_expiry(keys: &mut Keys<'_>, key: &[u8], value: &[u8], event: &'static str) -> Result<(), CommandError> {
    let expiry = keys.expiry(key).unwrap_or(Expiry::NEVER);
    keys.put(key, value, expiry)?;
    keys.notify(EventClass::String, event, key);
    Ok(())
}
