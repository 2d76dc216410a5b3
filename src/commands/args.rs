//! Words to numbers and options, as strictly as Redis reads them. It never guesses: a word that Redis refuses is refused.

use bytes::Bytes;

use super::error::CommandError;

/// The most characters of a 64-bit integer, its sign included; a longer word is refused without being looked at.
const INTEGER_BYTES_MAX: usize = 20;

/// A 64-bit integer in its one canonical form: no plus, no leading zero, no space, no `-0`.
#[must_use]
pub fn canonical_integer(word: &[u8]) -> Option<i64> {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    let canonical = match digits {
        [b'0'] => word.len() == 1,
        [b'1'..=b'9', ..] => word.len() <= INTEGER_BYTES_MAX,
        [] | [_, ..] => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The same, for a word that must be one.
///
/// # Errors
/// [`CommandError::NotAnInteger`].
pub fn integer(word: &[u8]) -> Result<i64, CommandError> {
    canonical_integer(word).ok_or(CommandError::NotAnInteger)
}

/// Whether a word is this option, in any mix of cases.
#[must_use]
pub fn is(word: &[u8], option: &str) -> bool {
    word.eq_ignore_ascii_case(option.as_bytes())
}

/// Walks the options at the end of a request.
#[derive(Debug)]
pub struct Options<'a> {
    words: std::slice::Iter<'a, Bytes>,
}

impl<'a> Options<'a> {
    /// From these words on; `request` may end before `first`.
    #[must_use]
    pub fn from(request: &'a [Bytes], first: usize) -> Self {
        Self { words: request.get(first..).unwrap_or_default().iter() }
    }

    /// The word that must follow an option.
    ///
    /// # Errors
    /// [`CommandError::Syntax`] at the end of the request.
    pub fn value(&mut self) -> Result<&'a Bytes, CommandError> {
        self.words.next().ok_or(CommandError::Syntax)
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = &'a Bytes;

    fn next(&mut self) -> Option<Self::Item> {
        self.words.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_of_an_integer_is_one() {
        for (word, number) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(canonical_integer(word.as_bytes()), Some(number), "{word}");
        }
        for word in ["", "-", "+1", "01", "-0", " 1", "1 ", "1.0", "0x1", "1+", "9223372036854775808", "١"] {
            assert_eq!(canonical_integer(word.as_bytes()), None, "{word}");
        }
        assert_eq!(canonical_integer(&[b'1'; 64]), None);
        assert_eq!(canonical_integer(b"1\xff"), None);
    }

    #[test]
    fn an_option_without_its_value_is_a_syntax_error() {
        let request = [Bytes::from_static(b"SET"), Bytes::from_static(b"eX")];
        let mut options = Options::from(&request, 1);
        assert!(options.next().is_some_and(|word| is(word, "EX")));
        assert_eq!(options.value(), Err(CommandError::Syntax));
        assert!(Options::from(&request, 7).next().is_none());
    }
}
