//! Whole values: GET, SET and their like. SET decides everything before it changes anything, and what it does not name
//! (a TTL, say) it takes away, as in Redis.

use super::args::{Options, is};
use super::error::CommandError;
use super::expire_options::{Lifetime, TimeForm};
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::clock::Expiry;
use crate::config::EventClass;
use crate::keyspace::{Keys, KeysError};
use crate::protocol::{Reply, Request};

/// The one key of most commands of this family.
pub(super) const FIRST_WORD: KeyPositions = KeyPositions::Range { first: 1, last: 1, step: 1 };
/// Every word is a key.
pub(super) const ALL_WORDS: KeyPositions = KeyPositions::Range { first: 1, last: -1, step: 1 };
const EVERY_OTHER_WORD: KeyPositions = KeyPositions::Range { first: 1, last: -1, step: 2 };

/// The commands over whole values.
pub const ROWS: &[Row] = &[
    Row {
        name: "get",
        syntax: "key",
        summary: "Get the value of a key",
        since: "1.0.0",
        group: Group::String,
        arity: 2,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(get),
    },
    Row {
        name: "set",
        syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        summary: "Set the string value of a key",
        since: "1.0.0",
        group: Group::String,
        arity: -3,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: FIRST_WORD,
        loads: Loads::ValuesIf(returns_old_value),
        handler: Handler::Keys(set),
    },
    Row {
        name: "setex",
        syntax: "key seconds value",
        summary: "Set the value and expiration of a key",
        since: "2.0.0",
        group: Group::String,
        arity: 4,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(setex),
    },
    Row {
        name: "psetex",
        syntax: "key milliseconds value",
        summary: "Set the value and expiration in milliseconds of a key",
        since: "2.6.0",
        group: Group::String,
        arity: 4,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(psetex),
    },
    Row {
        name: "setnx",
        syntax: "key value",
        summary: "Set the value of a key, only if the key does not exist",
        since: "1.0.0",
        group: Group::String,
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: FIRST_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(setnx),
    },
    Row {
        name: "getex",
        syntax: "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        summary: "Get the value of a key and optionally set its expiration",
        since: "6.2.0",
        group: Group::String,
        arity: -2,
        flags: &[Flag::Write, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(getex),
    },
    Row {
        name: "getdel",
        syntax: "key",
        summary: "Get the value of a key and delete the key",
        since: "6.2.0",
        group: Group::String,
        arity: 2,
        flags: &[Flag::Write, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(getdel),
    },
    Row {
        name: "getset",
        syntax: "key value",
        summary: "Set the string value of a key and return its old value",
        since: "1.0.0",
        group: Group::String,
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast, Flag::Access],
        keys: FIRST_WORD,
        loads: Loads::Values,
        handler: Handler::Keys(getset),
    },
    Row {
        name: "mget",
        syntax: "key [key ...]",
        summary: "Get the values of all the given keys",
        since: "1.0.0",
        group: Group::String,
        arity: -2,
        flags: &[Flag::Readonly, Flag::Fast, Flag::Access],
        keys: ALL_WORDS,
        loads: Loads::Values,
        handler: Handler::Keys(mget),
    },
    Row {
        name: "mset",
        syntax: "key value [key value ...]",
        summary: "Set multiple keys to multiple values",
        since: "1.0.1",
        group: Group::String,
        arity: -3,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: EVERY_OTHER_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(mset),
    },
    Row {
        name: "msetnx",
        syntax: "key value [key value ...]",
        summary: "Set multiple keys to multiple values, only if none of the keys exist",
        since: "1.0.1",
        group: Group::String,
        arity: -3,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: EVERY_OTHER_WORD,
        loads: Loads::Never,
        handler: Handler::Keys(msetnx),
    },
];

fn get(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    Ok(value_or_null(keys, &request[1])?)
}

fn set(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let (key, value) = (&request[1], &request[2]);
    let options = SetOptions::read(request)?;
    let expiry = match options.lifetime {
        None | Some(Lifetime::Persist) => Expiry::NEVER,
        Some(Lifetime::Until(form, time)) => form.expiry(time, keys.now_ms(), "set")?,
        Some(Lifetime::Keep) => keys.expiry(key).unwrap_or(Expiry::NEVER),
    };
    let old_value = if options.get { Some(value_or_null(keys, key)?) } else { None };
    let applies = match options.existence {
        None => true,
        Some(Existence::Absent) => keys.expiry(key).is_none(),
        Some(Existence::Present) => keys.expiry(key).is_some(),
    };
    if applies {
        keys.put(key, value, expiry)?;
        keys.notify(EventClass::String, "set", key);
        if matches!(options.lifetime, Some(Lifetime::Until(..))) {
            keys.notify(EventClass::Generic, "expire", key);
        }
        if expiry.is_past(keys.now_ms()) {
            keys.notify(EventClass::Expired, "expired", key);
        }
    }
    Ok(old_value.unwrap_or(if applies { Reply::OK } else { Reply::Null }))
}

/// What must hold of the key for SET to apply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existence {
    /// NX.
    Absent,
    /// XX.
    Present,
}

struct SetOptions<'a> {
    existence: Option<Existence>,
    get: bool,
    lifetime: Option<Lifetime<'a>>,
}

