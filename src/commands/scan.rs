//! The whole keyspace: SCAN, KEYS, DBSIZE, RANDOMKEY and the two FLUSHes. A SCAN walks the keyspace's steps in order, so
//! that a key which stays is returned exactly once.

use std::ops::Range;

use bytes::Bytes;

use super::args::{self, Options, is};
use super::error::CommandError;
use super::random::Random;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::glob;
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request, Strings};

/// Keys that one SCAN visits at least, unless COUNT says otherwise (Redis: the same).
pub(super) const COUNT_DEFAULT: usize = 10;
/// Steps that one SCAN takes at most: more than the keyspace has today, since an empty step costs next to nothing and a
/// small keyspace must come whole with the first call, as in Redis. It bounds a call should the steps ever become many.
const STEPS_PER_CALL_MAX: usize = 65_536;

/// The commands over the whole keyspace.
pub const ROWS: &[Row] = &[
    Row {
        name: "scan",
        syntax: "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        summary: "Incrementally iterate the keys space",
        since: "2.8.0",
        group: Group::Generic,
        arity: -2,
        flags: &[Flag::Readonly],
        keys: KeyPositions::Shards,
        loads: Loads::Never,
        handler: Handler::Keys(scan),
    },
    Row {
        name: "keys",
        syntax: "pattern",
        summary: "Find all keys matching the given pattern",
        since: "1.0.0",
        group: Group::Generic,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Dangerous],
        keys: KeyPositions::Shards,
        loads: Loads::Never,
        handler: Handler::Keys(keys_matching),
    },
    Row {
        name: "randomkey",
        syntax: "",
        summary: "Return a random key from the keyspace",
        since: "1.0.0",
        group: Group::Generic,
        arity: 1,
        flags: &[Flag::Readonly],
        keys: KeyPositions::Shards,
        loads: Loads::Never,
        handler: Handler::Keys(randomkey),
    },
    Row {
        name: "dbsize",
        syntax: "",
        summary: "Return the number of keys in the selected database",
        since: "1.0.0",
        group: Group::Server,
        arity: 1,
        flags: &[Flag::Readonly, Flag::Fast],
        keys: KeyPositions::All,
        loads: Loads::Never,
        handler: Handler::Keys(dbsize),
    },
    Row {
        name: "flushdb",
        syntax: "[ASYNC | SYNC]",
        summary: "Remove all keys from the current database",
        since: "1.0.0",
        group: Group::Server,
        arity: -1,
        flags: &[Flag::Write, Flag::Dangerous],
        keys: KeyPositions::All,
        loads: Loads::Never,
        handler: Handler::Keys(flushdb),
    },
    Row {
        name: "flushall",
        syntax: "[ASYNC | SYNC]",
        summary: "Remove all keys from all databases",
        since: "1.0.0",
        group: Group::Server,
        arity: -1,
        flags: &[Flag::Write, Flag::Dangerous],
        keys: KeyPositions::All,
        loads: Loads::Never,
        handler: Handler::Keys(flushall),
    },
];

fn scan(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let first = cursor(&request[1])?;
    let options = ScanOptions::read(request)?;
    let steps = keys.scan_steps();
    let end = steps.min(first.saturating_add(STEPS_PER_CALL_MAX));
    let mut gathered = Gathered::new(options.pattern, options.kind);
    let mut step = first;
    while step < end && gathered.visited < options.count {
        gathered.take_step(keys, step)?;
        step += 1;
    }
    let next = if step < steps { step } else { 0 };
    Ok(Reply::Array(vec![Reply::text(next.to_string()), Reply::Strings(gathered.keys)]))
}

