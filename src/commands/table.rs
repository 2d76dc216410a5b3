//! The row type: everything that Sojourn knows about a command stands in one `const` beside its function. Dispatch,
//! arity errors, keys to load, gates, ACL categories, COMMAND, COMMAND DOCS, metric labels, commandstats and the
//! README's table derive from it; nothing of it is typed again.

mod markdown;
mod positions;
mod unknown;

use std::sync::{Arc, LazyLock};

use ahash::AHashMap;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::error::CommandError;
use super::{
    acl, admin, client, cluster, config, connection, expire, hash, info, introspect, key, latency, memory, monitor,
    object, pubsub, scan, script, set, slow_log, string, string_number, string_range, transaction, wait,
};
use crate::app::{App, Client};
use crate::keyspace::Keys;
use crate::lua::script::Script;
use crate::protocol::{Reply, Request};

pub use markdown::markdown;
pub use positions::KeyPositions;
use unknown::{unknown_command, unknown_subcommand};

/// What a handler answers.
pub type CommandResult = Result<Reply, CommandError>;

/// One command, or one subcommand of a container.
#[derive(Debug)]
pub struct Row {
    /// Lower case; a subcommand carries its own name only (`setname` of `client`).
    pub name: &'static str,
    /// The arguments as Redis's documentation writes them; empty for none.
    pub syntax: &'static str,
    /// One sentence, as in Redis's documentation.
    pub summary: &'static str,
    /// The Redis version that introduced it.
    pub since: &'static str,
    /// Its group in Redis's documentation.
    pub group: Group,
    /// Words with the name (and the container's), negative for "at least".
    pub arity: i32,
    /// What the gates and COMMAND need to know.
    pub flags: &'static [Flag],
    /// Which words are keys.
    pub keys: KeyPositions,
    /// Whether it reads values, so that cold ones are loaded beforehand.
    pub loads: Loads,
    /// The code, by what it may do.
    pub handler: Handler,
}

/// The documentation group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Any type of key.
    Generic,
    /// Strings.
    String,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// MULTI and its like.
    Transactions,
    /// Messages between clients.
    PubSub,
    /// CLUSTER, refused.
    Cluster,
    /// Scripts.
    Scripting,
}

/// The flags of Redis's COMMAND reply that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// May change keys.
    Write,
    /// Only reads keys.
    Readonly,
    /// May grow memory: refused at the memory limit.
    DenyOom,
    /// For operators.
    Admin,
    /// Constant time.
    Fast,
    /// Allowed while keys are being read at the start.
    Loading,
    /// Allowed before AUTH.
    NoAuth,
    /// Refused inside MULTI.
    NoMulti,
    /// Not for scripts.
    NoScript,
    /// May block or take long.
    Dangerous,
    /// Runs at once inside MULTI instead of being queued (EXEC, DISCARD, WATCH, QUIT, RESET, MULTI).
    Unqueued,
    /// Uses what its keys hold, so that a user needs the right to read them (`access` in Redis's key specifications).
    Access,
    /// Uses what the first of its keys holds, and only writes the others.
    AccessFirst,
    /// Concerns channels.
    PubSub,
    /// All its words are channels that a user needs the right to.
    Channels,
    /// All its words are patterns of channels, of which a user needs the right to the very same.
    ChannelPatterns,
    /// Its first word is a channel that a user needs the right to.
    FirstChannel,
    /// Allowed to a client of RESP2 that listens to channels.
    WhileListening,
    /// Never in SLOWLOG.
    SkipSlowLog,
    /// Nobody else may see any of its words.
    Secret,
    /// Nobody else may see the words of an option, but a connection's name (HELLO).
    SecretOptions,
    /// Nobody else may see the values of some settings (CONFIG SET).
    SecretValues,
    /// Counts as `@connection` in the ACL categories, though its group in the documentation is another.
    Connection,
}

/// Whether values must be in memory before the handler runs.
#[derive(Clone, Copy, Debug)]
pub enum Loads {
    /// Never: existence and expiry are always known.
    Never,
    /// The values of all its keys.
    Values,
    /// The values of all its keys, if the request says so (`SET … GET`).
    ValuesIf(fn(&[Bytes]) -> bool),
}

