//! Warming: once all keys are known, the values of those that end last are fetched, since their sessions were used last. It goes on
//! beside the clients and gives way to them; it leaves room for what they write, and no value ever leaves memory for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::Keyspace;
use super::compact::hot_bytes;
use super::hot::SHARDS;
use super::keys::record;
use super::load::{About, Question};
use super::slot::{Lived, Slot};
use crate::clock::Expiry;
use crate::config::EvictionPolicy;
use crate::database::{Database, DatabaseError};

/// Of so many parts of `maxmemory` one stays free: for sessions that are yet to come, and because what fits is an estimate.
const SPARE_SHARE: usize = 10;

/// How many values are looked at to estimate what one takes.
const SAMPLE_KEYS: usize = 256;

/// By one in so many the estimate may be short: were the room full before all shards are gone through, the sessions of the last of
/// them would be missing, whenever they were used.
const ERROR_SHARE: usize = 32;

/// What one query fetches at most, by that estimate and in keys: a client's own query waits for no more.
const BATCH_BYTES: usize = 1024 * 1024;
const BATCH_KEYS: usize = 500;

/// How often it is looked whether clients still wait for values of theirs, or the database is still away.
const GIVE_WAY: Duration = Duration::from_millis(10);

/// Into how many parts the time is divided to count how many keys end in each: two walks over the keys tell seconds apart up to
/// the latest end that there is. The counts take 2 MiB.
const PARTS: usize = 1 << 18;
const PRECISION_MS: usize = 5_000;

/// Which cold values are worth it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// Those of keys that end no sooner, Unix milliseconds.
    from_ms: usize,
    /// Only those of keys that have an end: under `maxmemory-policy volatile-…` no others leave again.
    expiring_only: bool,
}

impl Keyspace {
    /// Fetches the values of the keys that end last, until there is no more room for them or none is cold. What is in memory
    /// already stays as it is, so that it can be called again after an error.
    ///
    /// # Errors
    /// What the database says.
    pub async fn warm_up(self: &Arc<Self>, database: &dyn Database) -> Result<(), DatabaseError> {
        self.metrics.warming.set(1);
        let warmed = self.warm_latest(database).await;
        self.metrics.warming.set(0);
        warmed
    }

    async fn warm_latest(self: &Arc<Self>, database: &dyn Database) -> Result<(), DatabaseError> {
        if self.room_to_warm() == 0 {
            // Nothing is asked that cannot come.
            return Ok(());
        }
        let expiring_only = self.memory_limit.policy().is_volatile();
        self.give_way().await;
        let Some(value_bytes) = self.sample(database, Wanted { from_ms: 0, expiring_only }).await? else {
            return Ok(());
        };
        let keys_max = self.room_to_warm() / (value_bytes + value_bytes / ERROR_SHARE);
        let from_ms = self.apart(move |keyspace| keyspace.end_of_latest(keys_max, expiring_only)).await;
        let Some(from_ms) = from_ms.filter(|_| keys_max > 0) else { return Ok(()) };
        self.warm_wanted(database, Wanted { from_ms, expiring_only }, value_bytes).await
    }

    async fn warm_wanted(
        self: &Arc<Self>,
        database: &dyn Database,
        wanted: Wanted,
        value_bytes: usize,
    ) -> Result<(), DatabaseError> {
        let batch_keys = (BATCH_BYTES / value_bytes).clamp(1, BATCH_KEYS);
        let mut shard = 0;
        while shard < SHARDS {
            let Some((next, questions)) = self.apart(move |keyspace| keyspace.cold(shard, batch_keys, wanted)).await
            else {
                break;
            };
            for batch in questions.chunks(batch_keys) {
                self.give_way().await;
                let fits = (self.room_to_warm() / value_bytes).min(batch.len());
                if fits == 0 || self.write_through.is_stopping() {
                    return Ok(());
                }
                let begun = Instant::now();
                self.metrics.warmed_values.add(self.ask(database, &batch[..fits]).await? as u64);
                // As long as it took: at most half of one of the database's processors.
                tokio::time::sleep(begun.elapsed()).await;
            }
            shard = next;
        }
        Ok(())
    }

    /// How many bytes of values may come. At a limit at which no value leaves, none: what came would take the place of logins.
    fn room_to_warm(&self) -> usize {
        match (self.memory_limit.bytes(), self.memory_limit.policy()) {
            (usize::MAX, _) => usize::MAX,
            (_, EvictionPolicy::NoEviction) => 0,
            (limit, _) => (limit - limit / SPARE_SHARE).saturating_sub(self.memory_use().used()),
        }
    }

