//! How a script runs, and an EXEC that has one: on a draft of its keys, which nobody else sees. What it wrote is done on
//! the keys themselves when it has ended, as one unit. On its connection's thread it runs for a moment only, with its keys
//! locked; if it takes longer, all that it did is forgotten, and it begins anew on a thread of its own, where it locks
//! nothing. So a script never keeps a neighbour waiting, can be stopped anywhere, and leaves nothing half done.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ahash::AHashSet;
use bytes::Bytes;

use super::exec::gathering;
use super::room::NO_ROOM;
use super::{KeyOf, KeysOf, Long, Step, call, cold, error_reply, key_lengths_fit, keys_of, refused};
use crate::app::{App, Client};
use crate::commands::acl::permission;
use crate::commands::connection::{self, REDIS_VERSION};
use crate::commands::error::CommandError;
use crate::commands::monitor::{self, Caller};
use crate::commands::script::keys_and_arguments;
use crate::commands::table::{self, CommandResult, Flag, Handler, KeyPositions, Row};
use crate::keyspace::events::Messages;
use crate::keyspace::hot::Access;
use crate::keyspace::keys::fresh_chance;
use crate::keyspace::{Keys, KeysError, Keyspace, Lock};
use crate::lua::script::Script;
use crate::lua::{Host, Limit, State};
use crate::protocol::{Reply, Request};

/// How long a script may keep its connection's thread and its keys for itself: far longer than a session script takes, and
/// less than anyone notices.
const AT_ONCE_MAX: Duration = Duration::from_millis(2);

/// How many declared keys are gone through for each command of a script, rather than looked up.
const NAMES_WALKED_MAX: usize = 8;

/// How often a script runs anew that took so long that somebody else changed its keys meanwhile.
const ATTEMPTS_MAX: usize = 16;

/// The most bytes of the commands with which one script writes: they are kept until it has ended. As much as it may hold
/// in memory itself.
const WRITTEN_BYTES_MAX: usize = crate::lua::MEMORY_BYTES_MAX;

const UNDECLARED: &str = "ERR Script attempted to access a key that it did not declare: pass all keys in KEYS";
const WHOLE_KEYSPACE: &str =
    "ERR Script attempted to access the whole keyspace, of which only the keys in KEYS are known to it";
const WRITTEN_TOO_MUCH: &str = "ERR the commands with which the script writes are too large";
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";
const OVERTAKEN: &str = "BUSY the script took so long that others changed its keys each time: nothing was applied";

/// Where a request is executed.
#[derive(Clone, Debug)]
pub enum Place {
    /// On its connection's thread, whose other connections wait meanwhile.
    AtOnce,
    /// On a thread of its own, until it is told to stop.
    Apart(Arc<AtomicBool>),
}

/// Why nothing came of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It took longer than it may take at once.
    TookLong,
    /// SCRIPT KILL, or the end of the server.
    Killed,
}

/// What came of a run on a draft: its reply, and what it publishes.
pub(super) type Ran = (Result<Reply, Stop>, Messages);

thread_local! {
    static DRAFTING_TABLE: RefCell<Option<Arc<Keyspace>>> = const { RefCell::new(None) };
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// A write that a draft has seen.
struct Written {
    database: u8,
    handler: fn(&mut Keys<'_>, &Request) -> CommandResult,
    request: Request,
    chance: u64,
}

/// Copies of some keys, and what was written to them.
pub(super) struct Draft<'d> {
    keys: Keys<'d>,
    names: &'d [KeyOf<'d>],
    /// The names once more, where there are too many to go through.
    index: AHashSet<KeyOf<'d>>,
    written: Vec<Written>,
    bytes_left: usize,
    /// Of all its scripts together.
    limit: Limit,
    stop: Stop,
}

