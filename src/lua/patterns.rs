//! The patterns of Lua 5.1. Lua's own matcher runs as one instruction, which no hook interrupts, and a pattern of a few
//! bytes can keep it busy for years; this one counts its steps, and how deep it may go is bounded.

/// The most captures, as in Lua.
const CAPTURES_MAX: usize = 32;

/// How deep matches may nest, by the items of the pattern: Lua 5.1 goes on until its stack is full.
const DEPTH_MAX: usize = 200;

/// So many steps are made between two questions whether to go on: some tens of microseconds.
const STEPS_BETWEEN: u32 = 10_000;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The pattern is wrong, in Lua's words.
    Malformed(&'static str),
    /// It took too long.
    Stopped,
}

/// What a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// These bytes of the subject.
    Bytes(usize, usize),
    /// A place in it, counted from 0.
    Place(usize),
    /// It has begun.
    Open(usize),
}

/// A match: where it begins and ends, and its captures.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first byte.
    pub begin: usize,
    /// One past its last.
    pub end: usize,
    /// In the order of their opening brackets.
    pub captures: Vec<Capture>,
}

/// The first match at or behind `from`.
///
/// # Errors
/// A pattern that is none, or that takes too long: `may_go_on` is asked now and then.
pub fn search(
    subject: &[u8],
    pattern: &[u8],
    from: usize,
    may_go_on: &dyn Fn() -> bool,
) -> Result<Option<Found>, Fault> {
    let (anchored, pattern) = pattern.strip_prefix(b"^").map_or((false, pattern), |rest| (true, rest));
    let mut matcher = Matcher { subject, pattern, captures: Vec::new(), depth: 0, steps: 0, may_go_on };
    for begin in from..=subject.len() {
        matcher.captures.clear();
        if let Some(end) = matcher.run(begin, 0)? {
            if matcher.captures.iter().any(|capture| matches!(capture, Capture::Open(_))) {
                return Err(Fault::Malformed("unfinished capture"));
            }
            return Ok(Some(Found { begin, end, captures: matcher.captures }));
        }
        if anchored {
            break;
        }
    }
    Ok(None)
}

/// Where these very bytes begin, at or behind `from`.
///
/// # Errors
/// When it takes too long.
pub fn search_plain(
    subject: &[u8],
    wanted: &[u8],
    from: usize,
    may_go_on: &dyn Fn() -> bool,
) -> Result<Option<usize>, Fault> {
    for (step, begin) in (from..=subject.len().saturating_sub(wanted.len())).enumerate() {
        if subject[begin..].starts_with(wanted) {
            return Ok(Some(begin));
        }
        if step % STEPS_BETWEEN as usize == 0 && !may_go_on() {
            return Err(Fault::Stopped);
        }
    }
    Ok(None)
}

struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    depth: usize,
    steps: u32,
    may_go_on: &'a dyn Fn() -> bool,
}

/// Where a match ends; `None` where there is none.
type Matched = Result<Option<usize>, Fault>;

