//! The syntaxes of values: numbers, durations, sizes, choices, lists. Each is read from text and described for people
//! from the same declaration; refusals carry Redis's words, since CONFIG SET answers with them.

use std::fmt;
use std::time::Duration;

/// Bytes of a mebibyte, Redis's `mb`.
const MEBIBYTE: u64 = 1024 * 1024;

/// A text that is never printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) const fn empty() -> Self {
        Self(String::new())
    }

    /// The text itself; for comparing and connecting, never for a log.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// A type with a few named values.
pub trait Choice: Copy + PartialEq + 'static {
    /// Every value with its name.
    const ALL: &'static [(&'static str, Self)];

    /// The names, in order.
    #[must_use]
    fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|(name, _)| *name).collect()
    }

    /// The name of this value.
    #[must_use]
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// How the value of a setting is written, with its bounds or choices.
#[derive(Clone, Copy, Debug)]
pub enum Syntax {
    /// A whole number.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A time span: `500ms`, `60s`, `2m`, or plain seconds.
    Duration {
        /// The shortest.
        min_ms: u64,
        /// The longest.
        max_ms: u64,
    },
    /// A size in bytes with Redis's suffixes: `1k` is 1000, `1kb` is 1024.
    Bytes {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// One of some words.
    Choice(fn() -> Vec<&'static str>),
    /// `yes` or `no`.
    YesNo,
    /// A text.
    Text {
        /// What stands for it in the usage line.
        placeholder: &'static str,
        /// What a good one looks like, after "expected".
        expected: &'static str,
    },
    /// Texts with blanks between them; the flag may be repeated, and the file may hold an array.
    List {
        /// What stands for one of them in the usage line.
        placeholder: &'static str,
        /// What good ones look like, after "expected".
        expected: &'static str,
    },
}

impl Syntax {
    /// What stands for the value in the usage line.
    #[must_use]
    pub fn placeholder(&self) -> String {
        match self {
            Self::Integer { .. } => "N".to_owned(),
            Self::Duration { .. } => "DURATION".to_owned(),
            Self::Bytes { .. } => "BYTES".to_owned(),
            Self::Choice(names) => names().join("|"),
            Self::YesNo => "yes|no".to_owned(),
            Self::Text { placeholder, .. } | Self::List { placeholder, .. } => (*placeholder).to_owned(),
        }
    }

    /// What a good value is, to follow the word "expected".
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Integer { min, max } => format!("a number from {min} to {max}"),
            Self::Duration { min_ms, max_ms } => {
                let (min, max) = (show_ms(*min_ms), show_ms(*max_ms));
                format!("a duration from {min} to {max}, such as 500ms, 60s or 2m")
            }
            Self::Bytes { min, max } => format!("a size from {} to {}", show_size(*min), show_size(*max)),
            Self::Choice(names) => alternatives(&names()),
            Self::YesNo => "yes or no".to_owned(),
            Self::Text { expected, .. } | Self::List { expected, .. } => (*expected).to_owned(),
        }
    }
}

