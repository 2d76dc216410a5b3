//! SLOWLOG: the commands that took long, with their words cut short and without what is secret.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::info;

use super::error::CommandError;
use super::monitor::Caller;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{args, client, help, secret, table};
use crate::app::slow_log::SlowCommand;
use crate::app::{App, Client};
use crate::protocol::{Reply, Request};

/// The most words that are kept of a command, and the most bytes of each, as in Redis.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 128;

/// How many are shown where nobody says, as in Redis.
const SHOWN_DEFAULT: usize = 10;

/// SLOWLOG.
pub const ROWS: &[Row] = &[Row {
    name: "slowlog",
    syntax: "",
    summary: "A container for slow log commands",
    since: "2.2.12",
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
        syntax: "[count]",
        summary: "Get the slow log's entries",
        since: "2.2.12",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::Admin, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(get),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "6.2.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(show_help),
    },
    Row {
        name: "len",
        syntax: "",
        summary: "Get the slow log's length",
        since: "2.2.12",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(length),
    },
    Row {
        name: "reset",
        syntax: "",
        summary: "Clear all entries from the slow log",
        since: "2.2.12",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(reset),
    },
];

const HELP: &[&str] = &[
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
];

fn show_help(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(help::reply("SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", HELP))
}

fn get(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let most = match &request[2..] {
        [] => SHOWN_DEFAULT,
        [word] => {
            let count = args::canonical_integer(word).filter(|count| *count >= -1);
            let count = count.ok_or_else(|| CommandError::other("ERR count should be greater than or equal to -1"))?;
            // -1 is all of them.
            usize::try_from(count).unwrap_or(usize::MAX)
        }
        [..] => {
            let word = String::from_utf8_lossy(&request[1]);
            let line = format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try SLOWLOG HELP.");
            return Err(CommandError::other(line));
        }
    };
    Ok(Reply::Array(app.slow_log.newest(most).into_iter().map(describe).collect()))
}

fn describe(command: SlowCommand) -> Reply {
    let integer = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    Reply::Array(vec![
        integer(command.id),
        Reply::Integer(command.at_s),
        integer(command.took_us),
        Reply::Array(command.words.into_iter().map(Reply::Bulk).collect()),
        Reply::text(command.address),
        Reply::text(command.client_name),
    ])
}

fn length(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::count(app.slow_log.len()))
}

fn reset(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    app.slow_log.clear();
    Ok(Reply::OK)
}

/// Keeps a command that took long.
pub(super) fn note(app: &App, client: &Client, row: &'static Row, request: &Request, caller: Caller, took: Duration) {
    if row.has(Flag::SkipSlowLog) {
        return;
    }
    log(app, row, request, took);
    let (address, client_name) = match caller {
        Caller::Client => (client::address(client.info.address).to_string(), client.info.shown.lock().name.clone()),
        // Redis's name for the client that scripts have.
        Caller::Script => ("?:0".to_owned(), String::new()),
    };
    app.slow_log.add(SlowCommand {
        id: 0,
        at_s: app.clock.now_ms().div_euclid(1000),
        took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        words: kept_words(secret::shown(row, request), request.len()),
        address,
        client_name,
    });
}

/// A line of the log. A key is a credential, and so are words that are not known: the command's name and the key's length only.
fn log(app: &App, row: &'static Row, request: &Request, took: Duration) {
    let Some(unsaid) = app.slow_log.line_is_due(Instant::now()) else { return };
    info!(
        command = table::full_name(row),
        key_bytes = row.keys.of(request).next().and_then(|position| request.get(position)).map(|key| key.len()),
        microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        unsaid,
        "a command took long (SLOWLOG GET shows its words)"
    );
}

/// Copies of the first words, of the first bytes of each: slices would hold the whole request.
fn kept_words<'a>(words: impl Iterator<Item = &'a [u8]>, count: usize) -> Vec<Bytes> {
    let kept = if count > WORDS_MAX { WORDS_MAX - 1 } else { count };
    let mut words: Vec<_> = words.take(kept).map(kept_bytes).collect();
    if kept < count {
        words.push(format!("... ({} more arguments)", count - kept).into());
    }
    words
}

fn kept_bytes(word: &[u8]) -> Bytes {
    match word.split_at_checked(WORD_BYTES_MAX) {
        None | Some((_, [])) => Bytes::copy_from_slice(word),
        Some((kept, rest)) => [kept, format!("... ({} more bytes)", rest.len()).as_bytes()].concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_cut_as_redis_cuts_it() {
        let words = |count: usize| vec![b"x".as_slice(); count];
        let kept = |count| kept_words(words(count).into_iter(), count);
        assert_eq!(kept(32).len(), 32);
        assert_eq!((kept(33).len(), &kept(33)[31][..]), (32, &b"... (2 more arguments)"[..]));
        assert_eq!(kept_bytes(&[b'x'; 128]), vec![b'x'; 128]);
        assert_eq!(kept_bytes(&[b'x'; 129]), format!("{}... (1 more bytes)", "x".repeat(128)));
    }
}
