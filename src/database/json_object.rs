//! Which values may live in a session table: JSON objects that PostgreSQL's `json` stores *and* whose every operator
//! can read. What it says yes to must never be refused or stumbled over by PostgreSQL: `sess->'passport'` fails for a
//! whole query when one row holds `\u0000` or half a surrogate pair, although `json` stores both.

/// The deepest nesting. PostgreSQL's parser recurses, and its stack (2 MiB by default) ends at some 6 000 levels; nobody's
/// session comes near this.
const DEPTH_MAX: usize = 512;

/// Whether `value` is a JSON object in valid UTF-8, nested at most 512 deep, without `\u0000` and without an unpaired
/// surrogate escape.
#[must_use]
pub fn is_session_json(value: &[u8]) -> bool {
    let mut reader = Reader { bytes: value, at: 0 };
    // The first byte tells most other values apart before the whole of them is read.
    reader.skip_blanks();
    reader.peek() == Some(b'{') && std::str::from_utf8(value).is_ok() && reader.document().is_some()
}

/// What may come next.
#[derive(Clone, Copy)]
enum Expect {
    Value,
    /// After `[`.
    ValueOrEnd,
    /// After a comma in an object.
    Name,
    /// After `{`.
    NameOrEnd,
    CommaOrEnd,
}

/// The containers that are open: one bit each, set for an object. A stack instead of recursion, so that no value
/// decides how much of ours it takes.
#[derive(Default)]
struct Nesting {
    objects: [u64; DEPTH_MAX / 64],
    depth: usize,
}

impl Nesting {
    fn open(&mut self, is_object: bool) -> Option<()> {
        let word = self.objects.get_mut(self.depth / 64)?;
        let bit = 1 << (self.depth % 64);
        if is_object {
            *word |= bit;
        } else {
            *word &= !bit;
        }
        self.depth += 1;
        Some(())
    }

