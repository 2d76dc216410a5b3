//! SUBSCRIBE, PUBLISH and their like. Who listens to what is kept in `app::pubsub`; a message is never part of a reply but
//! where it came before it.

use bytes::Bytes;

use super::acl::listeners;
use super::error::CommandError;
use super::help;
use super::table::{self, CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::pubsub::{CHANNELS_MAX, Listening, PATTERNS_MAX};
use crate::app::{App, Client};
use crate::glob;
use crate::keyspace::Tickets;
use crate::keyspace::events::{Notice, Notices};
use crate::protocol::{Reply, Request};

/// What listens, what stops to, what publishes and what shows it.
pub const ROWS: &[Row] = &[
    Row {
        name: "subscribe",
        syntax: "channel [channel ...]",
        summary: "Listen for messages published to the given channels",
        since: "2.0.0",
        group: Group::PubSub,
        arity: -2,
        flags: &[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::Channels, Flag::WhileListening],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(subscribe),
    },
    Row {
        name: "psubscribe",
        syntax: "pattern [pattern ...]",
        summary: "Listen for messages published to channels matching the given patterns",
        since: "2.0.0",
        group: Group::PubSub,
        arity: -2,
        flags: &[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::ChannelPatterns, Flag::WhileListening],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(psubscribe),
    },
    Row {
        name: "unsubscribe",
        syntax: "[channel [channel ...]]",
        summary: "Stop listening for messages posted to the given channels",
        since: "2.0.0",
        group: Group::PubSub,
        arity: -1,
        flags: &[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::WhileListening],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(unsubscribe),
    },
    Row {
        name: "punsubscribe",
        syntax: "[pattern [pattern ...]]",
        summary: "Stop listening for messages posted to channels matching the given patterns",
        since: "2.0.0",
        group: Group::PubSub,
        arity: -1,
        flags: &[Flag::PubSub, Flag::NoScript, Flag::Loading, Flag::WhileListening],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(punsubscribe),
    },
    Row {
        name: "publish",
        syntax: "channel message",
        summary: "Post a message to a channel",
        since: "2.0.0",
        group: Group::PubSub,
        arity: 3,
        flags: &[Flag::PubSub, Flag::Loading, Flag::Fast, Flag::FirstChannel],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(publish),
    },
    Row {
        name: "pubsub",
        syntax: "",
        summary: "A container for Pub/Sub commands",
        since: "2.8.0",
        group: Group::PubSub,
        arity: -2,
        flags: &[],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Container(SUBCOMMANDS),
    },
];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "channels",
        syntax: "[pattern]",
        summary: "List active channels",
        since: "2.8.0",
        group: Group::PubSub,
        arity: -2,
        flags: &[Flag::PubSub, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(channels),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "6.2.0",
        group: Group::PubSub,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(show_help),
    },
    Row {
        name: "numpat",
        syntax: "",
        summary: "Get the count of unique patterns pattern subscriptions",
        since: "2.8.0",
        group: Group::PubSub,
        arity: 2,
        flags: &[Flag::PubSub, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(count_patterns),
    },
    Row {
        name: "numsub",
        syntax: "[channel [channel ...]]",
        summary: "Get the count of subscribers for channels",
        since: "2.8.0",
        group: Group::PubSub,
        arity: -2,
        flags: &[Flag::PubSub, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(count_listeners),
    },
    Row {
        name: "shardchannels",
        syntax: "[pattern]",
        summary: "List active shard channels",
        since: "7.0.0",
        group: Group::PubSub,
        arity: -2,
        flags: &[Flag::PubSub, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(shard_channels),
    },
    Row {
        name: "shardnumsub",
        syntax: "[shardchannel [shardchannel ...]]",
        summary: "Get the count of subscribers for shard channels",
        since: "7.0.0",
        group: Group::PubSub,
        arity: -2,
        flags: &[Flag::PubSub, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(count_shard_listeners),
    },
];

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
];

fn show_help(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(help::reply("PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", HELP))
}

/// What a client of RESP2 is told that asks for anything else while it listens: it could not tell the reply from a message.
#[must_use]
pub(super) fn only_listens(row: &'static Row) -> CommandError {
    let name = table::full_name(row);
    CommandError::other(format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    ))
}

fn subscribe(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    listen(app, client, request, Listening::Channel, "subscribe")
}

fn psubscribe(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    listen(app, client, request, Listening::Pattern, "psubscribe")
}

fn listen(app: &App, client: &mut Client, request: &Request, kind: Listening, word: &'static str) -> CommandResult {
    let names = &request[1..];
    names.iter().try_for_each(|name| name_fits(app, name))?;
    let subscriptions = client.subscriptions_of(&app.pubsub);
    let (most, what) = match kind {
        Listening::Channel => (CHANNELS_MAX, "channels"),
        Listening::Pattern => (PATTERNS_MAX, "patterns"),
    };
    if subscriptions.count(kind) + names.len() > most {
        if subscriptions.total() == 0 {
            client.leave_all();
        }
        return Err(CommandError::other(format!("ERR a client listens to at most {most} {what}")));
    }
    let mut frames = Vec::with_capacity(names.len());
    for name in names {
        subscriptions.add(kind, name);
        frames.push(confirmation(word, Reply::Bulk(name.clone()), subscriptions.total()));
    }
    client.note_subscriptions();
    listeners::recheck(app, client);
    Ok(Reply::Frames(frames))
}

/// Each message's channel is compared with each pattern, which costs the product of their lengths.
fn name_fits(app: &App, name: &[u8]) -> Result<(), CommandError> {
    let name_bytes_max = app.limits.key_bytes_max();
    if name.len() > name_bytes_max {
        let line = format!("ERR channel or pattern is longer than key-bytes-max ({name_bytes_max} bytes)");
        return Err(CommandError::other(line));
    }
    Ok(())
}

fn unsubscribe(_: &App, client: &mut Client, request: &Request) -> CommandResult {
    Ok(leave(client, request, Listening::Channel, "unsubscribe"))
}

fn punsubscribe(_: &App, client: &mut Client, request: &Request) -> CommandResult {
    Ok(leave(client, request, Listening::Pattern, "punsubscribe"))
}

fn leave(client: &mut Client, request: &Request, kind: Listening, word: &'static str) -> Reply {
    let mut confirmations = Vec::new();
    let mut left = 0;
    let names = match &request[1..] {
        [] => client.subscriptions.as_ref().map_or_else(Vec::new, |subscriptions| subscriptions.all(kind)),
        names => names.to_vec(),
    };
    if let Some(subscriptions) = &mut client.subscriptions {
        for name in &names {
            subscriptions.remove(kind, name);
            confirmations.push(confirmation(word, Reply::Bulk(name.clone()), subscriptions.total()));
        }
        left = subscriptions.total();
    } else {
        confirmations.extend(names.into_iter().map(|name| confirmation(word, Reply::Bulk(name), 0)));
    }
    if confirmations.is_empty() {
        confirmations.push(confirmation(word, Reply::Null, left));
    }
    // What came before goes before: behind the confirmation nobody expects it.
    let mut frames = client.take_messages();
    frames.append(&mut confirmations);
    if left == 0 {
        client.leave_all();
    } else {
        client.note_subscriptions();
    }
    Reply::Frames(frames)
}

fn confirmation(word: &'static str, name: Reply, total: usize) -> Reply {
    Reply::Push(vec![Reply::text(word), name, Reply::count(total)])
}

fn publish(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    let (channel, payload) = (&request[1], &request[2]);
    name_fits(app, channel)?;
    let receivers = || Reply::count(app.pubsub.receivers(channel));
    // While it waits a message keeps no more than itself: slices would keep the whole buffer that they were read into.
    let copies = || (Bytes::copy_from_slice(channel), Bytes::copy_from_slice(payload));
    if let Some(unpublished) = &mut client.unpublished {
        unpublished.push(copies());
        return Ok(receivers());
    }
    if app.keyspace.events.any_message_waits() {
        // Behind those of an EXEC that is committed by now, perhaps this client's own.
        let (channel, payload) = copies();
        app.keyspace.events.hold(Notices::from_iter([Notice::Message { channel, payload }]), Tickets::new());
        return Ok(receivers());
    }
    let receivers = Reply::count(app.publish(channel, payload));
    // As in Redis, who listens to its own messages hears this one before the reply.
    let mut frames = client.take_messages();
    if frames.is_empty() {
        return Ok(receivers);
    }
    frames.push(receivers);
    Ok(Reply::Frames(frames))
}

fn channels(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let found = match &request[2..] {
        [] => app.pubsub.channels(|_| true),
        [pattern] => app.pubsub.channels(|channel| glob::matches(pattern, channel)),
        [..] => return Err(wrong_number_of_arguments(request)),
    };
    Ok(Reply::Array(found.into_iter().map(Reply::Bulk).collect()))
}

fn count_patterns(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::count(app.pubsub.names(Listening::Pattern)))
}

fn count_listeners(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    Ok(counted(request, |channel| app.pubsub.listeners(channel)))
}

/// There are no shards, so nobody listens to any.
fn shard_channels(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    match &request[2..] {
        [] | [_] => Ok(Reply::Array(Vec::new())),
        [..] => Err(wrong_number_of_arguments(request)),
    }
}

fn count_shard_listeners(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    Ok(counted(request, |_| 0))
}

fn counted(request: &Request, count: impl Fn(&[u8]) -> usize) -> Reply {
    let pairs = request[2..].iter().flat_map(|channel| [Reply::Bulk(channel.clone()), Reply::count(count(channel))]);
    Reply::Array(pairs.collect())
}

fn wrong_number_of_arguments(request: &Request) -> CommandError {
    let word = String::from_utf8_lossy(&request[1]);
    CommandError::other(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try PUBSUB HELP."))
}
