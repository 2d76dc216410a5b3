//! What redis-server does: it draws five keys at random, keeps the best candidates in a pool of sixteen, and evicts the
//! best of them, by idle time or by a counter of few bits that grows ever more slowly and decays.

use fastrand::Rng;

use super::{Hots, Policy};

/// `maxmemory-samples`.
const SAMPLES: usize = 5;
/// Redis's `EVPOOL_SIZE`.
const POOL: usize = 16;
/// `lfu-log-factor`.
const LOG_FACTOR: f64 = 10.0;
/// `lfu-decay-time`, in seconds.
const DECAY_S: u32 = 60;
/// What a new key begins with, so that it is not evicted at once.
const COUNTER_START: u8 = 5;

/// By what a key is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `allkeys-lru`.
    Recency,
    /// `allkeys-lfu`.
    Frequency,
}

/// Redis's sampled eviction.
#[derive(Debug)]
pub struct Sampled {
    by: By,
    hots: Hots,
    used_s: Vec<u32>,
    counter: Vec<u8>,
    /// Candidates, the best last.
    pool: Vec<(u32, u32)>,
    random: Rng,
    capacity: usize,
}

impl Sampled {
    /// An empty one.
    pub fn new(by: By, keys: usize, capacity: usize) -> Self {
        let (used_s, counter) = (vec![0; keys], vec![0; keys]);
        Self { by, hots: Hots::new(keys, 1), used_s, counter, pool: Vec::new(), random: Rng::with_seed(1), capacity }
    }

    /// How good a candidate a key is: larger goes sooner.
    fn idle(&self, key: u32, now_s: u32) -> u32 {
        match self.by {
            By::Recency => now_s - self.used_s[key as usize],
            By::Frequency => u32::from(u8::MAX - self.decayed(key, now_s)),
        }
    }

    fn decayed(&self, key: u32, now_s: u32) -> u8 {
        let periods = now_s / DECAY_S - self.used_s[key as usize] / DECAY_S;
        self.counter[key as usize].saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX))
    }

    fn use_now(&mut self, key: u32, now_s: u32) {
        let counter = self.decayed(key, now_s);
        let above = f64::from(counter.saturating_sub(COUNTER_START));
        let grows = counter < u8::MAX && self.random.f64() < 1.0 / (above * LOG_FACTOR + 1.0);
        self.counter[key as usize] = counter + u8::from(grows);
        self.used_s[key as usize] = now_s;
    }

    fn fill_pool(&mut self, now_s: u32) {
        for _ in 0..SAMPLES {
            let key = self.hots.pick(&mut self.random);
            if self.pool.iter().any(|(_, pooled)| *pooled == key) {
                continue;
            }
            let idle = self.idle(key, now_s);
            let place = self.pool.partition_point(|(pooled, _)| *pooled < idle);
            if self.pool.len() < POOL {
                self.pool.insert(place, (idle, key));
            } else if place > 0 {
                self.pool.remove(0);
                self.pool.insert(place - 1, (idle, key));
            }
        }
    }

    fn evict(&mut self, now_s: u32) {
        loop {
            self.fill_pool(now_s);
            while let Some((_, key)) = self.pool.pop() {
                if self.hots.holds(key) {
                    self.hots.remove(key);
                    return;
                }
            }
        }
    }
}

impl Policy for Sampled {
    fn access(&mut self, key: u32, now_s: u32) -> bool {
        if self.hots.holds(key) {
            self.use_now(key, now_s);
            return true;
        }
        if self.hots.len() == self.capacity {
            self.evict(now_s);
        }
        (self.used_s[key as usize], self.counter[key as usize]) = (now_s, COUNTER_START);
        self.hots.insert(key);
        false
    }

    fn forget(&mut self, key: u32) {
        if self.hots.holds(key) {
            self.hots.remove(key);
        }
    }
}
