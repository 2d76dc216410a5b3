//! The log: lines on standard error, as text or JSON. Only Sojourn's own lines follow `log-level`; libraries are heard
//! from `warn` up, since a driver at `debug` would print statements.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use std::io::IsTerminal;

use crate::config::{LogFormat, LogLevel, Settings};

/// The target of Sojourn's own lines.
const OWN_TARGET: &str = "sojourn";

/// The log of this process, whose level can change while it runs.
#[derive(Clone, Debug)]
pub struct Logging {
    level: reload::Handle<Targets, Registry>,
}

/// There is a log already: a process has one.
#[derive(Debug, thiserror::Error)]
#[error("logging was set up before: {0}")]
pub struct LoggingError(String);

impl Logging {
    /// Starts the log that the settings ask for.
    ///
    /// # Errors
    /// When the process has a log already.
    pub fn start(settings: &Settings) -> Result<Self, LoggingError> {
        let (filter, level) = reload::Layer::new(targets(settings.log_level));
        let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
        let lines = match settings.log_format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        };
        let log = tracing_subscriber::registry().with(filter).with(lines);
        log.try_init().map_err(|error| LoggingError(error.to_string()))?;
        Ok(Self { level })
    }

    /// Changes the level, after CONFIG SET log-level.
    pub fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.level.reload(targets(level)) {
            tracing::warn!(%error, "the log level cannot be changed");
        }
    }
}

fn targets(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(own.min(LevelFilter::WARN)).with_target(OWN_TARGET, own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn only_own_lines_follow_the_level() {
        let trace = targets(LogLevel::Trace);
        assert!(trace.would_enable("sojourn::keyspace", &Level::TRACE));
        assert!(!trace.would_enable("sqlx::query", &Level::INFO));
        assert!(trace.would_enable("sqlx::query", &Level::WARN));
        assert!(!targets(LogLevel::Error).would_enable("sqlx::query", &Level::WARN));
    }
}
