//! LATENCY: what took long, by event, and how long the calls of each command take. What is measured stands in `telemetry`; this
//! file only shows it.

mod doctor;
mod graph;

use bytes::Bytes;

use super::error::CommandError;
use super::help;
use super::table::{self, CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::{App, Client};
use crate::protocol::{Reply, Request};
use crate::telemetry::latency::Event;

/// LATENCY.
pub const ROWS: &[Row] = &[Row {
    name: "latency",
    syntax: "",
    summary: "A container for latency diagnostics commands",
    since: "2.8.13",
    group: Group::Server,
    arity: -2,
    flags: &[],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::Container(SUBCOMMANDS),
}];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "doctor",
        syntax: "",
        summary: "Return a human readable latency analysis report",
        since: "2.8.13",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(diagnose),
    },
    Row {
        name: "graph",
        syntax: "event",
        summary: "Return a latency graph for the event",
        since: "2.8.13",
        group: Group::Server,
        arity: 3,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(draw),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "2.8.13",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(show_help),
    },
    Row {
        name: "histogram",
        syntax: "[command [command ...]]",
        summary: "Return the cumulative distribution of latencies of a subset of commands or all",
        since: "7.0.0",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(histogram),
    },
    Row {
        name: "history",
        syntax: "event",
        summary: "Return timestamp-latency samples for the event",
        since: "2.8.13",
        group: Group::Server,
        arity: 3,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(history),
    },
    Row {
        name: "latest",
        syntax: "",
        summary: "Return the latest latency samples for all events",
        since: "2.8.13",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(latest),
    },
    Row {
        name: "reset",
        syntax: "[event [event ...]]",
        summary: "Reset latency data for one or more events",
        since: "2.8.13",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(reset),
    },
];

const HELP: &[&str] = &[
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Return an ASCII latency graph for the <event> class.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
    "    If no commands are specified then all histograms are replied.",
];

fn show_help(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(help::reply("LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", HELP))
}

fn diagnose(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    let threshold_ms = app.settings.read().latency_monitor_threshold_ms;
    let histories = Event::ALL.into_iter().filter_map(|event| Some((event, app.metrics.latency.history(event)?)));
    Ok(Reply::Verbatim(doctor::report(threshold_ms, histories, app.clock.now_ms().div_euclid(1000))))
}

fn draw(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let event = Event::named(&request[2]);
    let drawn = event.and_then(|event| {
        let history = app.metrics.latency.history(event)?;
        Some(graph::of(event.name(), &history, app.clock.now_ms().div_euclid(1000)))
    });
    let event = String::from_utf8_lossy(&request[2]);
    let drawn = drawn.ok_or_else(|| CommandError::other(format!("ERR No samples available for event '{event}'")))?;
    Ok(Reply::Verbatim(drawn))
}

fn history(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let history = Event::named(&request[2]).and_then(|event| app.metrics.latency.history(event)).unwrap_or_default();
    let samples = history.samples.into_iter();
    let pairs = samples.map(|sample| Reply::Array(vec![Reply::Integer(sample.at_s), integer(sample.took_ms)]));
    Ok(Reply::Array(pairs.collect()))
}

fn latest(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    let latest = |event: Event| {
        let history = app.metrics.latency.history(event)?;
        let sample = history.samples.back()?;
        let (at_s, took_ms) = (Reply::Integer(sample.at_s), integer(sample.took_ms));
        Some(Reply::Array(vec![Reply::text(event.name()), at_s, took_ms, integer(history.worst_ms)]))
    };
    Ok(Reply::Array(Event::ALL.into_iter().filter_map(latest).collect()))
}

fn reset(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let forget = |event: &Event| app.metrics.latency.forget(*event);
    let forgotten = match &request[2..] {
        [] => Event::ALL.iter().filter(|event| forget(event)).count(),
        names => names.iter().filter_map(|name| Event::named(name)).filter(forget).count(),
    };
    Ok(Reply::count(forgotten))
}

fn histogram(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let rows: Vec<&'static Row> = match &request[2..] {
        [] => table::every_row().collect(),
        names => names.iter().flat_map(with_subcommands).collect(),
    };
    Ok(Reply::Map(rows.into_iter().filter_map(|row| distribution(app, row)).collect()))
}

/// The command of this name, and what it contains.
fn with_subcommands(name: &Bytes) -> impl Iterator<Item = &'static Row> + use<> {
    table::find_full(name).into_iter().flat_map(|row| std::iter::once(row).chain(row.subcommands()))
}

/// How many calls of a command took at most how long; `None` without calls.
fn distribution(app: &App, row: &'static Row) -> Option<(Reply, Reply)> {
    let durations = &app.metrics.commands.get(table::index(row))?.durations;
    let lines = durations.doublings();
    let (_, calls) = lines.last().copied()?;
    let lines = lines.into_iter().map(|(us, calls)| (integer(us), integer(calls)));
    let parts =
        vec![(Reply::text("calls"), integer(calls)), (Reply::text("histogram_usec"), Reply::Map(lines.collect()))];
    Some((Reply::text(table::full_name(row)), Reply::Map(parts)))
}

fn integer(number: u64) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
