//! What was denied to whom, for ACL LOG: the newest first, bounded in number and in what is kept of each. Passwords never
//! come here.

use std::collections::VecDeque;

use bytes::Bytes;

pub use crate::telemetry::metrics::Reason;

/// How long a denial counts as the same as another one, in milliseconds, as in Redis.
const SAME_MS: i64 = 60_000;

/// Among how many of the newest the same denial is looked for, as in Redis.
const LOOKED_THROUGH_MAX: usize = 10;

/// The most bytes that are kept of a key or a name: an argument may have half a gigabyte.
const WORD_BYTES_MAX: usize = 2_048;

/// Where it was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// To a command of its own.
    TopLevel,
    /// Inside MULTI, when it was queued or when it ran.
    Multi,
    /// To a script.
    Script,
}

/// What was denied, once or often.
#[derive(Clone, Debug)]
pub struct Denial {
    /// How often.
    pub count: u64,
    /// What was not allowed.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// The command, key or channel.
    pub object: Bytes,
    /// To whom.
    pub username: Bytes,
    /// When it was last, in Unix milliseconds.
    pub at_ms: i64,
    /// The line of CLIENT LIST of who tried last.
    pub client: String,
}

/// The newest denials.
#[derive(Debug, Default)]
pub struct Denials(VecDeque<Denial>);

impl Denials {
    /// Notes one, and keeps the newest `length_max`.
    pub fn add(&mut self, mut denial: Denial, length_max: usize) {
        for word in [&mut denial.object, &mut denial.username] {
            if word.len() > WORD_BYTES_MAX {
                // A copy: a slice would hold the whole argument.
                *word = Bytes::copy_from_slice(&word[..WORD_BYTES_MAX]);
            }
        }
        let same = self.0.iter().take(LOOKED_THROUGH_MAX).position(|other| other.is_like(&denial));
        if let Some(other) = same.and_then(|position| self.0.remove(position)) {
            denial.count += other.count;
        }
        self.0.push_front(denial);
        self.0.truncate(length_max);
    }

    /// The newest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Denial> {
        self.0.iter()
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Denial {
    fn is_like(&self, other: &Self) -> bool {
        (self.reason, self.context) == (other.reason, other.context)
            && self.at_ms.abs_diff(other.at_ms) <= SAME_MS.unsigned_abs()
            && self.object == other.object
            && self.username == other.username
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(object: &str, at_ms: i64) -> Denial {
        Denial {
            count: 1,
            reason: Reason::Key,
            context: Context::TopLevel,
            object: Bytes::copy_from_slice(object.as_bytes()),
            username: Bytes::from_static(b"u"),
            at_ms,
            client: String::new(),
        }
    }

    fn shown(denials: &Denials) -> Vec<(String, u64)> {
        denials.iter().map(|denial| (String::from_utf8_lossy(&denial.object).into_owned(), denial.count)).collect()
    }

    #[test]
    fn the_same_denial_is_counted_and_comes_to_the_front() {
        let mut denials = Denials::default();
        for (object, at_ms) in [("a", 0), ("b", 1), ("a", 60_000), ("b", 60_002)] {
            denials.add(denial(object, at_ms), 128);
        }
        assert_eq!(shown(&denials), [("b".to_owned(), 1), ("a".to_owned(), 2), ("b".to_owned(), 1)]);
        denials.clear();
        assert_eq!(denials.iter().len(), 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut denials = Denials::default();
        for number in 0..10 {
            denials.add(denial(&number.to_string(), 0), 3);
        }
        assert_eq!(shown(&denials).into_iter().map(|(object, _)| object).collect::<Vec<_>>(), ["9", "8", "7"]);
        denials.add(denial(&"x".repeat(1 << 20), 0), 1);
        assert_eq!(denials.iter().map(|denial| denial.object.len()).collect::<Vec<_>>(), [WORD_BYTES_MAX]);
        denials.add(denial("none", 0), 0);
        assert_eq!(denials.iter().len(), 0);
    }
}
