//! Policies that keep the values in lists: each needs some words of memory a value, and most a lock on every read.

use std::collections::{HashSet, VecDeque};

use super::Policy;

const NONE: u32 = u32::MAX;

/// A list over the numbers of keys, with its newest at the head.
#[derive(Debug)]
struct Linked {
    newer: Vec<u32>,
    older: Vec<u32>,
    is_in: Vec<bool>,
    head: u32,
    tail: u32,
    length: usize,
}

impl Linked {
    fn new(keys: usize) -> Self {
        let (newer, older, is_in) = (vec![NONE; keys], vec![NONE; keys], vec![false; keys]);
        Self { newer, older, is_in, head: NONE, tail: NONE, length: 0 }
    }

    fn push(&mut self, key: u32) {
        let place = key as usize;
        (self.newer[place], self.older[place], self.is_in[place]) = (NONE, self.head, true);
        match self.head {
            NONE => self.tail = key,
            head => self.newer[head as usize] = key,
        }
        self.head = key;
        self.length += 1;
    }

    fn remove(&mut self, key: u32) {
        let (newer, older) = (self.newer[key as usize], self.older[key as usize]);
        match newer {
            NONE => self.head = older,
            newer => self.older[newer as usize] = older,
        }
        match older {
            NONE => self.tail = newer,
            older => self.newer[older as usize] = newer,
        }
        self.is_in[key as usize] = false;
        self.length -= 1;
    }
}

/// The value that was used longest ago goes; or, as FIFO, the one that came first.
#[derive(Debug)]
pub struct Lru {
    list: Linked,
    capacity: usize,
    reads_renew: bool,
}

impl Lru {
    /// Least recently used, exactly.
    pub fn exact(keys: usize, capacity: usize) -> Self {
        Self { list: Linked::new(keys), capacity, reads_renew: true }
    }

    /// First in, first out.
    pub fn fifo(keys: usize, capacity: usize) -> Self {
        Self { reads_renew: false, ..Self::exact(keys, capacity) }
    }
}

impl Policy for Lru {
    fn access(&mut self, key: u32, _now_s: u32) -> bool {
        let is_hot = self.list.is_in[key as usize];
        if is_hot && !self.reads_renew {
            return true;
        }
        if is_hot {
            self.list.remove(key);
        } else if self.list.length == self.capacity {
            self.list.remove(self.list.tail);
        }
        self.list.push(key);
        is_hot
    }

    fn forget(&mut self, key: u32) {
        if self.list.is_in[key as usize] {
            self.list.remove(key);
        }
    }
}

/// SIEVE: a queue whose hand walks from the oldest to the newest and spares what was read since it came by.
#[derive(Debug)]
pub struct Sieve {
    list: Linked,
    visited: Vec<bool>,
    hand: u32,
    capacity: usize,
}

impl Sieve {
    /// An empty one.
    pub fn new(keys: usize, capacity: usize) -> Self {
        Self { list: Linked::new(keys), visited: vec![false; keys], hand: NONE, capacity }
    }

    fn evict(&mut self) {
        let mut at = if self.hand == NONE { self.list.tail } else { self.hand };
        while std::mem::take(&mut self.visited[at as usize]) {
            at = match self.list.newer[at as usize] {
                NONE => self.list.tail,
                newer => newer,
            };
        }
        self.hand = self.list.newer[at as usize];
        self.list.remove(at);
    }
}

impl Policy for Sieve {
    fn access(&mut self, key: u32, _now_s: u32) -> bool {
        if self.list.is_in[key as usize] {
            self.visited[key as usize] = true;
            return true;
        }
        if self.list.length == self.capacity {
            self.evict();
        }
        self.visited[key as usize] = false;
        self.list.push(key);
        false
    }

    fn forget(&mut self, key: u32) {
        if self.list.is_in[key as usize] {
            if self.hand == key {
                self.hand = self.list.newer[key as usize];
            }
            self.list.remove(key);
        }
    }
}

/// S3-FIFO: a small queue for what is new, a main one for what was read again, and the names of what left the small one.
#[derive(Debug)]
pub struct S3Fifo {
    small: VecDeque<(u32, u32)>,
    main: VecDeque<(u32, u32)>,
    ghosts: VecDeque<u32>,
    ghost_names: HashSet<u32>,
    reads: Vec<u8>,
    place: Vec<Place>,
    /// Tells a value from an earlier one of the same key, which still stands in a queue.
    life: Vec<u32>,
    counts: [usize; 2],
    capacity: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Cold,
    Small,
    Main,
}

impl S3Fifo {
    const READS_MAX: u8 = 3;

    /// An empty one.
    pub fn new(keys: usize, capacity: usize) -> Self {
        let (small, main, ghosts) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        let (reads, place, life) = (vec![0; keys], vec![Place::Cold; keys], vec![0; keys]);
        Self { small, main, ghosts, ghost_names: HashSet::new(), reads, place, life, counts: [0; 2], capacity }
    }

    fn insert(&mut self, key: u32, place: Place) {
        let entry = (key, self.life[key as usize]);
        self.place[key as usize] = place;
        if place == Place::Main {
            self.main.push_back(entry);
            self.counts[1] += 1;
        } else {
            self.small.push_back(entry);
            self.counts[0] += 1;
        }
    }

    fn leave(&mut self, key: u32) {
        match std::mem::replace(&mut self.place[key as usize], Place::Cold) {
            Place::Cold => {}
            Place::Small => self.counts[0] -= 1,
            Place::Main => self.counts[1] -= 1,
        }
        self.life[key as usize] += 1;
    }

    fn evict(&mut self) {
        if self.counts[0] >= self.capacity / 10 && self.evict_small() {
            return;
        }
        self.evict_main();
    }

    fn evict_small(&mut self) -> bool {
        while let Some((key, life)) = self.small.pop_front() {
            let place = key as usize;
            if self.place[place] != Place::Small || self.life[place] != life {
                continue;
            }
            let was_read = self.reads[place] > 1;
            self.leave(key);
            if was_read {
                self.reads[place] = 0;
                self.insert(key, Place::Main);
            } else {
                self.remember(key);
                return true;
            }
        }
        false
    }

    fn evict_main(&mut self) {
        while let Some((key, life)) = self.main.pop_front() {
            let place = key as usize;
            if self.place[place] != Place::Main || self.life[place] != life {
                continue;
            }
            if self.reads[place] == 0 {
                self.leave(key);
                return;
            }
            self.reads[place] -= 1;
            self.main.push_back((key, life));
        }
        self.evict_small();
    }

    fn remember(&mut self, key: u32) {
        if self.ghost_names.insert(key) {
            self.ghosts.push_back(key);
        }
        if self.ghosts.len() > self.capacity * 9 / 10 {
            self.ghosts.pop_front().into_iter().for_each(|key| _ = self.ghost_names.remove(&key));
        }
    }
}

impl Policy for S3Fifo {
    fn access(&mut self, key: u32, _now_s: u32) -> bool {
        if self.place[key as usize] != Place::Cold {
            let reads = &mut self.reads[key as usize];
            *reads = (*reads + 1).min(Self::READS_MAX);
            return true;
        }
        while self.counts[0] + self.counts[1] >= self.capacity {
            self.evict();
        }
        self.reads[key as usize] = 0;
        let is_known = self.ghost_names.contains(&key);
        self.insert(key, if is_known { Place::Main } else { Place::Small });
        false
    }

    fn forget(&mut self, key: u32) {
        if self.place[key as usize] != Place::Cold {
            self.leave(key);
        }
    }
}
