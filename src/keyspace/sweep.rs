//! The sweep: it goes over the shards from time to time and packs the values that have settled down, so that what is written
//! at every request costs nothing, and reads and writes wait for it no longer than for each other. It also sees when a new
//! dictionary is needed, and moves all values to it. It never packs what has something under way.

mod fit;

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::Keyspace;
use super::dictionary::{Dictionary, Packer, Samples, Trained};
use super::hot::SHARDS;
use super::keys::fresh_chance;
use super::packed::Kept;
use super::slot::{Held, Slot};
use fit::{Fit, SAMPLES_MAX, SAMPLES_MIN};

/// Values that are packed under one lock: some 30 µs.
const PACKED_PER_LOCK_MAX: usize = 16;

/// The same in bytes, of which some 300 are packed in a microsecond.
const BYTES_PER_LOCK_MAX: usize = 32 * 1024;

/// What a step has come to.
#[derive(Debug)]
pub enum Step {
    /// The time is over, the pass is not.
    Unfinished,
    /// The pass is over.
    Finished,
    /// A dictionary is to be trained, off the threads that serve; [`Sweep::adopt`] takes what comes of it.
    Train(Training),
}

/// What a dictionary is trained on.
#[derive(Debug)]
pub struct Training {
    samples: Samples,
    number: NonZeroU8,
    in_use: Option<Arc<Dictionary>>,
}

impl Training {
    /// Trains it: a tenth of a second of work. `None` if nothing can be learnt.
    #[must_use]
    pub fn run(self) -> Option<Trained> {
        self.samples.train(self.number, self.in_use.as_deref())
    }
}

/// What a look through a shard has found, and what may still be packed under its lock.
struct Look {
    /// Values for a later pass.
    later: bool,
    /// Values for which there was no room under this lock.
    more: bool,
    values_left: usize,
    bytes_left: usize,
}

/// The state of the sweep; a keyspace has one at most.
#[derive(Debug)]
pub struct Sweep {
    packer: Packer,
    fit: Fit,
    /// The next shard; `None` between two passes.
    shard: Option<usize>,
    /// Incarnations up to this one have settled down: they have been there for a pass.
    settled: u64,
    begun: u64,
    newest: Option<Arc<Dictionary>>,
    /// Values that this pass has left with an older dictionary; `None` when there is none.
    older_left: Option<usize>,
}

impl Default for Sweep {
    fn default() -> Self {
        Self::new(SAMPLES_MIN)
    }
}

impl Sweep {
    /// Without a dictionary, which is trained once `samples_min` values are large enough to be packed.
    #[must_use]
    pub fn new(samples_min: usize) -> Self {
        Self {
            packer: Packer::default(),
            fit: Fit::new(samples_min),
            shard: None,
            settled: 0,
            begun: 0,
            newest: None,
            older_left: None,
        }
    }

    /// Goes on with the pass, or begins one, for `limit` or little longer.
    pub fn step(&mut self, keyspace: &Keyspace, limit: Duration) -> Step {
        let begun = Instant::now();
        if self.shard.is_none() {
            self.settled = std::mem::replace(&mut self.begun, keyspace.newest_incarnation());
        }
        let mut number = self.shard.unwrap_or(0);
        while number < SHARDS {
            self.shard = Some(number);
            if begun.elapsed() >= limit {
                return Step::Unfinished;
            }
            let has_more = keyspace.hot.take_change(number) && self.look_through(keyspace, number);
            number += usize::from(!has_more);
            if let Some(training) = self.training(keyspace) {
                self.shard = Some(number);
                return Step::Train(training);
            }
        }
        self.shard = None;
        self.end(keyspace)
    }

