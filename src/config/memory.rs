//! The settings of memory: how much keys and values may take, and which values leave at that limit. Half of what the machine
//! or the container has is the default; the other half is for connections, for the database beside and for the kernel's cache.

use std::fs;
use std::sync::LazyLock;

use super::rows::put;
use super::value::{Choice, Given, Invalid, Syntax, parse_size, show_yes_no};
use super::{Changes, Row, Settings};

/// What stands for the default: half of the memory that there is.
const HALF: &str = "half";

/// Which values leave memory at `maxmemory`: never a key, and never a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EvictionPolicy {
    /// Those that were not read lately, of keys with an end.
    VolatileLru,
    /// Those that are read seldom, of keys with an end.
    VolatileLfu,
    /// Any, of keys with an end.
    VolatileRandom,
    /// Those whose keys end first.
    VolatileTtl,
    /// Those that were not read lately.
    AllkeysLru,
    /// Those that are read seldom.
    AllkeysLfu,
    /// Any.
    AllkeysRandom,
    /// None: writes that need memory are refused.
    NoEviction,
}

impl Choice for EvictionPolicy {
    const ALL: &'static [(&'static str, Self)] = &[
        ("volatile-lru", Self::VolatileLru),
        ("volatile-lfu", Self::VolatileLfu),
        ("volatile-random", Self::VolatileRandom),
        ("volatile-ttl", Self::VolatileTtl),
        ("allkeys-lru", Self::AllkeysLru),
        ("allkeys-lfu", Self::AllkeysLfu),
        ("allkeys-random", Self::AllkeysRandom),
        ("noeviction", Self::NoEviction),
    ];
}

impl EvictionPolicy {
    /// The policy of this place in the enum; the last one for a place that there is not.
    #[must_use]
    pub fn of_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).map_or(Self::NoEviction, |(_, policy)| *policy)
    }

    /// Whether only values of keys with an end leave.
    #[must_use]
    pub const fn is_volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }
}

pub(super) const MAXMEMORY: Row = Row {
    name: "maxmemory",
    syntax: Syntax::Text {
        placeholder: "BYTES",
        expected: "a size such as 512mb or 2gb, 0 for no limit, or half for half of the memory",
    },
    default: HALF,
    help: "how much keys and values may take of memory; at the limit values leave it and stay in the database, sessions never; \
           0 for no limit, half for half of the machine's or the container's memory",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.maxmemory, size(given)),
    show: |settings| settings.maxmemory.to_string(),
};

pub(super) const MAXMEMORY_POLICY: Row = Row {
    name: "maxmemory-policy",
    // Not a choice: so many words would leave the help no room.
    syntax: Syntax::Text {
        placeholder: "POLICY",
        expected: "allkeys-lru, allkeys-lfu, allkeys-random, volatile-lru, volatile-lfu, volatile-random, volatile-ttl or noeviction",
    },
    default: "allkeys-lru",
    help: "which values leave memory at maxmemory; noeviction refuses writes that need memory, as memory:// always does",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.maxmemory_policy, given.choice()),
    show: |settings: &Settings| settings.maxmemory_policy.name().to_owned(),
};

/// Off in Redis, where it takes the processor that serves all clients; here it takes a part of another one.
pub(super) const ACTIVEDEFRAG: Row = Row {
    name: "activedefrag",
    syntax: Syntax::YesNo,
    default: "yes",
    help: "move keys together in memory when those that left it have left so many holes that it is worth it",
    changes: Changes::AnyTime,
    apply: |settings, given| put(&mut settings.activedefrag, given.yes_no()),
    show: |settings| show_yes_no(settings.activedefrag),
};

/// As Redis reads it, which takes nothing at all for 0 and has no largest size.
fn size(given: &Given<'_>) -> Result<u64, Invalid> {
    match given.text {
        "" => Ok(0),
        HALF => Ok(total_memory_bytes() / 2),
        text => parse_size(text).ok_or(Invalid::NotASize),
    }
}

/// The memory of the machine, or of the container if that is less, in bytes; 0 where the system does not say.
#[must_use]
pub fn total_memory_bytes() -> u64 {
    static TOTAL: LazyLock<u64> = LazyLock::new(|| {
        let read = |path: &str| fs::read_to_string(path).ok();
        smallest(read("/proc/meminfo"), container_limits(read))
    });
    *TOTAL
}

/// The limits of the control groups that this process is in, and of those around them.
fn container_limits(read: impl Fn(&str) -> Option<String>) -> Vec<u64> {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let mut limits = Vec::new();
    for line in groups.lines() {
        // `number:controllers:path`, without controllers in the second version.
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // Within a container its own group stands at the root.
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]).chain([path.trim_end_matches('/')]);
        let texts = folders.filter_map(|folder| read(&format!("{root}{folder}/{file}")));
        // `max` is no number, and none either.
        limits.extend(texts.filter_map(|text| text.trim().parse::<u64>().ok()));
    }
    limits
}

fn smallest(meminfo: Option<String>, limits: Vec<u64>) -> u64 {
    let meminfo = meminfo.unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let machine = kilobytes.and_then(|kilobytes| kilobytes.checked_mul(1024));
    limits.into_iter().chain(machine).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16384 kB\nMemFree:        1 kB\n";

    fn of(files: &[(&str, &str)]) -> u64 {
        let read = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
        smallest(read("/proc/meminfo"), container_limits(read))
    }

    #[test]
    fn the_smallest_limit_counts_wherever_it_stands() {
        let machine = ("/proc/meminfo", MEMINFO);
        let second = ("/proc/self/cgroup", "0::/pod/app\n");
        let first = ("/proc/self/cgroup", "7:cpu:/x\n5:cpuset,memory:/pod\n");
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[machine]), 16_777_216);
        assert_eq!(of(&[machine, second, ("/sys/fs/cgroup/memory.max", "max\n")]), 16_777_216);
        assert_eq!(of(&[machine, second, ("/sys/fs/cgroup/pod/app/memory.max", "4096\n")]), 4096);
        assert_eq!(of(&[machine, second, ("/sys/fs/cgroup/pod/memory.max", "8192\n")]), 8192);
        assert_eq!(of(&[machine, second, ("/sys/fs/cgroup/memory.max", "999999999999\n")]), 16_777_216);
        assert_eq!(of(&[machine, first, ("/sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "512\n")]), 512);
        assert_eq!(of(&[machine, first, ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1024\n")]), 1024);
    }

    #[test]
    fn each_policy_is_found_by_its_number() {
        for (name, policy) in EvictionPolicy::ALL {
            assert_eq!(EvictionPolicy::of_number(*policy as u8), *policy);
            assert_eq!(policy.is_volatile(), name.starts_with("volatile"));
        }
    }
}
