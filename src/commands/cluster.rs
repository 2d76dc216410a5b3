//! CLUSTER, READONLY and READWRITE: tools probe them, and the answer is that this is no cluster. The subcommands are
//! those that clients probe with; nothing here may ever answer anything but the refusal.

use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::{App, Client};
use crate::protocol::Request;

/// CLUSTER, READONLY and READWRITE.
pub const ROWS: &[Row] = &[
    Row {
        name: "cluster",
        syntax: "",
        summary: "A container for cluster commands",
        since: "3.0.0",
        group: Group::Cluster,
        arity: -2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Container(SUBCOMMANDS),
    },
    Row {
        name: "readonly",
        syntax: "",
        summary: "Enables read queries for a connection to a cluster replica node",
        since: "3.0.0",
        group: Group::Cluster,
        arity: 1,
        flags: &[Flag::Loading, Flag::Fast, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
    Row {
        name: "readwrite",
        syntax: "",
        summary: "Disables read queries for a connection to a cluster replica node",
        since: "3.0.0",
        group: Group::Cluster,
        arity: 1,
        flags: &[Flag::Loading, Flag::Fast, Flag::Connection],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "5.0.0",
        group: Group::Cluster,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
    Row {
        name: "info",
        syntax: "",
        summary: "Provides info about Redis Cluster node state",
        since: "3.0.0",
        group: Group::Cluster,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
    Row {
        name: "keyslot",
        syntax: "key",
        summary: "Returns the hash slot of the specified key",
        since: "3.0.0",
        group: Group::Cluster,
        arity: 3,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
    Row {
        name: "myid",
        syntax: "",
        summary: "Return the node id",
        since: "3.0.0",
        group: Group::Cluster,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
    Row {
        name: "nodes",
        syntax: "",
        summary: "Get Cluster config for the node",
        since: "3.0.0",
        group: Group::Cluster,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
    Row {
        name: "shards",
        syntax: "",
        summary: "Get array of cluster slots to node mappings",
        since: "7.0.0",
        group: Group::Cluster,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
    Row {
        name: "slots",
        syntax: "",
        summary: "Get array of Cluster slot to node mappings",
        since: "3.0.0",
        group: Group::Cluster,
        arity: 2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(refuse),
    },
];

fn refuse(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Err(CommandError::other("ERR This instance has cluster support disabled"))
}
