//! The log: lines on standard error, as text or JSON. Only Sojourn's own lines follow `log-level`; libraries are heard
//! from `warn` up, since a driver at `debug` would print statements. A panic is logged by its place alone: its message may
//! quote what was at hand.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};

use crate::config::{LogFormat, LogLevel, Settings};

/// The target of Sojourn's own lines.
const OWN_TARGET: &str = "sojourn";

/// What PostgreSQL tells a client besides errors: a trigger's own words, which may quote a row.
const NOTICES: &str = "sqlx::postgres::notice";

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
        let is_terminal = std::io::stderr().is_terminal();
        let lines = if is_text(settings.log_format, is_terminal) {
            lines.with_ansi(is_terminal).boxed()
        } else {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        };
        let log = tracing_subscriber::registry().with(filter).with(lines);
        log.try_init().map_err(|error| LoggingError(error.to_string()))?;
        panic::set_hook(Box::new(log_panic));
        Ok(Self { level })
    }

    /// Changes the level, after CONFIG SET log-level.
    pub fn set_level(&self, level: LogLevel) {
        if let Err(error) = self.level.reload(targets(level)) {
            tracing::warn!(%error, "the log level cannot be changed");
        }
    }
}

const fn is_text(format: LogFormat, is_terminal: bool) -> bool {
    match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    tracing::error!(place, thread, "a bug in Sojourn: a task panicked");
}

fn targets(level: LogLevel) -> Targets {
    let own = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let libraries = Targets::new().with_default(own.min(LevelFilter::WARN)).with_target(NOTICES, LevelFilter::OFF);
    libraries.with_target(OWN_TARGET, own)
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::Level;

    use super::*;

    #[test]
    fn only_own_lines_follow_the_level() {
        let trace = targets(LogLevel::Trace);
        assert!(trace.would_enable("sojourn::keyspace", &Level::TRACE));
        assert!(!trace.would_enable("sqlx::query", &Level::INFO));
        assert!(trace.would_enable("sqlx::query", &Level::WARN));
        assert!(!targets(LogLevel::Error).would_enable("sqlx::query", &Level::WARN));
        assert!(!trace.would_enable("sqlx::postgres::notice", &Level::WARN));
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_by_its_place_and_not_by_its_message() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = fmt().with_writer(move || writer.clone()).finish();
        let before = panic::take_hook();
        panic::set_hook(Box::new(log_panic));
        let ended = tracing::subscriber::with_default(log, || panic::catch_unwind(|| panic!("sess:secret")));
        panic::set_hook(before);
        assert!(ended.is_err());
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert!(text.contains("src/telemetry/logging.rs:") && !text.contains("secret"), "{text}");
    }
}
