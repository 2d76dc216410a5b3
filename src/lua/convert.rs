//! Replies to Lua values and back, by Redis's rules. What a script returns is data of a stranger: how deep and how large
//! it may become as a reply is bounded, and no code of the script runs while it is looked at.

use bytes::Bytes;
use mlua::{Lua, Table, Value};

use super::Watchman;
use super::number::{self, truncated};
use crate::protocol::{Reply, Shape};

/// How deep a reply may be nested; Redis allows some two thousand levels, and no client reads as many.
const DEPTH_MAX: usize = 128;

/// The most bytes that a returned value may take as a reply: a table that holds another one twice, which holds another one
/// twice, becomes any number of replies. As much as a script may have in memory.
pub(super) const REPLY_BYTES_MAX: usize = super::MEMORY_BYTES_MAX;

const TOO_DEEP: &str = "ERR reached lua stack limit";
const TOO_LARGE: &str = "ERR the reply of the script is too large";

/// What `redis.call` returns for a reply; `resp3` after `redis.setresp(3)`.
pub(super) fn to_lua(lua: &Lua, reply: Reply, resp3: bool) -> mlua::Result<Value> {
    match reply {
        Reply::Simple(text) => field(lua, "ok", text.as_bytes()),
        Reply::Status(text) => field(lua, "ok", text.as_bytes()),
        Reply::Error(text) => field(lua, "err", text.as_bytes()),
        #[expect(clippy::cast_precision_loss, reason = "a number of Lua 5.1 is a double, as in Redis")]
        Reply::Integer(number) => Ok(Value::Number(number as f64)),
        Reply::Value(bytes) => string(lua, &bytes),
        Reply::Bulk(bytes) => string(lua, &bytes),
        Reply::Null | Reply::NullArray => Ok(if resp3 { Value::Nil } else { Value::Boolean(false) }),
        Reply::Array(items) | Reply::Push(items) | Reply::Frames(items) => list(lua, items.into_iter(), resp3),
        Reply::Strings(strings) => match strings.shape() {
            Shape::Array => list(lua, strings.into_items().map(Reply::Bulk), resp3),
            Shape::Set => to_lua(lua, Reply::Set(strings.into_items().map(Reply::Bulk).collect()), resp3),
            Shape::Map => {
                let mut items = strings.into_items().map(Reply::Bulk);
                let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
                to_lua(lua, Reply::Map(pairs.collect()), resp3)
            }
        },
        Reply::Map(pairs) if resp3 => {
            let map = lua.create_table()?;
            for (key, value) in pairs {
                map.raw_set(to_lua(lua, key, resp3)?, to_lua(lua, value, resp3)?)?;
            }
            within(lua, "map", Value::Table(map))
        }
        Reply::Map(pairs) => list(lua, pairs.into_iter().flat_map(|(key, value)| [key, value]), resp3),
        Reply::Set(items) if resp3 => {
            let set = lua.create_table()?;
            for item in items {
                set.raw_set(to_lua(lua, item, resp3)?, true)?;
            }
            within(lua, "set", Value::Table(set))
        }
        Reply::Set(items) => list(lua, items.into_iter(), resp3),
        Reply::Verbatim(text) if resp3 => {
            let verbatim = lua.create_table()?;
            verbatim.raw_set("format", "txt")?;
            verbatim.raw_set("string", text)?;
            within(lua, "verbatim_string", Value::Table(verbatim))
        }
        Reply::Verbatim(text) => string(lua, text.as_bytes()),
        Reply::Double(number) if resp3 => within(lua, "double", Value::Number(number)),
        Reply::Double(number) => string(lua, number.to_string().as_bytes()),
        Reply::Bool(yes) if resp3 => Ok(Value::Boolean(yes)),
        Reply::Bool(yes) => Ok(Value::Number(u8::from(yes).into())),
        Reply::BigNumber(digits) if resp3 => field(lua, "big_number", &digits),
        Reply::BigNumber(digits) => string(lua, &digits),
    }
}

fn string(lua: &Lua, bytes: &[u8]) -> mlua::Result<Value> {
    Ok(Value::String(lua.create_string(bytes)?))
}

fn field(lua: &Lua, name: &str, text: &[u8]) -> mlua::Result<Value> {
    let text = string(lua, text)?;
    within(lua, name, text)
}