impl Matcher<'_> {
    fn run(&mut self, at: usize, item: usize) -> Matched {
        if self.depth >= DEPTH_MAX {
            return Err(Fault::Malformed("pattern too complex"));
        }
        self.depth += 1;
        let matched = self.items(at, item);
        self.depth -= 1;
        matched
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.steps += 1;
        if self.steps >= STEPS_BETWEEN {
            self.steps = 0;
            if !(self.may_go_on)() {
                return Err(Fault::Stopped);
            }
        }
        Ok(())
    }

    /// The rest of the pattern, from its byte `item`, on the rest of the subject.
    fn items(&mut self, mut at: usize, mut item: usize) -> Matched {
        loop {
            self.step()?;
            match self.pattern.get(item..).unwrap_or_default() {
                [] => return Ok(Some(at)),
                [b'$'] => return Ok((at == self.subject.len()).then_some(at)),
                [b'(', b')', ..] => return self.open(at, item + 2, Capture::Place(at)),
                [b'(', ..] => return self.open(at, item + 1, Capture::Open(at)),
                [b')', ..] => return self.close(at, item + 1),
                [b'%', b'b', ..] => match self.balanced(at, item + 2)? {
                    Some(end) => (at, item) = (end, item + 4),
                    None => return Ok(None),
                },
                [b'%', b'f', ..] => match self.frontier(at, item + 2)? {
                    Some(next) => item = next,
                    None => return Ok(None),
                },
                [b'%', digit @ b'0'..=b'9', ..] => match self.again(at, *digit)? {
                    Some(end) => (at, item) = (end, item + 2),
                    None => return Ok(None),
                },
                [_, ..] => {
                    let end = self.class_end(item)?;
                    match self.pattern.get(end) {
                        Some(b'?') => {
                            if self.is_one(at, item, end)
                                && let Some(end) = self.run(at + 1, end + 1)?
                            {
                                return Ok(Some(end));
                            }
                            item = end + 1;
                        }
                        Some(b'*') => return self.most(at, item, end, 0),
                        Some(b'+') => return self.most(at, item, end, 1),
                        Some(b'-') => return self.fewest(at, item, end),
                        Some(_) | None if self.is_one(at, item, end) => (at, item) = (at + 1, end),
                        Some(_) | None => return Ok(None),
                    }
                }
            }
        }
    }

    /// As many as there are, then fewer and fewer.
    fn most(&mut self, at: usize, item: usize, end: usize, least: usize) -> Matched {
        let mut count = 0;
        while self.is_one(at + count, item, end) {
            self.step()?;
            count += 1;
        }
        while count >= least {
            self.step()?;
            if let Some(end) = self.run(at + count, end + 1)? {
                return Ok(Some(end));
            }
            let Some(fewer) = count.checked_sub(1) else { break };
            count = fewer;
        }
        Ok(None)
    }

    /// None, then more and more.
    fn fewest(&mut self, mut at: usize, item: usize, end: usize) -> Matched {
        loop {
            self.step()?;
            if let Some(end) = self.run(at, end + 1)? {
                return Ok(Some(end));
            }
            if !self.is_one(at, item, end) {
                return Ok(None);
            }
            at += 1;
        }
    }

    fn open(&mut self, at: usize, item: usize, capture: Capture) -> Matched {
        if self.captures.len() >= CAPTURES_MAX {
            return Err(Fault::Malformed("too many captures"));
        }
        self.captures.push(capture);
        let level = self.captures.len();
        let matched = self.run(at, item)?;
        if matched.is_none() {
            self.captures.truncate(level - 1);
        }
        Ok(matched)
    }

    fn close(&mut self, at: usize, item: usize) -> Matched {
        let open = self.captures.iter().rposition(|capture| matches!(capture, Capture::Open(_)));
        let Some(level) = open else { return Err(Fault::Malformed("invalid pattern capture")) };
        let before = self.captures[level];
        if let Capture::Open(begin) = before {
            self.captures[level] = Capture::Bytes(begin, at);
        }
        let matched = self.run(at, item)?;
        if matched.is_none() {
            self.captures[level] = before;
        }
        Ok(matched)
    }

    /// `%bxy`: from an x to the y that belongs to it.
    fn balanced(&mut self, at: usize, item: usize) -> Matched {
        let Some([open, close]) = self.pattern.get(item..item + 2) else {
            return Err(Fault::Malformed("unbalanced pattern"));
        };
        if self.subject.get(at) != Some(open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (place, byte) in self.subject.iter().enumerate().skip(at + 1) {
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(place + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: between a byte that is not in the set and one that is. Answers where the pattern goes on.
    fn frontier(&mut self, at: usize, item: usize) -> Matched {
        if self.pattern.get(item) != Some(&b'[') {
            return Err(Fault::Malformed("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(item)?;
        let byte = |place: Option<usize>| place.and_then(|place| self.subject.get(place)).copied().unwrap_or_default();
        let (before, after) = (byte(at.checked_sub(1)), byte(Some(at)));
        let set = &self.pattern[item..end];
        Ok((!in_set(before, set) && in_set(after, set)).then_some(end))
    }

    /// `%1`: what a capture holds, once more.
    fn again(&mut self, at: usize, digit: u8) -> Matched {
        let level = usize::from(digit - b'0').checked_sub(1);
        let Some(Capture::Bytes(begin, end)) = level.and_then(|level| self.captures.get(level)).copied() else {
            return Err(Fault::Malformed("invalid capture index"));
        };
        let wanted = &self.subject[begin..end];
        Ok(self.subject[at..].starts_with(wanted).then_some(at + wanted.len()))
    }

    /// One past the class that begins at this byte of the pattern.
    fn class_end(&self, item: usize) -> Result<usize, Fault> {
        match self.pattern[item] {
            b'%' if item + 1 >= self.pattern.len() => Err(Fault::Malformed("malformed pattern (ends with '%')")),
            b'%' => Ok(item + 2),
            b'[' => {
                let mut at = item + 1;
                if self.pattern.get(at) == Some(&b'^') {
                    at += 1;
                }
                loop {
                    // A bracket that is the first of the set belongs to it.
                    let byte = self.pattern.get(at).ok_or(Fault::Malformed("malformed pattern (missing ']')"))?;
                    at += if *byte == b'%' { 2 } else { 1 };
                    if self.pattern.get(at) == Some(&b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(item + 1),
        }
    }

    fn is_one(&self, at: usize, item: usize, end: usize) -> bool {
        let Some(byte) = self.subject.get(at) else { return false };
        match self.pattern[item] {
            b'.' => true,
            b'%' => in_class(*byte, self.pattern[item + 1]),
            b'[' => in_set(*byte, &self.pattern[item..end]),
            literal => literal == *byte,
        }
    }
}

/// `set` with its brackets.
fn in_set(byte: u8, set: &[u8]) -> bool {
    let inner = set.get(1..set.len() - 1).unwrap_or_default();
    let (is_negated, inner) = inner.strip_prefix(b"^").map_or((false, inner), |rest| (true, rest));
    let mut rest = inner;
    loop {
        let is_in = match rest {
            [] => return is_negated,
            [b'%', class, behind @ ..] => {
                rest = behind;
                in_class(byte, *class)
            }
            [first, b'-', last, behind @ ..] => {
                rest = behind;
                (*first..=*last).contains(&byte)
            }
            [literal, behind @ ..] => {
                rest = behind;
                *literal == byte
            }
        };
        if is_in {
            return !is_negated;
        }
    }
}

fn in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == b'\x0b',
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(subject: &str, pattern: &str) -> Option<String> {
        let found = search(subject.as_bytes(), pattern.as_bytes(), 0, &|| true).expect("a pattern");
        found.map(|found| {
            let mut shown = subject[found.begin..found.end].to_owned();
            for capture in found.captures {
                match capture {
                    Capture::Bytes(begin, end) => shown.extend(["|", &subject[begin..end]]),
                    Capture::Place(place) => shown.extend(["|", &place.to_string()]),
                    Capture::Open(_) => panic!("an open capture"),
                }
            }
            shown
        })
    }

    #[test]
    fn patterns_match_as_in_lua() {
        for (subject, pattern, found) in [
            ("hello", "l+", Some("ll")),
            ("key = value", "(%w+)%s*=%s*(%w+)", Some("key = value|key|value")),
            ("hello", "()ll()", Some("ll|2|4")),
            ("f(a(b)c)d", "%b()", Some("(a(b)c)")),
            ("THE (quick) fox", "%f[%a]%a+", Some("THE")),
            ("\"x\" 'y'", "([\"'])(.-)%1", Some("\"x\"|\"|x")),
            ("abc", "^b", None),
            ("abc", "c$", Some("c")),
            ("a]b", "[]]", Some("]")),
            ("a-b", "[a%-]+", Some("a-")),
            ("x09", "[^%d]", Some("x")),
            ("aaa", "a-b", None),
            ("aaab", "a-b", Some("aaab")),
            ("abc", "", Some("")),
            ("ab", "a?b?c?", Some("ab")),
            ("2024-01-02", "^(%d+)-(%d+)-(%d+)$", Some("2024-01-02|2024|01|02")),
        ] {
            assert_eq!(find(subject, pattern).as_deref(), found, "{subject} {pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for (pattern, words) in [
            ("%", "malformed pattern (ends with '%')"),
            ("[a", "malformed pattern (missing ']')"),
            ("[", "malformed pattern (missing ']')"),
            ("(a", "unfinished capture"),
            ("a)", "invalid pattern capture"),
            ("%1", "invalid capture index"),
            ("%b(", "unbalanced pattern"),
            ("%fa", "missing '[' after '%f' in pattern"),
        ] {
            assert_eq!(search(b"aaa", pattern.as_bytes(), 0, &|| true), Err(Fault::Malformed(words)), "{pattern}");
        }
        let deep = "a?".repeat(100_000);
        let refused = search(&[b'a'; 1_000], deep.as_bytes(), 0, &|| true);
        assert_eq!(refused, Err(Fault::Malformed("pattern too complex")));
    }

    #[test]
    fn a_pattern_that_takes_for_ever_is_stopped() {
        let subject = vec![b'a'; 100_000];
        for pattern in ["a*a*a*a*a*a*b", "a-a-a-a-a-a-b", ".-.-.-.-.-.-b"] {
            assert_eq!(search(&subject, pattern.as_bytes(), 0, &|| false), Err(Fault::Stopped), "{pattern}");
        }
    }
}
