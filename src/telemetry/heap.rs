//! What the allocator says of its memory. It says nothing where the program does not use it, as in most tests.
//!
//! It is built with settings of its own, in `.cargo/config.toml` (jemalloc(3), "tuning"):
//!
//! - `narenas:1`: all threads take their memory from the same pages. With some for each thread, what one of them frees leaves
//!   holes that the others cannot use, and a pass over all keys could move nothing down from one to another. Threads do not wait
//!   for each other all the same: each has a cache, and goes to the arena for many allocations at once.
//! - `tcache_max`, `tcache_nslots_*`, `lg_tcache_nslots_mul`: the caches of the threads hold little. By default each thread keeps
//!   some hundred kilobytes, which shows in a server of tens of megabytes.
//! - `dirty_decay_ms:500`, `muzzy_decay_ms:0`: pages that are free go back to the system after half a second, not after ten.

use tikv_jemalloc_ctl::{epoch, stats};

/// What the allocator holds, in bytes (jemalloc(3), `stats.allocated`, `stats.active`, `stats.metadata`,
/// `stats.resident`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap {
    /// What it was asked for and has not got back, each allocation rounded up.
    pub allocated: usize,
    /// The pages on which any of that stands.
    pub active: usize,
    /// Its own books.
    pub metadata: usize,
    /// All pages: these, its own, and free ones that it has not given back to the system yet.
    pub resident: usize,
}

impl Heap {
    /// How it stands now. It takes some 50 µs.
    #[must_use]
    pub fn now() -> Self {
        // The figures are those of the last advance.
        if epoch::advance().is_err() {
            return Self::default();
        }
        Self {
            allocated: stats::allocated::read().unwrap_or(0),
            active: stats::active::read().unwrap_or(0),
            metadata: stats::metadata::read().unwrap_or(0),
            resident: stats::resident::read().unwrap_or(0),
        }
    }

    /// The holes on pages that are in use.
    #[must_use]
    pub fn holes(&self) -> usize {
        self.active.saturating_sub(self.allocated)
    }
}
