//! Redis's patterns for keys and channels: `*`, `?`, `[a-c]`, `[^a]` and `\x`. The work is bounded by the product of the two lengths,
//! whatever the pattern: only the last star is ever taken back, since an earlier one could not do better.

/// Whether the pattern matches every key, so that no key needs to be looked at.
#[must_use]
pub fn matches_all(pattern: &[u8]) -> bool {
    pattern == b"*"
}

/// Whether the whole of `text` matches. An empty text matches `*` and the empty pattern only, as in Redis.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty() || matches_all(pattern);
    }
    let (mut rest, mut at) = (pattern, 0);
    // Where to go on when a byte does not fit: behind the last star, which then swallows one byte more.
    let mut last_star: Option<(&[u8], usize)> = None;
    while at < text.len() {
        if let [b'*', behind @ ..] = rest {
            last_star = Some((behind, at));
            rest = behind;
        } else if let Some(behind) = match_one(rest, text[at]) {
            rest = behind;
            at += 1;
        } else if let Some((behind, from)) = last_star {
            last_star = Some((behind, from + 1));
            rest = behind;
            at = from + 1;
        } else {
            return false;
        }
    }
    rest.iter().all(|byte| *byte == b'*')
}

/// The pattern behind its first element, if that element (which is no star) matches `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', b'^', class @ ..] => match_class(class, byte, true),
        [b'[', class @ ..] => match_class(class, byte, false),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte).then_some(rest),
    }
}

/// A class up to its `]`; one that is never closed ends with the pattern.
fn match_class(class: &[u8], byte: u8, negated: bool) -> Option<&[u8]> {
    let mut found = false;
    let mut rest = class;
    let behind = loop {
        rest = match rest {
            [] => break rest,
            [b'\\', literal, behind @ ..] => {
                found |= *literal == byte;
                behind
            }
            [b']', behind @ ..] => break behind,
            [one, b'-', other, behind @ ..] => {
                found |= (*one.min(other)..=*one.max(other)).contains(&byte);
                behind
            }
            [literal, behind @ ..] => {
                found |= *literal == byte;
                behind
            }
        };
    };
    (found != negated).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        let fits = [
            ("*", "a"),
            ("a*", "a"),
            ("**", "x"),
            ("h?llo", "hello"),
            ("h*llo", "heeeello"),
            ("*o*o", "foo"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("h\\*llo", "h*llo"),
            ("[\\]]", "]"),
            ("[a", "a"),
            ("[a-", "-"),
            ("a\\", "a\\"),
            ("", ""),
            ("*", ""),
            ("sess:*", "sess:abc"),
            ("[^]", "x"),
            ("*[0-9]", "ab1"),
            ("a*b*c", "aXbXbc"),
        ];
        for (pattern, text) in fits {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let unfit = [
            ("h?llo", "hllo"),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            ("a", "ab"),
            ("ab", "a"),
            ("", "a"),
            ("**", ""),
            ("?", ""),
            ("h\\*llo", "hello"),
            ("A", "a"),
            ("[]a]", "]"),
            ("a*b", "abc"),
            ("*?a", "a"),
        ];
        for (pattern, text) in unfit {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        assert!(matches(b"\xff?[\x80-\x90]", b"\xff\x00\x85"));
    }

    #[test]
    fn many_stars_do_not_multiply_the_work() {
        let pattern = "a*".repeat(5_000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(100_000).as_bytes()));
    }
}
