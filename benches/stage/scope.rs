//! What every benchmark can be asked: how much of it is run, and where its files stand.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Full,
    /// What fits into two minutes.
    Quick,
    /// A few seconds, only to see that it works: no figure of it means anything, and the disk may be a memory.
    Smoke,
}

/// What every run is told.
#[derive(Clone, Debug)]
pub struct Scope {
    /// How much is run.
    pub extent: Extent,
    /// Where the servers keep their data; its disk is what is measured.
    pub data: PathBuf,
    /// Where the report is written.
    pub report: PathBuf,
}

impl Scope {
    /// The arguments that say it; `quick` is what a short run leaves out.
    pub fn arguments(quick: &'static str) -> [Arg; 5] {
        let flag =
            |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
        let folder = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).value_name("FOLDER").value_parser(value_parser!(PathBuf)).help(help)
        };
        [
            flag("quick", quick),
            flag("smoke", "a few seconds, to see that it works"),
            flag("bench", "given by cargo").hide(true),
            folder("data", "where the servers keep their data, on a real disk"),
            folder("report", "where the report is written"),
        ]
    }

    /// What was said to the benchmark of this name.
    pub fn of(matches: &ArgMatches, name: &str) -> Self {
        let has = |name: &str| matches.get_flag(name);
        // `cargo bench` says --bench; `cargo test --all-targets` runs the same program without it, as a test.
        let extent = match (has("smoke") || !has("bench"), has("quick")) {
            (true, _) => Extent::Smoke,
            (false, true) => Extent::Quick,
            (false, false) => Extent::Full,
        };
        let target = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target").join(name);
        let data = if extent == Extent::Smoke { std::env::temp_dir() } else { target.join("data") };
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        Self { extent, data: path("data").unwrap_or(data), report: path("report").unwrap_or(target) }
    }

    /// Whether it is only to be seen that it works.
    pub fn is_smoke(&self) -> bool {
        self.extent == Extent::Smoke
    }

    /// Whether there is not the time for all of it.
    pub fn is_short(&self) -> bool {
        self.extent != Extent::Full
    }
}
