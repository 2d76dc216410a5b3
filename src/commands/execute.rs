//! The gates that every command passes, in Redis's order, and the call of its handler: exists, arity, authenticated,
//! key length, permitted, loading, MULTI's queue, unknown keys, cold values, call. It never waits: what must be waited for is said to the caller.

mod ask;
mod call;
mod exec;
mod room;
mod script;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use smallvec::SmallVec;

use self::exec::exec;
pub use self::script::Place;
pub(super) use self::script::compile;
use super::acl::permission;
use super::error::CommandError;
use super::monitor::Caller;
use super::table::{self, CommandResult, Flag, Handler, KeyPositions, Loads, Row};
use super::{monitor, pubsub, transaction};
use crate::app::monitors::Untold;
use crate::app::{App, Client, Transaction};
use crate::database::write_through::Status;
use crate::keyspace::hot::Access;
use crate::keyspace::watch::WATCHED_MAX;
use crate::keyspace::{Keys, KeysError, Lock, Tickets};
use crate::protocol::{Protocol, Reply, Request};

/// The most commands of one MULTI: as many as one command may have arguments, and far above what any client sends.
const QUEUED_MAX: usize = 1024 * 1024;

/// How many keys a command visits on its connection's thread: some half a millisecond's. A walk over more begins anew apart.
const VISITS_AT_ONCE_MAX: usize = 4_096;

/// How many keys WATCH locks at a time: it may name thousands, and whoever needs their shards waits for all of them.
const WATCHED_TOGETHER: usize = 64;

/// What a process answers that was stopped so long that another one may own the database by now.
const UNSURE: &str =
    "MISCONF this server has not heard from its database for so long that another one may own it by now";

/// A key and its Redis database.
pub type KeyOf<'a> = (u8, &'a [u8]);
type KeysOf<'a> = SmallVec<[KeyOf<'a>; 2]>;

/// What came of a request.
#[derive(Debug)]
pub enum Step {
    /// A reply, and the tickets that it waits for.
    Done(Reply, Tickets),
    /// These keys are unknown or their values cold: they must be loaded first; then the request is executed again.
    Load(Vec<(u8, Vec<u8>)>),
    /// All keys must be known first; then the request is executed again.
    AwaitKeys,
    /// The handler waits: the caller runs it with [`serve`].
    Wait(&'static Row),
    /// It takes long: the caller runs it with [`apart`] on a thread that nobody else needs. Nothing has been done of it.
    Apart(Long),
}

/// Why a request takes long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Long {
    /// It runs a script.
    Script,
    /// It visits many keys.
    Walk,
}

/// Executes one request.
pub fn execute(app: &App, client: &mut Client, request: &Request) -> Step {
    execute_in(app, client, request, &Place::AtOnce)
}

/// Executes one request that takes long, until it is told to stop.
pub fn apart(app: &App, client: &mut Client, request: &Request, stop: &Arc<AtomicBool>) -> Step {
    execute_in(app, client, request, &Place::Apart(Arc::clone(stop)))
}

fn execute_in(app: &App, client: &mut Client, request: &Request, place: &Place) -> Step {
    let begun = Instant::now();
    let found = table::resolve(request);
    let row = match found.and_then(|row| gates(app, client, row, request, begun).map(|()| row)) {
        Ok(row) => row,
        Err(error) => return rejected(app, client, request, error),
    };
    client.info.note_command(table::index(row), begun);
    if let Some(transaction) = &mut client.transaction
        && !row.has(Flag::Unqueued)
    {
        transaction.push(request);
        client.info.note_queued(Some(transaction.queue.len()));
        return Step::Done(Reply::Simple("QUEUED"), Tickets::new());
    }
    if let Some(step) = ask::first(app, client, row, request) {
        return step;
    }
    let now_ms = app.clock.now_ms();
    let step = match row.handler {
        Handler::Keys(handler) => over_keys(app, client, row, handler, request, (now_ms, place)),
        Handler::Client(handler) | Handler::ContainerOrAlone(_, handler) => match handler(app, client, request) {
            Ok(reply) => Step::Done(reply, Tickets::new()),
            Err(error) => refused(app, &error),
        },
        Handler::Exec => exec(app, client, now_ms, place),
        Handler::Script(find) => script::eval(app, client, row, find, request, place),
        Handler::Server(_) | Handler::Waiting(..) => Step::Wait(row),
        Handler::Container(_) => refused(app, &CommandError::Syntax),
    };
    if let Step::Done(reply, _) = &step {
        call::note(app, client, row, request, Caller::Client, begun, matches!(reply, Reply::Error(_)));
        monitor::tell(app, client);
    } else {
        // It will be executed once more.
        client.untold = Untold::default();
    }
    step
}

