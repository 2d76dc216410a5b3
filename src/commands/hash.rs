//! Hashes: HSET, HGETALL and their like. A command makes a whole new hash of the old one, which is put as SET puts a string;
//! one that would change nothing puts nothing.

use super::args;
use super::collection_scan::{Chosen, Page};
use super::encoding;
use super::error::CommandError;
use super::scan;
use super::string::FIRST_WORD;
use super::table::{CommandResult, Flag, Group, Handler, Loads, Row};
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request, Shape, Strings};

/// The commands over hashes.
pub const ROWS: &[Row] = &[
    Row {
        name: "hset",
        syntax: "key field value [field value ...]",
        summary: "Set the string value of a hash field",
        since: "2.0.0",
        group: Group::Hash,
        arity: -4,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hset),
    },
    Row {
        name: "hmset",
        syntax: "key field value [field value ...]",
        summary: "Set multiple hash fields to multiple values",
        since: "2.0.0",
        group: Group::Hash,
        arity: -4,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hmset),
    },
    Row {
        name: "hsetnx",
        syntax: "key field value",
        summary: "Set the value of a hash field, only if the field does not exist",
        since: "2.0.0",
        group: Group::Hash,
        arity: 4,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hsetnx),
    },
    Row {
        name: "hget",
        syntax: "key field",
        summary: "Get the value of a hash field",
        since: "2.0.0",
        group: Group::Hash,
        arity: 3,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hget),
    },
    Row {
        name: "hmget",
        syntax: "key field [field ...]",
        summary: "Get the values of all the given hash fields",
        since: "2.0.0",
        group: Group::Hash,
        arity: -3,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hmget),
    },
    Row {
        name: "hgetall",
        syntax: "key",
        summary: "Get all the fields and values in a hash",
        since: "2.0.0",
        group: Group::Hash,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hgetall),
    },
    Row {
        name: "hdel",
        syntax: "key field [field ...]",
        summary: "Delete one or more hash fields",
        since: "2.0.0",
        group: Group::Hash,
        arity: -3,
        flags: &[Flag::Write, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hdel),
    },
    Row {
        name: "hexists",
        syntax: "key field",
        summary: "Determine if a hash field exists",
        since: "2.0.0",
        group: Group::Hash,
        arity: 3,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hexists),
    },
    Row {
        name: "hlen",
        syntax: "key",
        summary: "Get the number of fields in a hash",
        since: "2.0.0",
        group: Group::Hash,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hlen),
    },
    Row {
        name: "hkeys",
        syntax: "key",
        summary: "Get all the fields in a hash",
        since: "2.0.0",
        group: Group::Hash,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hkeys),
    },
    Row {
        name: "hvals",
        syntax: "key",
        summary: "Get all the values in a hash",
        since: "2.0.0",
        group: Group::Hash,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hvals),
    },
    Row {
        name: "hstrlen",
        syntax: "key field",
        summary: "Get the length of the value of a hash field",
        since: "3.2.0",
        group: Group::Hash,
        arity: 3,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hstrlen),
    },
    Row {
        name: "hincrby",
        syntax: "key field increment",
        summary: "Increment the integer value of a hash field by the given number",
        since: "2.0.0",
        group: Group::Hash,
        arity: 4,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hincrby),
    },
    Row {
        name: "hscan",
        syntax: "key cursor [MATCH pattern] [COUNT count]",
        summary: "Incrementally iterate hash fields and associated values",
        since: "2.8.0",
        group: Group::Hash,
        arity: -3,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(hscan),
    },
];

fn hset(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let added = set_fields(keys, request, "hset")?;
    Ok(Reply::count(added))
}

fn hmset(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    set_fields(keys, request, "hmset")?;
    Ok(Reply::OK)
}

