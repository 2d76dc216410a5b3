//! INFO: the numbers under the names that Redis's tools know, each read from where it is kept, or saying that there is none
//! of it. What tools look for and is not kept is 0, and a section of its own holds what Redis does not have.

mod absent;
mod memory;
mod process;
mod storage;
mod traffic;

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use bytes::Bytes;

use super::args;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::{App, Client};
use crate::protocol::{Reply, Request};

/// INFO.
pub const ROWS: &[Row] = &[Row {
    name: "info",
    syntax: "[section [section ...]]",
    summary: "Get information and statistics about the server",
    since: "1.0.0",
    group: Group::Server,
    arity: -1,
    flags: &[Flag::Loading, Flag::Dangerous],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::Client(info),
}];

/// A part of INFO.
struct Section {
    /// As in its headline; a client may ask for it in any case.
    name: &'static str,
    /// Whether it is shown to those who do not ask for a section.
    by_default: bool,
    write: fn(&App, &mut Lines),
}

/// In Redis's order, and the own one at the end.
const SECTIONS: &[Section] = &[
    Section { name: "Server", by_default: true, write: process::server },
    Section { name: "Clients", by_default: true, write: traffic::clients },
    Section { name: "Memory", by_default: true, write: memory::memory },
    Section { name: "Persistence", by_default: true, write: storage::persistence },
    Section { name: "Stats", by_default: true, write: traffic::statistics },
    Section { name: "Replication", by_default: true, write: storage::replication },
    Section { name: "CPU", by_default: true, write: process::cpu },
    Section { name: "Commandstats", by_default: false, write: traffic::commands },
    Section { name: "Errorstats", by_default: true, write: traffic::errors },
    Section { name: "Latencystats", by_default: false, write: traffic::latencies },
    Section { name: "Cluster", by_default: true, write: storage::cluster },
    Section { name: "Keyspace", by_default: true, write: storage::keyspace },
    Section { name: "Sojourn", by_default: true, write: storage::sojourn },
];

fn info(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    app.refresh_metrics();
    let wanted = wanted(&request[1..]);
    let mut lines = Lines::default();
    for section in SECTIONS.iter().filter(|section| wanted.contains(section.name)) {
        lines.headline(section.name);
        (section.write)(app, &mut lines);
        absent::lines_of(section.name).for_each(|(name, value)| lines.put(name, value));
    }
    Ok(Reply::Verbatim(lines.text))
}

/// The names of the sections that these words ask for; a word that is none asks for nothing, as in Redis.
fn wanted(words: &[Bytes]) -> BTreeSet<&'static str> {
    let is_wanted = |section: &Section| {
        let asks = |word: &Bytes| {
            args::is(word, section.name)
                || args::is(word, "all")
                || args::is(word, "everything")
                || (section.by_default && args::is(word, "default"))
        };
        if words.is_empty() { section.by_default } else { words.iter().any(asks) }
    };
    SECTIONS.iter().filter(|section| is_wanted(section)).map(|section| section.name).collect()
}

/// The text of INFO: `key:value` lines that end with CR and LF.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn headline(&mut self, name: &str) {
        let gap = if self.text.is_empty() { "" } else { "\r\n" };
        self.text.extend([gap, "# ", name, "\r\n"]);
    }

    fn put(&mut self, key: impl Display, value: impl Display) {
        let written = write!(self.text, "{key}:{value}\r\n");
        debug_assert!(written.is_ok(), "a string takes all that is written");
    }

    /// A text from elsewhere, which must not end its line.
    fn put_text(&mut self, key: impl Display, value: &str) {
        self.put(key, value.replace(['\r', '\n'], " "));
    }

    /// A size, and once more for people.
    fn put_bytes(&mut self, key: &str, bytes: u64) {
        self.put(key, bytes);
        self.put(format_args!("{key}_human"), human(bytes));
    }
}

/// A size as Redis writes it for people.
fn human(bytes: u64) -> String {
    const STEP: f64 = 1024.0;
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    #[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
    let mut shown = bytes as f64 / STEP;
    let mut units = ["K", "M", "G", "T"].into_iter().peekable();
    let mut unit = "K";
    while let Some(next) = units.next() {
        unit = next;
        if shown < STEP || units.peek().is_none() {
            break;
        }
        shown /= STEP;
    }
    format!("{shown:.2}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<&'static str> {
        let words: Vec<Bytes> = line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let wanted = wanted(&words);
        SECTIONS.iter().map(|section| section.name).filter(|name| wanted.contains(name)).collect()
    }

    #[test]
    fn sections_are_chosen_in_any_case_and_shown_once() {
        assert_eq!(names("memory KEYSPACE keyspace"), ["Memory", "Keyspace"]);
        assert_eq!(names("nosuch"), [""; 0]);
        assert_eq!(names("everything").len(), SECTIONS.len());
        assert_eq!(names("ALL").len(), SECTIONS.len());
        assert_eq!(names("default"), names(""));
        assert!(!names("").contains(&"Commandstats") && names("default commandstats").contains(&"Commandstats"));
    }

    #[test]
    fn sections_are_lines_with_an_empty_one_between() {
        let mut lines = Lines::default();
        lines.headline("Cluster");
        lines.put("cluster_enabled", 0);
        lines.headline("Sojourn");
        lines.put_text("database_place", "a\r\nb");
        assert_eq!(lines.text, "# Cluster\r\ncluster_enabled:0\r\n\r\n# Sojourn\r\ndatabase_place:a  b\r\n");
    }

    #[test]
    fn sizes_are_written_as_redis_writes_them() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_386_064, "1.32M"),
            (25_276_502_016, "23.54G"),
            (1 << 52, "4096.00T"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }
}
