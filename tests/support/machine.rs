//! What the reports say of the machine, as the kernel and the programs on it say it.

use std::fs;
use std::process::Command;

/// What stands behind a name in a file of lines such as `name : value`.
pub fn value_in(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The version of the redis-server that the tests start.
pub fn redis_version() -> String {
    let output = Command::new("redis-server").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split(' ').find_map(|word| word.strip_prefix("v=")).unwrap_or("unknown").to_owned()
}
