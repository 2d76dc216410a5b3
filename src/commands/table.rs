//! The row type: everything that Sojourn knows about a command stands in one `const` beside its function. Dispatch,
//! arity errors, keys to load, gates, ACL categories, COMMAND, COMMAND DOCS, metric labels, commandstats and the
//! README's table derive from it; nothing of it is typed again.

use futures_util::future::BoxFuture;

use super::error::CommandError;
use crate::app::{App, Client};
use crate::keyspace::Keys;
use crate::protocol::{Reply, Request};

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
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// MULTI and its like.
    Transactions,
    /// CLUSTER, refused.
    Cluster,
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
}

/// Which words of a request are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPositions {
    /// None.
    None,
    /// Words `first`, `first + step`, … up to `last`, counted from the command's name as 0; a negative `last` counts from the end.
    Range {
        /// First key.
        first: usize,
        /// Last key.
        last: i32,
        /// Distance.
        step: usize,
    },
    /// The whole keyspace, shard by shard; others may run between two shards.
    Shards,
    /// The whole keyspace at one moment; nobody else runs meanwhile.
    All,
}

/// Whether values must be in memory before the handler runs.
#[derive(Clone, Copy, Debug)]
pub enum Loads {
    /// Never: existence and expiry are always known.
    Never,
    /// The values of all its keys.
    Values,
    /// The values of all its keys, if the request says so (`SET … GET`).
    ValuesIf(fn(&Request) -> bool),
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
    /// EXEC itself: the queued commands over all their keys at once, as one unit.
    Exec,
    /// A container: the second word chooses a row of these.
    Container(&'static [Row]),
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Keys(_) => "Keys",
            Self::Client(_) => "Client",
            Self::Server(_) => "Server",
            Self::Exec => "Exec",
            Self::Container(_) => "Container",
        })
    }
}