/// A handler, by what it may touch.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Over keys: loaded and locked before it runs; its changes are queued as one unit when it returns. It must read
    /// and decide before it changes anything: an error after a change would leave half a command.
    Keys(fn(&mut Keys<'_>, &Request) -> CommandResult),
    /// Over this connection; never waits.
    Client(fn(&App, &mut Client, &Request) -> CommandResult),
    /// Over the whole server; may wait.
    Server(for<'a> fn(&'a App, &'a mut Client, &'a Request) -> BoxFuture<'a, CommandResult>),
    /// Over this connection; waits, except as part of an EXEC, where the second function answers what is so at that moment.
    Waiting(
        for<'a> fn(&'a App, &'a mut Client, &'a Request) -> BoxFuture<'a, CommandResult>,
        fn(&App, &mut Client, &Request) -> CommandResult,
    ),
    /// EVAL and its like, over the keys that it declares; the function finds its script.
    Script(fn(&App, &Request) -> Result<Arc<Script>, CommandError>),
    /// EXEC itself: the queued commands over all their keys at once, as one unit.
    Exec,
    /// A container: the second word chooses a row of these.
    Container(&'static [Row]),
    /// A container that also answers without a second word: COMMAND.
    ContainerOrAlone(&'static [Row], fn(&App, &mut Client, &Request) -> CommandResult),
}

impl Row {
    /// Whether it carries this flag.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Whether it may change the keys that it names: a script may, although it is no write by itself.
    #[must_use]
    pub fn writes_keys(&self) -> bool {
        self.has(Flag::Write) || (matches!(self.handler, Handler::Script(_)) && !self.has(Flag::Readonly))
    }

    /// Whether a request of this many words, its name included, is neither too short nor too long.
    #[must_use]
    pub fn accepts(&self, words: usize) -> bool {
        let expected = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        if self.arity < 0 { words >= expected } else { words == expected }
    }

    /// The subcommands of a container; none of any other command.
    #[must_use]
    pub fn subcommands(&self) -> &'static [Self] {
        match self.handler {
            Handler::Container(rows) | Handler::ContainerOrAlone(rows, _) => rows,
            Handler::Keys(_)
            | Handler::Client(_)
            | Handler::Server(_)
            | Handler::Waiting(..)
            | Handler::Script(_)
            | Handler::Exec => &[],
        }
    }

    /// The row that a request for this command calls: this one, or one of its subcommands; `None` if there is none such.
    fn called_by(&'static self, request: &[Bytes]) -> Option<&'static Self> {
        match (self.subcommands(), request.get(1)) {
            ([], _) | (_, None) => Some(self),
            (_, Some(word)) => self.subcommand(word),
        }
    }

    /// The subcommand of this name, in any case.
    #[must_use]
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands().iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

impl Group {
    /// Its name in COMMAND DOCS.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Transactions => "transactions",
            Self::PubSub => "pubsub",
            Self::Cluster => "cluster",
            Self::Scripting => "scripting",
        }
    }
}

/// Every family, once. A `static`, not a `const`: a row is known by its address, and a `const` has none of its own.
static FAMILIES: &[&[Row]] = &[
    string::ROWS,
    string_number::ROWS,
    string_range::ROWS,
    hash::ROWS,
    set::ROWS,
    key::ROWS,
    expire::ROWS,
    memory::ROWS,
    object::ROWS,
    scan::ROWS,
    transaction::ROWS,
    pubsub::ROWS,
    wait::ROWS,
    connection::ROWS,
    client::ROWS,
    acl::ROWS,
    admin::ROWS,
    config::ROWS,
    info::ROWS,
    monitor::ROWS,
    slow_log::ROWS,
    latency::ROWS,
    introspect::ROWS,
    cluster::ROWS,
    script::ROWS,
];

/// The longest name that [`find`] knows, so that it can fold the case without allocating.
const NAME_BYTES_MAX: usize = 32;

/// What is derived from the rows once.
struct Index {
    by_name: AHashMap<&'static [u8], &'static Row>,
    position_by_address: AHashMap<usize, usize>,
    names: Vec<String>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { by_name: AHashMap::new(), position_by_address: AHashMap::new(), names: Vec::new() };
    for row in all() {
        index.by_name.insert(row.name.as_bytes(), row);
        index.note(row, row.name.to_owned());
        for subcommand in row.subcommands() {
            index.note(subcommand, format!("{}|{}", row.name, subcommand.name));
        }
    }
    index
});

impl Index {
    fn note(&mut self, row: &'static Row, name: String) {
        self.position_by_address.insert(std::ptr::from_ref(row).addr(), self.names.len());
        self.names.push(name);
    }
}