impl<'d> Draft<'d> {
    fn new(keys: Keys<'d>, names: &'d [KeyOf<'d>], place: &Place) -> Self {
        let index = if names.len() > NAMES_WALKED_MAX { names.iter().copied().collect() } else { AHashSet::new() };
        let (limit, stop) = match place {
            Place::AtOnce => (Limit::Until(Instant::now() + AT_ONCE_MAX), Stop::TookLong),
            Place::Apart(stop) => (Limit::Told(Arc::clone(stop)), Stop::Killed),
        };
        Self { keys, names, index, written: Vec::new(), bytes_left: WRITTEN_BYTES_MAX, limit, stop }
    }

    fn declares(&self, database: u8, key: &[u8]) -> bool {
        if self.index.is_empty() {
            self.names.contains(&(database, key))
        } else {
            self.index.contains(&(database, key))
        }
    }

    /// Runs a command over keys on the draft.
    pub(super) fn run(
        &mut self,
        row: &Row,
        handler: fn(&mut Keys<'_>, &Request) -> CommandResult,
        request: &Request,
        database: u8,
    ) -> CommandResult {
        if matches!(row.keys, KeyPositions::Shards | KeyPositions::All) {
            return Err(CommandError::other(WHOLE_KEYSPACE));
        }
        if !row.keys.of(request).all(|position| self.declares(database, &request[position])) {
            return Err(CommandError::other(UNDECLARED));
        }
        let is_write = row.has(Flag::Write);
        if is_write {
            self.keep_room(request)?;
        }
        let chance = fresh_chance();
        self.keys.select(database);
        self.keys.set_chance(chance);
        let reply = handler(&mut self.keys, request);
        self.keys.forget_changes();
        let reply = reply?;
        if is_write {
            self.written.push(Written { database, handler, request: request.clone(), chance });
        }
        Ok(reply)
    }

    /// Takes the room for a command that is kept until the draft has ended.
    fn keep_room(&mut self, request: &Request) -> Result<(), CommandError> {
        let bytes = size_of::<Written>() + request.iter().map(|word| size_of::<Bytes>() + word.len()).sum::<usize>();
        let left = self.bytes_left.checked_sub(bytes).ok_or_else(|| CommandError::other(WRITTEN_TOO_MUCH))?;
        self.bytes_left = left;
        Ok(())
    }

    /// Takes the room for a message, if this publishes one.
    fn keep_message(&mut self, row: &Row, request: &Request) -> Result<(), CommandError> {
        if row.has(Flag::PubSub) { self.keep_room(request) } else { Ok(()) }
    }

    /// Runs a script on the draft.
    pub(super) fn run_script(
        &mut self,
        app: &App,
        client: &mut Client,
        row: &'static Row,
        script: &Script,
        request: &Request,
    ) -> Result<Reply, Stop> {
        monitor::note(app, client, row, request, Caller::Client);
        let (keys, arguments) = match keys_and_arguments(request) {
            Ok(parts) => parts,
            Err(error) => return Ok(error_reply(app, &error)),
        };
        let (limit, stop) = (self.limit.clone(), self.stop);
        let before = client.database;
        let read_only = script.no_writes || row.has(Flag::Readonly);
        let lacks_room = !script.allows_oom && app.keyspace.is_full();
        let mut calls = Calls { app, client, draft: self, read_only, lacks_room };
        let ran = with_state(|state| state.run(script, keys, arguments, limit, &mut calls));
        // A SELECT of the script is the script's alone.
        connection::choose(client, before);
        match ran {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(stop),
            Err(error) => Ok(error_reply(app, &error)),
        }
    }
}

/// Runs something on a draft of these keys, and does on the keys what it wrote. `look` sees the keys before, and may
/// answer in its place.
pub(super) fn draft(
    app: &App,
    database: u8,
    now_ms: i64,
    place: &Place,
    names: &[KeyOf<'_>],
    look: &dyn Fn(&mut Keys<'_>) -> Option<Reply>,
    run: &mut dyn FnMut(&mut Draft<'_>) -> Ran,
) -> Result<Step, Stop> {
    let table = drafting_table(app);
    let lock = || app.keyspace.lock(&Lock::Keys(names, Access::Write), database, now_ms);
    for _ in 0..ATTEMPTS_MAX {
        let mut locked = lock();
        if let Some(reply) = look(&mut locked) {
            return Ok(Step::Done(reply, locked.finish()));
        }
        let cold = cold(&locked, names);
        if !cold.is_empty() {
            return Ok(Step::Load(cold));
        }
        let (stamp, keys) = (locked.stamp(names), locked.draft(&table, names));
        let held = matches!(place, Place::AtOnce).then_some(locked);
        let mut draft = Draft::new(keys, names, place);
        let (ran, published) = run(&mut draft);
        draft.keys.clear_draft(names);
        let (written, reply) = (draft.written, ran?);
        let mut locked = match held {
            Some(locked) => locked,
            None => lock(),
        };
        // A value may have left memory meanwhile, and what was written to its draft could not be done on it.
        if locked.stamp(names) != stamp || !super::cold(&locked, names).is_empty() {
            continue;
        }
        if let Some(reply) = look(&mut locked) {
            return Ok(Step::Done(reply, locked.finish()));
        }
        if !written.is_empty() && locked.refuses_writes() {
            return Ok(refused(app, &KeysError::DatabaseDown.into()));
        }
        return Ok(apply(locked, names, &written, published, reply));
    }
    Ok(refused(app, &CommandError::other(OVERTAKEN)))
}

/// Does on the keys what was done on their draft; the keys are what they were, so each command does the same again.
fn apply(mut locked: Keys<'_>, names: &[KeyOf<'_>], written: &[Written], published: Messages, reply: Reply) -> Step {
    locked.begin_repeat();
    locked.see(names);
    for Written { database, handler, request, chance } in written {
        locked.select(*database);
        locked.set_chance(*chance);
        let again = handler(&mut locked, request);
        debug_assert!(again.is_ok(), "a write that the draft took is refused: {again:?}");
    }
    locked.publish_all(published);
    Step::Done(reply, locked.finish())
}

/// EVAL and its like.
pub(super) fn eval(
    app: &App,
    client: &mut Client,
    row: &'static Row,
    find: fn(&App, &Request) -> Result<Arc<Script>, CommandError>,
    request: &Request,
    place: &Place,
) -> Step {
    let script = match find(app, request) {
        Ok(script) => script,
        Err(error) => {
            monitor::note(app, client, row, request, Caller::Client);
            return refused(app, &error);
        }
    };
    let names: KeysOf<'_> = keys_of(row, request, client.database);
    let (database, now_ms) = (client.database, app.clock.now_ms());
    let mut run =
        |draft: &mut Draft<'_>| gathering(client, |client| draft.run_script(app, client, row, &script, request));
    match draft(app, database, now_ms, place, &names, &|_| None, &mut run) {
        Ok(step) => step,
        Err(Stop::TookLong) => Step::Apart(Long::Script),
        Err(Stop::Killed) => {
            refused(app, &CommandError::other(format!("{KILLED} script: {}, on @user_script:1.", script.hex())))
        }
    }
}

/// Compiles a script, to know whether it can be.
///
/// # Errors
/// Lua's words for what is wrong with it.
pub(in crate::commands) fn compile(script: &Script) -> Result<(), CommandError> {
    with_state(|state| state.compile(script).map(drop))?.map_err(CommandError::other)
}

/// The state of this thread.
fn with_state<T>(run: impl FnOnce(&mut State) -> T) -> Result<T, CommandError> {
    let lacks = |_| CommandError::other("OOM there is no memory for scripts");
    STATE.with_borrow_mut(|known| {
        let state = match known {
            Some(state) => state,
            None => known.insert(State::new(REDIS_VERSION).map_err(lacks)?),
        };
        Ok(run(state))
    })
}

/// The place of this thread for drafts.
fn drafting_table(app: &App) -> Arc<Keyspace> {
    DRAFTING_TABLE.with_borrow_mut(|known| {
        let fits = known.take().filter(|table| table.is_drafting_table_of(&app.keyspace));
        Arc::clone(known.insert(fits.unwrap_or_else(|| app.keyspace.drafting_table())))
    })
}

/// What a script may call.
struct Calls<'c, 'd> {
    app: &'c App,
    client: &'c mut Client,
    draft: &'c mut Draft<'d>,
    read_only: bool,
    /// Whether there was no memory when it started, and it has written nothing yet.
    lacks_room: bool,
}

impl Host for Calls<'_, '_> {
    fn call(&mut self, words: Vec<Bytes>) -> Reply {
        let begun = Instant::now();
        let row = match self.admit(&words) {
            Ok(row) => row,
            Err(error) => return error_reply(self.app, &error),
        };
        let result = match row.handler {
            Handler::Keys(handler) => self.draft.run(row, handler, &words, self.client.database),
            Handler::Client(handler) | Handler::ContainerOrAlone(_, handler) => {
                self.draft.keep_message(row, &words).and_then(|()| handler(self.app, self.client, &words))
            }
            Handler::Server(_) | Handler::Waiting(..) | Handler::Exec | Handler::Script(_) | Handler::Container(_) => {
                Err(CommandError::other(NOT_FROM_SCRIPT))
            }
        };
        call::note(self.app, self.client, row, &words, Caller::Script, begun, result.is_err());
        result.unwrap_or_else(|error| error_reply(self.app, &error))
    }

    fn allows(&mut self, words: &[Bytes]) -> Option<bool> {
        let row = table::lookup(words)?;
        Some(permission::check(self.client.login.user(), row, words).is_ok())
    }
}

const NOT_FROM_SCRIPT: &str = "ERR This Redis command is not allowed from script";

impl Calls<'_, '_> {
    /// The gates of a command that a script calls, in Redis's order.
    fn admit(&mut self, words: &Request) -> Result<&'static Row, CommandError> {
        let row =
            table::lookup(words).ok_or_else(|| CommandError::other("ERR Unknown Redis command called from script"))?;
        if !row.accepts(words.len()) {
            return Err(CommandError::other("ERR Wrong number of args calling Redis command from script"));
        }
        if row.has(Flag::NoScript) {
            return Err(CommandError::other(NOT_FROM_SCRIPT));
        }
        if !self.client.may_do_everything(&self.app.users) {
            permission::admit_from_script(self.app, self.client, row, words)?;
        }
        if self.read_only && row.has(Flag::Write) {
            return Err(CommandError::other("ERR Write commands are not allowed from read-only scripts."));
        }
        key_lengths_fit(self.app, row, words)?;
        if self.lacks_room && row.has(Flag::DenyOom) {
            return Err(CommandError::other(NO_ROOM));
        }
        // As in Redis, a script that has written goes on.
        self.lacks_room &= !row.has(Flag::Write);
        Ok(row)
    }
}
