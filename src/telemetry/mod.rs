//! What operators see: log lines, and numbers. Each number is kept once, so that INFO and Prometheus agree; nothing
//! here may hold a value, a password or (above `trace`) a key.

pub mod command_stats;
mod durations;
pub mod exporter;
pub mod instrument;
pub mod latency;
pub mod logging;
pub mod metrics;
pub mod process;

pub use durations::Durations;
pub use exporter::{Exporter, ExporterError};
pub use logging::Logging;
pub use metrics::Metrics;
