//! What the kernel says of a process: its memory and its processor time (man 5 proc). Nothing is asked of the process itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Result;
use crate::support::process;

/// The kernel counts processor time in hundredths of a second, on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// Where `/proc/PID/stat` has the parent, and the times of the process and of its children that have ended, counted
/// behind the program's name.
const PARENT_FIELD: usize = 1;
const TIME_FIELDS: [usize; 2] = [11, 12];
const CHILDREN_FIELDS: [usize; 2] = [13, 14];

/// The bytes that a process has in memory.
///
/// # Errors
/// When it has ended.
pub fn resident_bytes(pid: u32) -> Result<f64> {
    status_bytes(pid, "VmRSS")
}

/// The most bytes that it has in memory while something is done, beyond those before.
///
/// # Errors
/// When it has ended, or what is done fails.
pub fn peak_bytes(pid: u32, act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let before = resident_bytes(pid)?;
    process::forget_peak(pid);
    act()?;
    Ok(status_bytes(pid, "VmHWM")? - before)
}

/// The processor time that it has taken.
///
/// # Errors
/// When it has ended.
pub fn processor_time(pid: u32) -> Result<Duration> {
    Ok(time(&stat(&of(pid))?, TIME_FIELDS))
}

/// The same with that of its children, also of those that have ended.
///
/// # Errors
/// When it has ended.
pub fn processor_time_of_family(pid: u32) -> Result<Duration> {
    let own = stat(&of(pid))?;
    // One that ends meanwhile is counted with its parent the next time.
    let stats = fs::read_dir("/proc")?.flatten().filter_map(|process| stat(&process.path()).ok());
    let running: Duration =
        stats.filter(|stat| field(stat, PARENT_FIELD) == u64::from(pid)).map(|child| time(&child, TIME_FIELDS)).sum();
    Ok(running + time(&own, TIME_FIELDS) + time(&own, CHILDREN_FIELDS))
}

/// That of those threads of this process whose names start so.
///
/// # Errors
/// When the kernel does not list them.
pub fn processor_time_of_threads(prefix: &str) -> Result<Duration> {
    let threads = fs::read_dir("/proc/self/task")?.flatten().map(|thread| thread.path());
    let named = threads.filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with(prefix)));
    Ok(named.filter_map(|path| stat(&path).ok()).map(|stat| time(&stat, TIME_FIELDS)).sum())
}

fn of(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn status_bytes(pid: u32, name: &str) -> Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "no process has 2^53 bytes")]
    let bytes = process::status_bytes_of(pid, name).map(|bytes| bytes as f64);
    bytes.ok_or_else(|| format!("process {pid} has ended, or no {name}").into())
}

/// What stands behind the program's name, which is in parentheses and may hold blanks.
fn stat(folder: &Path) -> Result<String> {
    let text = fs::read_to_string(folder.join("stat"))?;
    Ok(text.rsplit_once(')').ok_or("stat has a name")?.1.to_owned())
}

fn field(stat: &str, number: usize) -> u64 {
    stat.split_whitespace().nth(number).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn time(stat: &str, fields: [usize; 2]) -> Duration {
    let ticks: u64 = fields.iter().map(|number| field(stat, *number)).sum();
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_the_name() {
        let stat = " S 42 7 7 0 -1 4194304 100 0 0 0 250 40 3 4 20 0 1 0";
        assert_eq!(field(stat, PARENT_FIELD), 42);
        assert_eq!(time(stat, TIME_FIELDS), Duration::from_millis(2_900));
        assert_eq!(time(stat, CHILDREN_FIELDS), Duration::from_millis(70));
    }
}
