//! What the benchmarks stand on: the machine they describe, the sessions they store, and how they show their figures.

pub mod charts;
pub mod client;
pub mod ground;
pub mod machine;
pub mod median;
pub mod process;
pub mod redis_benchmark;
pub mod scope;
pub mod servers;
pub mod session;
pub mod tables;
pub mod wanted;

/// What can go wrong ends the run with one sentence.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