    /// Whether a pass has begun and is not over.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.shard.is_some()
    }

    /// Takes a new dictionary into use, if it is worth that.
    pub fn adopt(&mut self, keyspace: &Keyspace, trained: Option<Trained>) {
        let is_better = self.fit.judge(trained.as_ref(), keyspace.packed_bytes().values);
        let Some(Trained { dictionary, ratio, .. }) = trained.filter(|_| is_better) else { return };
        keyspace.metrics.dictionaries_trained.increment();
        info!(
            values = dictionary.samples,
            ratio = format!("{ratio:.2}"),
            "trained a dictionary by which values are compressed in memory"
        );
        self.older_left = self.newest.as_ref().map(|_| 0);
        keyspace.packing.adopt(dictionary);
        self.newest = keyspace.packing.newest();
        // All shards once more: what could not be packed, and what an older dictionary has packed.
        keyspace.hot.note_changes();
        self.shard = Some(0);
    }

    /// What a dictionary is to be trained on, if it is time while the pass goes on.
    fn training(&mut self, keyspace: &Keyspace) -> Option<Training> {
        let mut samples = self.fit.take(if self.newest.is_some() { SAMPLES_MAX / 2 } else { SAMPLES_MAX })?;
        if self.newest.is_some() {
            // Half of the new ones that it does not fit, half of all that it must go on to fit.
            gather_packed(keyspace, &mut samples);
        }
        Some(self.train_on(keyspace, samples))
    }

    fn train_on(&self, keyspace: &Keyspace, samples: Samples) -> Training {
        Training { samples, number: keyspace.packing.free_number(), in_use: self.newest.clone() }
    }

    fn end(&mut self, keyspace: &Keyspace) -> Step {
        if self.older_left == Some(0) {
            keyspace.packing.retire();
            self.older_left = None;
        }
        self.older_left = self.older_left.map(|_| 0);
        let samples = match &self.newest {
            None => self.fit.end_without_dictionary(),
            Some(_) if self.older_left.is_none() && self.fit.has_outgrown(keyspace.packed_bytes().values) => {
                let mut samples = Samples::default();
                gather_packed(keyspace, &mut samples);
                Some(samples)
            }
            Some(_) => None,
        };
        samples.map_or(Step::Finished, |samples| Step::Train(self.train_on(keyspace, samples)))
    }

    /// Packs what has settled down in a shard, as much as one lock allows. Answers whether there is more.
    fn look_through(&mut self, keyspace: &Keyspace, number: usize) -> bool {
        let (values_left, bytes_left) = (PACKED_PER_LOCK_MAX, BYTES_PER_LOCK_MAX);
        let mut look = Look { later: false, more: false, values_left, bytes_left };
        let mut locked = keyspace.hot.lock_shard(number);
        locked.retain(number, |slot| {
            self.look_at(keyspace, slot, &mut look);
            true
        });
        if look.later || look.more {
            keyspace.hot.note_change(number);
        }
        look.more
    }

    fn look_at(&mut self, keyspace: &Keyspace, slot: &mut Slot, look: &mut Look) {
        if slot.pending().is_some() {
            look.later = true;
            self.older_left = self.older_left.map(|left| left + usize::from(self.has_older(slot)));
            return;
        }
        let Some((held, incarnation)) = slot.life().and_then(|life| Some((life.value?, life.incarnation))) else {
            return;
        };
        match held {
            Held::Packed(number, _) if self.is_newest(number) => {}
            Held::Packed(..) => self.move_to_newest(keyspace, slot, look),
            Held::Inside(value) => self.look_at_plain(keyspace, slot, (value.len(), incarnation), look),
            Held::Apart(value) => self.look_at_plain(keyspace, slot, (value.len(), incarnation), look),
        }
    }

    fn look_at_plain(
        &mut self,
        keyspace: &Keyspace,
        slot: &mut Slot,
        (bytes, incarnation): (usize, u64),
        look: &mut Look,
    ) {
        let is_tried = slot.tried().is_some_and(|number| self.is_newest(number));
        if is_tried || !keyspace.packing.takes(bytes) {
            return;
        }
        if incarnation > self.settled || self.newest.is_none() {
            look.later = true;
        }
        let Some(held) = slot.life().and_then(|life| life.value).filter(|_| incarnation <= self.settled) else {
            return;
        };
        let Some(newest) = &self.newest else { return self.fit.gather(held.in_memory()) };
        if look.has_room(bytes) {
            let packed = self.packer.pack(newest, held.in_memory());
            self.fit.note(held.in_memory(), packed.map_or(bytes, <[u8]>::len), self.older_left.is_none());
            let kept = packed.map(|packed| Kept::Packed(newest.number, Arc::from(packed)));
            put(slot, kept, newest.number);
        }
    }

    fn move_to_newest(&mut self, keyspace: &Keyspace, slot: &mut Slot, look: &mut Look) {
        let (Some(held), Some(newest)) = (slot.life().and_then(|life| life.value), &self.newest) else { return };
        if !look.has_room(held.value_bytes()) {
            return;
        }
        let Some(value) = held.share(&keyspace.packing) else { return keyspace.drop_damaged(slot) };
        let packed = self.packer.pack(newest, &value).map(Arc::from);
        let kept = packed.map_or(Kept::Plain(value), |packed| Kept::Packed(newest.number, packed));
        put(slot, Some(kept), newest.number);
    }

    fn is_newest(&self, number: NonZeroU8) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.number == number)
    }

    /// Whether an older dictionary has packed the value of a key that has something under way, or the one it would get back.
    fn has_older(&self, slot: &Slot) -> bool {
        let is_older = |number| !self.is_newest(number);
        let now = slot.life().and_then(|life| life.value);
        let before = slot.pending().and_then(|pending| pending.committed.as_ref()?.value.as_ref());
        matches!(now, Some(Held::Packed(number, _)) if is_older(number))
            || matches!(before, Some(Kept::Packed(number, _)) if is_older(*number))
    }
}

/// Puts a value in the place of what a settled key holds, which stays if there is none.
fn put(slot: &mut Slot, kept: Option<Kept>, dictionary: NonZeroU8) {
    let is_packed = matches!(kept, Some(Kept::Packed(..)));
    if let Some(kept) = kept {
        slot.change(|_, entry| entry.life.iter_mut().for_each(|life| life.value = Some(kept.clone())));
    }
    if !is_packed {
        slot.set_tried(dictionary);
    }
}

/// Adds values of all ages, from anywhere.
fn gather_packed(keyspace: &Keyspace, samples: &mut Samples) {
    let first = usize::try_from(fresh_chance() % SHARDS as u64).unwrap_or(0);
    for number in (first..SHARDS).chain(0..first) {
        if samples.count() >= SAMPLES_MAX || samples.is_full() {
            return;
        }
        let locked = keyspace.hot.lock_shard(number);
        for (slot, ()) in locked.shard(number).into_iter().flatten() {
            if let Some(Held::Packed(dictionary, packed)) = slot.life().and_then(|life| life.value) {
                keyspace.packing.unpack(dictionary, packed, |value| samples.add(value));
            }
        }
    }
}

impl Look {
    /// Takes the room for a value of this size, if there is any; else it has to come under the next lock.
    fn has_room(&mut self, bytes: usize) -> bool {
        if self.values_left == 0 || self.bytes_left == 0 {
            self.more = true;
            return false;
        }
        self.values_left -= 1;
        // One that is larger than all the room goes alone.
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        true
    }
}
