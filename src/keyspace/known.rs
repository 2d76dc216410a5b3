//! Which keys are known while they are still being read: until all of them are, a key that is not in the table may be in the
//! database. What is known not to exist is remembered here for that time, so that neither a row that was read before a
//! deletion nor a late answer brings a key back. It never says that a key does not exist unless that is so.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashTable;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::hot::Spot;

/// How much is kept of the keys that have left the table since the reading began, in bytes: some 600 000 session keys, what
/// the fastest database deletes in ten seconds. Beyond it the reading begins anew, and finds them gone itself.
const GONE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much is kept of the keys that the database was asked for in vain, in bytes: a flood of ids that nobody has is asked for
/// anew rather than remembered.
pub const ASKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a key that is remembered takes besides its bytes.
pub(super) const MARK_BYTES: usize = size_of::<Mark>() + 32;

/// What is known of all keys.
#[derive(Debug)]
pub(super) struct Known {
    all: AtomicBool,
    told: watch::Sender<bool>,
    /// Counts up whenever marks are forgotten: what was asked before may be out of date.
    round: AtomicU64,
    /// How many marks there are, so that nobody takes the lock for none.
    count: AtomicUsize,
    absent: Mutex<Absent>,
}

/// Keys that do not exist unless they are in the table.
#[derive(Debug, Default)]
struct Absent {
    /// They left the table: a row of theirs may still come.
    gone: Marks,
    /// The database did not have them. In two halves, of which the older one is forgotten when the newer is full.
    asked: [Marks; 2],
}

#[derive(Debug, Default)]
struct Marks {
    table: HashTable<Mark>,
    bytes: usize,
}

#[derive(Debug)]
struct Mark {
    hash: u64,
    database: u8,
    key: Box<[u8]>,
}

/// What a reading or a question relies on: it is void once marks were forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round(u64);

impl Default for Known {
    fn default() -> Self {
        Self {
            all: AtomicBool::new(false),
            told: watch::Sender::new(false),
            round: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            absent: Mutex::default(),
        }
    }
}

impl Known {
    /// Whether all keys are in the table: one that is not there does not exist.
    #[inline]
    pub fn has_all(&self) -> bool {
        self.all.load(Ordering::Acquire)
    }

    /// Waits until all keys are known.
    pub async fn wait_for_all(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.told.subscribe().wait_for(|all| *all).await;
    }

    /// A reading of all keys begins. What has left the table before it leaves no row that it could find.
    pub fn begin(&self) -> Round {
        let mut absent = self.absent.lock();
        self.forget(&mut absent);
        Round(self.round.load(Ordering::Acquire))
    }

    /// The reading that began then has seen every key; `false` if it must begin anew.
    pub fn finish(&self, round: Round) -> bool {
        let mut absent = self.absent.lock();
        if self.round() != round {
            return false;
        }
        self.all.store(true, Ordering::Release);
        *absent = Absent::default();
        self.count.store(0, Ordering::Release);
        self.told.send_replace(true);
        true
    }

    /// What is remembered takes so many bytes.
    pub fn bytes(&self) -> usize {
        if self.count.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let absent = self.absent.lock();
        absent.gone.bytes + absent.asked[0].bytes + absent.asked[1].bytes
    }

    /// What somebody relies on who asks the database now.
    pub fn round(&self) -> Round {
        Round(self.round.load(Ordering::Acquire))
    }

    /// Whether a key that is not in the table is known not to exist. Called under the lock of its shard, as all below.
    pub fn is_absent(&self, spot: Spot, database: u8, key: &[u8]) -> bool {
        if self.has_all() {
            return true;
        }
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let absent = self.absent.lock();
        [&absent.gone, &absent.asked[0], &absent.asked[1]].iter().any(|marks| marks.has(spot, database, key))
    }

    /// Whether what was asked or read in this round about a key that is not in the table still says something.
    pub fn may_learn(&self, round: Round, spot: Spot, database: u8, key: &[u8]) -> bool {
        // In this order: whoever forgets marks counts up first.
        !self.is_absent(spot, database, key) && self.round() == round
    }

    /// A key leaves the table: it does not exist any more.
    pub fn note_gone(&self, spot: Spot, database: u8, key: &[u8]) {
        if self.has_all() {
            return;
        }
        let mut absent = self.absent.lock();
        // Once more under the lock: whoever finished meanwhile has forgotten all marks.
        if self.has_all() {
            return;
        }
        if absent.gone.bytes >= GONE_BYTES_MAX {
            self.forget(&mut absent);
        }
        absent.gone.add(spot, database, key);
        self.note_count(&absent);
    }

