//! The settings that every request asks for, apart from the others: a lock that all cores share would cost each request
//! more than the answer.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::mailbox::UNTAKEN_BYTES_MAX;
use crate::config::{BufferLimit, Settings};

/// The settings that every request asks for.
#[derive(Debug, Default)]
pub struct Limits {
    key_bytes_max: AtomicUsize,
    bulk_bytes_max: AtomicUsize,
    query_bytes_max: AtomicUsize,
    idle_timeout_s: AtomicU32,
    auth_timeout_ms: AtomicU64,
    output: OutputLimit,
    listener_output: OutputLimit,
}

/// One class of `client-output-buffer-limit`.
#[derive(Debug, Default)]
struct OutputLimit {
    hard_bytes: AtomicUsize,
    soft_bytes: AtomicUsize,
    soft_s: AtomicU32,
}

impl OutputLimit {
    fn follow(&self, limit: &BufferLimit) {
        self.hard_bytes.store(limit.hard_bytes, Ordering::Relaxed);
        self.soft_bytes.store(limit.soft_bytes, Ordering::Relaxed);
        self.soft_s.store(limit.soft_s, Ordering::Relaxed);
    }

    fn read(&self) -> BufferLimit {
        BufferLimit {
            hard_bytes: self.hard_bytes.load(Ordering::Relaxed),
            soft_bytes: self.soft_bytes.load(Ordering::Relaxed),
            soft_s: self.soft_s.load(Ordering::Relaxed),
        }
    }
}

impl Limits {
    /// Those of these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let limits = Self::default();
        limits.follow(settings);
        limits
    }

    /// Follows a change of the settings.
    pub(super) fn follow(&self, settings: &Settings) {
        self.key_bytes_max.store(settings.key_bytes_max, Ordering::Relaxed);
        self.bulk_bytes_max.store(settings.proto_max_bulk_len, Ordering::Relaxed);
        self.query_bytes_max.store(settings.client_query_buffer_limit, Ordering::Relaxed);
        self.idle_timeout_s.store(settings.timeout_s, Ordering::Relaxed);
        let auth_timeout_ms = settings.auth_timeout.as_millis();
        self.auth_timeout_ms.store(u64::try_from(auth_timeout_ms).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.output.follow(&settings.client_output_buffer_limit.normal);
        self.listener_output.follow(&settings.client_output_buffer_limit.pubsub);
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

    /// The most bytes of an unfinished request, and of a MULTI's commands (`client-query-buffer-limit`).
    #[must_use]
    pub fn query_bytes_max(&self) -> usize {
        self.query_bytes_max.load(Ordering::Relaxed)
    }

    /// How much a client may leave unread (`client-output-buffer-limit normal`).
    #[must_use]
    pub fn output(&self) -> BufferLimit {
        self.output.read()
    }

    /// The same of a client that listens to channels (`client-output-buffer-limit pubsub`).
    #[must_use]
    pub fn listener_output(&self) -> BufferLimit {
        self.listener_output.read()
    }

    /// How many bytes of messages may wait for a client that listens or monitors.
    #[must_use]
    pub fn mailbox_bytes_max(&self) -> usize {
        self.listener_output().hard_bytes_or(UNTAKEN_BYTES_MAX)
    }

    /// How long a client may stay without its password (`auth-timeout`); `None` for ever.
    #[must_use]
    pub fn auth_timeout(&self) -> Option<Duration> {
        let milliseconds = self.auth_timeout_ms.load(Ordering::Relaxed);
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    }

    /// How long an idle client may stay (`timeout`); `None` for ever.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        let seconds = self.idle_timeout_s.load(Ordering::Relaxed);
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }
}
