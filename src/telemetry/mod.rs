//! What operators see: log lines, and numbers. Each number is kept once, so that INFO and Prometheus agree; nothing
//! here may hold a value, a password or (above `trace`) a key.

pub mod catalogue;
pub mod command_stats;
mod durations;
pub mod exposition;
pub mod heap;
pub mod instrument;
mod labelled;
pub mod latency;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod sessions;
pub mod storage;

pub use durations::Durations;
pub use logging::Logging;
pub use metrics::Metrics;
