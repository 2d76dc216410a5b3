//! Scripts: Lua 5.1 in a box. A state serves one thread; a script in it reaches nothing but what `prelude.lua` shows it,
//! has a bounded memory, and is stopped by a hook that looks every so many instructions whether it may go on. What a
//! script asks for with `redis.call` is done by a [`Host`]; this module must never know what a key is.

mod bits;
mod convert;
mod json;
mod library;
mod number;
mod patterns;
mod raised;
mod random;
pub mod script;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ahash::AHashMap;
use bytes::Bytes;
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};

use self::script::{Script, Sha};
use crate::protocol::Reply;

/// The most bytes that one state may hold: a script that allocates without end gets Lua's own error. Far above what a session
/// script needs, and small enough that a state of each thread does no harm.
pub const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many instructions run between two looks at the clock: some microseconds.
const INSTRUCTIONS_BETWEEN: u32 = 1_000;

/// What a table counts for beside its content when it leaves Lua: one that holds another one twice, which holds another one
/// twice, becomes any number of them, and each takes its time.
const TABLE_BYTES: usize = 512;

/// How many values are gone through between two looks at the clock.
const BEATS_BETWEEN: u32 = 64;

/// How many scripts a state keeps compiled: what an app sends by its text anew each time is compiled once.
const COMPILED_MAX: usize = 256;

const PRELUDE: &str = include_str!("prelude.lua");
const PRELUDE_NAME: &str = "=prelude";
const SCRIPT_NAME: &str = "@user_script";

/// What a script can ask for.
pub trait Host {
    /// `redis.call` and `redis.pcall`: an error is a reply like others.
    fn call(&mut self, words: Vec<Bytes>) -> Reply;

    /// `redis.acl_check_cmd`: whether the script's user may do this; `None` where there is no such command.
    fn allows(&mut self, words: &[Bytes]) -> Option<bool>;
}

/// How long a script may run.
#[derive(Clone, Debug)]
pub enum Limit {
    /// Until then.
    Until(Instant),
    /// Until somebody says so.
    Told(Arc<AtomicBool>),
}

impl Limit {
    fn is_reached(&self) -> bool {
        match self {
            Self::Until(end) => Instant::now() >= *end,
            Self::Told(stop) => stop.load(Ordering::Relaxed),
        }
    }
}

/// The script was stopped at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// What the hook looks at, and what it did.
#[derive(Debug, Default)]
struct Watchman {
    limit: RefCell<Option<Limit>>,
    has_stopped: Cell<bool>,
    beats: Cell<u32>,
}

impl Watchman {
    /// The same for what goes through many values, asked at each: the clock is looked at now and then.
    fn beat(&self) -> bool {
        self.beats.set(self.beats.get().wrapping_add(1));
        !self.beats.get().is_multiple_of(BEATS_BETWEEN) || self.may_go_on()
    }

    fn may_go_on(&self) -> bool {
        !self.limit.borrow().as_ref().is_some_and(Limit::is_reached)
    }

    fn stop(&self, lua: &Lua) -> mlua::Error {
        self.has_stopped.set(true);
        halt(lua)
    }
}

/// From now on each instruction fails, in every coroutine that goes on: a script that catches the error gets no further.
fn halt(lua: &Lua) -> mlua::Error {
    let hook = lua.set_global_hook(HookTriggers::new().every_nth_instruction(1), |lua, _| Err(halt(lua)));
    hook.err().unwrap_or_else(|| mlua::Error::runtime("stopped"))
}

/// A state of Lua.
#[derive(Debug)]
pub struct State {
    lua: Lua,
    /// What scripts see.
    library: Table,
    /// What only the prelude sees.
    host: Table,
    /// Runs a script and catches its error.
    enter: Function,
    compiled: AHashMap<Sha, Function>,
    watchman: Rc<Watchman>,
    /// Whether the script has said `redis.setresp(3)`.
    resp3: Rc<Cell<bool>>,
}

