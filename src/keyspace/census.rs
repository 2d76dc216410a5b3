//! The census: all live keys, counted by table and by what is left of their lives. It walks shard by shard, so that nobody waits for
//! more than one of them, and never says a key.

use super::Keyspace;
use super::hot::SHARDS;
use super::slot::Slot;
use crate::database::Home;
use crate::telemetry::sessions::{Census, TableCensus, lifetime_of};

impl Keyspace {
    /// Counts all keys that live now.
    #[must_use]
    pub fn census(&self) -> Census {
        let now_ms = self.clock.now_ms();
        let mut census = Census { tables: self.census_tables(), ..Census::default() };
        for number in 0..SHARDS {
            let locked = self.hot.read_shard(number);
            let Some(shard) = locked.shard(number) else { continue };
            shard.iter().for_each(|(slot, ())| count(&mut census, slot, now_ms));
        }
        census
    }

    /// The tables, none with a key yet; `sojourn_keys` is the last.
    fn census_tables(&self) -> Vec<TableCensus> {
        let table = |prefix: &[u8], table: &str| TableCensus {
            prefix: String::from_utf8_lossy(prefix).into_owned(),
            table: table.to_owned(),
            ..TableCensus::default()
        };
        let sessions = self.session_tables.tables().iter().map(|session| table(&session.prefix, &session.table));
        sessions.chain([table(b"", "sojourn_keys")]).collect()
    }
}

fn count(census: &mut Census, slot: &Slot, now_ms: i64) {
    let Some(life) = slot.live(now_ms) else { return };
    let left_ms = life.ends.expiry.as_ms().map(|end_ms| end_ms.saturating_sub(now_ms));
    let last = census.tables.len().saturating_sub(1);
    let position = match life.home {
        Home::Session(position) => usize::from(position),
        Home::Keys => last,
    };
    if let Some(table) = census.tables.get_mut(position) {
        table.lifetimes[lifetime_of(left_ms)] += 1;
    }
    if let Some(database) = census.databases.get_mut(usize::from(slot.database())) {
        database.keys += 1;
        if let Some(left_ms) = left_ms {
            database.expiring += 1;
            database.left_ms = database.left_ms.saturating_add(u64::try_from(left_ms).unwrap_or(0));
        }
    }
}
