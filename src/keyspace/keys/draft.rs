//! Drafts: copies of some keys that a script works on while nobody else sees them. What it did is done once more on the
//! keys themselves when it has ended, if they are still what they were; so a script can be stopped anywhere, and long
//! ones lock nothing while they run. A draft must never reach the database.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ahash::RandomState;
use smallvec::SmallVec;

use super::super::entry::{Ends, Entry, Life, Name};
use super::super::hot::Access;
use super::super::packed::Kept;
use super::super::{Keyspace, Lock};
use super::Keys;
use crate::clock::Expiry;
use crate::database::write_through::WriteThrough;

/// The incarnations of drafts begin here, so that none of them is one of the lives that are copied.
const DRAFT_INCARNATIONS: u64 = 1 << 63;

/// A key and its Redis database.
type KeyOf<'a> = (u8, &'a [u8]);

/// What some keys were at one moment: equal to a later one if nobody changed them in between.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamp(SmallVec<[Option<(u64, Expiry)>; 2]>);

/// A number that nobody can foresee well enough to aim with it. Not for secrets.
#[must_use]
pub fn fresh_chance() -> u64 {
    RandomState::new().hash_one(0_u8)
}

impl Keyspace {
    /// A place for drafts, which holds no keys of its own. It counts what is looked up as this keyspace does.
    #[must_use]
    pub fn drafting_table(&self) -> Arc<Self> {
        let metrics = Arc::clone(&self.metrics);
        let nowhere = Arc::new(WriteThrough::new(false, Arc::clone(&metrics)));
        // Without an interval no touch is gathered, for which nobody would come.
        let tables = self.session_tables.clone();
        let table = Self::new(tables, Duration::ZERO, self.clock.clone(), nowhere, metrics).0;
        table.incarnations.store(DRAFT_INCARNATIONS, Ordering::Relaxed);
        // What is not there has been asked for before the draft.
        table.hot.known.finish(table.hot.known.round());
        table
    }

    /// Whether this is a place for the drafts of that keyspace.
    #[must_use]
    pub fn is_drafting_table_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.metrics, &other.metrics)
    }
}

impl Keys<'_> {
    /// What these keys are now.
    #[must_use]
    pub fn stamp(&self, names: &[KeyOf<'_>]) -> Stamp {
        let life = |(database, key): &KeyOf<'_>| {
            let slot = self.locked.slot(self.keyspace.hot.spot(*database, key), *database, key)?;
            slot.live(self.now_ms).map(|life| (life.incarnation, life.ends.expiry))
        };
        Stamp(names.iter().map(life).collect())
    }

    /// Copies of these keys, each once.
    #[must_use]
    pub fn draft<'t>(&self, table: &'t Keyspace, names: &[KeyOf<'_>]) -> Keys<'t> {
        let mut draft = table.lock(&Lock::Keys(names, Access::Write), self.database, self.now_ms);
        draft.clear_draft(names);
        for (database, key) in names {
            let found = self.locked.slot(self.keyspace.hot.spot(*database, key), *database, key);
            let Some(life) = found.and_then(|slot| slot.live(self.now_ms)) else { continue };
            let spot = table.hot.spot(*database, key);
            if draft.locked.slot(spot, *database, key).is_none() {
                // The table knows no dictionary.
                let value = life.value.and_then(|held| held.share(&self.keyspace.packing)).map(Kept::Plain);
                if value.is_none() && life.value.is_some() {
                    self.keyspace.load_damaged(*database, key);
                }
                let life = Life { ends: Ends::at(life.ends.expiry), ..life.with(value) };
                let name = Name { database: *database, key: Arc::from(*key) };
                draft.locked.insert(spot, name, Entry { life: Some(life), pending: None });
            }
        }
        draft.refused = self.refused;
        draft
    }

    /// Forgets the copies: values are not kept alive by what nobody works on any more.
    pub fn clear_draft(&mut self, names: &[KeyOf<'_>]) {
        for (database, key) in names {
            self.locked.remove(self.keyspace.hot.spot(*database, key), *database, key);
        }
    }

    /// Forgets how the copies became what they are: a value that grows a thousand times would stand in memory as often.
    pub fn forget_changes(&mut self) {
        self.changes.clear();
    }

    /// What a handler's random choices begin with: another one for each command.
    pub fn chance(&mut self) -> u64 {
        self.chance.take().unwrap_or_else(fresh_chance)
    }

    /// Lets the next command choose as the one did that was given this.
    pub fn set_chance(&mut self, chance: u64) {
        self.chance = Some(chance);
    }

    /// From now on all that was done on a draft is done again, as one EXEC; its look-ups have been counted.
    pub fn begin_repeat(&mut self) {
        self.begin_exec();
        self.repeats = true;
    }

    /// The reply waits for what is pending on these keys.
    pub fn see(&mut self, names: &[KeyOf<'_>]) {
        let selected = self.database;
        for (database, key) in names {
            self.database = *database;
            self.look(key);
            // The script has read it; not before it has ended, so that what was loaded for it stays.
            self.keyspace.note_read(self.keyspace.hot.spot(*database, key));
        }
        self.database = selected;
    }
}
