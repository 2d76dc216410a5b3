//! At `maxmemory` values leave memory and stay in the database: a hand goes round the shards, and a value that nobody has read
//! since it was there last leaves (CLOCK). A new value starts as not read, so that a crawler that loads each of them once pushes
//! out only what it loaded itself. It never touches a key, nor a value that is not committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Keyspace;
use super::hot::{SHARDS, Spot};
use super::marks::{Marks, READS_MAX};
use super::slot::Slot;
use crate::clock::Expiry;
use crate::config::EvictionPolicy;

/// What a client waits at most for values to leave, before its command runs all the same: Redis's own measure.
const SLICE: Duration = Duration::from_micros(500);

/// So many shards are gone through between two looks at the time: some hundred keys.
const SHARDS_TOGETHER: usize = 4;

/// From this share of the limit beyond it on, writes wait for what they have added to be committed or to leave.
const STRAIN_SHARE: usize = 32;

/// Under `volatile-ttl` so many keys are looked at, in so many shards at most, and of all that the hand then passes the values
/// leave whose keys end as soon as the first of so many of those.
const SAMPLE_KEYS: usize = 256;
const SAMPLE_SHARDS_MAX: usize = 2_048;
const SOONEST_SHARE: usize = 4;

/// What a write finds at the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Room, or there is soon.
    Some,
    /// None: what cannot leave is larger than the limit.
    None,
}

/// What of the memory can leave.
struct Balance {
    used: usize,
    limit: usize,
    /// What can leave now.
    sheddable: usize,
    /// What can leave once it is committed.
    uncommitted: usize,
}

/// Which of the values that the hand passes leave.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Those that were not read since it was there.
    Unread,
    /// One half.
    AnyHalf,
    /// Those whose keys end by then.
    EndsBy(Expiry),
}

/// Where the hand is.
#[derive(Debug, Default)]
pub struct Eviction {
    hand: AtomicUsize,
    /// Which values were read.
    pub marks: Marks,
    strained: AtomicBool,
    wanted: Notify,
}

/// Keeps values that were loaded until they are read.
#[derive(Debug)]
pub struct Hold(Arc<Keyspace>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.eviction.marks.hold(false);
    }
}

impl Balance {
    fn is_over(&self) -> bool {
        self.used > self.limit
    }

    /// Whether there is too much, and some of it can leave now.
    fn can_shed(&self) -> bool {
        self.is_over() && self.sheddable > 0
    }

    /// Whether nothing that can be waited for brings it below the limit.
    fn is_full(&self) -> bool {
        self.used.saturating_sub(self.sheddable + self.uncommitted) > self.limit
    }

    fn is_strained(&self) -> bool {
        self.used > self.limit.saturating_add(self.limit / STRAIN_SHARE) && !self.is_full()
    }
}

impl Keyspace {
    /// Before a command that may need memory: lets values leave if there is too little, for a moment at most. Not to be called
    /// under a lock of keys.
    pub fn make_room(&self) -> Room {
        if self.memory_used() <= self.memory_limit.bytes() {
            return Room::Some;
        }
        let balance = self.shed(SLICE);
        if balance.is_over() {
            self.eviction.wanted.notify_one();
        }
        if balance.is_full() { Room::None } else { Room::Some }
    }

