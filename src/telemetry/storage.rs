//! What the database says of its tables and files. The database reads it; here it only stands.

/// A number that was counted up to a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountedUpTo {
    /// How many were seen.
    pub count: u64,
    /// Whether there may be more.
    pub more: bool,
}

impl CountedUpTo {
    /// One that was counted up to one more than `most`.
    #[must_use]
    pub const fn of(count: u64, most: u64) -> Self {
        if count > most { Self { count: most, more: true } } else { Self { count, more: false } }
    }
}

/// What PostgreSQL's statistics say of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStatistics {
    /// Its live rows, as estimated.
    pub rows: u64,
    /// Its dead rows, as estimated.
    pub dead_rows: u64,
    /// Rows that were updated since the statistics began.
    pub updates: u64,
    /// Those of them that changed no index.
    pub hot_updates: u64,
    /// What it takes on disk, with indexes and what is stored apart.
    pub size_bytes: u64,
    /// When it was vacuumed last, Unix seconds; 0 for never.
    pub last_vacuum_s: u64,
}

/// One table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFigures {
    /// Its name as the settings have it.
    pub table: String,
    /// Rows whose life has ended and that are not pruned yet.
    pub expired: CountedUpTo,
    /// Its statistics, where the database keeps any.
    pub statistics: Option<TableStatistics>,
}

/// The file of a SQLite database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileFigures {
    /// How long it is.
    pub size_bytes: u64,
    /// How long its write-ahead log is.
    pub wal_size_bytes: u64,
    /// What of it is free for new rows.
    pub free_bytes: u64,
}

/// Tables and files at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageFigures {
    /// The tables, `sojourn_keys` last.
    pub tables: Vec<TableFigures>,
    /// The file, if the database is one.
    pub file: Option<FileFigures>,
}

impl StorageFigures {
    /// The expired rows of all tables.
    #[must_use]
    pub fn expired(&self) -> CountedUpTo {
        let counts = self.tables.iter().map(|table| table.expired);
        counts.fold(CountedUpTo::default(), |sum, one| CountedUpTo {
            count: sum.count + one.count,
            more: sum.more || one.more,
        })
    }
}