/// Runs a handler that waits.
pub async fn serve(app: &App, client: &mut Client, row: &'static Row, request: &Request) -> Reply {
    let begun = Instant::now();
    let result = match row.handler {
        Handler::Server(handler) | Handler::Waiting(handler, _) => handler(app, client, request).await,
        Handler::Keys(_)
        | Handler::Client(_)
        | Handler::Exec
        | Handler::Script(_)
        | Handler::Container(_)
        | Handler::ContainerOrAlone(..) => Ok(Reply::OK),
    };
    call::note(app, client, row, request, Caller::Client, begun, result.is_err());
    monitor::tell(app, client);
    result.unwrap_or_else(|error| error_reply(app, &error))
}

/// The unknown keys and cold values that a request would wait for; a guess made without a lock, to load those of many requests
/// at once.
#[must_use]
pub fn keys_to_load(app: &App, client: &Client, request: &Request) -> Vec<(u8, Vec<u8>)> {
    let Ok(row) = table::resolve(request) else { return Vec::new() };
    let keys = keys_of(row, request, client.database);
    let unknown = app.keyspace.unknown(&keys);
    if !unknown.is_empty() || !reads_values(row, request) {
        return unknown;
    }
    let locked = app.keyspace.lock(&Lock::Keys(&keys, Access::Read), client.database, app.clock.now_ms());
    cold(&locked, &keys)
}

/// Whether a request may add to what waits for the database.
#[must_use]
pub fn may_write(request: &Request) -> bool {
    table::resolve(request).is_ok_and(|row| row.writes_keys() || matches!(row.handler, Handler::Exec))
}

/// Fetches what these requests will look up from memory into the processor's cache, at most so many keys.
pub fn prefetch<'a>(app: &App, client: &Client, requests: impl IntoIterator<Item = &'a Request>, keys_max: usize) {
    let resolved = requests.into_iter().filter_map(|request| Some((table::resolve(request).ok()?, request)));
    let keys = resolved.flat_map(|(row, request)| keys_in(row, request, client.database));
    app.keyspace.prefetch(&keys.take(keys_max).collect::<SmallVec<[KeyOf<'_>; 32]>>());
}

/// What a request answers whose cold values could not be loaded; an EXEC is over then.
pub fn not_loaded(app: &App, client: &mut Client, line: String) -> Reply {
    transaction::abandon(client);
    error_reply(app, &CommandError::other(line))
}

/// What a script answers for which no thread is left; an EXEC is over then.
pub fn busy(app: &App, client: &mut Client) -> Reply {
    let line = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    not_loaded(app, client, line.to_owned())
}

/// A request that no handler sees: it spoils the transaction under way, and an EXEC ends it (server.c, `rejectCommand`).
fn rejected(app: &App, client: &mut Client, request: &Request, error: CommandError) -> Step {
    let row = table::find(&request[0]);
    if let Some(stats) = row.and_then(|row| app.metrics.commands.get(table::index(row))) {
        stats.rejected.increment();
    }
    if row.is_some_and(|row| matches!(row.handler, Handler::Exec)) {
        transaction::abandon(client);
        let line = error.to_string();
        let reason = line.strip_prefix("ERR ").unwrap_or(&line);
        return refused(app, &CommandError::other(format!("EXECABORT Transaction discarded because of: {reason}")));
    }
    if let Some(transaction) = &mut client.transaction {
        transaction.abort();
    }
    refused(app, &error)
}

/// Everything that can refuse a request before it is queued or called.
fn gates(
    app: &App,
    client: &mut Client,
    row: &'static Row,
    request: &Request,
    now: Instant,
) -> Result<(), CommandError> {
    let has = |flag| row.has(flag);
    let is_restricted = !client.may_do_everything(&app.users);
    if is_restricted {
        client.follow(&app.users);
        if !client.authenticated && !has(Flag::NoAuth) {
            return Err(CommandError::other(permission::UNKNOWN_CLIENT));
        }
    }
    if client.transaction.is_some() && has(Flag::NoMulti) {
        return Err(CommandError::other("ERR Command not allowed inside a transaction"));
    }
    // Before the patterns of a user are tried on them.
    key_lengths_fit(app, row, request)?;
    if is_restricted {
        permission::admit(app, client, row, request)?;
    }
    room::admit(app, client, row, request)?;
    if client.listens() && client.protocol == Protocol::Resp2 && !has(Flag::WhileListening) {
        return Err(pubsub::only_listens(row));
    }
    match app.write_through.status() {
        // In an outage hot reads go on: whoever is cut off from the database alone may answer what another server has changed.
        Status::Down => {}
        Status::Up if has(Flag::Loading) || app.write_through.surely_owns(now) => {}
        Status::Up => return Err(CommandError::other(UNSURE)),
        Status::Loading if has(Flag::Loading) => {}
        Status::Loading => return Err(CommandError::other("LOADING Redis is loading the dataset in memory")),
        Status::Lost => return Err(CommandError::other("MISCONF another server owns the database now")),
    }
    if client.is_monitor() && monitor::may_not_call(row) {
        return Err(CommandError::other(monitor::NO_KEYS));
    }
    if client.transaction.is_some() && has(Flag::Write) && app.write_through.refuses_writes() {
        return Err(KeysError::DatabaseDown.into());
    }
    if let Some(transaction) = client.transaction.as_ref().filter(|_| !has(Flag::Unqueued)) {
        queue_takes(app, transaction, request)?;
    }
    Ok(())
}

/// What a MULTI keeps is bounded in commands and in bytes, like an unfinished request.
fn queue_takes(app: &App, transaction: &Transaction, request: &Request) -> Result<(), CommandError> {
    let bytes_max = app.limits.query_bytes_max();
    if transaction.queue.len() >= QUEUED_MAX {
        return Err(CommandError::other(format!("ERR a transaction holds at most {QUEUED_MAX} commands")));
    }
    if transaction.bytes_with(request) > bytes_max {
        let limit = format!("client-query-buffer-limit ({bytes_max} bytes)");
        return Err(CommandError::other(format!("ERR the commands of a transaction are larger than {limit}")));
    }
    Ok(())
}

/// A key that an index of the database could not hold is refused before anything is queued.
fn key_lengths_fit(app: &App, row: &Row, request: &Request) -> Result<(), CommandError> {
    let longest = row.keys.of(request).map(|position| request[position].len()).max();
    let limit = app.limits.key_bytes_max();
    if longest.is_some_and(|longest| longest > limit) {
        return Err(CommandError::other(format!("ERR key is longer than key-bytes-max ({limit} bytes)")));
    }
    Ok(())
}

fn keys_of<'a>(row: &Row, request: &'a Request, database: u8) -> KeysOf<'a> {
    keys_in(row, request, database).collect()
}

