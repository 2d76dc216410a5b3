//! Parts of values: APPEND, GETRANGE and their like. A value never grows beyond what one request could set.

use bytes::Bytes;

use super::args;
use super::error::CommandError;
use super::string::FIRST_WORD;
use super::table::{CommandResult, Flag, Group, Handler, Loads, Row};
use crate::clock::Expiry;
use crate::config::EventClass;
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request};

/// The longest value that APPEND and SETRANGE make: Redis's `proto-max-bulk-len`, so that no reply outgrows a bulk.
const VALUE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The commands over parts of values.
pub const ROWS: &[Row] = &[
    Row {
        name: "strlen",
        syntax: "key",
        summary: "Get the length of the value stored in a key",
        since: "2.2.0",
        group: Group::String,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(strlen),
    },
    Row {
        name: "append",
        syntax: "key value",
        summary: "Append a value to a key",
        since: "2.0.0",
        group: Group::String,
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(append),
    },
    Row {
        name: "getrange",
        syntax: "key start end",
        summary: "Get a substring of the string stored at a key",
        since: "2.4.0",
        group: Group::String,
        arity: 4,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(getrange),
    },
    Row {
        name: "substr",
        syntax: "key start end",
        summary: "Get a substring of the string stored at a key",
        since: "1.0.0",
        group: Group::String,
        arity: 4,
        flags: &[Flag::Readonly, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(getrange),
    },
    Row {
        name: "setrange",
        syntax: "key offset value",
        summary: "Overwrite part of a string at key starting at the specified offset",
        since: "2.2.0",
        group: Group::String,
        arity: 4,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(setrange),
    },
];

fn strlen(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let value = keys.value_to_read(&request[1])?;
    Ok(length(value.map_or(0, |value| value.len())))
}

fn append(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let (key, tail) = (&request[1], &request[2]);
    let Some(old) = keys.value(key)? else {
        keys.put(key, tail, Expiry::NEVER)?;
        keys.notify(EventClass::String, "append", key);
        return Ok(length(tail.len()));
    };
    check_length(old.len().saturating_add(tail.len()))?;
    let new = [&old[..], &tail[..]].concat();
    let expiry = keys.expiry(key).unwrap_or(Expiry::NEVER);
    keys.put(key, &new, expiry)?;
    keys.notify(EventClass::String, "append", key);
    Ok(length(new.len()))
}

fn getrange(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let (start, end) = (args::integer(&request[2])?, args::integer(&request[3])?);
    let value = keys.value_to_read(&request[1])?;
    let part = value.as_deref().and_then(|value| slice(value, start, end)).unwrap_or_default();
    Ok(Reply::Bulk(Bytes::copy_from_slice(part)))
}

/// The bytes from `start` to `end`, both included and negative from the end; `None` if there are none.
fn slice(value: &[u8], start: i64, end: i64) -> Option<&[u8]> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let length = i64::try_from(value.len()).ok()?;
    let from_start = |position: i64| if position < 0 { (length + position).max(0) } else { position };
    let first = usize::try_from(from_start(start)).ok()?;
    let last = usize::try_from(from_start(end).min(length - 1)).ok()?;
    value.get(first..=last)
}

fn setrange(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let (key, part) = (&request[1], &request[3]);
    let offset = args::integer(&request[2])?;
    let offset = usize::try_from(offset).map_err(|_negative| CommandError::other("ERR offset is out of range"))?;
    let old = keys.value(key)?;
    let old = old.as_deref().unwrap_or_default();
    if part.is_empty() {
        return Ok(length(old.len()));
    }
    let end = offset.saturating_add(part.len());
    check_length(end)?;
    let mut new = Vec::with_capacity(old.len().max(end));
    new.extend_from_slice(old);
    new.resize(old.len().max(end), 0);
    new[offset..end].copy_from_slice(part);
    let expiry = keys.expiry(key).unwrap_or(Expiry::NEVER);
    keys.put(key, &new, expiry)?;
    keys.notify(EventClass::String, "setrange", key);
    Ok(length(new.len()))
}

fn check_length(bytes: usize) -> Result<(), CommandError> {
    if bytes > VALUE_BYTES_MAX {
        return Err(CommandError::other("ERR string exceeds maximum allowed size (proto-max-bulk-len)"));
    }
    Ok(())
}

fn length(bytes: usize) -> Reply {
    Reply::Integer(i64::try_from(bytes).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::slice;

    #[test]
    fn a_slice_includes_both_ends_and_counts_back_from_the_end() {
        let cases: [(i64, i64, &[u8]); 9] = [
            (0, -1, b"hello"),
            (1, 3, b"ell"),
            (-3, -2, b"ll"),
            (3, 1, b""),
            (-1, -3, b""),
            (0, i64::MAX, b"hello"),
            (i64::MIN, 0, b"h"),
            (i64::MIN, i64::MIN, b"h"),
            (9, 20, b""),
        ];
        for (start, end, part) in cases {
            assert_eq!(slice(b"hello", start, end).unwrap_or_default(), part, "{start} {end}");
        }
        assert_eq!(slice(b"", 0, -1), None);
    }
}