/// Why a value was refused; `Display` gives Redis's words where Redis has the case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a number, or one that no 64 bits hold.
    #[error("argument couldn't be parsed into an integer")]
    NotAnInteger,
    /// A number out of bounds.
    #[error("argument must be between {min} and {max} inclusive")]
    OutOfRange {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// Not a size.
    #[error("argument must be a memory value")]
    NotASize,
    /// Neither yes nor no.
    #[error("argument must be 'yes' or 'no'")]
    NotYesNo,
    /// None of the choices.
    #[error("argument(s) must be one of the following: {}", .0.join(", "))]
    NotAChoice(Vec<&'static str>),
    /// What Redis says of a setting with a form of its own.
    #[error("{0}")]
    Fault(&'static str),
    /// Anything of which Redis has no case: what was expected.
    #[error("expected {0}")]
    NotExpected(String),
}

/// A value as given, with the syntax that it must have.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// What it must look like.
    pub syntax: &'a Syntax,
    /// What was given.
    pub text: &'a str,
}

impl<'a> Given<'a> {
    /// The refusal that repeats what was expected.
    #[must_use]
    pub fn unexpected(&self) -> Invalid {
        Invalid::NotExpected(self.syntax.expected())
    }

    /// The words of a list.
    pub fn words(&self) -> impl Iterator<Item = &'a str> {
        self.text.split_whitespace()
    }

    pub(super) fn integer<T: TryFrom<i64>>(&self) -> Result<T, Invalid> {
        let Syntax::Integer { min, max } = *self.syntax else { return Err(self.unexpected()) };
        let number = parse_integer(self.text).ok_or(Invalid::NotAnInteger)?;
        let inside = Some(number).filter(|number| (min..=max).contains(number));
        inside.and_then(|number| T::try_from(number).ok()).ok_or(Invalid::OutOfRange { min, max })
    }

    pub(super) fn bytes(&self) -> Result<usize, Invalid> {
        let Syntax::Bytes { min, max } = *self.syntax else { return Err(self.unexpected()) };
        let size = parse_size(self.text).ok_or(Invalid::NotASize)?;
        let inside = Some(size).filter(|size| (min..=max).contains(size));
        let bound = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        inside
            .and_then(|size| usize::try_from(size).ok())
            .ok_or(Invalid::OutOfRange { min: bound(min), max: bound(max) })
    }

    pub(super) fn duration(&self) -> Result<Duration, Invalid> {
        let Syntax::Duration { min_ms, max_ms } = *self.syntax else { return Err(self.unexpected()) };
        let bounds = Duration::from_millis(min_ms)..=Duration::from_millis(max_ms);
        parse_duration(self.text).filter(|span| bounds.contains(span)).ok_or_else(|| self.unexpected())
    }

    pub(super) fn yes_no(&self) -> Result<bool, Invalid> {
        match self.text.to_ascii_lowercase().as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            _ => Err(Invalid::NotYesNo),
        }
    }

    pub(super) fn choice<T: Choice>(&self) -> Result<T, Invalid> {
        T::ALL
            .iter()
            .find(|(name, _)| self.text.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
            .ok_or_else(|| Invalid::NotAChoice(T::names()))
    }
}

/// A duration as the rows write it: whole seconds as `60s`, else milliseconds.
#[must_use]
pub(super) fn show_duration(span: Duration) -> String {
    show_ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn show_yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn show_ms(span_ms: u64) -> String {
    if span_ms.is_multiple_of(1000) { format!("{}s", span_ms / 1000) } else { format!("{span_ms}ms") }
}

fn show_size(size: u64) -> String {
    if size >= MEBIBYTE && size.is_multiple_of(MEBIBYTE) { format!("{}mb", size / MEBIBYTE) } else { size.to_string() }
}

fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// As strict as Redis: no plus sign, no leading zeros, no blanks.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

pub(super) fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let factor = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1024,
        "m" => 1_000_000,
        "mb" => MEBIBYTE,
        "g" => 1_000_000_000,
        "gb" => 1024 * MEBIBYTE,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn parse_duration(text: &str) -> Option<Duration> {
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_redis_reads_them() {
        assert_eq!(parse_size("2m"), Some(2_000_000));
        assert_eq!(parse_size("2MB"), Some(2_097_152));
        assert_eq!(parse_size("1gb"), Some(1_073_741_824));
        assert_eq!(parse_size("7"), Some(7));
        for bad in ["", "mb", "-1", "1xb", "1.5mb", "99999999999999999999"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn integers_are_as_strict_as_redis() {
        assert_eq!(parse_integer("-1"), Some(-1));
        for bad in ["", "007", "+5", "0x10", "1.5", " 1", "99999999999999999999"] {
            assert_eq!(parse_integer(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_take_units_or_plain_seconds() {
        assert_eq!(parse_duration("60"), Some(Duration::from_secs(60)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse_duration("soon"), None);
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(show_duration(Duration::from_secs(120)), "120s");
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(***)");
    }
}
