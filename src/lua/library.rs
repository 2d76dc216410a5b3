//! What the prelude is given to build on. None of it may run for long without asking whether it may go on.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{IntoLua as _, IntoLuaMulti as _, Lua, MultiValue, Table, Value};

use super::patterns::{self, Capture, Fault, Found};
use super::random::Random;
use super::{PRELUDE_NAME, SCRIPT_NAME, Watchman, bits, json, number, raised, script};

/// What the prelude is given.
pub(super) fn furnish(
    lua: &Lua,
    host: &Table,
    version: &str,
    resp3: &Rc<Cell<bool>>,
    watchman: &Rc<Watchman>,
) -> mlua::Result<()> {
    let version_number = version.split('.').filter_map(|part| part.parse::<u32>().ok());
    host.raw_set("version_number", version_number.fold(0, |number, part| number << 8 | part))?;
    host.raw_set("version", version)?;
    host.raw_set("null", Value::NULL)?;
    host.raw_set("bits", bits::library(lua)?)?;
    host.raw_set("where", lua.create_function(|lua, ()| Ok(position(lua)))?)?;
    host.raw_set(
        "sha1hex",
        lua.create_function(|_, text: mlua::String| Ok(script::hex(&script::sha_of(&text.as_bytes()))))?,
    )?;
    host.raw_set(
        "error_line",
        lua.create_function(|lua, text: mlua::String| lua.create_string(error_line(&text.as_bytes())))?,
    )?;
    let told = Rc::clone(resp3);
    host.raw_set(
        "setresp",
        lua.create_function(move |_, version: f64| {
            told.set(version > 2.0);
            Ok(())
        })?,
    )?;
    let watching = Rc::clone(watchman);
    host.raw_set(
        "encode",
        lua.create_function(move |lua, arguments: MultiValue| match arguments.front() {
            Some(value) if arguments.len() == 1 => json::encode(lua, value, &watching),
            Some(_) | None => Err(raised::error(lua, "bad argument #1 to 'encode' (expected 1 argument)")),
        })?,
    )?;
    let watching = Rc::clone(watchman);
    host.raw_set("decode", lua.create_function(move |lua, arguments| decode(lua, &arguments, &watching))?)?;
    furnish_patterns(lua, host, watchman)?;
    furnish_random(lua, host)
}

/// Functions that answer a match, nil, or false and a refusal.
fn furnish_patterns(lua: &Lua, host: &Table, watchman: &Rc<Watchman>) -> mlua::Result<()> {
    let (watching, watching_plain) = (Rc::clone(watchman), Rc::clone(watchman));
    let search = move |lua: &Lua, (subject, pattern, place): (mlua::String, mlua::String, usize)| {
        let subject = subject.as_bytes();
        match patterns::search(&subject, &pattern.as_bytes(), place.saturating_sub(1), &|| watching.may_go_on()) {
            Ok(Some(found)) => matched(lua, &subject, &found),
            Ok(None) => Ok(MultiValue::new()),
            Err(fault) => refused(lua, &watching, fault),
        }
    };
    host.raw_set("search", lua.create_function(search)?)?;
    let plain = move |lua: &Lua, (subject, wanted, place): (mlua::String, mlua::String, usize)| {
        let may_go_on = || watching_plain.may_go_on();
        let found =
            patterns::search_plain(&subject.as_bytes(), &wanted.as_bytes(), place.saturating_sub(1), &may_go_on);
        match found {
            Ok(Some(begin)) => (begin + 1).into_lua_multi(lua),
            Ok(None) => Ok(MultiValue::new()),
            Err(fault) => refused(lua, &watching_plain, fault),
        }
    };
    host.raw_set("search_plain", lua.create_function(plain)?)
}

fn matched(lua: &Lua, subject: &[u8], found: &Found) -> mlua::Result<MultiValue> {
    let mut values = (found.begin + 1, found.end).into_lua_multi(lua)?;
    for capture in &found.captures {
        values.push_back(match capture {
            Capture::Bytes(begin, end) => Value::String(lua.create_string(&subject[*begin..*end])?),
            Capture::Place(place) | Capture::Open(place) => (place + 1).into_lua(lua)?,
        });
    }
    Ok(values)
}

fn refused(lua: &Lua, watchman: &Watchman, fault: Fault) -> mlua::Result<MultiValue> {
    match fault {
        Fault::Malformed(words) => (false, words).into_lua_multi(lua),
        Fault::Stopped => Err(watchman.stop(lua)),
    }
}

fn furnish_random(lua: &Lua, host: &Table) -> mlua::Result<()> {
    let random = Rc::new(Random::default());
    let seeded = Rc::clone(&random);
    host.raw_set(
        "random",
        lua.create_function(move |lua, bounds: mlua::Variadic<f64>| {
            random.number(&bounds).map_err(|refusal| raised::error(lua, refusal))
        })?,
    )?;
    #[expect(clippy::cast_possible_truncation, reason = "only 32 bits of a seed count")]
    host.raw_set(
        "randomseed",
        lua.create_function(move |_, seed: f64| {
            seeded.seed(number::truncated(seed) as i32);
            Ok(())
        })?,
    )
}

fn decode(lua: &Lua, arguments: &MultiValue, watchman: &Watchman) -> mlua::Result<Value> {
    let refuse = |why: String| Err(raised::error(lua, &format!("bad argument #1 to 'decode' ({why})")));
    match arguments.front() {
        Some(value) if arguments.len() == 1 => match lua.coerce_string(value.clone())? {
            Some(text) => json::decode(lua, &text.as_bytes(), watchman),
            None => refuse(format!("string expected, got {}", value.type_name())),
        },
        Some(_) | None => refuse("expected 1 argument".to_owned()),
    }
}

/// The nearest line of a script.
fn position(lua: &Lua) -> (String, usize) {
    let mut level = 0;
    loop {
        let place = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let is_script =
                source.what != "C" && source.what != "tail" && source.source.as_deref() != Some(PRELUDE_NAME);
            let text = source.source.map(std::borrow::Cow::into_owned).unwrap_or_default();
            is_script.then(|| (text, debug.current_line().unwrap_or(1)))
        });
        match place {
            // A script whose last act is to call a function of the prelude has left the stack.
            None => return (SCRIPT_NAME.to_owned(), 1),
            Some(Some(place)) => return place,
            Some(None) => level += 1,
        }
    }
}

/// What `redis.error_reply` makes of a text: a code, and what follows it.
fn error_line(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"-").unwrap_or(text).trim_ascii_end();
    if text.contains(&b' ') { text.to_vec() } else { [b"ERR ", text].concat() }
}
