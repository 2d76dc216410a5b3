//! Which table a record lives in: a session table for JSON sessions under a mapped prefix, `sojourn_keys` for all else.
//! The choice is made before anything is queued, so that PostgreSQL never refuses what was acknowledged in memory.

use super::json_object;

/// The table of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Home {
    /// A session table, by its position in [`SessionTables`].
    Session(u8),
    /// `sojourn_keys`.
    Keys,
}

/// One session table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTable {
    /// What the keys of its sessions start with; may be empty.
    pub prefix: Vec<u8>,
    /// Its name, `table` or `schema.table`, not quoted.
    pub table: String,
}

/// All session tables; the longest prefix that fits a key decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTables {
    tables: Vec<SessionTable>,
}

impl Default for SessionTables {
    fn default() -> Self {
        Self { tables: vec![SessionTable { prefix: b"sess:".to_vec(), table: "session".to_owned() }] }
    }
}

impl SessionTables {
    /// The most tables: a [`Home`] counts them in a byte, and each costs the batch a statement.
    pub const MAX: usize = 16;

    /// # Errors
    /// A sentence when there are too many, or when two prefixes or two tables are the same: a row could not be told
    /// to which key it belongs.
    pub fn new(tables: Vec<SessionTable>) -> Result<Self, String> {
        if tables.len() > Self::MAX {
            return Err(format!("at most {} session tables are possible", Self::MAX));
        }
        for (position, table) in tables.iter().enumerate() {
            if tables[..position].iter().any(|other| other.prefix == table.prefix) {
                return Err(format!("the prefix {:?} is mapped twice", String::from_utf8_lossy(&table.prefix)));
            }
            if tables[..position].iter().any(|other| other.table == table.table) {
                return Err(format!("the table {:?} is mapped twice", table.table));
            }
        }
        Ok(Self { tables })
    }

    /// The tables, in the order of their [`Home::Session`] positions.
    #[must_use]
    pub fn tables(&self) -> &[SessionTable] {
        &self.tables
    }

    /// The table at a position, with the home that names it.
    pub fn homes(&self) -> impl Iterator<Item = (Home, &SessionTable)> {
        (0_u8..).zip(&self.tables).map(|(position, table)| (Home::Session(position), table))
    }

    /// Where a value under this key lives: in a session table if the key has its prefix, is in database 0, the rest of the
    /// key is UTF-8 without NUL, and the value is a JSON object that PostgreSQL's `json` operators can read.
    #[must_use]
    pub fn home(&self, database: u8, key: &[u8], value: &[u8]) -> Home {
        if database != 0 {
            return Home::Keys;
        }
        let longest = self
            .homes()
            .filter(|(_, table)| key.starts_with(&table.prefix))
            .max_by_key(|(_, table)| table.prefix.len());
        match longest {
            Some((home, table)) if is_sid(&key[table.prefix.len()..]) && json_object::is_session_json(value) => home,
            Some(_) | None => Home::Keys,
        }
    }

    /// The tables in which a record of this key may be, whoever wrote it. If several hold one, the first of them wins.
    pub fn possible_homes(&self, database: u8, key: &[u8]) -> impl Iterator<Item = Home> {
        let may_hold = move |prefix: &[u8]| database == 0 && key.strip_prefix(prefix).is_some_and(is_sid);
        let sessions = self.homes().filter(move |(_, table)| may_hold(&table.prefix)).map(|(home, _)| home);
        sessions.chain([Home::Keys])
    }
}

/// What a `varchar` can hold.
fn is_sid(sid: &[u8]) -> bool {
    !sid.contains(&0) && std::str::from_utf8(sid).is_ok()
}
