//! Time: the wall clock that decides who is expired, and the type of an expiry. Everything that asks for the
//! time of day asks here, so that a test can set it; waiting and leases use `tokio::time` and `Instant` instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// When an entry ends: an absolute Unix time in milliseconds, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(i64);

impl Expiry {
    /// No end: later than every time.
    pub const NEVER: Self = Self(i64::MAX);

    /// The latest time that can be stored, 9999-12-30T00:00:00Z in milliseconds: a session table holds
    /// `9999-12-31` for a key without TTL, in whatever time zone its database has.
    pub const LATEST_MS: i64 = 253_402_128_000_000;

    /// An end at `expires_at_ms`, Unix time in milliseconds.
    #[must_use]
    pub const fn at_ms(expires_at_ms: i64) -> Self {
        Self(expires_at_ms)
    }

    /// The end in Unix milliseconds; `None` for never.
    #[must_use]
    pub const fn as_ms(self) -> Option<i64> {
        if self.0 == i64::MAX { None } else { Some(self.0) }
    }

    /// Whether an entry with this expiry is gone at `now_ms`. Redis counts a key whose time has come as gone.
    #[must_use]
    pub const fn is_past(self, now_ms: i64) -> bool {
        self.0 <= now_ms
    }
}

/// The source of the time of day: the system's, or one that a test sets.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// A clock that stands still until somebody sets it, in Unix milliseconds.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now_ms`.
    #[must_use]
    pub fn manual(now_ms: i64) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(now_ms)))
    }

    /// The time of day in Unix milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now_us() / 1000
    }

    /// The time of day in Unix microseconds.
    #[must_use]
    pub fn now_us(&self) -> i64 {
        match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
            Self::Manual(now_ms) => now_ms.load(Ordering::SeqCst).saturating_mul(1000),
        }
    }

    /// Moves a manual clock forward; the system's clock cannot be moved, and stays as it is.
    pub fn advance_ms(&self, by_ms: i64) {
        if let Self::Manual(now_ms) = self {
            now_ms.fetch_add(by_ms, Ordering::SeqCst);
        }
    }
}