impl State {
    /// A state in which no script has run.
    ///
    /// # Errors
    /// When memory is lacking.
    pub fn new(version: &str) -> mlua::Result<Self> {
        let libraries = StdLib::STRING | StdLib::TABLE | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))?;
        let (library, host) = (lua.create_table()?, lua.create_table()?);
        let resp3 = Rc::new(Cell::new(false));
        let watchman = Rc::<Watchman>::default();
        library::furnish(&lua, &host, version, &resp3, &watchman)?;
        raised::furnish(&lua, &host)?;
        let prelude = lua.load(PRELUDE).set_name(PRELUDE_NAME).into_function()?;
        let enter = prelude.call((&library, &host))?;
        lua.set_memory_limit(MEMORY_BYTES_MAX)?;
        let state = Self { lua, library, host, enter, compiled: AHashMap::new(), watchman, resp3 };
        state.look_every(INSTRUCTIONS_BETWEEN)?;
        Ok(state)
    }

    /// Compiles a script, unless it is compiled.
    ///
    /// # Errors
    /// What is wrong with it, in Redis's words.
    pub fn compile(&mut self, script: &Script) -> Result<Function, String> {
        if let Some(function) = self.compiled.get(&script.sha) {
            return Ok(function.clone());
        }
        if self.compiled.len() >= COMPILED_MAX {
            self.compiled.clear();
        }
        let chunk = self.lua.load(script.code()).set_name(SCRIPT_NAME).set_mode(mlua::ChunkMode::Text);
        let function = chunk.into_function().map_err(|error| {
            let message = if let mlua::Error::SyntaxError { message, .. } = error { message } else { short(&error) };
            format!("ERR Error compiling script (new function): {message}")
        })?;
        self.compiled.insert(script.sha, function.clone());
        Ok(function)
    }

    /// Runs a script.
    ///
    /// # Errors
    /// [`Stopped`] at the limit.
    pub fn run(
        &mut self,
        script: &Script,
        keys: &[Bytes],
        arguments: &[Bytes],
        limit: Limit,
        host: &mut dyn Host,
    ) -> Result<Reply, Stopped> {
        let function = match self.compile(script) {
            Ok(function) => function,
            Err(line) => return Ok(Reply::Error(line)),
        };
        self.resp3.set(false);
        *self.watchman.limit.borrow_mut() = Some(limit);
        let outcome = self.enter(&function, keys, arguments, host);
        let reply = outcome.map(|(returned, value)| match returned {
            true => convert::to_reply(&value, self.resp3.get(), &self.watchman),
            false => uncaught(&value, script),
        });
        *self.watchman.limit.borrow_mut() = None;
        let has_stopped = self.watchman.has_stopped.take();
        self.tidy(has_stopped || reply.is_err());
        if has_stopped {
            return Err(Stopped);
        }
        Ok(reply.unwrap_or_else(|error| Reply::Error(format!("ERR {}", short(&error)))))
    }

    fn enter(
        &self,
        function: &Function,
        keys: &[Bytes],
        arguments: &[Bytes],
        host: &mut dyn Host,
    ) -> mlua::Result<(bool, Value)> {
        self.library.raw_set("KEYS", self.words(keys)?)?;
        self.library.raw_set("ARGV", self.words(arguments)?)?;
        let resp3 = &self.resp3;
        self.lua.scope(move |scope| {
            let call = move |lua: &Lua, mut arguments: MultiValue| {
                let is_call = arguments.pop_front() == Some(Value::Boolean(true));
                ask(lua, host, is_call, &arguments, resp3.get())
            };
            self.host.raw_set("call", scope.create_function_mut(call)?)?;
            self.enter.call(function)
        })
    }

    fn words(&self, words: &[Bytes]) -> mlua::Result<Table> {
        let table = self.lua.create_table_with_capacity(words.len(), 0)?;
        for (word, position) in words.iter().zip(1_i64..) {
            table.raw_set(position, self.lua.create_string(word)?)?;
        }
        Ok(table)
    }

    /// A script that failed may have left much behind, and looks at every instruction.
    fn tidy(&mut self, has_failed: bool) {
        // What the last script held is garbage only once nothing names it.
        let emptied = self.library.raw_set("KEYS", false).and_then(|()| self.library.raw_set("ARGV", false));
        if has_failed || emptied.is_err() || self.lua.used_memory() > MEMORY_BYTES_MAX / 2 {
            self.compiled.clear();
            let looked = self.look_every(INSTRUCTIONS_BETWEEN);
            let collected = self.lua.gc_collect();
            debug_assert!(looked.is_ok() && collected.is_ok());
        }
    }

    fn look_every(&self, instructions: u32) -> mlua::Result<()> {
        let watchman = Rc::clone(&self.watchman);
        self.lua.set_global_hook(HookTriggers::new().every_nth_instruction(instructions), move |lua, _| {
            if watchman.may_go_on() { Ok(VmState::Continue) } else { Err(watchman.stop(lua)) }
        })
    }
}

/// What `redis.call` asks for.
fn ask(lua: &Lua, host: &mut dyn Host, is_call: bool, arguments: &MultiValue, resp3: bool) -> mlua::Result<Value> {
    let refuse = |line: &str| convert::to_lua(lua, Reply::Error(format!("ERR {line}")), resp3);
    if arguments.is_empty() {
        return refuse("Please specify at least one argument for this redis lib call");
    }
    let Some(words) = arguments.iter().map(word).collect::<Option<Vec<Bytes>>>() else {
        return refuse("Lua redis lib command arguments must be strings or integers");
    };
    if is_call {
        return convert::to_lua(lua, host.call(words), resp3);
    }
    match host.allows(&words) {
        Some(allows) => Ok(Value::Boolean(allows)),
        None => refuse("Invalid command passed to redis.acl_check_cmd()"),
    }
}

fn word(value: &Value) -> Option<Bytes> {
    /// All digits of a double, as in Redis.
    const DIGITS: usize = 17;
    if let Value::String(text) = value {
        return Some(Bytes::copy_from_slice(&text.as_bytes()));
    }
    number::of(value).map(|number| number::general(number, DIGITS).into())
}

/// The reply to an error that the script did not catch: what, which script and where.
fn uncaught(value: &Value, script: &Script) -> Reply {
    let told = |position: i64| value.as_table().and_then(|told| told.raw_get::<Value>(position).ok());
    let text = |value: Option<Value>| value.as_ref().and_then(Value::as_string).map(mlua::String::to_string_lossy);
    let own = || value.as_string().map(|text| format!("ERR {}", text.to_string_lossy()));
    let line = text(told(1)).or_else(own).unwrap_or_else(|| "ERR unknown error".to_owned());
    match (text(told(2)), told(3).as_ref().and_then(Value::as_i64)) {
        (Some(source), Some(number)) => Reply::Error(format!("{line} script: {}, on {source}:{number}.", script.hex())),
        (Some(_) | None, _) => Reply::Error(format!("{line} script: {}", script.hex())),
    }
}

/// Without the stack of calls, which is none of a client's business.
fn short(error: &mlua::Error) -> String {
    if let mlua::Error::CallbackError { cause, .. } = error {
        return short(cause);
    }
    if matches!(error, mlua::Error::MemoryError(_)) {
        return "not enough memory".to_owned();
    }
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
