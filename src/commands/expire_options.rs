//! All that is known about EX, PX, EXAT, PXAT and their like: which words exist, which exclude each other, and how a
//! relative time becomes absolute. A time is made absolute here, once, with the command's one clock reading.

use bytes::Bytes;

use super::args::{self, is};
use super::error::CommandError;
use crate::clock::Expiry;

/// How a time is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Unix time in seconds.
    UnixSeconds,
    /// Unix time in milliseconds.
    UnixMilliseconds,
}

/// What SET and GETEX are told about the end of a key; one variable holds it, so that two different ones collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime<'a> {
    /// `EX 60` and its like, the time not read yet.
    Until(TimeForm, &'a Bytes),
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
}

impl<'a> Lifetime<'a> {
    /// Notes another option. The same one twice is allowed, and the last counts, as in Redis.
    ///
    /// # Errors
    /// [`CommandError::Syntax`] for two that exclude each other.
    pub fn choose(chosen: &mut Option<Self>, next: Self) -> Result<(), CommandError> {
        if chosen.is_some_and(|before| before.excludes(next)) {
            return Err(CommandError::Syntax);
        }
        *chosen = Some(next);
        Ok(())
    }

    fn excludes(self, next: Self) -> bool {
        match (self, next) {
            (Self::Until(form, _), Self::Until(next_form, _)) => form != next_form,
            (Self::Keep, Self::Keep) | (Self::Persist, Self::Persist) => false,
            (Self::Until(..) | Self::Keep | Self::Persist, _) => true,
        }
    }
}

impl TimeForm {
    /// The form that an option word announces.
    #[must_use]
    pub fn named(word: &[u8]) -> Option<Self> {
        [
            ("EX", Self::Seconds),
            ("PX", Self::Milliseconds),
            ("EXAT", Self::UnixSeconds),
            ("PXAT", Self::UnixMilliseconds),
        ]
        .into_iter()
        .find_map(|(name, form)| is(word, name).then_some(form))
    }

    /// The end that a new value gets: SET and its like refuse a time that is not positive.
    ///
    /// # Errors
    /// Not an integer, or [`CommandError::InvalidExpireTime`] with the command's name.
    pub fn expiry(self, word: &[u8], now_ms: i64, command: &str) -> Result<Expiry, CommandError> {
        let time = args::integer(word)?;
        let positive = if time > 0 { self.absolute_ms(time, now_ms) } else { None };
        positive.map(Expiry::at_ms).ok_or_else(|| invalid(command))
    }

    /// The end that EXPIRE and its like give a key that exists: a time in the past is meant, and deletes it.
    ///
    /// # Errors
    /// As [`TimeForm::expiry`], for a time that cannot be represented.
    pub fn expiry_or_past(self, word: &[u8], now_ms: i64, command: &str) -> Result<Expiry, CommandError> {
        let absolute_ms = self.absolute_ms(args::integer(word)?, now_ms);
        absolute_ms.map(Expiry::at_ms).ok_or_else(|| invalid(command))
    }

    /// `None` for a time that overflows, or that no table can hold.
    fn absolute_ms(self, time: i64, now_ms: i64) -> Option<i64> {
        let absolute_ms = match self {
            Self::Seconds => time.checked_mul(1000)?.checked_add(now_ms)?,
            Self::Milliseconds => time.checked_add(now_ms)?,
            Self::UnixSeconds => time.checked_mul(1000)?,
            Self::UnixMilliseconds => time,
        };
        (absolute_ms <= Expiry::LATEST_MS).then_some(absolute_ms)
    }
}

fn invalid(command: &str) -> CommandError {
    CommandError::InvalidExpireTime { command: command.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn expiry(form: TimeForm, word: &str) -> Result<Expiry, CommandError> {
        form.expiry(word.as_bytes(), NOW_MS, "set")
    }

    #[test]
    fn relative_times_become_absolute() {
        assert_eq!(expiry(TimeForm::Seconds, "1"), Ok(Expiry::at_ms(NOW_MS + 1000)));
        assert_eq!(expiry(TimeForm::Milliseconds, "1"), Ok(Expiry::at_ms(NOW_MS + 1)));
        assert_eq!(expiry(TimeForm::UnixSeconds, "1"), Ok(Expiry::at_ms(1000)));
        assert_eq!(expiry(TimeForm::UnixMilliseconds, "1"), Ok(Expiry::at_ms(1)));
    }

    #[test]
    fn a_new_value_must_have_a_time_that_is_positive_and_fits() {
        for word in ["0", "-1", "9223372036854775807", "9223372036854775", "300000000000"] {
            assert_eq!(expiry(TimeForm::Seconds, word), Err(invalid("set")), "{word}");
        }
        let latest = Expiry::LATEST_MS.to_string();
        assert!(expiry(TimeForm::UnixMilliseconds, &latest).is_ok());
        assert_eq!(expiry(TimeForm::Milliseconds, &latest), Err(invalid("set")));
        assert_eq!(expiry(TimeForm::UnixMilliseconds, "9223372036854775807"), Err(invalid("set")));
        assert_eq!(expiry(TimeForm::Seconds, "1.5"), Err(CommandError::NotAnInteger));
    }

    #[test]
    fn a_key_that_exists_may_get_an_end_in_the_past() {
        let past = |form: TimeForm, word: &str| form.expiry_or_past(word.as_bytes(), NOW_MS, "expire");
        assert_eq!(past(TimeForm::Seconds, "-1"), Ok(Expiry::at_ms(NOW_MS - 1000)));
        assert_eq!(past(TimeForm::UnixMilliseconds, "-5"), Ok(Expiry::at_ms(-5)));
        assert_eq!(past(TimeForm::Seconds, "-9223372036854775808"), Err(invalid("expire")));
    }

    #[test]
    fn different_lifetimes_exclude_each_other_and_equal_ones_replace() {
        let (one, two) = (Bytes::from_static(b"1"), Bytes::from_static(b"2"));
        let mut chosen = None;
        Lifetime::choose(&mut chosen, Lifetime::Until(TimeForm::Seconds, &one)).unwrap();
        Lifetime::choose(&mut chosen, Lifetime::Until(TimeForm::Seconds, &two)).unwrap();
        assert_eq!(chosen, Some(Lifetime::Until(TimeForm::Seconds, &two)));
        for next in [Lifetime::Keep, Lifetime::Persist, Lifetime::Until(TimeForm::Milliseconds, &one)] {
            assert_eq!(Lifetime::choose(&mut chosen, next), Err(CommandError::Syntax));
        }
    }
}
