//! ACL: the users over the wire. What a rule means stands in `rules`, what a user may do in `permission`; the users themselves
//! are kept by `app::users`. A password never leaves this family but as its digest.

pub mod category;
pub mod describe;
mod file;
pub(super) mod listeners;
mod log;
pub mod permission;
pub mod rules;

use bytes::Bytes;

use super::error::CommandError;
use super::table::{self, CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{args, help};
use crate::app::users::{Selector, User, hex};
use crate::app::{App, Client};
use crate::config::PubsubDefault;
use crate::protocol::{Reply, Request};
pub use file::load_at_start;
pub(super) use log::note;
use permission::Denied;

/// ACL.
pub const ROWS: &[Row] = &[Row {
    name: "acl",
    syntax: "",
    summary: "A container for Access List Control commands",
    since: "6.0.0",
    group: Group::Server,
    arity: -2,
    flags: &[],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::Container(SUBCOMMANDS),
}];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "cat",
        syntax: "[category]",
        summary: "List the ACL categories or the commands inside a category",
        since: "6.0.0",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(cat),
    },
    Row {
        name: "deluser",
        syntax: "username [username ...]",
        summary: "Remove the specified ACL users and the associated rules",
        since: "6.0.0",
        group: Group::Server,
        arity: -3,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(delete_users),
    },
    Row {
        name: "dryrun",
        syntax: "username command [arg [arg ...]]",
        summary: "Returns whether the user can execute the given command without executing the command",
        since: "7.0.0",
        group: Group::Server,
        arity: -4,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Secret],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(dry_run),
    },
    Row {
        name: "genpass",
        syntax: "[bits]",
        summary: "Generate a pseudorandom secure password to use for ACL users",
        since: "6.0.0",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(generate_password),
    },
    Row {
        name: "getuser",
        syntax: "username",
        summary: "Get the rules for a specific ACL user",
        since: "6.0.0",
        group: Group::Server,
        arity: 3,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(get_user),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "6.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(show_help),
    },
    Row {
        name: "list",
        syntax: "",
        summary: "List the current ACL rules in ACL config file format",
        since: "6.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(list),
    },
    Row {
        name: "load",
        syntax: "",
        summary: "Reload the ACLs from the configured ACL file",
        since: "6.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::NoMulti],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Server(file::load),
    },
    Row {
        name: "log",
        syntax: "[count | RESET]",
        summary: "List latest events denied because of ACLs in place",
        since: "6.0.0",
        group: Group::Server,
        arity: -2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(log::log),
    },
    Row {
        name: "save",
        syntax: "",
        summary: "Save the current ACL rules in the configured ACL file",
        since: "6.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::NoMulti],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Server(file::save),
    },
    Row {
        name: "setuser",
        syntax: "username [rule [rule ...]]",
        summary: "Modify or create the rules for a specific ACL user",
        since: "6.0.0",
        group: Group::Server,
        arity: -3,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading, Flag::Secret],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(set_user),
    },
    Row {
        name: "users",
        syntax: "",
        summary: "List the username of all the configured ACL rules",
        since: "6.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(user_names),
    },
    Row {
        name: "whoami",
        syntax: "",
        summary: "Return the name of the user associated to the current connection",
        since: "6.0.0",
        group: Group::Server,
        arity: 2,
        flags: &[Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(who_am_i),
    },
];

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    List all commands that belong to <category>, or all command categories",
    "    when no category is specified.",
    "DELUSER <username> [<username> ...]",
    "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Returns whether the user can execute the given command without executing the command.",
    "GETUSER <username>",
    "    Get the user's details.",
    "GENPASS [<bits>]",
    "    Generate a secure 256-bit user password. The optional `bits` argument can",
    "    be used to specify a different size.",
    "LIST",
    "    Show users details in config file format.",
    "LOAD",
    "    Reload users from the ACL file.",
    "LOG [<count> | RESET]",
    "    Show the ACL log entries.",
    "SAVE",
    "    Save the current config to the ACL file.",
    "SETUSER <username> <attribute> [<attribute> ...]",
    "    Create or modify a user with the specified attributes.",
    "USERS",
    "    List all the registered usernames.",
    "WHOAMI",
    "    Return the current connection username.",
];

/// The most bits of a password that GENPASS makes, and as many as it makes where nobody says, as in Redis.
const PASSWORD_BITS_MAX: usize = 4_096;
const PASSWORD_BITS: usize = 256;

fn show_help(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(help::reply("ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", HELP))
}