    /// About how many bytes a value takes; `None` if none is cold. The keys' hashes are random, so the first that are met are as
    /// good as any.
    async fn sample(self: &Arc<Self>, database: &dyn Database, wanted: Wanted) -> Result<Option<usize>, DatabaseError> {
        let (_, questions) =
            self.apart(move |keyspace| keyspace.cold(0, SAMPLE_KEYS, wanted)).await.unwrap_or_default();
        let ids: Vec<_> =
            questions.iter().take(SAMPLE_KEYS).map(|question| record(&question.name, question.homes[0])).collect();
        if ids.is_empty() {
            return Ok(None);
        }
        let found = database.load(&ids).await?;
        let keys = questions.iter().map(|question| question.name.key.len());
        let values = keys.zip(&found).filter_map(|(key, record)| Some((key, record.as_ref()?.value.len())));
        let bytes: usize = values.map(|(key_bytes, value_bytes)| hot_bytes(key_bytes, value_bytes)).sum();
        Ok(Some((bytes / found.len().max(1)).max(1)))
    }

    /// Waits while clients wait for values of theirs, and while the database is away.
    async fn give_way(&self) {
        let is_busy = || self.loads.capacity() < self.loads.max_capacity() || self.write_through.is_down();
        while is_busy() && !self.write_through.is_stopping() {
            tokio::time::sleep(GIVE_WAY).await;
        }
    }

    /// Walks over keys beside the thread that serves the database; `None` if the walk panicked.
    async fn apart<T: Send + 'static>(self: &Arc<Self>, walk: impl FnOnce(&Self) -> T + Send + 'static) -> Option<T> {
        let keyspace = Arc::clone(self);
        tokio::task::spawn_blocking(move || walk(&keyspace)).await.ok()
    }

    /// Since when, in Unix milliseconds, those cold keys end that are the last `count` to end, or a few more. Only numbers are
    /// kept of the keys.
    fn end_of_latest(&self, count: usize, expiring_only: bool) -> usize {
        let (mut from_ms, mut span_ms, mut left) = (0, end_ms(Expiry::NEVER) + 1, count);
        while span_ms > PRECISION_MS {
            let part_ms = span_ms.div_ceil(PARTS);
            let counts = self.count_cold(Wanted { from_ms, expiring_only }, span_ms, part_ms);
            let first = (0..PARTS).rev().find(|part| {
                let fits = counts[*part] <= left;
                left -= if fits { counts[*part] } else { 0 };
                !fits
            });
            let Some(first) = first else { return from_ms };
            (from_ms, span_ms) = (from_ms + first * part_ms, part_ms);
        }
        from_ms
    }

    /// How many cold keys end in each part of a span of time.
    fn count_cold(&self, wanted: Wanted, span_ms: usize, part_ms: usize) -> Vec<usize> {
        let mut counts = vec![0; PARTS];
        for number in 0..SHARDS {
            self.visit_cold(number, wanted, |_, life| {
                let after_ms = end_ms(life.ends.expiry) - wanted.from_ms;
                if after_ms < span_ms {
                    counts[after_ms / part_ms] += 1;
                }
            });
        }
        counts
    }

    /// The cold keys of whole shards from this one on, some `count` of them, and the shard to go on with.
    fn cold(&self, mut shard: usize, count: usize, wanted: Wanted) -> (usize, Vec<Question>) {
        let mut questions = Vec::new();
        while shard < SHARDS && questions.len() < count {
            self.visit_cold(shard, wanted, |slot, life| {
                let homes = SmallVec::from_iter([life.home]);
                questions.push(Question { name: slot.name(), homes, about: About::Value(life.incarnation) });
            });
            shard += 1;
        }
        (shard, questions)
    }

    fn visit_cold(&self, shard: usize, wanted: Wanted, mut visit: impl FnMut(&Slot, &Lived<'_>)) {
        let now_ms = self.clock.now_ms();
        let locked = self.hot.read_shard(shard);
        for (slot, ()) in locked.shard(shard).into_iter().flatten() {
            let is_wanted = |life: &Lived<'_>| {
                let end = life.ends.expiry;
                let leaves = !wanted.expiring_only || end != Expiry::NEVER;
                life.value.is_none() && leaves && end_ms(end) >= wanted.from_ms
            };
            if let Some(life) = slot.live(now_ms).filter(is_wanted) {
                visit(slot, &life);
            }
        }
    }
}

/// An end in Unix milliseconds; no end is the latest that there is.
fn end_ms(end: Expiry) -> usize {
    usize::try_from(end.as_ms().unwrap_or(Expiry::LATEST_MS).clamp(0, Expiry::LATEST_MS)).unwrap_or(0)
}
