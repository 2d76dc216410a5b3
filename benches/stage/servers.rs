//! What the servers are told, the same in every benchmark.

/// What Sojourn is told, besides its port and database. The time-out is long, so that a disk that somebody else keeps busy
/// slows a run down and does not end it.
pub const SOJOURN: &[&str] = &["--database-timezone", "UTC", "--write-timeout", "30s"];
/// What redis-server is told, besides its port and folder. Neither it nor PostgreSQL tidies up while it is measured.
pub const REDIS: &[&str] =
    &["--save", "", "--auto-aof-rewrite-percentage", "0", "--maxmemory", "0", "--io-threads", "1"];
/// What PostgreSQL is told, besides its port and folder.
pub const POSTGRES: &[&str] = &[
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "wal_sync_method=fdatasync",
    "wal_level=replica",
    "wal_compression=off",
    "wal_buffers=16MB",
    "shared_buffers=512MB",
    "max_wal_size=8GB",
    "checkpoint_timeout=1h",
    "autovacuum=off",
    "commit_delay=0",
    "max_connections=50",
    "timezone=UTC",
];