/// Redis's refusal of a subcommand whose arity lets words through that it does not take.
fn wrong_number_of_arguments(request: &Request) -> CommandError {
    let word = String::from_utf8_lossy(&request[1]);
    CommandError::other(format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try ACL HELP."))
}

/// Whether a user that is made or reset now may use all channels.
fn channels_by_default(app: &App) -> bool {
    app.settings.read().acl_pubsub_default == PubsubDefault::AllChannels
}

fn bulk(bytes: impl Into<Bytes>) -> Reply {
    Reply::Bulk(bytes.into())
}

fn cat(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    match &request[2..] {
        [] => Ok(Reply::Array(category::CATEGORIES.iter().map(|category| Reply::text(category.name())).collect())),
        [name] => {
            let category = category::named(name).ok_or_else(|| {
                let name = String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned();
                CommandError::other(format!("ERR Unknown category '{name}'"))
            })?;
            Ok(Reply::Array(category.rows().map(|row| Reply::text(table::full_name(row))).collect()))
        }
        [..] => Err(wrong_number_of_arguments(request)),
    }
}

fn set_user(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    let name = &request[2];
    if rules::has_spaces(name) {
        return Err(CommandError::other("ERR Usernames can't contain spaces or null characters"));
    }
    let words = &request[3..];
    let rules = rules::merge_selectors(words).map_err(|position| {
        let word = String::from_utf8_lossy(&words[position]);
        CommandError::other(format!("ERR Unmatched parenthesis in acl selector starting at '{word}'."))
    })?;
    let all_channels = channels_by_default(app);
    app.users.change(name, |known| {
        // A copy of the name: a slice would keep all that came with it in memory.
        let mut user = known.cloned().unwrap_or_else(|| User::new(Bytes::copy_from_slice(name), all_channels));
        for rule in &rules {
            rules::apply(&mut user, rule, all_channels).map_err(|error| {
                let rule = String::from_utf8_lossy(rule);
                CommandError::other(format!("ERR Error in ACL SETUSER modifier '{rule}': {error}"))
            })?;
        }
        Ok::<_, CommandError>(user)
    })?;
    listeners::expel(app, client);
    Ok(Reply::OK)
}

fn delete_users(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    let names = &request[2..];
    if names.iter().any(|name| *name == User::DEFAULT) {
        return Err(CommandError::other("ERR The 'default' user cannot be removed"));
    }
    let gone: Vec<u64> = names.iter().filter_map(|name| app.users.remove(name)).collect();
    client.close_after_reply |= app.clients.expel_users(&gone, client.info.id);
    Ok(Reply::Integer(i64::try_from(gone.len()).unwrap_or(i64::MAX)))
}

fn get_user(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let Some(registered) = app.users.get(&request[2]) else { return Ok(Reply::Null) };
    let user = registered.user;
    let mut fields = vec![
        (Reply::text("flags"), Reply::Set(describe::flags(&user).into_iter().map(Reply::text).collect())),
        (
            Reply::text("passwords"),
            Reply::Array(user.passwords.iter().map(|digest| Reply::text(digest.to_hex())).collect()),
        ),
    ];
    fields.extend(selector_fields(&user.root));
    let selectors = user.selectors.iter().map(|selector| Reply::Map(selector_fields(selector).into()));
    fields.push((Reply::text("selectors"), Reply::Array(selectors.collect())));
    Ok(Reply::Map(fields))
}

fn selector_fields(selector: &Selector) -> [(Reply, Reply); 3] {
    [
        (Reply::text("commands"), Reply::text(describe::commands(selector))),
        (Reply::text("keys"), bulk(describe::keys(selector))),
        (Reply::text("channels"), bulk(describe::channels(selector))),
    ]
}

fn list(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::Array(app.users.list().iter().map(|user| bulk(describe::line(user))).collect()))
}

fn user_names(app: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::Array(app.users.list().iter().map(|user| Reply::Bulk(user.name.clone())).collect()))
}

fn who_am_i(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::Bulk(client.login.user().name.clone()))
}

fn generate_password(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    let bits = match &request[2..] {
        [] => PASSWORD_BITS,
        [word] => usize::try_from(args::integer(word)?).unwrap_or_default(),
        [..] => return Err(wrong_number_of_arguments(request)),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(CommandError::other(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {PASSWORD_BITS_MAX}"
        )));
    }
    let digits = bits.div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut random).map_err(|error| CommandError::other(format!("ERR no random numbers: {error}")))?;
    let mut password = hex(&random);
    password.truncate(digits);
    Ok(Reply::text(password))
}

fn dry_run(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let (name, words) = (&request[2], &request[3..]);
    let not_found = |what: &str, word: &[u8]| {
        CommandError::other(format!("ERR {what} '{}' not found", String::from_utf8_lossy(word)))
    };
    let user = app.users.get(name).ok_or_else(|| not_found("User", name))?.user;
    let row = table::lookup(words).ok_or_else(|| not_found("Command", &words[0]))?;
    if !row.accepts(words.len()) {
        return Err(CommandError::WrongArity { command: table::full_name(row).to_owned() });
    }
    let denied = match permission::check(&user, row, words) {
        Ok(()) => return Ok(Reply::OK),
        Err(Denied::Command) => format!("run the '{}' command", table::full_name(row)),
        Err(Denied::Key(position)) => format!("access the '{}' key", String::from_utf8_lossy(&words[position])),
        Err(Denied::Channel(position)) => format!("access the '{}' channel", String::from_utf8_lossy(&words[position])),
    };
    Ok(Reply::text(format!("This user has no permissions to {denied}")))
}