fn within(lua: &Lua, name: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn list(lua: &Lua, items: impl Iterator<Item = Reply>, resp3: bool) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    for (item, position) in items.zip(1_i64..) {
        table.raw_set(position, to_lua(lua, item, resp3)?)?;
    }
    Ok(Value::Table(table))
}

/// What a script returned, as a reply; `resp3` after `redis.setresp(3)`.
pub(super) fn to_reply(value: &Value, resp3: bool, watchman: &Watchman) -> Reply {
    let mut reading = Reading { resp3, bytes_left: REPLY_BYTES_MAX, watchman };
    reading.reply(value, 0).unwrap_or_else(|| Reply::Error(TOO_LARGE.to_owned()))
}

struct Reading<'w> {
    resp3: bool,
    bytes_left: usize,
    watchman: &'w Watchman,
}

impl Reading<'_> {
    /// `None` when the reply becomes too large, or takes too long.
    fn reply(&mut self, value: &Value, depth: usize) -> Option<Reply> {
        if !self.watchman.beat() {
            self.watchman.has_stopped.set(true);
            return None;
        }
        self.bytes_left = self.bytes_left.checked_sub(size_of::<Reply>())?;
        Some(match value {
            Value::String(text) => Reply::Bulk(self.bytes(text)?),
            Value::Boolean(yes) if self.resp3 => Reply::Bool(*yes),
            Value::Boolean(true) => Reply::Integer(1),
            Value::Integer(number) => Reply::Integer(*number),
            Value::Number(number) => Reply::Integer(truncated(*number)),
            Value::Table(_) if depth >= DEPTH_MAX => Reply::Error(TOO_DEEP.to_owned()),
            Value::Table(table) => {
                self.bytes_left = self.bytes_left.checked_sub(super::TABLE_BYTES)?;
                self.table(table, depth)?
            }
            Value::Boolean(false)
            | Value::Nil
            | Value::LightUserData(_)
            | Value::Function(_)
            | Value::Thread(_)
            | Value::UserData(_)
            | Value::Error(_)
            | Value::Other(_) => Reply::Null,
        })
    }

    fn bytes(&mut self, text: &mlua::String) -> Option<Bytes> {
        let text = text.as_bytes();
        self.bytes_left = self.bytes_left.checked_sub(text.len())?;
        Some(Bytes::copy_from_slice(&text))
    }

    /// A table says by one field what it is; without any it is an array.
    fn table(&mut self, table: &Table, depth: usize) -> Option<Reply> {
        let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
        if let Value::String(text) = field("err") {
            return Some(Reply::Error(self.text(&text)?));
        }
        if let Value::String(text) = field("ok") {
            return Some(Reply::Status(self.text(&text)?));
        }
        if let Some(number) = number::of(&field("double")) {
            return Some(Reply::Double(number));
        }
        if let Value::Table(map) = field("map") {
            let pairs = map.pairs::<Value, Value>().filter_map(Result::ok);
            let pairs = pairs.map(|(key, value)| Some((self.reply(&key, depth + 1)?, self.reply(&value, depth + 1)?)));
            return pairs.collect::<Option<_>>().map(Reply::Map);
        }
        if let Value::Table(set) = field("set") {
            let items = set.pairs::<Value, Value>().filter_map(Result::ok);
            return items.map(|(key, _)| self.reply(&key, depth + 1)).collect::<Option<_>>().map(Reply::Set);
        }
        if let Value::String(digits) = field("big_number") {
            return self.bytes(&digits).map(Reply::BigNumber);
        }
        if let Value::Table(verbatim) = field("verbatim_string")
            && let Ok(Value::String(text)) = verbatim.raw_get::<Value>("string")
        {
            return self.text(&text).map(Reply::Verbatim);
        }
        self.array(table, depth)
    }

    /// Up to the first nil.
    fn array(&mut self, table: &Table, depth: usize) -> Option<Reply> {
        let mut items = Vec::new();
        for position in 1_i64.. {
            let item = table.raw_get::<Value>(position).unwrap_or(Value::Nil);
            if item.is_nil() {
                break;
            }
            items.push(self.reply(&item, depth + 1)?);
        }
        Some(Reply::Array(items))
    }

    fn text(&mut self, text: &mlua::String) -> Option<String> {
        self.bytes(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}
