//! Requests typed by hand: one line of words, quoted as Redis's `sdssplitargs` reads them. A byte is never dropped:
//! where Redis's C strings end at a NUL, and its client waits for ever, a NUL is a byte like any other.

use bytes::Bytes;

use super::limits::{ProtocolError, UNBALANCED_QUOTES};

/// The words of a line; none if it is blank.
pub(super) fn split_words(line: &[u8]) -> Result<Vec<Bytes>, ProtocolError> {
    let mut words = Vec::new();
    let mut line = Line { rest: line };
    line.skip_spaces();
    while !line.rest.is_empty() {
        let word = line.word().ok_or_else(|| ProtocolError::from(UNBALANCED_QUOTES))?;
        words.push(Bytes::from(word));
        line.skip_spaces();
    }
    Ok(words)
}

/// What is still to be read of a line. Its functions give `None` where a quote is not closed, or is closed inside a
/// word.
struct Line<'a> {
    rest: &'a [u8],
}

impl Line<'_> {
    fn skip_spaces(&mut self) {
        let spaces = self.rest.iter().take_while(|&&byte| is_space(byte)).count();
        self.rest = self.rest.get(spaces..).unwrap_or_default();
    }

    fn word(&mut self) -> Option<Vec<u8>> {
        let mut word = Vec::new();
        loop {
            match self.next() {
                // Not every space: inside a word, Redis keeps vertical tabs and form feeds.
                None | Some(b' ' | b'\n' | b'\r' | b'\t') => return Some(word),
                Some(b'"') => return self.double_quoted(word),
                Some(b'\'') => return self.single_quoted(word),
                Some(byte) => word.push(byte),
            }
        }
    }

    fn double_quoted(&mut self, mut word: Vec<u8>) -> Option<Vec<u8>> {
        loop {
            match self.next()? {
                b'"' => return self.at_word_end().then_some(word),
                b'\\' => word.push(self.escaped()?),
                byte => word.push(byte),
            }
        }
    }

    fn single_quoted(&mut self, mut word: Vec<u8>) -> Option<Vec<u8>> {
        loop {
            match self.next()? {
                b'\'' => return self.at_word_end().then_some(word),
                b'\\' if self.rest.first() == Some(&b'\'') => word.push(self.next()?),
                byte => word.push(byte),
            }
        }
    }

    fn escaped(&mut self) -> Option<u8> {
        Some(match self.next()? {
            b'x' => self.hexadecimal().unwrap_or(b'x'),
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 0x08,
            b'a' => 0x07,
            byte => byte,
        })
    }

    /// Two hexadecimal digits; nothing is taken when there are none.
    fn hexadecimal(&mut self) -> Option<u8> {
        let ([high, low], rest) = self.rest.split_first_chunk()?;
        let byte = digit(*high)? << 4 | digit(*low)?;
        self.rest = rest;
        Some(byte)
    }

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn at_word_end(&self) -> bool {
        self.rest.first().is_none_or(|&byte| is_space(byte))
    }
}

/// C's `isspace`; `u8::is_ascii_whitespace` lacks the vertical tab.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Words = &'static [&'static [u8]];

    /// What a real redis-server 7.0.15 understood; `None` where it answered "unbalanced quotes in request".
    const LINES: &[(&[u8], Option<Words>)] = &[
        (b"", Some(&[])),
        (b" \t\x0b\x0c ", Some(&[])),
        (b"PING", Some(&[b"PING"])),
        (b"\x0bECHO\ta ", Some(&[b"ECHO", b"a"])),
        (b"ECHO a\x0bb\x0cc", Some(&[b"ECHO", b"a\x0bb\x0cc"])),
        (b"ECHO a\rb", Some(&[b"ECHO", b"a", b"b"])),
        (b"ECHO ab\r", Some(&[b"ECHO", b"ab"])),
        (b"\"\"", Some(&[b""])),
        (b"ECHO ''", Some(&[b"ECHO", b""])),
        (br#"ECHO "\x41\n\r\t\b\a\q\xZZ\"""#, Some(&[b"ECHO", b"A\n\r\t\x08\x07qxZZ\""])),
        (br#"ECHO "\xfF\x0""#, Some(&[b"ECHO", b"\xffx0"])),
        (br"ECHO '\'\n'", Some(&[b"ECHO", br"'\n"])),
        (br"ECHO \x41", Some(&[b"ECHO", br"\x41"])),
        (b"ECHO a\"b\"", Some(&[b"ECHO", b"ab"])),
        (b"ECHO 'a'\x0bfoo", Some(&[b"ECHO", b"a", b"foo"])),
        (b"ECHO \"a", None),
        (b"ECHO 'a", None),
        (b"ECHO \"a\"b", None),
        (b"ECHO 'a'b", None),
        (b"ECHO a\"b\"c", None),
        (b"ECHO \"a\\", None),
        (b"ECHO \"a\\\"", None),
        (b"ECHO 'a\\'", None),
    ];

    #[test]
    fn lines_are_split_as_redis_splits_them() {
        for &(line, expected) in LINES {
            let expected = expected
                .map(|words| words.iter().copied().map(Bytes::from_static).collect::<Vec<_>>())
                .ok_or_else(|| ProtocolError::from("unbalanced quotes in request"));
            assert_eq!(split_words(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn a_nul_is_a_byte_like_any_other() {
        assert_eq!(split_words(b"ECHO a\0b"), Ok(vec![Bytes::from_static(b"ECHO"), Bytes::from_static(b"a\0b")]));
    }

    fn quoted(word: &[u8], single: bool) -> Vec<u8> {
        // Single quotes know no escape for a line's end, nor a way to end with a backslash.
        if single && !word.contains(&b'\n') && !word.contains(&b'\\') {
            let inner = word.iter().flat_map(|&byte| if byte == b'\'' { b"\\'".to_vec() } else { vec![byte] });
            return std::iter::once(b'\'').chain(inner).chain(std::iter::once(b'\'')).collect();
        }
        let inner: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        format!("\"{inner}\"").into_bytes()
    }

    proptest! {
        #[test]
        fn any_word_survives_quoting(words in prop::collection::vec((any::<Vec<u8>>(), any::<bool>()), 0..6)) {
            let line = words.iter().map(|(word, single)| quoted(word, *single)).collect::<Vec<_>>().join(&b' ');
            let expected: Vec<Bytes> = words.into_iter().map(|(word, _)| Bytes::from(word)).collect();
            prop_assert_eq!(split_words(&line), Ok(expected));
        }

        #[test]
        fn any_line_is_words_or_an_error(line in "[ \\t\"'\\\\xnaf0]{0,40}") {
            match split_words(line.as_bytes()) {
                Ok(words) => prop_assert!(words.iter().map(Bytes::len).sum::<usize>() <= line.len()),
                Err(_) => prop_assert!(line.contains(['"', '\''])),
            }
        }
    }
}
