//! What a large number of sessions costs: memory, the start, their common end, growth. Each section starts its own servers,
//! one after the other, puts the same load on each, and gives its part of the report; none reports what it did not measure.

mod load;
mod options;
mod report;
mod sections;
mod servers;
#[path = "../sessions/mod.rs"]
mod sessions;

use std::ffi::OsString;
use std::time::Instant;

use self::options::Options;
use self::report::{Part, Report};
use crate::stage::Result;
use crate::stage::ground::Ground;
use crate::support::processors::{OTHER_WORK_MAX, busy_cores};

/// Reads the command line, measures, prints the tables and writes the report.
///
/// # Errors
/// When a server answers wrongly, or the data would not stand on a disk.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    let options = Options::read(arguments);
    let Ground { postgres, data, mut machine } = Ground::open(&options.scope)?;
    let stage = servers::Stage { postgres: &postgres, data: data.path(), options: &options };
    let (mut parts, mut failed, mut other_work) = (Vec::new(), Vec::new(), 0.0_f64);
    for section in sections::ALL.into_iter().filter(|section| options.sections.contains(&section.name)) {
        other_work = other_work.max(busy_cores()?);
        let begun = Instant::now();
        println!("{}: {}", section.name, section.about);
        let mut part = (section.measure)(&stage).unwrap_or_else(|error| {
            failed.push(section.name);
            Part::failed(&error.to_string())
        });
        part.seconds = begun.elapsed().as_secs_f64();
        println!("{}", part.text());
        parts.push((section, part));
    }
    let verdict = if other_work > OTHER_WORK_MAX { "; too much, these figures mean little" } else { "" };
    machine.0.push(("other work", format!("at most {other_work:.2} processors, before each section{verdict}")));
    Report { options: &options, machine: &machine, parts: &parts }.write()?;
    // What the others have found is worth its report.
    if failed.is_empty() { Ok(()) } else { Err(format!("these sections failed: {}", failed.join(", ")).into()) }
}
