//! Errors that functions outside of Lua raise. A script sees each as what Redis raises in its place, a table or a string;
//! Lua itself never sees one, so that whoever catches it must ask here.

use mlua::{Function, Lua, MultiValue, Table, Value};

/// What was raised.
#[derive(Debug, thiserror::Error)]
#[error("{line}")]
struct Raised {
    line: String,
    /// Redis raises a table with this line, and not the line.
    is_refusal: bool,
}

/// A refusal of a function of `redis`; the line begins with its code.
pub(super) fn refusal(line: String) -> mlua::Error {
    mlua::Error::external(Raised { line, is_refusal: true })
}

/// An error as Lua's own functions raise it: with the place of the caller.
pub(super) fn error(lua: &Lua, text: &str) -> mlua::Error {
    let place = lua.inspect_stack(1, |debug| {
        let source = debug.source().short_src?.into_owned();
        debug.current_line().filter(|line| *line > 0).map(|line| format!("{source}:{line}: "))
    });
    mlua::Error::external(Raised { line: place.flatten().unwrap_or_default() + text, is_refusal: false })
}

/// What an error that was caught says, and whether it is a refusal.
pub(super) fn told(error: &mlua::Error) -> (String, bool) {
    match raised(error) {
        Some(raised) => (raised.line.clone(), raised.is_refusal),
        None => (super::short(error), false),
    }
}

fn raised(error: &mlua::Error) -> Option<&Raised> {
    if let mlua::Error::CallbackError { cause, .. } = error {
        return raised(cause);
    }
    if let mlua::Error::ExternalError(error) = error { error.downcast_ref() } else { None }
}

/// Functions that raise what others refuse: of Lua, which answer a refusal and then their values, and the host's.
pub(super) fn furnish(lua: &Lua, host: &Table) -> mlua::Result<()> {
    let native = |lua: &Lua, inner: Function| {
        lua.create_function(move |_, arguments: MultiValue| {
            let mut values: MultiValue = inner.call(arguments)?;
            match values.pop_front() {
                Some(Value::String(text)) => Err(refusal(format!("ERR {}", text.to_string_lossy()))),
                Some(_) | None => Ok(values),
            }
        })
    };
    host.raw_set("native", lua.create_function(native)?)?;
    let calls = host.clone();
    let ask = move |lua: &Lua, is_call: bool| {
        let calls = calls.clone();
        lua.create_function(move |_, mut arguments: MultiValue| {
            arguments.push_front(Value::Boolean(is_call));
            let reply: Value = calls.raw_get::<Function>("call")?.call(arguments)?;
            if let Value::Table(table) = &reply
                && let Value::String(line) = table.raw_get("err")?
            {
                return Err(refusal(line.to_string_lossy()));
            }
            Ok(reply)
        })
    };
    host.raw_set("ask", lua.create_function(ask)?)?;
    let tell = |_: &Lua, value: Value| {
        if let Value::Error(error) = &value { Ok(told(error)) } else { Ok((value.to_string()?, false)) }
    };
    host.raw_set("told", lua.create_function(tell)?)
}
