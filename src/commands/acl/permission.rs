//! Whether a user may do what a request asks for, and what is answered if not. Only clients whose user may not do everything
//! come here.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use super::super::error::CommandError;
use super::super::table::{self, Flag, Loads, Row};
use super::log;
use crate::app::users::{Context, KeyPattern, Reason, Selector, User};
use crate::app::{App, Client};
use crate::glob;
use crate::protocol::Request;

/// What is not allowed. In this order: of what several selectors say, the greatest is told, as in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command.
    Command,
    /// The key at this position of the request.
    Key(usize),
    /// The channel, or pattern of channels, at this position of the request.
    Channel(usize),
}

/// Whether this user may do this.
///
/// # Errors
/// What it may not.
pub fn check(user: &User, row: &'static Row, request: &[Bytes]) -> Result<(), Denied> {
    let mut denied = Denied::Command;
    for selector in user.all_selectors() {
        match check_selector(selector, row, request) {
            Ok(()) => return Ok(()),
            Err(other) => denied = denied.max(other),
        }
    }
    Err(denied)
}

fn check_selector(selector: &Selector, row: &'static Row, request: &[Bytes]) -> Result<(), Denied> {
    if !row.has(Flag::NoAuth) && !allows_command(selector, row, request) {
        return Err(Denied::Command);
    }
    check_keys(selector, row, request)?;
    let denied = channels(row, request.len())
        .find(|position| !allows_channel(selector, row.has(Flag::ChannelPatterns), &request[*position]));
    denied.map_or(Ok(()), |position| Err(Denied::Channel(position)))
}

/// Which words of a request of this many words are channels, or patterns of them.
fn channels(row: &Row, words: usize) -> Range<usize> {
    if row.has(Flag::FirstChannel) {
        1..words.min(2)
    } else if row.has(Flag::Channels) || row.has(Flag::ChannelPatterns) {
        1..words
    } else {
        0..0
    }
}

fn check_keys(selector: &Selector, row: &Row, request: &[Bytes]) -> Result<(), Denied> {
    if selector.all_keys {
        return Ok(());
    }
    let mut keys = row.keys.of(request).enumerate();
    let denied = keys.find(|(number, position)| !allows_key(selector, row, request, *number, &request[*position]));
    denied.map_or(Ok(()), |(_, position)| Err(Denied::Key(position)))
}

/// Whether a channel may be used, or a pattern: what a pattern finds is not known, so the very same must be allowed.
#[must_use]
pub fn allows_channel(selector: &Selector, is_pattern: bool, name: &[u8]) -> bool {
    let fits = |allowed: &Bytes| if is_pattern { **allowed == *name } else { glob::matches(allowed, name) };
    selector.all_channels || selector.channels.iter().any(fits)
}

fn allows_command(selector: &Selector, row: &'static Row, request: &[Bytes]) -> bool {
    let position = table::index(row);
    let allows_argument = |(command, word): &(usize, Bytes)| {
        *command == position && request.get(1).is_some_and(|argument| argument.eq_ignore_ascii_case(word))
    };
    selector.commands.contains(position) || selector.first_arguments.iter().any(allows_argument)
}

/// `number` counts the keys of the request from 0.
fn allows_key(selector: &Selector, row: &Row, request: &[Bytes], number: usize, key: &[u8]) -> bool {
    let (reads, writes) = (reads_key(row, request, number), row.writes_keys());
    let suffices = |pattern: &&KeyPattern| (pattern.reads || !reads) && (pattern.writes || !writes);
    selector.keys.iter().filter(suffices).any(|pattern| glob::matches(&pattern.pattern, key))
}

fn reads_key(row: &Row, request: &[Bytes], number: usize) -> bool {
    match row.loads {
        Loads::ValuesIf(reads) => reads(request),
        Loads::Never | Loads::Values => row.has(Flag::Access) || (row.has(Flag::AccessFirst) && number == 0),
    }
}

/// The gate: whether a client may run a command, or queue it.
///
/// # Errors
/// Redis's words for what it may not; ACL LOG has it too.
pub fn admit(app: &App, client: &Client, row: &'static Row, request: &Request) -> Result<(), CommandError> {
    let Err(denied) = check(client.login.user(), row, request) else { return Ok(()) };
    let context = if client.transaction.is_some() { Context::Multi } else { Context::TopLevel };
    note(app, client, row, request, denied, context);
    Err(CommandError::other(match denied {
        Denied::Command => {
            format!("NOPERM this user has no permissions to run the '{}' command", table::full_name(row))
        }
        Denied::Key(_) => "NOPERM this user has no permissions to access one of the keys used as arguments".to_owned(),
        Denied::Channel(_) => {
            "NOPERM this user has no permissions to access one of the channels used as arguments".to_owned()
        }
    }))
}

/// Whether the user of a script may run a command that the script calls.
///
/// # Errors
/// Redis's words for what it may not; ACL LOG has it too.
pub fn admit_from_script(app: &App, client: &Client, row: &'static Row, request: &Request) -> Result<(), CommandError> {
    let Err(denied) = check(client.login.user(), row, request) else { return Ok(()) };
    note(app, client, row, request, denied, Context::Script);
    Err(CommandError::other(match denied {
        Denied::Command => "ERR The user executing the script can't run this command or subcommand",
        Denied::Key(_) => {
            "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"
        }
        Denied::Channel(_) => "ERR The user executing the script can't publish to the channel mentioned in the command",
    }))
}

/// What an unknown client is told.
pub const UNKNOWN_CLIENT: &str = "NOAUTH Authentication required.";

/// Whether a client may still run a command that it queued.
///
/// # Errors
/// Redis's words for what it may not any more; ACL LOG has it too.
pub fn readmit(app: &App, client: &Client, row: &'static Row, request: &Request) -> Result<(), CommandError> {
    if !client.authenticated && !row.has(Flag::NoAuth) {
        return Err(CommandError::other(UNKNOWN_CLIENT));
    }
    let Err(denied) = check(client.login.user(), row, request) else { return Ok(()) };
    note(app, client, row, request, denied, Context::Multi);
    let reason = match denied {
        Denied::Command => "no permission to execute the command or subcommand",
        Denied::Key(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    Err(CommandError::other(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no \
         longer allowed for the following reason: {reason}"
    )))
}

fn note(app: &App, client: &Client, row: &'static Row, request: &Request, denied: Denied, context: Context) {
    // CLIENT LIST and the log show it as its last command, as in Redis.
    client.info.note_command(table::index(row), Instant::now());
    let (reason, object) = match denied {
        Denied::Command => (Reason::Command, Bytes::from_static(table::full_name(row).as_bytes())),
        Denied::Key(position) => (Reason::Key, request[position].clone()),
        Denied::Channel(position) => (Reason::Channel, request[position].clone()),
    };
    log::note(app, client, reason, context, object, client.login.user().name.clone());
}