impl<'a> SetOptions<'a> {
    fn read(request: &'a Request) -> Result<Self, CommandError> {
        let mut chosen = Self { existence: None, get: false, lifetime: None };
        let mut options = Options::from(request, 3);
        while let Some(word) = options.next() {
            if let Some(form) = TimeForm::named(word) {
                Lifetime::choose(&mut chosen.lifetime, Lifetime::Until(form, options.value()?))?;
            } else if is(word, "NX") {
                chosen.require(Existence::Absent)?;
            } else if is(word, "XX") {
                chosen.require(Existence::Present)?;
            } else if is(word, "GET") {
                chosen.get = true;
            } else if is(word, "KEEPTTL") {
                Lifetime::choose(&mut chosen.lifetime, Lifetime::Keep)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(chosen)
    }

    fn require(&mut self, existence: Existence) -> Result<(), CommandError> {
        if self.existence.is_some_and(|before| before != existence) {
            return Err(CommandError::Syntax);
        }
        self.existence = Some(existence);
        Ok(())
    }
}

/// Whether a SET must have the old value in memory. A `get` that is some option's value loads one for nothing.
fn returns_old_value(request: &[bytes::Bytes]) -> bool {
    Options::from(request, 3).any(|word| is(word, "GET"))
}

fn setex(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    set_until(keys, request, TimeForm::Seconds, "setex")
}

fn psetex(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    set_until(keys, request, TimeForm::Milliseconds, "psetex")
}

fn set_until(keys: &mut Keys<'_>, request: &Request, form: TimeForm, command: &str) -> CommandResult {
    let expiry = form.expiry(&request[2], keys.now_ms(), command)?;
    keys.put(&request[1], &request[3], expiry)?;
    keys.notify(EventClass::String, "set", &request[1]);
    keys.notify(EventClass::Generic, "expire", &request[1]);
    Ok(Reply::OK)
}

fn setnx(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    if keys.expiry(&request[1]).is_some() {
        return Ok(Reply::Integer(0));
    }
    keys.put(&request[1], &request[2], Expiry::NEVER)?;
    keys.notify(EventClass::String, "set", &request[1]);
    Ok(Reply::Integer(1))
}

fn getex(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let key = &request[1];
    let lifetime = getex_lifetime(request)?;
    // As in Redis, a time is not even read for a key that does not exist.
    let Some(value) = keys.value_to_read(key)? else { return Ok(Reply::Null) };
    let expiry = match lifetime {
        None | Some(Lifetime::Keep) => None,
        Some(Lifetime::Until(form, time)) => Some(form.expiry(time, keys.now_ms(), "getex")?),
        // PERSIST of a key without TTL changes nothing: it must dirty no WATCH.
        Some(Lifetime::Persist) => keys.expiry(key).filter(|old| *old != Expiry::NEVER).map(|_| Expiry::NEVER),
    };
    if let Some(expiry) = expiry {
        keys.set_expiry(key, expiry)?;
        keys.notify(EventClass::Generic, event_of(expiry, keys.now_ms()), key);
    }
    Ok(Reply::Value(value))
}

/// What a new end of a key is called: one that is past is no end but a deletion.
pub(super) fn event_of(expiry: Expiry, now_ms: i64) -> &'static str {
    match expiry {
        Expiry::NEVER => "persist",
        past if past.is_past(now_ms) => "del",
        _later => "expire",
    }
}

fn getex_lifetime(request: &Request) -> Result<Option<Lifetime<'_>>, CommandError> {
    let mut lifetime = None;
    let mut options = Options::from(request, 2);
    while let Some(word) = options.next() {
        if let Some(form) = TimeForm::named(word) {
            Lifetime::choose(&mut lifetime, Lifetime::Until(form, options.value()?))?;
        } else if is(word, "PERSIST") {
            Lifetime::choose(&mut lifetime, Lifetime::Persist)?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok(lifetime)
}

fn getdel(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let value = value_or_null(keys, &request[1])?;
    if keys.delete(&request[1])? {
        keys.notify(EventClass::Generic, "del", &request[1]);
    }
    Ok(value)
}

fn getset(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    let old_value = value_or_null(keys, &request[1])?;
    keys.put(&request[1], &request[2], Expiry::NEVER)?;
    keys.notify(EventClass::String, "set", &request[1]);
    Ok(old_value)
}

fn mget(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    // What is no string is nothing here, as in Redis.
    let mut string_or_null = |key: &[u8]| match value_or_null(keys, key) {
        Err(KeysError::WrongKind) => Ok(Reply::Null),
        value => value,
    };
    let values: Result<_, KeysError> = request[1..].iter().map(|key| string_or_null(key)).collect();
    Ok(Reply::Array(values?))
}

fn mset(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    check_pairs(request, "mset")?;
    put_pairs(keys, request)?;
    Ok(Reply::OK)
}

fn msetnx(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    check_pairs(request, "msetnx")?;
    if request[1..].iter().step_by(2).any(|key| keys.expiry(key).is_some()) {
        return Ok(Reply::Integer(0));
    }
    put_pairs(keys, request)?;
    Ok(Reply::Integer(1))
}

/// Redis calls a key without its value a wrong number of arguments, which no row's arity can say.
fn check_pairs(request: &Request, command: &str) -> Result<(), CommandError> {
    if request.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity { command: command.to_owned() });
    }
    Ok(())
}

fn put_pairs(keys: &mut Keys<'_>, request: &Request) -> Result<(), KeysError> {
    request[1..].chunks_exact(2).try_for_each(|pair| {
        keys.put(&pair[0], &pair[1], Expiry::NEVER)?;
        keys.notify(EventClass::String, "set", &pair[0]);
        Ok(())
    })
}

fn value_or_null(keys: &mut Keys<'_>, key: &[u8]) -> Result<Reply, KeysError> {
    Ok(keys.value_to_read(key)?.map_or(Reply::Null, Reply::Value))
}
