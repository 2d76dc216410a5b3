//! What a handler sees of the keyspace: its keys, locked and loaded, at one moment.

use crate::clock::Expiry;
use crate::database::Value;

/// Why the keyspace did not do what a handler asked; no handler mends these, it passes them on with `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The value is only in the database; the executor loads it and runs the command again.
    #[error("ERR the value is not loaded")]
    Cold,
    /// The database is away and the change needs it: nothing was applied.
    #[error("MISCONF the database is not available: the write was not applied, and writes are refused until it is back")]
    DatabaseDown,
}

/// The keys of one command, or of one EXEC.
pub struct Keys<'a> {
    _keyspace: &'a (),
}

impl Keys<'_> {
    /// The one clock reading of this command, Unix milliseconds.
    pub fn now_ms(&self) -> i64 { 0 }
    /// The selected Redis database.
    pub fn database(&self) -> u8 { 0 }
    /// The value of a live key; counts a hit or a miss.
    pub fn value(&mut self, _key: &[u8]) -> Result<Option<Value>, KeysError> { Ok(None) }
    /// The expiry of a live key (`Expiry::NEVER` without TTL); `None` when there is no such key. Counts nothing.
    pub fn expiry(&mut self, _key: &[u8]) -> Option<Expiry> { None }
    /// Whether the key is live; counts a hit or a miss (EXISTS, TTL, TYPE, TOUCH …).
    pub fn exists(&mut self, _key: &[u8]) -> bool { false }
    /// Writes a key whole. A put of the same bytes that only lengthens the life is recognised as a touch.
    pub fn put(&mut self, _key: &[u8], _value: &[u8], _expiry: Expiry) -> Result<(), KeysError> { Ok(()) }
    /// Changes the end of a live key; `false` when there is none. A time that is past deletes it.
    pub fn set_expiry(&mut self, _key: &[u8], _expiry: Expiry) -> Result<bool, KeysError> { Ok(false) }
    /// Deletes a live key; `false` when there is none.
    pub fn delete(&mut self, _key: &[u8]) -> Result<bool, KeysError> { Ok(false) }
    /// Deletes all keys of one Redis database, or of all.
    pub fn clear(&mut self, _database: Option<u8>) -> Result<(), KeysError> { Ok(()) }
    /// How many live keys the selected database has.
    pub fn count(&mut self) -> usize { 0 }
    /// The number of scan steps; a SCAN cursor is a step, below 2^31.
    pub fn scan_steps(&self) -> usize { 0 }
    /// Calls `visit(key)` with each live key of the selected database in one step.
    pub fn scan_step(&mut self, _step: usize, _visit: &mut dyn FnMut(&[u8])) {}
}
