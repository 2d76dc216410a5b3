//! MONITOR, and the lines that monitors see. A line has Redis's exact form, and never a word that is secret.

use std::fmt::Write as _;

use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{client, secret};
use crate::app::{App, Client};
use crate::protocol::{Reply, Request};

/// MONITOR.
pub const ROWS: &[Row] = &[Row {
    name: "monitor",
    syntax: "",
    summary: "Listen for all requests received by the server in real time",
    since: "1.0.0",
    group: Group::Server,
    arity: 1,
    flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::Client(monitor),
}];

/// What a monitor is told that asks for keys. For Redis it is a replica that does not replicate.
pub(super) const NO_KEYS: &str = "ERR Replica can't interact with the keyspace";

fn monitor(app: &App, client: &mut Client, _: &Request) -> CommandResult {
    if client.unpublished.is_some() {
        return Err(CommandError::other("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if client.is_monitor() {
        // As in Redis, which says nothing at all the second time.
        return Ok(Reply::Frames(Vec::new()));
    }
    client.monitor(&app.monitors);
    Ok(Reply::OK)
}

/// Whether a monitor may not call this: it concerns keys, or what a replica would have to be told.
pub(super) fn may_not_call(row: &Row) -> bool {
    row.has(Flag::Write)
        || row.has(Flag::Readonly)
        || row.has(Flag::FirstChannel)
        || matches!(row.handler, Handler::Script(_))
}

/// Who called a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A client, by itself or in an EXEC.
    Client,
    /// A script of its.
    Script,
}

/// Notes for the monitors that a client called a command, if there are any and they may know.
pub(super) fn note(app: &App, client: &mut Client, row: &'static Row, request: &Request, caller: Caller) {
    // As in Redis, what operators do is shown to nobody.
    if app.monitors.is_idle() || row.has(Flag::Admin) {
        return;
    }
    let bytes_max = app.limits.mailbox_bytes_max();
    let line = line(app, client, secret::shown(row, request), caller, bytes_max);
    client.untold.push(line, bytes_max);
}

/// Tells the monitors of the command that has ended, and of those inside it.
pub(super) fn tell(app: &App, client: &mut Client) {
    if !client.untold.is_empty() {
        app.monitors.tell(std::mem::take(&mut client.untold), app.limits.mailbox_bytes_max());
    }
}

/// One line: `1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`. It ends where it is too long for every monitor, which are closed for it.
fn line<'a>(
    app: &App,
    client: &Client,
    words: impl Iterator<Item = &'a [u8]>,
    caller: Caller,
    bytes_max: usize,
) -> String {
    const MICROSECONDS: i64 = 1_000_000;
    let (now_us, database) = (app.clock.now_us(), client.database);
    let (seconds, microseconds) = (now_us.div_euclid(MICROSECONDS), now_us.rem_euclid(MICROSECONDS));
    let mut line = match caller {
        Caller::Client => {
            format!("{seconds}.{microseconds:06} [{database} {}]", client::address(client.info.address))
        }
        Caller::Script => format!("{seconds}.{microseconds:06} [{database} lua]"),
    };
    for word in words {
        line.push(' ');
        quote(word, &mut line, bytes_max);
    }
    line
}

/// Adds a word in quotes, as Redis writes any bytes.
fn quote(word: &[u8], line: &mut String, bytes_max: usize) {
    line.push('"');
    for byte in word {
        match byte {
            b'\\' | b'"' => line.extend(['\\', char::from(*byte)]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => {
                let written = write!(line, "\\x{byte:02x}");
                debug_assert!(written.is_ok(), "a string takes all that is written");
            }
        }
        if line.len() >= bytes_max {
            return;
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(word: &[u8], bytes_max: usize) -> String {
        let mut line = String::new();
        quote(word, &mut line, bytes_max);
        line
    }

    /// The same bytes as redis-server 7.0.15 shows them.
    #[test]
    fn any_bytes_are_quoted_as_redis_quotes_them() {
        let bytes = b"\x00\xff\"\\\n\r\t\x07\x08 x~\x7f";
        assert_eq!(quoted(bytes, usize::MAX), r#""\x00\xff\"\\\n\r\t\a\b x~\x7f""#);
        assert_eq!(quoted(b"", usize::MAX), "\"\"");
    }

    #[test]
    fn a_word_that_no_monitor_could_take_is_not_written_out() {
        assert!((100..110).contains(&quoted(&[0; 1_000_000], 100).len()));
    }
}
