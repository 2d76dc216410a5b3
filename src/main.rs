//! The program: reads the settings, starts the log, runs the server, and ends with a code that says how it went: 0 for
//! a clean stop, 1 for a failure while running, 2 for a mistake in the configuration. Nothing is decided here that a
//! test of the library could not reach.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use sojourn::check::{self, Report};
use sojourn::config::{Command, ConfigError, Loaded, load};
use sojourn::database::{DatabaseSettings, postgres, sqlite};
use sojourn::server::reload::Reload;
use sojourn::server::{self, ServerError, inherited};
use sojourn::telemetry::{Logging, process};
use tikv_jemalloc_ctl::background_thread;
use tikv_jemallocator::Jemalloc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// With it memory that becomes free in small pieces all over goes back to the system.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Allocations from this size on have an arena of their own (jemalloc(3), `opt.oversize_threshold`).
const LARGE_BYTES: usize = 8 << 20;

const EXIT_FAILURE: u8 = 1;
const EXIT_CONFIGURATION: u8 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, sentence)) => {
            // What was printed already says it all.
            if !sentence.is_empty() {
                eprintln!("sojourn: {sentence}");
            }
            ExitCode::from(code)
        }
    }
}

fn run() -> Result<(), (u8, String)> {
    give_memory_back();
    let command = match read_command() {
        Err(error) if is_check() && !error.is_of_command_line() => {
            return tell(&Report::of_settings_fault(error.to_string()));
        }
        command => command.map_err(|error| (EXIT_CONFIGURATION, error.to_string()))?,
    };
    match command {
        Command::Check(loaded) => check(&loaded),
        Command::Print(text) => print(&text),
        Command::Schema(loaded) => print(&schema(&database_settings(&loaded)?)),
        Command::Serve(loaded) => {
            database_settings(&loaded)?;
            serve(*loaded)
        }
    }
}

/// What is freed goes back to the system within ten seconds, by a thread of jemalloc's own; without it an idle server keeps what it
/// was busy with. What is large goes back at once, as long as the arena for it is made before there is that thread: values of
/// hundreds of megabytes would leave each of their copies behind.
fn give_memory_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
    if let Err(error) = background_thread::write(true) {
        eprintln!("sojourn: jemalloc has no thread that gives memory back: {error}");
    }
}

fn read_command() -> Result<Command, ConfigError> {
    load(std::env::args_os(), &environment(), |path| std::fs::read_to_string(path))
}

/// The settings once more, from the same sources.
fn read_again() -> Result<Loaded, ConfigError> {
    match read_command()? {
        Command::Serve(loaded) | Command::Schema(loaded) | Command::Check(loaded) => Ok(*loaded),
        Command::Print(text) => Err(ConfigError::Usage(text)),
    }
}

/// The environment; what is no UTF-8 is no setting, and is shown as well as it can be.
fn environment() -> Vec<(String, String)> {
    let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

fn print(text: &str) -> Result<(), (u8, String)> {
    use std::io::Write;
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| (EXIT_FAILURE, format!("cannot write to standard output: {error}")))
}

fn database_settings(loaded: &Loaded) -> Result<DatabaseSettings, (u8, String)> {
    let settings = DatabaseSettings::from_settings(&loaded.settings, process::identity());
    settings.map_err(|sentence| (EXIT_CONFIGURATION, sentence))
}

fn schema(settings: &DatabaseSettings) -> String {
    match settings.url.split_once(':') {
        Some(("postgres" | "postgresql", _)) => postgres::schema(settings),
        Some(("sqlite", _)) => sqlite::schema(settings),
        Some(_) | None => "-- memory:// has no tables\n".to_owned(),
    }
}

/// Whether it was asked to check, and not to serve: also where the settings are no good.
fn is_check() -> bool {
    std::env::args_os().any(|word| word == "check")
}

fn check(loaded: &Loaded) -> Result<(), (u8, String)> {
    let failed = |error: &dyn std::fmt::Display| (EXIT_FAILURE, error.to_string());
    let settings = match DatabaseSettings::from_settings(&loaded.settings, process::identity()) {
        Ok(settings) => settings,
        Err(sentence) => return tell(&Report::of_settings_fault(sentence)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    tell(&runtime.block_on(check::check(loaded, &settings)))
}

/// Prints what was found; the exit code says whether it is good.
fn tell(report: &Report) -> Result<(), (u8, String)> {
    print(&report.text())?;
    if report.is_good() { Ok(()) } else { Err((EXIT_FAILURE, String::new())) }
}

fn serve(loaded: Loaded) -> Result<(), (u8, String)> {
    let failed = |error: &dyn std::fmt::Display| (EXIT_FAILURE, error.to_string());
    // Before any thread is started.
    let inherited = inherited::take().map_err(|error| failed(&error))?;
    let logging = Logging::start(&loaded.settings).map_err(|error| failed(&error))?;
    let config = loaded.file.as_ref().map(|path| path.display().to_string());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), process = process::identity(), config, "starting");
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| failed(&error))?;
    let served = runtime.block_on(async {
        let shutdown = shutdown_signal().map_err(|error| failed(&error))?;
        let asked = reload_signal().map_err(|error| failed(&error))?;
        let reload = Some(Reload { asked, read: Arc::new(read_again) });
        let options = server::Options { logging: Some(logging), inherited, reload, ..Default::default() };
        server::run(loaded, options, shutdown).await.map_err(|error| (exit_code(&error), error.to_string()))
    });
    // A connection that does not end within shutdown-timeout must not keep the process.
    runtime.shutdown_background();
    served
}

/// A file of TLS that is no good is a mistake in the configuration that shows only when it is read.
const fn exit_code(error: &ServerError) -> u8 {
    if matches!(error, ServerError::Tls(_)) { EXIT_CONFIGURATION } else { EXIT_FAILURE }
}

/// Ready at the first SIGTERM or SIGINT. The signals are caught from this call on, not from the first poll: one that
/// comes while the server starts must not kill it.
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "a signal asks the server to stop");
    })
}

/// Receives something for each SIGHUP; those that come while one is being followed are one.
fn reload_signal() -> std::io::Result<mpsc::Receiver<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (ask, asked) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            // Full: it is going to be read anyway.
            let _ = ask.try_send(());
        }
    });
    Ok(asked)
}
