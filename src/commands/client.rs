//! CLIENT: names, numbers and the list of connections. It shows what operators ask for and nothing that a command
//! carried: keys, values and passwords never appear in it.

mod kill;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use super::args;
use super::error::CommandError;
use super::help;
use super::table::{self, CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use crate::app::clients::Shown;
use crate::app::{App, Client, ClientInfo};
use crate::protocol::{Reply, Request};

/// The longest name of a connection or a library: CLIENT LIST shows those of all connections at once.
const NAME_BYTES_MAX: usize = 1024;

/// CLIENT.
pub const ROWS: &[Row] = &[Row {
    name: "client",
    syntax: "",
    summary: "A container for client connection commands",
    since: "2.4.0",
    group: Group::Connection,
    arity: -2,
    flags: &[],
    keys: KeyPositions::None,
    loads: Loads::Never,
    handler: Handler::Container(SUBCOMMANDS),
}];

const SUBCOMMANDS: &[Row] = &[
    Row {
        name: "getname",
        syntax: "",
        summary: "Get the current connection name",
        since: "2.6.9",
        group: Group::Connection,
        arity: 2,
        flags: &[Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(get_name),
    },
    Row {
        name: "help",
        syntax: "",
        summary: "Show helpful text about the different subcommands",
        since: "5.0.0",
        group: Group::Connection,
        arity: 2,
        flags: &[Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(show_help),
    },
    Row {
        name: "id",
        syntax: "",
        summary: "Returns the client ID for the current connection",
        since: "5.0.0",
        group: Group::Connection,
        arity: 2,
        flags: &[Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(id),
    },
    Row {
        name: "info",
        syntax: "",
        summary: "Returns information about the current client connection",
        since: "6.2.0",
        group: Group::Connection,
        arity: 2,
        flags: &[Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(info),
    },
    Row {
        name: "kill",
        syntax: "ip:port | [ID client-id] [TYPE normal | master | replica | pubsub] [USER username] [ADDR ip:port] [LADDR ip:port] [SKIPME yes/no]",
        summary: "Kill the connection of a client",
        since: "2.4.0",
        group: Group::Connection,
        arity: -3,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(kill::kill),
    },
    Row {
        name: "list",
        syntax: "[TYPE normal | master | replica | pubsub] [ID client-id [client-id ...]]",
        summary: "Get the list of client connections",
        since: "2.4.0",
        group: Group::Connection,
        arity: -2,
        flags: &[Flag::Admin, Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(list),
    },
    Row {
        name: "setinfo",
        syntax: "LIB-NAME libname | LIB-VER libver",
        summary: "Sets information specific to the client or connection",
        since: "7.2.0",
        group: Group::Connection,
        arity: 4,
        flags: &[Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(set_info),
    },
    Row {
        name: "setname",
        syntax: "connection-name",
        summary: "Set the current connection name",
        since: "2.6.9",
        group: Group::Connection,
        arity: 3,
        flags: &[Flag::NoScript, Flag::Loading],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(set_name),
    },
];

const HELP: &[&str] = &[
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port>",
    "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Kill connections. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made from the specified address",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Kill connections made to specified local address",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Kill connections by type.",
    "    * USER <username>",
    "      Kill connections authenticated by <username>.",
    "    * SKIPME (YES|NO)",
    "      Skip killing current connection (default: yes).",
    "LIST [options ...]",
    "    Return information about client connections. Options:",
    "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
    "      Return clients of specified type.",
    "    * ID <id> [<id> ...]",
    "      Return clients of specified IDs only.",
    "SETINFO <option> <value>",
    "    Set client meta attr. Options are:",
    "    * LIB-NAME: the client lib name.",
    "    * LIB-VER: the client lib version.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
];

fn show_help(_: &App, _: &mut Client, _: &Request) -> CommandResult {
    Ok(help::reply("CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", HELP))
}

fn id(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    Ok(Reply::Integer(i64::try_from(client.info.id).unwrap_or(i64::MAX)))
}

fn get_name(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    let name = client.info.shown.lock().name.clone();
    Ok(if name.is_empty() { Reply::Null } else { Reply::text(name) })
}

fn set_name(_: &App, client: &mut Client, request: &Request) -> CommandResult {
    client.info.shown.lock().name = name(&request[2])?;
    Ok(Reply::OK)
}

fn set_info(_: &App, client: &mut Client, request: &Request) -> CommandResult {
    let option = String::from_utf8_lossy(&request[2]);
    let value = printable(&request[3]).map_err(|fault| CommandError::other(format!("ERR {option} {fault}")));
    if args::is(&request[2], "LIB-NAME") {
        client.info.shown.lock().library_name = value?;
    } else if args::is(&request[2], "LIB-VER") {
        client.info.shown.lock().library_version = value?;
    } else {
        return Err(CommandError::other(format!("ERR Unrecognized option '{option}'")));
    }
    Ok(Reply::OK)
}

/// A connection's name as CLIENT SETNAME and HELLO SETNAME take it; empty for none.
///
/// # Errors
/// Redis's text when it would break the lines of CLIENT LIST.
pub(super) fn name(word: &[u8]) -> Result<String, CommandError> {
    printable(word).map_err(|fault| CommandError::other(format!("ERR Client names {fault}")))
}

/// The word as text, or what is wrong with it.
fn printable(word: &[u8]) -> Result<String, &'static str> {
    if word.len() > NAME_BYTES_MAX {
        return Err("cannot be longer than 1024 bytes");
    }
    let text = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    text.map(str::to_owned).ok_or("cannot contain spaces, newlines or special characters.")
}

fn info(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    let mut text = String::new();
    write_line(&mut text, &client.info, Instant::now());
    Ok(Reply::Verbatim(text))
}

/// Which connections CLIENT LIST shows.
enum Filter {
    All,
    /// Replicas and masters: there are none.
    None,
    /// Those that listen to channels, or those that do not.
    Listeners(bool),
    Ids(Vec<i64>),
}

fn list(app: &App, _: &mut Client, request: &Request) -> CommandResult {
    let filter = parse_filter(&request[2..])?;
    let now = Instant::now();
    let mut text = String::new();
    for info in app.clients.list().iter().filter(|info| filter.shows(info)) {
        write_line(&mut text, info, now);
    }
    Ok(Reply::Verbatim(text))
}

impl Filter {
    fn shows(&self, info: &ClientInfo) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Listeners(listens) => info.listens() == *listens,
            Self::Ids(ids) => ids.iter().any(|id| u64::try_from(*id) == Ok(info.id)),
        }
    }
}

fn parse_filter(words: &[Bytes]) -> Result<Filter, CommandError> {
    match words {
        [] => Ok(Filter::All),
        [option, kind] if args::is(option, "TYPE") => parse_kind(kind),
        [option, ids @ ..] if args::is(option, "ID") && !ids.is_empty() => {
            let id = |word: &Bytes| {
                args::canonical_integer(word).ok_or_else(|| CommandError::other("ERR Invalid client ID"))
            };
            Ok(Filter::Ids(ids.iter().map(id).collect::<Result<_, _>>()?))
        }
        [..] => Err(CommandError::Syntax),
    }
}

fn parse_kind(word: &[u8]) -> Result<Filter, CommandError> {
    if args::is(word, "normal") {
        return Ok(Filter::Listeners(false));
    }
    if args::is(word, "pubsub") {
        return Ok(Filter::Listeners(true));
    }
    if ["master", "replica", "slave"].iter().any(|kind| args::is(word, kind)) {
        return Ok(Filter::None);
    }
    Err(CommandError::other(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(word))))
}

/// A connection as CLIENT LIST shows it, without the line's end.
pub(super) fn description(info: &ClientInfo) -> String {
    let mut text = String::new();
    write_line(&mut text, info, Instant::now());
    text.truncate(text.trim_end().len());
    text
}

/// One line with every field of Redis 7.0, and the two of 7.2 that SETINFO sets. What is not kept for each connection
/// (its descriptor and buffers) is -1 or 0: tools look for the fields, nobody for these numbers.
fn write_line(text: &mut String, info: &ClientInfo, now: Instant) {
    let shown = info.shown.lock().clone();
    let last_command = info.last_command().and_then(|position| table::names().get(position));
    let written = writeln!(
        text,
        "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={} db={} sub={} psub={} ssub=0 multi={} qbuf=0 qbuf-free=0 \
         argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={} user={} redir=-1 resp={} \
         lib-name={} lib-ver={}",
        info.id,
        address(info.address),
        address(info.local_address),
        shown.name,
        now.saturating_duration_since(info.connected).as_secs(),
        info.idle(now).as_secs(),
        flags(&shown),
        shown.database,
        shown.channels,
        shown.patterns,
        shown.queued,
        last_command.map_or("NULL", String::as_str),
        shown.user.as_ref().map_or_else(Default::default, |user| String::from_utf8_lossy(&user.user.name)),
        shown.protocol,
        shown.library_name,
        shown.library_version,
    );
    debug_assert!(written.is_ok(), "a string takes all that is written");
}

/// Redis's letters for what a connection is doing.
fn flags(shown: &Shown) -> String {
    let letters = [('O', shown.monitors), ('P', shown.channels + shown.patterns > 0), ('x', shown.queued >= 0)];
    let flags: String = letters.iter().filter(|(_, is_set)| *is_set).map(|(letter, _)| letter).collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}

/// IPv4 addresses that come through an IPv6 socket look like IPv4 addresses, as in Redis.
pub(super) fn address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Clients;

    #[test]
    fn a_line_has_every_field_of_redis_7_0_in_its_order() {
        let clients = Clients::default();
        let info = clients
            .add("127.0.0.1:5000".parse().expect("address"), "[::ffff:127.0.0.1]:6379".parse().expect("address"));
        let mut line = String::new();
        write_line(&mut line, &info, Instant::now());
        let fields: Vec<&str> = line.trim_end().split(' ').filter_map(|field| field.split('=').next()).collect();
        assert_eq!(
            fields.join(" "),
            "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll \
             omem tot-mem events cmd user redir resp lib-name lib-ver"
        );
        assert!(line.contains(" laddr=127.0.0.1:6379 ") && line.contains(" cmd=NULL ") && line.ends_with('\n'));
    }

    #[test]
    fn a_name_that_would_break_the_list_is_refused() {
        assert_eq!(name(b"app-1").as_deref(), Ok("app-1"));
        assert_eq!(name(b"").as_deref(), Ok(""));
        for word in ["a b", "a\n", "é", "a\0"] {
            assert!(name(word.as_bytes()).is_err(), "{word:?}");
        }
    }

    #[test]
    fn list_takes_a_type_or_ids_and_nothing_else() {
        let words =
            |text: &str| text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect::<Vec<_>>();
        assert!(matches!(parse_filter(&words("type NORMAL")), Ok(Filter::Listeners(false))));
        assert!(matches!(parse_filter(&words("TYPE pubsub")), Ok(Filter::Listeners(true))));
        assert!(matches!(parse_filter(&words("TYPE replica")), Ok(Filter::None)));
        assert!(matches!(parse_filter(&words("ID 1 -1")), Ok(Filter::Ids(ids)) if ids == [1, -1]));
        for (line, error) in [
            ("TYPE foo", "ERR Unknown client type 'foo'"),
            ("TYPE", "ERR syntax error"),
            ("TYPE normal x", "ERR syntax error"),
            ("ID", "ERR syntax error"),
            ("ID 1 TYPE normal", "ERR Invalid client ID"),
            ("FOO", "ERR syntax error"),
        ] {
            assert_eq!(
                parse_filter(&words(line)).err().map(|error| error.to_string()).as_deref(),
                Some(error),
                "{line}"
            );
        }
    }
}