    /// The database does not have a key that is not in the table.
    pub fn note_asked(&self, spot: Spot, database: u8, key: &[u8]) {
        let mut absent = self.absent.lock();
        if self.has_all() {
            return;
        }
        if absent.asked[0].bytes >= ASKED_BYTES_MAX / 2 {
            absent.asked.swap(0, 1);
            absent.asked[0] = Marks::default();
        }
        absent.asked[0].add(spot, database, key);
        self.note_count(&absent);
    }

    /// Forgets what has left the table, and makes void what relies on it.
    fn forget(&self, absent: &mut Absent) {
        self.round.fetch_add(1, Ordering::AcqRel);
        absent.gone = Marks::default();
        self.note_count(absent);
    }

    fn note_count(&self, absent: &Absent) {
        let [newer, older] = &absent.asked;
        let count = absent.gone.table.len() + newer.table.len() + older.table.len();
        self.count.store(count, Ordering::Release);
    }
}

impl Marks {
    fn has(&self, spot: Spot, database: u8, key: &[u8]) -> bool {
        self.table.find(spot.hash(), |mark| mark.database == database && *mark.key == *key).is_some()
    }

    fn add(&mut self, spot: Spot, database: u8, key: &[u8]) {
        if self.has(spot, database, key) {
            return;
        }
        self.bytes += MARK_BYTES + key.len();
        let mark = Mark { hash: spot.hash(), database, key: Box::from(key) };
        self.table.insert_unique(spot.hash(), mark, |mark| mark.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::super::hot::Hot;
    use super::*;

    fn key(number: usize) -> Vec<u8> {
        // As long as a key may be, so that the limits are soon reached.
        format!("{number:02048}").into_bytes()
    }

    #[test]
    fn until_all_keys_are_known_only_what_was_noted_is_absent() {
        let (hot, known) = (Hot::default(), Known::default());
        let spot = hot.spot(1, b"a");
        assert!(!known.is_absent(spot, 1, b"a"));
        known.note_gone(spot, 1, b"a");
        assert!(known.is_absent(spot, 1, b"a") && !known.is_absent(spot, 2, b"a") && !known.is_absent(spot, 1, b"b"));
        let round = known.begin();
        assert!(!known.is_absent(spot, 1, b"a"), "the next reading finds it gone itself");
        known.note_asked(spot, 1, b"a");
        assert!(known.is_absent(spot, 1, b"a") && !known.has_all());
        assert!(known.finish(round) && known.has_all());
        known.note_gone(spot, 1, b"b");
        known.note_asked(spot, 1, b"b");
        assert_eq!(known.count.load(Ordering::Relaxed), 0, "nothing is kept any more");
    }

    #[test]
    fn too_many_deleted_keys_make_the_reading_begin_anew() {
        let (hot, known) = (Hot::default(), Known::default());
        let round = known.begin();
        let spot = hot.spot(0, b"unknown");
        let mut number = 0;
        while known.may_learn(round, spot, 0, b"unknown") {
            known.note_gone(hot.spot(0, &key(number)), 0, &key(number));
            number += 1;
            assert!(number * 2048 <= GONE_BYTES_MAX, "the marks are bounded");
        }
        assert!(!known.finish(round) && !known.has_all());
        assert!(!known.is_absent(hot.spot(0, &key(0)), 0, &key(0)));
        let next = known.begin();
        assert!(known.finish(next));
    }

    #[test]
    fn a_flood_of_unknown_ids_forgets_the_oldest_and_is_bounded() {
        let (hot, known) = (Hot::default(), Known::default());
        let round = known.begin();
        let last = 2 * ASKED_BYTES_MAX / 2048;
        for number in 0..last {
            known.note_asked(hot.spot(0, &key(number)), 0, &key(number));
        }
        let is_known = |number: usize| known.is_absent(hot.spot(0, &key(number)), 0, &key(number));
        assert!(!is_known(0) && is_known(last - 1) && is_known(last - ASKED_BYTES_MAX / 2 / 2200));
        let held: usize = known.absent.lock().asked.iter().map(|marks| marks.bytes).sum();
        assert!(held <= ASKED_BYTES_MAX + 4096, "{held} bytes");
        assert_eq!(known.round(), round, "what was asked in vain makes nothing void");
    }
}
