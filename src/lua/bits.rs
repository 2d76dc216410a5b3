//! The library `bit`: operations on 32 bits.

use mlua::{Lua, MultiValue, Table, Value};

use super::raised;

/// An operation on these words; which argument is no number is told by its position.
type Operation = fn(&[i32]) -> i32;

const OPERATIONS: &[(&str, usize, Operation)] = &[
    ("tobit", 1, |words| words[0]),
    ("bnot", 1, |words| !words[0]),
    ("bswap", 1, |words| words[0].swap_bytes()),
    ("band", 1, |words| words.iter().fold(-1, |all, word| all & word)),
    ("bor", 1, |words| words.iter().fold(0, |all, word| all | word)),
    ("bxor", 1, |words| words.iter().fold(0, |all, word| all ^ word)),
    ("lshift", 2, |words| words[0].wrapping_shl(distance(words[1]))),
    ("rshift", 2, |words| words[0].cast_unsigned().wrapping_shr(distance(words[1])).cast_signed()),
    ("arshift", 2, |words| words[0].wrapping_shr(distance(words[1]))),
    ("rol", 2, |words| words[0].rotate_left(distance(words[1]))),
    ("ror", 2, |words| words[0].rotate_right(distance(words[1]))),
];

const fn distance(word: i32) -> u32 {
    word.cast_unsigned() & 31
}

/// The functions of the library.
pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    for (name, words_min, operation) in OPERATIONS {
        let function = move |lua: &Lua, arguments: MultiValue| {
            words(lua, name, &arguments, *words_min).map(|words| f64::from(operation(&words)))
        };
        library.raw_set(*name, lua.create_function(function)?)?;
    }
    library.raw_set("tohex", lua.create_function(to_hex)?)?;
    Ok(library)
}

fn words(lua: &Lua, name: &str, arguments: &MultiValue, words_min: usize) -> mlua::Result<Vec<i32>> {
    let mut words = Vec::with_capacity(arguments.len());
    for position in 0..arguments.len().max(words_min) {
        let value = arguments.get(position);
        let number = value.and_then(|value| lua.coerce_number(value.clone()).ok().flatten());
        let Some(number) = number else {
            let got = value.map_or("no value", Value::type_name);
            let refusal = format!("bad argument #{} to '{name}' (number expected, got {got})", position + 1);
            return Err(raised::error(lua, &refusal));
        };
        words.push(word(number));
    }
    Ok(words)
}

/// A number modulo 2^32.
fn word(number: f64) -> i32 {
    const RANGE: f64 = 4_294_967_296.0;
    let rest = number.round_ties_even().rem_euclid(RANGE);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^32 - 1, or no number at all")]
    let rest = rest as u32;
    rest.cast_signed()
}

fn to_hex(lua: &Lua, arguments: MultiValue) -> mlua::Result<String> {
    const DIGITS_MAX: u32 = 8;
    let words = words(lua, "tohex", &arguments, 1)?;
    let digits = words.get(1).copied().unwrap_or(8);
    let text = format!("{:08x}", words[0]);
    let text = if digits < 0 { text.to_ascii_uppercase() } else { text };
    let shown = digits.unsigned_abs().min(DIGITS_MAX) as usize;
    Ok(text[text.len() - shown..].to_owned())
}
