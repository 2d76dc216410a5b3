//! The machine: what a reader must know of it to judge the figures, and whether its disk is one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Result;
use super::servers::{POSTGRES, REDIS};
use crate::postgres::PostgresServer;
use crate::support::machine::{redis_version, value_in};

/// Writes whose flush is timed.
const FLUSHES: usize = 200;
/// The bytes of each: what a small batch writes.
const FLUSH_BYTES: usize = 4_096;

/// What the report says of the machine: a name and a value each.
#[derive(Clone, Debug)]
pub struct Machine(pub Vec<(&'static str, String)>);

impl Machine {
    /// Asks the kernel, the servers and the disk.
    ///
    /// # Errors
    /// When the disk cannot be written to.
    pub fn describe(data: &Path, file_system: &FileSystem, postgres: &PostgresServer) -> Result<Self> {
        let cores = std::thread::available_parallelism()?;
        let processor = value_in("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = value_in("/proc/meminfo", "MemTotal").unwrap_or_default();
        let memory_kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let (median, late) = flush_latencies(data)?;
        let built = if cfg!(debug_assertions) { " (a debug build: these figures mean nothing)" } else { "" };
        Ok(Self(vec![
            ("processor", format!("{processor}, {cores} cores")),
            ("memory", format!("{:.1} GiB", memory_kib / 1024.0 / 1024.0)),
            ("kernel", kernel.trim().to_owned()),
            (
                "disk",
                format!(
                    "{} on {}; {FLUSH_BYTES} bytes appended and fdatasync: median {median:.0?}, p99 {late:.0?}",
                    file_system.kind, file_system.device
                ),
            ),
            ("Sojourn", format!("{}{built}", env!("CARGO_PKG_VERSION"))),
            ("PostgreSQL", postgres.sql("postgres", "show server_version")),
            ("redis-server", redis_version()),
            ("PostgreSQL's settings", POSTGRES.join(", ")),
            ("redis-server's settings", REDIS.join(" ").replace("--save  ", "--save \"\" ")),
        ]))
    }
}

/// What holds a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Such as `/dev/vda`.
    pub device: String,
    /// Such as `ext4`.
    pub kind: String,
}

impl FileSystem {
    /// That of a folder.
    ///
    /// # Errors
    /// When the folder or the list of mounts cannot be read.
    pub fn of(folder: &Path) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        Ok(Self::among(&mounts, &folder.canonicalize()?).ok_or("the folder is on no file system")?)
    }

    /// Whether it keeps files in memory, so that a flush costs nothing.
    pub fn is_memory(&self) -> bool {
        ["tmpfs", "ramfs", "devtmpfs"].contains(&self.kind.as_str())
    }

    /// The last mount on the longest path above the folder hides the others.
    fn among(mounts: &str, folder: &Path) -> Option<Self> {
        let mount = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let (device, place, kind) = (words.next()?, words.next()?, words.next()?);
            // The kernel writes a blank in a path as \040.
            let place = place.replace("\\040", " ");
            folder.starts_with(&place).then_some((place.len(), Self { device, kind }))
        };
        mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).map(|(_, found)| found)
    }
}

/// PostgreSQL may have to run as another user, who must be able to get to its folder.
///
/// # Errors
/// When the folder is not ours.
pub fn open_to_postgres(folder: &Path) -> Result<()> {
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?)
}

/// Brings what was written so far to the disk, so that it does not weigh on who is measured next.
///
/// # Errors
/// When `sync` says so.
pub fn sync(folder: &Path) -> Result<()> {
    let status = Command::new("sync").arg("-f").arg(folder).status()?;
    if status.success() { Ok(()) } else { Err(format!("sync -f ended with {status}").into()) }
}

/// The median and the 99th percentile of an append and its flush.
fn flush_latencies(folder: &Path) -> Result<(Duration, Duration)> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut took = Vec::new();
    for _ in 0..FLUSHES {
        let begun = Instant::now();
        file.write_all(&[b'x'; FLUSH_BYTES])?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    took.sort();
    Ok((took[FLUSHES / 2], took[FLUSHES * 99 / 100]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::processors::Ticks;

    const MOUNTS: &str = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmp/disk xfs rw 0 0\n\
        tmpfs /a\\040b tmpfs rw 0 0\n";

    #[test]
    fn what_is_neither_idle_nor_waiting_for_the_disk_is_busy() {
        let stat = "cpu  100 10 30 800 50 0 5 5 7 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(Ticks::of(stat), Some(Ticks { busy: 150, all: 1_000 }));
        assert_eq!(Ticks::of("cpu  100 10"), None);
    }

    #[test]
    fn a_folder_is_on_the_nearest_mount() {
        let found = |folder: &str| FileSystem::among(MOUNTS, Path::new(folder)).expect("a mount");
        assert_eq!(found("/home/x"), FileSystem { device: "/dev/vda".to_owned(), kind: "ext4".to_owned() });
        assert_eq!(found("/tmp/x").kind, "tmpfs");
        assert_eq!(found("/tmp/disk/x").device, "/dev/vdb");
        assert_eq!(found("/tmpx").kind, "ext4");
        assert!(found("/a b/x").is_memory() && !found("/tmp/disk/x").is_memory());
    }
}