fn keys_in<'a>(row: &Row, request: &'a Request, database: u8) -> impl Iterator<Item = KeyOf<'a>> + use<'a> {
    row.keys.of(request).map(move |position| (database, &*request[position]))
}

fn reads_values(row: &Row, request: &Request) -> bool {
    match row.loads {
        Loads::Never => false,
        Loads::Values => true,
        Loads::ValuesIf(reads) => reads(request),
    }
}

fn cold(locked: &Keys<'_>, keys: &[KeyOf<'_>]) -> Vec<(u8, Vec<u8>)> {
    let is_cold = |(database, key): &&KeyOf<'_>| locked.is_cold(*database, key);
    keys.iter().filter(is_cold).map(|(database, key)| (*database, key.to_vec())).collect()
}

/// One command over its keys, as one unit.
fn over_keys(
    app: &App,
    client: &Client,
    row: &Row,
    handler: fn(&mut Keys<'_>, &Request) -> CommandResult,
    request: &Request,
    (now_ms, place): (i64, &Place),
) -> Step {
    let keys = keys_of(row, request, client.database);
    let lock = match row.keys {
        KeyPositions::Range { .. } | KeyPositions::Counted { .. } | KeyPositions::None => {
            Lock::Keys(&keys, access(row))
        }
        KeyPositions::Shards => Lock::Shards,
        KeyPositions::All => {
            // What has ended goes shard by shard, so that nobody waits for that while all is locked.
            app.keyspace.expire();
            Lock::All
        }
    };
    let mut locked = app.keyspace.lock(&lock, client.database, now_ms);
    if matches!((place, lock), (Place::AtOnce, Lock::Shards)) {
        locked.limit_visits(VISITS_AT_ONCE_MAX);
    }
    if reads_values(row, request) {
        let cold = cold(&locked, &keys);
        if !cold.is_empty() {
            return Step::Load(cold);
        }
    }
    let result = handler(&mut locked, request);
    if matches!(result, Err(CommandError::Keys(KeysError::TakesLong))) {
        return Step::Apart(Long::Walk);
    }
    let tickets = locked.finish();
    Step::Done(result.unwrap_or_else(|error| error_reply(app, &error)), tickets)
}

fn access(row: &Row) -> Access {
    if row.has(Flag::Write) { Access::Write } else { Access::Read }
}

/// WATCH: notes the keys, and whether they exist now.
///
/// # Errors
/// Inside MULTI, or for too many keys.
pub fn watch(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    if client.transaction.is_some() {
        return Err(CommandError::other("ERR WATCH inside MULTI is not allowed"));
    }
    if client.watch.count() + request.len() > WATCHED_MAX {
        return Err(CommandError::other(format!("ERR a client watches fewer than {WATCHED_MAX} keys")));
    }
    let now_ms = app.clock.now_ms();
    // Each key is watched from when it was looked at: they need not be locked together.
    for some in request[1..].chunks(WATCHED_TOGETHER) {
        let keys: KeysOf<'_> = some.iter().map(|key| (client.database, &**key)).collect();
        let mut locked = app.keyspace.lock(&Lock::Keys(&keys, Access::Read), client.database, now_ms);
        for (database, key) in keys {
            let was_live = locked.expiry(key).is_some();
            app.keyspace.watches.add(&mut client.watch, database, key, was_live);
        }
    }
    Ok(Reply::OK)
}

fn refused(app: &App, error: &CommandError) -> Step {
    Step::Done(error_reply(app, error), Tickets::new())
}

fn error_reply(app: &App, error: &CommandError) -> Reply {
    let line = error.to_string();
    app.metrics.count_error(&line);
    Reply::Error(line)
}