/// Sets the fields of a request; answers how many are new.
fn set_fields(keys: &mut Keys<'_>, request: &Request, command: &str) -> Result<usize, CommandError> {
    // Redis calls a field without its value a wrong number of arguments, which no row's arity can say.
    if !request.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity { command: command.to_owned() });
    }
    let key = &request[1];
    let pairs = request[2..].chunks_exact(2).map(|pair| (&*pair[0], &*pair[1]));
    let (hash, added) = keys.hash(key)?.with(pairs);
    keys.put_hash(key, &hash, "hset")?;
    Ok(added)
}

fn hsetnx(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let (key, field) = (&request[1], &request[2]);
    let hash = keys.hash(key)?;
    if hash.get(field).is_some() {
        return Ok(Reply::Integer(0));
    }
    let (hash, _) = hash.with([(&**field, &*request[3])].into_iter());
    keys.put_hash(key, &hash, "hset")?;
    Ok(Reply::Integer(1))
}

fn hget(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let hash = keys.hash_to_read(&request[1])?;
    Ok(Reply::copy_or_null(hash.get(&request[2])))
}

fn hmget(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let hash = keys.hash_to_read(&request[1])?;
    let values = hash.get_each(request[2..].iter().map(|field| &**field));
    Ok(Reply::Array(values.into_iter().map(Reply::copy_or_null).collect()))
}

fn hgetall(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let hash = keys.hash_to_read(&request[1])?;
    let pairs = hash.iter().flat_map(|(field, value)| [field, value]);
    Ok(Reply::Strings(Strings::of(Shape::Map, pairs)))
}

fn hdel(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let key = &request[1];
    let (hash, removed) = keys.hash(key)?.without(request[2..].iter().map(|field| &**field));
    if removed > 0 {
        keys.put_hash(key, &hash, "hdel")?;
    }
    Ok(Reply::count(removed))
}

fn hexists(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let hash = keys.hash_to_read(&request[1])?;
    Ok(Reply::Integer(i64::from(hash.get(&request[2]).is_some())))
}

fn hlen(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    Ok(Reply::count(keys.hash_to_read(&request[1])?.len()))
}

fn hkeys(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let hash = keys.hash_to_read(&request[1])?;
    Ok(Reply::Strings(Strings::of(Shape::Array, hash.iter().map(|(field, _)| field))))
}

fn hvals(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let hash = keys.hash_to_read(&request[1])?;
    Ok(Reply::Strings(Strings::of(Shape::Array, hash.iter().map(|(_, value)| value))))
}

fn hstrlen(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let hash = keys.hash_to_read(&request[1])?;
    Ok(Reply::count(hash.get(&request[2]).map_or(0, <[u8]>::len)))
}

fn hincrby(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let (key, field) = (&request[1], &request[2]);
    let increment = args::integer(&request[3])?;
    let hash = keys.hash(key)?;
    let not_an_integer = || CommandError::other("ERR hash value is not an integer");
    let old = hash.get(field).map_or(Ok(0), |value| args::canonical_integer(value).ok_or_else(not_an_integer))?;
    let new =
        old.checked_add(increment).ok_or_else(|| CommandError::other("ERR increment or decrement would overflow"))?;
    let (hash, _) = hash.with([(&**field, new.to_string().as_bytes())].into_iter());
    keys.put_hash(key, &hash, "hincrby")?;
    Ok(Reply::Integer(new))
}

fn hscan(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let cursor = scan::cursor(&request[2])?;
    let hash = keys.hash_to_read(&request[1])?;
    if hash.is_empty() {
        // As in Redis, the options of a key that does not exist are not even read.
        return Ok(Page::WHOLE.reply(Strings::default()));
    }
    let chosen = Chosen::read(request)?;
    let page = match encoding::is_small_hash(&hash) {
        true => Page::WHOLE,
        false => Page::of(cursor, chosen.count, hash.iter().map(|(field, _)| field)),
    };
    let found = hash.iter().filter(|(field, _)| page.has(field) && chosen.takes(field));
    Ok(page.reply(Strings::of(Shape::Array, found.flat_map(|(field, value)| [field, value]))))
}
