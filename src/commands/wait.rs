//! WAIT and WAITAOF: they answer once the earlier writes of their connection are committed, all but a lengthened life, which
//! may lag as it always may. Where one of them was not committed, they say so once. The database replicates, Sojourn does not,
//! so the number of replicas is always 0 and nobody waits for one. Never holds up another connection.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::args;
use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::{App, Client};
use crate::database::unit::Outcome;
use crate::database::write_through::Status;
use crate::protocol::{Reply, Request};

/// WAIT and WAITAOF.
pub const ROWS: &[Row] = &[
    Row {
        name: "wait",
        syntax: "numreplicas timeout",
        summary: "Wait for the synchronous replication of all the write commands sent in the context of the current connection",
        since: "3.0.0",
        group: Group::Generic,
        arity: 3,
        flags: &[Flag::NoScript, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Waiting(wait, wait_in_exec),
    },
    Row {
        name: "waitaof",
        syntax: "numlocal numreplicas timeout",
        summary: "Wait for all write commands sent in the context of the current connection to be synced to AOF of local host and/or replicas",
        since: "7.2.0",
        group: Group::Generic,
        arity: 4,
        flags: &[Flag::NoScript, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Waiting(waitaof, waitaof_in_exec),
    },
];

/// The replicas that have a write: there are none.
const REPLICAS: Reply = Reply::Integer(0);

fn wait<'a>(app: &'a App, client: &'a mut Client, request: &'a Request) -> BoxFuture<'a, CommandResult> {
    async move {
        args::integer(&request[1])?;
        let limit = timeout(&request[2])?;
        committed_within(app, client, limit).await?;
        Ok(REPLICAS)
    }
    .boxed()
}

fn wait_in_exec(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    args::integer(&request[1])?;
    timeout(&request[2])?;
    Ok(REPLICAS)
}

fn waitaof<'a>(app: &'a App, client: &'a mut Client, request: &'a Request) -> BoxFuture<'a, CommandResult> {
    async move {
        let (wants_commit, limit) = waitaof_arguments(app, request)?;
        let limit = if wants_commit { limit } else { Some(Duration::ZERO) };
        let committed = committed_within(app, client, limit).await?;
        Ok(Reply::Array(vec![Reply::Integer(i64::from(committed)), REPLICAS]))
    }
    .boxed()
}

fn waitaof_in_exec(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    waitaof_arguments(app, request)?;
    let outcome = client.unsaved.take_outcome();
    if let Some(error) = CommandError::of_outcome(outcome) {
        return Err(error);
    }
    let committed = outcome == Outcome::Committed;
    Ok(Reply::Array(vec![Reply::Integer(i64::from(committed)), REPLICAS]))
}

/// Whether the commit is waited for, and for how long.
fn waitaof_arguments(app: &App, request: &Request) -> Result<(bool, Option<Duration>), CommandError> {
    let local = args::integer(&request[1])?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::other("ERR value is out of range, must be between 0 and 1"));
    }
    let replicas = args::canonical_integer(&request[2]);
    if replicas.is_none_or(|replicas| replicas < 0) {
        let line = replicas
            .map_or("ERR value is not an integer or out of range", |_| "ERR value is out of range, must be positive");
        return Err(CommandError::other(line));
    }
    let limit = timeout(&request[3])?;
    if local == 1 && app.settings.read().is_memory_only() {
        return Err(CommandError::other("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."));
    }
    Ok((local == 1, limit))
}

/// A timeout in milliseconds; `None` for 0, which is without end.
fn timeout(word: &[u8]) -> Result<Option<Duration>, CommandError> {
    let timeout_ms = args::canonical_integer(word)
        .ok_or_else(|| CommandError::other("ERR timeout is not an integer or out of range"))?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| CommandError::other("ERR timeout is negative"))?;
    Ok(Some(Duration::from_millis(timeout_ms)).filter(|limit| !limit.is_zero()))
}

/// Waits until the writes that this connection was told of are committed; `false` when the time is over first. Where replies
/// are held for their commits, the replies before this one have been sent already.
async fn committed_within(app: &App, client: &mut Client, limit: Option<Duration>) -> Result<bool, CommandError> {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let mut settlements = app.write_through.settlements();
    loop {
        match client.unsaved.take_outcome() {
            Outcome::Committed => return Ok(true),
            Outcome::Failed => return Err(CommandError::NotApplied),
            Outcome::Unknown => return Err(CommandError::Uncertain),
            Outcome::Pending if app.write_through.status() == Status::Lost => {
                return Err(CommandError::other("MISCONF another server owns the database now"));
            }
            Outcome::Pending => {}
        }
        let changed = settlements.changed();
        let is_over = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, changed).await.is_err(),
            None => changed.await.is_err(),
        };
        if is_over {
            return Ok(false);
        }
    }
}
