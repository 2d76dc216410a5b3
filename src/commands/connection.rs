//! PING, ECHO, QUIT, RESET, SELECT, AUTH and HELLO: what a client says of itself and its connection. A password is
//! compared in constant time and goes nowhere else.

use super::args::{self, Options};
use super::error::CommandError;
use super::table::{CommandResult, Flag, Group, Handler, KeyPositions, Loads, Row};
use super::{client, transaction};
use crate::app::{App, Client};
use crate::protocol::{Protocol, Reply, Request};

/// The Redis whose commands and texts are spoken; clients parse it to know what they may send.
pub const REDIS_VERSION: &str = "7.0.15";

/// PING, ECHO, QUIT, RESET, SELECT, AUTH and HELLO.
pub const ROWS: &[Row] = &[
    Row {
        name: "ping",
        syntax: "[message]",
        summary: "Ping the server",
        since: "1.0.0",
        group: Group::Connection,
        arity: -1,
        flags: &[Flag::Fast],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(ping),
    },
    Row {
        name: "echo",
        syntax: "message",
        summary: "Echo the given string",
        since: "1.0.0",
        group: Group::Connection,
        arity: 2,
        flags: &[Flag::Loading, Flag::Fast],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(echo),
    },
    Row {
        name: "quit",
        syntax: "",
        summary: "Close the connection",
        since: "1.0.0",
        group: Group::Connection,
        arity: -1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::NoAuth, Flag::Unqueued],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(quit),
    },
    Row {
        name: "reset",
        syntax: "",
        summary: "Reset the connection",
        since: "6.2.0",
        group: Group::Connection,
        arity: 1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::NoAuth, Flag::Unqueued],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(reset),
    },
    Row {
        name: "select",
        syntax: "index",
        summary: "Change the selected database for the current connection",
        since: "1.0.0",
        group: Group::Connection,
        arity: 2,
        flags: &[Flag::Loading, Flag::Fast],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(select),
    },
    Row {
        name: "auth",
        syntax: "[username] password",
        summary: "Authenticate to the server",
        since: "1.0.0",
        group: Group::Connection,
        arity: -2,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::NoAuth],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(auth),
    },
    Row {
        name: "hello",
        syntax: "[protover [AUTH username password] [SETNAME clientname]]",
        summary: "Handshake with Redis",
        since: "6.0.0",
        group: Group::Connection,
        arity: -1,
        flags: &[Flag::NoScript, Flag::Loading, Flag::Fast, Flag::NoAuth],
        keys: KeyPositions::None,
        loads: Loads::Never,
        handler: Handler::Client(hello),
    },
];

/// The only user; its password is `requirepass`.
const USER: &str = "default";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you \
                               sure your configuration is correct?";
const HELLO_BEFORE_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                                 AUTH <user> <pass> option can be used to authenticate the client and select the RESP \
                                 protocol version at the same time";

fn ping(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    match request.as_slice() {
        [_] => Ok(Reply::Simple("PONG")),
        [_, message] => Ok(Reply::Bulk(message.clone())),
        [..] => Err(CommandError::WrongArity { command: "ping".to_owned() }),
    }
}

fn echo(_: &App, _: &mut Client, request: &Request) -> CommandResult {
    Ok(Reply::Bulk(request[1].clone()))
}

fn quit(_: &App, client: &mut Client, _: &Request) -> CommandResult {
    client.close_after_reply = true;
    Ok(Reply::OK)
}

fn reset(app: &App, client: &mut Client, _: &Request) -> CommandResult {
    transaction::abandon(client);
    client.authenticated = app.settings.read().requirepass.is_none();
    speak(client, Protocol::Resp2);
    choose(client, 0);
    client.info.shown.lock().name.clear();
    Ok(Reply::Simple("RESET"))
}

fn select(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    choose(client, selected(app, request)?);
    Ok(Reply::OK)
}

/// The database that a SELECT selects; an EXEC asks before it locks the keys behind it.
///
/// # Errors
/// No number, or none of a database.
pub(super) fn selected(app: &App, request: &Request) -> Result<u8, CommandError> {
    let index = i32::try_from(args::integer(&request[1])?)
        .map_err(|_| CommandError::other("ERR value is out of range, value must between -2147483648 and 2147483647"))?;
    let database = u8::try_from(index).ok().filter(|database| *database < app.settings.read().databases);
    database.ok_or_else(|| CommandError::other("ERR DB index is out of range"))
}