/// Where to go on. Redis reads the empty word as 0, a plus as nothing, and counts down from 2^64 behind a minus.
pub(super) fn cursor(word: &[u8]) -> Result<usize, CommandError> {
    let (is_negative, digits) = match word {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if word.is_empty() {
        return Ok(0);
    }
    let number = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
    let number: Option<u64> = number.and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| CommandError::other("ERR invalid cursor"))?;
    let number = if is_negative { number.wrapping_neg() } else { number };
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

/// How many to visit, at least one.
pub(super) fn count(word: &[u8]) -> Result<usize, CommandError> {
    let count = args::integer(word)?;
    if count < 1 {
        return Err(CommandError::Syntax);
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

struct ScanOptions<'a> {
    pattern: &'a [u8],
    count: usize,
    kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    fn read(request: &'a Request) -> Result<Self, CommandError> {
        let mut chosen = Self { pattern: b"*", count: COUNT_DEFAULT, kind: None };
        let mut options = Options::from(request, 2);
        while let Some(word) = options.next() {
            if is(word, "MATCH") {
                chosen.pattern = options.value()?;
            } else if is(word, "COUNT") {
                chosen.count = count(options.value()?)?;
            } else if is(word, "TYPE") {
                chosen.kind = Some(options.value()?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(chosen)
    }
}

/// The keys that a walk has found so far.
struct Gathered<'a> {
    pattern: &'a [u8],
    takes_any: bool,
    kind: Option<&'a [u8]>,
    visited: usize,
    keys: Strings,
}

impl<'a> Gathered<'a> {
    fn new(pattern: &'a [u8], kind: Option<&'a [u8]>) -> Self {
        Self { pattern, takes_any: glob::matches_all(pattern), kind, visited: 0, keys: Strings::default() }
    }

    fn take_step(&mut self, keys: &mut Keys<'_>, step: usize) -> Result<(), CommandError> {
        keys.scan_step(step, &mut |key, kind| {
            self.visited += 1;
            let fits = self.kind.is_none_or(|name| is(name, kind.name()));
            if fits && (self.takes_any || glob::matches(self.pattern, key)) {
                self.keys.push(key);
            }
        })?;
        Ok(())
    }
}

fn keys_matching(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let mut gathered = Gathered::new(&request[1], None);
    for step in 0..keys.scan_steps() {
        gathered.take_step(keys, step)?;
    }
    Ok(Reply::Strings(gathered.keys))
}

fn randomkey(keys: &mut Keys<'_>, _request: &Request) -> CommandResult {
    let steps = keys.scan_steps();
    let mut random = Random::new();
    let start = random.below(steps);
    let mut key = random_key_of(keys, start..steps, &mut random)?;
    if key.is_none() {
        key = random_key_of(keys, 0..start, &mut random)?;
    }
    Ok(key.map_or(Reply::Null, Reply::Bulk))
}

/// One of the keys of the first step that has any.
fn random_key_of(keys: &mut Keys<'_>, steps: Range<usize>, random: &mut Random) -> Result<Option<Bytes>, CommandError> {
    for step in steps {
        let mut found = Vec::new();
        keys.scan_step(step, &mut |key, _kind| found.push(Bytes::copy_from_slice(key)))?;
        let chosen = random.below(found.len());
        if let Some(key) = found.into_iter().nth(chosen) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn dbsize(keys: &mut Keys<'_>, _request: &Request) -> CommandResult {
    Ok(Reply::Integer(i64::try_from(keys.count()).unwrap_or(i64::MAX)))
}

fn flushdb(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    check_flush(request)?;
    keys.clear(Some(keys.database()))?;
    Ok(Reply::OK)
}

fn flushall(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    check_flush(request)?;
    keys.clear(None)?;
    Ok(Reply::OK)
}

/// ASYNC and SYNC are the same here: the reply waits for the commit either way.
fn check_flush(request: &Request) -> Result<(), CommandError> {
    match request.get(1..).unwrap_or_default() {
        [] => Ok(()),
        [word] if is(word, "ASYNC") || is(word, "SYNC") => Ok(()),
        [_, ..] => Err(CommandError::Syntax),
    }
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_read_as_in_redis() {
        for (word, step) in [
            ("0", 0),
            ("", 0),
            ("+7", 7),
            ("007", 7),
            ("18446744073709551615", usize::MAX),
            ("-1", usize::MAX),
            ("-0", 0),
        ] {
            assert_eq!(cursor(word.as_bytes()), Ok(step), "{word}");
        }
        for word in ["abc", " 1", "1 ", "++1", "+", "-", "--1", "-+1", "+-1", "1.0", "18446744073709551616"] {
            assert!(cursor(word.as_bytes()).is_err(), "{word}");
        }
    }
}
