//! How many keys there are, per Redis database: kept beside the table, so that DBSIZE walks nothing.

use std::sync::atomic::{AtomicI64, Ordering};

use super::entry::Life;
use crate::clock::Expiry;
use crate::telemetry::metrics::DATABASES_MAX;

/// The numbers of keys.
#[derive(Debug)]
pub struct Counts {
    keys: Box<[AtomicI64]>,
    expiring: Box<[AtomicI64]>,
}

impl Default for Counts {
    fn default() -> Self {
        let zeros = || (0..DATABASES_MAX).map(|_| AtomicI64::new(0)).collect();
        Self { keys: zeros(), expiring: zeros() }
    }
}

impl Counts {
    /// A key's life went from `before` to `after`.
    pub fn shift(&self, database: u8, before: Option<&Life>, after: Option<&Life>) {
        let expires = |life: &Life| life.expiry != Expiry::NEVER;
        add(&self.keys[usize::from(database)], before.is_some(), after.is_some());
        add(&self.expiring[usize::from(database)], before.is_some_and(expires), after.is_some_and(expires));
    }

    /// Keys of a database.
    #[must_use]
    pub fn keys(&self, database: u8) -> usize {
        read(&self.keys[usize::from(database)])
    }

    /// Keys of a database that have an end.
    #[must_use]
    pub fn expiring(&self, database: u8) -> usize {
        read(&self.expiring[usize::from(database)])
    }
}

fn add(count: &AtomicI64, before: bool, after: bool) {
    match (before, after) {
        (false, true) => count.fetch_add(1, Ordering::Relaxed),
        (true, false) => count.fetch_sub(1, Ordering::Relaxed),
        (true, true) | (false, false) => return,
    };
}

fn read(count: &AtomicI64) -> usize {
    usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(0)
}
