//! The settings that every request asks for, apart from the others: a lock that all cores share would cost each request
//! more than the answer.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::Settings;

/// The settings that every request asks for.
#[derive(Debug)]
pub struct Limits {
    key_bytes_max: AtomicUsize,
    bulk_bytes_max: AtomicUsize,
    idle_timeout_s: AtomicU32,
}

impl Limits {
    /// Those of these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            key_bytes_max: AtomicUsize::new(settings.key_bytes_max),
            bulk_bytes_max: AtomicUsize::new(settings.proto_max_bulk_len),
            idle_timeout_s: AtomicU32::new(settings.timeout_s),
        }
    }

    /// Follows a change of the settings.
    pub(super) fn follow(&self, settings: &Settings) {
        self.key_bytes_max.store(settings.key_bytes_max, Ordering::Relaxed);
        self.bulk_bytes_max.store(settings.proto_max_bulk_len, Ordering::Relaxed);
        self.idle_timeout_s.store(settings.timeout_s, Ordering::Relaxed);
    }

    /// The longest key in bytes (`key-bytes-max`).
    #[must_use]
    pub fn key_bytes_max(&self) -> usize {
        self.key_bytes_max.load(Ordering::Relaxed)
    }

    /// The longest argument in bytes (`proto-max-bulk-len`).
    #[must_use]
    pub fn bulk_bytes_max(&self) -> usize {
        self.bulk_bytes_max.load(Ordering::Relaxed)
    }

    /// How long an idle client may stay (`timeout`); `None` for ever.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        let seconds = self.idle_timeout_s.load(Ordering::Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}
