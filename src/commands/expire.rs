//! The ends of keys: EXPIRE, TTL, PERSIST and their like. A command that changes nothing calls nothing that changes,
//! so that it dirties no WATCH and costs no commit.

use bytes::Bytes;

use super::args::{Options, is};
use super::error::CommandError;
use super::expire_options::TimeForm;
use super::string::{FIRST_WORD, event_of};
use super::table::{CommandResult, Flag, Group, Handler, Loads, Row};
use crate::clock::Expiry;
use crate::config::EventClass;
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request};

/// TTL and its like for a key that does not exist.
const NO_KEY: i64 = -2;
/// TTL and its like for a key that never ends.
const NO_EXPIRY: i64 = -1;

/// The commands over expiries.
pub const ROWS: &[Row] = &[
    Row {
        name: "expire",
        syntax: "key seconds [NX | XX | GT | LT]",
        summary: "Set a key's time to live in seconds",
        since: "1.0.0",
        group: Group::Generic,
        arity: -3,
        flags: &[Flag::Write, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(expire),
    },
    Row {
        name: "pexpire",
        syntax: "key milliseconds [NX | XX | GT | LT]",
        summary: "Set a key's time to live in milliseconds",
        since: "2.6.0",
        group: Group::Generic,
        arity: -3,
        flags: &[Flag::Write, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(pexpire),
    },
    Row {
        name: "expireat",
        syntax: "key unix-time-seconds [NX | XX | GT | LT]",
        summary: "Set the expiration for a key as a UNIX timestamp",
        since: "1.2.0",
        group: Group::Generic,
        arity: -3,
        flags: &[Flag::Write, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(expireat),
    },
    Row {
        name: "pexpireat",
        syntax: "key unix-time-milliseconds [NX | XX | GT | LT]",
        summary: "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
        since: "2.6.0",
        group: Group::Generic,
        arity: -3,
        flags: &[Flag::Write, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(pexpireat),
    },
    Row {
        name: "ttl",
        syntax: "key",
        summary: "Get the time to live for a key in seconds",
        since: "1.0.0",
        group: Group::Generic,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(ttl),
    },
    Row {
        name: "pttl",
        syntax: "key",
        summary: "Get the time to live for a key in milliseconds",
        since: "2.6.0",
        group: Group::Generic,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(pttl),
    },
    Row {
        name: "expiretime",
        syntax: "key",
        summary: "Get the expiration Unix timestamp for a key",
        since: "7.0.0",
        group: Group::Generic,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(expiretime),
    },
    Row {
        name: "pexpiretime",
        syntax: "key",
        summary: "Get the expiration Unix timestamp for a key in milliseconds",
        since: "7.0.0",
        group: Group::Generic,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(pexpiretime),
    },
    Row {
        name: "persist",
        syntax: "key",
        summary: "Remove the expiration from a key",
        since: "2.2.0",
        group: Group::Generic,
        arity: 2,
        flags: &[Flag::Write, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(persist),
    },
];

fn expire(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    set_end(keys, request, TimeForm::Seconds, "expire")
}

fn pexpire(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    set_end(keys, request, TimeForm::Milliseconds, "pexpire")
}

fn expireat(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    set_end(keys, request, TimeForm::UnixSeconds, "expireat")
}

fn pexpireat(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    set_end(keys, request, TimeForm::UnixMilliseconds, "pexpireat")
}

fn set_end(keys: &mut Keys<'_>, request: &Request, form: TimeForm, command: &str) -> CommandResult {
    let conditions = Conditions::read(request)?;
    let new = form.expiry_or_past(&request[2], keys.now_ms(), command)?;
    let applies = keys.expiry(&request[1]).is_some_and(|old| conditions.allow(old, new));
    let changed = applies && keys.set_expiry(&request[1], new)?;
    if changed {
        keys.notify(EventClass::Generic, event_of(new, keys.now_ms()), &request[1]);
    }
    Ok(Reply::Integer(i64::from(changed)))
}

/// When EXPIRE applies. XX goes with GT or LT; the other pairs exclude each other.
#[derive(Debug, Default)]
struct Conditions {
    without_expiry: bool,
    with_expiry: bool,
    greater: bool,
    less: bool,
}

impl Conditions {
    fn read(request: &Request) -> Result<Self, CommandError> {
        let mut chosen = Self::default();
        for word in Options::from(request, 3) {
            *chosen.named(word).ok_or_else(|| unsupported(word))? = true;
        }
        if chosen.without_expiry && (chosen.with_expiry || chosen.greater || chosen.less) {
            return Err(CommandError::other("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if chosen.greater && chosen.less {
            return Err(CommandError::other("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(chosen)
    }

    fn named(&mut self, word: &[u8]) -> Option<&mut bool> {
        [
            ("NX", &mut self.without_expiry),
            ("XX", &mut self.with_expiry),
            ("GT", &mut self.greater),
            ("LT", &mut self.less),
        ]
        .into_iter()
        .find_map(|(name, condition)| is(word, name).then_some(condition))
    }

    /// A key without TTL ends later than every time, for GT and LT too.
    fn allow(&self, old: Expiry, new: Expiry) -> bool {
        (!self.without_expiry || old == Expiry::NEVER)
            && (!self.with_expiry || old != Expiry::NEVER)
            && (!self.greater || new > old)
            && (!self.less || new < old)
    }
}

fn unsupported(word: &Bytes) -> CommandError {
    CommandError::other(format!("ERR Unsupported option {}", String::from_utf8_lossy(word)))
}

fn ttl(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    show_end(keys, request, |end_ms, now_ms| to_seconds(end_ms - now_ms))
}

fn pttl(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    show_end(keys, request, |end_ms, now_ms| end_ms - now_ms)
}

fn expiretime(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    show_end(keys, request, |end_ms, _now_ms| to_seconds(end_ms))
}

fn pexpiretime(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    show_end(keys, request, |end_ms, _now_ms| end_ms)
}

fn show_end(keys: &mut Keys<'_>, request: &Request, show: fn(i64, i64) -> i64) -> CommandResult {
    let key = &request[1];
    // `exists` counts the hit or miss, which `expiry` does not.
    let expiry = if keys.exists_to_read(key) { keys.expiry(key) } else { None };
    Ok(Reply::Integer(match expiry.map(Expiry::as_ms) {
        None => NO_KEY,
        Some(None) => NO_EXPIRY,
        Some(Some(end_ms)) => show(end_ms, keys.now_ms()),
    }))
}

/// Rounded to the nearest second, as Redis does.
fn to_seconds(ms: i64) -> i64 {
    (ms + 500) / 1000
}

fn persist(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let ends = keys.expiry(&request[1]).is_some_and(|expiry| expiry != Expiry::NEVER);
    let changed = ends && keys.set_expiry(&request[1], Expiry::NEVER)?;
    if changed {
        keys.notify(EventClass::Generic, "persist", &request[1]);
    }
    Ok(Reply::Integer(i64::from(changed)))
}
