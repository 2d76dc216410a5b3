//! EXEC: what its commands need is locked and loaded first, then they run at one moment, as one unit. It never runs half of
//! them: what must be loaded puts the transaction back.

use std::time::Instant;

use smallvec::SmallVec;

use super::script::{self, Draft, Place, Stop};
use super::{KeysOf, Long, Step, ask, call, cold, error_reply, keys_of, reads_values, refused};
use crate::app::monitors::Untold;
use crate::app::{App, Client, Transaction};
use crate::commands::acl::permission;
use crate::commands::connection;
use crate::commands::error::CommandError;
use crate::commands::monitor::{self, Caller};
use crate::commands::table::{self, Flag, Handler, KeyPositions, Row};
use crate::keyspace::events::Messages;
use crate::keyspace::hot::Access;
use crate::keyspace::watch::Watch;
use crate::keyspace::{Keys, KeysError, Lock, Tickets};
use crate::protocol::{Reply, Request};

/// The most bytes that one EXEC may answer if `client-output-buffer-limit` has none: its replies stand in memory together,
/// and a MULTI of a few bytes can ask for as many as it has commands. As much as a client may send at once.
const EXEC_REPLY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// EXEC: all queued commands at one moment, as one unit.
pub(super) fn exec(app: &App, client: &mut Client, now_ms: i64, place: &Place) -> Step {
    let Some(transaction) = client.transaction.take() else {
        return refused(app, &CommandError::other("ERR EXEC without MULTI"));
    };
    let watch = std::mem::take(&mut client.watch);
    client.info.note_queued(None);
    if transaction.aborted {
        return refused(app, &CommandError::other("EXECABORT Transaction discarded because of previous errors."));
    }
    let plan = Plan::of(app, &transaction, &watch, client.database);
    if let Some(step) = ask::of_keys(app, plan.whole, &plan.locks) {
        drop(plan);
        put_back(client, transaction, watch);
        return step;
    }
    if plan.scripts {
        let step = exec_draft(app, client, now_ms, place, &transaction, &watch, &plan);
        if matches!(step, Step::Load(_) | Step::Apart(_)) {
            drop(plan);
            put_back(client, transaction, watch);
        }
        return step;
    }
    let lock = if plan.whole { Lock::All } else { Lock::Keys(&plan.locks, Access::Write) };
    let mut locked = app.keyspace.lock(&lock, client.database, now_ms);
    if watch_failed(&mut locked, &watch, client.database) {
        return Step::Done(Reply::NullArray, locked.finish());
    }
    if plan.writes && locked.refuses_writes() {
        return refused(app, &CommandError::other(database_down()));
    }
    let cold = cold(&locked, &plan.values);
    if !cold.is_empty() {
        drop((locked, plan));
        put_back(client, transaction, watch);
        return Step::Load(cold);
    }
    locked.begin_exec();
    let ground = &mut Ground::Keys(&mut locked);
    let (ran, published) = gathering(client, |client| run_all(app, client, ground, &transaction));
    locked.publish_all(published);
    // Nothing stops what is no script.
    Step::Done(ran.unwrap_or_else(|_stop| killed(app)), locked.finish())
}

/// Runs something whose messages wait for its commit, and gathers them.
pub(super) fn gathering<T>(client: &mut Client, run: impl FnOnce(&mut Client) -> T) -> (T, Messages) {
    client.unpublished = Some(Messages::new());
    // Whatever an attempt before this one said is not so.
    client.untold = Untold::default();
    let ran = run(client);
    (ran, client.unpublished.take().unwrap_or_default())
}

fn database_down() -> String {
    format!("EXECABORT Transaction discarded because of: {}", KeysError::DatabaseDown)
}

/// What must be done before the transaction can run is said to the caller, who then executes it again.
fn put_back(client: &mut Client, transaction: Transaction, watch: Watch) {
    client.info.note_queued(Some(transaction.queue.len()));
    client.transaction = Some(transaction);
    client.watch = watch;
}

/// An EXEC that has a script: all of it runs on a draft, as the script alone would.
fn exec_draft(
    app: &App,
    client: &mut Client,
    now_ms: i64,
    place: &Place,
    transaction: &Transaction,
    watch: &Watch,
    plan: &Plan<'_>,
) -> Step {
    let database = client.database;
    let look = |locked: &mut Keys<'_>| {
        let refuses = plan.writes && locked.refuses_writes();
        match watch_failed(locked, watch, database) {
            true => Some(Reply::NullArray),
            false => refuses.then(|| error_reply(app, &CommandError::other(database_down()))),
        }
    };
    let mut run = |draft: &mut Draft<'_>| {
        // It may be run anew, and a SELECT of the run before is none of this one.
        connection::choose(client, database);
        gathering(client, |client| run_all(app, client, &mut Ground::Draft(draft), transaction))
    };
    match script::draft(app, database, now_ms, place, &plan.locks, &look, &mut run) {
        Ok(step) => step,
        Err(Stop::TookLong) => {
            connection::choose(client, database);
            Step::Apart(Long::Script)
        }
        Err(Stop::Killed) => Step::Done(killed(app), Tickets::new()),
    }
}