/// Every command; the subcommands are inside their containers.
pub fn all() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().copied().flatten()
}

/// Every command, each container before its subcommands: in the order of [`index`].
pub fn every_row() -> impl Iterator<Item = &'static Row> {
    all().flat_map(|row| std::iter::once(row).chain(row.subcommands()))
}

/// The command of this name, in any case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Row> {
    let mut folded = [0; NAME_BYTES_MAX];
    let folded = folded.get_mut(..name.len())?;
    folded.copy_from_slice(name);
    folded.make_ascii_lowercase();
    INDEX.by_name.get(&*folded).copied()
}

/// The command or subcommand of a full name such as `get` or `client|setname`, in any case.
#[must_use]
pub fn find_full(name: &[u8]) -> Option<&'static Row> {
    match name.iter().position(|byte| *byte == b'|') {
        None => find(name),
        Some(bar) => find(&name[..bar])?.subcommand(&name[bar + 1..]),
    }
}

/// The command or subcommand that a request asks for, with whatever number of words; `None` if there is none.
#[must_use]
pub fn lookup(request: &[Bytes]) -> Option<&'static Row> {
    find(request.first()?)?.called_by(request)
}

/// The command or subcommand that a request asks for, with as many words as it takes.
///
/// # Errors
/// No such command, no such subcommand or the wrong number of words, in Redis's words.
pub fn resolve(request: &[Bytes]) -> Result<&'static Row, CommandError> {
    let name = request.first().map_or(&[][..], |word| word);
    let command = find(name).ok_or_else(|| unknown_command(request))?;
    let row = command.called_by(request).ok_or_else(|| unknown_subcommand(command, &request[1]))?;
    if row.accepts(request.len()) {
        Ok(row)
    } else {
        Err(CommandError::WrongArity { command: full_name(row).to_owned() })
    }
}

/// The position of a row of this table among [`names`], for counters that are kept in an array.
#[must_use]
pub fn index(row: &'static Row) -> usize {
    let position = INDEX.position_by_address.get(&std::ptr::from_ref(row).addr());
    debug_assert!(position.is_some(), "{} is not a row of this table", row.name);
    position.copied().unwrap_or_default()
}

/// The full names of all commands and subcommands (`get`, `client|setname`).
#[must_use]
pub fn names() -> &'static [String] {
    &INDEX.names
}

