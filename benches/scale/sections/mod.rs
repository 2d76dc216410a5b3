//! The sections of a run, in their order.

mod compression;
mod eviction;
mod growth;
mod limit;
mod memory;
mod start;
mod storm;
mod values;

use super::report::Part;
use super::servers::Stage;
use crate::stage::Result;

/// This part of the sessions is there before the memory of all is measured.
const FIRST_SHARE: u32 = 100;

/// A part of a run.
#[derive(Debug)]
pub struct Section {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Measures it.
    pub measure: fn(&Stage<'_>) -> Result<Part>,
}

/// All of them.
pub const ALL: [&Section; 8] = [
    &memory::SECTION,
    &start::SECTION,
    &storm::SECTION,
    &growth::SECTION,
    &compression::SECTION,
    &limit::SECTION,
    &values::SECTION,
    &eviction::SECTION,
];

const MIB: f64 = 1_048_576.0;

/// A duration as milliseconds.
fn ms(took: std::time::Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}