/// What an EXEC answers whose script was stopped.
fn killed(app: &App) -> Reply {
    let line = "EXECABORT Transaction discarded because of: Script killed by user with SCRIPT KILL...";
    error_reply(app, &CommandError::other(line))
}

fn exec_reply_bytes_max(app: &App) -> usize {
    app.limits.output().hard_bytes_or(EXEC_REPLY_BYTES_MAX)
}

/// What an EXEC locks and reads.
struct Plan<'a> {
    locks: KeysOf<'a>,
    values: KeysOf<'a>,
    whole: bool,
    writes: bool,
    scripts: bool,
}

impl<'a> Plan<'a> {
    fn of(app: &App, transaction: &'a Transaction, watch: &'a Watch, mut database: u8) -> Self {
        let (locks, values) = (SmallVec::new(), SmallVec::new());
        let mut plan = Self { locks, values, whole: false, writes: false, scripts: false };
        for request in &transaction.queue {
            let Ok(row) = table::resolve(request) else { continue };
            if row.name == "select" {
                database = connection::selected(app, request).unwrap_or(database);
            }
            let keys = keys_of(row, request, database);
            if reads_values(row, request) {
                plan.values.extend(keys.iter().copied());
            }
            plan.locks.extend(keys);
            plan.whole |= matches!(row.keys, KeyPositions::Shards | KeyPositions::All);
            plan.writes |= row.has(Flag::Write);
            plan.scripts |= matches!(row.handler, Handler::Script(_));
        }
        plan.locks.extend(watch.keys().map(|watched| (watched.database, watched.key)));
        plan
    }
}

/// Whether a watched key was changed or has expired; the answer waits for what is pending on the watched keys.
fn watch_failed(locked: &mut Keys<'_>, watch: &Watch, database: u8) -> bool {
    let mut failed = watch.is_dirty();
    for watched in watch.keys() {
        locked.select(watched.database);
        let is_live = locked.expiry(watched.key).is_some();
        failed |= watched.was_live && !is_live;
    }
    locked.select(database);
    failed
}

/// What the commands of an EXEC run on.
enum Ground<'g, 'k> {
    /// The keys themselves.
    Keys(&'g mut Keys<'k>),
    /// A draft of them, if one of the commands is a script.
    Draft(&'g mut Draft<'k>),
}

/// All commands of an EXEC.
fn run_all(
    app: &App,
    client: &mut Client,
    ground: &mut Ground<'_, '_>,
    transaction: &Transaction,
) -> Result<Reply, Stop> {
    let (mut replies, mut bytes_left) = (Vec::with_capacity(transaction.queue.len()), exec_reply_bytes_max(app));
    for request in &transaction.queue {
        let reply = run_queued(app, client, ground, request)?;
        bytes_left = bytes_left.saturating_sub(reply.bytes_about());
        // As in Redis, all is executed, and a client that is to be closed is owed no more replies.
        client.overruns |= bytes_left == 0;
        if !client.overruns {
            replies.push(reply);
        }
    }
    Ok(Reply::Array(replies))
}

/// One command of an EXEC; its error is a reply among the others.
fn run_queued(app: &App, client: &mut Client, ground: &mut Ground<'_, '_>, request: &Request) -> Result<Reply, Stop> {
    let begun = Instant::now();
    let row = match admit_queued(app, client, request) {
        Ok(row) => row,
        Err(error) => return Ok(error_reply(app, &error)),
    };
    let result = match (row.handler, ground) {
        (Handler::Keys(handler), Ground::Keys(locked)) => {
            locked.select(client.database);
            handler(locked, request)
        }
        (Handler::Keys(handler), Ground::Draft(draft)) => draft.run(row, handler, request, client.database),
        (Handler::Script(find), Ground::Draft(draft)) => match find(app, request) {
            Ok(script) => Ok(draft.run_script(app, client, row, &script, request)?),
            Err(error) => {
                monitor::note(app, client, row, request, Caller::Client);
                Err(error)
            }
        },
        (Handler::Client(handler) | Handler::ContainerOrAlone(_, handler) | Handler::Waiting(_, handler), _) => {
            handler(app, client, request)
        }
        // The gates keep these out of the queue, and a script makes the EXEC run on a draft.
        (Handler::Server(_) | Handler::Exec | Handler::Container(_), _) | (Handler::Script(_), Ground::Keys(_)) => {
            Err(CommandError::other("ERR Command not allowed inside a transaction"))
        }
    };
    let failed = matches!(result, Ok(Reply::Error(_)) | Err(_));
    call::note(app, client, row, request, Caller::Client, begun, failed);
    Ok(result.unwrap_or_else(|error| error_reply(app, &error)))
}

/// The row of a queued command, if its client may still run it.
fn admit_queued(app: &App, client: &mut Client, request: &Request) -> Result<&'static Row, CommandError> {
    let row = table::resolve(request)?;
    if !client.may_do_everything(&app.users) {
        client.follow(&app.users);
        permission::readmit(app, client, row, request)?;
    }
    Ok(row)
}
