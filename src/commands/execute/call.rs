//! What is noted of each call when it has ended: counts, durations, SLOWLOG, LATENCY and MONITOR. All of it hangs on one look at
//! the clock, which `begun` and the end of the call take anyway.

use std::time::{Duration, Instant};

use crate::app::{App, Client};
use crate::commands::monitor::{self, Caller};
use crate::commands::slow_log;
use crate::commands::table::{self, Flag, Handler, Row};
use crate::protocol::Request;
use crate::telemetry::latency::Event;

/// Notes a call. It took as long as its handler: what a reply then waits for, the commit above all, is counted elsewhere
/// (`sojourn_commit_duration_seconds`, the event `commit`), and would hide here which commands are slow by themselves.
pub(super) fn note(
    app: &App,
    client: &mut Client,
    row: &'static Row,
    request: &Request,
    caller: Caller,
    begun: Instant,
    failed: bool,
) {
    let took = begun.elapsed();
    app.metrics.count_call(table::index(row), took, failed);
    let worked = match row.handler {
        // It did next to nothing but wait: for commits (WAIT), or because of wrong passwords (AUTH).
        Handler::Waiting(..) => Duration::ZERO,
        Handler::Keys(_)
        | Handler::Client(_)
        | Handler::Server(_)
        | Handler::Exec
        | Handler::Script(_)
        | Handler::Container(_)
        | Handler::ContainerOrAlone(..) => took,
    };
    if app.metrics.latency.wants(worked) {
        let event = if row.has(Flag::Fast) { Event::FastCommand } else { Event::Command };
        app.metrics.latency.note(event, worked, &app.clock);
    }
    if app.slow_log.wants(worked) {
        slow_log::note(app, client, row, request, caller, worked);
    }
    // A script is shown before what it calls.
    if !matches!(row.handler, Handler::Script(_)) {
        monitor::note(app, client, row, request, caller);
    }
}