    /// The same without letting anything leave.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.memory_used() > self.memory_limit.bytes() && self.balance().is_full()
    }

    /// Whether so much was added beyond the limit that who adds more is to wait.
    #[must_use]
    pub fn is_strained(&self) -> bool {
        self.eviction.strained.load(Ordering::Relaxed)
    }

    /// Lets values leave for a moment, if there is too little memory. Answers whether more can leave at once.
    pub fn relieve(&self) -> bool {
        self.shed(SLICE).can_shed()
    }

    /// What the background does now and then: fits the marks to the number of keys, and keeps memory within its limit.
    /// Answers whether there is more to do at once.
    pub fn tend_memory(&self) -> bool {
        let (used, limit) = (self.memory_used(), self.memory_limit.bytes());
        let evicts = self.memory_limit.policy() != EvictionPolicy::NoEviction;
        self.eviction.marks.fit(evicts && used > limit / 2, self.counts.all_keys());
        (used > limit || self.is_strained()) && self.relieve()
    }

    /// Ready when the background should not wait for its next turn.
    pub async fn memory_is_short(&self) {
        self.eviction.wanted.notified().await;
    }

    /// Keeps the values that are loaded from now on until they are read: for a request whose values left again before it ran.
    #[must_use]
    pub fn hold_loaded(self: &Arc<Self>) -> Hold {
        self.eviction.marks.hold(true);
        Hold(Arc::clone(self))
    }

    /// The limit or the policy may have changed.
    pub(super) fn follow_limit(&self) {
        self.eviction.wanted.notify_one();
    }

    /// A value was read.
    pub(super) fn note_read(&self, spot: Spot) {
        self.eviction.marks.note_read(spot.hash(), self.reads_told_apart());
    }

    /// How often a value was read, as far as that is known.
    pub(super) fn reads_of(&self, spot: Spot) -> u8 {
        self.eviction.marks.reads(spot.hash())
    }

    /// Whether the policy asks how often a value is read, and not only whether.
    pub(super) fn counts_reads(&self) -> bool {
        matches!(self.memory_limit.policy(), EvictionPolicy::AllkeysLfu | EvictionPolicy::VolatileLfu)
    }

    /// How many reads of a value are told apart.
    fn reads_told_apart(&self) -> u8 {
        if self.counts_reads() { READS_MAX } else { 1 }
    }

    fn balance(&self) -> Balance {
        let holding = self.hot.account().holding();
        let policy = self.memory_limit.policy();
        let lasting = if policy.is_volatile() { 0 } else { holding.lasting };
        let sheddable = if policy == EvictionPolicy::NoEviction { 0 } else { holding.expiring + lasting };
        // In an outage nothing is committed.
        let is_down = self.write_through.is_down();
        let uncommitted = if is_down { 0 } else { holding.pending + self.write_through.held_bytes() };
        Balance { used: self.memory_used(), limit: self.memory_limit.bytes(), sheddable, uncommitted }
    }

    /// Lets values leave until there is room, none is left that can, or the time is over.
    fn shed(&self, at_most: Duration) -> Balance {
        let begun = Instant::now();
        let mut balance = self.balance();
        // What leaves is found out in half of the time, so that there is some left for it to leave in.
        if balance.can_shed()
            && let Some(order) = self.order(begun + at_most / 2)
        {
            while balance.can_shed() {
                for _ in 0..SHARDS_TOGETHER {
                    self.shed_shard(self.eviction.hand.fetch_add(1, Ordering::Relaxed), order);
                }
                balance = self.balance();
                if begun.elapsed() >= at_most {
                    break;
                }
            }
        }
        self.eviction.strained.store(balance.is_strained(), Ordering::Relaxed);
        balance
    }

    /// The hand passes one shard.
    fn shed_shard(&self, turn: usize, order: Order) {
        let (number, with_end) = (turn % SHARDS, self.memory_limit.policy().is_volatile());
        let mut evicted = 0;
        self.hot.lock_shard(number).retain(number, |slot| {
            if slot.may_leave(with_end) && self.leaves(slot, turn, order) {
                slot.evict();
                evicted += 1;
            }
            true
        });
        self.metrics.evicted_values.add(evicted);
    }

    /// Which values leave; `None` if none was found `until` then.
    fn order(&self, until: Instant) -> Option<Order> {
        match self.memory_limit.policy() {
            EvictionPolicy::AllkeysLru
            | EvictionPolicy::VolatileLru
            | EvictionPolicy::AllkeysLfu
            | EvictionPolicy::VolatileLfu => Some(Order::Unread),
            EvictionPolicy::AllkeysRandom | EvictionPolicy::VolatileRandom => Some(Order::AnyHalf),
            EvictionPolicy::VolatileTtl => self.soonest(until).map(Order::EndsBy),
            EvictionPolicy::NoEviction => None,
        }
    }

    fn leaves(&self, slot: &Slot, turn: usize, order: Order) -> bool {
        let hash = self.hot.spot(slot.database(), slot.key()).hash();
        match order {
            Order::Unread => self.eviction.marks.pass(hash),
            // Another half in each round.
            Order::AnyHalf => (hash >> (turn / SHARDS % 64)) & 1 == 1,
            Order::EndsBy(last) => slot.life().is_some_and(|life| life.ends.expiry <= last),
        }
    }

    /// By when those keys end whose values leave first: the nearest of a sample from where the hand is, as far as it comes
    /// `until` then.
    fn soonest(&self, until: Instant) -> Option<Expiry> {
        let first = self.eviction.hand.load(Ordering::Relaxed);
        let (mut passed, mut ends) = (0, Vec::<Expiry>::new());
        while passed < SAMPLE_SHARDS_MAX {
            let number = (first + passed) % SHARDS;
            let locked = self.hot.read_shard(number);
            let slots = locked.shard(number).into_iter().flatten().map(|(slot, ())| slot);
            let leaving = slots.filter(|slot| slot.may_leave(true));
            ends.extend(leaving.filter_map(|slot| Some(slot.life()?.ends.expiry)));
            passed += 1;
            if ends.len() >= SAMPLE_KEYS || Instant::now() >= until {
                break;
            }
        }
        if ends.is_empty() {
            // Nothing here may leave, so the next sample need not begin here.
            self.eviction.hand.fetch_add(passed, Ordering::Relaxed);
        }
        let last = ends.len().checked_sub(1)? / SOONEST_SHARE;
        Some(*ends.select_nth_unstable(last).1)
    }
}
