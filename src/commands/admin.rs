//! SAVE, BGSAVE, LASTSAVE and TIME. Sojourn has no dump to write: to save means that everything that was acknowledged
//! or gathered so far, touches included, is committed. SAVE must never answer OK before that is so.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::args;
use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::{App, Client};
use crate::database::write_through::WriteThrough;
use crate::protocol::{Reply, Request};

/// SAVE, BGSAVE, LASTSAVE and TIME.
pub const ROWS: &[Row] = &[
    Row {
        name: "save",
        syntax: "",
        summary: "Synchronously save the dataset to disk",
        since: "1.0.0",
        group: Group::Server,
        arity: 1,
        flags: &[Flag::Admin, Flag::NoScript, Flag::NoMulti],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Server(save),
    },
    Row {
        name: "bgsave",
        syntax: "[SCHEDULE]",
        summary: "Asynchronously save the dataset to disk",
        since: "1.0.0",
        group: Group::Server,
        arity: -1,
        flags: &[Flag::Admin, Flag::NoScript],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(bgsave),
    },
    Row {
        name: "lastsave",
        syntax: "",
        summary: "Get the UNIX time stamp of the last successful save to disk",
        since: "1.0.0",
        group: Group::Server,
        arity: 1,
        flags: &[Flag::Admin, Flag::Loading, Flag::Fast],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(lastsave),
    },
    Row {
        name: "time",
        syntax: "",
        summary: "Return the current server time",
        since: "2.6.0",
        group: Group::Server,
        arity: 1,
        flags: &[Flag::Loading, Flag::Fast],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(time),
    },
];

fn save<'a>(app: &'a App, _: &'a mut Client, _: &'a Request) -> BoxFuture<'a, CommandResult> {
    async move {
        match app.write_through.barrier().await {
            Ok(()) => Ok(Reply::OK),
            Err(_) => Err(CommandError::other("ERR not everything could be committed: the database is not available")),
        }
    }
    .boxed()
}

/// Two at a time do no harm, so a second one is not refused.
fn bgsave(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    match request.as_slice() {
        [_] => {}
        [_, schedule] if args::is(schedule, "SCHEDULE") => {}
        [..] => return Err(CommandError::Syntax),
    }
    tokio::spawn(save_in_background(Arc::clone(&app.write_through)));
    Ok(Reply::Simple("Background saving started"))
}

async fn save_in_background(write_through: Arc<WriteThrough>) {
    if let Err(outcome) = write_through.barrier().await {
        tracing::warn!(?outcome, "a background save did not commit everything");
    }
}

fn lastsave(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::Integer(app.write_through.last_save_s()))
}

fn time(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    const MICROSECONDS: i64 = 1_000_000;
    let now_us = app.clock.now_us();
    let parts = [now_us.div_euclid(MICROSECONDS), now_us.rem_euclid(MICROSECONDS)];
    Ok(Reply::Array(parts.map(|part| Reply::text(part.to_string())).into()))
}