/// The full name of a row: `get`, or `client|setname` for a subcommand.
#[must_use]
pub fn full_name(row: &'static Row) -> &'static str {
    INDEX.names.get(index(row)).map_or(row.name, String::as_str)
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Keys(_) => "Keys",
            Self::Client(_) => "Client",
            Self::Server(_) => "Server",
            Self::Exec => "Exec",
            Self::Script(_) => "Script",
            Self::Container(_) => "Container",
            Self::Waiting(..) => "Waiting",
            Self::ContainerOrAlone(..) => "ContainerOrAlone",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every command and subcommand with the words that its name takes.
    fn every_row() -> Vec<(&'static Row, i32)> {
        all()
            .flat_map(|row| std::iter::once((row, 1)).chain(row.subcommands().iter().map(|subcommand| (subcommand, 2))))
            .collect()
    }

    #[test]
    fn names_are_lower_case_unique_and_short_enough_to_be_found() {
        assert_eq!(names().iter().collect::<BTreeSet<_>>().len(), names().len());
        for (row, _) in every_row() {
            assert_eq!(row.name, row.name.to_ascii_lowercase());
            assert!(row.name.len() <= NAME_BYTES_MAX && !row.name.contains('|'), "{}", row.name);
        }
    }

    #[test]
    fn every_row_is_found_by_its_full_name_in_any_case() {
        for (position, name) in names().iter().enumerate() {
            let row = find_full(name.to_ascii_uppercase().as_bytes()).expect(name);
            assert_eq!((index(row), full_name(row)), (position, name.as_str()));
        }
        for name in
            ["", "get ", "nosuchcommand", "a name that is longer than thirty-two bytes", "client|", "client|nosuch"]
        {
            assert!(find_full(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn arity_counts_the_name_and_covers_the_keys() {
        for (row, name_words) in every_row() {
            assert!(row.arity.abs() >= name_words, "{}", row.name);
            if let KeyPositions::Range { first, last, step } = row.keys {
                let first = i32::try_from(first).expect("a small number");
                assert!(first >= 1 && step >= 1 && first < row.arity.abs(), "{}", row.name);
                assert!(last < 0 || (last >= first && last < row.arity.abs()), "{}", row.name);
            }
        }
    }

    #[test]
    fn a_row_accepts_what_its_arity_says() {
        let get = find(b"get").expect("GET");
        assert_eq!([1, 2, 3].map(|words| get.accepts(words)), [false, true, false]);
        let ping = find(b"ping").expect("PING");
        assert_eq!([0, 1, 9].map(|words| ping.accepts(words)), [false, true, true]);
    }

    #[test]
    fn a_request_is_resolved_or_refused_in_redis_words() {
        let resolve = |line: &str| {
            let request: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            resolve(&request).map(full_name).map_err(|error| error.to_string())
        };
        assert_eq!(resolve("GeT a"), Ok("get"));
        assert_eq!(resolve("CLIENT SetName a"), Ok("client|setname"));
        assert_eq!(resolve("COMMAND"), Ok("command"));
        for (line, error) in [
            ("foo", "ERR unknown command 'foo', with args beginning with: "),
            ("FOO a b", "ERR unknown command 'FOO', with args beginning with: 'a' 'b' "),
            ("get", "ERR wrong number of arguments for 'get' command"),
            ("get a b", "ERR wrong number of arguments for 'get' command"),
            ("CLIENT", "ERR wrong number of arguments for 'client' command"),
            ("CLIENT ID x", "ERR wrong number of arguments for 'client|id' command"),
            ("client Foo x", "ERR unknown subcommand 'Foo'. Try CLIENT HELP."),
            ("COMMAND FOO", "ERR unknown subcommand 'FOO'. Try COMMAND HELP."),
        ] {
            assert_eq!(resolve(line), Err(error.to_owned()), "{line}");
        }
    }

    #[test]
    fn keys_are_found_in_requests_of_any_length() {
        let keys = |last, step, words| {
            let request = vec![Bytes::from_static(b"1"); words];
            KeyPositions::Range { first: 1, last, step }.of(&request).collect::<Vec<_>>()
        };
        assert_eq!(keys(1, 1, 3), [1]);
        assert_eq!(keys(-1, 1, 4), [1, 2, 3]);
        assert_eq!(keys(-1, 2, 5), [1, 3]);
        assert_eq!(keys(2, 1, 2), [1]);
        assert_eq!(keys(-1, 1, 0), [0; 0]);
        assert_eq!(KeyPositions::All.of(&vec![Bytes::new(); 9]).count(), 0);
        let counted = |line: &str| {
            let request: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            KeyPositions::Counted { count: 2 }.of(&request).collect::<Vec<_>>()
        };
        assert_eq!(counted("eval s 2 a b c"), [3, 4]);
        for line in ["eval s 0 a", "eval s 3 a b", "eval s -1 a", "eval s x a", "eval s 18446744073709551615 a", "eval"]
        {
            assert_eq!(counted(line), [0; 0], "{line}");
        }
    }

    #[test]
    fn flags_fit_the_keys_and_each_other() {
        for (row, _) in every_row() {
            assert_eq!(row.flags.iter().filter(|flag| row.has(**flag)).count(), row.flags.len());
            assert!(!(row.has(Flag::Write) && row.has(Flag::Readonly)), "{}", row.name);
            assert!(!row.has(Flag::DenyOom) || row.has(Flag::Write), "{}", row.name);
            assert!(!row.has(Flag::Write) || row.keys != KeyPositions::None, "{} writes, but which keys?", row.name);
            assert!(matches!(row.handler, Handler::Keys(_)) || !row.has(Flag::Write), "{}", row.name);
            assert!(!matches!(row.loads, Loads::Values) || row.keys != KeyPositions::None, "{}", row.name);
        }
    }

    #[test]
    fn documentation_is_one_sentence_without_full_stop() {
        for (row, _) in every_row() {
            assert!(
                !row.summary.is_empty() && !row.summary.ends_with('.') && !row.summary.contains('\n'),
                "{}",
                row.name
            );
            assert_eq!(row.syntax, row.syntax.trim(), "{}", row.name);
            assert_eq!(row.since.split('.').filter(|part| part.parse::<u32>().is_ok()).count(), 3, "{}", row.name);
        }
    }

    #[test]
    fn containers_hold_commands_and_no_containers() {
        for row in all() {
            assert!(row.subcommands().iter().all(|subcommand| subcommand.subcommands().is_empty()), "{}", row.name);
        }
    }
}
