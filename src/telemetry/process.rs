//! What the kernel says of this process. Where it says nothing (not on Linux), the figures are 0.

use std::fs;

/// The kernel counts processor time in hundredths of a second, on every Linux (`USER_HZ`).
const MS_PER_TICK: u64 = 10;
/// Where the processor times stand in `/proc/self/stat`, counted after the program's name.
const USER_TICKS_FIELD: usize = 11;

/// Memory and processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Memory held now.
    pub resident_bytes: u64,
    /// The most memory ever held.
    pub resident_peak_bytes: u64,
    /// Processor time in the program.
    pub cpu_user_ms: u64,
    /// Processor time in the kernel for it.
    pub cpu_system_ms: u64,
}

/// The figures of this moment.
#[must_use]
pub fn figures() -> Figures {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    Figures {
        resident_bytes: kilobytes(&status, "VmRSS:") * 1024,
        resident_peak_bytes: kilobytes(&status, "VmHWM:") * 1024,
        cpu_user_ms: ticks(&stat, USER_TICKS_FIELD) * MS_PER_TICK,
        cpu_system_ms: ticks(&stat, USER_TICKS_FIELD + 1) * MS_PER_TICK,
    }
}

/// How this process names itself to another that waits for its database: `host:pid`.
#[must_use]
pub fn identity() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = Some(host.trim()).filter(|host| !host.is_empty()).unwrap_or("localhost");
    format!("{host}:{}", std::process::id())
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn ticks(stat: &str, field: usize) -> u64 {
    // The program's name stands in parentheses and may hold blanks.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name.split_whitespace().nth(field).and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_with_blanks() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 40 0 0 20 0 1 0";
        assert_eq!(ticks(stat, USER_TICKS_FIELD), 250);
        assert_eq!(ticks(stat, USER_TICKS_FIELD + 1), 40);
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t  1234 kB\n", "VmRSS:"), 1234);
    }

    #[test]
    fn the_identity_holds_the_process_number() {
        assert!(identity().ends_with(&format!(":{}", std::process::id())));
    }
}
