//! The library `cjson`: tables to JSON and back, with the words and the limits of lua-cjson as Redis ships it. It must
//! never build more than a script may have in memory.

mod decode;

use mlua::{Lua, Table, Value};

use super::number::general;
use super::{Watchman, raised};

pub(super) use decode::decode;

/// How deep tables and texts may be nested. Each level takes some of its thread's stack, so that lua-cjson's 1 000 are too many;
/// no session is as deep.
const DEPTH_MAX: usize = 128;

/// Digits of a number, as in lua-cjson.
const DIGITS: usize = 14;

/// A list may have this many times as many places as values before it counts as sparse, once it has more than so many places.
const SPARSE_RATIO: i64 = 2;
const SPARSE_PLACES_MIN: i64 = 10;

/// Why there is no text.
enum Refusal {
    Told(String),
    /// It took too long.
    Stopped,
}

type Encoded = Result<(), Refusal>;

struct Encoder<'w> {
    out: Vec<u8>,
    tables: usize,
    watchman: &'w Watchman,
}

/// A value as JSON.
pub(super) fn encode(lua: &Lua, value: &Value, watchman: &Watchman) -> mlua::Result<mlua::String> {
    let mut encoder = Encoder { out: Vec::new(), tables: 0, watchman };
    match encoder.put(value, 0) {
        Ok(()) => lua.create_string(&encoder.out),
        Err(Refusal::Stopped) => Err(watchman.stop(lua)),
        Err(Refusal::Told(refusal)) => Err(raised::error(lua, &refusal)),
    }
}

impl Encoder<'_> {
    fn put(&mut self, value: &Value, depth: usize) -> Encoded {
        if !self.watchman.beat() {
            return Err(Refusal::Stopped);
        }
        if self.out.len() + self.tables * super::TABLE_BYTES > super::MEMORY_BYTES_MAX {
            return Err(Refusal::Told("not enough memory".to_owned()));
        }
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Boolean(yes) => self.out.extend_from_slice(if *yes { b"true" } else { b"false" }),
            #[expect(clippy::cast_precision_loss, reason = "it was a double before it was read")]
            Value::Integer(number) => self.out.extend_from_slice(general(*number as f64, DIGITS).as_bytes()),
            Value::Number(number) if !number.is_finite() => return Err(refusal("number", "must not be NaN or Inf")),
            Value::Number(number) => self.out.extend_from_slice(general(*number, DIGITS).as_bytes()),
            Value::String(text) => put_string(&text.as_bytes(), &mut self.out),
            Value::Table(table) => return self.put_table(table, depth + 1),
            Value::LightUserData(_)
            | Value::Function(_)
            | Value::Thread(_)
            | Value::UserData(_)
            | Value::Error(_)
            | Value::Other(_) => return Err(refusal(value.type_name(), "type not supported")),
        }
        Ok(())
    }

    fn put_table(&mut self, table: &Table, depth: usize) -> Encoded {
        if depth > DEPTH_MAX {
            return Err(Refusal::Told(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        self.tables += 1;
        match places(table)? {
            Some(places) => {
                self.out.push(b'[');
                for place in 1..=places {
                    if place > 1 {
                        self.out.push(b',');
                    }
                    self.put(&table.raw_get::<Value>(place).unwrap_or(Value::Nil), depth)?;
                }
                self.out.push(b']');
            }
            None => self.put_object(table, depth)?,
        }
        Ok(())
    }

    fn put_object(&mut self, table: &Table, depth: usize) -> Encoded {
        self.out.push(b'{');
        let mut is_first = true;
        for (key, value) in table.pairs::<Value, Value>().filter_map(Result::ok) {
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            if let Value::String(text) = &key {
                put_string(&text.as_bytes(), &mut self.out);
            } else if key.is_number() || key.is_integer() {
                self.out.push(b'"');
                self.put(&key, depth)?;
                self.out.push(b'"');
            } else {
                return Err(refusal(key.type_name(), "table key must be a number or string"));
            }
            self.out.push(b':');
            self.put(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

fn refusal(kind: &str, reason: &str) -> Refusal {
    Refusal::Told(format!("Cannot serialise {kind}: {reason}"))
}

/// How many places a list has; `None` for what is no list.
fn places(table: &Table) -> Result<Option<i64>, Refusal> {
    let (mut last, mut count) = (0, 0);
    for (key, _) in table.pairs::<Value, Value>().filter_map(Result::ok) {
        let Value::Integer(place @ 1..) = key else { return Ok(None) };
        (last, count) = (last.max(place), count + 1);
    }
    if last > count * SPARSE_RATIO && last > SPARSE_PLACES_MIN {
        return Err(refusal("table", "excessively sparse array"));
    }
    Ok((last > 0).then_some(last))
}

fn put_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        let short = match byte {
            b'"' | b'\\' | b'/' => *byte,
            b'\x08' => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            b'\x0c' => b'f',
            b'\r' => b'r',
            0..=31 | 127 => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                continue;
            }
            32..=126 | 128.. => {
                out.push(*byte);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
    out.push(b'"');
}
