//! JSON to tables.

use mlua::{Lua, Value};

use super::super::{Watchman, raised};
use super::DEPTH_MAX;

/// What stands at a place of the text.
#[derive(Debug, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// What is wrong.
    Error(&'static str),
}

impl Token {
    /// Its name in lua-cjson's errors.
    const fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::String(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Error(what) => what,
        }
    }
}

/// Why there is no value: a refusal for the script, or Lua's own error.
enum Failure {
    Refused(String),
    Lua(mlua::Error),
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

type Decoded<T> = Result<T, Failure>;

/// The value of a JSON text.
pub(in super::super) fn decode(lua: &Lua, text: &[u8], watchman: &Watchman) -> mlua::Result<Value> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(raised::error(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut parser = Parser { lua, text, at: 0, begin: 0, watchman };
    match parser.whole() {
        Ok(value) => Ok(value),
        Err(Failure::Refused(refusal)) => Err(raised::error(lua, &refusal)),
        Err(Failure::Lua(error)) => Err(error),
    }
}

struct Parser<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    /// What is read next.
    at: usize,
    /// Where the last token began, or where it is wrong.
    begin: usize,
    watchman: &'a Watchman,
}

impl Parser<'_> {
    fn whole(&mut self) -> Decoded<Value> {
        let first = self.next();
        let value = self.value(first, 0)?;
        let found = self.next();
        if found == Token::End { Ok(value) } else { Err(self.expected("the end", &found)) }
    }

    fn expected(&self, what: &str, found: &Token) -> Failure {
        Failure::Refused(format!("Expected {what} but found {} at character {}", found.name(), self.begin + 1))
    }

    fn value(&mut self, token: Token, depth: usize) -> Decoded<Value> {
        if !self.watchman.beat() {
            return Err(Failure::Lua(self.watchman.stop(self.lua)));
        }
        Ok(match token {
            Token::String(text) => Value::String(self.lua.create_string(&text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(yes) => Value::Boolean(yes),
            Token::Null => Value::NULL,
            Token::ObjectBegin => self.object(depth + 1)?,
            Token::ArrayBegin => self.array(depth + 1)?,
            Token::ObjectEnd | Token::ArrayEnd | Token::Colon | Token::Comma | Token::End | Token::Error(_) => {
                return Err(self.expected("value", &token));
            }
        })
    }

    fn descend(&self, depth: usize) -> Decoded<()> {
        if depth <= DEPTH_MAX {
            return Ok(());
        }
        let at = self.at;
        Err(Failure::Refused(format!("Found too many nested data structures ({depth}) at character {at}")))
    }

    fn object(&mut self, depth: usize) -> Decoded<Value> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if token == Token::ObjectEnd {
            return Ok(Value::Table(table));
        }
        loop {
            let Token::String(key) = token else { return Err(self.expected("object key string", &token)) };
            let found = self.next();
            if found != Token::Colon {
                return Err(self.expected("colon", &found));
            }
            let first = self.next();
            let value = self.value(first, depth)?;
            table.raw_set(self.lua.create_string(&key)?, value)?;
            let found = self.next();
            if found == Token::ObjectEnd {
                return Ok(Value::Table(table));
            }
            if found != Token::Comma {
                return Err(self.expected("comma or object end", &found));
            }
            token = self.next();
        }
    }

    fn array(&mut self, depth: usize) -> Decoded<Value> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if token == Token::ArrayEnd {
            return Ok(Value::Table(table));
        }
        for position in 1_i64.. {
            let value = self.value(token, depth)?;
            table.raw_set(position, value)?;
            let found = self.next();
            if found == Token::ArrayEnd {
                break;
            }
            if found != Token::Comma {
                return Err(self.expected("comma or array end", &found));
            }
            token = self.next();
        }
        Ok(Value::Table(table))
    }

    fn next(&mut self) -> Token {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.begin = self.at;
        let Some(byte) = self.text.get(self.at) else { return Token::End };
        let single = match byte {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => return self.number(),
            0 => return Token::End,
            _ => return self.word(),
        };
        self.at += 1;
        single
    }

    fn word(&mut self) -> Token {
        for (word, token) in [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        Token::Error("invalid token")
    }

    fn number(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        let mut end = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        // As much of it as is a number.
        while end > 0 {
            let number = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse().ok());
            if let Some(number) = number {
                self.at += end;
                return Token::Number(number);
            }
            end -= 1;
        }
        Token::Error("invalid number")
    }

    fn string(&mut self) -> Token {
        let mut text = Vec::new();
        let mut at = self.at + 1;
        let wrong = |parser: &mut Self, at: usize, what| {
            parser.begin = at;
            Token::Error(what)
        };
        loop {
            match self.text.get(at) {
                None | Some(0) => return wrong(self, at, "unexpected end of string"),
                Some(b'"') => {
                    self.at = at + 1;
                    return Token::String(text);
                }
                Some(b'\\') => match unescaped(&self.text[at + 1..]) {
                    Ok((letter, bytes)) => {
                        text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        at += 1 + bytes;
                    }
                    Err(what) => return wrong(self, at, what),
                },
                Some(byte) => {
                    text.push(*byte);
                    at += 1;
                }
            }
        }
    }
}

/// What an escape stands for, and how many bytes it takes behind its backslash.
fn unescaped(escape: &[u8]) -> Result<(char, usize), &'static str> {
    let letter = match escape.first() {
        Some(b'u') => return unicode(escape).ok_or("invalid unicode escape code"),
        Some(byte @ (b'"' | b'\\' | b'/')) => char::from(*byte),
        Some(b'b') => '\x08',
        Some(b'f') => '\x0c',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(_) | None => return Err("invalid escape code"),
    };
    Ok((letter, 1))
}

/// `u00e9`, or two of them for what 16 bits do not hold.
fn unicode(escape: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = escape.get(at..at + 5).filter(|digits| digits[0] == b'u')?;
        let digits = digits[1..].iter().map(|digit| char::from(*digit).to_digit(16));
        digits.into_iter().try_fold(0, |unit, digit| Some(unit * 16 + digit?))
    };
    let first: u32 = unit(0)?;
    if !(0xD800..0xDC00).contains(&first) {
        return char::from_u32(first).map(|letter| (letter, 5));
    }
    let second: u32 = (escape.get(5) == Some(&b'\\')).then(|| unit(6))??;
    let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + low).map(|letter| (letter, 11))
}
