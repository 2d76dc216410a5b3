//! The table of `benches/ATTACKS.md`, between two markers: a row that was measured replaces the one of its name, and the others
//! stay as they are. What stands outside of the markers is written by hand.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::support::machine::{redis_version, value_in};

const START: &str = "<!-- table:start -->\n";
const END: &str = "<!-- table:end -->";

const HEAD: &str = "\
| attack | server | held | memory MiB | neighbour p50 ms | p99 ms | max ms | the attacker | worse? | `NAME` |
|---|---|---|---|---|---|---|---|---|---|
";

/// What is done one after the other when tests run side by side.
static WRITING: Mutex<()> = Mutex::new(());

/// Puts the lines of one attack into the report that `SOJOURN_ATTACKS_REPORT` names; without it they are only printed.
pub fn report(test: &str, lines: &[String]) {
    lines.iter().for_each(|line| println!("{line}"));
    let Some(path) = std::env::var_os("SOJOURN_ATTACKS_REPORT").map(PathBuf::from) else { return };
    let _writing = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let page = fs::read_to_string(&path).expect("the report");
    fs::write(&path, with_row(&page, &machine(), test, lines)).expect("the report can be written");
}

/// The page with the lines of this attack in the place of its former ones, or behind all others.
fn with_row(page: &str, machine: &str, test: &str, lines: &[String]) -> String {
    let (before, rest) = page.split_once(START).expect("the start marker");
    let (table, after) = rest.split_once(END).expect("the end marker");
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in table.lines().filter(|line| line.starts_with('|')).skip(HEAD.lines().count()) {
        let name = line.rsplit('|').nth(1).unwrap_or_default().trim().trim_matches('`');
        match rows.last_mut() {
            // The second line of an attack, that of redis-server, has no name.
            Some((_, row)) if name.is_empty() => row.extend([line, "\n"]),
            _ => rows.push((name.to_owned(), format!("{line}\n"))),
        }
    }
    let row = lines.iter().fold(String::new(), |row, line| row + line + "\n");
    match rows.iter_mut().find(|(name, _)| name == test) {
        Some((_, former)) => *former = row,
        None => rows.push((test.to_owned(), row)),
    }
    let rows: String = rows.into_iter().map(|(_, row)| row).collect();
    format!("{before}{START}{machine}\n{HEAD}{rows}{END}{after}")
}

/// What a reader must know of the machine and of the servers.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let value_in = |path, name| value_in(path, name).unwrap_or_else(|| "unknown".to_owned());
    let memory = value_in("/proc/meminfo", "MemTotal");
    let memory_kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let build = if cfg!(debug_assertions) { "a debug build: these figures mean nothing" } else { "a release build" };
    let mut text = String::new();
    for (name, value) in [
        ("processor", format!("{}, {cores} cores", value_in("/proc/cpuinfo", "model name"))),
        ("memory", format!("{:.1} GiB", memory_kib / 1024.0 / 1024.0)),
        ("kernel", kernel.trim().to_owned()),
        ("Sojourn", format!("{}, {build}", env!("CARGO_PKG_VERSION"))),
        ("redis-server", redis_version()),
    ] {
        writeln!(text, "- {name}: {value}").expect("a string takes all");
    }
    text
}

#[test]
fn a_row_replaces_the_one_of_its_name_and_a_new_one_comes_last() {
    let empty = format!("before\n{START}{END}\nafter\n");
    let lines = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let one = lines(&["| a | 1 | `one` |", "|  | 2 |  |"]);
    let page = with_row(&empty, "- old\n", "one", &one);
    let page = with_row(&page, "- old\n", "two", &lines(&["| b | 3 | `two` |"]));
    let page = with_row(&page, "- new\n", "one", &lines(&["| a | 4 | `one` |"]));
    let wanted = format!("before\n{START}- new\n\n{HEAD}| a | 4 | `one` |\n| b | 3 | `two` |\n{END}\nafter\n");
    assert_eq!(page, wanted);
}
