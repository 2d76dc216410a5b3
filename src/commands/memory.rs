//! MEMORY: what a key takes, and what all of them do. It tells what is so here: a value that is not in memory takes none.

use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{args, help};
use crate::app::{App, Client};
use crate::keyspace::Keys;
use crate::keyspace::account::EMPTY_BYTES;
use crate::protocol::{Reply, Request};
use crate::telemetry::heap::Heap;

/// MEMORY and its subcommands.
pub const ROWS: &[Row] = &[Row {
    name: "memory",
    syntax: "",
    summary: "A container for memory diagnostics commands",
    since: "4.0.0",
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
        summary: "Outputs memory problems report",
        since: "4.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(doctor),
    },
    Row {
        name: "malloc-stats",
        syntax: "",
        summary: "Show allocator internal stats",
        since: "4.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(|_, _, _| Ok(Reply::Verbatim(NO_STATISTICS.to_owned()))),
    },
    Row {
        name: "purge",
        syntax: "",
        summary: "Ask the allocator to release memory",
        since: "4.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        // As Redis with this allocator: it gives back by itself what it can.
        handler: Handler::Client(|_, _, _| Ok(Reply::OK)),
    },
    Row {
        name: "stats",
        syntax: "",
        summary: "Show memory usage details",
        since: "4.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(statistics),
    },
    Row {
        name: "usage",
        syntax: "key [SAMPLES count]",
        summary: "Estimate the memory usage of a key",
        since: "4.0.0",
        group: Group::Server,
        arity: -3,
        flags: &[Flag::Readonly],
        keys: KeyPositions::Range { first: 2, last: 2, step: 1 },
        loads: Loads::Never,
        handler: Handler::Keys(usage),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "4.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Keys(|_keys, _request| Ok(help::reply(HEADING, HELP))),
    },
];

const HEADING: &str = "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
const HELP: &[&str] = &[
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Attempt to purge dirty pages for reclamation by the allocator.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value. Nested values are",
    "    sampled up to <count> times (default: 5, 0 means sample all).",
];

fn usage(keys: &mut Keys<'_>, request: &Request) -> CommandResult {
    for option in request[3..].chunks(2) {
        // Nothing is sampled here: the size of all is known.
        match option {
            [name, count] if name.eq_ignore_ascii_case(b"samples") && args::integer(count)? >= 0 => {}
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(keys.bytes_of(&request[2]).map_or(Reply::Null, Reply::count))
}

/// Redis's words where its allocator prints none; ours does to a function of C only, and the sums are in INFO.
const NO_STATISTICS: &str = "Stats not supported for the current allocator";

/// Below this Redis's doctor looks no further.
const LITTLE_BYTES: u64 = 5 * 1024 * 1024;

const LITTLE: &str = "Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used in these \
                      conditions. Please, leave for your mission on Earth and fill it with some data. The new Sam and I will \
                      be back to our programming as soon as I finished rebooting.\n";
const HEALTHY: &str =
    "Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n";
const FULL: &str = "Sam, what cannot leave memory is larger than maxmemory: writes that need memory are refused. Raise maxmemory; \
                    under noeviction and the volatile policies another maxmemory-policy may help as well.\n";

fn doctor(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    let words = if app.keyspace.is_full() {
        FULL
    } else if (app.keyspace.memory_used() as u64) < LITTLE_BYTES {
        LITTLE
    } else {
        HEALTHY
    };
    Ok(Reply::Verbatim(words.to_owned()))
}

/// The fields that redis-cli and the exporters read, in Redis's order.
fn statistics(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    app.refresh_metrics();
    let taken = app.keyspace.memory_use();
    let (used, dataset) = (taken.used(), taken.keys + taken.values);
    let (peak, keys) = (app.metrics.memory_used_peak_bytes.get(), app.keyspace.counts.all_keys());
    let (resident, heap) = (app.metrics.memory_bytes.get(), Heap::now());
    let (started, used_by_keys) = (EMPTY_BYTES, used - EMPTY_BYTES);
    let count = |number: usize| Reply::count(number);
    let bytes = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let percent = |part: usize, whole: u64| Reply::Double(part as f64 / whole.max(1) as f64 * 100.0);
    let fields = [
        ("peak.allocated", bytes(peak)),
        ("total.allocated", count(used)),
        ("startup.allocated", count(started)),
        ("replication.backlog", Reply::Integer(0)),
        ("clients.slaves", Reply::Integer(0)),
        ("clients.normal", Reply::Integer(0)),
        ("cluster.links", Reply::Integer(0)),
        ("aof.buffer", count(taken.pending)),
        ("lua.caches", count(app.scripts.count_and_bytes().1)),
        ("functions.caches", Reply::Integer(0)),
        ("overhead.total", count(used - dataset)),
        ("keys.count", count(keys)),
        ("keys.bytes-per-key", count(used_by_keys / keys.max(1))),
        ("dataset.bytes", count(dataset)),
        ("dataset.percentage", percent(dataset, used_by_keys as u64)),
        ("peak.percentage", percent(used, peak)),
        ("allocator.allocated", count(heap.allocated)),
        ("allocator.active", count(heap.active)),
        ("allocator.resident", count(heap.resident)),
        ("fragmentation", Reply::Double(resident as f64 / used as f64)),
        ("fragmentation.bytes", Reply::Integer(resident.cast_signed() - used.cast_signed() as i64)),
    ];
    Ok(Reply::Map(fields.into_iter().map(|(name, value)| (Reply::text(name), value)).collect()))
}