    fn is_object(&self) -> bool {
        let Some(top) = self.depth.checked_sub(1) else { return false };
        self.objects.get(top / 64).is_some_and(|word| word >> (top % 64) & 1 == 1)
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// One value with blanks around it. `None` as soon as something is wrong.
    fn document(&mut self) -> Option<()> {
        let mut nesting = Nesting::default();
        let mut expect = self.value(&mut nesting)?;
        while nesting.depth > 0 {
            self.skip_blanks();
            expect = match expect {
                Expect::Value => self.value(&mut nesting)?,
                Expect::ValueOrEnd if self.eat(b']') => close(&mut nesting),
                Expect::ValueOrEnd => self.value(&mut nesting)?,
                Expect::NameOrEnd if self.eat(b'}') => close(&mut nesting),
                Expect::Name | Expect::NameOrEnd => self.name()?,
                Expect::CommaOrEnd => self.comma_or_end(&mut nesting)?,
            };
        }
        self.skip_blanks();
        (self.at == self.bytes.len()).then_some(())
    }

    fn value(&mut self, nesting: &mut Nesting) -> Option<Expect> {
        let first = self.next()?;
        match first {
            b'{' => nesting.open(true).map(|()| Expect::NameOrEnd),
            b'[' => nesting.open(false).map(|()| Expect::ValueOrEnd),
            b'"' => self.string().map(|()| Expect::CommaOrEnd),
            b't' => self.word(b"rue").map(|()| Expect::CommaOrEnd),
            b'f' => self.word(b"alse").map(|()| Expect::CommaOrEnd),
            b'n' => self.word(b"ull").map(|()| Expect::CommaOrEnd),
            b'-' => {
                let digit = self.next()?;
                self.number(digit).map(|()| Expect::CommaOrEnd)
            }
            digit => self.number(digit).map(|()| Expect::CommaOrEnd),
        }
    }

    fn name(&mut self) -> Option<Expect> {
        self.expect(b'"')?;
        self.string()?;
        self.skip_blanks();
        self.expect(b':')?;
        Some(Expect::Value)
    }

    fn comma_or_end(&mut self, nesting: &mut Nesting) -> Option<Expect> {
        match (self.next()?, nesting.is_object()) {
            (b',', true) => Some(Expect::Name),
            (b',', false) => Some(Expect::Value),
            (b'}', true) | (b']', false) => Some(close(nesting)),
            (_, true | false) => None,
        }
    }

    /// The rest of a string, up to and with its closing quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.skip_plain();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                control if control < 0x20 => return None,
                _ => {}
            }
        }
    }

    /// Skips, eight at a time, the bytes of a string that mean nothing but themselves. It may stop early, never late.
    fn skip_plain(&mut self) {
        const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
        const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
        while let Some(eight) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
            let eight = u64::from_le_bytes(*eight);
            let quote = eight ^ (LOW * u64::from(b'"'));
            let backslash = eight ^ (LOW * u64::from(b'\\'));
            // A byte's high bit is set when it is a control character, a quote or a backslash. Borrows may set the bit
            // of a higher byte wrongly, never that of the lowest one.
            let stop = (eight.wrapping_sub(LOW * 0x20) & !eight)
                | (quote.wrapping_sub(LOW) & !quote)
                | (backslash.wrapping_sub(LOW) & !backslash);
            let stop = stop & HIGH;
            if stop != 0 {
                self.at += (stop.trailing_zeros() / 8) as usize;
                return;
            }
            self.at += 8;
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => match self.hex4()? {
                0 | 0xDC00..=0xDFFF => None,
                0xD800..=0xDBFF => self.low_surrogate(),
                _ => Some(()),
            },
            _ => None,
        }
    }

    fn low_surrogate(&mut self) -> Option<()> {
        self.word(b"\\u")?;
        (0xDC00..=0xDFFF).contains(&self.hex4()?).then_some(())
    }

    fn hex4(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + char::from(self.next()?).to_digit(16)?;
        }
        Some(unit)
    }

    /// A number whose first digit was read.
    fn number(&mut self, digit: u8) -> Option<()> {
        match digit {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return None,
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let before = self.at;
        self.skip_digits();
        (self.at > before).then_some(())
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        word.iter().try_for_each(|&byte| self.expect(byte))
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

/// A container ended, and with it a value of the one around it.
fn close(nesting: &mut Nesting) -> Expect {
    nesting.close();
    Expect::CommaOrEnd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_session_json() {
        for text in [
            r#"{}"#,
            " \t\r\n{ } ",
            r#"{"cookie":{"maxAge":null},"passport":{"user":1},"list":[[],{},[1,-0,0.5,1e999,2E-3]]}"#,
            r#"{"a":1,"a":2,"":"é 😀 \u00e9 \ud83d\ude00 \uD83D\uDE00"}"#,
            "{\"del\":\"\u{7f}\",\"escapes\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
        ] {
            assert!(is_session_json(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_postgresql_could_not_read_is_not_session_json() {
        for text in [
            "",
            " ",
            "1",
            "[]",
            "\"a\"",
            "null",
            "{",
            "}",
            "{}}",
            "{}{}",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":tru}",
            "{\"a\":truee}",
            "{\"a\":NaN}",
            "{\"a\":[1,]}",
            "{\"a\":[1}}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\\u0000\"}",
            "{\"\\u0000\":1}",
            "{\"a\":\"\\ud83d\"}",
            "{\"a\":\"\\ude00\"}",
            "{\"a\":\"\\ud83d\\ud83d\"}",
            "{\"a\":\"\\ud83dx\"}",
            "{\"a\":1}\0",
            "\u{feff}{}",
            "{\u{a0}}",
            "{\"a\":1 2}",
            "{\"a\":\"",
        ] {
            assert!(!is_session_json(text.as_bytes()), "{text:?}");
        }
        assert!(!is_session_json(b"{\"a\":\"\xff\"}"));
        assert!(!is_session_json(b"{\"a\":\"\xed\xa0\x80\"}"));
    }

    #[test]
    fn nesting_ends_at_512() {
        let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert!(is_session_json(nested(512).as_bytes()));
        assert!(!is_session_json(nested(513).as_bytes()));
        assert!(!is_session_json("{\"a\":[".repeat(1_000_000).as_bytes()));
    }

    #[test]
    fn every_position_of_a_special_byte_is_seen() {
        for length in 0..40 {
            for position in 0..length {
                for (special, good) in
                    [("\\n", true), ("\n", false), ("\u{1f}", false), ("\\", false), ("é", true), (" ", true)]
                {
                    let text =
                        format!("{{\"a\":\"{}{special}{}\"}}", "x".repeat(position), "!".repeat(length - position));
                    assert_eq!(is_session_json(text.as_bytes()), good, "{text:?}");
                }
            }
        }
    }
}
