//! What can be asked of a run.

use std::ffi::OsString;

use clap::{Arg, Command, value_parser};

use super::sections;
use crate::stage::scope::{Extent, Scope};

const ABOUT: &str = "Measures Sojourn with many sessions beside redis-server, on servers that it starts itself.";

/// Sessions of a run, and of those parts of it that are about even more.
struct Size {
    sessions: u32,
    large: u32,
}

/// About 15 minutes on two cores.
const FULL: Size = Size { sessions: 1_000_000, large: 5_000_000 };
/// About two minutes.
const QUICK: Size = Size { sessions: 100_000, large: 200_000 };
/// A few seconds.
const SMOKE: Size = Size { sessions: 2_000, large: 4_000 };

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many sessions.
    pub sessions: u32,
    /// How many where it is about the largest sets.
    pub large: u32,
    /// The names of the sections.
    pub sections: Vec<&'static str>,
    /// How much is run, and where.
    pub scope: Scope,
}

impl Options {
    /// Reads the command line; help, and what is wrong with it, end the process.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let matches = command().get_matches_from(arguments);
        let scope = Scope::of(&matches, "scale");
        let size = match scope.extent {
            Extent::Full => FULL,
            Extent::Quick => QUICK,
            Extent::Smoke => SMOKE,
        };
        let sessions = matches.get_one("sessions").copied().unwrap_or(size.sessions);
        let all = || sections::ALL.iter().map(|section| section.name).collect();
        Self {
            sessions,
            large: matches.get_one("large").copied().unwrap_or(size.large).max(sessions),
            sections: matches.get_many("sections").map_or_else(all, |names| names.copied().collect()),
            scope,
        }
    }
}

fn command() -> Command {
    let value =
        |name: &'static str, shown: &'static str, help: String| Arg::new(name).long(name).value_name(shown).help(help);
    let count = || value_parser!(u32).range(1_000..=20_000_000);
    let names = sections::ALL.map(|section| section.name);
    let about: Vec<String> =
        sections::ALL.iter().map(|section| format!("{}: {}", section.name, section.about)).collect();
    Command::new("scale").about(ABOUT).args(Scope::arguments("fewer sessions, about two minutes")).args([
        value("sessions", "N", format!("how many sessions; {} otherwise", FULL.sessions)).value_parser(count()),
        value("large", "N", format!("how many where it is about the largest sets; {} otherwise", FULL.large))
            .value_parser(count()),
        value("sections", "LIST", format!("which sections: {}", about.join("; "))).value_delimiter(',').value_parser(
            move |name: &str| {
                let found = names.iter().copied().find(|known| *known == name);
                found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
            },
        ),
    ])
}
