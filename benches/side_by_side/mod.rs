//! Each contestant under each load, round after round, and a report of it. What is compared runs one after the other
//! under the same load, and ratios are taken within a round, so that what changes on the machine meanwhile falls on all.

mod contestants;
mod generator;
mod loads;
mod measuring;
mod options;
mod ratios;
mod redis_benchmark;
mod report;
mod round;
mod rows;
mod targets;

use std::ffi::OsString;

use indicatif::{ProgressBar, ProgressStyle};

use self::measuring::Record;
use self::options::Options;
use self::report::Report;
use self::round::Round;
use crate::stage::Result;
use crate::stage::ground::Ground;
use crate::support::processors::{OTHER_WORK_MAX, busy_cores};

/// Reads the command line, measures, prints the tables and writes the report.
///
/// # Errors
/// When a contestant answers wrongly, a run is void, or the data would not stand on a disk.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    let options = Options::read(arguments);
    let Ground { postgres, data, mut machine } = Ground::open(&options.scope)?;
    let steps = loads::steps(&options.loads);
    let bar = progress(u64::from(options.rounds) * (steps.len() as u64 + 1) * options.contestants.len() as u64);
    let mut records: Vec<Record> = Vec::new();
    let mut other_work = 0.0_f64;
    for number in 0..options.rounds {
        let mut round = Round::start(number, &options, &postgres, data.path(), &bar)?;
        other_work = other_work.max(busy_cores()?);
        if other_work > OTHER_WORK_MAX && !options.scope.is_smoke() {
            return Err(format!("something else keeps {other_work:.2} processors busy: end it first").into());
        }
        for (place, step) in steps.iter().enumerate() {
            records.extend(round.measure(step, &bar)?);
            let is_last_of_load = steps.get(place + 1).is_none_or(|next| next.load != step.load);
            if is_last_of_load && step.writes_sets_only() {
                round.check_rows()?;
            }
        }
    }
    bar.finish_and_clear();
    machine.0.push(("other work", format!("at most {other_work:.2} processors, before each round")));
    let report = Report { options: &options, machine: &machine, steps: &steps, records: &records };
    println!("{}", report.summary());
    report.write()
}

fn progress(length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("[{elapsed_precise}] {wide_bar} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}
