//! The heart: every key with its expiry, hot values, and the one place where a command decides and queues its change
//! under the same short lock. It never waits for the database while it holds a lock, and it never says that a key
//! does not exist unless it is so.

pub mod account;
mod census;
pub mod collection;
mod compact;
mod copies;
pub mod counts;
mod damaged;
pub mod defragment;
pub mod dictionary;
pub mod entry;
pub mod events;
pub mod eviction;
pub mod expiry;
pub mod hot;
pub mod keys;
mod known;
pub mod load;
mod marks;
pub mod memory;
pub mod packed;
pub mod pause;
pub mod settle;
pub mod slot;
mod stream;
pub mod sweep;
pub mod touch;
mod warming;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::{Semaphore, mpsc};

use crate::clock::Clock;
use crate::config::Settings;
use crate::database::SessionTables;
use crate::database::write_through::WriteThrough;
use crate::protocol::limits::BULK_BYTES_MAX_DEFAULT;
use crate::telemetry::metrics::Metrics;
use counts::Counts;
use entry::{Ends, Name};
use events::Events;
use eviction::Eviction;
use hot::{Access, Hot, Spot};
pub use keys::{Keys, KeysError, Stamp, Tickets};
use load::{LOADS_WAITING_MAX, LoadRequest};
use memory::MemoryLimit;
use packed::Packing;
use pause::Pause;
use touch::Touches;
use watch::Watches;

/// All keys.
#[derive(Debug)]
pub struct Keyspace {
    hot: Hot,
    /// The keys in numbers.
    pub counts: Counts,
    /// How much memory they may take.
    pub memory_limit: MemoryLimit,
    eviction: Eviction,
    /// The touches that wait for the database.
    pub touches: Touches,
    /// Who watches what.
    pub watches: Watches,
    /// What is told to subscribers.
    pub events: Events,
    /// How values are packed.
    pub packing: Packing,
    write_through: Arc<WriteThrough>,
    session_tables: SessionTables,
    clock: Clock,
    metrics: Arc<Metrics>,
    incarnations: AtomicU64,
    value_bytes_max: AtomicUsize,
    large_warning: Pause,
    /// The turn of whoever walks over many keys.
    pub walks: Arc<Semaphore>,
    loads: mpsc::Sender<LoadRequest>,
}

/// How many walks over many keys go on at a time: as with redis-server, those who ask for all keys never take more than one
/// processor from those who ask for one.
const WALKS_MAX: usize = 1;

/// Which keys a command locks.
#[derive(Debug)]
pub enum Lock<'a> {
    /// These, of the selected database.
    Keys(&'a [(u8, &'a [u8])], Access),
    /// None: it locks shard by shard as it visits them.
    Shards,
    /// All there are.
    All,
}

impl Keyspace {
    /// A keyspace that knows no keys yet, and the requests for cold values and unknown keys that [`Keyspace::run_loader`] answers.
    #[must_use]
    pub fn new(
        session_tables: SessionTables,
        touch_interval: Duration,
        clock: Clock,
        write_through: Arc<WriteThrough>,
        metrics: Arc<Metrics>,
    ) -> (Arc<Self>, mpsc::Receiver<LoadRequest>) {
        let (loads, requests) = mpsc::channel(LOADS_WAITING_MAX);
        let keyspace = Self {
            hot: Hot::default(),
            counts: Counts::default(),
            memory_limit: MemoryLimit::default(),
            eviction: Eviction::default(),
            touches: Touches::new(touch_interval),
            watches: Watches::default(),
            events: Events::new(Arc::clone(&metrics)),
            packing: Packing::default(),
            write_through,
            session_tables,
            clock,
            metrics,
            incarnations: AtomicU64::new(0),
            value_bytes_max: AtomicUsize::new(BULK_BYTES_MAX_DEFAULT),
            large_warning: Pause::default(),
            walks: Arc::new(Semaphore::new(WALKS_MAX)),
            loads,
        };
        (Arc::new(keyspace), requests)
    }

    /// Locks keys for one command of a client that has selected `database`, at `now_ms`.
    #[must_use]
    pub fn lock(&self, lock: &Lock<'_>, database: u8, now_ms: i64) -> Keys<'_> {
        let locked = match lock {
            Lock::Keys(keys, access) => {
                let spots: smallvec::SmallVec<[Spot; 1]> =
                    keys.iter().map(|(database, key)| self.hot.spot(*database, key)).collect();
                self.hot.lock(&spots, *access)
            }
            Lock::Shards => self.hot.lock(&[], Access::Write),
            Lock::All => self.hot.lock_all(),
        };
        Keys::new(self, locked, database, now_ms)
    }

    /// Looks these keys up for nothing but to have them in the processor's cache. A look-up waits for memory some four
    /// times, each for what the one before it has brought; those of several keys wait side by side, but only while no
    /// locked instruction stands between them. So a pipeline's keys are looked up here, with all locks taken beforehand.
    pub fn prefetch(&self, keys: &[(u8, &[u8])]) {
        let spots: SmallVec<[Spot; 32]> = keys.iter().map(|(database, key)| self.hot.spot(*database, key)).collect();
        let locked = self.hot.lock(&spots, Access::Read);
        let found = keys.iter().zip(&spots).filter_map(|((database, key), spot)| locked.slot(*spot, *database, key));
        let bytes = found.filter_map(|slot| slot.life()?.value?.in_memory().first().copied());
        std::hint::black_box(bytes.fold(0_u8, |sum, byte| sum ^ byte));
    }

    /// Follows the settings.
    pub fn follow(&self, settings: &Settings) {
        self.value_bytes_max.store(settings.proto_max_bulk_len, Ordering::Relaxed);
        self.memory_limit.follow(settings);
        self.follow_limit();
        if self.packing.set_above(settings.compress_above) {
            // What was too small before.
            self.hot.note_changes();
        }
        self.touches.set_interval(settings.touch_interval);
        self.events.set_classes(settings.notify_keyspace_events);
    }

    fn value_bytes_max(&self) -> usize {
        self.value_bytes_max.load(Ordering::Relaxed)
    }

    fn next_incarnation(&self) -> u64 {
        self.incarnations.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn newest_incarnation(&self) -> u64 {
        self.incarnations.load(Ordering::Relaxed)
    }

    /// Leaves the end of a life to the touch queue, which holds it once. Returns its ends with that touch.
    fn put_off(&self, name: impl FnOnce() -> Name, incarnation: u64, ends: Ends, now_ms: i64) -> Ends {
        self.metrics.touches_gathered.increment();
        if ends.touch.is_some() || ends.recorded == ends.expiry {
            return ends;
        }
        self.touches.add(name(), incarnation, self.touches.due_ms(ends.recorded, ends.expiry, now_ms));
        Ends { touch: Some(incarnation), ..ends }
    }
}
