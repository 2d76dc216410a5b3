//! A batch by table and effect, as both SQL databases write it: one statement for each part.

use super::{Change, DatabaseError, Home, Kind, RecordId};
use crate::clock::Expiry;

/// What a part does to its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    Put,
    Delete,
    Expire,
}

/// One effect on one table.
pub(super) struct Part<'a> {
    pub home: Home,
    pub effect: Effect,
    pub rows: Vec<Row<'a>>,
}

/// One change. What its effect does not need is empty.
pub(super) struct Row<'a> {
    /// Where it stands within the batch.
    pub position: usize,
    pub database: i16,
    /// The key as the table has it.
    pub key: &'a [u8],
    /// The name of the value's kind.
    pub kind: &'static str,
    pub value: &'a [u8],
    pub expiry: Expiry,
}

/// The parts of a batch, each sorted by key: neighbours in an index are written together, and whoever else locks rows in
/// the order of their keys cannot deadlock with it.
pub(super) fn of<'a>(
    changes: &'a [(RecordId, Change)],
    stored_key: impl Fn(&'a RecordId) -> Result<&'a [u8], DatabaseError>,
) -> Result<Vec<Part<'a>>, DatabaseError> {
    let mut rows = Vec::with_capacity(changes.len());
    for (position, (id, change)) in changes.iter().enumerate() {
        let (effect, kind, value, expiry) = match change {
            Change::Put { kind, value, expiry, .. } => (Effect::Put, *kind, &**value, *expiry),
            Change::Delete => (Effect::Delete, Kind::String, &[][..], Expiry::NEVER),
            Change::Expire { expiry } => (Effect::Expire, Kind::String, &[][..], *expiry),
        };
        let kind = kind.name();
        let key = stored_key(id)?;
        rows.push((id.home, effect, Row { position, database: i16::from(id.database), key, kind, value, expiry }));
    }
    rows.sort_unstable_by_key(|(home, effect, row)| (*home, *effect, row.database, row.key));
    let mut parts: Vec<Part<'a>> = Vec::new();
    for (home, effect, row) in rows {
        match parts.last_mut() {
            Some(part) if part.home == home && part.effect == effect => part.rows.push(row),
            Some(_) | None => parts.push(Part { home, effect, rows: vec![row] }),
        }
    }
    Ok(parts)
}

/// A key as a session table has it: without the table's prefix.
pub(super) fn without_prefix<'a>(key: &'a [u8], prefix: &[u8]) -> Result<&'a [u8], DatabaseError> {
    key.strip_prefix(prefix)
        .ok_or_else(|| DatabaseError::Refused("a key lacks the prefix of its session table".to_owned()))
}