fn choose(client: &mut Client, database: u8) {
    client.database = database;
    client.info.shown.lock().database = database;
}

fn speak(client: &mut Client, protocol: Protocol) {
    client.protocol = protocol;
    client.info.shown.lock().protocol = match protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
}

fn auth(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    let (user, password) = match request.as_slice() {
        [_, _] if app.settings.read().requirepass.is_none() => return Err(CommandError::other(NO_PASSWORD_SET)),
        [_, password] => (USER.as_bytes(), password),
        [_, user, password] => (user.as_ref(), password),
        [..] => return Err(CommandError::Syntax),
    };
    authenticate(app, client, user, password)?;
    Ok(Reply::OK)
}

/// A failure leaves the client as it was: who is in stays in. Without a password everybody is the user, as in Redis.
fn authenticate(app: &App, client: &mut Client, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let settings = app.settings.read();
    let right = match &settings.requirepass {
        None => true,
        Some(expected) => is_same_secret(password, expected.expose().as_bytes()),
    };
    if user != USER.as_bytes() || !right {
        app.metrics.auth_failures.increment();
        return Err(CommandError::other(WRONG_PASSWORD));
    }
    client.authenticated = true;
    Ok(())
}

/// Whether two secrets are equal, in a time that tells at most their length: who could measure the first difference
/// would find the password byte by byte.
fn is_same_secret(given: &[u8], expected: &[u8]) -> bool {
    let differences =
        given.iter().zip(expected).fold(0, |seen, (left, right)| std::hint::black_box(seen | (left ^ right)));
    given.len() == expected.len() && differences == 0
}

/// What HELLO asks for.
#[derive(Default)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<String>,
}

fn hello(app: &App, client: &mut Client, request: &Request) -> CommandResult {
    let asked = parse_hello(request)?;
    if let Some((user, password)) = asked.login {
        authenticate(app, client, user, password)?;
    }
    if !client.authenticated {
        return Err(CommandError::other(HELLO_BEFORE_AUTH));
    }
    if let Some(name) = asked.name {
        client.info.shown.lock().name = name;
    }
    if let Some(protocol) = asked.protocol {
        speak(client, protocol);
    }
    Ok(greeting(client))
}

fn parse_hello(request: &Request) -> Result<Hello<'_>, CommandError> {
    let mut asked = Hello { protocol: request.get(1).map(|word| protocol(word)).transpose()?, ..Hello::default() };
    let mut options = Options::from(request, 2);
    while let Some(option) = options.next() {
        let wrong = || {
            let option = String::from_utf8_lossy(option);
            CommandError::other(format!("ERR Syntax error in HELLO option '{option}'"))
        };
        if args::is(option, "AUTH") {
            let user = options.value().map_err(|_| wrong())?;
            asked.login = Some((user, options.value().map_err(|_| wrong())?));
        } else if args::is(option, "SETNAME") {
            asked.name = Some(client::name(options.value().map_err(|_| wrong())?)?);
        } else {
            return Err(wrong());
        }
    }
    Ok(asked)
}

fn protocol(word: &[u8]) -> Result<Protocol, CommandError> {
    match args::canonical_integer(word) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(CommandError::other("NOPROTO unsupported protocol version")),
        None => Err(CommandError::other("ERR Protocol version is not an integer or out of range")),
    }
}

fn greeting(client: &Client) -> Reply {
    let version = match client.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let id = i64::try_from(client.info.id).unwrap_or(i64::MAX);
    Reply::Map(vec![
        (Reply::text("server"), Reply::text("redis")),
        (Reply::text("version"), Reply::text(REDIS_VERSION)),
        (Reply::text("proto"), Reply::Integer(version)),
        (Reply::text("id"), Reply::Integer(id)),
        (Reply::text("mode"), Reply::text("standalone")),
        (Reply::text("role"), Reply::text("master")),
        (Reply::text("modules"), Reply::Array(Vec::new())),
    ])
}
