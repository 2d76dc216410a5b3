//! CONFIG: the settings over the wire. What a setting is called, takes and allows stands in `crate::config` alone; this
//! file must not know a setting by name, but for the few whose change somebody else must be told.

use parking_lot::{Mutex, RwLock};
use tracing::{info, warn};

use super::error::CommandError;
use super::help;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::{App, Client};
use crate::config::{self, RewriteError, SetError, Settings, Sources};
use crate::glob;
use crate::protocol::{Reply, Request};
use crate::tls::TlsError;

/// CONFIG.
pub const ROWS: &[Row] = &[Row {
    name: "config",
    syntax: "",
    summary: "A container for server configuration commands",
    since: "2.0.0",
    group: Group::Server,
    arity: -2,
    flags: &[],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::Container(SUBCOMMANDS),
}];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "get",
        syntax: "parameter [parameter ...]",
        summary: "Get the values of configuration parameters",
        since: "2.0.0",
        group: Group::Server,
        arity: -3,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(get),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "5.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(show_help),
    },
    Row {
        name: "resetstat",
        syntax: "",
        summary: "Reset the stats returned by INFO",
        since: "2.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(reset_statistics),
    },
    Row {
        name: "rewrite",
        syntax: "",
        summary: "Rewrite the configuration file with the in memory configuration",
        since: "2.8.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(rewrite),
    },
    Row {
        name: "set",
        syntax: "parameter value [parameter value ...]",
        summary: "Set configuration parameters to the given values",
        since: "2.0.0",
        group: Group::Server,
        arity: -4,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::SecretValues],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(set),
    },
];

const HELP: &[&str] = &[
    "GET <pattern>",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value>",
    "    Set the configuration <directive> to <value>.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Rewrite the configuration file.",
];

fn show_help(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(help::reply("CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", HELP))
}

fn get(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let settings = app.settings.read();
    let mut found: Vec<(String, String)> = Vec::new();
    for word in &request[2..] {
        for (name, value) in matching(&settings, word) {
            if !found.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
                found.push((name, value));
            }
        }
    }
    Ok(Reply::Map(found.into_iter().map(|(name, value)| (Reply::text(name), Reply::text(value))).collect()))
}

/// The settings that a word of CONFIG GET means. As in Redis, a name comes back as it was typed; what a pattern finds, as it is.
fn matching(settings: &Settings, word: &[u8]) -> Vec<(String, String)> {
    if word.iter().any(|byte| b"*?[".contains(byte)) {
        let pattern = word.to_ascii_lowercase();
        let found = config::matching(settings, |name| glob::matches(&pattern, name.as_bytes()));
        return found.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    }
    let found = config::matching(settings, |name| name.as_bytes().eq_ignore_ascii_case(word));
    found.into_iter().map(|(_, value)| (String::from_utf8_lossy(word).into_owned(), value)).collect()
}

fn set(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let words: Vec<_> = request[2..].iter().map(|word| String::from_utf8_lossy(word)).collect();
    let (pairs, rest) = words.as_chunks();
    if !rest.is_empty() {
        return Err(CommandError::Syntax);
    }
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|[name, value]| (name.as_ref(), value.as_ref())).collect();
    let failed = |error: SetError| CommandError::other(error.to_string());
    // Who changes settings has this lock; those in force stay free for all who serve while files are read.
    let _changing = app.sources.lock();
    let mut changed = app.settings.read().clone();
    config::set_all(&mut changed, &pairs).map_err(failed)?;
    // As in Redis, naming a file once more reads it once more.
    let of_tls = pairs.iter().find_map(|(name, _)| of_tls(name));
    let put = app.put_in_force(changed, of_tls.is_some());
    put.map_err(|error| failed(not_taken(of_tls.unwrap_or_default(), &error)))?;
    Ok(Reply::OK)
}

/// The name of this setting if it is one of TLS, whose files are read when it changes.
fn of_tls(name: &str) -> Option<&'static str> {
    config::Row::named(name).map(|row| row.name).filter(|name| name.starts_with("tls-"))
}

/// Redis's words, which send the operator to the log: a client need not learn what stands in the server's files.
fn not_taken(name: &str, error: &TlsError) -> SetError {
    warn!(%error, "CONFIG SET: what TLS would need is no good; what was good stays in force");
    let reason = "Unable to update TLS configuration. Check server logs.".to_owned();
    SetError::Failed { name: name.to_owned(), reason }
}

fn reset_statistics(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    app.metrics.reset();
    Ok(Reply::OK)
}

/// As in Redis, everybody on this thread waits for the disk: it is a rare command of an operator's.
fn rewrite(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    let beaten = rewrite_file(&app.sources, &app.settings).map_err(|error| {
        warn!(%error, "CONFIG REWRITE: the file of the settings is as before");
        CommandError::other(error.to_string())
    })?;
    if beaten.is_empty() {
        info!("CONFIG REWRITE: what CONFIG SET has changed stands in the file of the settings");
    } else {
        let settings = beaten.join(", ");
        warn!(
            settings,
            "CONFIG REWRITE: a flag or the environment gives these settings, and beats the file at the next start"
        );
    }
    Ok(Reply::OK)
}

/// Locks the sources before it looks at the settings, as a reload does: what it had seen before its turn, another one's newer
/// file would be overwritten with.
fn rewrite_file(sources: &Mutex<Sources>, settings: &RwLock<Settings>) -> Result<Vec<&'static str>, RewriteError> {
    let mut sources = sources.lock();
    let in_force = settings.read().clone();
    sources.rewrite(&in_force)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::Loaded;

    #[test]
    fn a_rewrite_looks_at_the_settings_when_it_is_its_turn() {
        let of_nobody = BTreeSet::new;
        let (settings, warnings) = (Settings::default(), Vec::new());
        let loaded = Loaded { settings, warnings, explicit: of_nobody(), beyond_file: of_nobody(), file: None };
        let (sources, settings) = (Mutex::new(Sources::new(&loaded)), RwLock::new(Settings::default()));
        std::thread::scope(|scope| {
            let changing = settings.write();
            let rewriting = scope.spawn(|| rewrite_file(&sources, &settings));
            let begun = Instant::now();
            while sources.try_lock().is_some() {
                assert!(
                    begun.elapsed() < Duration::from_secs(10),
                    "it waits for the settings, and others may overtake it"
                );
                std::thread::yield_now();
            }
            drop(changing);
            assert_eq!(rewriting.join().expect("no panic"), Err(RewriteError::NoFile));
        });
    }
}
